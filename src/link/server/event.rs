//! What a server tells its user besides conversations: who did not get one, and which were
//! abandoned.

use tokio::sync::mpsc;

use crate::link::abandoned::Abandoned;
use crate::link::error::ConnectionError;
use crate::protocol::Reason;
use crate::trust::KeyId;

/// Who did not get a conversation, and which conversations were abandoned, as it happens. If
/// nobody reads these events, the newest are dropped.
#[derive(Debug)]
pub struct ServerEvents(pub(super) mpsc::Receiver<ServerEvent>);

impl ServerEvents {
    /// The next one. `None` once the server has stopped. May be dropped at
    /// any time.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        self.0.recv().await
    }
}

/// A peer or connection without a conversation, or one that was abandoned.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A proven key was refused.
    Refused {
        /// The refused key.
        key: KeyId,
        /// Why.
        reason: Reason,
    },
    /// A connection failed before anything was decided.
    Failed(ConnectionError),
    /// A peer has begun another conversation, or given this one up.
    GaveUp(Abandoned),
    /// This side ended it, but crashed before the peer or its user knew.
    Ended(Abandoned),
    /// Its peer did not continue it for 30 days, or too many newer ones are kept.
    Expired(Abandoned),
}
