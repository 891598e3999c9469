//! TCP as PROTOCOL 1.1 wants it: `TCP_NODELAY` on, one listener for IPv4 and
//! IPv6, and a client that tries all addresses of a name, quickly.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;

/// From one attempt to the next while the earlier goes on (RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How long all attempts together may take.
const DIAL_TIME: Duration = Duration::from_secs(10);
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 128;

/// Listens at this address. The unspecified IPv6 address takes IPv4 too.
///
/// # Errors
/// As the system has it: the port is in use, the address is not ours.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// What [`ServerBuilder::start`](super::ServerBuilder::start) accepts from:
/// each call yields the next connection, and where it came from.
pub fn acceptor(listener: TcpListener) -> impl FnMut() -> Accepting + Send + 'static {
    let listener = Arc::new(listener);
    move || {
        let listener = Arc::clone(&listener);
        Box::pin(async move {
            let (stream, from) = listener.accept().await?;
            // A peer that is gone already shows at the first read.
            let _ = stream.set_nodelay(true);
            Ok((stream, Some(from.ip().to_canonical())))
        })
    }
}

/// The next connection, once it has come.
pub type Accepting = Pin<Box<dyn Future<Output = io::Result<(TcpStream, Option<IpAddr>)>> + Send>>;

/// What [`Client::connect`](super::Client::connect) dials with: each call is
/// one [`dial`].
pub fn dialer(host: impl Into<String>, port: u16) -> impl FnMut() -> Dialing + Send + 'static {
    let host = host.into();
    move || {
        let host = host.clone();
        Box::pin(async move { dial(&host, port).await })
    }
}

/// A connection, once it is made.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// Connects to the first address of `host` that answers. Each next one is tried as soon as an
/// attempt has failed, or 250 ms later (RFC 8305, section 5). Takes at most 10 s (PROTOCOL 5.1),
/// the look-up of the name included. `TCP_NODELAY` is on. Dropped, all attempts are given up.
///
/// # Errors
/// - [`io::ErrorKind::TimedOut`]: nobody has answered in 10 s.
/// - [`io::ErrorKind::NotFound`]: the name has no address.
/// - Else why the name does not resolve, or why the first attempt that failed did.
pub async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = timeout(DIAL_TIME, async {
        race(lookup_host((host, port)).await?, TcpStream::connect).await
    });
    let stream = stream
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The first of these that answers. All are tried in the task of whoever dials.
async fn race<A, T, F>(
    mut addresses: impl Iterator<Item = A>,
    connect: impl Fn(A) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut first_error = None;
    let mut attempts = Vec::new();
    loop {
        let next = addresses.next();
        let is_last = next.is_none();
        attempts.extend(next.map(|address| Box::pin(connect(address))));
        let attempt = first_of(&mut attempts);
        let result = match is_last {
            true => attempt.await,
            false => match timeout(ATTEMPT_DELAY, attempt).await {
                Ok(result) => result,
                Err(_) => continue,
            },
        };
        match result {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => {
                first_error.get_or_insert(error);
            }
            None if is_last => {
                let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                return Err(first_error.unwrap_or_else(none));
            }
            None => {}
        }
    }
}

/// What the first of these yields that is done; it is taken out. `None` if there are none.
async fn first_of<F: Future + Unpin>(attempts: &mut Vec<F>) -> Option<F::Output> {
    poll_fn(|cx| {
        for place in 0..attempts.len() {
            if let Some(attempt) = attempts.get_mut(place)
                && let Poll::Ready(result) = Pin::new(attempt).poll(cx)
            {
                drop(attempts.swap_remove(place));
                return Poll::Ready(Some(result));
            }
        }
        match attempts.is_empty() {
            true => Poll::Ready(None),
            false => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// What becomes of an attempt, after so many milliseconds.
    #[derive(Clone, Copy)]
    enum Attempt {
        Answered(u64),
        Failed(u64),
        Silent,
    }

    use Attempt::{Answered, Failed, Silent};

    async fn tried(attempt: Attempt) -> io::Result<u64> {
        match attempt {
            Answered(after) => {
                sleep(Duration::from_millis(after)).await;
                Ok(after)
            }
            Failed(after) => {
                sleep(Duration::from_millis(after)).await;
                Err(io::Error::other(after.to_string()))
            }
            Silent => pending().await,
        }
    }

    /// RFC 8305, section 5.
    #[tokio::test(start_paused = true)]
    async fn the_first_address_that_answers_is_taken() {
        for (attempts, result, takes) in [
            (&[Answered(400), Silent][..], "400", 400),
            (&[Silent, Answered(1)], "1", 251),
            // The next is tried as soon as one has failed.
            (&[Failed(3), Silent, Answered(2)], "2", 255),
            (&[Failed(300), Answered(100)], "100", 350),
            // Of several errors the first is told.
            (&[Failed(300), Failed(7)], "7", 300),
            (&[], "the name has no address", 0),
        ] {
            let begun = Instant::now();
            let raced = race(attempts.iter().copied(), tried).await;
            let told = raced.map_or_else(|error| error.to_string(), |after| after.to_string());
            let took = begun.elapsed().as_millis();
            assert_eq!((told.as_str(), took), (result, takes));
        }
    }
}
