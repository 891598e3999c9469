//! [`Transcript`]: stdout, where the conversation stands and nothing else.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use terminal_size::{Width, terminal_size_of};

use super::layout;
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
        let mut stdout = anstream::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| Report::stdout(&error))
    }
}

/// Whether stdout is given colours: a terminal, unless that was refused.
pub fn is_colourful() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// The rows of a message, as they stand on stdout.
pub fn rows(whose: &str, text: &str) -> String {
    let rows = layout::transcript(whose, text, columns());
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

fn columns() -> Option<usize> {
    let (Width(columns), _) = terminal_size_of(io::stdout())?;
    Some(columns.into())
}
