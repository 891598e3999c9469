//! [`Metered`]: a stream that counts the bytes it has taken and given, can keep writes back for a
//! moment, and reads ahead. It sits below TLS, which takes a whole message at once, and gives a
//! whole record: only here can we see whether a write or a read makes progress, and join the pieces
//! that TLS writes into one packet. TLS reads in pieces of 4 KiB: only here can more be read at once.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// The most that is kept: a handshake's last flight and a frame.
const KEPT: usize = 4 * 1024;

/// The most that is read at once, where much comes: a long message.
const AHEAD: usize = 64 * 1024;

/// How many bytes a stream has taken and given so far, and whether it keeps what is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meter(Arc<Dial>);

#[derive(Debug, Default)]
struct Dial {
    bytes: AtomicU64,
    came: AtomicU64,
    is_corked: AtomicBool,
    corks_next: AtomicBool,
}

impl Meter {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// How many bytes have come so far: TLS shows them only once a whole record is there.
    pub(crate) fn came(&self) -> u64 {
        self.0.came.load(Ordering::Relaxed)
    }

    /// Keeps back all writes from now on, even if flushed: more follows at once. They are sent
    /// by a flush after [`uncork`](Self::uncork), by a shutdown, or as soon as the stream
    /// would have to wait for the peer.
    pub(crate) fn cork(&self) {
        self.0.is_corked.store(true, Ordering::Relaxed);
    }

    /// The same, behind the next write.
    pub(crate) fn cork_behind_next(&self) {
        self.0.corks_next.store(true, Ordering::Relaxed);
    }

    pub(crate) fn uncork(&self) {
        self.0.is_corked.store(false, Ordering::Relaxed);
        self.0.corks_next.store(false, Ordering::Relaxed);
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
    /// What was read ahead, and how much of it was given out.
    ahead: Vec<u8>,
    given: usize,
    /// The last read found as much as it asked for.
    is_much: bool,
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S) -> (Self, Meter) {
        let meter = Meter::default();
        let metered = Self {
            stream,
            meter: meter.clone(),
            kept: Vec::new(),
            ahead: Vec::new(),
            given: 0,
            is_much: false,
        };
        (metered, meter)
    }

    fn count(&self, written: usize) -> usize {
        let bytes = u64::try_from(written).unwrap_or(u64::MAX);
        self.meter.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        written
    }

    fn count_came(&self, read: usize) {
        let bytes = u64::try_from(read).unwrap_or(u64::MAX);
        self.meter.0.came.fetch_add(bytes, Ordering::Relaxed);
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

impl<S: AsyncRead + Unpin> Metered<S> {
    /// Reads from the stream, or what was read ahead.
    fn poll_ahead(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            if !self.is_much {
                let before = buffer.remaining();
                let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
                self.count_came(before - buffer.remaining());
                self.is_much = buffer.remaining() == 0;
                return read;
            }
            self.is_much = false;
            // It is there only while something is in it.
            let mut ahead = Vec::with_capacity(AHEAD);
            ready!(pin!(self.stream.read_buf(&mut ahead)).poll(cx))?;
            self.count_came(ahead.len());
            self.is_much = ahead.len() >= buffer.remaining();
            self.ahead = ahead;
        }
        let rest = self.ahead.get(self.given..).unwrap_or_default();
        let piece = rest.get(..buffer.remaining()).unwrap_or(rest);
        buffer.put_slice(piece);
        self.given += piece.len();
        if self.given == self.ahead.len() {
            (self.ahead, self.given) = (Vec::new(), 0);
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
        let read = self.poll_ahead(cx, buffer);
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
        if self.meter.0.corks_next.load(Ordering::Relaxed) {
            self.meter.0.corks_next.store(false, Ordering::Relaxed);
            self.meter.cork();
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Has these bytes, and counts how often it is read.
    struct Counted(io::Cursor<Vec<u8>>, usize);

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1 += 1;
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A client's ClientHello has nothing to be joined with.
    #[tokio::test]
    async fn what_comes_behind_a_write_can_be_kept() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut stream, meter) = Metered::new(near);
        meter.cork_behind_next();
        for line in ["one", "two", "three"] {
            stream.write_all(line.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert_eq!(meter.bytes(), 3);
        meter.uncork();
        stream.flush().await.unwrap();
        let mut came = [0; 11];
        far.read_exact(&mut came).await.unwrap();
        assert_eq!(&came, b"onetwothree");
    }

    #[tokio::test]
    async fn much_is_read_at_once_and_given_in_order() {
        for (length, reads) in [(0, 1), (100, 2), (4_096, 3), (66_000, 5)] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let stream = Counted(io::Cursor::new(bytes.clone()), 0);
            let mut pieces = tokio::io::BufReader::with_capacity(4_096, Metered::new(stream).0);
            let mut read = Vec::new();
            while let piece @ [_, ..] = pieces.fill_buf().await.unwrap() {
                read.extend_from_slice(piece);
                let length = piece.len();
                pieces.consume(length);
            }
            assert!(read == bytes);
            let metered = pieces.get_ref();
            assert!(
                metered.stream.1 <= reads,
                "{} for {length}",
                metered.stream.1
            );
            assert_eq!(metered.ahead.capacity(), 0);
        }
    }
}
