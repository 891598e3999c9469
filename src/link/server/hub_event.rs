//! [`HubEvent`]: what connections and conversations tell the hub.

use std::sync::Arc;

use super::admission::{ConnectionId, Hello, Named};
use crate::link::error::ConnectionError;
use crate::link::handshake::Tls;
use crate::link::journal::Record;
use crate::link::session;
use crate::link::wire::Wire;
use crate::protocol::Conversation;

/// What the hub is told.
pub(super) enum HubEvent<S> {
    /// By a connection.
    Connection(ConnectionId, ConnectionEvent<S>),
    /// By a conversation, as its last act: what is left of it.
    Over(Named, Remains),
}

/// What a connection tells the hub.
pub(super) enum ConnectionEvent<S> {
    /// Its whole ClientHello has come.
    Greeted,
    /// Its `hello` has come.
    Hello(Box<Hello>),
    /// Its `quit` has come, before it was let in.
    Quit,
    /// As its last act, it hands itself over; whether a `quit` stands behind the
    /// `hello`.
    Entered(Box<Wire<Tls<S>>>, bool),
    /// It is gone, and why, if something went wrong.
    Left(Option<Box<ConnectionError>>),
}

/// What is left of a conversation, and of its record.
pub(super) enum Remains {
    End,
    Parked(Box<Conversation>, Arc<Record>),
}

impl Remains {
    pub(super) fn of(remains: session::Remains, record: Option<Arc<Record>>) -> Self {
        match (remains, record) {
            (session::Remains::Parked(conversation), Some(record)) => {
                Self::Parked(Box::new(conversation), record)
            }
            _ => Self::End,
        }
    }
}
