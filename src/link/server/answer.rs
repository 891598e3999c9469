//! [`Answer`]: what a connection's task is to do next; and [`HubEvent`]: what the hub is told by
//! those who cannot wait for it.

use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::admission::{ConnectionId, ConversationName, Instruction};
use super::claim::Claimed;
use crate::link::driver::keeper::Keeper;
use crate::link::error::{ConnectionError, LinkError};
use crate::link::handshake::Tls;
use crate::link::session;
use crate::link::store::Record;
use crate::link::wire::Wire;
use crate::protocol::{Conversation, Frame};

/// What a connection's task is to do next.
pub(super) enum Answer<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// To tell the hub that the connection is gone.
    Left,
    /// Nothing: the connection is a conversation's now, or the hub knows that it is gone.
    Gone,
    /// To keep its conversation, which begins, or goes on from where it was parked.
    Keep(Keeper<Tls<S>>),
    /// It waits, and obeys.
    Wait(Waiting<S>),
    /// Its conversation is claimed first.
    Claim(Claiming<S>),
    /// Its conversation is just ending, or being parked: it enters once that is done. Without
    /// such news it has to go.
    Early(Entering<S>, oneshot::Receiver<()>),
    /// It is closed.
    Close(Parting<S>),
}

/// A connection that has to wait behind its `hello`, and what it is told there.
pub(super) struct Waiting<S> {
    pub(super) entering: Entering<S>,
    pub(super) instructions: mpsc::UnboundedReceiver<Instruction>,
}

/// A connection that was let in, or will be.
pub(super) struct Entering<S> {
    pub(super) wire: Box<Wire<Tls<S>>>,
    /// A `quit` stands behind the `hello`.
    pub(super) has_quit: bool,
    /// It has claimed its conversation before.
    pub(super) has_claimed: bool,
}

/// A connection that waits for its claim, and what it is told meanwhile.
pub(super) struct Claiming<S> {
    pub(super) entering: Entering<S>,
    pub(super) claimed: Pin<Box<dyn Future<Output = Claimed> + Send>>,
    pub(super) instructions: mpsc::UnboundedReceiver<Instruction>,
}

/// A connection that is closed with a last frame. It counts until it is gone.
pub(super) struct Parting<S> {
    pub(super) wire: Box<Wire<Tls<S>>>,
    pub(super) last: Frame,
    /// Why, if something went wrong.
    pub(super) error: Option<LinkError>,
    pub(super) instructions: mpsc::UnboundedReceiver<Instruction>,
}

/// What the hub is told.
pub(super) enum HubEvent {
    /// A connection is gone, and why, if something went wrong.
    Left(ConnectionId, Option<Box<ConnectionError>>),
    /// A conversation is over, or parked: what is left of it.
    Over(ConversationName, Remains),
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
