//! [`Stdin`]: what a program reads, and whether it still does.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::unix::pipe::Sender;
use tokio::process::ChildStdin;

/// The stdin of a program, as its writer has it.
#[derive(Debug)]
pub(super) struct Stdin {
    writer: Sender,
    /// The same pipe. Its readiness is looked at for the end alone: what has been waited for
    /// there, a writer would wait for in vain.
    watch: Sender,
    /// Given to it, and not written yet.
    unread: Vec<u8>,
}

impl Stdin {
    pub(super) fn new(stdin: ChildStdin) -> io::Result<Self> {
        let writer = stdin.into_owned_fd()?;
        let watch = writer.try_clone()?;
        Ok(Self {
            writer: Sender::from_owned_fd(writer)?,
            watch: Sender::from_owned_fd(watch)?,
            unread: Vec::new(),
        })
    }

    /// How many bytes are given to it, and not written yet.
    pub(super) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Gives it this to read.
    pub(super) fn give(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Writes all that it was given. May be dropped at any time.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(super) async fn write(&mut self) -> io::Result<()> {
        while !self.unread.is_empty() {
            let written = self.writer.write(&self.unread).await?;
            self.unread.drain(..written);
        }
        Ok(())
    }

    /// Writes all that it was given, and returns only once nobody reads any more. May be dropped
    /// at any time.
    pub(super) async fn closed(&mut self) {
        if self.write().await.is_err() {
            return;
        }
        while let Ok(ready) = self.watch.ready(Interest::WRITABLE).await {
            if ready.is_write_closed() {
                return;
            }
            // That there is room is no news.
            let _ = self
                .watch
                .try_io::<()>(|| Err(ErrorKind::WouldBlock.into()));
        }
    }
}
