//! [`Standard`]: stdout, which has the transcript and nothing else, or stderr.

use std::fmt::Debug;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::write;
use terminal_size::{Width, terminal_size_of};

use super::output::Output;
use crate::cli::blocking;
use crate::cli::layout::Page;
use crate::cli::locale::Letters;

/// Whether stdout can be written to at all: std takes what it writes to a descriptor that is for
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

/// Writes all of it to stdout.
///
/// # Errors
/// It is closed, or full for ever.
pub fn write_out(text: &str) -> io::Result<()> {
    Standard::new(io::stdout()).write(text)
}

/// One of the two, and what holds of it as long as the program runs.
#[derive(Debug)]
pub(super) struct Standard<S> {
    stream: S,
    destination: Destination,
    is_colourful: bool,
}

/// The columns of a terminal that does not say how many it has, as on a serial line.
const UNKNOWN: usize = 80;

/// Where it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    /// A terminal.
    Terminal,
    /// A pipe that a person at a terminal may have led back there, as with `| tee`.
    PipeAtTerminal,
    /// Somewhere else.
    Elsewhere,
}

impl<S: RawStream + AsFd> Standard<S> {
    pub(super) fn new(stream: S) -> Self {
        let is_pipe = || {
            let mode = fstat(&stream).map_or(SFlag::empty(), |stat| {
                SFlag::from_bits_truncate(stat.st_mode)
            });
            mode & SFlag::S_IFMT == SFlag::S_IFIFO
        };
        let destination = match stream.is_terminal() {
            true => Destination::Terminal,
            false if io::stdin().is_terminal() && is_pipe() => Destination::PipeAtTerminal,
            false => Destination::Elsewhere,
        };
        Self {
            destination,
            is_colourful: AutoStream::choice(&stream) != ColorChoice::Never,
            stream,
        }
    }

    /// What it takes without making us wait, once it is ready: a terminal some bytes, a pipe more
    /// (pipe(7), `PIPE_BUF`).
    fn piece(&self) -> usize {
        match self.destination {
            Destination::Terminal => 256,
            _ => 4_096,
        }
    }

    fn is_ready(&self, patience: PollTimeout) -> bool {
        let mut polled = [PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT)];
        // The write that follows says what is wrong.
        poll(&mut polled, patience).is_ok_and(|ready| ready > 0)
    }
}

impl<S: RawStream + AsFd + Debug + Send + Sync> Output for Standard<S> {
    fn is_terminal(&self) -> bool {
        self.destination == Destination::Terminal
    }

    fn is_colourful(&self) -> bool {
        self.is_colourful
    }

    fn page(&self) -> Option<Page> {
        let size = match self.destination {
            Destination::Terminal => terminal_size_of(&self.stream),
            Destination::PipeAtTerminal => terminal_size_of(io::stdin()),
            Destination::Elsewhere => return None,
        };
        Some(Page {
            columns: size.map_or(UNKNOWN, |(Width(columns), _)| columns.into()),
            letters: Letters::of_locale(),
        })
    }

    /// Past std's buffer. Waits where the stream is not ready, even if its other owner has made it
    /// non-blocking.
    fn write(&self, text: &str) -> io::Result<()> {
        let mut left = text.as_bytes();
        while !left.is_empty() {
            if !self.is_ready(PollTimeout::ZERO) {
                blocking::wait(|| self.is_ready(PollTimeout::NONE));
            }
            let now = left.get(..self.piece()).unwrap_or(left);
            match write(&self.stream, now) {
                Ok(written) => left = left.get(written..).unwrap_or_default(),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}
