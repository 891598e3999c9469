//! The server, as src/link/server/hub.rs, src/link/server/connection.rs and
//! src/link/server/mod.rs have it.

use std::collections::{BTreeMap, VecDeque};

use turnchat::link::Verdict;
use turnchat::link::server::admission::{Admission, Hello, Instruction, Instructions};
use turnchat::link::session::Remains;
use turnchat::protocol::{
    By, Code, Conversation, ConversationId, Frame, HeardWhen, Limits, Reason, Role, Snapshot,
};

use super::driver::Driver;
use super::{Number, World, connection_id, number_of};
use crate::config::{Config, Side};
use crate::rules::Broken;
use crate::tale::Outcome;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Connection {
    Stranger,
    Greeted {
        conversation: ConversationId,
        heard: u64,
        has_quit: bool,
    },
    Joining {
        with: Number,
        heard: u64,
        has_quit: bool,
    },
    Talking(Box<Driver>),
    /// Its task is gone, and the hub does not know yet. It was in this
    /// conversation, or is about to be welcomed to it.
    Gone(ConversationId),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hub {
    pub(super) admission: Admission,
    pub(super) connections: BTreeMap<Number, Connection>,
    pub(super) parked: BTreeMap<ConversationId, Conversation>,
    /// What a crash leaves; whose peer came last stands last.
    pub(super) records: Vec<Record>,
    /// `Server::next` is waited for.
    pub(super) is_seat_asked: bool,
    /// Welcomed, for the user; the first is being talked in.
    pub(super) talks: VecDeque<ConversationId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) snapshot: Snapshot,
    pub(super) is_live: bool,
    pub(super) clienthello: u64,
}

impl Record {
    /// Of an end: a message that was not acknowledged, or not taken.
    pub(super) fn is_to_be_told(&self) -> bool {
        let Snapshot {
            said,
            acknowledged,
            last_heard,
            ..
        } = &self.snapshot;
        (self.snapshot.last_said.is_some() && said > acknowledged) || last_heard.is_some()
    }

    pub(super) fn end(id: ConversationId) -> Self {
        Self {
            snapshot: Conversation::new(Role::Server, id, HeardWhen::Stored).tombstone(),
            is_live: false,
            clienthello: 0,
        }
    }
}

impl Hub {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            admission: Admission::new(&Limits::default(), !config.breaks(Broken::OneOpen)),
            connections: BTreeMap::new(),
            parked: BTreeMap::new(),
            records: Vec::new(),
            is_seat_asked: false,
            talks: VecDeque::new(),
        }
    }

    /// The conversations that are on or held, and the connections that they began on.
    pub(super) fn talking(&self) -> impl Iterator<Item = (Number, &Driver)> {
        self.connections
            .iter()
            .filter_map(|(at, connection)| match connection {
                Connection::Talking(driver) if driver.session.is_on() => {
                    Some((*at, driver.as_ref()))
                }
                _ => None,
            })
    }
}

impl World {
    pub(super) fn up(&mut self, config: &Config, number: Number) {
        let link = self.links.get_mut(&number).unwrap();
        let frame = link.up.pop_front().unwrap();
        match (self.hub.connections.get_mut(&number), frame) {
            (
                Some(Connection::Stranger),
                Frame::Hello {
                    conversation,
                    heard,
                },
            ) => self.hello(config, number, conversation, heard),
            (Some(Connection::Greeted { has_quit, .. }), Frame::Quit {}) => {
                *has_quit = true;
                let instructions = (self.hub.admission).quit(connection_id(number), config.now);
                self.give(config, instructions);
            }
            (Some(Connection::Greeted { has_quit: true, .. }), _) => {}
            (Some(Connection::Greeted { conversation, .. }), Frame::Error { .. }) => {
                // src/link/server/connection.rs, `greet`: the task ends, and says so.
                let gone = Connection::Gone(*conversation);
                self.hub.connections.insert(number, gone);
                self.hang_up(Side::Server, number, false);
            }
            (Some(Connection::Stranger | Connection::Greeted { .. }), _) => {
                self.breaks(crate::ACCUSED)
            }
            (_, frame) => {
                if let Some(at) = self.session_on(number) {
                    self.receive(config, Side::Server, at, frame);
                }
            }
        }
    }

    /// `Hub::hello`.
    pub(super) fn hello(
        &mut self,
        config: &Config,
        number: Number,
        conversation: ConversationId,
        heard: u64,
    ) {
        let greeted = Connection::Greeted {
            conversation,
            heard,
            has_quit: false,
        };
        self.hub.connections.insert(number, greeted);
        let clienthello = match config.breaks(Broken::NewestWins) {
            true => 0,
            false => number.into(),
        };
        let hello = Hello {
            peer: config.peer,
            conversation,
            heard,
            clienthello,
        };
        let id = connection_id(number);
        let admission = &mut self.hub.admission;
        let key = config.peer.key();
        if config.breaks(Broken::RefusedChangesNothing)
            && heard > 0
            && !admission.is_open(&key, conversation)
        {
            let begins = Hello {
                heard: 0,
                ..hello.clone()
            };
            let mut instructions = admission.hello(id, begins, Verdict::Admit, config.now);
            instructions.retain(|(other, _)| *other != id);
            instructions.push((id, Instruction::Refuse(Reason::Ended)));
            return self.give(config, instructions);
        }
        let instructions = admission.hello(id, hello, Verdict::Admit, config.now);
        self.give(config, instructions);
    }

    /// `Hub::give`, and what the connections do about it.
    pub(super) fn give(&mut self, config: &Config, instructions: Instructions) {
        if !config.breaks(Broken::EndBeforeAnswer) {
            self.end_given_up(config);
        }
        let mut instructions = VecDeque::from(instructions);
        while let Some((id, instruction)) = instructions.pop_front() {
            if self.is_blown {
                return;
            }
            let number = number_of(id);
            let connection = self.hub.connections.get_mut(&number);
            let last_word = match (instruction, connection) {
                (_, None) => continue,
                (Instruction::Quit, Some(Connection::Talking(driver))) => {
                    driver.session.supersede();
                    self.process(config, Side::Server, number, false);
                    continue;
                }
                (Instruction::Welcome(_), Some(Connection::Greeted { .. })) => {
                    self.begin(config, number);
                    continue;
                }
                (Instruction::Welcome(_), Some(connection)) => {
                    // The connection is gone already: its seat comes back when it has left.
                    if config.breaks(Broken::SeatComesBack) {
                        (self.hub.admission).begin(connection_id(number));
                    }
                    // `Beginning::kept`.
                    if let Connection::Gone(id) = connection
                        && self.hub.parked.contains_key(id)
                    {
                        match config.breaks(Broken::ParkedStays) {
                            true => _ = self.hub.parked.remove(id),
                            false => self.hub.admission.park(config.peer.key(), *id),
                        }
                    }
                    continue;
                }
                (
                    Instruction::Resume { with, heard },
                    Some(connection @ Connection::Greeted { .. }),
                ) => {
                    let has_quit = matches!(connection, Connection::Greeted { has_quit: true, .. });
                    let with = number_of(with);
                    *connection = Connection::Joining {
                        with,
                        heard,
                        has_quit,
                    };
                    continue;
                }
                (_, Some(Connection::Gone(..))) => continue,
                (Instruction::Wait { ahead }, _) => {
                    self.send(Side::Server, number, Frame::Wait { ahead });
                    continue;
                }
                (Instruction::Refuse(reason), _) => Some(Frame::Refuse { reason }),
                (Instruction::Replaced, _) => Some(Frame::Error {
                    code: Code::Replaced,
                    detail: None,
                }),
                (Instruction::Quit, _) => Some(Frame::Quit {}),
                (Instruction::Close | Instruction::Resume { .. }, _) => None,
            };
            if let Some(frame) = last_word {
                self.send(Side::Server, number, frame);
            }
            self.hang_up(Side::Server, number, false);
            self.hub.connections.remove(&number);
            instructions.extend(self.hub.admission.leave(connection_id(number)));
        }
        if config.breaks(Broken::EndBeforeAnswer) {
            self.end_given_up(config);
        }
    }

    /// `Hub::begin`, and src/link/server/connection.rs, `converse`.
    pub(super) fn begin(&mut self, config: &Config, number: Number) {
        let Some(Connection::Greeted {
            conversation: id,
            heard,
            has_quit,
        }) = self.hub.connections.remove(&number)
        else {
            return;
        };
        let parked = self.hub.parked.remove(&id);
        let was_parked = parked.is_some();
        let heard_when = config.heard_when(Side::Server);
        let new = || Conversation::new(Role::Server, id, heard_when);
        let conversation = parked.unwrap_or_else(new);
        let tale = self.tales.entry(id).or_default();
        tale.of_mut(Side::Server).untold = false;
        let is_over = |told: &crate::tale::Told| told.outcome == Some(Outcome::Ended);
        if is_over(tale.of(Side::Server)) && !tale.of(Side::Server).forgot {
            self.breaks(crate::REOPENED);
        }
        let kept = conversation.clone();
        let driver = Driver::new(config, Side::Server, conversation, true);
        (self.hub.connections).insert(number, Connection::Talking(Box::new(driver)));
        self.hub.talks.push_back(id);
        if !self.accept(config, number, number, heard, has_quit) {
            self.hub.talks.retain(|talk| *talk != id);
            // `Beginning::kept`.
            if was_parked {
                self.hub.admission.park(config.peer.key(), id);
                self.hub.parked.insert(id, kept);
            }
            return self.left(config, number);
        }
        // `ConnectionEvent::Welcomed`.
        self.hub.admission.begin(connection_id(number));
        self.hub.is_seat_asked = false;
        if !self.is_blown {
            self.show_again(config, Side::Server, number);
        }
    }

    /// `ConnectionEvent::Remains`: the hub learns what is left.
    pub(super) fn put_away_server(&mut self, config: &Config, number: Number) {
        if self.driver(Side::Server, number).has_failed && config.keeps_journal(Side::Server) {
            // The program stops, and is started again.
            self.crash(config, Side::Server);
            self.crashes -= 1;
            return;
        }
        let Some(Connection::Talking(driver)) = self.hub.connections.remove(&number) else {
            return;
        };
        let conversation = driver.conversation();
        let id = conversation.id();
        self.hub.connections.insert(number, Connection::Gone(id));
        // Arrivals that were not taken up are dropped with the session.
        let unheard: Vec<_> = (self.hub.connections.iter())
            .filter(|(_, of)| matches!(of, Connection::Joining { with, .. } if *with == number))
            .map(|(joining, _)| *joining)
            .collect();
        for joining in unheard {
            self.left(config, joining);
            self.hang_up(Side::Server, joining, true);
        }
        let key = config.peer.key();
        let remembers = !config.breaks(Broken::EndsRemembered)
            && (!conversation.is_acknowledged() || !config.breaks(Broken::JustEnded));
        match driver.done {
            Some((_, Remains::Parked(parked))) => {
                if config.breaks(Broken::ParkedKeepsAge) {
                    self.hub.admission.leave(connection_id(number));
                }
                self.hub.admission.park(key, id);
                self.hub.parked.insert(id, parked);
                if config.breaks(Broken::SupersededEnds) {
                    self.hub.admission.given_up();
                }
                self.end_given_up(config);
            }
            Some((_, Remains::End)) if remembers => {
                self.hub.admission.remember_end(key, id, config.now);
            }
            _ => {}
        }
    }

    /// `Hub::end_given_up`.
    pub(super) fn end_given_up(&mut self, config: &Config) {
        for (key, id) in self.hub.admission.given_up() {
            let Some(mut conversation) = self.hub.parked.remove(&id) else {
                continue;
            };
            if self.burns() {
                return;
            }
            conversation.quit();
            self.tell_abandoned(&conversation);
            let told = self.tales.entry(id).or_default().of_mut(Side::Server);
            told.outcome = Some(Outcome::Ended);
            if conversation.is_acknowledged() {
                self.remove_record(Side::Server, id);
            } else {
                self.store(config, Side::Server, Record::end(id));
            }
            if !config.breaks(Broken::EndsRemembered) {
                self.hub.admission.remember_end(key, id, config.now);
            }
        }
    }

    /// `Abandoned::of`, and its user reads it.
    fn tell_abandoned(&mut self, conversation: &Conversation) {
        let tale = self.tales.entry(conversation.id()).or_default();
        if let Some((turn, _)) = conversation.end(By::Peer).unacknowledged {
            tale.of_mut(Side::Server).named = Some(turn);
        }
        if let Some((turn, text)) = conversation.last_heard()
            && conversation.is_in_hand()
            && let Err(promise) = tale.show(Side::Server, turn, text, true)
        {
            self.breaks(promise);
        }
    }

    /// `Report::Left`.
    pub(super) fn left(&mut self, config: &Config, number: Number) {
        self.hub.connections.remove(&number);
        let instructions = self.hub.admission.leave(connection_id(number));
        self.give(config, instructions);
    }

    /// `Hub::restore`.
    pub(super) fn restart_hub(&mut self, config: &Config) {
        let hub = &mut self.hub;
        let records = std::mem::take(&mut hub.records);
        *hub = Hub::new(config);
        hub.records.clone_from(&records);
        let key = config.peer.key();
        let mut untold = Vec::new();
        for record in &records {
            let (id, admission) = (record.snapshot.id, &mut hub.admission);
            if record.is_to_be_told() && record.snapshot.quit {
                untold.push(record.snapshot.clone());
            }
            if !record.snapshot.quit {
                admission.restore(key, id, record.clienthello);
            } else if !config.breaks(Broken::EndsRemembered) {
                admission.remember_end(key, id, config.now);
            }
        }
        if config.breaks(Broken::LastIsKept) {
            let others = hub.admission.given_up();
            others
                .iter()
                .for_each(|(key, id)| hub.admission.park(*key, *id));
        }
        let is_held =
            |record: &Record| record.is_live && hub.admission.is_open(&key, record.snapshot.id);
        let held = records.iter().rposition(is_held);
        let open = |(_, record): &(_, Record)| !record.snapshot.quit;
        for (place, record) in records.into_iter().enumerate().filter(open) {
            let id = record.snapshot.id;
            let conversation = Conversation::restore(Role::Server, record.snapshot).unwrap();
            if held == Some(place) {
                let number = self.number();
                let hub = &mut self.hub;
                hub.admission.hold(connection_id(number), key, id);
                // `Server::next` asks for a seat, and is given this.
                assert!(hub.admission.seat().is_empty());
                hub.talks.push_back(id);
                let mut driver = Driver::new(config, Side::Server, conversation, true);
                driver.session.hold(record.clienthello);
                (hub.connections).insert(number, Connection::Talking(Box::new(driver)));
                self.process(config, Side::Server, number, false);
                self.show_again(config, Side::Server, number);
            } else {
                self.hub.parked.insert(id, conversation);
            }
        }
        if config.breaks(Broken::EndsAreTold) {
            untold.clear();
        }
        for end in untold {
            // `ServerEvent::Ended`.
            let conversation = Conversation::restore(Role::Server, end).unwrap();
            self.tell_abandoned(&conversation);
            self.store(config, Side::Server, Record::end(conversation.id()));
        }
        self.end_given_up(config);
    }
}
