//! [`Admission`]: who is admitted, who waits, what each connection is told, and which
//! conversations there are. Pure: arrivals, verdicts and fired timers go in, [`Order`]s come
//! out. It holds no instants, and each step is logarithmic in strangers, and at most linear in the queue.

mod asking;
mod conversations;
mod queue;
mod terms;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::crowd::{Crowd, Stranger};
use crate::link::origin::Origin;
use crate::protocol::{Limits, Reason};
use crate::trust::KeyId;

use conversations::{Conversations, Standing};

pub use super::crowd::ConnectionId;
pub use terms::{ConversationName, Entry, Hello, Instruction, Order, Orders, Timer, Verdict, Why};

/// For how long a queued client that was cut keeps its place (10 s; PROTOCOL 4.28).
const PLACE_TIME: Duration = Duration::from_secs(10);

/// Everyone who is connected, and all conversations. It compares and hashes, so
/// that a model checker can hold it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Admission {
    limits: Limits,
    /// One peer at a time: a key has one open conversation, the newest (PROTOCOL 4.30).
    one_at_a_time: bool,
    /// Other servers have conversations of the same store: one that is not known here may be
    /// known there.
    is_shared: bool,
    connections: BTreeMap<ConnectionId, Connection>,
    crowd: Crowd,
    conversations: Conversations,
    /// Admitted clients that have not entered yet: one connection per conversation.
    candidates: BTreeMap<ConversationName, Candidate>,
    /// Of these, those that wait for a seat, first come first.
    queue: VecDeque<ConversationName>,
    /// Keys with an open question, and each key's youngest connection.
    undecided: BTreeMap<KeyId, ConnectionId>,
    /// How many conversations may begin now. Below zero: one is on already for which there was
    /// no seat.
    seats: isize,
    /// No conversation begins any more.
    is_closing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Connection {
    origin: Option<Origin>,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Stranger {
        has_greeted: bool,
    },
    Undecided(Hello),
    Queued {
        hello: Hello,
        told: Option<u64>,
    },
    /// Told to enter. It holds a seat, unless its conversation is on already.
    Entering {
        hello: Hello,
        has_seat: bool,
    },
    /// It was told to close, and is not gone yet. `lingers`: it may take a moment.
    Closing {
        lingers: bool,
    },
}

impl Stage {
    /// Whether it counts to the crowd, and as what.
    fn is_stranger(&self) -> Option<bool> {
        match self {
            Self::Stranger { has_greeted } => Some(*has_greeted),
            Self::Undecided(_) => Some(true),
            Self::Closing { lingers: true } => Some(false),
            Self::Queued { .. } | Self::Entering { .. } | Self::Closing { lingers: false } => None,
        }
    }

    fn hello(&self) -> Option<&Hello> {
        match self {
            Self::Undecided(hello) | Self::Queued { hello, .. } | Self::Entering { hello, .. } => {
                Some(hello)
            }
            Self::Stranger { .. } | Self::Closing { .. } => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Candidate {
    /// `None`: it was cut in the queue, and keeps its place for a moment.
    connection: Option<ConnectionId>,
    clienthello: u64,
    /// It waits in the queue; else it is entering.
    is_queued: bool,
}

impl Admission {
    /// Nobody is here, and no conversation may begin before
    /// [`seats`](Self::seats).
    pub fn new(limits: &Limits, one_at_a_time: bool) -> Self {
        Self {
            limits: *limits,
            one_at_a_time,
            is_shared: false,
            connections: BTreeMap::new(),
            crowd: Crowd::new(limits.strangers, limits.strangers_per_address),
            conversations: Conversations::new(limits),
            candidates: BTreeMap::new(),
            queue: VecDeque::new(),
            undecided: BTreeMap::new(),
            seats: 0,
            is_closing: false,
        }
    }

    /// The same for one of several servers that share a store. Whoever enters to
    /// [begin](Entry::Begin) may go on with a conversation that stands there.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    // What becomes of connections.

    /// A connection was accepted. If too many are not admitted, an older one has to go: the
    /// new one may be honest.
    pub fn arrive(&mut self, id: ConnectionId, address: Option<IpAddr>) -> Orders {
        let origin = address.map(Origin::from);
        let stage = Stage::Stranger { has_greeted: false };
        self.connections.insert(id, Connection { origin, stage });
        self.count(id, Crowd::add);
        match self.crowd.excess(id, origin) {
            Some(excess) => self.dismiss(excess, Instruction::Close),
            None => Orders::new(),
        }
    }

    /// Its whole ClientHello has come.
    pub fn greeted(&mut self, id: ConnectionId) {
        if let Some(Stage::Stranger { .. }) = self.stage(id) {
            self.set_stage(id, Stage::Stranger { has_greeted: true });
        }
    }

    /// A `hello` has come, and this is the verdict on it. `None`: the server's user is asked,
    /// and calls [`answer`](Self::answer) later, while the [question](Self::is_asking) is
    /// open.
    pub fn hello(&mut self, id: ConnectionId, hello: Hello, verdict: Option<Verdict>) -> Orders {
        if !matches!(self.stage(id), Some(Stage::Stranger { .. })) {
            // It was told to make room just now.
            return Orders::new();
        }
        let standing = self.conversations.get(&hello.name());
        if self.is_closing && !matches!(standing, Some(Standing::Live { .. } | Standing::Ended)) {
            return self.dismiss(id, Instruction::Refuse(Reason::Closing));
        }
        match verdict {
            Some(verdict) => self.decide(id, hello, verdict),
            None => self.ask_about(id, hello),
        }
    }

    /// A `quit` has come from a connection that has not entered: it ends the
    /// conversation that its `hello` named, wherever that stands (PROTOCOL 3.12), unless it is out
    /// of reach. The end is remembered: an older connection may still bring a `hello` for it.
    pub fn quit(&mut self, id: ConnectionId) -> Orders {
        let (hello, is_admitted) = match self.stage(id) {
            Some(Stage::Undecided(hello)) => (hello, false),
            Some(Stage::Queued { hello, .. }) => (hello, true),
            // It has entered meanwhile: the conversation takes note of it.
            _ => return Orders::new(),
        };
        let name = hello.name();
        let mut orders = Orders::new();
        match self.conversations.get(&name) {
            // It has ended once that is stored.
            Some(Standing::Parked { .. }) => {
                self.conversations.give_up(name, Why::Peer, &mut orders);
            }
            // Such an end could not be stored, and so it is none (PROTOCOL 4.7).
            Some(Standing::OutOfReach) => {
                return self.dismiss(id, Instruction::Refuse(Reason::Busy));
            }
            Some(Standing::Live { .. } | Standing::Ended) | None if is_admitted => {
                orders.extend(self.ended(name));
            }
            Some(Standing::Live { .. } | Standing::Ended) | None => {}
        }
        orders.extend(self.dismiss(id, Instruction::Quit));
        orders.extend(self.tell_places());
        orders
    }

    /// A connection that was told to [enter](Instruction::Enter) is handed over: what
    /// it is for. Much may have happened since.
    pub fn entry(&self, id: ConnectionId) -> Entry {
        let Some(Stage::Entering { hello, has_seat }) = self.stage(id) else {
            // A younger one has its place.
            return Entry::None;
        };
        match (self.conversations.get(&hello.name()), has_seat) {
            (Some(Standing::Live { .. }), _) => Entry::GoOn(hello.clone()),
            (Some(Standing::Ended), _) => Entry::Ended,
            (Some(Standing::OutOfReach), _) => Entry::None,
            (Some(Standing::Parked { .. }) | None, true) => Entry::Begin(hello.clone()),
            (Some(Standing::Parked { .. }) | None, false) => Entry::Again(hello.peer.key()),
        }
    }

    /// The conversation that a connection was let in to is on no longer: it asks again, as if
    /// its `hello` came now.
    pub fn again(&mut self, id: ConnectionId) -> Orders {
        let mut orders = Orders::new();
        if let Some(Stage::Entering { hello, .. }) = self.stage(id) {
            let hello = hello.clone();
            self.let_go(id, false, &mut orders);
            self.set_stage(id, Stage::Stranger { has_greeted: true });
            orders.extend(self.hello(id, hello, Some(Verdict::Admit)));
        }
        orders
    }

    /// The conversation that a connection was let in to has begun, or goes on from
    /// where it was parked.
    pub fn begin(&mut self, id: ConnectionId) -> Orders {
        let mut orders = Orders::new();
        if let Some(Stage::Entering { hello, has_seat }) = self.stage_mut(id) {
            *has_seat = false;
            let (name, clienthello) = (hello.name(), hello.clienthello);
            self.conversations.live(name, clienthello, &mut orders);
        }
        orders.extend(self.leave(id));
        orders
    }

    /// A connection is not handed over after all: it is closed in the background.
    pub fn turn_away(&mut self, id: ConnectionId) -> Orders {
        let mut orders = Orders::new();
        self.let_go(id, true, &mut orders);
        orders.extend(self.fill_seats());
        orders
    }

    /// A connection is gone, or handed over. If it had a seat and did not
    /// [begin](Self::begin), that is free again.
    pub fn leave(&mut self, id: ConnectionId) -> Orders {
        let mut orders = Orders::new();
        self.count(id, Crowd::remove);
        let Some(Connection { stage, .. }) = self.connections.remove(&id) else {
            return orders;
        };
        match stage {
            Stage::Undecided(hello) => self.answered(&hello.peer.key(), id, &mut orders),
            Stage::Queued { hello, .. } => {
                let name = hello.name();
                if let Some(candidate) = self.candidates.get_mut(&name)
                    && candidate.connection == Some(id)
                {
                    // It may be back in a moment.
                    candidate.connection = None;
                    let place = Timer::Place(name.0, name.1);
                    orders.push(Order::Arm(place, PLACE_TIME));
                }
            }
            Stage::Entering { hello, has_seat } => {
                self.seats += isize::from(has_seat);
                self.drop_candidate(&hello.name(), Some(id), &mut orders);
                if !has_seat {
                    return orders;
                }
            }
            // For the queue nothing changes: nobody looks through it.
            Stage::Stranger { .. } | Stage::Closing { .. } => return orders,
        }
        orders.extend(self.fill_seats());
        orders
    }

    // What becomes of conversations.

    /// A conversation was parked before a restart, or on. Call this in the order in which the
    /// peers last came: if a key may have only one open conversation, the last is kept. There
    /// can be two, after a crash between the beginning of one and the end of the other.
    pub fn restore(&mut self, name: ConversationName, clienthello: u64, age: Duration) -> Orders {
        let mut orders = Orders::new();
        if self.one_at_a_time {
            self.conversations.give_up_others(name, &mut orders);
        }
        self.conversations
            .restore(name, clienthello, age, &mut orders);
        orders
    }

    /// A conversation is stored, and its record cannot be read: nobody goes on with it here, and
    /// nobody is told that it has ended.
    pub fn unreadable(&mut self, name: ConversationName) -> Orders {
        let mut orders = Orders::new();
        self.send_away(&name, Instruction::Refuse(Reason::Busy), &mut orders);
        self.conversations.out_of_reach(name, &mut orders);
        orders.extend(self.fill_seats());
        orders
    }

    /// Another process has written in a conversation's record, and goes on with it. Of servers that
    /// share a store, each finds there how it stands; any other knows no more of it than of one
    /// that is [unreadable](Self::unreadable).
    pub fn taken_over(&mut self, name: ConversationName) -> Orders {
        match self.is_shared {
            true => self.forget(name),
            false => self.unreadable(name),
        }
    }

    /// One of the [`restore`](Self::restore)d conversations is on, and waits for its
    /// peer. It takes the next [seat](Self::seats).
    pub fn hold(&mut self, name: ConversationName) -> Orders {
        let mut orders = Orders::new();
        if let Some(Standing::Parked { clienthello }) = self.conversations.get(&name) {
            let clienthello = *clienthello;
            self.conversations.live(name, clienthello, &mut orders);
            self.seats -= 1;
        }
        orders
    }

    /// A conversation is held no longer, and can still go on. If its peer has begun
    /// another meanwhile, it is given up at once.
    pub fn parked(&mut self, name: ConversationName) -> Orders {
        self.conversations.parked(name)
    }

    /// A parked conversation could not be given up: it is parked as before, with the connection
    /// that the [order](Order::GiveUp) names.
    pub fn kept(&mut self, name: ConversationName, clienthello: u64) -> Orders {
        let mut orders = Orders::new();
        self.conversations
            .park(name, clienthello, Duration::ZERO, &mut orders);
        orders
    }

    /// Of servers that share a store: a conversation stands there, and here it is as if it had
    /// never been.
    pub fn forget(&mut self, name: ConversationName) -> Orders {
        let mut orders = Orders::new();
        self.conversations.forget(&name, &mut orders);
        orders
    }

    /// A conversation has ended, and a `hello` for it could come once more, as if for a new
    /// one: its client may not know that it ever began, or an older connection may have been
    /// delayed (PROTOCOL 4.24).
    pub fn ended(&mut self, name: ConversationName) -> Orders {
        self.conversations.ended(name)
    }

    /// Whether this conversation is on, held or parked.
    pub fn is_open(&self, name: &ConversationName) -> bool {
        self.conversations.is_open(name)
    }

    // What the server's user says.

    /// So many more conversations may begin.
    pub fn seats(&mut self, more: usize) -> Orders {
        let more = isize::try_from(more).unwrap_or(isize::MAX);
        self.seats = self.seats.saturating_add(more);
        self.fill_seats()
    }

    /// Whether there is a question about this key.
    pub fn is_asking(&self, key: &KeyId) -> bool {
        self.undecided.contains_key(key)
    }

    /// The server's user has answered about this key; the answer is for its youngest
    /// connection.
    pub fn answer(&mut self, key: &KeyId, verdict: Verdict) -> Orders {
        let mut orders = Orders::new();
        if let Some(id) = self.asking(key)
            && let Some(Stage::Undecided(hello)) = self.stage(id)
        {
            let hello = hello.clone();
            self.answered(key, id, &mut orders);
            orders.extend(self.decide(id, hello, verdict));
        }
        orders
    }

    /// Sends away all clients of this key that wait or are just let in, and ends its
    /// conversations: it is not admitted any more.
    pub fn expel(&mut self, key: &KeyId) -> Orders {
        let mut orders = Orders::new();
        for (name, candidate) in self.candidates_of(key) {
            let stage = candidate.connection.and_then(|id| self.stage(id));
            let begins = matches!(stage, Some(Stage::Entering { has_seat: true, .. }));
            if candidate.is_queued || begins {
                let refused = Instruction::Refuse(Reason::UnknownPeer);
                self.send_away(&name, refused, &mut orders);
            }
        }
        self.conversations.expel(key, &mut orders);
        orders.extend(self.fill_seats());
        orders
    }

    /// From now on no conversation begins and no parked one continues: everyone who waits or
    /// comes for one is told `closing` (PROTOCOL 4.29).
    pub fn close(&mut self) -> Orders {
        self.is_closing = true;
        let waits = |stage: &Stage| match stage {
            Stage::Undecided(_) | Stage::Queued { .. } => true,
            Stage::Entering { has_seat, .. } => *has_seat,
            Stage::Stranger { .. } | Stage::Closing { .. } => false,
        };
        let waiting = self.connections.iter().filter(|(_, of)| waits(&of.stage));
        let waiting: Vec<_> = waiting.map(|(id, _)| *id).collect();
        let refused = waiting.into_iter();
        let refused = refused.map(|id| self.dismiss(id, Instruction::Refuse(Reason::Closing)));
        refused.flatten().collect()
    }

    /// Who is next, if somebody waits.
    pub fn next(&self) -> Option<KeyId> {
        self.present().next().map(|(name, _)| name.0)
    }

    /// Whether somebody waits for a place.
    pub fn is_crowded(&self) -> bool {
        self.present().next().is_some()
    }

    /// A timer that was armed has fired.
    pub fn fired(&mut self, timer: Timer) -> Orders {
        let mut orders = Orders::new();
        match timer {
            Timer::Question(key) => {
                if let Some(connection) = self.asking(&key) {
                    self.answered(&key, connection, &mut orders);
                    orders.extend(self.dismiss(connection, Instruction::Refuse(Reason::NoAnswer)));
                }
            }
            Timer::Place(key, id) => {
                self.drop_candidate(&(key, id), None, &mut orders);
                orders.extend(self.tell_places());
            }
            Timer::Ended(key, id) => self.conversations.forget_end(&(key, id), &mut orders),
            Timer::Parked(key, id) => {
                self.conversations.give_up((key, id), Why::Age, &mut orders);
            }
        }
        orders
    }

    // For a model checker.

    /// The youngest ClientHello that a later `hello`'s is compared with.
    pub fn newest(&self) -> Option<u64> {
        let candidates = self.candidates.values().map(|of| of.clienthello);
        self.conversations
            .newest()
            .into_iter()
            .chain(candidates)
            .max()
    }

    /// Only for a caller that knows that no `hello` for it can come any more. Returns whether
    /// it had ended.
    pub fn forget_end(&mut self, name: &ConversationName) -> bool {
        let had_ended = matches!(self.conversations.get(name), Some(Standing::Ended));
        if had_ended {
            self.conversations.forget(name, &mut Orders::new());
        }
        had_ended
    }

    // How it is done.

    fn decide(&mut self, id: ConnectionId, hello: Hello, verdict: Verdict) -> Orders {
        match verdict {
            Verdict::Admit => self.admit(id, hello),
            Verdict::Refuse(reason) => self.dismiss(id, Instruction::Refuse(reason)),
        }
    }

    /// Sends a candidate away; another may take its place.
    fn send_away(&mut self, name: &ConversationName, last: Instruction, orders: &mut Orders) {
        if let Some(candidate) = self.candidates.get(name)
            && let Some(id) = candidate.connection
        {
            orders.extend(self.dismiss(id, last));
        }
        self.drop_candidate(name, None, orders);
    }

    /// Tells a connection how to close.
    fn dismiss(&mut self, id: ConnectionId, last: Instruction) -> Orders {
        let mut orders = Orders::new();
        self.let_go(id, last != Instruction::Close, &mut orders);
        orders.push(Order::Tell(id, last));
        orders
    }

    fn let_go(&mut self, id: ConnectionId, lingers: bool, orders: &mut Orders) {
        match self.stage(id).cloned() {
            Some(Stage::Queued { hello, .. }) => {
                self.drop_candidate(&hello.name(), Some(id), orders);
            }
            Some(Stage::Entering { hello, has_seat }) => {
                self.seats += isize::from(has_seat);
                self.drop_candidate(&hello.name(), Some(id), orders);
            }
            Some(Stage::Undecided(hello)) => self.answered(&hello.peer.key(), id, orders),
            Some(Stage::Stranger { .. } | Stage::Closing { .. }) | None => {}
        }
        self.set_stage(id, Stage::Closing { lingers });
    }

    fn stage(&self, id: ConnectionId) -> Option<&Stage> {
        self.connections
            .get(&id)
            .map(|connection| &connection.stage)
    }

    fn stage_mut(&mut self, id: ConnectionId) -> Option<&mut Stage> {
        let connection = self.connections.get_mut(&id);
        connection.map(|connection| &mut connection.stage)
    }

    fn set_stage(&mut self, id: ConnectionId, stage: Stage) {
        self.count(id, Crowd::remove);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stage = stage;
        }
        self.count(id, Crowd::add);
    }

    fn count(&mut self, id: ConnectionId, count: impl FnOnce(&mut Crowd, ConnectionId, Stranger)) {
        if let Some(Connection { origin, stage }) = self.connections.get(&id)
            && let Some(has_greeted) = stage.is_stranger()
        {
            let origin = *origin;
            let stranger = Stranger {
                origin,
                has_greeted,
            };
            count(&mut self.crowd, id, stranger);
        }
    }
}

#[cfg(test)]
mod tests;
