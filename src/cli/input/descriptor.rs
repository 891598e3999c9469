//! [`Descriptor`]: where input arrives, and whether it is ours to read just now.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, tcflush, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use tokio::sync::Notify;

/// What is read at once, and so the most that is taken from a pipe beyond the
/// line that was asked for.
pub(super) const CHUNK: usize = 4096;

/// A pipe, a file or a terminal.
#[derive(Debug)]
pub(super) struct Descriptor {
    file: File,
    pub(super) is_terminal: bool,
    /// Seen in the background, and not yet in the foreground again.
    was_behind: AtomicBool,
    /// Tells that it is.
    fronted: Notify,
}

impl Descriptor {
    pub(super) fn new(descriptor: OwnedFd) -> Self {
        Self {
            is_terminal: descriptor.is_terminal(),
            file: File::from(descriptor),
            was_behind: AtomicBool::new(false),
            fronted: Notify::new(),
        }
    }

    /// Whether somebody else has the terminal. What is typed there is not ours, and to read it or
    /// to change anything would stop the whole program.
    pub(super) fn is_behind(&self) -> bool {
        let is_behind =
            self.is_terminal && tcgetpgrp(&self.file).is_ok_and(|group| group != getpgrp());
        if is_behind {
            self.was_behind.store(true, Ordering::Relaxed);
        }
        is_behind
    }

    /// Returns once the terminal is ours again, where a line was wanted meanwhile.
    pub(super) async fn fronted(&self) {
        self.fronted.notified().await;
    }

    /// Whether the terminal is ours, and was not when this was last looked at: then
    /// [`fronted`](Self::fronted) does not tell of it any more.
    pub(super) fn has_come_to_front(&self) -> bool {
        !self.is_behind() && self.was_behind.swap(false, Ordering::Relaxed)
    }

    /// It is ours: tells of it, if it was not before.
    pub(super) fn tell_of_front(&self) {
        if self.was_behind.swap(false, Ordering::Relaxed) {
            self.fronted.notify_one();
        }
    }

    /// Whether it is a terminal no more.
    pub(super) fn is_gone(&self) -> bool {
        tcgetattr(&self.file).is_err()
    }

    /// Whether there is something to read for us.
    pub(super) fn has_input(&self) -> io::Result<bool> {
        Ok(!self.is_behind() && self.is_ready()?)
    }

    /// Whether a read would not block.
    pub(super) fn is_ready(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::ZERO) {
            // Whatever was reported, a hang-up or a descriptor that cannot be
            // polled (macOS: /dev/null), the read will say what it means.
            Ok(reported) => Ok(reported > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// A chunk; `None` if there was nothing after all.
    pub(super) fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = vec![0; CHUNK];
        match (&self.file).read(&mut chunk) {
            Ok(length) => {
                chunk.truncate(length);
                Ok(Some(chunk))
            }
            // A signal; or a descriptor that its owner made non-blocking, and
            // another reader was quicker.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Has a terminal throw away what it holds, if it is ours.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn flush(&self) -> io::Result<()> {
        if !self.is_behind() {
            tcflush(&self.file, FlushArg::TCIFLUSH)?;
        }
        Ok(())
    }

    /// What a terminal of ours gives while it is asked for single characters: what it holds back
    /// of a line too. Anything else gives what it has.
    pub(super) fn unlined<T>(&self, read: impl FnOnce(bool) -> T) -> T {
        let before = tcgetattr(&self.file).ok().filter(|_| !self.is_behind());
        if let Some(mut mode) = before.clone() {
            mode.local_flags &= !LocalFlags::ICANON;
            let _ = tcsetattr(&self.file, SetArg::TCSANOW, &mode);
        }
        let done = read(before.is_some());
        if let Some(mode) = before {
            let _ = tcsetattr(&self.file, SetArg::TCSANOW, &mode);
        }
        done
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}
