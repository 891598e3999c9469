//! [`Journal`]: the open conversations on disk. Each has one small file, in which the next
//! state is written and synced before the step that depends on it (PROTOCOL 4.7). A
//! conversation then survives a crash of either side, at any instant.
//!
//! ```text
//! DIR/OWN-KEY/client-PEER-KEY.record      a client's conversation with that peer
//! DIR/OWN-KEY/server-PEER-KEY-ID.record   a server's, live, parked or just ended
//! DIR/OWN-KEY/*.lock                      empty; locked by the process that goes on with it
//! ```

mod slots;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::io_error::IoError;
use crate::protocol::{Conversation, ConversationId, Limits, Role, Snapshot};
use crate::trust::KeyId;
use crate::trust::Unusable;
use crate::trust::durable::{ReplaceError, create_private_dir, remove_for_good, sweep};
use crate::trust::own_file::{FileError, Whose, check_directory, open, open_lock};
use slots::{Found, Slots, WriteError};

/// The version of the records' format. Records of another version are refused.
const VERSION: u32 = 3;
/// How the name of a record's file ends; and of one up to version 2.
const RECORD: &str = ".record";
const OLD_RECORD: &str = ".json";
/// For how long a parked conversation is kept (30 days).
const PARKED_TIME: Duration = Duration::from_secs(30 * 24 * 3_600);

/// For how long an end is remembered (24 hours; PROTOCOL 4.24).
const ENDED_TIME: Duration = Duration::from_secs(24 * 3_600);

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

/// Why a conversation cannot be stored or continued. Its file is unchanged; only if the last
/// sync of its directory failed, it may be the new one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: IoError,
    },
    /// A file or directory cannot be written: the disk is full, or read-only.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: IoError,
    },
    /// A file or directory is not used as it is: another user owns it or others can write it,
    /// or it is a link, no file, or too long.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// A file's content is not what this program writes. To begin anew, move it away.
    #[error("the journal file {} is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// A file was written by another version of this program.
    #[error("the journal file {} has the form of version {version}", path.display())]
    OtherVersion {
        /// Which.
        path: PathBuf,
        /// The version of its form.
        version: u32,
    },
    /// Another client or server, in this process or another, has this conversation open or
    /// serves this journal, and did not let go within 3 s.
    #[error("somebody else holds {}", path.display())]
    InUse {
        /// What it holds.
        path: PathBuf,
    },
}

/// One conversation's file.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
    peer: KeyId,
    slots: Mutex<Slots>,
    /// Held while the conversation is open here or its last store is in progress.
    _lock: Arc<File>,
}

/// A record's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    peer: KeyId,
    /// Seconds since 1970, when this was written.
    written: u64,
    /// It was on, or held, when this was written; else it is parked.
    live: bool,
    /// A server's: when the ClientHello of its newest connection came, among all
    /// since these were first kept (PROTOCOL 4.25).
    clienthello: u64,
    conversation: Snapshot,
}

/// How long to wait for a lock that another holds: the last store of a conversation that was
/// just dropped may still be in progress.
const STORING_TIME: Duration = Duration::from_secs(3);
const STORING_PAUSE: Duration = Duration::from_millis(10);

/// Opens it once nobody else holds its lock; waits up to 3 s.
pub(super) async fn once_free<T>(
    open: impl Fn() -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    let by = Instant::now() + STORING_TIME;
    loop {
        match open() {
            Err(JournalError::InUse { .. }) if Instant::now() < by => sleep(STORING_PAUSE).await,
            opened => return opened,
        }
    }
}

/// More than can ever come. The count continues from the stored number, so a larger one is
/// damage.
const MOST_CLIENTHELLOS: u64 = 1 << 53;

/// Only the part that every version has.
#[derive(Deserialize)]
struct AnyContents {
    version: u32,
}

/// What a server's journal holds.
#[derive(Debug, Default)]
pub(crate) struct StoredConversations {
    /// Where new conversations are stored; nowhere without a journal.
    pub(crate) records: Option<Records>,
    /// In the order in which their peers last came.
    pub(crate) stored: Vec<Stored>,
    /// Too old, or open and too many.
    pub(crate) expired: Vec<Stored>,
    /// More ends than are remembered.
    pub(crate) excess: Vec<Stored>,
    /// What cannot be read, and whose conversation it is, as far as its name says.
    pub(crate) unreadable: Vec<(Option<(KeyId, ConversationId)>, JournalError)>,
}

/// A server's records. While it exists, no other process serves these conversations.
#[derive(Debug)]
pub(crate) struct Records {
    dir: PathBuf,
    lock: Arc<File>,
}

impl Records {
    /// The one for a new conversation.
    pub(crate) fn new_one(&self, peer: &KeyId, id: ConversationId) -> Record {
        Record {
            path: self
                .dir
                .join(format!("server-{}-{id}{RECORD}", peer.file_name())),
            peer: *peer,
            slots: Mutex::default(),
            _lock: Arc::clone(&self.lock),
        }
    }
}

/// Where a conversation stands on the disk. The file's name tells our role in it.
#[derive(Debug)]
pub(super) struct PageFile {
    role: Role,
    path: PathBuf,
}

/// A conversation as its file says, whoever holds it.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) role: Role,
    pub(super) peer: KeyId,
    pub(super) conversation: Conversation,
    /// When, in seconds since 1970.
    pub(super) written: u64,
    is_live: bool,
    clienthello: u64,
    path: PathBuf,
    slots: Slots,
}

/// A conversation that was read from its file, under its lock.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) record: Arc<Record>,
    pub(crate) peer: KeyId,
    pub(crate) conversation: Conversation,
    pub(crate) is_live: bool,
    pub(crate) clienthello: u64,
    written: u64,
}

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
        let entries = entries(dir)?.into_iter();
        let owners = entries.filter_map(|path| KeyId::of_file_name(path.file_name()?.to_str()?));
        Ok(owners.map(|own| Self::new(dir, &own)).collect())
    }

    /// A client's record for its conversation with this peer, and what is in
    /// it.
    pub(crate) fn client(
        &self,
        peer: &KeyId,
    ) -> Result<(Record, Option<Conversation>), JournalError> {
        let name = format!("client-{}", peer.file_name());
        let file = PageFile {
            role: Role::Client,
            path: self.dir.join(format!("{name}{RECORD}")),
        };
        let lock = Arc::new(self.lock(&name)?);
        sweep(&self.dir, &name);
        PageFile::refuse_old(&file.path)?;
        let stored = file.read()?;
        let record = Record {
            path: file.path,
            peer: *peer,
            slots: Mutex::new(
                stored
                    .as_ref()
                    .map_or_else(Slots::default, |page| page.slots),
            ),
            _lock: lock,
        };
        Ok((record, stored.map(|page| page.conversation)))
    }

    /// Whether there is a client's conversation with this peer to go on with.
    pub(crate) fn has_client(&self, peer: &KeyId) -> bool {
        let name = format!("client-{}", peer.file_name());
        let exists = |ending| self.dir.join(format!("{name}{ending}")).exists();
        exists(RECORD) || exists(OLD_RECORD)
    }

    /// Everything that a server's journal holds.
    pub(crate) fn stored(&self, limits: &Limits) -> Result<StoredConversations, JournalError> {
        let lock = Arc::new(self.lock("server")?);
        sweep(&self.dir, "server-");
        let (mut stored, mut unreadable) = (Vec::new(), Vec::new());
        let files = self.files()?.into_iter();
        for file in files.filter(|file| file.role == Role::Server) {
            match file.read() {
                Ok(page) => stored.extend(page.map(|page| page.held(&lock))),
                // It stops its own conversation, and no other.
                Err(error) => unreadable.push((file.server_conversation(), error)),
            }
        }
        stored.sort_by_key(|stored| (stored.clienthello, stored.written));
        let ends = stored.iter().filter(|s| s.conversation.has_quit()).count();
        let mut excess_open = (stored.len() - ends).saturating_sub(limits.parked);
        let mut excess_ends = ends.saturating_sub(limits.ended);
        let (mut kept, mut expired, mut excess) = (Vec::new(), Vec::new(), Vec::new());
        for stored in stored {
            let has_quit = stored.conversation.has_quit();
            let surplus = match has_quit {
                true => &mut excess_ends,
                false => &mut excess_open,
            };
            let is_excess = *surplus > 0;
            *surplus = surplus.saturating_sub(1);
            if is_excess && has_quit {
                excess.push(stored);
            } else if is_excess || stored.is_old() {
                expired.push(stored);
            } else {
                kept.push(stored);
            }
        }
        Ok(StoredConversations {
            records: Some(Records {
                dir: self.dir.clone(),
                lock,
            }),
            stored: kept,
            expired,
            excess,
            unreadable,
        })
    }

    /// The files of all its conversations, on either side; none before the first use.
    pub(super) fn files(&self) -> Result<Vec<PageFile>, JournalError> {
        self.check_directories()?;
        let entries = entries(&self.dir)?.into_iter();
        Ok(entries.filter_map(PageFile::of).collect())
    }

    /// Whether somebody holds this lock. Makes nothing. It has the lock shared for an instant:
    /// a server or client that starts just then waits for it.
    pub(super) fn is_held(&self, name: &str) -> Result<bool, JournalError> {
        let path = self.dir.join(format!("{name}.lock"));
        let file = match open(&path, Whose::Own) {
            Err(error) if error.is_absent() => return Ok(false),
            opened => opened.map_err(|error| not_read(&path, error))?.0,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(unreadable(&path, source)),
        }
    }

    /// That nobody else has put in them what is read there.
    fn check_directories(&self) -> Result<(), JournalError> {
        let all = self.dir.parent().into_iter().chain([self.dir.as_path()]);
        all.map(check_directory)
            .try_for_each(|checked| Ok(checked?))
    }

    pub(super) fn lock(&self, name: &str) -> Result<File, JournalError> {
        let unwritable = |path: &Path, source: io::Error| JournalError::Unwritable {
            path: path.to_owned(),
            source: source.into(),
        };
        // Before anything is made below it.
        self.check_directories()?;
        create_private_dir(&self.dir).map_err(|source| unwritable(&self.dir, source))?;
        self.check_directories()?;
        let path = self.dir.join(format!("{name}.lock"));
        let file = open_lock(&path).map_err(|error| match error {
            FileError::Unusable(unusable) => unusable.into(),
            FileError::Io(source) => unwritable(&path, source),
        })?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(JournalError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(unwritable(&path, source)),
        }
    }
}

impl PageFile {
    /// `None`: it is no conversation's file.
    fn of(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let name = name
            .strip_suffix(RECORD)
            .or(name.strip_suffix(OLD_RECORD))?;
        let role = match name.split_once('-')? {
            ("server", _) => Role::Server,
            ("client", _) => Role::Client,
            _ => return None,
        };
        Some(Self { role, path })
    }

    /// The lock of whoever goes on with it: a server has one for all of its conversations.
    pub(super) fn lock_name(&self) -> String {
        let own = self.path.file_stem().unwrap_or_default();
        match self.role {
            Role::Server => "server".to_owned(),
            Role::Client => own.to_string_lossy().into_owned(),
        }
    }

    /// Whose conversation this is on a server, and which, as its name says.
    fn server_conversation(&self) -> Option<(KeyId, ConversationId)> {
        let name = self.path.file_name()?.to_str()?;
        let name = name.strip_prefix("server-")?.strip_suffix(RECORD)?;
        // Both may have `-` in them.
        let (peer, id) = name.split_at_checked(KeyId::FILE_NAME)?;
        let id = id.strip_prefix('-')?;
        Some((KeyId::of_file_name(peer)?, id.parse().ok()?))
    }

    /// Refuses what an earlier version has left in the place of this record.
    fn refuse_old(path: &Path) -> Result<(), JournalError> {
        let old = path.with_extension(OLD_RECORD.trim_start_matches('.'));
        let file = Self::of(old).filter(|file| file.path.exists());
        file.map_or(Ok(()), |file| file.read().map(drop))
    }

    /// What stands in it; `None` if there is none, or no longer.
    pub(super) fn read(&self) -> Result<Option<Page>, JournalError> {
        let path = &self.path;
        let Some((contents, slots)) = Contents::read(path)? else {
            return Ok(None);
        };
        let damaged = || JournalError::Damaged { path: path.clone() };
        let conversation = Conversation::restore(self.role, contents.conversation);
        let conversation = conversation.ok_or_else(damaged)?;
        // One that was renamed or copied stands for another.
        let name = (contents.peer, conversation.id());
        if self.role == Role::Server && self.server_conversation() != Some(name) {
            return Err(damaged());
        }
        Ok(Some(Page {
            role: self.role,
            peer: contents.peer,
            conversation,
            written: contents.written,
            is_live: contents.live,
            clienthello: contents.clienthello,
            path: path.clone(),
            slots,
        }))
    }
}

impl Page {
    /// To go on with, or to end, by whoever has its lock.
    pub(super) fn held(self, lock: &Arc<File>) -> Stored {
        let record = Record {
            path: self.path,
            peer: self.peer,
            slots: Mutex::new(self.slots),
            _lock: Arc::clone(lock),
        };
        Stored {
            record: Arc::new(record),
            peer: self.peer,
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

    fn is_old(&self) -> bool {
        self.age()
            > match self.conversation.has_quit() {
                true => ENDED_TIME,
                false => PARKED_TIME,
            }
    }
}

impl Record {
    /// Stores this durably, replacing the old content.
    pub(crate) fn store(
        &self,
        conversation: &Snapshot,
        is_live: bool,
        clienthello: u64,
    ) -> Result<(), JournalError> {
        let unwritable = |source: io::Error| JournalError::Unwritable {
            path: self.path.clone(),
            source: source.into(),
        };
        let record = Contents {
            version: VERSION,
            peer: self.peer,
            written: now(),
            live: is_live,
            clienthello,
            conversation: conversation.clone(),
        };
        let json = serde_json::to_vec(&record).map_err(|error| unwritable(error.into()))?;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.write(&self.path, &json).map_err(|error| match error {
            WriteError::Replace(ReplaceError::Unusable(unusable))
            | WriteError::File(FileError::Unusable(unusable)) => unusable.into(),
            WriteError::Replace(ReplaceError::Io(source) | ReplaceError::Unsynced(source))
            | WriteError::File(FileError::Io(source)) => unwritable(source),
        })
    }

    /// Whether this is what stands in it.
    pub(crate) fn holds(&self, conversation: &Snapshot) -> bool {
        let contents = Contents::read(&self.path).ok().flatten();
        contents.is_some_and(|(contents, _)| contents.conversation == *conversation)
    }

    /// The conversation is over, and nobody needs to be told so any more.
    pub(crate) fn remove(&self) -> Result<(), JournalError> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        *slots = Slots::default();
        remove_for_good(&self.path).map_err(|source| JournalError::Unwritable {
            path: self.path.clone(),
            source: source.into(),
        })
    }
}

impl Contents {
    fn read(path: &Path) -> Result<Option<(Self, Slots)>, JournalError> {
        let damaged = || JournalError::Damaged {
            path: path.to_owned(),
        };
        let other = |version| JournalError::OtherVersion {
            path: path.to_owned(),
            version,
        };
        let (slots, json) = match Slots::read(path).map_err(|error| not_read(path, error))? {
            Found::Nothing => return Ok(None),
            Found::Damaged(beginning) => {
                return Err(old_version(&beginning).map_or_else(damaged, other));
            }
            Found::Whole(slots, json) => (slots, json),
        };
        match serde_json::from_slice(&json) {
            Ok(AnyContents { version: VERSION }) => {}
            Ok(AnyContents { version }) => return Err(other(version)),
            Err(_) => return Err(damaged()),
        }
        let contents: Self = serde_json::from_slice(&json).map_err(|_| damaged())?;
        match contents.clienthello > MOST_CLIENTHELLOS {
            true => Err(damaged()),
            false => Ok(Some((contents, slots))),
        }
    }
}

/// The version of a record that is all JSON, as up to 2.
fn old_version(beginning: &[u8]) -> Option<u32> {
    let beginning = std::str::from_utf8(beginning).ok()?;
    let version = beginning.strip_prefix("{\"version\":")?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// What stands in a record's file, for tests.
pub fn read_record(path: &Path) -> Option<String> {
    match Slots::read(path) {
        Ok(Found::Whole(_, json)) => String::from_utf8(json).ok(),
        _ => None,
    }
}

/// Puts this into a record's file, for tests. Whether it could.
pub fn write_record(path: &Path, json: &str) -> bool {
    let mut slots = match Slots::read(path) {
        Ok(Found::Whole(slots, _)) => slots,
        _ => Slots::default(),
    };
    slots.write(path, json.as_bytes()).is_ok()
}

/// What is in a directory; nothing where there is none.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| unreadable(dir, source))?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: io::Result<_> = paths.collect();
    paths.map_err(|source| unreadable(dir, source))
}

fn not_read(path: &Path, error: FileError) -> JournalError {
    match error {
        FileError::Unusable(unusable) => unusable.into(),
        FileError::Io(source) => unreadable(path, source),
    }
}

fn unreadable(path: &Path, source: io::Error) -> JournalError {
    JournalError::Unreadable {
        path: path.to_owned(),
        source: source.into(),
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::HeardWhen;

    #[test]
    fn two_keys_with_one_conversations_id_have_a_record_each() {
        let dir = tempfile::tempdir().unwrap();
        let key = |name: &str| KeyId::of_spki(name.as_bytes());
        let journal = Journal::new(dir.path(), &key("alice"));
        let id = ConversationId::from_bits([7; 16]);
        let conversation = Conversation::new(Role::Server, id, HeardWhen::Stored);
        let kept = journal.stored(&Limits::default()).unwrap();
        for peer in ["bob", "carol"] {
            let record = kept.records.as_ref().unwrap().new_one(&key(peer), id);
            record.store(&conversation.snapshot(), true, 1).unwrap();
        }
        drop(kept);
        let kept = journal.stored(&Limits::default()).unwrap();
        let mut peers: Vec<_> = kept.stored.iter().map(|stored| stored.peer).collect();
        peers.sort();
        let mut expected = ["bob", "carol"].map(key);
        expected.sort();
        assert_eq!(peers, expected);
        // One that is removed leaves the other.
        kept.stored[0].record.remove().unwrap();
        drop(kept);
        assert_eq!(journal.stored(&Limits::default()).unwrap().stored.len(), 1);
    }
}
