//! [`Unsent`]: lines that are still to be written. A long text is not copied into its line: it is
//! written from where it is.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::protocol::{Frame, Text};

/// A `welcome` and a short message are no longer, nor most else that is queued at once.
const SHORT_LINES: usize = 192;

/// Bytes to be written: these, one long text, and what comes behind it.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    before: Vec<u8>,
    text: Option<Text>,
    behind: Vec<u8>,
    /// How much of it was written.
    written: usize,
}

impl Unsent {
    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty()
    }

    fn len(&self) -> usize {
        let text = self.text.as_ref().map_or(0, |text| text.as_str().len());
        self.before.len() + text + self.behind.len()
    }

    /// Queues a frame; how many bytes it has.
    pub(super) fn queue(&mut self, frame: &Frame) -> usize {
        let before = self.len();
        if self.text.is_some() {
            frame.write_line(&mut self.behind);
        } else {
            if self.before.capacity() == 0 {
                self.before.reserve(SHORT_LINES);
            }
            if let Some((text, behind)) = frame.write_to_long_text(&mut self.before) {
                self.text = Some(text.clone());
                self.behind.extend_from_slice(behind);
            }
        }
        self.len() - before
    }

    /// Queues a line.
    pub(super) fn push(&mut self, line: &[u8]) {
        match self.text {
            Some(_) => self.behind.extend_from_slice(line),
            None => self.before.extend_from_slice(line),
        }
    }

    /// Writes as much as the stream takes at once; nothing, if there is nothing.
    pub(super) fn poll_write<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        let stream = Pin::new(stream);
        let mut skipped = self.written;
        let mut rest = |part| rest(part, &mut skipped);
        let written = match &self.text {
            None => stream.poll_write(cx, rest(&self.before)),
            Some(text) => {
                let parts = [&self.before, text.as_str().as_bytes(), &self.behind];
                let parts = parts.map(|part| IoSlice::new(rest(part)));
                stream.poll_write_vectored(cx, &parts)
            }
        };
        self.written += match ready!(written)? {
            0 if !self.is_empty() => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => written,
        };
        if self.written == self.len() {
            self.before.clear();
            self.behind.clear();
            (self.text, self.written) = (None, 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Frees the memory, unless it is in use.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

/// What is left of a part behind so many bytes, which it takes off them.
fn rest<'a>(part: &'a [u8], skipped: &mut usize) -> &'a [u8] {
    let skips = part.len().min(*skipped);
    *skipped -= skips;
    part.get(skips..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at once.
    struct Narrow(usize, Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.0);
            self.1.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut left = self.0;
            for part in parts {
                let taken = part.len().min(left);
                self.1.extend_from_slice(&part[..taken]);
                left -= taken;
            }
            Poll::Ready(Ok(self.0 - left))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn lines_are_written_in_order_in_whatever_pieces() {
        let text = |words: &str, times| Text::new(words.repeat(times)).unwrap();
        let say = |turn, text| Frame::Say { turn, text };
        let frames = [
            Frame::Heard { turn: 1 },
            say(2, text("long ", 4_000)),
            Frame::Ping {},
            say(4, text("long too ", 4_000)),
            say(6, text("\"", 10_000)),
        ];
        for at_once in [1, 10, 5_000, usize::MAX] {
            for frames in [&frames[..], &frames[..1], &frames[3..], &frames[4..]] {
                let mut unsent = Unsent::default();
                let mut lines = Vec::new();
                for frame in frames {
                    assert_eq!(unsent.queue(frame), frame.to_line().len());
                    lines.extend(frame.to_line());
                }
                let mut stream = Narrow(at_once, Vec::new());
                let cx = &mut Context::from_waker(std::task::Waker::noop());
                while !unsent.is_empty() {
                    let written = unsent.poll_write(&mut stream, cx);
                    assert!(matches!(written, Poll::Ready(Ok(()))));
                }
                assert!(stream.1 == lines);
            }
        }
    }
}
