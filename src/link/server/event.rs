//! What a server tells its user besides conversations: who did not get one, and which were
//! abandoned.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::link::abandoned::Abandoned;
use crate::link::error::ConnectionError;
use crate::link::store::JournalError;
use crate::link::untold::Untold;
use crate::protocol::Reason;
use crate::trust::KeyId;

/// Who did not get a conversation, and which conversations were abandoned, as it happens. At
/// most 64 events wait to be read, 32 of them [`Refused`](ServerEvent::Refused) or
/// [`Failed`](ServerEvent::Failed); the start of a journal has room of its own. Past that the
/// newest are dropped.
///
/// With a journal, a message in an event stays on the disk until its reader has asked for the
/// event after it; else the next start tells of it again, as [`Ended`](ServerEvent::Ended). Past
/// [`Limits::ended`](crate::protocol::Limits::ended) the oldest ends are told once more only.
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
            self.told = Some(tokio::spawn(async move { untold.told().await }));
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
    /// At the start: a record in the journal cannot be read. Its file is left as it is, and
    /// nobody can go on with that conversation: its peer is told
    /// [`Busy`](crate::protocol::Reason::Busy), and keeps it. All others go on.
    Unreadable(JournalError),
    /// A connection failed before it had a conversation.
    Failed(ConnectionError),
    /// A peer has begun another conversation, or given up this one, which was parked. The
    /// handler of one that is on learns [`Cause::Peer`](crate::link::Cause::Peer) instead.
    GaveUp(Abandoned),
    /// It was over before a restart, whoever ended it, and its last messages may not have been
    /// told here.
    Ended(Abandoned),
    /// Its peer did not continue it for 30 days, or there are more than
    /// [`Limits::parked`](crate::protocol::Limits::parked) (PROTOCOL 5.3).
    Expired(Abandoned),
    /// It was parked, and its peer is [expelled](super::Server::expel). The handler of one that
    /// is on learns [`Cause::Me`](crate::link::Cause::Me) instead.
    Expelled(Abandoned),
}
