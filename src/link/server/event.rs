//! What a server tells its user besides conversations: who did not get one, and which were
//! abandoned.

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::untold::Untold;
use crate::link::abandoned::Abandoned;
use crate::link::error::ConnectionError;
use crate::protocol::Reason;
use crate::trust::KeyId;

/// Who did not get a conversation, and which conversations were abandoned, as it happens. If
/// nobody reads these events, the newest are dropped.
///
/// With a journal, a message in an event stays on the disk until its reader has asked for the
/// event after it; if it is not asked for, the next start tells of that message again.
#[derive(Debug)]
pub struct ServerEvents {
    events: mpsc::Receiver<News>,
    /// Of the event that was handed out last.
    untold: Option<Untold>,
    /// The one before it, which is told.
    told: Option<JoinHandle<()>>,
}

/// An event, and what it leaves on the disk until it is told.
#[derive(Debug)]
pub(super) struct News {
    pub(super) event: ServerEvent,
    pub(super) untold: Option<Untold>,
}

impl ServerEvents {
    pub(super) fn new(events: mpsc::Receiver<News>) -> Self {
        Self {
            events,
            untold: None,
            told: None,
        }
    }

    /// The next one; the one before it counts as told now. `None` once the server has stopped.
    /// May be dropped at any time.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        if let Some(untold) = self.untold.take() {
            self.told = Some(spawn_blocking(move || untold.told()));
        }
        if let Some(told) = &mut self.told {
            // It does not panic, and is not cancelled before the runtime is.
            let _ = told.await;
            self.told = None;
        }
        let news = self.events.recv().await?;
        self.untold = news.untold;
        Some(news.event)
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
