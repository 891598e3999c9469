//! [`Journal`]: the open conversations on disk, and who may go on with them.
//!
//! ```text
//! DIR/OWN-KEY/client-PEER-KEY.record      a client's conversation with that peer
//! DIR/OWN-KEY/server-PEER-KEY-ID.record   a server's, live, parked or just ended
//! DIR/OWN-KEY/*.lock                      empty; locked by the process that goes on with it
//! ```

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::store::{
    Directory, Disk as _, FileStore, Inventory, JournalError, Listed, Page, Record, RecordName,
    Store,
};
use crate::protocol::{Conversation, Limits};
use crate::trust::KeyId;
use crate::trust::durable::create_private_dir;
use crate::trust::own_file::{Whose, check_directory, open, open_lock};

/// Where one identity's open conversations are kept, so that they survive a crash (PROTOCOL 4.7).
///
/// Each has one small file below the directory (mode 0600, in directories of mode 0700). Its next
/// state is written beside the last, and synced before the step that depends on it. It holds the
/// last messages, not encrypted. One server, and one client for each peer, can use a journal at a time. A server
/// keeps a parked conversation for 30 days, and [`Limits::parked`] (1,000) of them.
#[derive(Clone, Debug)]
pub struct Journal {
    dir: PathBuf,
}

/// How long to wait for a lock that another holds: the last store of a conversation that was
/// just dropped may still be in progress.
const STORING_TIME: Duration = Duration::from_secs(3);
const STORING_PAUSE: Duration = Duration::from_millis(10);

impl Journal {
    /// The journal below this directory, of the identity with this key: the
    /// [`key_id`](crate::trust::Identity::key_id) of the client or server that uses it. Nothing
    /// is read or made here; the directory and a lock file are made at the first use.
    pub fn new(dir: &Path, own: &KeyId) -> Self {
        Self {
            dir: dir.join(own.file_name()),
        }
    }

    /// The journals below this directory: one for each identity that has used it. None where
    /// there is no such directory. Nothing is made here.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`]: the directory.
    pub fn all(dir: &Path) -> Result<Vec<Self>, JournalError> {
        let names = Directory::unlocked(dir).names();
        let names = names.map_err(|source| JournalError::unreadable(dir, source))?;
        let owners = names.iter().filter_map(|name| KeyId::of_file_name(name));
        Ok(owners.map(|own| Self::new(dir, &own)).collect())
    }

    /// A client's record for its conversation with this peer, and what is in it. Waits up to 3 s
    /// for a client that has it open.
    pub(crate) async fn client(
        &self,
        peer: &KeyId,
    ) -> Result<(Arc<Record>, Option<Conversation>), JournalError> {
        let name = RecordName::Client(*peer);
        let lock = self.once_free(&name.lock()).await?;
        let store = self.store(lock, &name.to_string());
        Ok(match Arc::clone(&store).load(name).await? {
            Some(loaded) => {
                let stored = Page::read(name, &loaded, &*store)?.held(store);
                (stored.record, Some(stored.conversation))
            }
            None => (Arc::new(Record::of_new(store, name)), None),
        })
    }

    /// Whether there is a client's conversation with this peer to go on with.
    pub(crate) fn has_client(&self, peer: &KeyId) -> bool {
        let found = self.unlocked().get(&RecordName::Client(*peer));
        !matches!(found, Ok(None))
    }

    /// A server's store, and what is in it. Waits up to 3 s for a server that has it.
    pub(crate) async fn server(&self, limits: &Limits) -> Result<Inventory, JournalError> {
        let lock = self.once_free("server").await?;
        let store = self.store(lock, "server-");
        let listed = Arc::clone(&store).load_all().await?;
        let (dynamic, count): (Arc<dyn Store>, _) = (Arc::clone(&store) as _, store);
        let inventory = Inventory::of(listed, &dynamic, limits);
        count.count_from(inventory.next_clienthello());
        Ok(inventory)
    }

    /// All conversations of both sides, as they stand; none before the first use.
    pub(super) fn pages(&self) -> Result<Vec<Result<Page, JournalError>>, JournalError> {
        self.check_directories()?;
        let store = self.unlocked();
        let listed = store.records(None)?.into_iter();
        let pages = listed.map(|Listed { read, .. }| {
            let (name, loaded) = read?;
            Page::read(name, &loaded, &store)
        });
        Ok(pages.collect())
    }

    fn unlocked(&self) -> FileStore<Directory> {
        FileStore::new(Directory::unlocked(&self.dir))
    }

    /// The store of whoever has this lock: of the files whose names begin so.
    pub(super) fn store(&self, lock: File, begin: &str) -> Arc<FileStore<Directory>> {
        let store = FileStore::new(Directory::locked(&self.dir, lock));
        Arc::new(store.swept(begin))
    }

    /// Whether somebody holds this lock. Makes nothing. It has the lock shared for an instant:
    /// a server or client that starts just then waits for it.
    pub(super) fn is_held(&self, name: &str) -> Result<bool, JournalError> {
        let path = self.dir.join(format!("{name}.lock"));
        let file = match open(&path, Whose::Own) {
            Err(error) if error.is_absent() => return Ok(false),
            opened => {
                opened
                    .map_err(|error| JournalError::unreadable(&path, error))?
                    .0
            }
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(JournalError::unreadable(&path, source)),
        }
    }

    /// That nobody else has put in them what is read there.
    fn check_directories(&self) -> Result<(), JournalError> {
        let all = self.dir.parent().into_iter().chain([self.dir.as_path()]);
        all.map(check_directory)
            .try_for_each(|checked| Ok(checked?))
    }

    /// A lock, once nobody else holds it.
    async fn once_free(&self, name: &str) -> Result<File, JournalError> {
        let by = Instant::now() + STORING_TIME;
        loop {
            match self.lock(name) {
                Err(JournalError::InUse { .. }) if Instant::now() < by => {
                    sleep(STORING_PAUSE).await;
                }
                locked => return locked,
            }
        }
    }

    pub(super) fn lock(&self, name: &str) -> Result<File, JournalError> {
        let unwritable = |path: &Path, source: io::Error| JournalError::unwritable(path, source);
        // Before anything is made below it.
        self.check_directories()?;
        create_private_dir(&self.dir).map_err(|source| unwritable(&self.dir, source))?;
        self.check_directories()?;
        let path = self.dir.join(format!("{name}.lock"));
        let file = open_lock(&path).map_err(|error| JournalError::unwritable(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(JournalError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(unwritable(&path, source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ConversationId, HeardWhen, Role};

    #[tokio::test]
    async fn two_keys_with_one_conversations_id_have_a_record_each() {
        let dir = tempfile::tempdir().unwrap();
        let key = |name: &str| KeyId::of_spki(name.as_bytes());
        let journal = Journal::new(dir.path(), &key("alice"));
        let id = ConversationId::from_bits([7; 16]);
        let conversation = Conversation::new(Role::Server, id, HeardWhen::Stored);
        let kept = journal.server(&Limits::default()).await.unwrap();
        for peer in ["bob", "carol"] {
            let store = Arc::clone(kept.store.as_ref().unwrap());
            let record = Record::of_new(store, RecordName::Server(key(peer), id));
            record.put(&conversation.snapshot(), true, 1).await.unwrap();
        }
        drop(kept);
        let kept = journal.server(&Limits::default()).await.unwrap();
        let mut peers: Vec<_> = kept.stored.iter().map(|stored| stored.peer).collect();
        peers.sort();
        let mut expected = ["bob", "carol"].map(key);
        expected.sort();
        assert_eq!(peers, expected);
        // One that is removed leaves the other.
        kept.stored[0].record.remove().await.unwrap();
        drop(kept);
        let kept = journal.server(&Limits::default()).await.unwrap();
        assert_eq!(kept.stored.len(), 1);
    }
}
