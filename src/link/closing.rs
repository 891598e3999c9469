//! How a connection is closed without losing the last frame (PROTOCOL 3.15).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::timeout;

use super::metered::Meter;
use super::unsent::Unsent;
use crate::protocol::Limits;

/// The first half: what is still to be written, and `close_notify`, in one packet.
pub(super) fn poll_said<S>(
    stream: &mut S,
    meter: &Meter,
    unsent: &mut Unsent,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>>
where
    S: AsyncWrite + Unpin,
{
    meter.cork();
    while !unsent.is_empty() {
        ready!(unsent.poll_write(stream, cx))?;
    }
    Pin::new(stream).poll_shutdown(cx)
}

/// The second half: reads and drops, since closing with unread input would make TCP destroy
/// what was sent last. `left` is how much is still read.
pub(super) fn poll_drained<S>(stream: &mut S, left: &mut usize, cx: &mut Context<'_>) -> Poll<()>
where
    S: AsyncBufRead + Unpin,
{
    while *left > 0 {
        let bytes = match ready!(Pin::new(&mut *stream).poll_fill_buf(cx)) {
            Ok([]) | Err(_) => break,
            Ok(bytes) => bytes.len(),
        };
        Pin::new(&mut *stream).consume(bytes);
        *left = left.saturating_sub(bytes);
    }
    Poll::Ready(())
}

/// The first half, in its time. Whether the last bytes are on their way.
pub(super) async fn say_last<S>(
    stream: &mut S,
    meter: &Meter,
    unsent: &mut Unsent,
    limits: &Limits,
) -> bool
where
    S: AsyncWrite + Unpin,
{
    let said = poll_fn(|cx| poll_said(stream, meter, unsent, cx));
    matches!(timeout(limits.close_time, said).await, Ok(Ok(())))
}

/// The second half, in its time.
pub(super) async fn drain<S>(stream: &mut S, limits: &Limits)
where
    S: AsyncBufRead + Unpin,
{
    let mut left = limits.close_bytes;
    let drained = poll_fn(|cx| poll_drained(stream, &mut left, cx));
    let _ = timeout(limits.close_time, drained).await;
}
