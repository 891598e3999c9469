//! [`HubEvent`]: what connections and conversations tell the hub.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

use tokio::sync::{mpsc, oneshot};

use super::admission::{ConnectionId, ConversationName, Hello, Instruction};
use super::claim::Claimed;
use crate::link::error::ConnectionError;
use crate::link::handshake::Tls;
use crate::link::session;
use crate::link::store::Record;
use crate::link::wire::Wire;
use crate::protocol::Conversation;

/// What the hub is told.
pub(super) enum HubEvent<S> {
    /// By a connection.
    Connection(ConnectionId, ConnectionEvent<S>),
    /// By a conversation, as its last act: what is left of it.
    Over(ConversationName, Remains),
}

/// What a connection tells the hub.
pub(super) enum ConnectionEvent<S> {
    /// Its `hello` has come.
    Hello(Box<Hello>, Handed<S>),
    /// Its `quit` has come, before it was let in.
    Quit,
    /// It had to wait and is let in: it hands itself over as its last act; whether a
    /// `quit` stands behind the `hello`.
    Entered(Box<Wire<Tls<S>>>, bool),
    /// It was let in, and has claimed its conversation: it hands itself over again.
    Claimed(Box<(Entering<S>, Claimed)>),
    /// It is gone, and why, if something went wrong.
    Left(Option<Box<ConnectionError>>),
}

/// A connection whose `hello` has come, and what it will be told if it has to wait.
pub(super) struct Handed<S> {
    pub(super) wire: Box<Wire<Tls<S>>>,
    /// A `quit` stands behind the `hello`.
    pub(super) has_quit: bool,
    pub(super) instructions: mpsc::UnboundedReceiver<Instruction>,
    /// Its task, if that has nothing else to do.
    pub(super) task: Option<Task>,
}

/// A connection that was let in.
pub(super) struct Entering<S> {
    pub(super) wire: Box<Wire<Tls<S>>>,
    /// A `quit` stands behind the `hello`.
    pub(super) has_quit: bool,
    /// Its task, if that has nothing else to do.
    pub(super) task: Option<Task>,
}

/// What keeps a conversation to its end.
pub(super) type Keeping = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that can keep a conversation. It is not woken to begin; a driver that needs it
/// sooner does that.
pub(super) struct Task {
    pub(super) waker: Waker,
    pub(super) keep: oneshot::Sender<Keeping>,
}

/// What is left of a conversation, and of its record.
pub(super) enum Remains {
    Nothing,
    End(Option<Arc<Record>>),
    Parked(Box<Conversation>, Arc<Record>),
}

impl Remains {
    pub(super) fn of(remains: session::Remains, record: Option<Arc<Record>>) -> Self {
        match (remains, record) {
            (session::Remains::Parked(conversation), Some(record)) => {
                Self::Parked(conversation, record)
            }
            (session::Remains::Nothing, _) => Self::Nothing,
            (_, record) => Self::End(record),
        }
    }
}
