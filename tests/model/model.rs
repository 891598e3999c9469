//! The proof: the real [`Conversation`](turnchat::internals::Conversation) and
//! the real [`Admission`](turnchat::internals::admission::Admission), two machines
//! and a network that cuts, delays and delivers late, through every state that
//! a bounded number of cuts and crashes can bring about.
//!
//! That nobody is stuck is checked so: everything that happens by itself uses
//! something up (a frame, a turn, a dial), so that a run without further
//! mishaps ends. It ends where nothing more happens by itself; there
//! everything has to be done. So *every* run that is left alone completes,
//! from every reachable state. People may quit at any time, but a quit is
//! not counted on: who could only quit is stuck.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise, and tells its figures"
)]

mod config;
mod promise;
mod proven;
mod rules;
mod sizes;
mod tale;
mod world;

use config::Config;
use promise::{
    ACCUSED, AGREED, COMPLETE, ENDLESS, LOST, ONCE, ONE_OPEN, REOPENED, REPLACED, SAFE, SAID,
    STUCK, TURN, UNSAID, WANTED,
};
use stateright::{Model, Property};
use tale::Tale;
use world::{Event, World};

/// Of a client that nothing happens to: three are for a `quit`.
const MOST_DIALS: u8 = 8;

impl Model for Config {
    type State = World;
    type Action = (Event, Option<u8>);

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Self::Action>) {
        if world.broken.is_some() {
            return;
        }
        let mut events = Vec::new();
        world.progress(self, &mut events);
        world.mishaps(self, &mut events);
        for event in events {
            actions.push((event, None));
            // A crash in the midst of it.
            let takes_steps = !matches!(event, Event::Crash(_) | Event::GiveUp(..));
            if world.may_crash(self) && takes_steps {
                let steps = world.steps(self, event);
                actions.extend((0..steps).map(|step| (event, Some(step))));
            }
        }
    }

    fn next_state(&self, world: &World, (event, fuse): Self::Action) -> Option<World> {
        Some(world.next(self, event, fuse))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(TURN, |_, world: &World| world.is_one_holder()),
            Property::always(SAID, |_, world: &World| world.broken != Some(SAID)),
            Property::always(ONCE, |_, world: &World| world.broken != Some(ONCE)),
            Property::always(LOST, |config, world: &World| {
                !comes_to_rest(config, world) || world.tales.values().all(Tale::is_nothing_lost)
            }),
            Property::always(AGREED, |_, world: &World| world.is_end_agreed()),
            Property::always(WANTED, |_, world: &World| {
                world.tales.values().all(Tale::is_end_wanted)
            }),
            Property::always(REOPENED, |_, world: &World| world.broken != Some(REOPENED)),
            Property::always(STUCK, |config, world: &World| {
                world.broken != Some(STUCK) && (!comes_to_rest(config, world) || world.is_done())
            }),
            Property::always(ENDLESS, |_, world: &World| world.dials <= MOST_DIALS),
            Property::always(ACCUSED, |_, world: &World| world.broken != Some(ACCUSED)),
            Property::always(REPLACED, |_, world: &World| world.broken != Some(REPLACED)),
            Property::always(ONE_OPEN, |config, world: &World| {
                !comes_to_rest(config, world) || world.is_one_open()
            }),
            Property::always(SAFE, |_, world: &World| world.is_acknowledged_safe()),
            Property::always(UNSAID, |_, world: &World| world.broken != Some(UNSAID)),
            // Else nothing of this would mean much.
            Property::sometimes(COMPLETE, |config, world: &World| world.is_all_said(config)),
        ]
    }
}

/// Nothing more happens by itself.
fn comes_to_rest(config: &Config, world: &World) -> bool {
    let mut events = Vec::new();
    world.progress(config, &mut events);
    world.broken.is_none() && events.is_empty()
}
