//! [`Closer`]: closes a connection in order (PROTOCOL 3.15), each half in its
//! [`Limits::close_time`](crate::protocol::Limits).

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::wire::Wire;
use crate::protocol::Frame;

pub(super) struct Closer<S> {
    wire: Box<Wire<S>>,
    /// When the half that is on has taken too long.
    by: Instant,
    has_said: bool,
}

impl<S> Closer<S>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    pub(super) fn new(mut wire: Box<Wire<S>>, last: Option<&Frame>) -> Self {
        if let Some(last) = last {
            wire.queue(last);
        }
        Self {
            by: Instant::now() + wire.close_time(),
            wire,
            has_said: false,
        }
    }

    /// The first half. Once it is ready, the last frame is on its way, or cannot be sent.
    pub(super) fn poll_said(&mut self, writer: &mut Context<'_>) -> Poll<Result<(), ()>> {
        if !self.has_said {
            ready!(self.wire.poll_last(writer)).map_err(|_| ())?;
            self.has_said = true;
            self.by = Instant::now() + self.wire.close_time();
        }
        Poll::Ready(Ok(()))
    }

    /// The second half.
    pub(super) fn poll_drained(&mut self, reader: &mut Context<'_>) -> Poll<()> {
        self.wire.poll_drain(reader)
    }

    pub(super) fn by(&self) -> Instant {
        self.by
    }

    /// Both halves, each in its time.
    pub(super) async fn closed(mut self) {
        let mut alarm = pin!(sleep_until(self.by));
        poll_fn(|cx| {
            if let Poll::Ready(said) = self.poll_said(cx)
                && (said.is_err() || self.poll_drained(cx).is_ready())
            {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(self.by);
            alarm.as_mut().poll(cx)
        })
        .await;
    }
}
