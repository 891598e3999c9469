//! Standard input, read only while a line is wanted.
//!
//! A read on stdin cannot be cancelled, neither tokio's nor our own. So it is waited for until
//! there is something, which takes nothing, and read then. stdin may be shared with others, and
//! is left as blocking as it was found.
//!
//! What a line means is [`line`]'s; prompts are not here.

mod descriptor;
pub mod line;
mod source;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use descriptor::Descriptor;
use line::LineReader;
use source::Source;

pub use source::{InputEvent, Taken};

/// The person's input. There should be one in a process, and no other reader
/// of stdin (`std::io::stdin()` would keep bytes back in its buffer).
#[derive(Debug)]
pub struct Input {
    source: Source,
}

impl Input {
    /// Standard input, in lines of at most `limit` bytes without their end.
    ///
    /// # Errors
    ///
    /// The descriptor cannot be duplicated.
    pub fn stdin(limit: usize) -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self::of(stdin, limit))
    }

    /// The same in lines that end at NUL, and may hold LF.
    ///
    /// # Errors
    /// Those of [`stdin`](Self::stdin).
    pub fn nul_ended_stdin(limit: usize) -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Self::over(stdin, LineReader::nul_ended(limit)))
    }

    /// The input that arrives at `descriptor`: a pipe, a file or a terminal.
    pub fn of(descriptor: OwnedFd, limit: usize) -> Self {
        Self::over(descriptor, LineReader::new(limit))
    }

    fn over(descriptor: OwnedFd, lines: LineReader) -> Self {
        let source = Source::new(descriptor, lines);
        Self { source }
    }

    /// Whether a person types here.
    pub fn is_terminal(&self) -> bool {
        self.source.descriptor.is_terminal
    }

    /// Whether nobody can type here any more: it was a terminal, and that was closed.
    pub fn is_gone(&self) -> bool {
        self.is_terminal() && self.source.descriptor.is_gone()
    }

    /// What becomes of the terminal, where this program is a job beside others.
    pub fn job(&self) -> Job {
        Job(Arc::clone(&self.source.descriptor))
    }

    /// The next line, waited for as long as it takes.
    ///
    /// May be dropped at any time: then nothing more is read, and what was
    /// read, a line or half of one, is kept for the next call.
    pub async fn next(&mut self) -> InputEvent {
        self.source.next().await
    }

    /// Whether [`next`](Self::next) would have something at once, as far as
    /// is known without reading: always right at a terminal, which gives whole
    /// lines; a pipe may hold only the beginning of one.
    pub fn is_ready(&self) -> bool {
        self.source.is_ready()
    }

    /// How many lines there are that nobody has taken, as far as they can be read without
    /// waiting; they are gone then. `Err`: more than so many.
    pub fn count_left(&mut self) -> Result<usize, usize> {
        self.source.count_left()
    }

    /// Takes the whole lines that a terminal has, as they come: it would forget them at Ctrl-C and
    /// Ctrl-Z. Never returns; may be dropped at any time.
    pub async fn gather(&mut self) {
        self.source.gather().await;
    }

    /// What there is that nobody has taken: lines, and at a terminal the half line that it holds
    /// back. The end of the input stays to be told.
    pub fn take_typed(&mut self) -> Taken {
        self.source.take_typed()
    }

    /// Throws away what was typed at a terminal and not yet taken, a line begun
    /// included. Anything but a terminal keeps everything.
    ///
    /// Says whether there was something, as far as [`is_ready`](Self::is_ready)
    /// knows; a line only begun in the terminal goes without being noticed.
    ///
    /// # Errors
    ///
    /// The terminal refused (it is gone, mostly); what it holds may still come.
    pub fn discard(&mut self) -> io::Result<bool> {
        if self.is_terminal() {
            self.source.discard()
        } else {
            Ok(false)
        }
    }
}

/// Who looks whether the terminal is ours.
#[derive(Debug)]
pub struct Job(Arc<Descriptor>);

impl Job {
    /// Returns once the terminal is ours again, where a line was wanted meanwhile. May be dropped
    /// at any time.
    pub async fn fronted(&self) {
        self.0.fronted().await;
    }

    /// Whether it is, and was not before: then [`fronted`](Self::fronted) does not tell of it any
    /// more.
    pub fn has_come_to_front(&self) -> bool {
        self.0.has_come_to_front()
    }
}

#[cfg(test)]
mod tests;
