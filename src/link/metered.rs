//! [`Metered`]: a stream that counts the bytes it has taken, and can keep writes back for a
//! moment. It sits below TLS, which takes a whole message at once: only here can we see
//! whether a write makes progress, and join the pieces that TLS writes into one packet.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that is kept: a handshake's last flight and a frame.
const KEPT: usize = 4 * 1024;

/// How many bytes a stream has taken so far, and whether it keeps what is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<Dial>);

#[derive(Debug, Default)]
struct Dial {
    bytes: AtomicU64,
    is_corked: AtomicBool,
}

impl Meter {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Keeps back all writes from now on, even if flushed: more follows at once. They are sent
    /// by a flush after [`uncork`](Self::uncork), by a shutdown, or as soon as the stream
    /// would have to wait for the peer.
    pub(crate) fn cork(&self) {
        self.0.is_corked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn uncork(&self) {
        self.0.is_corked.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_corked(&self) -> bool {
        self.0.is_corked.load(Ordering::Relaxed)
    }
}

/// A stream, and the meter that it drives.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    meter: Meter,
    kept: Vec<u8>,
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S) -> (Self, Meter) {
        let meter = Meter::default();
        let metered = Self {
            stream,
            meter: meter.clone(),
            kept: Vec::new(),
        };
        (metered, meter)
    }

    fn count(&self, written: usize) -> usize {
        let bytes = u64::try_from(written).unwrap_or(u64::MAX);
        self.meter.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        written
    }
}

impl<S: AsyncWrite + Unpin> Metered<S> {
    /// Writes what was kept.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.kept))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.count(written);
            self.kept.drain(..written);
        }
        if !self.meter.is_corked() {
            self.kept = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_pending() && !self.kept.is_empty() {
            // An error here shows again at the next write.
            let _ = self.poll_kept(cx);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.meter.is_corked() {
            let bytes = slices.iter().map(|slice| slice.len()).sum();
            if self.kept.len() + bytes <= KEPT {
                self.kept.reserve(bytes);
                slices
                    .iter()
                    .for_each(|slice| self.kept.extend_from_slice(slice));
                return Poll::Ready(Ok(bytes));
            }
        }
        ready!(self.poll_kept(cx))?;
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        Poll::Ready(Ok(self.count(written)))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.meter.is_corked() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_kept(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_kept(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
