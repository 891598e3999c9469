//! [`BookLock`]: one writer of the address book at a time, and who that is.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::error::BookError;
use crate::trust::lock::{LockError, lock_within};
use crate::trust::own_file::{FileError, open_lock};

/// Keeps other writers out until it is dropped. It is a file of its own beside the book, since
/// the book's is another one after each edit. Our process' number stands in it.
#[derive(Debug)]
pub(super) struct BookLock(File);

impl BookLock {
    /// The lock of the book at `path`; waits for `patience` if somebody else has it.
    pub(super) fn take(path: &Path, patience: Duration) -> Result<Self, BookError> {
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let unwritable = |source| BookError::Unwritable {
            path: lock_path.clone(),
            source,
        };
        let mut file = open_lock(&lock_path).map_err(|error| match error {
            FileError::Unusable(unusable) => unusable.into(),
            FileError::Io(source) => unwritable(source),
        })?;
        match lock_within(&file, patience) {
            Ok(()) => {}
            Err(LockError::Io(source)) => return Err(unwritable(source)),
            Err(LockError::Held) => {
                return Err(BookError::Held {
                    path: path.to_owned(),
                    holder: holder(&mut file),
                    waited: patience,
                });
            }
        }
        // Only for whoever waits: a full disk is for the book itself to find.
        let _ = file.set_len(0);
        let _ = write!(file, "{}", process::id());
        Ok(Self(file))
    }
}

impl Drop for BookLock {
    fn drop(&mut self) {
        let _ = self.0.set_len(0);
    }
}

/// The process that says it has the lock, if it is there.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    let number: u32 = text.trim().parse().ok()?;
    let process = Pid::from_raw(number.try_into().ok()?);
    (kill(process, None) != Err(Errno::ESRCH)).then_some(number)
}
