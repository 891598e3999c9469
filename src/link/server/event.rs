//! What a server's user learns of it besides conversations: who did not get one,
//! and what was abandoned.

use tokio::sync::mpsc;

use crate::link::error::ConnectionError;
use crate::protocol::{By, Conversation, ConversationId, Reason, Text};
use crate::trust::KeyId;

/// Those who did not get a conversation, as they come, and conversations that
/// have abandoned. Where nobody asks, the newest are dropped.
#[derive(Debug)]
pub struct ServerEvents(pub(super) mpsc::Receiver<ServerEvent>);

impl ServerEvents {
    /// The next one. `None` once the server has stopped. May be dropped at
    /// any time.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        self.0.recv().await
    }
}

/// Somebody who did not get a conversation, or not any more.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A proven key was refused.
    Refused {
        /// Whose.
        key: KeyId,
        /// Why.
        reason: Reason,
    },
    /// A connection failed before anything was decided.
    Failed(ConnectionError),
    /// A peer has begun another conversation, or given this one up.
    GaveUp(Abandoned),
    /// This side ended it, and crashed before all was told.
    Ended(Abandoned),
    /// Nobody has gone on with it for 30 days, or too many newer ones are kept.
    Expired(Abandoned),
}

/// A conversation that was cut and could have gone on, and now is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    /// With whom.
    pub key: KeyId,
    /// What both sides called it.
    pub conversation: ConversationId,
    /// Our last message in it, and its turn, if the peer is not known to hold
    /// it.
    pub unacknowledged: Option<(u64, Text)>,
    /// The peer's last message in it, and its turn, if it is not known to be taken.
    pub untaken: Option<(u64, Text)>,
}

impl Abandoned {
    pub(super) fn of(key: KeyId, conversation: &Conversation) -> Self {
        let last = conversation.last_heard();
        let untaken = last.filter(|_| conversation.is_in_hand());
        Self {
            key,
            conversation: conversation.id(),
            unacknowledged: conversation.end(By::Peer).unacknowledged,
            untaken: untaken.map(|(turn, text)| (turn, text.clone())),
        }
    }
}
