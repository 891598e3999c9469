//! A client's program, as src/link/client.rs has it.

use std::time::Duration;

use turnchat::internals::{Conversation, Frame, Role};

use super::driver::{Driver, DriverNumber};
use super::machine::Machine;
use super::network::{Link, LinkId};
use super::{At, Event, Node, Whose, World};
use crate::config::{ClientSetup, Side, heard_when};
use crate::rules::Broken;
use crate::tale::Tale;

/// A person's machine and program.
pub(super) struct Client {
    pub(super) machine: Machine,
    pub(super) program: Program,
    /// The connection that is being made.
    attempt: Option<LinkId>,
    /// Conversations that its person has still to begin.
    left: usize,
}

pub(super) enum Program {
    /// Its person starts it later.
    Off,
    /// Its first connection is being made.
    Dials,
    Runs(Box<Driver>),
    /// Its person wants nothing more.
    Done,
}

impl Client {
    pub(super) fn new(setup: &ClientSetup, broken: Option<Broken>) -> Self {
        Self {
            machine: Machine::new(setup.has_journal, broken),
            program: Program::Off,
            attempt: None,
            left: setup.conversations,
        }
    }

    pub(super) fn driver(&mut self) -> Option<&mut Driver> {
        match &mut self.program {
            Program::Runs(driver) => Some(driver),
            Program::Off | Program::Dials | Program::Done => None,
        }
    }

    pub(super) fn stop(&mut self) {
        self.program = Program::Off;
        self.attempt = None;
    }
}

impl World {
    pub(super) fn new_driver(&mut self) -> DriverNumber {
        self.drivers += 1;
        self.drivers
    }

    /// `Client::connect`.
    pub(super) fn start_client(&mut self, client: usize) {
        if matches!(self.clients[client].program, Program::Off) {
            self.clients[client].machine.is_up = true;
            self.clients[client].program = Program::Dials;
            self.dial(client);
        }
    }

    /// `prove`, from its beginning.
    pub(super) fn dial(&mut self, client: usize) {
        let node = self.balance();
        let link = self.new_link(Some(client), node);
        self.clients[client].attempt = Some(link);
        let fails = !self.is_calm && self.dice.once_in(self.setup.mishaps.failing_dial);
        let latency = self.dice.evenly(self.setup.latency);
        if fails || !self.nodes[node].machine.is_up {
            self.hang_up(Side::Server, link, false);
            self.queue.after(latency, Event::DialFailed(link));
        } else {
            self.queue.after(latency, Event::Accepted(link));
        }
        self.queue
            .after(self.setup.limits.handshake, Event::DialFailed(link));
    }

    /// Where the next connection goes: there may be a balancer.
    pub(super) fn balance(&mut self) -> Node {
        let nodes = 0..self.nodes.len();
        let up: Vec<_> = nodes
            .filter(|node| self.nodes[*node].machine.is_up)
            .collect();
        match up.len() {
            0 | 1 => up.first().copied().unwrap_or(0),
            _ => self.dice.pick(&up),
        }
    }

    pub(super) fn new_link(&mut self, client: Option<usize>, node: Node) -> LinkId {
        self.dialled += 1;
        self.links.insert(self.dialled, Link::new(client, node));
        self.dialled
    }

    /// Whose attempt this link is, if it still is one.
    fn attempt(&mut self, link: LinkId) -> Option<usize> {
        let client = self.links.get(&link)?.client?;
        let is_its = self.clients[client].attempt == Some(link);
        is_its.then_some(client)
    }

    pub(super) fn proven(&mut self, link: LinkId) {
        let Some(of) = self.links.get(&link) else {
            return;
        };
        if of.client.is_none() {
            return self.speak_as_stranger(link);
        }
        if !of.leads(Side::Client) {
            return self.dial_failed(link);
        }
        let Some(client) = self.attempt(link) else {
            return;
        };
        self.clients[client].attempt = None;
        if matches!(self.clients[client].program, Program::Dials) && !self.open(client, true) {
            return;
        }
        let Some(driver) = self.clients[client].driver() else {
            return;
        };
        if driver.session.is_on() {
            driver.arriving = Some(link);
            driver.session.connected();
            self.queue
                .after(self.setup.limits.first_answer, Event::FirstFrameDue(link));
            self.run(At::Client(client));
        } else {
            self.hang_up(Side::Client, link, true);
        }
    }

    pub(super) fn dial_failed(&mut self, link: LinkId) {
        let Some(client) = self.attempt(link) else {
            return;
        };
        self.clients[client].attempt = None;
        self.hang_up(Side::Client, link, true);
        match self.clients[client].program {
            Program::Runs(ref mut driver) => {
                driver.session.dial_failed(None);
                self.run(At::Client(client));
            }
            Program::Dials => {
                // `Client::held`.
                let record = self.client_record();
                let is_held = self.clients[client].machine.look(&record).is_some();
                if is_held && self.open(client, false) {
                    if let Some(driver) = self.clients[client].driver() {
                        driver.session.hold(0);
                    }
                    return self.run(At::Client(client));
                }
                self.clients[client].program = Program::Off;
                self.start_later(client);
            }
            Program::Off | Program::Done => {}
        }
    }

    fn start_later(&mut self, client: usize) {
        let later = self.dice.evenly(Duration::from_secs(10));
        self.queue
            .after(later, Event::Starts(Whose::Client(client)));
    }

    /// `Client::open`: the conversation in the record, or a new one. False if its person wants
    /// none any more.
    fn open(&mut self, client: usize, may_begin: bool) -> bool {
        let has_journal = self.clients[client].machine.has_journal;
        let record = self.client_record();
        let machine = &mut self.clients[client].machine;
        let Ok(stored) = machine.load(record) else {
            // Where the disk has stopped, the machine crashes next.
            if !machine.disk.has_stopped() {
                self.breaks(crate::READABLE);
            }
            return false;
        };
        let is_stored = stored.is_some();
        let restored = stored
            .filter(|_| has_journal)
            .map(|contents| Conversation::restore(Role::Client, contents.conversation));
        let conversation = match restored {
            Some(Some(conversation)) => conversation,
            Some(None) => {
                self.breaks(crate::READABLE);
                return false;
            }
            None if !may_begin || self.clients[client].left == 0 => {
                self.clients[client].program = Program::Done;
                return false;
            }
            None => {
                self.clients[client].left -= 1;
                let id = self.new_id();
                self.begin_tale(client, id);
                Conversation::new(Role::Client, id, heard_when(has_journal))
            }
        };
        let (number, limits) = (self.new_driver(), self.setup.limits);
        let mut driver = Driver::new(
            number,
            Role::Client,
            conversation,
            is_stored,
            has_journal,
            &limits,
        );
        driver.was_stored = is_stored;
        driver.hand_over_again(!self.setup.breaks(Broken::Marked));
        self.clients[client].program = Program::Runs(Box::new(driver));
        true
    }

    fn begin_tale(&mut self, client: usize, id: turnchat::ConversationId) {
        self.figures.conversations += 1;
        let (clients, key) = (&self.setup.clients, self.setup.clients[client].key);
        // Two programs of one key end each other's conversations, and their own that are left.
        let is_alone = clients.iter().filter(|other| other.key == key).count() == 1;
        let owned = self.tales.values_mut();
        let owned = owned.filter(|tale| self.owners[usize::from(tale.number)] == client);
        owned.for_each(|tale| tale.is_end_wanted |= self.setup.one_at_a_time);
        let number = u16::try_from(self.owners.len()).unwrap();
        self.owners.push(client);
        let mut tale = Tale::default();
        tale.number = number;
        tale.is_end_wanted = self.setup.one_at_a_time && !is_alone;
        self.tales.insert(id, tale);
    }

    /// What the program, or its person, does when its conversation is done.
    pub(super) fn put_away_client(&mut self, client: usize) {
        let record = self.client_record();
        let of = &mut self.clients[client];
        of.stop();
        match of.left == 0 && of.machine.look(&record).is_none() {
            true => of.program = Program::Done,
            false => self.start_later(client),
        }
    }

    fn speak_as_stranger(&mut self, link: LinkId) {
        let conversation = self.new_id();
        if self.dice.once_in(2) {
            self.send(
                Side::Client,
                link,
                Frame::Hello {
                    conversation,
                    heard: 0,
                },
            );
        }
        self.hang_up(Side::Client, link, false);
    }
}
