//! [`Page`]: a conversation as its record says. [`Stored`]: one to go on with.

use std::sync::Arc;
use std::time::Duration;

use super::contents::{Contents, Malformed, now};
use super::error::JournalError;
use super::record::Record;
use super::record_name::RecordName;
use super::{Loaded, Store, Version};
use crate::protocol::Conversation;
use crate::trust::KeyId;

/// For how long a parked conversation is kept (30 days).
const PARKED_TIME: Duration = Duration::from_secs(30 * 24 * 3_600);

/// For how long an end is remembered (24 hours; PROTOCOL 4.24).
const ENDED_TIME: Duration = Duration::from_secs(24 * 3_600);

/// A conversation as its record says, whoever has it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) name: RecordName,
    pub(crate) conversation: Conversation,
    /// When, in seconds since 1970.
    pub(crate) written: u64,
    version: Version,
    is_live: bool,
    clienthello: u64,
}

/// A conversation to go on with.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) record: Arc<Record>,
    pub(crate) peer: KeyId,
    pub(crate) conversation: Conversation,
    pub(crate) is_live: bool,
    pub(crate) clienthello: u64,
    pub(crate) written: u64,
}

impl Page {
    /// What stands in the record of this name.
    ///
    /// # Errors
    /// [`JournalError::Damaged`], [`JournalError::OtherVersion`].
    pub(crate) fn read(
        name: RecordName,
        (version, bytes): &Loaded,
        store: &dyn Store,
    ) -> Result<Self, JournalError> {
        let malformed = |malformed: Malformed| malformed.at(store.place(&name));
        let contents = Contents::decode(bytes).map_err(malformed)?;
        let restored = Conversation::restore(name.role(), contents.conversation);
        let conversation = restored.ok_or_else(|| malformed(Malformed::Damaged))?;
        // One that was renamed or copied stands for another.
        let is_its_own = match name {
            RecordName::Client(peer) => contents.peer == peer,
            RecordName::Server(peer, id) => (contents.peer, conversation.id()) == (peer, id),
        };
        match is_its_own {
            false => Err(malformed(Malformed::Damaged)),
            true => Ok(Self {
                name,
                conversation,
                written: contents.written,
                version: *version,
                is_live: contents.live,
                clienthello: contents.clienthello,
            }),
        }
    }

    /// To go on with, or to end, by whoever may write to its store.
    pub(crate) fn held(self, store: Arc<dyn Store>) -> Stored {
        let is_tombstone = self.conversation.snapshot().is_tombstone();
        Stored {
            record: Arc::new(Record::new(store, self.name, self.version, is_tombstone)),
            peer: self.name.peer(),
            conversation: self.conversation,
            is_live: self.is_live,
            clienthello: self.clienthello,
            written: self.written,
        }
    }
}

impl Stored {
    /// How long ago it was stored.
    pub(crate) fn age(&self) -> Duration {
        Duration::from_secs(now().saturating_sub(self.written))
    }

    pub(super) fn is_old(&self) -> bool {
        self.age()
            > match self.conversation.has_quit() {
                true => ENDED_TIME,
                false => PARKED_TIME,
            }
    }
}
