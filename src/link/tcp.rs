//! TCP as PROTOCOL 1.1 wants it: `TCP_NODELAY` on, one listener for IPv4 and
//! IPv6, and a client that tries all addresses of a name, quickly.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::task::JoinSet;
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
        race(lookup_host((host, port)).await?.collect()).await
    });
    let stream = stream
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut first_error = None;
    let mut attempts = JoinSet::new();
    let mut left = addresses.into_iter();
    loop {
        let next = left.next();
        let is_last = next.is_none();
        if let Some(address) = next {
            attempts.spawn(TcpStream::connect(address));
        }
        let attempt = async {
            match attempts.join_next().await {
                Some(Ok(result)) => Some(result),
                Some(Err(gone)) => Some(Err(io::Error::other(gone))),
                None => None,
            }
        };
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
