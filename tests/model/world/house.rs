//! The server, as src/link/server/hub.rs, src/link/server/connection.rs and
//! src/link/server/mod.rs have it.

use std::collections::{BTreeMap, VecDeque};

use turnchat::link::Verdict;
use turnchat::link::server::admission::{
    Admission, ConnectionId, Hello, Instruction, Instructions,
};
use turnchat::protocol::{
    By, Code, Conversation, ConversationId, Frame, Limits, Reason, Role, Snapshot,
};

use super::session::{Ending, Session};
use super::{Number, World};
use crate::config::{Config, Side};
use crate::rules::Broken;
use crate::tale::Outcome;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Guest {
    Stranger,
    Candidates {
        conversation: ConversationId,
        heard: u64,
        has_quit: bool,
    },
    Joining {
        with: Number,
        heard: u64,
        has_quit: bool,
    },
    Talking(Session),
    /// Its task is gone, and the hub does not know yet. It was in this
    /// conversation, or is about to be welcomed to it.
    Gone(ConversationId),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct House {
    pub(super) admission: Admission,
    pub(super) guests: BTreeMap<Number, Guest>,
    pub(super) parked: BTreeMap<ConversationId, Conversation>,
    /// What a crash leaves, the newest last: is it live?
    pub(super) pages: Vec<(Snapshot, bool)>,
    /// `Server::next` is waited for.
    pub(super) is_seat_asked: bool,
    /// Welcomed, for the user; the first is being talked in.
    pub(super) talks: VecDeque<ConversationId>,
}

impl House {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            admission: Admission::new(&Limits::default(), !config.breaks(Broken::OneOpen)),
            guests: BTreeMap::new(),
            parked: BTreeMap::new(),
            pages: Vec::new(),
            is_seat_asked: false,
            talks: VecDeque::new(),
        }
    }

    /// The conversations that are on or held, and the connections that they began on.
    pub(super) fn talking(&self) -> impl Iterator<Item = (Number, &Session)> {
        self.guests.iter().filter_map(|(at, guest)| match guest {
            Guest::Talking(session) if session.ending.is_none() => Some((*at, session)),
            _ => None,
        })
    }
}

impl World {
    pub(super) fn up(&mut self, config: &Config, number: Number) {
        let link = self.links.get_mut(&number).unwrap();
        let frame = link.up.pop_front().unwrap();
        match (self.house.guests.get_mut(&number), frame) {
            (
                Some(Guest::Stranger),
                Frame::Hello {
                    conversation,
                    heard,
                },
            ) => self.hello(config, number, conversation, heard),
            (Some(Guest::Candidates { has_quit, .. }), Frame::Quit {}) => {
                *has_quit = true;
                let instructions =
                    (self.house.admission).quit(ConnectionId(number.into()), config.now);
                self.give(config, instructions);
            }
            (Some(Guest::Candidates { has_quit: true, .. }), _) => {}
            (Some(Guest::Stranger | Guest::Candidates { .. }), _) => self.breaks(crate::ACCUSED),
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
        let candidates = Guest::Candidates {
            conversation,
            heard,
            has_quit: false,
        };
        self.house.guests.insert(number, candidates);
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
        let id = ConnectionId(number.into());
        let admission = &mut self.house.admission;
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
        while let Some((ConnectionId(number), instruction)) = instructions.pop_front() {
            if self.is_blown {
                return;
            }
            let number = Number::try_from(number).unwrap();
            let guest = self.house.guests.get_mut(&number);
            let last_word = match (instruction, guest) {
                (_, None) => continue,
                (Instruction::Quit, Some(Guest::Talking(session))) => {
                    if session.ending.is_none() {
                        self.supersede(config, number);
                    }
                    continue;
                }
                (Instruction::Welcome(_), Some(Guest::Candidates { .. })) => {
                    self.begin(config, number);
                    continue;
                }
                (Instruction::Welcome(_), Some(guest)) => {
                    // The connection is gone already: its seat comes back when it has left.
                    if config.breaks(Broken::SeatComesBack) {
                        (self.house.admission).begin(ConnectionId(number.into()));
                    }
                    // `Beginning::kept`.
                    if let Guest::Gone(id) = guest
                        && self.house.parked.contains_key(id)
                    {
                        match config.breaks(Broken::ParkedStays) {
                            true => _ = self.house.parked.remove(id),
                            false => self.house.admission.park(config.peer.key(), *id),
                        }
                    }
                    continue;
                }
                (Instruction::Resume { with, heard }, Some(guest @ Guest::Candidates { .. })) => {
                    let has_quit = matches!(guest, Guest::Candidates { has_quit: true, .. });
                    let with = Number::try_from(with.0).unwrap();
                    *guest = Guest::Joining {
                        with,
                        heard,
                        has_quit,
                    };
                    continue;
                }
                (_, Some(Guest::Gone(..))) => continue,
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
            self.house.guests.remove(&number);
            instructions.extend(self.house.admission.leave(ConnectionId(number.into())));
        }
        if config.breaks(Broken::EndBeforeAnswer) {
            self.end_given_up(config);
        }
    }

    /// `Hub::begin`, and src/link/server/connection.rs, `converse`.
    pub(super) fn begin(&mut self, config: &Config, number: Number) {
        let Some(Guest::Candidates {
            conversation: id,
            heard,
            has_quit,
        }) = self.house.guests.remove(&number)
        else {
            return;
        };
        let parked = self.house.parked.remove(&id);
        let was_parked = parked.is_some();
        let conversation = parked.unwrap_or_else(|| Conversation::new(Role::Server, id));
        let tale = self.tales.entry(id).or_default();
        tale.of_mut(Side::Server).untold = false;
        let is_over = |told: &crate::tale::Told| told.outcome == Some(Outcome::Ended);
        if is_over(tale.of(Side::Server)) && !tale.of(Side::Server).forgot {
            self.breaks(crate::REOPENED);
        }
        let mut session = Session::held(conversation);
        session.link = Some(number);
        session.newest = number;
        session.is_lost = false;
        self.house.guests.insert(number, Guest::Talking(session));
        let kept = self.session(Side::Server, number).conversation.clone();
        if !self.accept(config, number, number, heard, has_quit) {
            // `Beginning::kept`.
            if was_parked {
                self.house.admission.park(config.peer.key(), id);
                self.house.parked.insert(id, kept);
            }
            return self.left(config, number);
        }
        // `Report::Welcomed`.
        (self.house.admission).begin(ConnectionId(number.into()));
        self.house.is_seat_asked = false;
        self.house.talks.push_back(id);
        self.show_again(Side::Server, number);
        self.process_outputs(config, Side::Server, number);
    }

    /// `Command::Supersede`, in `Session::drive`.
    pub(super) fn supersede(&mut self, config: &Config, number: Number) {
        let session = self.session(Side::Server, number);
        session.conversation.quit();
        let end = session.conversation.end(By::Peer);
        let link = session.link;
        self.process_outputs(config, Side::Server, number);
        if self.is_blown {
            return;
        }
        let session = self.session(Side::Server, number);
        session.ending = Some(Ending::Ended(end));
        session.link = None;
        if let Some(link) = link {
            self.hang_up(Side::Server, link, false);
        }
    }

    /// `Session::finish`, then `Report::Rest`.
    pub(super) fn put_away_server(&mut self, config: &Config, number: Number) {
        let Some(Guest::Talking(session)) = self.house.guests.remove(&number) else {
            return;
        };
        let conversation = session.conversation;
        let id = conversation.id();
        self.house.guests.insert(number, Guest::Gone(id));
        let end = match &session.ending {
            Some(Ending::Ended(end)) => end.clone(),
            _ => conversation.end(By::Me),
        };
        let is_failed = session.ending == Some(Ending::Failed);
        let is_parked = is_failed && !conversation.has_quit();
        let outcome = match is_failed {
            true => Outcome::GivenUp,
            false => Outcome::Ended,
        };
        // Attachments that were not taken up are dropped with the session.
        let unheard: Vec<_> = (self.house.guests.iter())
            .filter(|(_, guest)| matches!(guest, Guest::Joining { with, .. } if *with == number))
            .map(|(joining, _)| *joining)
            .collect();
        for joining in unheard {
            self.left(config, joining);
            self.hang_up(Side::Server, joining, true);
        }
        self.house.talks.retain(|talk| *talk != id);
        let key = config.peer.key();
        if is_parked && config.keeps_journal(Side::Server) {
            self.store(config, Side::Server, conversation.snapshot(), false);
            let burns = self.burns();
            let told = self.tales.entry(id).or_default().of_mut(Side::Server);
            if burns {
                told.untold = true;
                return;
            }
            // No end: it can go on. What is not acknowledged is named all the same.
            told.named = end.unacknowledged.map(|(turn, _)| turn);
            if config.breaks(Broken::ParkedKeepsAge) {
                self.house.admission.leave(ConnectionId(number.into()));
            }
            self.house.admission.park(key, id);
            self.house.parked.insert(id, conversation);
            return;
        }
        let may_return = !conversation.is_acknowledged();
        match may_return {
            true => self.store(config, Side::Server, conversation.tombstone(), false),
            false => self.remove_page(id),
        }
        if self.burns() {
            self.tales
                .entry(id)
                .or_default()
                .of_mut(Side::Server)
                .untold = true;
            return;
        }
        self.tell(Side::Server, id, &end, outcome);
        if (may_return || !config.breaks(Broken::JustEnded))
            && !config.breaks(Broken::EndsRemembered)
        {
            self.house.admission.remember_end(key, id, config.now);
        }
    }

    /// `Hub::end_given_up`.
    pub(super) fn end_given_up(&mut self, config: &Config) {
        for (key, id) in self.house.admission.given_up() {
            let Some(mut conversation) = self.house.parked.remove(&id) else {
                continue;
            };
            if self.burns() {
                return;
            }
            conversation.quit();
            self.tell(
                Side::Server,
                id,
                &conversation.end(By::Peer),
                Outcome::Ended,
            );
            if conversation.is_acknowledged() {
                self.remove_page(id);
            } else {
                self.store(config, Side::Server, conversation.tombstone(), false);
            }
            if !config.breaks(Broken::EndsRemembered) {
                self.house.admission.remember_end(key, id, config.now);
            }
        }
    }

    /// `Report::Left`.
    pub(super) fn left(&mut self, config: &Config, number: Number) {
        self.house.guests.remove(&number);
        let instructions = self.house.admission.leave(ConnectionId(number.into()));
        self.give(config, instructions);
    }

    /// `Hub::restore`.
    pub(super) fn restart_house(&mut self, config: &Config) {
        let house = &mut self.house;
        let pages = std::mem::take(&mut house.pages);
        *house = House::new(config);
        house.pages.clone_from(&pages);
        let key = config.peer.key();
        let held = pages
            .iter()
            .rposition(|(page, is_live)| *is_live && !page.quit);
        for (place, (page, _)) in pages.into_iter().enumerate() {
            let id = page.id;
            let has_quit = page.quit;
            let conversation = Conversation::restore(Role::Server, page).unwrap();
            let house = &mut self.house;
            if has_quit {
                if !config.breaks(Broken::EndsRemembered) {
                    house.admission.remember_end(key, id, config.now);
                }
            } else if held == Some(place) {
                let number = self.number();
                let house = &mut self.house;
                house.admission.hold(ConnectionId(number.into()), key, id);
                // `Server::next` asks for a seat, and is given this.
                assert!(house.admission.seat().is_empty());
                house.talks.push_back(id);
                let session = Session::held(conversation);
                house.guests.insert(number, Guest::Talking(session));
                self.show_again(Side::Server, number);
            } else {
                house.admission.park(key, id);
                house.parked.insert(id, conversation);
            }
        }
    }
}
