//! [`Untold`]: an end on the disk that its user has not been told of yet; and [`Telling`], which
//! the user has.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::runtime::Handle;

use super::abandoned::Abandoned;
use super::store::{LastPut, Record, StoreError};
use crate::protocol::Conversation;
use crate::trust::KeyId;

/// A conversation that is over, and stands in its record with what its user has still to read:
/// a message that nobody has taken, or one that was not acknowledged. After a crash the next
/// start tells of it.
#[derive(Debug)]
pub(super) struct Untold {
    record: Arc<Record>,
    last: LastPut,
}

impl Untold {
    /// Of one that has just ended.
    pub(super) fn new(record: Arc<Record>, last: LastPut) -> Self {
        Self { record, last }
    }

    /// Ends a conversation on the disk; what is left to be told of it.
    ///
    /// # Errors
    /// It cannot be stored, and has not ended.
    pub(super) async fn end(
        key: KeyId,
        record: &Arc<Record>,
        mut conversation: Conversation,
    ) -> Result<(Abandoned, Option<Self>), StoreError> {
        conversation.quit();
        let last = LastPut::of(&conversation);
        match Self::of(key, record, &conversation, last) {
            (abandoned, Ok(untold)) => {
                record.put(&conversation.snapshot(), false, 0).await?;
                Ok((abandoned, Some(untold)))
            }
            (abandoned, Err(last)) => {
                record.finish(&last).await?;
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
        let last = LastPut::of(conversation);
        let (abandoned, untold) = Self::of(key, record, conversation, last);
        untold.ok().map(|untold| (abandoned, untold))
    }

    /// Of one that is kept no longer.
    pub(super) async fn expired(
        key: KeyId,
        record: &Arc<Record>,
        conversation: &Conversation,
    ) -> (Abandoned, Option<Self>) {
        let (abandoned, untold) = Self::of(key, record, conversation, LastPut::Nothing);
        if let Err(last) = &untold {
            // What fails here has expired at the next start too.
            let _ = record.finish(last).await;
        }
        (abandoned, untold.ok())
    }

    /// `Err` if there is no message to tell of.
    fn of(
        key: KeyId,
        record: &Arc<Record>,
        conversation: &Conversation,
        last: LastPut,
    ) -> (Abandoned, Result<Self, LastPut>) {
        let abandoned = Abandoned::of(key, conversation);
        if abandoned.unacknowledged.is_none() && abandoned.untaken.is_none() {
            return (abandoned, Err(last));
        }
        (abandoned, Ok(Self::new(Arc::clone(record), last)))
    }

    /// Its user knows. What fails here is told of again at the next start.
    pub(super) async fn told(&self) {
        let _ = self.record.finish(&self.last).await;
    }
}

/// What the user has of an [`Untold`] end. Once the last copy is dropped, its user knows; not
/// where that happens in a panic, which is like a crash.
#[derive(Clone, Default)]
pub(super) struct Telling(Option<Arc<Teller>>);

struct Teller {
    untold: Mutex<Option<Untold>>,
    /// For a copy that is dropped outside of it.
    runtime: Handle,
}

impl Telling {
    pub(super) fn new(untold: Option<Untold>, runtime: &Handle) -> Self {
        Self(untold.map(|untold| {
            Arc::new(Teller {
                untold: Mutex::new(Some(untold)),
                runtime: runtime.clone(),
            })
        }))
    }

    /// Its user knows. It is put down even if nobody waits for that.
    pub(super) async fn told(&self) {
        if let (Some(untold), Some(teller)) = (self.take(), &self.0) {
            let telling = async move { untold.told().await };
            // Its conversation's may not be driven any more. It fails only with its runtime.
            let runtime = Handle::try_current().unwrap_or_else(|_| teller.runtime.clone());
            let _ = runtime.spawn(telling).await;
        }
    }

    /// It could not be told: the next start does.
    pub(super) fn give_up(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<Untold> {
        self.0.as_ref()?.take()
    }
}

impl Teller {
    fn take(&self) -> Option<Untold> {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        untold.take()
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let untold = self.take().filter(|_| !thread::panicking());
        if let Some(untold) = untold {
            self.runtime.spawn(async move { untold.told().await });
        }
    }
}

impl fmt::Debug for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telling")
    }
}

/// No part of what has happened.
impl PartialEq for Telling {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Telling {}

impl Hash for Telling {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
