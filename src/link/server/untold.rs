//! [`Untold`]: an end on the disk that the server's user has not been told of yet.

use std::sync::Arc;

use crate::link::abandoned::Abandoned;
use crate::link::store::{Record, StoreError};
use crate::protocol::{Conversation, Snapshot};
use crate::trust::KeyId;

/// A conversation that is over, and stands in its record with what its user has still to read:
/// a message that nobody has taken, or one that was not acknowledged. After a crash the next
/// start tells of it.
#[derive(Debug)]
pub(in crate::link) struct Untold {
    record: Arc<Record>,
    remains: Remains,
}

/// What stays on the disk once its user knows of an end.
#[derive(Debug)]
enum Remains {
    /// That it has ended: its peer may come back and ask.
    End(Snapshot),
    Nothing,
}

impl Remains {
    fn of(conversation: &Conversation) -> Self {
        match conversation.is_acknowledged() {
            true => Self::Nothing,
            false => Self::End(conversation.tombstone()),
        }
    }

    async fn store(&self, record: &Record) -> Result<(), StoreError> {
        match self {
            Self::End(tombstone) => record.put(tombstone, false, 0).await,
            Self::Nothing => record.remove().await,
        }
    }
}

impl Untold {
    /// Ends a conversation on the disk; what is left to be told of it.
    ///
    /// # Errors
    /// It cannot be stored, and has not ended.
    pub(in crate::link) async fn end(
        key: KeyId,
        record: &Arc<Record>,
        mut conversation: Conversation,
    ) -> Result<(Abandoned, Option<Self>), StoreError> {
        conversation.quit();
        let remains = Remains::of(&conversation);
        match Self::of(key, record, &conversation, remains) {
            (abandoned, Ok(untold)) => {
                record.put(&conversation.snapshot(), false, 0).await?;
                Ok((abandoned, Some(untold)))
            }
            (abandoned, Err(remains)) => {
                remains.store(record).await?;
                Ok((abandoned, None))
            }
        }
    }

    /// Of one that had ended before a restart.
    pub(super) fn ended(
        key: KeyId,
        record: &Arc<Record>,
        conversation: &Conversation,
    ) -> Option<(Abandoned, Self)> {
        let remains = Remains::of(conversation);
        let (abandoned, untold) = Self::of(key, record, conversation, remains);
        untold.ok().map(|untold| (abandoned, untold))
    }

    /// Of one that is kept no longer.
    pub(super) async fn expired(
        key: KeyId,
        record: &Arc<Record>,
        conversation: &Conversation,
    ) -> (Abandoned, Option<Self>) {
        let (abandoned, untold) = Self::of(key, record, conversation, Remains::Nothing);
        if let Err(remains) = &untold {
            // What fails here has expired at the next start too.
            let _ = remains.store(record).await;
        }
        (abandoned, untold.ok())
    }

    /// `Err` if there is no message to tell of.
    fn of(
        key: KeyId,
        record: &Arc<Record>,
        conversation: &Conversation,
        remains: Remains,
    ) -> (Abandoned, Result<Self, Remains>) {
        let abandoned = Abandoned::of(key, conversation);
        if abandoned.unacknowledged.is_none() && abandoned.untaken.is_none() {
            return (abandoned, Err(remains));
        }
        let untold = Self {
            record: Arc::clone(record),
            remains,
        };
        (abandoned, Ok(untold))
    }

    /// Its user knows. What fails here is told of again at the next start.
    pub(in crate::link) async fn told(&self) {
        let _ = self.remains.store(&self.record).await;
    }
}
