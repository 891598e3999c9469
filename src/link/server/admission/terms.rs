//! What goes into [`Admission`](super::Admission), and what it orders.

use std::time::Duration;

use crate::link::server::crowd::ConnectionId;
use crate::protocol::{ConversationId, Reason};
use crate::trust::{KeyId, Peer};

/// A conversation: ids of different keys never meet (PROTOCOL 4.21).
pub type ConversationName = (KeyId, ConversationId);

/// The answer of the server's user about a [`Candidate`](crate::link::Candidate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Admit,
    /// Refuse it, and say why: as a rule [`Reason::UnknownPeer`] or [`Reason::Declined`]. After a
    /// [temporary](Reason::is_temporary) reason a client that goes on dials again (PROTOCOL 4.12).
    /// Never [`Reason::Ended`]: the client would drop its conversation (PROTOCOL 4.19).
    Refuse(Reason),
}

/// A `hello`: which peer wants which conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// Who: a proven key.
    pub peer: Peer,
    /// Which conversation it begins or goes on with.
    pub conversation: ConversationId,
    /// The highest turn that it has heard.
    pub heard: u64,
    /// The place of its first ClientHello in the order of all that came to this server. A
    /// relay can delay a `hello`, but not make its handshake younger (PROTOCOL 4.25).
    pub clienthello: u64,
}

impl Hello {
    /// Which conversation, of whom.
    pub fn name(&self) -> ConversationName {
        (self.peer.key(), self.conversation)
    }
}

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Say `quit`, and close: the peer's own `quit` has ended the conversation in its `hello`.
    Quit,
    /// Hand the connection over: its conversation begins, or goes on with it.
    Enter,
}

/// What a connection that is handed over is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// To begin this conversation, or to go on with it where it is parked: then call
    /// [`Admission::begin`](super::Admission::begin).
    Begin(Hello),
    /// To go on with this conversation, which is on.
    GoOn(Hello),
    /// For one that has ended: to be told so.
    Ended,
    /// For one of this key that was on, and is parked just now: then call
    /// [`Admission::again`](super::Admission::again).
    Again(KeyId),
    /// For none: it is closed without a word.
    None,
}

/// Why a parked conversation is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Its peer has quit it, or begun another.
    Peer,
    /// It is too old, or too many newer ones are kept.
    Age,
    /// Its peer is not admitted any more.
    Expelled,
}

/// What the hub must do, in this sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Tell this to a connection.
    Tell(ConnectionId, Instruction),
    /// Tell a conversation that is on that its peer has begun another.
    Supersede(ConversationName),
    /// Tell a conversation that is on that its peer is not admitted any more.
    Expel(ConversationName),
    /// End a parked conversation, on the disk too; then call
    /// [`Admission::ended`](super::Admission::ended), or if that cannot be stored
    /// [`Admission::kept`](super::Admission::kept), or
    /// [`Admission::taken_over`](super::Admission::taken_over) where another process has its
    /// record; and skip the later orders for its key then.
    GiveUp {
        /// Which.
        name: ConversationName,
        /// Why.
        why: Why,
        /// The place of its youngest ClientHello.
        clienthello: u64,
    },
    /// Nobody is told any more that this conversation has ended: its record can go.
    Forget(ConversationName),
    /// Call [`Admission::fired`](super::Admission::fired) with this timer after so long. This
    /// replaces an earlier `Arm`; that of an end is disarmed before it is armed again.
    Arm(Timer, Duration),
    /// Do not call it for this timer any more.
    Disarm(Timer),
}

/// Orders, to be carried out in this sequence.
pub type Orders = Vec<Order>;

/// What admission waits for without being able to see a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Nobody has answered about this key.
    Question(KeyId),
    /// A queued client that was cut has not come back.
    Place(KeyId, ConversationId),
    /// An end is remembered no longer.
    Ended(KeyId, ConversationId),
    /// A parked conversation is kept no longer.
    Parked(KeyId, ConversationId),
}
