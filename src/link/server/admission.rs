//! [`Admission`]: who is let in, who waits, who is told what. Pure values:
//! arrivals, verdicts and instants in, instructions to connections out.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use crate::protocol::{ConversationId, Limits, Reason};
use crate::trust::{KeyId, Peer};

/// A connection, numbered as they were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What is decided about a proven key when its `hello` has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Admit,
    /// Put it to the person.
    Ask,
    /// No.
    Refuse(Reason),
}

/// What a person answers about an unknown key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Let it in, this once.
    Accept,
    /// No.
    Decline,
}

/// A `hello`: who wants to talk, and about which conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// Who: a proven key.
    pub peer: Peer,
    /// Which conversation it begins or goes on with.
    pub conversation: ConversationId,
    /// The highest turn that it has heard.
    pub heard: u64,
    /// When its first ClientHello came, among all of this server's: a relay
    /// can hold back a `hello`, but not make its handshake younger.
    pub clienthello: u64,
}

/// A peer that is let in, to this conversation. Only this file makes one, so
/// no conversation begins without a verdict.
#[derive(Debug)]
pub struct Admitted {
    pub(super) peer: Peer,
    pub(super) conversation: ConversationId,
    pub(super) heard: u64,
}

/// What a connection is told to do.
#[derive(Debug)]
pub enum Instruction {
    /// Close without a word.
    Close,
    /// Say `refuse`, and close.
    Refuse(Reason),
    /// Say `wait`.
    Wait {
        /// How many are before it.
        ahead: u64,
    },
    /// Say `error` `replaced`, and close.
    Replaced,
    /// Say `welcome`: the conversation is on.
    Welcome(Admitted),
    /// Hand the connection over to this conversation, which goes on with it.
    Resume {
        /// The connection with which it was begun.
        with: ConnectionId,
        /// The highest turn that the peer has heard.
        heard: u64,
    },
    /// End the conversation that is on, with `quit`.
    Quit,
}

/// Instructions, each to one connection, to be given in this sequence.
pub type Instructions = Vec<(ConnectionId, Instruction)>;

/// Everyone who is connected, and what stage they are at. It compares and
/// hashes, so that a model checker can hold it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Admission {
    limits: Limits,
    /// One peer at a time: a key has one open conversation, the newest.
    one_at_a_time: bool,
    connections: BTreeMap<ConnectionId, Connection>,
    /// In the order of their turns.
    queue: VecDeque<ConnectionId>,
    /// Conversations that may begin at once; below zero, one is on already
    /// for which nobody has made room.
    seats: isize,
    /// When the person was last asked, the oldest first.
    asked: VecDeque<Instant>,
    /// Conversations that ended and could be mistaken for new ones, the
    /// oldest first.
    ended: VecDeque<(Instant, KeyId, ConversationId)>,
    /// Conversations that can still go on, and when the ClientHello of the
    /// last connection of each came.
    parked: BTreeMap<(KeyId, ConversationId), u64>,
    /// Of these, the ones that a peer has given up.
    given_up: Vec<(KeyId, ConversationId)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Connection {
    address: Option<Origin>,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Stranger,
    Asking {
        hello: Hello,
        until: Instant,
    },
    Queued {
        hello: Hello,
        told: Option<u64>,
    },
    /// In a conversation, which may outlive the connection.
    Talking {
        key: KeyId,
        conversation: ConversationId,
        clienthello: u64,
        /// It was there to take its instruction.
        has_begun: bool,
        /// Its peer has begun another: however it ends, it is not parked.
        is_superseded: bool,
    },
    /// Refused before it was admitted, and not gone yet.
    Refused,
    /// Ordered to close, or to join another, and not gone yet.
    Leaving,
}

impl Stage {
    /// Key, conversation and age of whoever said `hello` and was not sent away.
    fn candidate(&self) -> Option<(KeyId, ConversationId, u64)> {
        match self {
            Self::Asking { hello, .. } | Self::Queued { hello, .. } => {
                Some((hello.peer.key(), hello.conversation, hello.clienthello))
            }
            Self::Talking {
                key,
                conversation,
                clienthello,
                ..
            } => Some((*key, *conversation, *clienthello)),
            Self::Stranger | Self::Refused | Self::Leaving => None,
        }
    }

    fn is_admitted(&self) -> bool {
        matches!(
            self,
            Self::Queued { .. } | Self::Talking { .. } | Self::Leaving
        )
    }
}

/// What counts as one address: whoever has an IPv6 /64 has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Origin {
    Loopback,
    V4([u8; 4]),
    V6([u16; 4]),
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::Loopback,
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

impl Admission {
    /// Nobody is here, and no conversation may begin before
    /// [`seat`](Self::seat).
    pub fn new(limits: &Limits, one_at_a_time: bool) -> Self {
        Self {
            limits: *limits,
            one_at_a_time,
            connections: BTreeMap::new(),
            queue: VecDeque::new(),
            seats: 0,
            asked: VecDeque::new(),
            ended: VecDeque::new(),
            parked: BTreeMap::new(),
            given_up: Vec::new(),
        }
    }

    /// A connection was accepted. Where there are too many that are not
    /// admitted, an older one has to go: the new one may be the honest one.
    pub fn arrive(&mut self, id: ConnectionId, address: Option<IpAddr>) -> Instructions {
        let stranger = Connection {
            address: address.map(Origin::from),
            stage: Stage::Stranger,
        };
        let origin = stranger.address;
        self.connections.insert(id, stranger);

        let mut crowd: BTreeMap<Option<Origin>, Vec<ConnectionId>> = BTreeMap::new();
        for (id, connection) in &self.connections {
            if !connection.stage.is_admitted() {
                crowd.entry(connection.address).or_default().push(*id);
            }
        }
        let is_limited = !matches!(origin, None | Some(Origin::Loopback));
        let of_origin = crowd.get(&origin).map_or(&[][..], Vec::as_slice);
        let too_many = if is_limited && of_origin.len() > self.limits.strangers_per_address {
            of_origin.first()
        } else if crowd.values().map(Vec::len).sum::<usize>() > self.limits.strangers {
            // The oldest of the address that has most.
            let most = crowd.values().max_by_key(|ids| ids.len());
            most.and_then(|ids| ids.first())
        } else {
            None
        };
        let too_many = too_many.copied();
        too_many
            .into_iter()
            .map(|id| self.dismiss(id, Instruction::Close))
            .collect()
    }

    /// A `hello` has come, and this is the verdict on its key.
    pub fn hello(
        &mut self,
        id: ConnectionId,
        hello: Hello,
        verdict: Verdict,
        now: Instant,
    ) -> Instructions {
        match verdict {
            Verdict::Refuse(reason) => vec![self.dismiss(id, Instruction::Refuse(reason))],
            Verdict::Ask => self.ask_about(id, hello, now),
            Verdict::Admit => self.admit(id, hello, now),
        }
    }

    /// The conversation that a connection was ordered to welcome has begun.
    pub fn begin(&mut self, id: ConnectionId) {
        let stage = self.connections.get_mut(&id).map(|c| &mut c.stage);
        if let Some(Stage::Talking { has_begun, .. }) = stage {
            *has_begun = true;
        }
    }

    /// A connection is gone, whatever it was doing. If it was ordered to
    /// welcome and had left before, its seat is free again.
    pub fn leave(&mut self, id: ConnectionId) -> Instructions {
        let left = self.connections.remove(&id).map(|c| c.stage);
        self.queue.retain(|queued| *queued != id);
        if matches!(
            left,
            Some(Stage::Talking {
                has_begun: false,
                ..
            })
        ) {
            self.seats += 1;
        }
        self.fill_seats()
    }

    /// A conversation has ended, and a `hello` for it could come once more, as
    /// if for a new one: its client may not know that it ever began, or an
    /// older connection may have been held back.
    pub fn remember_end(&mut self, key: KeyId, conversation: ConversationId, now: Instant) {
        let time = self.limits.ended_time;
        self.ended.retain(|(ended, of, id)| {
            (*of, *id) != (key, conversation) && now.duration_since(*ended) < time
        });
        if self.ended.len() >= self.limits.ended {
            self.ended.pop_front();
        }
        self.ended.push_back((now, key, conversation));
    }

    /// The youngest ClientHello that a later `hello`'s is compared with.
    pub fn newest(&self) -> Option<u64> {
        let guests = self
            .connections
            .values()
            .filter_map(|c| c.stage.candidate());
        let ages = guests.map(|(.., clienthello)| clienthello);
        ages.chain(self.parked.values().copied()).max()
    }

    /// For whoever knows that no `hello` for it can come any more, as a model
    /// checker does. Says whether it had ended.
    pub fn forget_end(&mut self, key: KeyId, conversation: ConversationId) -> bool {
        let had_ended = self.has_ended(&key, conversation);
        self.ended
            .retain(|(_, of, id)| (*of, *id) != (key, conversation));
        had_ended
    }

    /// A conversation is held no longer, and can still go on: it is parked. If
    /// its peer has begun another meanwhile, it is given up at once.
    pub fn park(&mut self, key: KeyId, conversation: ConversationId) {
        let mut last = 0;
        for connection in self.connections.values() {
            match &connection.stage {
                Stage::Talking {
                    key: of,
                    conversation: id,
                    is_superseded: true,
                    ..
                } if (*of, *id) == (key, conversation) => {
                    return self.given_up.push((key, conversation));
                }
                stage => {
                    let named = stage.candidate();
                    let age = named.filter(|(of, id, _)| (*of, *id) == (key, conversation));
                    last = last.max(age.map_or(0, |(.., clienthello)| clienthello));
                }
            }
        }
        self.parked.insert((key, conversation), last);
    }

    /// A parked conversation is given up: there are too many.
    pub fn unpark(&mut self, key: KeyId, conversation: ConversationId) {
        self.parked.remove(&(key, conversation));
    }

    /// A conversation was parked before a restart, or on. They are to be told of in
    /// the order in which their peers came last: of one key, where it has one open
    /// conversation, the last is kept. A crash can come between a beginning and the
    /// end of what was open before.
    pub fn restore(&mut self, key: KeyId, conversation: ConversationId, clienthello: u64) {
        if self.one_at_a_time {
            self.give_up_others(key, conversation);
        }
        self.parked.insert((key, conversation), clienthello);
    }

    /// One of the [`restore`](Self::restore)d conversations holds its place, as if this
    /// connection had begun it. It takes the next [`seat`](Self::seat).
    pub fn hold(&mut self, id: ConnectionId, key: KeyId, conversation: ConversationId) {
        let Some(clienthello) = self.parked.remove(&(key, conversation)) else {
            return;
        };
        let stage = Stage::Talking {
            key,
            conversation,
            clienthello,
            has_begun: true,
            is_superseded: false,
        };
        self.seats -= 1;
        self.connections.insert(
            id,
            Connection {
                address: None,
                stage,
            },
        );
    }

    /// The parked conversations that were given up since this was last asked.
    pub fn given_up(&mut self) -> Vec<(KeyId, ConversationId)> {
        std::mem::take(&mut self.given_up)
    }

    /// A `quit` has come from a connection that was not welcomed: it ends the
    /// conversation that its `hello` named, wherever that stands. The end is
    /// remembered: an older connection may still bring a `hello` for it.
    pub fn quit(&mut self, id: ConnectionId, now: Instant) -> Instructions {
        let stage = self.connections.get(&id).map(|c| &c.stage);
        let Some(Stage::Asking { hello, .. } | Stage::Queued { hello, .. }) = stage else {
            // Welcomed meanwhile; the conversation takes note of it.
            return Vec::new();
        };
        let named = (hello.peer.key(), hello.conversation);
        if self.parked.remove(&named).is_some() {
            self.given_up.push(named);
        }
        let (key, conversation) = named;
        self.remember_end(key, conversation, now);
        let mut instructions = vec![self.dismiss(id, Instruction::Quit)];
        instructions.extend(self.tell_places());
        instructions
    }

    /// Whether this conversation is on, held or parked.
    pub fn is_open(&self, key: &KeyId, conversation: ConversationId) -> bool {
        let of_this = |c: &Connection| matches!(c.stage, Stage::Talking { key: of, conversation: id, .. } if of == *key && id == conversation);
        self.parked.contains_key(&(*key, conversation)) || self.connections.values().any(of_this)
    }

    fn has_ended(&self, key: &KeyId, conversation: ConversationId) -> bool {
        let mut ended = self.ended.iter();
        ended.any(|(_, of, id)| of == key && *id == conversation)
    }

    /// Whether somebody waits for a place.
    pub fn is_crowded(&self) -> bool {
        !self.queue.is_empty()
    }

    /// One more conversation may begin.
    pub fn seat(&mut self) -> Instructions {
        self.seats += 1;
        self.fill_seats()
    }

    /// The longest-waiting unknown key, to be put to the person now; `None`
    /// where there is none, or the person was asked too often lately.
    pub fn ask(&mut self, now: Instant) -> Option<KeyId> {
        let question = self.question(now)?;
        self.asked.push_back(now);
        Some(question)
    }

    /// What [`ask`](Self::ask) would say, without asking.
    pub fn question(&mut self, now: Instant) -> Option<KeyId> {
        let window = self.limits.questions_window;
        self.asked
            .retain(|asked| now.duration_since(*asked) < window);
        if self.asked.len() >= self.limits.questions_in_window {
            return None;
        }
        self.connections
            .values()
            .find_map(|connection| match &connection.stage {
                Stage::Asking { hello, .. } => Some(hello.peer.key()),
                _ => None,
            })
    }

    /// Whether this unknown key still waits for an answer.
    pub fn is_asking(&self, key: &KeyId) -> bool {
        self.asking(key).is_some()
    }

    /// The person has answered about this key.
    pub fn answer(&mut self, key: &KeyId, answer: Answer, now: Instant) -> Instructions {
        let Some(id) = self.asking(key) else {
            return Vec::new();
        };
        match (answer, self.take_stage(id)) {
            (Answer::Accept, Stage::Asking { hello, .. }) => self.admit(id, hello, now),
            _ => vec![self.dismiss(id, Instruction::Refuse(Reason::Declined))],
        }
    }

    /// Sends away whoever of this key waits: it is not let in any more.
    pub fn expel(&mut self, key: &KeyId) -> Instructions {
        let is_of_it = |id: &&ConnectionId| {
            let candidate = self.connections.get(*id).and_then(|c| c.stage.candidate());
            candidate.is_some_and(|(of, ..)| of == *key)
        };
        let waiting: Vec<_> = self.queue.iter().filter(is_of_it).copied().collect();
        let refused = |id| self.dismiss(id, Instruction::Refuse(Reason::UnknownPeer));
        let mut instructions: Instructions = waiting.into_iter().map(refused).collect();
        instructions.extend(self.tell_places());
        instructions
    }

    /// Sends away whoever has waited too long for an answer.
    pub fn overdue(&mut self, now: Instant) -> Instructions {
        let overdue: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, c)| matches!(c.stage, Stage::Asking { until, .. } if until <= now))
            .map(|(id, _)| *id)
            .collect();
        overdue
            .into_iter()
            .map(|id| self.dismiss(id, Instruction::Refuse(Reason::Busy)))
            .collect()
    }

    /// When to ask [`overdue`](Self::overdue) again.
    pub fn wake_at(&self) -> Option<Instant> {
        let waiting = self.connections.values().filter_map(|c| match c.stage {
            Stage::Asking { until, .. } => Some(until),
            _ => None,
        });
        waiting.min()
    }

    /// Who is next, if somebody waits.
    pub fn next(&self) -> Option<KeyId> {
        let connection = self.connections.get(self.queue.front()?)?;
        connection.stage.candidate().map(|(key, ..)| key)
    }

    /// Sends everyone away who is not talking: the server stops.
    pub fn close(&mut self) -> Instructions {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        let mut instructions = Instructions::new();
        for id in ids {
            match self.connections.get(&id).map(|c| &c.stage) {
                Some(Stage::Stranger) => instructions.push(self.dismiss(id, Instruction::Close)),
                Some(Stage::Asking { .. } | Stage::Queued { .. }) => {
                    instructions.push(self.dismiss(id, Instruction::Refuse(Reason::Busy)));
                }
                _ => {}
            }
        }
        instructions
    }

    fn ask_about(&mut self, id: ConnectionId, hello: Hello, now: Instant) -> Instructions {
        let origin = self.connections.get(&id).and_then(|c| c.address);
        let mut asking = self
            .connections
            .values()
            .filter(|c| matches!(c.stage, Stage::Asking { .. }));
        let is_limited = !matches!(origin, None | Some(Origin::Loopback));
        let is_known = self.is_asking(&hello.peer.key());
        let is_taken = asking.clone().any(|c| is_limited && c.address == origin);
        if is_known || is_taken || asking.by_ref().count() >= self.limits.questions {
            return vec![self.dismiss(id, Instruction::Refuse(Reason::Busy))];
        }
        let until = now + self.limits.question_time;
        self.set_stage(id, Stage::Asking { hello, until });
        vec![(id, Instruction::Wait { ahead: 0 })]
    }

    fn admit(&mut self, id: ConnectionId, hello: Hello, now: Instant) -> Instructions {
        let key = hello.peer.key();
        let is_rival = |of: KeyId, id: ConversationId| {
            of == key && (self.one_at_a_time || id == hello.conversation)
        };
        let others: Vec<_> = self
            .connections
            .iter()
            .filter(|(other, _)| **other != id)
            .filter_map(|(other, c)| Some((*other, c.stage.candidate()?)))
            .filter(|(_, (of, conversation, _))| is_rival(*of, *conversation))
            .collect();
        let parked =
            (self.parked.iter()).filter(|((of, conversation), _)| is_rival(*of, *conversation));
        let ages = others.iter().map(|(_, (.., age))| age);
        let mut ages = ages.chain(parked.map(|(_, age)| age));
        // Newest connection wins: this one was overtaken while something held it back.
        if ages.any(|age| *age > hello.clienthello) {
            return vec![self.dismiss(id, Instruction::Close)];
        }
        let held = others.iter().map(|(other, _)| *other).find(|other| {
            let stage = self.connections.get_mut(other).map(|c| &mut c.stage);
            let Some(Stage::Talking {
                conversation,
                clienthello,
                ..
            }) = stage
            else {
                return false;
            };
            let is_same = *conversation == hello.conversation;
            if is_same {
                *clienthello = hello.clienthello;
            }
            is_same
        });
        if let Some(with) = held {
            let heard = hello.heard;
            return vec![self.dismiss(id, Instruction::Resume { with, heard })];
        }
        let named = (key, hello.conversation);
        let is_new = !self.parked.contains_key(&named);
        if is_new && (hello.heard > 0 || self.has_ended(&key, hello.conversation)) {
            // Refused, it changes nothing.
            return vec![self.dismiss(id, Instruction::Refuse(Reason::Ended))];
        }
        let queued = |(other, _): &(ConnectionId, _)| self.queue.contains(other);
        let place = others
            .iter()
            .filter(|other| queued(other))
            .find_map(|(other, _)| self.queue.iter().position(|queued| queued == other));
        let has_other_place = place.is_none() && !self.one_at_a_time && self.has_place(&key);
        if has_other_place || (place.is_none() && self.queue.len() >= self.limits.queue) {
            return vec![self.dismiss(id, Instruction::Refuse(Reason::Busy))];
        }
        let mut instructions = Instructions::new();
        for (other, (_, conversation, _)) in others {
            let stage = self.connections.get_mut(&other).map(|c| &mut c.stage);
            let is_talking = match stage {
                Some(Stage::Talking { is_superseded, .. }) => {
                    *is_superseded |= conversation != hello.conversation;
                    true
                }
                _ => false,
            };
            instructions.push(match conversation == hello.conversation {
                true => self.dismiss(other, Instruction::Replaced),
                false if is_talking => (other, Instruction::Quit),
                false => {
                    self.remember_end(key, conversation, now);
                    self.dismiss(other, Instruction::Refuse(Reason::Ended))
                }
            });
        }
        if self.one_at_a_time {
            self.give_up_others(key, hello.conversation);
        }
        let place = place.unwrap_or(self.queue.len()).min(self.queue.len());
        self.queue.insert(place, id);
        self.set_stage(id, Stage::Queued { hello, told: None });
        instructions.extend(self.fill_seats());
        instructions
    }

    fn give_up_others(&mut self, key: KeyId, conversation: ConversationId) {
        let is_other = |(of, id): &(KeyId, ConversationId)| *of == key && *id != conversation;
        let others = self.parked.keys().copied().filter(is_other);
        self.given_up.extend(others);
        self.parked.retain(|parked, _| !is_other(parked));
    }

    fn fill_seats(&mut self) -> Instructions {
        let mut instructions = Instructions::new();
        while self.seats > 0 {
            let Some(id) = self.queue.pop_front() else {
                break;
            };
            if let Stage::Queued { hello, .. } = self.take_stage(id) {
                self.seats -= 1;
                let (key, conversation) = (hello.peer.key(), hello.conversation);
                let clienthello = hello.clienthello;
                self.parked.remove(&(key, conversation));
                self.set_stage(
                    id,
                    Stage::Talking {
                        key,
                        conversation,
                        clienthello,
                        has_begun: false,
                        is_superseded: false,
                    },
                );
                instructions.push((
                    id,
                    Instruction::Welcome(Admitted {
                        peer: hello.peer,
                        conversation,
                        heard: hello.heard,
                    }),
                ));
            }
        }
        instructions.extend(self.tell_places());
        instructions
    }

    /// `wait` to everyone in the queue whose place has changed.
    fn tell_places(&mut self) -> Instructions {
        let mut instructions = Instructions::new();
        for (ahead, id) in (0..).zip(&self.queue) {
            let stage = self.connections.get_mut(id).map(|c| &mut c.stage);
            if let Some(Stage::Queued { told, .. }) = stage
                && *told != Some(ahead)
            {
                *told = Some(ahead);
                instructions.push((*id, Instruction::Wait { ahead }));
            }
        }
        instructions
    }

    fn dismiss(
        &mut self,
        id: ConnectionId,
        instruction: Instruction,
    ) -> (ConnectionId, Instruction) {
        let stage = self.connections.get(&id).map(|c| &c.stage);
        let is_stranger = stage.is_some_and(|stage| !stage.is_admitted());
        self.set_stage(
            id,
            match instruction {
                Instruction::Refuse(_) if is_stranger => Stage::Refused,
                _ => Stage::Leaving,
            },
        );
        self.queue.retain(|queued| *queued != id);
        (id, instruction)
    }

    fn asking(&self, key: &KeyId) -> Option<ConnectionId> {
        let mut all = self.connections.iter();
        let (id, _) = all.find(
            |(_, c)| matches!(&c.stage, Stage::Asking { hello, .. } if hello.peer.key() == *key),
        )?;
        Some(*id)
    }

    fn has_place(&self, key: &KeyId) -> bool {
        self.queue.iter().any(|id| {
            let candidate = self.connections.get(id).and_then(|c| c.stage.candidate());
            candidate.is_some_and(|(of, ..)| of == *key)
        })
    }

    fn set_stage(&mut self, id: ConnectionId, stage: Stage) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stage = stage;
        }
    }

    fn take_stage(&mut self, id: ConnectionId) -> Stage {
        match self.connections.get_mut(&id) {
            Some(connection) => std::mem::replace(&mut connection.stage, Stage::Leaving),
            None => Stage::Leaving,
        }
    }
}

#[cfg(test)]
mod tests;
