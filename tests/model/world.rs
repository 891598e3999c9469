//! The two machines and the network between them. The rules are the real
//! [`Conversation`] and [`Admission`]; what stands here is the thin driver
//! around them, each part beside the place in src/link that it stands for.

mod events;
mod house;
mod known;
mod network;
mod program;
mod promises;
mod session;

use std::collections::BTreeMap;

use turnchat::protocol::{ConversationId, Frame, Snapshot};

pub(crate) use self::events::Event;
use self::house::{Guest, House};
use self::network::Link;
use self::program::Program;
use self::session::Session;
use crate::config::{Config, Side};
use crate::tale::{Tale, text};

/// A connection, numbered by its ClientHello: a client runs one handshake at a time.
pub(crate) type Number = u8;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    links: BTreeMap<Number, Link>,
    /// Dials since the last mishap: that they are many is that somebody dials for ever.
    pub(crate) dials: u8,
    /// The first conversation, of which most is asked.
    has_begun: bool,
    cuts: u8,
    crashes: u8,
    strays: u8,
    waits: u8,
    house: House,
    program: Program,
    page: Option<Snapshot>,
    pub(crate) tales: BTreeMap<ConversationId, Tale>,
    /// The first promise that was broken.
    pub(crate) broken: Option<&'static str>,
    /// How many steps are still taken before the machine crashes; in no
    /// state that is kept.
    fuse: Option<u8>,
    is_blown: bool,
}

const STRAY: [u8; 16] = [0xEE; 16];

impl World {
    pub(crate) fn new(config: &Config) -> Self {
        let mut world = Self {
            links: BTreeMap::new(),
            dials: 0,
            has_begun: false,
            cuts: 0,
            crashes: 0,
            strays: 0,
            waits: 0,
            house: House::new(config),
            program: Program::Off,
            page: None,
            tales: BTreeMap::new(),
            broken: None,
            fuse: None,
            is_blown: false,
        };
        world.restart_house(config);
        world
    }

    // What happens.

    /// `event`, and a crash of whoever did it after so many steps of it. `None`
    /// where there were not as many.
    pub(crate) fn next(&self, config: &Config, event: Event, fuse: Option<u8>) -> Option<Self> {
        let mut world = self.clone();
        world.fuse = fuse;
        world.happen(config, event);
        world.fuse = None;
        if std::mem::take(&mut world.is_blown) {
            world.crash(config, event.side());
        } else if fuse.is_some() {
            return None;
        }
        world.tales.values_mut().for_each(Tale::close);
        world.forget_the_unknown(config);
        Some(world)
    }

    fn happen(&mut self, config: &Config, event: Event) {
        match event {
            Event::Dial => self.dial(config),
            Event::Up(number) => self.up(config, number),
            Event::Down(number) => {
                let frame = self.links.get_mut(&number).and_then(|l| l.down.pop_front());
                self.receive(config, Side::Client, 0, frame.unwrap());
            }
            Event::Gone(side, number) => self.gone(config, side, number),
            Event::Attach(number) => self.attach(config, number),
            Event::PutAway(Side::Client, _) => self.put_away_client(config),
            Event::PutAway(Side::Server, number) => self.put_away_server(config, number),
            Event::Left(number) => self.left(config, number),
            Event::Seat => {
                // src/link/server/mod.rs, `Server::next`.
                self.house.is_seat_asked = true;
                let instructions = self.house.admission.seat();
                self.give(config, instructions);
            }
            Event::Say(side) => {
                let number = self.number_of_user(side);
                let conversation = &mut self.session(side, number).conversation;
                let (id, turn) = (conversation.id(), conversation.next_turn());
                let life = self.tales.entry(id).or_default().say(side, turn);
                let conversation = &mut self.session(side, number).conversation;
                conversation.say(text(side, turn, life)).unwrap();
                self.process_outputs(config, side, number);
            }
            Event::Quit(side) => {
                let number = self.number_of_user(side);
                // src/link/session.rs, `Session::quit`.
                let session = self.session(side, number);
                session.is_quitting = true;
                session.tries.get_or_insert(3);
                session.conversation.quit();
                let id = session.conversation.id();
                self.tales.entry(id).or_default().is_end_wanted = true;
                self.process_outputs(config, side, number);
            }
            Event::GiveUp(side, number) => {
                let is_hopeless = match &self.program {
                    Program::Off => false,
                    Program::Runs(session) => side == Side::Client && session.tries == Some(0),
                    Program::Done => side == Side::Server,
                };
                if !is_hopeless {
                    self.waits += 1;
                    self.dials = 0;
                }
                self.fail(side, number);
            }
            Event::Crash(side) => self.crash(config, side),
            Event::Stray => {
                self.strays += 1;
                self.dials = 0;
                let number = self.connect();
                self.send(
                    Side::Client,
                    number,
                    Frame::Hello {
                        conversation: ConversationId::from_bits(STRAY),
                        heard: 1,
                    },
                );
                self.hang_up(Side::Client, number, false);
            }
        }
    }

    fn number_of_user(&self, side: Side) -> Number {
        match side {
            Side::Client => 0,
            Side::Server => {
                let talk = self.house.talks.front();
                let mut talking = self.house.talking();
                let in_it = talking.find(|(_, of)| Some(&of.conversation.id()) == talk);
                in_it.unwrap().0
            }
        }
    }

    fn session(&mut self, side: Side, number: Number) -> &mut Session {
        match (side, &mut self.program, self.house.guests.get_mut(&number)) {
            (Side::Client, Program::Runs(session), _) => session,
            (Side::Server, _, Some(Guest::Talking(session))) => session,
            _ => panic!("no session"),
        }
    }

    fn breaks(&mut self, promise: &'static str) {
        self.broken.get_or_insert(promise);
    }

    fn crash(&mut self, config: &Config, side: Side) {
        self.crashes += 1;
        self.dials = 0;
        let numbers: Vec<_> = self.links.keys().copied().collect();
        for number in numbers {
            if self.links[&number].open[side as usize] {
                self.hang_up(side, number, true);
            }
        }
        let has_journal = config.keeps_journal(side);
        for (id, tale) in &mut self.tales {
            if !has_journal {
                tale.forget(side);
                continue;
            }
            let told = tale.of_mut(side);
            if told.outcome.is_some() || told.untold {
                continue;
            }
            // What was entered and not yet stored was not said.
            let stored = match side {
                Side::Client => self.page.as_ref().filter(|page| page.id == *id),
                Side::Server => (self.house.pages.iter())
                    .map(|(page, _)| page)
                    .find(|page| page.id == *id),
            };
            // A restarted side that only has an end left does not name what it had said.
            if stored.is_some_and(|page| page.quit) {
                told.untold = true;
                continue;
            }
            let highest = stored.map_or(0, |page| page.said);
            told.said.retain(|(turn, _)| *turn <= highest);
        }
        match side {
            Side::Client => self.program = Program::Off,
            Side::Server => self.restart_house(config),
        }
    }
}

fn id(number: u8) -> ConversationId {
    ConversationId::from_bits([number; 16])
}
