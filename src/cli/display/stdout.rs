//! stdout: the transcript, and nothing else.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

use anstream::{AutoStream, ColorChoice};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use super::output::{Output, page_of};
use crate::cli::layout::Page;

/// Whether it can be written to at all: std takes what it writes to a descriptor that is for
/// reading only for written.
///
/// # Errors
/// It cannot.
pub(super) fn check() -> io::Result<()> {
    let flags = fcntl(io::stdout(), FcntlArg::F_GETFL)?;
    match OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE == OFlag::O_RDONLY {
        true => Err(Errno::EBADF.into()),
        false => Ok(()),
    }
}

/// Writes all of it, past std's buffer. Waits where stdout is not ready, even if its other owner
/// has made it non-blocking.
///
/// # Errors
/// It is closed, or full for ever.
pub fn write_all(text: &str) -> io::Result<()> {
    let stdout = io::stdout();
    let mut left = text.as_bytes();
    while !left.is_empty() {
        match write(stdout.as_fd(), left) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
                // The write that follows says what is wrong.
                let _ = poll(&mut polled, PollTimeout::NONE);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// stdout.
#[derive(Debug)]
pub(super) struct Stdout;

impl Output for Stdout {
    fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    fn is_colourful(&self) -> bool {
        AutoStream::choice(&io::stdout()) != ColorChoice::Never
    }

    fn page(&self) -> Option<Page> {
        page_of(io::stdout())
    }

    fn write(&self, text: &str) -> io::Result<()> {
        write_all(text)
    }
}
