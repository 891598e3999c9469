//! What goes into a [`Conversation`](super::Conversation) besides frames, and what comes out.

use serde::{Deserialize, Serialize};

use crate::protocol::conversation_id::ConversationId;
use crate::protocol::frame::{Frame, Reason};
use crate::protocol::text::{Message, Text};

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Listens; speaks the odd turns, so it speaks first.
    Server,
    /// Dials; speaks the even turns.
    Client,
}

impl Role {
    /// Whether this side speaks in the turn with this number (PROTOCOL 3.1).
    pub fn speaks_in(self, turn: u64) -> bool {
        match self {
            Self::Server => turn % 2 == 1,
            Self::Client => turn.is_multiple_of(2),
        }
    }

    /// What it is called: `server` or `client`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// When the peer's message counts as heard and is acknowledged: once it is safe, on the disk
/// or with its reader (PROTOCOL 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeardWhen {
    /// Once it is [`stored`](super::Conversation::stored). After a restart it is handed over again,
    /// unless it was answered.
    Stored,
    /// Once it is [`taken`](super::Conversation::taken): nothing is stored.
    Taken,
}

/// What is needed to continue a conversation after a cut or a restart (PROTOCOL 4.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Which conversation.
    pub id: ConversationId,
    /// The highest turn said by this side; 0: none.
    pub said: u64,
    /// The highest turn heard from the peer; 0: none.
    pub heard: u64,
    /// Our highest turn that the peer is known to hold.
    pub acknowledged: u64,
    /// What was said in turn `said`.
    pub last_said: Option<Text>,
    /// What was heard in turn `heard`, to be handed over again after a restart.
    pub last_heard: Option<Text>,
    /// This side wants the end, or has it.
    pub quit: bool,
}

impl Snapshot {
    /// Whether it only says that the conversation has ended.
    pub fn is_tombstone(&self) -> bool {
        self.quit && self.last_said.is_none() && self.last_heard.is_none()
    }
}

/// What the driver is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Store this, then call [`Conversation::stored`](super::Conversation::stored). No later output comes out before
    /// (PROTOCOL 4.7).
    Store(Snapshot),
    /// Send this frame.
    Send(Frame),
    /// The server's queue has this many before us.
    Waiting {
        /// 0: we are next, or its user is deciding.
        ahead: u64,
    },
    /// The conversation is on, or on again.
    Connected,
    /// A message from the peer.
    HandOver(Message),
    /// The peer has our message, safely.
    Delivered {
        /// Its turn.
        turn: u64,
    },
    /// The conversation has ended: write what is still to be sent, then close.
    Ended(End),
}

/// How a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    /// Who ended it.
    pub by: By,
    /// The last turn of the conversation, whoever spoke in it; 0: none.
    pub turns: u64,
    /// Our last message, unless the peer is known to hold it.
    pub unacknowledged: Option<Message>,
}

/// Who ended a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// We quit, and the peer knows.
    Me,
    /// The peer quit, or does not have this conversation any more.
    Peer,
    /// It never began: the server refused.
    Refused(Reason),
}

/// Why this side may not say something now. Nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SayError {
    /// It is the peer's turn.
    #[error("it is the other side's turn")]
    NotYourTurn,
    /// The conversation is over, or this side has quit it.
    #[error("the conversation is over")]
    Ended,
}
