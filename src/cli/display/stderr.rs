//! stderr: all but the transcript.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use terminal_size::{Width, terminal_size_of};

use super::output::Output;
use crate::cli::layout::Page;
use crate::cli::locale::Letters;

/// stderr.
#[derive(Debug)]
pub(super) struct Stderr;

impl Output for Stderr {
    fn is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }

    fn is_colourful(&self) -> bool {
        AutoStream::choice(&io::stderr()) != ColorChoice::Never
    }

    fn page(&self) -> Option<Page> {
        let (Width(columns), _) = terminal_size_of(io::stderr())?;
        Some(Page {
            columns: columns.into(),
            letters: Letters::of_locale(),
        })
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut stderr = io::stderr().lock();
        stderr.write_all(text.as_bytes())?;
        stderr.flush()
    }
}
