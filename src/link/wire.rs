//! `Wire`: frames over any byte stream, under the deadlines of
//! [`Liveness`]. It knows nothing of turns.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::error::LinkError;
use crate::protocol::{Decoder, Frame, Limits, Liveness};

/// What is read at once. A line may be longer: the decoder keeps its start.
const CHUNK: usize = 8 * 1024;

/// Frames over a stream. What was half read or half written is kept here, so
/// that every future may be dropped at any time and nothing is lost.
pub(crate) struct Wire<S> {
    stream: S,
    limits: Limits,
    decoder: Decoder,
    liveness: Liveness,
    unread: Vec<u8>,
    unsent: Vec<u8>,
    flushed: bool,
    /// Writing failed. What the peer said before it went is still read: it
    /// may explain why.
    write_error: Option<io::Error>,
    alarm: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A wire over an established stream; `first_frame_by` is when the other
    /// side's first frame is due.
    pub(crate) fn new(stream: S, limits: &Limits, first_frame_by: Instant) -> Self {
        let now = Instant::now();
        let mut liveness = Liveness::new(now.into_std(), limits);
        liveness.expect_first_frame(first_frame_by.into_std());
        Self {
            stream,
            limits: *limits,
            decoder: Decoder::new(limits.early_line),
            liveness,
            unread: Vec::new(),
            unsent: Vec::new(),
            flushed: true,
            write_error: None,
            alarm: Box::pin(sleep_until(now)),
        }
    }

    /// `welcome` has come or is about to go: long lines are allowed from now on.
    pub(crate) fn welcomed(&mut self) {
        self.decoder.set_limit(self.limits.line);
        self.liveness.welcomed();
    }

    /// Puts a frame behind what is to be written; [`next`](Self::next) or
    /// [`close`](Self::close) writes it.
    pub(crate) fn queue(&mut self, frame: &Frame) {
        if self.unsent.is_empty() {
            self.liveness.wrote(Instant::now().into_std(), true);
        }
        self.unsent.extend_from_slice(&frame.to_line());
    }

    /// The next frame that is not `ping` or `pong`. Meanwhile it writes what
    /// is queued and keeps the connection alive. May be dropped at any time.
    ///
    /// # Errors
    /// A [`LinkError`]: the connection cannot go on.
    pub(crate) async fn next(&mut self) -> Result<Frame, LinkError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Closes in order (PROTOCOL §3.5): the last frames, `close_notify`, then
    /// read and drop, since closing with unread input would make TCP destroy
    /// what was sent last. Takes at most twice [`Limits::close_time`].
    pub(crate) async fn close(mut self) {
        let last_words = async {
            self.stream.write_all(&self.unsent).await?;
            self.stream.shutdown().await
        };
        if !matches!(
            timeout(self.limits.close_time, last_words).await,
            Ok(Ok(()))
        ) {
            return;
        }
        let drain = async {
            let mut dropped = 0;
            let mut chunk = [0; CHUNK];
            while dropped < self.limits.close_bytes {
                match self.stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => return,
                    Ok(bytes) => dropped += bytes,
                }
            }
        };
        let _ = timeout(self.limits.close_time, drain).await;
    }

    /// Closes in order, after this frame.
    pub(crate) async fn close_with(mut self, last: Frame) {
        self.queue(&last);
        self.close().await;
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, LinkError>> {
        loop {
            if let Some(frame) = self.decode()? {
                return Poll::Ready(Ok(frame));
            }
            self.poll_write(cx);
            if let Poll::Ready(result) = self.poll_read(cx) {
                result?;
                continue;
            }
            let now = Instant::now();
            if let Some(overdue) = self.liveness.overdue(now.into_std()) {
                return Poll::Ready(Err(LinkError::Overdue(overdue)));
            }
            self.alarm
                .as_mut()
                .reset(Instant::from_std(self.liveness.wake_at()));
            ready!(self.alarm.as_mut().poll(cx));
        }
    }

    fn decode(&mut self) -> Result<Option<Frame>, LinkError> {
        let mut bytes = self.unread.as_slice();
        let mut found = None;
        while found.is_none() && !bytes.is_empty() {
            let frame = self.decoder.decode(&mut bytes)?;
            self.liveness
                .line(Instant::now().into_std(), frame.is_none());
            if let Some(frame) = frame {
                found = self.liveness.filter(frame)?;
            }
        }
        let read = self.unread.len() - bytes.len();
        self.unread.drain(..read);
        match found {
            Some(Frame::Error { code, detail }) => Err(LinkError::Reported { code, detail }),
            found => Ok(found),
        }
    }

    /// Reads into `unread`, which is empty.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        let mut chunk = [0; CHUNK];
        let mut buffer = ReadBuf::new(&mut chunk);
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        let failure = match result {
            Ok(()) if buffer.filled().is_empty() => self.write_error.take().map(LinkError::Io),
            Ok(()) => {
                self.unread.extend_from_slice(buffer.filled());
                self.liveness.received(Instant::now().into_std());
                return Poll::Ready(Ok(()));
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => Some(LinkError::Io(error)),
        };
        Poll::Ready(Err(failure.unwrap_or(LinkError::Cut)))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) {
        while self.write_error.is_none() {
            if self.unsent.is_empty() && self.flushed {
                let now = Instant::now().into_std();
                match self.liveness.poll_frame(now) {
                    Some(frame) => self.queue(&frame),
                    None => return,
                }
            }
            let stream = Pin::new(&mut self.stream);
            let progress = if self.unsent.is_empty() {
                stream.poll_flush(cx).map_ok(|()| self.flushed = true)
            } else {
                stream.poll_write(cx, &self.unsent).map_ok(|written| {
                    self.unsent.drain(..written);
                    self.flushed = false;
                })
            };
            let more = match progress {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => !self.flushed,
                Poll::Ready(Err(error)) => {
                    self.write_error = Some(error);
                    // There is no progress any more.
                    true
                }
            };
            self.liveness.wrote(Instant::now().into_std(), more);
        }
    }
}
