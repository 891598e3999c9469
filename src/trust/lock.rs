//! Waiting for a lock, and not for ever.

use std::fs::{File, TryLockError};
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anybody may be waited for who changes a small file.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

const PAUSE: Duration = Duration::from_millis(10);

/// Why a lock was not had.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Somebody else has it, and has not let go in time.
    Held,
    /// What the file system says; some have no locks.
    Io(io::Error),
}

/// Locks an open file or directory for this one alone, until it is dropped.
///
/// # Errors
/// [`LockError`].
pub(crate) fn lock_within(file: &File, patience: Duration) -> Result<(), LockError> {
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            Err(TryLockError::WouldBlock) if since.elapsed() >= patience => {
                return Err(LockError::Held);
            }
            Err(TryLockError::WouldBlock) => sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_held_is_waited_for_no_longer_than_said() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::open(dir.path()).unwrap();
        let (first, second) = (open(), open());
        lock_within(&first, Duration::ZERO).unwrap();
        let refused = lock_within(&second, Duration::ZERO);
        assert!(matches!(refused, Err(LockError::Held)), "{refused:?}");
        drop(first);
        lock_within(&second, Duration::ZERO).unwrap();
    }
}
