//! [`Client`]: dials, proves both sides, and greets.

use std::io;
use std::sync::Arc;

use aws_lc_rs::rand;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::handshake::{self, HandshakeError};
use super::redial::Redial;
use super::session::{Session, Source};
use super::turn::{self, Waiting};
use super::wire::Wire;
use crate::protocol::{Conversation, ConversationId, Limits, Role};
use crate::trust::tls::client_config;
use crate::trust::{Identity, KeyId, Peer};

/// A client: one identity, and the keys that it accepts at the other end.
///
/// ```no_run
/// use turnchat::link::{Client, tcp};
/// use turnchat::trust::{Algorithm, Identity};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::generate(Algorithm::default())?;
/// let pin = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".parse()?;
/// let client = Client::new(&identity, vec![pin])?;
/// let talk = client.connect(tcp::dialer("localhost", 8876)).await?.welcome().await?;
/// # drop(talk); Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    identity: Identity,
    config: Arc<rustls::ClientConfig>,
    limits: Limits,
}

/// Why a client did not get as far as `hello`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no connection to be had.
    #[error("no connection: {0}")]
    Dial(#[source] io::Error),
    /// There is, but not to one of the keys that are accepted.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

impl Client {
    /// A client that proves to be `identity` and accepts exactly these keys:
    /// any other is rejected inside of the handshake, before our own
    /// certificate is shown.
    ///
    /// # Errors
    /// [`rustls::Error`] for an identity that TLS cannot use.
    pub fn new(identity: &Identity, accepted: Vec<KeyId>) -> Result<Self, rustls::Error> {
        Ok(Self {
            identity: identity.clone(),
            config: client_config(identity, accepted)?,
            limits: Limits::default(),
        })
    }

    /// The same client with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Dials once, proves both keys and says `hello` for a new conversation.
    /// Whether there will be one, [`Waiting::welcome`] tells. Once it is on, a
    /// lost link is dialled anew, and only the same key is accepted then.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was said then.
    pub async fn connect<S, D, F>(&self, mut dial: D) -> Result<Waiting, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        D: FnMut() -> F + Send + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let (wire, peer) = prove(Arc::clone(&self.config), self.limits, dial()).await?;
        let mut conversation = Conversation::new(Role::Client, random_id());
        conversation.connect();
        let (user, waiting) = turn::greeting(peer, &conversation);

        let redialler = Self {
            config: client_config(&self.identity, vec![peer.key()])
                .map_err(|error| HandshakeError::Tls(io::Error::other(error)))?,
            ..self.clone()
        };
        let redial = Redial::new(move || {
            let proving = prove(Arc::clone(&redialler.config), redialler.limits, dial());
            Box::pin(async move { proving.await.ok().map(|(wire, _)| wire) })
        });
        let source = Source::Dial(redial);
        let session = Session::new(conversation, wire, user, source, &self.limits);
        tokio::spawn(session.run());
        Ok(waiting)
    }
}

/// A connection with both keys proven, on which nothing was said.
async fn prove<S>(
    config: Arc<rustls::ClientConfig>,
    limits: Limits,
    dialling: impl Future<Output = io::Result<S>>,
) -> Result<(Wire<TlsStream<S>>, Peer), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = dialling.await.map_err(ConnectError::Dial)?;
    let by = Instant::now() + limits.handshake;
    let (stream, peer) = handshake::connect(stream, config, by).await?;
    let first_frame_by = Instant::now() + limits.first_answer;
    Ok((Wire::new(stream, &limits, first_frame_by), peer))
}

fn random_id() -> ConversationId {
    let mut bits = [0; 16];
    #[expect(
        clippy::expect_used,
        reason = "aws-lc's generator does not fail once seeded"
    )]
    rand::fill(&mut bits).expect("random bits");
    ConversationId::from_bits(bits)
}
