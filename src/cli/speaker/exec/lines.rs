//! [`Lines`]: what a program writes, in lines.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, OwnedFd};

use tokio::net::unix::pipe::Receiver;

use crate::cli::input::line::{Line, LineReader};

/// What is read at once.
const CHUNK: usize = 4096;
/// What is read at most of somebody who has ended: whoever was started by it may write on.
const LAST: usize = 1 << 20;

/// The stdout or stderr of a program, as its reader has it. It holds no room while nothing comes.
#[derive(Debug)]
pub(super) struct Lines {
    pipe: Receiver,
    lines: LineReader,
    is_over: bool,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub(super) fn new(pipe: OwnedFd, limit: usize) -> io::Result<Self> {
        Ok(Self {
            pipe: Receiver::from_owned_fd(pipe)?,
            lines: LineReader::new(limit),
            is_over: false,
        })
    }

    /// The next line; `None` if there are no more. May be dropped at any time.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.lines.next_line() {
                return Some(line);
            }
            if self.is_over {
                return self.lines.finish();
            }
            // What fails here fails below, too.
            let _ = self.pipe.readable().await;
            let mut chunk = [0; CHUNK];
            match self.pipe.try_read(&mut chunk) {
                Ok(length @ 1..) => self.lines.feed(chunk.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => self.is_over = true,
            }
        }
    }

    /// Whoever writes has ended: what is there by now is all there is. The runtime need not know
    /// of it yet.
    pub(super) fn end(&mut self) {
        let mut chunk = [0; CHUNK];
        let mut room = LAST;
        while !self.is_over
            && room > 0
            && let Ok(length @ 1..) = nix::unistd::read(self.pipe.as_fd(), &mut chunk)
        {
            self.lines.feed(chunk.get(..length).unwrap_or_default());
            room = room.saturating_sub(length);
        }
        self.is_over = true;
    }

    /// How many lines there are that nobody has taken, after its [`end`](Self::end).
    pub(super) fn count(mut self) -> usize {
        std::iter::from_fn(|| self.lines.finish()).count()
    }
}
