//! [`PairingClient`]: the client's side of a pairing.

use std::fmt;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::server::EXCHANGE_TIME;
use super::wire::{PairWire, Stop};
use crate::link::error::{ConnectError, HandshakeError, LinkError};
use crate::link::handshake::{self, Tls};
use crate::protocol::{FrameError, Limits, Overdue, PairReason, PairStep, Role};
use crate::trust::alpn::Alpn;
use crate::trust::pairing::{Confirmation, Exchange, Keys, NoPoint};
use crate::trust::tls::pair_client_config;
use crate::trust::{HandshakeFailure, Identity, KeyId, NotProven, PairingCode};

/// How often one client may try (PAIRING 6.2).
const TRIES: u32 = 3;

/// A client that pairs with a server by a code, and learns its key.
///
/// ```no_run
/// use turnchat::{Identity, PairingClient, tcp};
///
/// # async fn example(identity: &Identity) -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = PairingClient::new(identity);
/// // What the server's user reads out.
/// let code = "acoustic-museum-tide".parse()?;
/// let paired = client.pair(code, tcp::dial("localhost", 8876)).await?;
/// println!("turnchat client localhost --pin {}", paired.key());
/// paired.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PairingClient {
    identity: Identity,
    known: Option<Vec<KeyId>>,
    limits: Limits,
    tries: u32,
}

impl PairingClient {
    /// A client that authenticates as `identity`, and has three tries.
    pub fn new(identity: &Identity) -> Self {
        Self {
            identity: identity.clone(),
            known: None,
            limits: Limits::default(),
            tries: TRIES,
        }
    }

    /// The same client for a server that has one of these keys. Any other is rejected during the
    /// handshake, before our certificate is shown: [`ConnectError::other_key`] names it.
    #[must_use]
    pub fn expecting(mut self, keys: Vec<KeyId>) -> Self {
        self.known = Some(keys);
        self
    }

    /// The same client with other limits. Without this it has [`Limits::default`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits.countable();
        self
    }

    /// Tries a code, on a connection that `dialling` makes. The result has the server's key:
    /// both sides know the code, and the server has stored our key. Store the server's before
    /// you [close](Paired::close).
    ///
    /// Let your user type each code, and do not try one again by yourself: a wrong one is one
    /// guess of few, and a chance for somebody who answers in the server's place. This client
    /// tries three codes at most. An exchange that does not get as far as our confirmation is not
    /// counted.
    ///
    /// Takes up to [`Limits::handshake`] (10 s) for the handshake, and 15 s for what follows. If
    /// this future is dropped, the connection is cut. The server may have stored our key by
    /// then: the same code can be tried once more.
    ///
    /// # Errors
    /// This side has no reason to store anything then.
    /// - [`PairingError::Connect`]: no connection, or no proven key; or no pairing is open there
    ///   ([`PairingError::is_not_open`]).
    /// - [`PairingError::Refused`]: the server says no. It has not stored our key.
    /// - [`PairingError::Impostor`]: whoever answered does not know the code.
    /// - [`PairingError::OwnKey`], [`PairingError::NoTriesLeft`]: nothing was said.
    /// - [`PairingError::Link`]: anything else. The server may have stored our key.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn pair<S>(
        &mut self,
        code: PairingCode,
        dialling: impl Future<Output = io::Result<S>>,
    ) -> Result<Paired, PairingError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if self.tries == 0 {
            return Err(PairingError::NoTriesLeft);
        }
        let stream = dialling.await.map_err(ConnectError::Dial)?;
        let config = pair_client_config(&self.identity, self.known.clone());
        let by = Instant::now() + self.limits.handshake;
        let proven = handshake::connect(stream, config, Alpn::Pair, by).await;
        let proven = proven.map_err(ConnectError::Handshake)?;
        let exporter = proven.exporter().map_err(ConnectError::Handshake)?;
        let keys = Keys {
            client: self.identity.key_id(),
            server: proven.peer.key(),
        };
        if keys.client == keys.server {
            return Err(PairingError::OwnKey);
        }
        let wire = PairWire::new(proven.stream, proven.meter, &self.limits, Role::Client);
        let mut wire = Box::new(wire);
        let exchange = Exchange::client(&code);
        let confirmed = async {
            wire.send(PairStep::Spake2(exchange.message())).await;
            let theirs = wire.spake2().await?;
            let confirmations = exchange
                .finish(&theirs, &exporter, &keys)
                .map_err(|NoPoint| LinkError::from(FrameError::BadValue("spake2")))?;
            self.tries -= 1;
            let ours = confirmations.client.to_bytes();
            wire.send(PairStep::Confirm(ours)).await;
            Ok((confirmations.server, wire.confirm().await?))
        };
        let confirmed = timeout_at(Instant::now() + EXCHANGE_TIME, confirmed).await;
        let overdue = || Err(LinkError::Overdue(Overdue::Pairing).into());
        self.conclude(keys.server, wire, confirmed.unwrap_or_else(|_| overdue()))
            .await
    }

    async fn conclude<S>(
        &self,
        key: KeyId,
        wire: Box<PairWire<Tls<S>>>,
        confirmed: Result<(Confirmation, [u8; 32]), Stop>,
    ) -> Result<Paired, PairingError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match confirmed {
            Ok((expected, said)) if expected.is(&said) => {
                info!(%key, "paired");
                let closing = Box::pin(wire.close(None));
                Ok(Paired { key, closing })
            }
            Ok(_) => {
                info!(%key, "a wrong confirmation");
                wire.close(None).await;
                Err(PairingError::Impostor(key))
            }
            Err(Stop::Refused(reason)) => {
                wire.close(None).await;
                Err(PairingError::Refused(reason))
            }
            Err(Stop::Link(error)) => {
                wire.part(&error).await;
                Err(error.into())
            }
        }
    }
}

/// A server that has stored our key, and whose own is proven.
pub struct Paired {
    key: KeyId,
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Paired {
    /// The server's key, to be stored.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Closes the connection, once the key is stored. Takes up to twice
    /// [`Limits::close_time`]. If this future or the value itself is dropped, the connection is
    /// cut, which costs nothing.
    pub async fn close(self) {
        self.closing.await;
    }
}

impl fmt::Debug for Paired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Paired");
        shown.field("key", &self.key).finish_non_exhaustive()
    }
}

/// Why a client did not pair.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// No connection was made, or no key was proven on it that could be the server's.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection failed, or the server broke the protocol.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The server refused.
    #[error("the server refuses to pair: {}", .0.word())]
    Refused(PairReason),
    /// Whoever has this key answered in the server's place, without knowing the code.
    #[error("somebody answered who does not know the code, with the key {0}")]
    Impostor(KeyId),
    /// The server has our own key.
    #[error("the server has this side's own key")]
    OwnKey,
    /// Three codes were tried with this client.
    #[error("three codes were tried")]
    NoTriesLeft,
}

impl PairingError {
    /// Whether the server speaks TLS, but no pairing is open there.
    pub fn is_not_open(&self) -> bool {
        matches!(
            self,
            Self::Connect(ConnectError::Handshake(
                HandshakeError::Tls(HandshakeFailure::NoCommonProtocol)
                    | HandshakeError::NotProven(NotProven::NoCommonProtocol)
            ))
        )
    }
}
