//! What a server's user learns of it besides conversations: who did not get one,
//! and what was abandoned.

use tokio::sync::mpsc;

use crate::link::abandoned::Abandoned;
use crate::link::error::ConnectionError;
use crate::protocol::Reason;
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
