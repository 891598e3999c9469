//! [`Client`]: dials, proves both sides, and greets.

use std::io;
use std::sync::Arc;

use aws_lc_rs::rand;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::handshake::{self, HandshakeError};
use super::session;
use super::turn::{self, Waiting};
use super::wire::Wire;
use crate::protocol::{Conversation, ConversationId, Limits, Role};
use crate::trust::tls::client_config;
use crate::trust::{Identity, KeyId};

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
/// let talk = client.connect(tcp::dial("localhost", 8876)).await?.welcome().await?;
/// # drop(talk); Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
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
    /// Whether there will be one, [`Waiting::welcome`] tells.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was said then.
    pub async fn connect<S>(
        &self,
        dial: impl Future<Output = io::Result<S>>,
    ) -> Result<Waiting, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = dial.await.map_err(ConnectError::Dial)?;
        let by = Instant::now() + self.limits.handshake;
        let (stream, peer) = handshake::connect(stream, Arc::clone(&self.config), by).await?;

        let mut conversation = Conversation::new(Role::Client, random_id());
        conversation.connect();
        let first_frame_by = Instant::now() + self.limits.first_answer;
        let wire = Wire::new(stream, &self.limits, first_frame_by);
        let (user, waiting) = turn::greeting(peer, &conversation);
        tokio::spawn(session::run(conversation, wire, user));
        Ok(waiting)
    }
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
