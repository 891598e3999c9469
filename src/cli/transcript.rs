//! [`Transcript`]: stdout, where the conversation stands and nothing else.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

use anstream::ColorChoice;
use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Style};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::write;
use terminal_size::{Width, terminal_size_of};

use super::layout::{self, Page};
use super::locale::Letters;
use super::report::Report;

/// Before what the peer said.
pub const THEIRS: &str = "They say: ";
/// Before what was said here, and the prompt for it.
pub const OURS: &str = "Your message: ";

const THEIR_STYLE: Style = AnsiColor::Green.on_default().bold();
const OUR_STYLE: Style = AnsiColor::Cyan.on_default().bold();

/// The conversation as a person reads it.
#[derive(Debug)]
pub struct Transcript;

impl Transcript {
    /// Whether stdout is a terminal, so that rows are wrapped and a prompt
    /// can stand there.
    pub fn is_terminal() -> bool {
        io::stdout().is_terminal()
    }

    /// Whether stdout can be written to at all: std takes what it writes to a descriptor
    /// that is for reading only for written.
    ///
    /// # Errors
    /// It cannot.
    pub fn check() -> Result<(), Report> {
        let unwritable = |errno: Errno| Report::stdout(&errno.into());
        let flags = fcntl(io::stdout(), FcntlArg::F_GETFL).map_err(unwritable)?;
        match OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE == OFlag::O_RDONLY {
            true => Err(unwritable(Errno::EBADF)),
            false => Ok(()),
        }
    }

    /// One message, with whose it is before it.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn message(whose: &str, text: &str) -> Result<(), Report> {
        Self::write(&rows(whose, text))
    }

    /// The prompt, without an end.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn prompt() -> Result<(), Report> {
        let style = style_of(OURS);
        Self::write(&format!("{style}{OURS}{style:#}"))
    }

    fn write(text: &str) -> Result<(), Report> {
        match is_colourful() {
            true => write_stdout(text),
            false => write_stdout(&strip_str(text).to_string()),
        }
    }
}

/// Writes all of it to stdout, for a conversation.
///
/// # Errors
/// stdout is closed, or full for ever.
pub fn write_stdout(text: &str) -> Result<(), Report> {
    write_all(text).map_err(|error| Report::stdout(&error))
}

/// Writes all of it to stdout, past std's buffer. Waits where stdout is not ready, even if its
/// other owner has made it non-blocking.
///
/// # Errors
/// stdout is closed, or full for ever.
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

/// Whether stdout is given colours: a terminal, unless that was refused.
pub fn is_colourful() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// The rows of a message, as they stand on stdout.
pub fn rows(whose: &str, text: &str) -> String {
    let rows = layout::transcript(whose, text, page());
    let words = rows.strip_prefix(whose).unwrap_or(&rows);
    match is_colourful() {
        true => {
            let style = style_of(whose);
            format!("{style}{whose}{style:#}{words}")
        }
        false => rows,
    }
}

fn style_of(whose: &str) -> Style {
    match whose {
        THEIRS => THEIR_STYLE,
        _ => OUR_STYLE,
    }
}

/// The terminal that the transcript stands on: also where it gets there through a pipe, as
/// with `| tee`.
fn page() -> Option<Page> {
    let is_pipe = || {
        let mode = fstat(io::stdout()).map_or(SFlag::empty(), |stat| {
            SFlag::from_bits_truncate(stat.st_mode)
        });
        mode & SFlag::S_IFMT == SFlag::S_IFIFO
    };
    let size = match io::stdout().is_terminal() {
        true => terminal_size_of(io::stdout()),
        false if io::stdin().is_terminal() && is_pipe() => terminal_size_of(io::stdin()),
        false => None,
    };
    size.map(|(Width(columns), _)| Page {
        columns: columns.into(),
        letters: Letters::of_locale(),
    })
}
