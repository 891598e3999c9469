//! A network in memory whose links are cut after a given number of bytes.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;

/// What a link may still carry, both directions together, before it is cut.
#[derive(Clone)]
struct Budget(Arc<Mutex<usize>>);

impl Budget {
    fn left(&self) -> usize {
        *self.0.lock().unwrap()
    }

    fn spend(&self, bytes: usize) {
        *self.0.lock().unwrap() -= bytes;
    }
}

/// The client's end of a link; the cut is made here.
pub(crate) struct Link {
    /// `None` once it is cut: the other end sees the end of the stream.
    stream: Option<DuplexStream>,
    budget: Budget,
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.budget.left();
        let Some(stream) = self.stream.as_mut().filter(|_| left > 0) else {
            self.stream = None;
            return Poll::Ready(Ok(()));
        };
        let mut part = vec![0; buf.remaining().min(left)];
        let mut part = ReadBuf::new(&mut part);
        match Pin::new(stream).poll_read(cx, &mut part) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        buf.put_slice(part.filled());
        self.budget.spend(part.filled().len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = self.budget.left();
        let Some(stream) = self.stream.as_mut().filter(|_| left > 0) else {
            self.stream = None;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let written = Pin::new(stream).poll_write(cx, &buf[..buf.len().min(left)]);
        if let Poll::Ready(Ok(written)) = written {
            self.budget.spend(written);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream.as_mut() {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// What a link was to carry, and what is left of that.
pub(crate) type Carried = Arc<Mutex<Vec<(usize, Arc<Mutex<usize>>)>>>;
pub(crate) type Dialling = Pin<Box<dyn Future<Output = io::Result<Link>> + Send>>;
pub(crate) type Accepting =
    Pin<Box<dyn Future<Output = io::Result<(DuplexStream, Option<IpAddr>)>> + Send>>;

/// A network between one client and one server. The n-th link is cut after
/// the n-th number of bytes; the later ones never are. Also returns how many
/// bytes the links have carried, one number a link.
pub(crate) fn network(
    cuts: Vec<usize>,
) -> (
    impl FnMut() -> Dialling + Clone + Send + 'static,
    impl FnMut() -> Accepting + Clone + Send + 'static,
    Carried,
) {
    let (dialled, accepted) = mpsc::unbounded_channel();
    let accepted = Arc::new(tokio::sync::Mutex::new(accepted));
    let links = Arc::new(Mutex::new(Vec::new()));
    let cuts = Arc::new(Mutex::new(cuts.into_iter()));
    let log = Arc::clone(&links);
    let dial = move || -> Dialling {
        let bytes = cuts.lock().unwrap().next().unwrap_or(usize::MAX);
        let budget = Budget(Arc::new(Mutex::new(bytes)));
        log.lock().unwrap().push((bytes, Arc::clone(&budget.0)));
        let (here, there) = duplex(64 * 1024);
        let sent = dialled.send(there);
        Box::pin(async move {
            sent.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok(Link {
                stream: Some(here),
                budget,
            })
        })
    };
    let accept = move || -> Accepting {
        let accepted = Arc::clone(&accepted);
        Box::pin(async move {
            match accepted.lock().await.recv().await {
                Some(stream) => Ok((stream, None)),
                None => std::future::pending().await,
            }
        })
    };
    (dial, accept, links)
}
