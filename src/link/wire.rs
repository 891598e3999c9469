//! `Wire`: frames over any byte stream, under the deadlines of
//! [`Liveness`]. It knows nothing of turns.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::closing::{poll_drained, poll_said};
use super::error::LinkError;
use super::metered::Meter;
use super::unsent::Unsent;
use crate::protocol::{Decoder, Frame, Limits, Liveness, Overdue, Role};

/// Frames over a stream. What was half read or half written is kept here, so
/// that every future may be dropped at any time and nothing is lost. Frames are read where
/// the stream keeps what came: a line that comes in pieces is joined by the decoder.
///
/// Reading and writing are polled apart, since different tasks may wait for them.
pub(crate) struct Wire<S> {
    stream: S,
    /// How much the network has taken, now and at the last look.
    meter: Meter,
    taken: u64,
    /// How much has come, at the last look.
    came: u64,
    /// A server's peer welcomes nobody.
    role: Role,
    /// [`Limits::line`], [`Limits::close_time`], and what is left of [`Limits::close_bytes`].
    line: usize,
    close_time: Duration,
    close_bytes: usize,
    decoder: Decoder,
    liveness: Liveness,
    unsent: Unsent,
    flushed: bool,
    /// How much was queued since everything had been written, for the last time.
    backlog: usize,
    /// Writing failed. What the peer said before that is here by now, and still
    /// read: it may explain why.
    write_error: Option<io::Error>,
}

impl<S: AsyncBufRead + AsyncWrite + Unpin> Wire<S> {
    /// A wire over an established stream, of this side; `first_frame_by` is when the other side's
    /// first frame is due.
    pub(crate) fn new(
        role: Role,
        stream: S,
        meter: Meter,
        limits: &Limits,
        first_frame_by: Instant,
    ) -> Self {
        let mut liveness = Liveness::new(now(), limits);
        liveness.expect_first_frame(first_frame_by.into_std());
        Self {
            stream,
            taken: meter.bytes(),
            came: meter.came(),
            role,
            meter,
            line: limits.line,
            close_time: limits.close_time,
            close_bytes: limits.close_bytes,
            decoder: Decoder::new(limits.early_line),
            liveness,
            unsent: Unsent::default(),
            flushed: true,
            backlog: 0,
            write_error: None,
        }
    }

    /// Queues a frame to be written.
    pub(crate) fn queue(&mut self, frame: &Frame) {
        if !self.has_unsent() {
            self.liveness.wrote(now(), true);
        }
        self.liveness.spoke();
        self.welcome(frame);
        self.backlog += self.unsent.queue(frame);
    }

    /// Whether something is still to be written.
    pub(crate) fn has_unsent(&self) -> bool {
        !(self.unsent.is_empty() && self.flushed)
    }

    /// Whether more waits to be written than a peer that reads can have us write: one message.
    /// Nothing more is to be read from it then.
    pub(crate) fn is_backed_up(&self) -> bool {
        self.has_unsent() && self.backlog > self.line
    }

    /// Whether a write is kept back for the next one.
    pub(crate) fn is_corked(&self) -> bool {
        self.meter.is_corked()
    }

    /// The next frame that is not `ping` or `pong`, if there is one now. The
    /// waker of `cx` is the one that is woken when more comes.
    ///
    /// # Errors
    /// A [`LinkError`]: the connection cannot go on.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, LinkError>> {
        loop {
            if let Some(frame) = ready!(self.poll_read(cx))? {
                return Poll::Ready(Ok(frame));
            }
        }
    }

    /// Writes what is queued, and the `ping` or `pong` that is due behind it,
    /// as far as the stream takes it now. The waker of `cx` is the one that is
    /// woken when it takes more.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) {
        self.poll_write_through(cx, true);
    }

    /// Puts what is queued into a TLS record of its own, in one packet with what is
    /// written at once behind it. It goes with the next [`poll_write`](Self::poll_write).
    pub(crate) fn poll_write_apart(&mut self, cx: &mut Context<'_>) {
        self.meter.cork();
        self.poll_write_through(cx, false);
    }

    fn poll_write_through(&mut self, cx: &mut Context<'_>, flushes: bool) {
        // The clock is read once: nothing here waits.
        let now = now();
        while self.write_error.is_none() {
            if !self.has_unsent() {
                match self.liveness.poll_frame(now) {
                    Some(frame) => self.queue(&frame),
                    None => return,
                }
            }
            let progress = if self.unsent.is_empty() {
                if !flushes {
                    return;
                }
                self.meter.uncork();
                let stream = Pin::new(&mut self.stream);
                stream.poll_flush(cx).map_ok(|()| self.flushed = true)
            } else {
                let written = self.unsent.poll_write(&mut self.stream, cx);
                written.map_ok(|()| self.flushed = false)
            };
            let more = match progress {
                Poll::Pending => {
                    self.progressed(now, true);
                    return;
                }
                Poll::Ready(Ok(())) => {
                    if !self.has_unsent() {
                        self.backlog = 0;
                    }
                    !self.flushed
                }
                Poll::Ready(Err(error)) => {
                    self.write_error = Some(error);
                    true
                }
            };
            self.progressed(now, more);
        }
    }

    /// Only what the network takes is progress: TLS takes everything at once.
    fn progressed(&mut self, now: std::time::Instant, more: bool) {
        let taken = self.meter.bytes();
        if std::mem::replace(&mut self.taken, taken) < taken || !more {
            self.liveness.wrote(now, more);
        }
    }

    /// What is overdue at this instant.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Overdue> {
        self.liveness.overdue(now.into_std())
    }

    /// News of a silence of the peer, and whether it has begun.
    pub(crate) fn poll_silence(&mut self) -> Option<bool> {
        let may_be_news = self.liveness.may_be_silent();
        may_be_news
            .then(now)
            .and_then(|now| self.liveness.poll_silence(now))
    }

    /// When to ask that again.
    pub(crate) fn silent_at(&self) -> Option<Instant> {
        self.liveness.silent_at().map(Instant::from_std)
    }

    /// When to ask [`overdue`](Self::overdue) and
    /// [`poll_write`](Self::poll_write) again, if nothing happens before.
    pub(crate) fn wake_at(&self) -> Instant {
        Instant::from_std(self.liveness.wake_at())
    }

    /// Frees the memory that large messages needed, unless it is in use.
    pub(crate) fn shrink(&mut self) {
        self.decoder.shrink();
        self.unsent.shrink();
    }

    /// The next frame that is not `ping` or `pong`. Meanwhile it writes what
    /// is queued and keeps the connection alive. May be dropped at any time.
    ///
    /// # Errors
    /// A [`LinkError`]: the connection cannot go on.
    pub(crate) async fn next(&mut self) -> Result<Frame, LinkError> {
        let mut alarm = pin!(sleep_until(self.wake_at()));
        poll_fn(|cx| {
            loop {
                self.poll_write(cx);
                if let Poll::Ready(read) = self.poll_read(cx) {
                    match read? {
                        Some(frame) => return Poll::Ready(Ok(frame)),
                        None => continue,
                    }
                }
                if let Some(overdue) = self.overdue(Instant::now()) {
                    return Poll::Ready(Err(LinkError::Overdue(overdue)));
                }
                alarm.as_mut().reset(self.wake_at());
                ready!(alarm.as_mut().poll(cx));
            }
        })
        .await
    }

    /// The first half of a close: what is queued, and `close_notify`.
    pub(crate) fn poll_last(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_said(&mut self.stream, &self.meter, &mut self.unsent, cx)
    }

    /// The second half, after which the wire is of no use.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = &mut self.close_bytes;
        poll_drained(&mut self.stream, left, cx)
    }

    /// [`Limits::close_time`].
    pub(crate) fn close_time(&self) -> Duration {
        self.close_time
    }

    /// From `welcome` on lines may be long, in both directions (PROTOCOL 2.6).
    fn welcome(&mut self, frame: &Frame) {
        if matches!(frame, Frame::Welcome { .. }) {
            self.decoder.set_limit(self.line);
            self.liveness.welcomed();
        }
    }

    /// The next frame, if what was read ends one. Otherwise all of it was decoded.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, LinkError>> {
        let filled = Pin::new(&mut self.stream).poll_fill_buf(cx);
        let came = self.meter.came();
        let has_come = std::mem::replace(&mut self.came, came) < came;
        let failure = match filled {
            Poll::Pending if self.write_error.is_none() => {
                if has_come {
                    self.liveness.trickled(now());
                }
                return Poll::Pending;
            }
            Poll::Pending | Poll::Ready(Ok([])) => self.write_error.take(),
            Poll::Ready(Ok(bytes)) => {
                let now = now();
                self.liveness.received(now);
                let (mut rest, mut found) = (bytes, None);
                while found.is_none() && !rest.is_empty() {
                    let frame = self.decoder.decode(&mut rest)?;
                    self.liveness.line(now, frame.is_none());
                    if let Some(frame) = frame {
                        found = self.liveness.filter(frame)?;
                    }
                }
                let decoded = bytes.len() - rest.len();
                Pin::new(&mut self.stream).consume(decoded);
                if let Some(Frame::Error { code, detail }) = found {
                    return Poll::Ready(Err(LinkError::Reported { code, detail }));
                }
                if self.role == Role::Client {
                    found.iter().for_each(|frame| self.welcome(frame));
                }
                return Poll::Ready(Ok(found));
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Poll::Ready(Err(error)) => Some(error),
        };
        let failure = failure.map(|error| LinkError::Io(error.into()));
        Poll::Ready(Err(failure.unwrap_or(LinkError::Cut)))
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, BufReader, duplex};
    use tokio::time::timeout;

    use super::*;
    use crate::link::metered::Metered;

    /// Else a peer that waits could have a server keep as much as one that was let in.
    #[tokio::test(start_paused = true)]
    async fn a_welcome_that_comes_lets_lines_be_long_for_a_client_alone() {
        let limits = Limits::default();
        for role in [Role::Client, Role::Server] {
            let (near, mut far) = duplex(64 * 1024);
            let (stream, meter) = Metered::new(near);
            let by = Instant::now() + limits.hello;
            let mut wire = Wire::new(role, BufReader::new(stream), meter, &limits, by);
            let welcome = r#"{"welcome":{"conversation":"MDEyMzQ1Njc4OWFiY2RlZg","heard":0}}"#;
            far.write_all(format!("{welcome}\n").as_bytes())
                .await
                .unwrap();
            assert!(wire.next().await.is_ok());
            far.write_all(&vec![b' '; limits.early_line + 1])
                .await
                .unwrap();
            let next = timeout(Duration::from_secs(1), wire.next()).await;
            assert_eq!(next.is_err(), role == Role::Client, "{next:?}");
        }
    }
}
