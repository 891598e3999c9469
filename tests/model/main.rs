//! The proof: the real [`Conversation`](turnchat::protocol::Conversation) and
//! the real [`Admission`](turnchat::link::admission::Admission), two machines
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
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, and tells its figures"
)]

mod config;
mod tale;
mod world;

use std::time::Instant;

use config::{Broken, Config};
use stateright::{Checker, HasDiscoveries, Model, Property};
use tokio::io::duplex;
use tokio::sync::mpsc;
use turnchat::link::{Client, ServerBuilder, Verdict};
use turnchat::trust::{Algorithm, Identity, Peer};
use world::{Event, World};

const TURN: &str = "the turn has one holder";
const SAID: &str = "what is heard was said, in these words";
const ONCE: &str = "in order, and each once";
const LOST: &str = "nothing is lost, or it is named";
const AGREED: &str = "the end is agreed";
const WANTED: &str = "nobody's conversation is ended by nobody";
const REOPENED: &str = "what has ended stays so";
const STUCK: &str = "nobody is stuck";
const ENDLESS: &str = "nobody dials for ever";
const ACCUSED: &str = "nobody is accused of a broken rule";
const REPLACED: &str = "nobody is replaced by an older connection";

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
            // A crash between two outputs. Before the first it is one before the event.
            let puts_out = !matches!(
                event,
                Event::Crash(_) | Event::Left(_) | Event::PutAway(..) | Event::GiveUp(..)
            );
            if world.may_crash(self) && puts_out {
                actions.extend((1..=4).map(|outputs| (event, Some(outputs))));
            }
        }
    }

    fn next_state(&self, world: &World, (event, fuse): Self::Action) -> Option<World> {
        world.next(self, event, fuse)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(TURN, |_, world: &World| world.is_one_holder()),
            Property::always(AGREED, |_, world: &World| world.is_end_agreed()),
            Property::always(WANTED, |_, world: &World| {
                world.tales.values().all(tale::Tale::is_end_wanted)
            }),
            Property::always(LOST, |config: &Config, world: &World| {
                !comes_to_rest(config, world)
                    || world.tales.values().all(tale::Tale::is_nothing_lost)
            }),
            Property::always(STUCK, |config: &Config, world: &World| {
                !comes_to_rest(config, world) || world.is_done()
            }),
            Property::always(ENDLESS, |config: &Config, world: &World| {
                world.dials <= 4 + 3 * (config.cuts + config.crashes + config.strays + config.waits)
            }),
        ];
        properties.push(Property::always(SAID, |_, w: &World| {
            w.broken != Some(SAID)
        }));
        properties.push(Property::always(ONCE, |_, w: &World| {
            w.broken != Some(ONCE)
        }));
        properties.push(Property::always(REOPENED, |_, w: &World| {
            w.broken != Some(REOPENED)
        }));
        properties.push(Property::always(ACCUSED, |_, w: &World| {
            w.broken != Some(ACCUSED)
        }));
        properties.push(Property::always(REPLACED, |_, w: &World| {
            w.broken != Some(REPLACED)
        }));
        properties
    }
}

/// Nothing more happens by itself.
fn comes_to_rest(config: &Config, world: &World) -> bool {
    let mut events = Vec::new();
    world.progress(config, &mut events);
    world.broken.is_none() && events.is_empty()
}

/// The client's key, as a server has it after a real handshake.
fn proven_peer() -> Peer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let alice = Identity::generate(Algorithm::EcdsaP256).unwrap();
        let bob = Identity::generate(Algorithm::EcdsaP256).unwrap();
        let (ours, theirs) = duplex(64 * 1024);
        let (arrivals, mut arrived) = mpsc::channel(1);
        arrivals.send(theirs).await.unwrap();
        let accept = move || {
            let stream = arrived.try_recv();
            async move {
                match stream {
                    Ok(stream) => Ok((stream, None)),
                    Err(_) => std::future::pending().await,
                }
            }
        };
        let mut server = ServerBuilder::new(&alice, |_| Verdict::Admit)
            .unwrap()
            .start(accept);
        let client = Client::new(&bob, vec![alice.key_id()]).unwrap();
        let mut ours = Some(ours);
        let dial = move || {
            let stream = ours.take().ok_or(std::io::ErrorKind::NotFound.into());
            async move { stream }
        };
        let (talk, waiting) = tokio::join!(server.next(), client.connect(dial));
        drop(waiting);
        talk.unwrap().peer
    })
}

/// How far a run goes.
#[derive(Clone, Copy, Debug)]
struct Size {
    turns: u64,
    cuts: u8,
    crashes: u8,
    waits: u8,
    quits_early: bool,
}

fn config(journal: [bool; 2], size: Size) -> Config {
    Config {
        journal,
        turns: size.turns,
        later_turns: size.turns.min(2),
        cuts: size.cuts,
        crashes: size.crashes,
        quits_early: size.quits_early,
        waits: size.waits,
        strays: 0,
        broken: None,
        peer: proven_peer(),
        now: Instant::now(),
    }
}

/// Looks through all of it, and says how much that was.
fn prove(config: Config) {
    let began = Instant::now();
    let what = format!(
        "journal {:?}, turns {}, cuts {}, crashes {}, quits early {}, gives up {}, strays {}",
        config.journal,
        config.turns,
        config.cuts,
        config.crashes,
        config.quits_early,
        config.waits,
        config.strays
    );
    let checker = config
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::Any)
        .spawn_bfs()
        .join();
    println!(
        "{what}: {} states, depth {}, {:.0?}",
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed()
    );
    let traces = checker.discoveries().into_iter();
    let traces: Vec<_> = traces.map(|(p, path)| (p, path.into_actions())).collect();
    assert!(traces.is_empty(), "{what}: {traces:#?}");
}

/// Without a journal, with one on either side, and on both.
const JOURNALS: [[bool; 2]; 4] = [[false, false], [true, false], [false, true], [true, true]];

fn prove_all(size: Size) {
    for journal in JOURNALS {
        prove(config(journal, size));
    }
}

#[test]
fn a_cut_costs_nothing_whoever_quits_whenever() {
    prove_all(Size {
        turns: 4,
        cuts: 1,
        crashes: 0,
        waits: 0,
        quits_early: true,
    });
}

#[test]
fn a_crash_costs_nothing_that_was_stored_whoever_quits_whenever() {
    prove_all(Size {
        turns: 4,
        cuts: 0,
        crashes: 1,
        waits: 0,
        quits_early: true,
    });
}

#[test]
#[ignore = "takes minutes: scripts/prove model"]
fn a_conversation_given_up_on_one_side_is_not_mistaken_for_another() {
    prove_all(Size {
        turns: 2,
        cuts: 1,
        crashes: 0,
        waits: 1,
        quits_early: true,
    });
}

#[test]
fn cut_after_cut_costs_nothing() {
    prove_all(Size {
        turns: 4,
        cuts: 2,
        crashes: 0,
        waits: 0,
        quits_early: false,
    });
}

#[test]
fn a_cut_and_a_crash_cost_nothing_that_was_stored() {
    prove_all(Size {
        turns: 2,
        cuts: 1,
        crashes: 1,
        waits: 0,
        quits_early: false,
    });
}

#[test]
fn another_program_with_the_same_key_changes_nothing() {
    prove(Config {
        strays: 1,
        ..config([true, true], LITTLE)
    });
}

#[test]
#[ignore = "as large as it is told to be: scripts/prove model"]
fn full() {
    let number = |name: &str, default: u64| {
        let value = std::env::var(name).ok();
        value.map_or(default, |value| value.parse().expect("a number"))
    };
    let small = |name: &str, default| u8::try_from(number(name, default)).expect("a small number");
    let size = Size {
        turns: number("TURNS", 4),
        cuts: small("CUTS", 3),
        crashes: small("CRASHES", 2),
        waits: small("GIVES_UP", 0),
        quits_early: small("QUITS", 1) > 0,
    };
    for journal in JOURNALS {
        prove(config(journal, size));
    }
}

const LITTLE: Size = Size {
    turns: 4,
    cuts: 0,
    crashes: 0,
    waits: 0,
    quits_early: true,
};

/// Which promises are broken when this rule is, by as little as that takes.
fn break_rule(rule: Broken, promises: &[&str]) {
    let (journal, cuts, crashes, strays) = match rule {
        Broken::Counters
        | Broken::DetachFirst
        | Broken::NewestWins
        | Broken::SayAgain
        | Broken::QuitAnswered
        | Broken::NewestAttaches => ([false, false], 2, 0, 0),
        Broken::StoredBeforeSent | Broken::QuitOutlivesCrash => ([true, true], 0, 1, 0),
        Broken::EndsRemembered => ([true, false], 1, 1, 0),
        Broken::OneOpen => ([false, false], 0, 1, 0),
        Broken::RefusedChangesNothing => ([false, false], 0, 0, 1),
        Broken::SeatComesBack => ([false, false], 1, 1, 0),
        Broken::JustPutAway => ([true, true], 1, 0, 0),
        Broken::ParkedStays => ([true, true], 3, 0, 0),
        Broken::JustEnded => ([false, true], 1, 0, 0),
        Broken::ShownFirst => ([false, true], 0, 1, 0),
    };
    let size = Size {
        cuts,
        crashes,
        waits: u8::from(rule == Broken::ParkedStays),
        ..LITTLE
    };
    let config = Config {
        strays,
        broken: Some(rule),
        ..config(journal, size)
    };
    // One thread: always the same, shortest trace.
    let checker = config
        .checker()
        .finish_when(HasDiscoveries::Any)
        .spawn_bfs()
        .join();
    let discoveries = checker.discoveries();
    for (promise, path) in &discoveries {
        println!("{rule:?}: {promise}:");
        for (event, fuse) in path.clone().into_actions() {
            let crash = fuse.map_or(String::new(), |n| format!(", and crashes after {n}"));
            println!("    {event:?}{crash}");
        }
    }
    assert!(!discoveries.is_empty(), "{rule:?}: nothing is broken");
    for promise in discoveries.keys() {
        assert!(promises.contains(promise), "{rule:?}: {promise}");
    }
}

#[test]
fn without_the_counters_a_message_comes_twice() {
    break_rule(Broken::Counters, &[ACCUSED]);
}

#[test]
fn unless_stored_before_sent_a_crash_parts_the_two() {
    break_rule(Broken::StoredBeforeSent, &[TURN, AGREED]);
}

#[test]
fn unless_detached_first_an_old_connection_speaks_out_of_turn() {
    break_rule(Broken::DetachFirst, &[ACCUSED]);
}

#[test]
fn unless_the_newest_wins_an_old_hello_ends_a_conversation() {
    break_rule(Broken::NewestWins, &[WANTED]);
}

#[test]
fn unless_ends_are_remembered_a_conversation_begins_again() {
    break_rule(Broken::EndsRemembered, &[REOPENED]);
}

#[test]
fn unless_a_key_has_one_conversation_it_waits_behind_itself() {
    break_rule(Broken::OneOpen, &[STUCK, WANTED]);
}

#[test]
fn unless_a_quit_outlives_a_crash_an_end_is_undone() {
    break_rule(Broken::QuitOutlivesCrash, &[AGREED]);
}

#[test]
fn unless_a_quit_is_answered_one_side_ends_alone() {
    break_rule(Broken::QuitAnswered, &[AGREED]);
}

#[test]
fn unless_it_is_said_again_a_message_is_lost_with_its_connection() {
    break_rule(Broken::SayAgain, &[LOST, STUCK]);
}

#[test]
fn if_a_refused_hello_changes_something_a_conversation_is_ended_by_it() {
    break_rule(Broken::RefusedChangesNothing, &[WANTED, STUCK]);
}

#[test]
fn a_place_given_to_a_dead_connection_has_to_come_back() {
    break_rule(Broken::SeatComesBack, &[STUCK]);
}

#[test]
fn a_conversation_that_is_being_put_away_has_not_ended() {
    break_rule(Broken::JustPutAway, &[WANTED]);
}

#[test]
fn connections_that_overtake_each_other_are_told_apart() {
    break_rule(Broken::NewestAttaches, &[REPLACED]);
}

#[test]
fn an_acknowledged_conversation_is_remembered_too() {
    break_rule(Broken::JustEnded, &[REOPENED]);
}

#[test]
fn what_was_heard_before_a_crash_is_shown_without_a_welcome() {
    break_rule(Broken::ShownFirst, &[LOST]);
}
