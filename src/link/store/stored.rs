//! [`Stored`]: a conversation to go on with.

use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::contents::now;
use super::page::Page;
use super::record::Record;
use crate::protocol::Conversation;
use crate::trust::KeyId;

/// For how long a parked conversation is kept (30 days).
const PARKED_TIME: Duration = Duration::from_secs(30 * 24 * 3_600);

/// For how long an end is remembered (24 hours; PROTOCOL 4.24).
const ENDED_TIME: Duration = Duration::from_secs(24 * 3_600);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::store::{Contents, Directory, FileStore, JournalError, RecordName, Version};
    use crate::protocol::{ConversationId, HeardWhen, Role};

    const HOUR: u64 = 3_600;

    fn key() -> KeyId {
        "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
            .parse()
            .unwrap()
    }

    fn id(byte: u8) -> ConversationId {
        ConversationId::from_bits([byte; 16])
    }

    fn conversation() -> Conversation {
        Conversation::new(Role::Server, id(7), HeardWhen::Taken)
    }

    fn stored(conversation: Conversation, age: u64) -> Stored {
        let directory = Directory::unlocked("nowhere".as_ref());
        let name = RecordName::Server(key(), conversation.id());
        Stored {
            record: Arc::new(Record::of_new(Arc::new(FileStore::new(directory)), name)),
            peer: key(),
            conversation,
            is_live: false,
            clienthello: 0,
            written: now() - age,
        }
    }

    #[test]
    fn what_is_open_is_kept_for_thirty_days_and_an_end_for_one() {
        let is_old = |conversation: &Conversation, age| stored(conversation.clone(), age).is_old();
        let open = conversation();
        assert!(!is_old(&open, 30 * 24 * HOUR - HOUR));
        assert!(is_old(&open, 30 * 24 * HOUR + HOUR));
        let ended = Conversation::restore(Role::Server, open.tombstone()).unwrap();
        assert!(!is_old(&ended, 24 * HOUR - HOUR));
        assert!(is_old(&ended, 24 * HOUR + HOUR));
        // Its last second is one of them.
        let at_once = |age| loop {
            let second = now();
            let is_old = is_old(&open, age);
            if now() == second {
                break is_old;
            }
        };
        assert!(!at_once(30 * 24 * HOUR));
        assert!(at_once(30 * 24 * HOUR + 1));
    }

    #[test]
    fn a_clock_that_went_back_makes_nothing_old() {
        let mut stored = stored(conversation(), 0);
        stored.written += HOUR;
        assert_eq!(stored.age(), Duration::ZERO);
    }

    /// One that was renamed or copied.
    #[test]
    fn a_record_under_anothers_name_is_damage() {
        let store = FileStore::new(Directory::unlocked("nowhere".as_ref()));
        let mut contents = Contents::new(key(), conversation().snapshot());
        contents.live = true;
        contents.clienthello = 5;
        contents.written = 9;
        let loaded = (Version::NONE, contents.encode());
        let page = Page::read(RecordName::Server(key(), id(7)), &loaded, &store).unwrap();
        assert_eq!(page.written, 9);
        let stored = page.held(Arc::new(FileStore::new(Directory::unlocked("".as_ref()))));
        assert_eq!((stored.is_live, stored.clienthello), (true, 5));
        assert_eq!(stored.conversation.id(), id(7));

        let other = "SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0"
            .parse()
            .unwrap();
        for name in [
            RecordName::Server(key(), id(8)),
            RecordName::Server(other, id(7)),
            RecordName::Client(other),
        ] {
            let read = Page::read(name, &loaded, &store);
            assert!(matches!(read, Err(JournalError::Damaged { .. })), "{name}");
        }
    }
}
