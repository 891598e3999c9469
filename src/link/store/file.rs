//! [`FileStore`]: the store of one machine, a small file for each record. Only whoever has the
//! lock of its conversations writes in it.

use std::collections::VecDeque;
use std::fmt;
use std::future::{pending, ready};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::{JoinError, spawn_blocking};

use super::contents::{Contents, Malformed};
use super::disk::Disk;
use super::error::{JournalError, PutError};
use super::record_name::RecordName;
use super::slots::{self, Found, WriteError};
use super::{Later, Listed, Loaded, Store, Version};
use crate::protocol::Role;

/// How the name of a record's file ends; and of one up to version 2.
const RECORD: &str = ".record";
const OLD_RECORD: &str = ".json";
/// So many files stay open: to open one, and to close it behind a write, takes about half as long
/// as the flush.
const OPEN: usize = 4;

/// Records as files on a [`Disk`]. A put takes one flush, but for the first of a record and for
/// one that needs more room.
///
/// ```
/// use turnchat::internals::FileStore;
/// # fn on<D: turnchat::internals::Disk>(disk: D) {
/// let store = FileStore::new(disk);
/// assert!(store.records(None).is_ok_and(|records| records.is_empty()));
/// # }
/// ```
pub struct FileStore<D: Disk> {
    disk: D,
    /// The files that were written last, of [`OPEN`] records at most.
    open: Mutex<VecDeque<(RecordName, D::File)>>,
    tickets: AtomicU64,
}

impl<D: Disk> FileStore<D> {
    /// The records on this disk.
    pub fn new(disk: D) -> Self {
        Self {
            disk,
            open: Mutex::default(),
            tickets: AtomicU64::new(0),
        }
    }

    /// The same, for whoever has the lock: what writers that were killed have left beside the
    /// files whose names begin so is removed.
    #[must_use]
    pub fn swept(self, begin: &str) -> Self {
        slots::sweep(&self.disk, begin);
        self
    }

    /// What stands in a record; `None` if there is none.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn get(&self, name: &RecordName) -> Result<Option<Loaded>, JournalError> {
        let found = self.read(&file_name(name))?;
        match found {
            Some(found) => Ok(Some(found)),
            // What an earlier version has left in its place is not passed over.
            None => self.read(&format!("{name}{OLD_RECORD}")),
        }
    }

    /// The same, to go on with it: it is durable then. A writer that was killed may have left what
    /// a power cut would take back.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn take_up(&self, name: &RecordName) -> Result<Option<Loaded>, JournalError> {
        self.flush(&file_name(name))?;
        self.flush_names()?;
        self.get(name)
    }

    fn flush(&self, file: &str) -> Result<(), JournalError> {
        let flushed = slots::flush(&self.disk, file);
        flushed.map_err(|error| JournalError::unwritable(&self.disk.path(file), error))
    }

    fn flush_names(&self) -> Result<(), JournalError> {
        let flushed = self.disk.flush();
        flushed.map_err(|error| JournalError::unwritable(&self.disk.path(""), error))
    }

    fn read(&self, file: &str) -> Result<Option<Loaded>, JournalError> {
        let path = || self.disk.path(file);
        let found = slots::read(&self.disk, file);
        match found.map_err(|error| JournalError::unreadable(&path(), error))? {
            Found::Nothing => Ok(None),
            Found::Whole(loaded) => Ok(Some(loaded)),
            Found::Damaged(beginning) => Err(Contents::malformed(&beginning).at(path())),
        }
    }

    /// The records of servers, of clients, or of both, in no order.
    ///
    /// # Errors
    /// [`JournalError`]: the directory.
    pub fn records(&self, role: Option<Role>) -> Result<Vec<Listed>, JournalError> {
        let names = self.disk.names();
        let names = names.map_err(|error| JournalError::unreadable(&self.disk.path(""), error))?;
        let listed = names.iter().filter_map(|file| {
            let stem = file
                .strip_suffix(RECORD)
                .or(file.strip_suffix(OLD_RECORD))?;
            let mut of = [Role::Server, Role::Client].into_iter();
            let of = of.find(|role| stem.starts_with(&format!("{}-", role.word())))?;
            let name = stem.parse().ok().filter(|_| file.ends_with(RECORD));
            let is_wanted = role.is_none_or(|role| role == of);
            let read = is_wanted.then(|| self.read(file).transpose()).flatten()?;
            let nameless = || Malformed::Damaged.at(self.disk.path(file));
            let read = read.and_then(|loaded| Ok((name.ok_or_else(nameless)?, loaded)));
            Some(Listed { name, read })
        });
        Ok(listed.collect())
    }

    /// The records of a server, to go on with them: they are durable then. One that nobody may
    /// write to cannot be gone on with.
    ///
    /// # Errors
    /// [`JournalError`]: the directory, or a disk that fails, which no record has to do with.
    pub fn take_up_all(&self) -> Result<Vec<Listed>, JournalError> {
        let mut records = self.records(Some(Role::Server))?;
        for record in &mut records {
            let Ok((name, _)) = &record.read else {
                continue;
            };
            match self.flush(&file_name(name)) {
                Err(error) if error.is_of_one_file() => record.read = Err(error),
                flushed => flushed?,
            }
        }
        self.flush_names()?;
        Ok(records)
    }

    /// Writes a record durably; its new version.
    ///
    /// # Errors
    /// [`PutError`], never `Unknown`.
    pub fn write(
        &self,
        name: &RecordName,
        bytes: &[u8],
        expected: Version,
    ) -> Result<Version, PutError> {
        let open = self.take_open(name);
        let written = slots::write(&self.disk, &file_name(name), open, bytes, expected);
        let (version, file) = written.map_err(|error| self.put_error(name, error))?;
        let mut open = self.open();
        open.truncate(OPEN - 1);
        open.push_front((*name, file));
        Ok(version)
    }

    /// The same, so that nothing stays of what stood there. It takes two flushes.
    ///
    /// # Errors
    /// [`PutError`], never `Unknown`.
    pub fn write_anew(
        &self,
        name: &RecordName,
        bytes: &[u8],
        expected: Version,
    ) -> Result<Version, PutError> {
        drop(self.take_open(name));
        let written = slots::write_anew(&self.disk, &file_name(name), bytes, expected);
        let written = written.map(|(version, _)| version);
        written.map_err(|error| self.put_error(name, error))
    }

    fn take_open(&self, name: &RecordName) -> Option<D::File> {
        let mut open = self.open();
        let place = open.iter().position(|(of, _)| of == name)?;
        open.remove(place).map(|(_, file)| file)
    }

    fn open(&self) -> MutexGuard<'_, VecDeque<(RecordName, D::File)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a record durably.
    ///
    /// # Errors
    /// [`PutError`], never `Unknown`.
    pub fn delete(&self, name: &RecordName, expected: Version) -> Result<(), PutError> {
        drop(self.take_open(name));
        let removed = slots::remove_at(&self.disk, &file_name(name), expected);
        removed.map_err(|error| self.put_error(name, error))
    }

    fn put_error(&self, name: &RecordName, error: WriteError) -> PutError {
        match error {
            WriteError::Conflict => PutError::Conflict,
            WriteError::Damaged => PutError::Failed(Malformed::Damaged.at(self.place(name))),
            WriteError::File(error) => {
                PutError::Failed(JournalError::unwritable(&self.place(name), error))
            }
        }
    }

    /// Tickets go on from this one.
    pub fn count_from(&self, ticket: u64) {
        self.tickets.fetch_max(ticket, Ordering::Relaxed);
    }
}

impl<D: Disk> FileStore<D> {
    /// All records of a server, durably, in no order.
    ///
    /// # Errors
    /// Those of [`take_up_all`](Self::take_up_all), which this is on a thread that may wait.
    pub(crate) async fn load_all(self: Arc<Self>) -> Result<Vec<Listed>, JournalError> {
        blocking(move || self.take_up_all()).await
    }
}

/// Everything waits for the disk on a thread that may.
impl<D: Disk> Store for FileStore<D> {
    fn place(&self, name: &RecordName) -> PathBuf {
        self.disk.path(&file_name(name))
    }

    fn load(self: Arc<Self>, name: RecordName) -> Later<Result<Option<Loaded>, JournalError>> {
        Box::pin(blocking(move || self.take_up(&name)))
    }

    fn put(
        self: Arc<Self>,
        name: RecordName,
        bytes: Vec<u8>,
        expected: Version,
    ) -> Later<Result<Version, PutError>> {
        Box::pin(blocking(move || self.write(&name, &bytes, expected)))
    }

    fn put_end(
        self: Arc<Self>,
        name: RecordName,
        bytes: Vec<u8>,
        expected: Version,
    ) -> Later<Result<Version, PutError>> {
        Box::pin(blocking(move || self.write_anew(&name, &bytes, expected)))
    }

    fn remove(self: Arc<Self>, name: RecordName, expected: Version) -> Later<Result<(), PutError>> {
        Box::pin(blocking(move || self.delete(&name, expected)))
    }

    fn ticket(self: Arc<Self>) -> Later<Result<u64, JournalError>> {
        Box::pin(ready(Ok(self.tickets.fetch_add(1, Ordering::Relaxed))))
    }
}

/// Begins at once. Who waits for what a runtime that shuts down has not begun waits for ever.
fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = T> + Send {
    let calling = spawn_blocking(call);
    async {
        match calling.await.map_err(JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => resume_unwind(panic),
            Err(Err(_)) => pending().await,
        }
    }
}

fn file_name(name: &RecordName) -> String {
    format!("{name}{RECORD}")
}

impl<D: Disk> fmt::Debug for FileStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
