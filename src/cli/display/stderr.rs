//! stderr: all but the transcript.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};

use super::output::{Output, page_of};
use crate::cli::layout::Page;

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
        page_of(io::stderr())
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut stderr = io::stderr().lock();
        stderr.write_all(text.as_bytes())?;
        stderr.flush()
    }
}
