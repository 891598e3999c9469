//! Streams that show what a network does or keeps to itself: one as unkind as
//! TCP, and one that counts.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One direction of an [`Unkind`] pair.
#[derive(Debug, Default)]
struct Way {
    bytes: VecDeque<u8>,
    /// The writer has shut down.
    ended: bool,
    /// A reset came: what was on its way is destroyed.
    reset: bool,
    reader_is_gone: bool,
    waker: Option<Waker>,
}

impl Way {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn destroy(&mut self) {
        self.bytes.clear();
        self.reset = true;
        self.wake();
    }
}

/// An end of a connection on which closing with unread input destroys what was
/// sent last, as TCP may, and so does sending to who has closed.
#[derive(Debug)]
pub(crate) struct Unkind {
    inward: Arc<Mutex<Way>>,
    outward: Arc<Mutex<Way>>,
}

/// Both ends.
pub(crate) fn unkind() -> (Unkind, Unkind) {
    let (one, other) = (Arc::<Mutex<Way>>::default(), Arc::<Mutex<Way>>::default());
    let here = Unkind {
        inward: Arc::clone(&one),
        outward: Arc::clone(&other),
    };
    let there = Unkind {
        inward: other,
        outward: one,
    };
    (here, there)
}

impl AsyncRead for Unkind {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut way = self.inward.lock().unwrap();
        if way.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if way.bytes.is_empty() && !way.ended {
            way.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = way.bytes.len().min(buffer.remaining());
        let bytes: Vec<u8> = way.bytes.drain(..taken).collect();
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Unkind {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut way = self.outward.lock().unwrap();
        if way.reader_is_gone {
            drop(way);
            self.inward.lock().unwrap().destroy();
            return Poll::Ready(Ok(bytes.len()));
        }
        way.bytes.extend(bytes);
        way.wake();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut way = self.outward.lock().unwrap();
        way.ended = true;
        way.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Unkind {
    fn drop(&mut self) {
        let has_unread = {
            let mut inward = self.inward.lock().unwrap();
            inward.reader_is_gone = true;
            !inward.bytes.is_empty()
        };
        let mut outward = self.outward.lock().unwrap();
        outward.ended = true;
        match has_unread {
            true => outward.destroy(),
            false => outward.wake(),
        }
    }
}

/// A stream that keeps a copy of what is written to it.
#[derive(Debug)]
pub(crate) struct Tapped<S> {
    stream: S,
    written: Arc<Mutex<Vec<u8>>>,
}

/// What a [`Tapped`] stream was given.
#[derive(Clone, Debug)]
pub(crate) struct Tap(Arc<Mutex<Vec<u8>>>);

impl<S> Tapped<S> {
    pub(crate) fn new(stream: S) -> (Self, Tap) {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let tap = Tap(Arc::clone(&written));
        (Self { stream, written }, tap)
    }
}

impl Tap {
    /// Whether the stream is still held.
    pub(crate) fn is_open(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// How many TLS records of data were written.
    pub(crate) fn records(&self) -> usize {
        let written = self.0.lock().unwrap();
        let (mut rest, mut count) = (written.as_slice(), 0);
        while let [kind, _, _, high, low, ..] = rest {
            count += usize::from(*kind == 23);
            rest = &rest[5 + usize::from(u16::from_be_bytes([*high, *low]))..];
        }
        count
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.written.lock().unwrap().extend(&bytes[..count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A stream that can be read and, once told so, not be written any more.
#[derive(Debug)]
pub(crate) struct Mute<S> {
    stream: S,
    is_mute: Arc<AtomicBool>,
}

impl<S> Mute<S> {
    pub(crate) fn new(stream: S) -> (Self, Arc<AtomicBool>) {
        let is_mute = Arc::<AtomicBool>::default();
        let switch = Arc::clone(&is_mute);
        (Self { stream, is_mute }, switch)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mute<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mute<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.is_mute.load(Ordering::Relaxed) {
            true => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            false => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
