//! TLS over any byte stream, up to a proven [`Peer`], under a deadline.

use std::sync::Arc;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, TlsStream};

use super::error::HandshakeError;
use super::metered::{Meter, Metered};
use crate::trust::Peer;
use crate::trust::tls::{server_name, watched};

/// A connection with both keys proven, and how much of what is written to it
/// the network has taken.
pub(super) struct Proven<S> {
    pub(super) stream: Tls<S>,
    pub(super) meter: Meter,
    pub(super) peer: Peer,
}

/// TLS over any stream, as either side.
pub(crate) type Tls<S> = TlsStream<Metered<S>>;

/// The client's handshake.
pub(super) async fn connect<S>(
    stream: S,
    config: Arc<rustls::ClientConfig>,
    by: Instant,
) -> Result<Proven<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, meter) = Metered::new(stream);
    let (config, request) = watched(&config);
    // The last flight is sent with the first frame.
    meter.cork();
    let connecting = async {
        let connecting = TlsConnector::from(config).connect(server_name(), stream);
        match connecting.into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, mut stream)) => {
                // TLS has told the peer why.
                meter.uncork();
                let _ = stream.flush().await;
                Err(error)
            }
        }
    };
    let mut stream = timeout_at(by, connecting)
        .await
        .map_err(|_| HandshakeError::TimedOut)??;
    // Takes a whole message at once: the caller bounds what it queues.
    stream.get_mut().1.set_buffer_limit(None);
    let peer = Peer::proven(stream.get_ref().1)?;
    request.has_come()?;
    Ok(Proven {
        stream: stream.into(),
        meter,
        peer,
    })
}

/// The server's handshake; `clienthello` is called when the ClientHello has
/// come, before anything is answered (PROTOCOL 4.25).
pub(super) async fn accept<S>(
    stream: S,
    config: Arc<rustls::ServerConfig>,
    by: Instant,
    clienthello: impl FnOnce(),
) -> Result<Proven<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, meter) = Metered::new(stream);
    let accepting = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        clienthello();
        start.into_stream(config).await
    };
    let mut stream = timeout_at(by, accepting)
        .await
        .map_err(|_| HandshakeError::TimedOut)??;
    // Takes a whole message at once: the caller bounds what it queues.
    stream.get_mut().1.set_buffer_limit(None);
    let peer = Peer::proven(stream.get_ref().1)?;
    Ok(Proven {
        stream: stream.into(),
        meter,
        peer,
    })
}
