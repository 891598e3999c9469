//! [`Client`]: dials, proves both sides, and greets.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::abandoned::Abandoned;
use super::driver::{Dial, Driver, with_jitter};
use super::error::{ConnectError, chain};
use super::handshake::{self, Tls};
use super::journal::Journal;
use super::session::{FEW_REDIALS, Session};
use super::store::{JournalError, Record};
use super::turn::{self, Waiting};
use super::wire::Wire;
use crate::protocol::{Conversation, ConversationId, HeardWhen, Limits, Role};
use crate::trust::alpn::Alpn;
use crate::trust::tls::client_config;
use crate::trust::{Identity, KeyId, Peer};

/// A client: one identity, and the keys that it accepts at the other end.
///
/// ```no_run
/// use turnchat::{tcp, Client};
/// use turnchat::{Algorithm, Identity};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::generate(Algorithm::default())?;
/// let pin = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".parse()?;
/// let client = Client::new(&identity, vec![pin]);
/// let talk = client.connect(tcp::dialer("localhost", 8876)).await?.welcome().await?;
/// # drop(talk); Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    identity: Identity,
    accepted: Vec<KeyId>,
    config: Arc<rustls::ClientConfig>,
    limits: Arc<Limits>,
    journal: Option<Journal>,
}

impl Client {
    /// A client that authenticates as `identity` and accepts exactly these keys. Any other is
    /// rejected during the handshake, before our certificate is shown.
    pub fn new(identity: &Identity, accepted: Vec<KeyId>) -> Self {
        Self {
            identity: identity.clone(),
            config: client_config(identity, accepted.clone()),
            accepted,
            limits: Arc::default(),
            journal: None,
        }
    }

    /// The same client with other limits. Without this it has [`Limits::default`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = Arc::new(limits.countable());
        self
    }

    /// The same client, which keeps its open conversations in this journal and continues them
    /// after a crash.
    #[must_use]
    pub fn with_journal(mut self, journal: Journal) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Dials, proves both keys and sends `hello`: for the conversation with this peer in the
    /// journal, else for a new one. [`Waiting::welcome`] then tells whether the server takes part;
    /// or, of a conversation that [is over](Waiting::is_over), how it ended.
    ///
    /// `dial` is called for the first connection and for each redial, and makes a new byte stream
    /// each time. It has no time limit here; [`tcp::dialer`](super::tcp::dialer) gives up after
    /// 10 s. If another client holds the journal, or the [`Ended`](super::Ended) of the last
    /// conversation still does, this waits up to 3 s for it.
    ///
    /// Once the conversation is on or in the queue, a lost link is redialled for up to
    /// [`Limits::hold`] (15 min), and only the same key is accepted. A connection that is cut
    /// before the server's first frame is redialled three times (PROTOCOL 4.14). If the first
    /// dial reaches nobody, that is an error; but with an open conversation in the journal this
    /// returns, and dials on while you wait. With a hold of zero nothing is redialled.
    ///
    /// If this future is dropped, no conversation has begun. What the journal holds stays.
    ///
    /// # Errors
    /// No conversation has begun then.
    /// - [`ConnectError::Dial`]: the first dial failed.
    /// - [`ConnectError::Handshake`]: no accepted key was proven in [`Limits::handshake`].
    /// - [`ConnectError::Journal`]: it cannot be read or locked.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect<S, D, F>(&self, dial: D) -> Result<Waiting, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        D: FnMut() -> F + Send + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let dial = shared(dial);
        let may_redial = !self.limits.hold.is_zero();
        let mut pauses = FEW_REDIALS.into_iter();
        let (peer, wire, open) = loop {
            let proven = prove(Arc::clone(&self.config), &self.limits, dial()).await;
            if let Err(error) = &proven {
                info!(why = chain(error), "cannot connect");
            }
            match proven {
                Ok((wire, peer)) => {
                    debug!(peer = %peer.key(), "proved its key");
                    let open = self.open(&peer.key()).await?;
                    break (peer, Some(wire), open);
                }
                Err(error) if error.is_temporary() => match self.held().await? {
                    Some((peer, open)) => break (peer, None, open),
                    None => match pauses.next() {
                        // A storm at the server may have closed it (PROTOCOL 4.14).
                        Some(pause) if may_redial && error.is_cut() => {
                            sleep(with_jitter(pause)).await;
                        }
                        _ => return Err(error),
                    },
                },
                Err(error) => return Err(error),
            }
        };
        let Open {
            record,
            conversation,
            is_stored,
        } = open;
        let has_journal = record.is_some();
        let dial = self.redial(peer.key(), dial);
        let session = Session::new(
            Role::Client,
            conversation.clone(),
            is_stored,
            has_journal,
            &self.limits,
        );
        let driver = Driver::new(session, peer.key(), record, None);
        let user = Arc::clone(&driver);
        let waiting = turn::greeting(peer, &conversation, is_stored, user);
        match wire {
            Some(wire) => driver.connected(wire),
            None => driver.hold(0),
        }
        tokio::spawn(driver.keeper(|_| ()).keep(Some(dial)));
        Ok(waiting)
    }

    /// Gives up the journal's conversations with the accepted peers. `tell` learns what is left
    /// of each before it is removed; if `tell` fails, the conversation can still continue. A
    /// server ends its side when a new one begins. If this future is dropped, those told of are
    /// given up, but for the last.
    ///
    /// # Errors
    /// Those of `tell`, and [`JournalError`], if one cannot be read or removed.
    pub async fn give_up<E: From<JournalError>>(
        &self,
        mut tell: impl FnMut(&Abandoned) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        for key in self.accepted.iter().filter(|key| journal.has_client(key)) {
            let (record, stored) = journal.client(key).await?;
            if let Some(conversation) = stored {
                tell(&Abandoned::of(*key, &conversation))?;
            }
            let removed = record.remove().await;
            removed.map_err(|error| error.at(record.place()))?;
        }
        Ok(())
    }

    /// The record for this peer, and the conversation in it or a new one.
    async fn open(&self, peer: &KeyId) -> Result<Open, JournalError> {
        let (record, stored) = match &self.journal {
            None => (None, None),
            Some(journal) => {
                let (record, stored) = journal.client(peer).await?;
                (Some(record), stored)
            }
        };
        let is_stored = stored.is_some();
        let heard_when = match record {
            Some(_) => HeardWhen::Stored,
            None => HeardWhen::Taken,
        };
        let new = || Conversation::new(Role::Client, random_id(), heard_when);
        let conversation = stored.unwrap_or_else(new);
        Ok(Open {
            record,
            conversation,
            is_stored,
        })
    }

    /// An open conversation, with one of the accepted peers.
    async fn held(&self) -> Result<Option<(Peer, Open)>, JournalError> {
        let Some(journal) = &self.journal else {
            return Ok(None);
        };
        for key in self.accepted.iter().filter(|key| journal.has_client(key)) {
            let open = self.open(key).await?;
            if open.is_stored {
                return Ok(Some((Peer::remembered(*key), open)));
            }
        }
        Ok(None)
    }

    /// Dials anew, and accepts this key alone.
    fn redial<S, D, F>(&self, key: KeyId, mut dial: D) -> Dial<Tls<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        D: FnMut() -> F + Send + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
    {
        let (identity, limits) = (self.identity.clone(), Arc::clone(&self.limits));
        Box::new(move || {
            // Made when it is needed: most links are never lost.
            let config = client_config(&identity, vec![key]);
            let limits = Arc::clone(&limits);
            let dialling = dial();
            Box::pin(async move {
                let proven = prove(config, &limits, dialling).await;
                proven
                    .map(|(wire, _)| wire)
                    .map_err(|error| error.other_key())
            })
        })
    }
}

/// A conversation whose `hello` is about to be sent.
struct Open {
    record: Option<Arc<Record>>,
    conversation: Conversation,
    /// It was open before this process.
    is_stored: bool,
}

/// One dialler for the first dial and the redials.
fn shared<D, F>(dial: D) -> impl Fn() -> F + Clone + Send + 'static
where
    D: FnMut() -> F + Send + 'static,
{
    let dial = Arc::new(Mutex::new(dial));
    move || (dial.lock().unwrap_or_else(PoisonError::into_inner))()
}

/// A connection with both keys proven, on which nothing was said.
async fn prove<S>(
    config: Arc<rustls::ClientConfig>,
    limits: &Limits,
    dialling: impl Future<Output = io::Result<S>>,
) -> Result<(Box<Wire<Tls<S>>>, Peer), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = dialling.await.map_err(ConnectError::Dial)?;
    let by = Instant::now() + limits.handshake;
    let proven = handshake::connect(stream, config, Alpn::Talk, by).await?;
    let first_frame_by = Instant::now() + limits.first_answer;
    let (stream, meter) = (proven.stream, proven.meter);
    let wire = Wire::new(Role::Client, stream, meter, limits, first_frame_by);
    Ok((Box::new(wire), proven.peer))
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
