//! The two machines and the network between them. The rules are the real
//! [`Conversation`] and [`Admission`]; what stands here is the thin driver
//! around them, each part beside the place in src/link that it stands for.

mod driver;
mod events;
mod hub;
mod known;
mod network;
mod program;
mod promises;

use std::collections::BTreeMap;

use turnchat::ConversationId;
use turnchat::internals::admission;
use turnchat::internals::admission::ConnectionId;
use turnchat::internals::session::Timer;
use turnchat::internals::{Frame, Snapshot};

use self::driver::Driver;
pub(crate) use self::events::Event;
use self::hub::{Hub, number_of_id};
use self::network::Link;
use self::program::Program;
use crate::config::{Config, Side};
use crate::tale::Tale;

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
    hub: Hub,
    program: Program,
    record: Option<Snapshot>,
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
            hub: Hub::new(config),
            program: Program::Off,
            record: None,
            tales: BTreeMap::new(),
            broken: None,
            fuse: None,
            is_blown: false,
        };
        world.restart_hub(config);
        world
    }

    // What happens.

    /// How many steps of this event leave a trace.
    pub(crate) fn steps(&self, config: &Config, event: Event) -> u8 {
        let mut world = self.clone();
        world.fuse = Some(u8::MAX);
        world.happen(config, event);
        world.fuse.map_or(0, |left| u8::MAX - left)
    }

    /// `event`, and a crash of whoever did it after so many steps of it.
    pub(crate) fn next(&self, config: &Config, event: Event, fuse: Option<u8>) -> Self {
        let mut world = self.clone();
        world.fuse = fuse;
        world.happen(config, event);
        world.fuse = None;
        if std::mem::take(&mut world.is_blown) {
            world.crash(config, event.side());
        }
        world.tales.values_mut().for_each(Tale::close);
        world.forget_the_unknown(config);
        world
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
            Event::Enter(number) => self.enter(config, number),
            Event::PlaceOver(key, id) => {
                let timer = admission::Timer::Place(key, id);
                self.hub.timers.remove(&timer);
                let orders = self.hub.admission.fired(timer);
                self.give(config, orders);
            }
            Event::Stored(side, number) => {
                self.put(config, side, number);
                self.process(config, side, number, false);
            }
            Event::PutAway(side, number) => {
                let driver = self.driver(side, number);
                if std::mem::take(&mut driver.is_closing) {
                    driver.session.closed();
                    self.process(config, side, number, false);
                }
                if self.is_blown || self.driver(side, number).done.is_none() {
                    return;
                }
                match side {
                    Side::Client => self.put_away_client(config),
                    Side::Server => self.put_away_server(config, number),
                }
            }
            Event::Left(number) => self.left(config, number),
            Event::Seat => {
                // src/link/server/mod.rs, `Server::next`.
                self.hub.is_seat_asked = true;
                let orders = self.hub.admission.seats(1);
                self.give(config, orders);
            }
            Event::Take(side, number) => self.take(config, side, number),
            Event::Fail(side, number) => {
                self.crashes += 1;
                self.dials = 0;
                let driver = self.driver(side, number);
                driver.untaken = None;
                driver.has_failed = true;
                driver.session.reader_failed();
                self.process(config, side, number, false);
            }
            Event::Untaken(side, number) => {
                self.waits += 1;
                self.dials = 0;
                let driver = self.driver(side, number);
                driver.armed.remove(&Timer::Taking);
                driver.session.fired(Timer::Taking);
                self.process(config, side, number, false);
            }
            Event::Supersede(number) => self.supersede(config, number),
            Event::TellEnd => {
                let end = self.hub.untold.pop_front().unwrap();
                self.tell_end(config, end, true);
            }
            Event::Say(side) => {
                let number = self.number_of_user(side);
                let conversation = self.driver(side, number).conversation();
                let (id, turn) = (conversation.id(), conversation.next_turn());
                let tale = self.tales.entry(id).or_default();
                let life = tale.say(side, turn);
                let text = tale.text(side, turn, life);
                self.driver(side, number).session.say(text).unwrap();
                self.process(config, side, number, false);
            }
            Event::Quit(side) => {
                let number = self.number_of_user(side);
                let driver = self.driver(side, number);
                driver.session.quit();
                let id = driver.conversation().id();
                self.tales.entry(id).or_default().is_end_wanted = true;
                self.process(config, side, number, false);
            }
            Event::GiveUp(side, number) => {
                let is_hopeless = match &self.program {
                    Program::Off => false,
                    Program::Runs(_) => side == Side::Client && self.is_at_rest(number),
                    Program::Done => side == Side::Server,
                };
                if !is_hopeless {
                    self.waits += 1;
                    self.dials = 0;
                }
                let driver = self.driver(side, number);
                let Some(timer) = driver.patience() else {
                    return self.breaks(crate::STUCK);
                };
                driver.armed.remove(&timer);
                driver.session.fired(timer);
                self.process(config, side, number, false);
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
            Side::Server => number_of_id(*self.hub.talks.front().unwrap()),
        }
    }

    fn driver(&mut self, side: Side, number: Number) -> &mut Driver {
        match (side, &mut self.program, self.hub.live.get_mut(&number)) {
            (Side::Client, Program::Runs(driver), _) => driver,
            (Side::Server, _, Some(driver)) => driver,
            _ => panic!("no driver"),
        }
    }

    /// The client can do nothing any more but wait for a timer.
    fn is_at_rest(&mut self, number: Number) -> bool {
        let driver = self.driver(Side::Client, number);
        driver.link.is_none() && !driver.armed.contains(&Timer::Redial)
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
            if told.outcome.is_some() || told.is_final {
                continue;
            }
            // What was entered and not yet stored was not said.
            let stored = match side {
                Side::Client => self.record.as_ref().filter(|record| record.id == *id),
                Side::Server => (self.hub.records.iter())
                    .map(|record| &record.snapshot)
                    .find(|record| record.id == *id),
            };
            // Of an end that has nothing to name no more is told.
            let is_named = |record: &Snapshot| record.said > record.acknowledged;
            if stored.is_some_and(|record| record.quit && !is_named(record)) {
                told.is_final = true;
                continue;
            }
            let highest = stored.map_or(0, |record| record.said);
            told.said.retain(|(turn, _)| *turn <= highest);
        }
        match side {
            Side::Client => self.program = Program::Off,
            Side::Server => self.restart_hub(config),
        }
    }
}

/// As the hub numbers them: a ClientHello's number is not its connection's.
fn connection_id(number: Number) -> ConnectionId {
    ConnectionId(u64::from(u8::MAX - number))
}

fn number_of(id: ConnectionId) -> Number {
    u8::MAX - Number::try_from(id.0).unwrap()
}

fn id(number: u8) -> ConversationId {
    ConversationId::from_bits([number; 16])
}
