//! TLS over any byte stream, up to a proven [`Peer`], under a deadline.

use std::sync::Arc;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, TlsConnector, client, server};

use super::error::HandshakeError;
use crate::trust::Peer;
use crate::trust::tls::server_name;

/// Bytes that TLS takes from us before the network has taken any. Whether a
/// write makes progress is seen from above TLS, so a slow link must not need
/// longer for these than a write may stall.
const WRITE_BUFFER: usize = 16 * 1024;

/// The client's handshake.
pub(super) async fn connect<S>(
    stream: S,
    config: Arc<rustls::ClientConfig>,
    by: Instant,
) -> Result<(client::TlsStream<S>, Peer), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connecting = TlsConnector::from(config).connect(server_name(), stream);
    let mut stream = timeout_at(by, connecting)
        .await
        .map_err(|_| HandshakeError::TimedOut)??;
    stream.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER));
    let peer = Peer::proven(stream.get_ref().1)?;
    Ok((stream, peer))
}

/// The server's handshake; `clienthello` is called when the ClientHello has
/// come, before anything is answered.
pub(super) async fn accept<S>(
    stream: S,
    config: Arc<rustls::ServerConfig>,
    by: Instant,
    clienthello: impl FnOnce(),
) -> Result<(server::TlsStream<S>, Peer), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accepting = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        clienthello();
        start.into_stream(config).await
    };
    let mut stream = timeout_at(by, accepting)
        .await
        .map_err(|_| HandshakeError::TimedOut)??;
    stream.get_mut().1.set_buffer_limit(Some(WRITE_BUFFER));
    let peer = Peer::proven(stream.get_ref().1)?;
    Ok((stream, peer))
}
