//! [`Admission`]: who is let in, who waits, who is told what. Pure values:
//! arrivals, verdicts and instants in, orders to connections out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
pub enum Order {
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

/// Orders, each to one connection, to be given in this sequence.
pub type Orders = Vec<(ConnectionId, Order)>;

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
    /// Conversations that can still go on.
    parked: BTreeSet<(KeyId, ConversationId)>,
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
        /// It was there to take its order.
        has_begun: bool,
    },
    /// Ordered to close, and not gone yet.
    Leaving,
}

impl Stage {
    /// Key, conversation and age of whoever said `hello` and was not sent away.
    fn guest(&self) -> Option<(KeyId, ConversationId, u64)> {
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
            Self::Stranger | Self::Leaving => None,
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
            parked: BTreeSet::new(),
            given_up: Vec::new(),
        }
    }

    /// A connection was accepted. Where there are too many that are not
    /// admitted, an older one has to go: the new one may be the honest one.
    pub fn arrive(&mut self, id: ConnectionId, address: Option<IpAddr>) -> Orders {
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
            .map(|id| self.dismiss(id, Order::Close))
            .collect()
    }

    /// A `hello` has come, and this is the verdict on its key.
    pub fn hello(
        &mut self,
        id: ConnectionId,
        hello: Hello,
        verdict: Verdict,
        now: Instant,
    ) -> Orders {
        match verdict {
            Verdict::Refuse(reason) => vec![self.dismiss(id, Order::Refuse(reason))],
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
    pub fn leave(&mut self, id: ConnectionId) -> Orders {
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
        self.ended
            .retain(|(ended, ..)| now.duration_since(*ended) < time);
        if self.ended.len() >= self.limits.ended {
            self.ended.pop_front();
        }
        self.ended.push_back((now, key, conversation));
    }

    /// A conversation is held no longer, and can still go on.
    pub fn park(&mut self, key: KeyId, conversation: ConversationId) {
        self.parked.insert((key, conversation));
    }

    /// A conversation that was on before a restart holds its place, as if this
    /// connection had begun it. It takes the next [`seat`](Self::seat).
    pub fn hold(&mut self, id: ConnectionId, key: KeyId, conversation: ConversationId) {
        let stage = Stage::Talking {
            key,
            conversation,
            clienthello: 0,
            has_begun: true,
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
    pub fn quit(&mut self, id: ConnectionId, now: Instant) -> Orders {
        let stage = self.connections.get(&id).map(|c| &c.stage);
        let Some(Stage::Asking { hello, .. } | Stage::Queued { hello, .. }) = stage else {
            // Welcomed meanwhile; the conversation takes note of it.
            return Vec::new();
        };
        let named = (hello.peer.key(), hello.conversation);
        if self.parked.remove(&named) {
            self.given_up.push(named);
        }
        let (key, conversation) = named;
        self.remember_end(key, conversation, now);
        let mut orders = vec![self.dismiss(id, Order::Quit)];
        orders.extend(self.tell_places());
        orders
    }

    /// Whether this conversation is on, held or parked.
    pub fn is_open(&self, key: &KeyId, conversation: ConversationId) -> bool {
        let of_this = |c: &Connection| matches!(c.stage, Stage::Talking { key: of, conversation: id, .. } if of == *key && id == conversation);
        self.parked.contains(&(*key, conversation)) || self.connections.values().any(of_this)
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
    pub fn seat(&mut self) -> Orders {
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
    pub fn answer(&mut self, key: &KeyId, answer: Answer, now: Instant) -> Orders {
        let Some(id) = self.asking(key) else {
            return Vec::new();
        };
        match (answer, self.take_stage(id)) {
            (Answer::Accept, Stage::Asking { hello, .. }) => self.admit(id, hello, now),
            _ => vec![self.dismiss(id, Order::Refuse(Reason::Declined))],
        }
    }

    /// Sends away whoever has waited too long for an answer.
    pub fn overdue(&mut self, now: Instant) -> Orders {
        let overdue: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, c)| matches!(c.stage, Stage::Asking { until, .. } if until <= now))
            .map(|(id, _)| *id)
            .collect();
        overdue
            .into_iter()
            .map(|id| self.dismiss(id, Order::Refuse(Reason::Busy)))
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
        connection.stage.guest().map(|(key, ..)| key)
    }

    /// Sends everyone away who is not talking: the server stops.
    pub fn close(&mut self) -> Orders {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        let mut orders = Orders::new();
        for id in ids {
            match self.connections.get(&id).map(|c| &c.stage) {
                Some(Stage::Stranger) => orders.push(self.dismiss(id, Order::Close)),
                Some(Stage::Asking { .. } | Stage::Queued { .. }) => {
                    orders.push(self.dismiss(id, Order::Refuse(Reason::Busy)));
                }
                _ => {}
            }
        }
        orders
    }

    fn ask_about(&mut self, id: ConnectionId, hello: Hello, now: Instant) -> Orders {
        let origin = self.connections.get(&id).and_then(|c| c.address);
        let mut asking = self
            .connections
            .values()
            .filter(|c| matches!(c.stage, Stage::Asking { .. }));
        let is_limited = !matches!(origin, None | Some(Origin::Loopback));
        let is_known = self.is_asking(&hello.peer.key());
        let is_taken = asking.clone().any(|c| is_limited && c.address == origin);
        if is_known || is_taken || asking.by_ref().count() >= self.limits.questions {
            return vec![self.dismiss(id, Order::Refuse(Reason::Busy))];
        }
        let until = now + self.limits.question_time;
        self.set_stage(id, Stage::Asking { hello, until });
        vec![(id, Order::Wait { ahead: 0 })]
    }

    fn admit(&mut self, id: ConnectionId, hello: Hello, now: Instant) -> Orders {
        let key = hello.peer.key();
        let others: Vec<_> = self
            .connections
            .iter()
            .filter(|(other, _)| **other != id)
            .filter_map(|(other, c)| Some((*other, c.stage.guest()?)))
            .filter(|(_, (of, conversation, _))| {
                *of == key && (self.one_at_a_time || *conversation == hello.conversation)
            })
            .collect();
        // Newest connection wins: this one was overtaken while something held it back.
        if others
            .iter()
            .any(|(_, (.., clienthello))| *clienthello > hello.clienthello)
        {
            return vec![self.dismiss(id, Order::Close)];
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
            return vec![self.dismiss(id, Order::Resume { with, heard })];
        }
        let named = (key, hello.conversation);
        let is_new = !self.parked.contains(&named);
        if is_new && (hello.heard > 0 || self.has_ended(&key, hello.conversation)) {
            // Refused, it changes nothing.
            return vec![self.dismiss(id, Order::Refuse(Reason::Ended))];
        }
        let queued = |(other, _): &(ConnectionId, _)| self.queue.contains(other);
        let place = others
            .iter()
            .filter(|other| queued(other))
            .find_map(|(other, _)| self.queue.iter().position(|queued| queued == other));
        let has_other_place = place.is_none() && !self.one_at_a_time && self.has_place(&key);
        if has_other_place || (place.is_none() && self.queue.len() >= self.limits.queue) {
            return vec![self.dismiss(id, Order::Refuse(Reason::Busy))];
        }
        let mut orders = Orders::new();
        for (other, (_, conversation, _)) in others {
            let is_talking = matches!(
                self.connections.get(&other).map(|c| &c.stage),
                Some(Stage::Talking { .. })
            );
            orders.push(match conversation == hello.conversation {
                true => self.dismiss(other, Order::Replaced),
                false if is_talking => (other, Order::Quit),
                false => {
                    self.remember_end(key, conversation, now);
                    self.dismiss(other, Order::Refuse(Reason::Ended))
                }
            });
        }
        if self.one_at_a_time {
            let is_other = |parked: &(KeyId, ConversationId)| parked.0 == key && *parked != named;
            self.given_up
                .extend(self.parked.iter().copied().filter(is_other));
            self.parked.retain(|parked| !is_other(parked));
        }
        let place = place.unwrap_or(self.queue.len()).min(self.queue.len());
        self.queue.insert(place, id);
        self.set_stage(id, Stage::Queued { hello, told: None });
        orders.extend(self.fill_seats());
        orders
    }

    fn fill_seats(&mut self) -> Orders {
        let mut orders = Orders::new();
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
                    },
                );
                orders.push((
                    id,
                    Order::Welcome(Admitted {
                        peer: hello.peer,
                        conversation,
                        heard: hello.heard,
                    }),
                ));
            }
        }
        orders.extend(self.tell_places());
        orders
    }

    /// `wait` to everyone in the queue whose place has changed.
    fn tell_places(&mut self) -> Orders {
        let mut orders = Orders::new();
        for (ahead, id) in (0..).zip(&self.queue) {
            let stage = self.connections.get_mut(id).map(|c| &mut c.stage);
            if let Some(Stage::Queued { told, .. }) = stage
                && *told != Some(ahead)
            {
                *told = Some(ahead);
                orders.push((*id, Order::Wait { ahead }));
            }
        }
        orders
    }

    fn dismiss(&mut self, id: ConnectionId, order: Order) -> (ConnectionId, Order) {
        self.set_stage(id, Stage::Leaving);
        self.queue.retain(|queued| *queued != id);
        (id, order)
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
            let guest = self.connections.get(id).and_then(|c| c.stage.guest());
            guest.is_some_and(|(of, ..)| of == *key)
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
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// An admission, a clock that does not go by itself, and the ClientHellos
    /// in the order in which their connections arrived.
    struct Door {
        admission: Admission,
        now: Instant,
        arrived: u64,
    }

    fn key(n: u8) -> KeyId {
        KeyId::of_spki(&[n])
    }

    fn id(n: u8) -> ConversationId {
        ConversationId::from_bits([n; 16])
    }

    fn hello(of: u8, conversation: u8, heard: u64, clienthello: u64) -> Hello {
        Hello {
            peer: Peer::remembered(key(of)),
            conversation: id(conversation),
            heard,
            clienthello,
        }
    }

    /// Orders, in words.
    fn words(orders: &Orders) -> Vec<String> {
        let word = |(id, order): &(ConnectionId, Order)| {
            let order = match order {
                Order::Close => "close".to_owned(),
                Order::Refuse(reason) => reason.word().to_owned(),
                Order::Wait { ahead } => format!("wait {ahead}"),
                Order::Replaced => "replaced".to_owned(),
                Order::Welcome(_) => "welcome".to_owned(),
                Order::Resume { with, heard } => format!("resume {} {heard}", with.0),
                Order::Quit => "quit".to_owned(),
            };
            format!("{}: {order}", id.0)
        };
        orders.iter().map(word).collect()
    }

    impl Door {
        fn new() -> Self {
            Self::with(Limits::default(), true)
        }

        fn with(limits: Limits, one_at_a_time: bool) -> Self {
            Self {
                admission: Admission::new(&limits, one_at_a_time),
                now: Instant::now(),
                arrived: 0,
            }
        }

        /// Somebody arrives; the connections count from 1.
        fn arrive(&mut self, from: &str) -> Vec<String> {
            self.arrived += 1;
            let address = Some(from.parse().unwrap());
            words(&self.admission.arrive(ConnectionId(self.arrived), address))
        }

        /// A key arrives and says hello, about the conversation of its number.
        fn greet(&mut self, of: u8, conversation: u8, verdict: Verdict) -> Vec<String> {
            self.greet_from("127.0.0.1", of, conversation, verdict)
        }

        fn greet_from(
            &mut self,
            from: &str,
            of: u8,
            conversation: u8,
            verdict: Verdict,
        ) -> Vec<String> {
            assert!(self.arrive(from).is_empty());
            self.say_hello(
                self.arrived,
                hello(of, conversation, 0, self.arrived),
                verdict,
            )
        }

        fn say_hello(&mut self, on: u64, hello: Hello, verdict: Verdict) -> Vec<String> {
            let orders = self
                .admission
                .hello(ConnectionId(on), hello, verdict, self.now);
            words(&orders)
        }

        fn leave(&mut self, on: u64) -> Vec<String> {
            words(&self.admission.leave(ConnectionId(on)))
        }

        fn seat(&mut self) -> Vec<String> {
            words(&self.admission.seat())
        }

        /// The first key is welcomed, and talks on connection 1.
        fn talking() -> Self {
            let mut door = Self::new();
            assert!(door.seat().is_empty());
            assert_eq!(door.greet(1, 1, Verdict::Admit), ["1: welcome"]);
            door.admission.begin(ConnectionId(1));
            door
        }
    }

    #[test]
    fn the_ninth_stranger_of_an_address_costs_the_oldest_of_it_its_place() {
        // An IPv4 address, however written, and an IPv6 /64.
        for (one, same, other) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
        ] {
            let mut door = Door::new();
            assert!(door.arrive(other).is_empty());
            for _ in 0..4 {
                assert!(door.arrive(one).is_empty());
                assert!(door.arrive(same).is_empty());
            }
            assert_eq!(door.arrive(same), ["2: close"], "{same}");
            assert_eq!(door.arrive(one), ["3: close"], "{one}");
            assert!(door.arrive(other).is_empty());
        }
    }

    #[test]
    fn loopback_has_no_limit_of_its_own() {
        for from in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            let mut door = Door::new();
            for _ in 0..128 {
                assert!(door.arrive(from).is_empty(), "{from}");
            }
            assert_eq!(door.arrive(from), ["1: close"], "{from}");
        }
    }

    #[test]
    fn past_128_strangers_the_address_that_has_most_loses_its_oldest() {
        let mut door = Door::new();
        assert!(door.arrive("192.0.2.1").is_empty());
        for net in 0..62 {
            assert!(door.arrive(&format!("198.51.100.{net}")).is_empty());
            assert!(door.arrive(&format!("198.51.100.{net}")).is_empty());
        }
        for _ in 0..3 {
            assert!(door.arrive("203.0.113.7").is_empty());
        }
        assert_eq!(door.arrive("192.0.2.9"), ["126: close"]);
    }

    #[test]
    fn who_is_admitted_is_no_stranger() {
        let mut door = Door::new();
        for of in 0..8 {
            assert_eq!(
                door.greet_from("192.0.2.1", of, of, Verdict::Admit),
                [format!("{}: wait {of}", of + 1)]
            );
        }
        for _ in 0..8 {
            assert!(door.arrive("192.0.2.1").is_empty());
        }
        assert_eq!(door.arrive("192.0.2.1"), ["9: close"]);
    }

    #[test]
    fn the_queue_is_told_its_places_once_and_when_they_change() {
        let mut door = Door::talking();
        assert_eq!(door.greet(2, 2, Verdict::Admit), ["2: wait 0"]);
        assert_eq!(door.greet(3, 3, Verdict::Admit), ["3: wait 1"]);
        assert_eq!(door.greet(4, 4, Verdict::Admit), ["4: wait 2"]);
        // Nobody's place changes.
        assert!(door.leave(4).is_empty());
        assert!(door.leave(1).is_empty());
        assert_eq!(door.seat(), ["2: welcome", "3: wait 0"]);
        assert!(door.leave(3).is_empty());
        assert_eq!(door.admission.next(), None);
    }

    #[test]
    fn a_full_queue_is_busy() {
        let mut door = Door::new();
        for of in 0..16 {
            door.greet(of, of, Verdict::Admit);
        }
        assert_eq!(door.greet(16, 16, Verdict::Admit), ["17: busy"]);
        // Who has a place may take it anew.
        let again = door.greet(3, 3, Verdict::Admit);
        assert_eq!(again, ["4: replaced", "18: wait 3"]);
    }

    #[test]
    fn a_key_has_one_place_and_a_later_connection_takes_it() {
        let mut door = Door::new();
        door.greet(1, 1, Verdict::Admit);
        door.greet(2, 2, Verdict::Admit);
        let again = door.greet(1, 1, Verdict::Admit);
        assert_eq!(again, ["1: replaced", "3: wait 0"]);
        let other = door.greet(1, 9, Verdict::Admit);
        assert_eq!(other, ["3: ended", "4: wait 0"]);
        assert!(door.leave(1).is_empty());
        assert!(door.leave(3).is_empty());
        assert_eq!(door.seat(), ["4: welcome", "2: wait 0"]);
    }

    #[test]
    fn a_new_conversation_of_a_key_ends_the_one_that_is_on() {
        let mut door = Door::talking();
        let begun = door.greet(1, 2, Verdict::Admit);
        assert_eq!(begun, ["1: quit", "2: wait 0"]);
        // Another key's does not.
        assert_eq!(door.greet(2, 1, Verdict::Admit), ["3: wait 1"]);
    }

    #[test]
    fn where_many_talk_a_key_may_have_many() {
        let mut door = Door::with(Limits::default(), false);
        assert!(door.seat().is_empty());
        assert!(door.seat().is_empty());
        assert_eq!(door.greet(1, 1, Verdict::Admit), ["1: welcome"]);
        assert_eq!(door.greet(1, 2, Verdict::Admit), ["2: welcome"]);
        assert_eq!(door.greet(1, 3, Verdict::Admit), ["3: wait 0"]);
        // But one place in the queue.
        assert_eq!(door.greet(1, 4, Verdict::Admit), ["4: busy"]);
    }

    #[test]
    fn a_hello_for_the_conversation_that_is_on_goes_on_with_it() {
        let mut door = Door::talking();
        door.greet(2, 2, Verdict::Admit);
        assert!(door.arrive("127.0.0.1").is_empty());
        let resumed = door.say_hello(3, hello(1, 1, 5, 3), Verdict::Admit);
        assert_eq!(resumed, ["3: resume 1 5"]);
        // The same id of another key is another conversation.
        assert_eq!(door.greet(3, 1, Verdict::Admit), ["4: wait 1"]);
    }

    #[test]
    fn the_newest_clienthello_wins() {
        let mut door = Door::talking();
        assert!(door.arrive("127.0.0.1").is_empty());
        assert!(door.arrive("127.0.0.1").is_empty());
        // The later connection is the first to be read.
        let newer = door.say_hello(3, hello(1, 1, 1, 3), Verdict::Admit);
        assert_eq!(newer, ["3: resume 1 1"]);
        for conversation in [1, 2] {
            let older = door.say_hello(2, hello(1, conversation, 0, 2), Verdict::Admit);
            assert_eq!(older, ["2: close"]);
        }
    }

    #[test]
    fn an_unknown_conversation_that_had_begun_has_ended() {
        let mut door = Door::talking();
        assert!(door.arrive("127.0.0.1").is_empty());
        let refused = door.say_hello(2, hello(2, 2, 1, 2), Verdict::Admit);
        assert_eq!(refused, ["2: ended"]);

        door.admission.remember_end(key(3), id(3), door.now);
        assert_eq!(door.greet(3, 3, Verdict::Admit), ["3: ended"]);
        assert_eq!(door.greet(3, 4, Verdict::Admit), ["4: wait 0"]);
    }

    #[test]
    fn a_hello_that_is_refused_changes_nothing() {
        let refused = [
            (hello(1, 2, 1, 3), Verdict::Admit),
            (hello(1, 2, 0, 3), Verdict::Refuse(Reason::UnknownPeer)),
            (hello(2, 9, 7, 3), Verdict::Admit),
            (hello(2, 2, 0, 3), Verdict::Refuse(Reason::Declined)),
        ];
        for (hello, verdict) in refused {
            let mut door = Door::talking();
            door.greet(2, 2, Verdict::Admit);
            assert!(door.arrive("127.0.0.1").is_empty());
            assert_eq!(door.say_hello(3, hello, verdict).len(), 1);
            assert!(door.leave(3).is_empty());
            // Both are where they were.
            assert_eq!(door.admission.next(), Some(key(2)));
            assert_eq!(door.greet(1, 1, Verdict::Admit), ["4: resume 1 0"]);
            assert!(door.leave(1).is_empty());
            assert_eq!(door.seat(), ["2: welcome"]);
        }
    }

    #[test]
    fn ends_are_forgotten_after_a_day_and_the_oldest_past_a_thousand() {
        let limits = Limits {
            ended: 2,
            ..Limits::default()
        };
        let mut door = Door::with(limits, true);
        for n in 1..=3 {
            door.admission.remember_end(key(n), id(n), door.now);
        }
        assert_eq!(door.greet(1, 1, Verdict::Admit), ["1: wait 0"]);
        assert_eq!(door.greet(2, 2, Verdict::Admit), ["2: ended"]);
        door.now += limits.ended_time;
        door.admission.remember_end(key(9), id(9), door.now);
        assert_eq!(door.greet(3, 3, Verdict::Admit), ["3: wait 1"]);
    }

    #[test]
    fn a_parked_conversation_goes_on_through_the_queue() {
        let mut door = Door::talking();
        door.admission.park(key(2), id(2));
        assert!(door.admission.is_open(&key(2), id(2)));
        assert!(door.arrive("127.0.0.1").is_empty());
        let queued = door.say_hello(2, hello(2, 2, 5, 2), Verdict::Admit);
        assert_eq!(queued, ["2: wait 0"]);
        assert!(door.leave(1).is_empty());
        assert_eq!(door.seat(), ["2: welcome"]);
        assert!(door.admission.given_up().is_empty());
    }

    #[test]
    fn a_new_conversation_of_a_key_gives_up_its_parked_ones() {
        let mut door = Door::talking();
        door.admission.park(key(2), id(2));
        door.admission.park(key(3), id(3));
        assert_eq!(door.greet(2, 4, Verdict::Admit), ["2: wait 0"]);
        assert_eq!(door.admission.given_up(), [(key(2), id(2))]);
        assert!(!door.admission.is_open(&key(2), id(2)));
        assert!(door.admission.is_open(&key(3), id(3)));
    }

    #[test]
    fn a_quit_before_welcome_ends_what_the_hello_named() {
        let mut door = Door::talking();
        door.admission.park(key(2), id(2));
        assert!(door.arrive("127.0.0.1").is_empty());
        door.say_hello(2, hello(2, 2, 5, 2), Verdict::Admit);
        assert_eq!(door.greet(3, 3, Verdict::Admit), ["3: wait 1"]);
        let quit = words(&door.admission.quit(ConnectionId(2), door.now));
        assert_eq!(quit, ["2: quit", "3: wait 0"]);
        assert_eq!(door.admission.given_up(), [(key(2), id(2))]);
        // Asked again, it has ended.
        assert!(door.arrive("127.0.0.1").is_empty());
        let again = door.say_hello(4, hello(2, 2, 5, 4), Verdict::Admit);
        assert_eq!(again, ["4: ended"]);
    }

    #[test]
    fn what_ended_before_its_welcome_is_not_begun_by_an_older_hello() {
        let mut door = Door::talking();
        for from in ["192.0.2.1", "192.0.2.1"] {
            assert!(door.arrive(from).is_empty());
        }
        assert_eq!(door.greet(2, 2, Verdict::Admit), ["4: wait 0"]);
        words(&door.admission.quit(ConnectionId(4), door.now));
        let older = door.say_hello(2, hello(2, 2, 0, 2), Verdict::Admit);
        assert_eq!(older, ["2: ended"]);

        assert_eq!(door.greet(3, 3, Verdict::Admit), ["5: wait 0"]);
        assert_eq!(door.greet(3, 4, Verdict::Admit), ["5: ended", "6: wait 0"]);
        assert!(door.leave(6).is_empty());
        let older = door.say_hello(3, hello(3, 3, 0, 3), Verdict::Admit);
        assert_eq!(older, ["3: ended"]);
    }

    #[test]
    fn a_quit_that_crosses_the_welcome_is_left_to_the_conversation() {
        let mut door = Door::talking();
        assert!(door.admission.quit(ConnectionId(1), door.now).is_empty());
        assert!(door.admission.is_open(&key(1), id(1)));
    }

    #[test]
    fn a_conversation_held_over_a_restart_takes_the_first_seat() {
        let mut door = Door::new();
        door.arrived += 1;
        door.admission.hold(ConnectionId(1), key(1), id(1));
        assert!(door.seat().is_empty());
        assert_eq!(door.greet(2, 2, Verdict::Admit), ["2: wait 0"]);
        assert!(door.arrive("127.0.0.1").is_empty());
        let back = door.say_hello(3, hello(1, 1, 5, 3), Verdict::Admit);
        assert_eq!(back, ["3: resume 1 5"]);
        assert!(door.leave(1).is_empty());
        assert_eq!(door.seat(), ["2: welcome"]);
    }

    #[test]
    fn a_seat_that_was_given_and_not_taken_is_free_again() {
        let mut door = Door::new();
        assert!(door.seat().is_empty());
        assert_eq!(door.greet(1, 1, Verdict::Admit), ["1: welcome"]);
        assert_eq!(door.greet(2, 2, Verdict::Admit), ["2: wait 0"]);
        // It was gone before it could begin.
        assert_eq!(door.leave(1), ["2: welcome"]);
        door.admission.begin(ConnectionId(2));
        assert_eq!(door.greet(3, 3, Verdict::Admit), ["3: wait 0"]);
        // A conversation that began gives its seat back through its user.
        assert!(door.leave(2).is_empty());
        assert_eq!(door.seat(), ["3: welcome"]);
    }

    #[test]
    fn four_unknown_keys_may_wait_for_an_answer_one_an_address() {
        let mut door = Door::new();
        for of in 0..4 {
            let from = format!("192.0.2.{of}");
            let asked = door.greet_from(&from, of, of, Verdict::Ask);
            assert_eq!(asked, [format!("{}: wait 0", of + 1)]);
        }
        let fifth = door.greet_from("192.0.2.9", 9, 9, Verdict::Ask);
        assert_eq!(fifth, ["5: busy"]);
        assert!(door.leave(1).is_empty());
        let second = door.greet_from("192.0.2.2", 8, 8, Verdict::Ask);
        assert_eq!(second, ["6: busy"]);
        let first = door.greet_from("192.0.2.0", 0, 0, Verdict::Ask);
        assert_eq!(first, ["7: wait 0"]);
        // A key that waits already does not wait twice.
        assert!(door.leave(7).is_empty());
        let twice = door.greet_from("192.0.2.7", 1, 1, Verdict::Ask);
        assert_eq!(twice, ["8: busy"]);
    }

    #[test]
    fn a_question_waits_two_minutes() {
        let mut door = Door::new();
        door.greet(1, 1, Verdict::Ask);
        assert_eq!(door.admission.wake_at(), Some(door.now + 2 * MINUTE));
        let early = door.now + 2 * MINUTE - Duration::from_secs(1);
        assert!(door.admission.overdue(early).is_empty());
        let late = door.admission.overdue(door.now + 2 * MINUTE);
        assert_eq!(words(&late), ["1: busy"]);
        assert_eq!(door.admission.wake_at(), None);
        assert!(!door.admission.is_asking(&key(1)));
    }

    #[test]
    fn a_person_is_asked_three_times_in_ten_minutes() {
        let mut door = Door::new();
        for of in 0..4 {
            door.greet(of, of, Verdict::Ask);
            let asked = door.admission.ask(door.now);
            assert_eq!(asked, (of < 3).then(|| key(of)));
            if of < 3 {
                let answer = door.admission.answer(&key(of), Answer::Decline, door.now);
                assert_eq!(words(&answer), [format!("{}: declined", of + 1)]);
            }
        }
        let later = door.now + 10 * MINUTE;
        assert_eq!(
            door.admission.question(later - Duration::from_secs(1)),
            None
        );
        assert_eq!(door.admission.ask(later), Some(key(3)));
    }

    #[test]
    fn who_is_accepted_queues_and_who_has_left_is_not_answered() {
        let mut door = Door::talking();
        door.greet(2, 2, Verdict::Ask);
        let accepted = door.admission.answer(&key(2), Answer::Accept, door.now);
        // It was told so already.
        assert_eq!(words(&accepted), ["2: wait 0"]);
        assert_eq!(door.admission.next(), Some(key(2)));

        door.greet(3, 3, Verdict::Ask);
        door.leave(3);
        let answer = door.admission.answer(&key(3), Answer::Accept, door.now);
        assert!(answer.is_empty());
    }

    #[test]
    fn a_key_that_became_known_while_it_waited_takes_its_own_place() {
        let mut door = Door::new();
        door.greet(1, 1, Verdict::Ask);
        let known = door.greet(1, 1, Verdict::Admit);
        assert_eq!(known, ["1: replaced", "2: wait 0"]);
        assert!(door.leave(1).is_empty());
        assert_eq!(door.seat(), ["2: welcome"]);
    }

    #[test]
    fn a_server_that_stops_tells_the_queue_that_it_is_busy() {
        let mut door = Door::talking();
        door.greet(2, 2, Verdict::Admit);
        door.greet(3, 3, Verdict::Ask);
        assert!(door.arrive("127.0.0.1").is_empty());
        let orders = door.admission.close();
        assert_eq!(words(&orders), ["2: busy", "3: busy", "4: close"]);
    }
}
