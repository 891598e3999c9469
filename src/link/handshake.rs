//! TLS over any byte stream, up to a proven [`Peer`], under a deadline.

use std::sync::Arc;

use rustls::server::{Acceptor, ClientHello};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, TlsStream};

use super::error::HandshakeError;
use super::metered::{Meter, Metered};
use crate::trust::alpn::Alpn;
use crate::trust::pairing::Exporter;
use crate::trust::tls::{server_name, watched};
use crate::trust::{HandshakeFailure, Peer};

/// A connection with both keys proven, and how much of what is written to it
/// the network has taken.
pub(super) struct Proven<S> {
    pub(super) stream: Tls<S>,
    pub(super) meter: Meter,
    pub(super) peer: Peer,
}

impl<S> Proven<S> {
    /// What a pairing on this connection is bound to.
    pub(super) fn exporter(&self) -> Result<Exporter, HandshakeError> {
        let exporter = match &self.stream {
            TlsStream::Client(stream) => Exporter::of(stream.get_ref().1),
            TlsStream::Server(stream) => Exporter::of(stream.get_ref().1),
        };
        exporter.map_err(|error| HandshakeError::Tls(HandshakeFailure::Other(error.to_string())))
    }
}

/// TLS over any stream, as either side.
pub(crate) type Tls<S> = TlsStream<Metered<S>>;

/// The client's handshake, for the protocol that `config` is for.
pub(super) async fn connect<S>(
    stream: S,
    config: Arc<rustls::ClientConfig>,
    alpn: Alpn,
    by: Instant,
) -> Result<Proven<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, meter) = Metered::new(stream);
    let (config, request) = watched(&config);
    // The last flight, the one behind the ClientHello, is sent with the first frame.
    meter.cork_behind_next();
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
    let peer = Peer::proven(stream.get_ref().1, alpn)?;
    request.has_come()?;
    Ok(Proven {
        stream: stream.into(),
        meter,
        peer,
    })
}

/// The server's handshake. `choose` is called when the ClientHello has come, before anything is
/// answered (PROTOCOL 4.25), and tells which protocol it is for.
pub(super) async fn accept<S, F, E>(
    stream: S,
    by: Instant,
    choose: impl FnOnce(&ClientHello<'_>) -> F,
) -> Result<Proven<S>, E>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<(Arc<rustls::ServerConfig>, Alpn), E>>,
    E: From<HandshakeError>,
{
    let (stream, meter) = Metered::new(stream);
    let accepting = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await;
        let start = start.map_err(HandshakeError::from)?;
        let choosing = choose(&start.client_hello());
        let (config, alpn) = choosing.await?;
        let stream = start.into_stream(config).await;
        Ok::<_, E>((stream.map_err(HandshakeError::from)?, alpn))
    };
    let (mut stream, alpn) = timeout_at(by, accepting)
        .await
        .map_err(|_| HandshakeError::TimedOut)??;
    // Takes a whole message at once: the caller bounds what it queues.
    stream.get_mut().1.set_buffer_limit(None);
    let peer = Peer::proven(stream.get_ref().1, alpn).map_err(HandshakeError::from)?;
    Ok(Proven {
        stream: stream.into(),
        meter,
        peer,
    })
}
