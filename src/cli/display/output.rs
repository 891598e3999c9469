//! [`Output`]: one of the two streams that are written to.

use std::fmt::Debug;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use nix::sys::stat::{SFlag, fstat};
use terminal_size::{Width, terminal_size_of};

use crate::cli::layout::Page;
use crate::cli::locale::Letters;

/// One of the two streams, as the display needs it.
pub(super) trait Output: Debug + Send + Sync {
    /// Whether it is a terminal.
    fn is_terminal(&self) -> bool;

    /// Whether it is given colours: a terminal, unless that was refused.
    fn is_colourful(&self) -> bool;

    /// The terminal that its rows end up on.
    fn page(&self) -> Option<Page>;

    /// Writes all of it.
    ///
    /// # Errors
    /// It is closed, or full for ever.
    fn write(&self, text: &str) -> io::Result<()>;
}

/// The terminal that what is written there ends up on: it is one, or a pipe that a person at a
/// terminal may have led there, as with `| tee`.
pub(super) fn page_of(stream: impl AsFd + IsTerminal) -> Option<Page> {
    let is_pipe = || {
        let mode = fstat(&stream).map_or(SFlag::empty(), |stat| {
            SFlag::from_bits_truncate(stat.st_mode)
        });
        mode & SFlag::S_IFMT == SFlag::S_IFIFO
    };
    let size = match stream.is_terminal() {
        true => terminal_size_of(&stream),
        false if io::stdin().is_terminal() && is_pipe() => terminal_size_of(io::stdin()),
        false => None,
    };
    size.map(|(Width(columns), _)| Page {
        columns: columns.into(),
        letters: Letters::of_locale(),
    })
}
