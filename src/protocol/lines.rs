//! [`Lines`]: keeps half a line between calls.

use memchr::memchr;

use super::members::FrameError;

/// Turns bytes into lines, however the bytes are split. It holds only an unfinished line,
/// which is never longer than the limit.
#[derive(Debug)]
pub(super) struct Lines {
    started: Vec<u8>,
    limit: usize,
}

impl Lines {
    /// For lines of at most `limit` bytes, LF included.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            started: Vec::new(),
            limit,
        }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes off the front of `bytes`, up to the first LF or all of them, and reads the
    /// line that they end, if they do.
    pub(super) fn decode<T>(
        &mut self,
        bytes: &mut &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, FrameError>,
    ) -> Result<Option<T>, FrameError> {
        let end = memchr(b'\n', bytes);
        let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        *bytes = rest;
        // A line of exactly `limit` bytes ends in the LF; one without it is already too long.
        if self.started.len() + piece.len() + usize::from(end.is_none()) > self.limit {
            return Err(FrameError::LineTooLong { limit: self.limit });
        }
        let Some(content) = piece.strip_suffix(b"\n") else {
            self.started.extend_from_slice(piece);
            return Ok(None);
        };
        if self.started.is_empty() {
            return read(content).map(Some);
        }
        self.started.extend_from_slice(content);
        let line = read(&self.started);
        // Keep the memory: the next line may be as long.
        self.started.clear();
        line.map(Some)
    }

    /// Frees the memory that long lines needed, unless it is in use.
    pub(super) fn shrink(&mut self) {
        if self.started.is_empty() {
            self.started = Vec::new();
        }
    }
}
