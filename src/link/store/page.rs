//! [`Page`]: a conversation as its record says.

use super::contents::{Contents, Malformed};
use super::error::JournalError;
use super::record_name::RecordName;
use super::{Loaded, Store, Version};
use crate::protocol::Conversation;

/// A conversation as its record says, whoever has it.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) name: RecordName,
    pub(crate) conversation: Conversation,
    /// When, in seconds since 1970.
    pub(crate) written: u64,
    pub(super) version: Version,
    pub(super) is_live: bool,
    pub(super) clienthello: u64,
    pub(super) nonce: u64,
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
                nonce: contents.nonce,
            }),
        }
    }
}
