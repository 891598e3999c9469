//! [`Server`]: receives connections, lets peers in, and hands their
//! conversations out.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::admission::{Answer, Verdict};
use super::house::{House, Outlets, VISITORS};
use super::journal::{Journal, JournalError, Shelf};
use super::reception::Incident;
use super::turn::Talk;
use crate::protocol::{By, Conversation, ConversationId, Limits, Reason, Text};
use crate::trust::tls::server_config;
use crate::trust::{Identity, KeyId};

/// A server that is to be: its identity and its rules.
///
/// ```no_run
/// use turnchat::link::{ServerBuilder, Verdict, tcp};
/// use turnchat::trust::{Algorithm, Identity};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::generate(Algorithm::default())?;
/// let listener = tcp::listen("[::]:8876".parse()?)?;
/// let mut server = ServerBuilder::new(&identity, |_key| Verdict::Admit)?
///     .start(tcp::acceptor(listener));
/// while let Some(talk) = server.next().await {
///     // One conversation after another; `Server::serve` has many at once.
///     drop(talk);
/// }
/// # Ok(())
/// # }
/// ```
pub struct ServerBuilder {
    pub(super) config: Arc<rustls::ServerConfig>,
    pub(super) limits: Limits,
    pub(super) one_at_a_time: bool,
    pub(super) verdict: Box<dyn Fn(&KeyId) -> Verdict + Send>,
    pub(super) journal: Option<(Journal, Shelf)>,
}

/// A server that receives connections. Dropped, it lets go of them all.
#[derive(Debug)]
pub struct Server {
    requests: mpsc::Sender<Request>,
    talks: mpsc::Receiver<Talk>,
    lobby: watch::Receiver<Lobby>,
    visitors: Option<Visitors>,
    /// A seat was asked for, and no talk has come for it yet.
    is_seat_free: bool,
}

/// Who waits to be let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lobby {
    /// Admitted, and next in the queue.
    pub next: Option<KeyId>,
    /// Unknown, waiting for the person's word, and may be asked about now.
    pub question: Option<KeyId>,
    /// What the person was last asked about, while it still waits.
    pub asking: Option<KeyId>,
}

/// Those who did not get a conversation, as they come, and conversations that
/// have lapsed. Where nobody asks, the newest are dropped.
#[derive(Debug)]
pub struct Visitors(mpsc::Receiver<Visitor>);

impl Visitors {
    /// The next one. `None` once the server has stopped. May be dropped at
    /// any time.
    pub async fn next(&mut self) -> Option<Visitor> {
        self.0.recv().await
    }
}

/// Somebody who did not get a conversation, or not any more.
#[derive(Debug)]
#[non_exhaustive]
pub enum Visitor {
    /// A proven key was refused.
    Refused {
        /// Whose.
        key: KeyId,
        /// Why.
        reason: Reason,
    },
    /// A connection failed before anything was decided.
    Failed(Incident),
    /// A peer has begun another conversation, or given this one up.
    GaveUp(Lapsed),
    /// Nobody has gone on with it for 30 days, or too many newer ones are kept.
    Expired(Lapsed),
}

/// A conversation that was cut and could have gone on, and now is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapsed {
    /// With whom.
    pub key: KeyId,
    /// What both sides called it.
    pub conversation: ConversationId,
    /// Our last message in it, and its turn, if the peer is not known to hold
    /// it.
    pub unacknowledged: Option<(u64, Text)>,
}

impl Lapsed {
    pub(super) fn of(key: KeyId, conversation: &Conversation) -> Self {
        Self {
            key,
            conversation: conversation.id(),
            unacknowledged: conversation.end(By::Peer).unacknowledged,
        }
    }
}

/// What the server's user wants of its house.
pub(super) enum Request {
    Seat,
    Ask(oneshot::Sender<Option<KeyId>>),
    Answer(KeyId, Answer),
    Forget(KeyId),
    Stop,
}

impl ServerBuilder {
    /// A server that proves to be `identity`, and asks `verdict` about each
    /// proven key that says `hello`. It talks to one peer at a time: a peer's
    /// newest conversation ends its older ones.
    ///
    /// # Errors
    /// [`rustls::Error`] for an identity that TLS cannot use.
    pub fn new(
        identity: &Identity,
        verdict: impl Fn(&KeyId) -> Verdict + Send + 'static,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            config: server_config(identity)?,
            limits: Limits::default(),
            one_at_a_time: true,
            verdict: Box::new(verdict),
            journal: None,
        })
    }

    /// The same server with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// A peer may have several conversations at once, as with a server that
    /// talks to many.
    #[must_use]
    pub fn many_at_a_time(mut self) -> Self {
        self.one_at_a_time = false;
        self
    }

    /// The same server, which keeps its open conversations there, and goes on
    /// with them after a crash. The one that was on holds its place, for one
    /// [`Limits::hold`], if its peer is admitted without a question;
    /// [`Server::next`] yields it first.
    ///
    /// # Errors
    /// [`JournalError`]; the files are as they were.
    pub fn with_journal(mut self, journal: Journal) -> Result<Self, JournalError> {
        let shelf = journal.shelf(&self.limits)?;
        self.journal = Some((journal, shelf));
        Ok(self)
    }

    /// Begins to receive what `accept` yields: streams, and where they come
    /// from. Handshakes run beside it, under deadlines; a failing `accept` is
    /// tried again.
    pub fn start<S, A, F>(self, accept: A) -> Server
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        A: FnMut() -> F + Send + 'static,
        F: Future<Output = io::Result<(S, Option<IpAddr>)>> + Send + 'static,
    {
        let (requests, requested) = mpsc::channel(8);
        let (talks, talks_out) = mpsc::channel(8);
        let (lobby, lobby_out) = watch::channel(Lobby::default());
        let expired = self.journal.iter().map(|(_, shelf)| shelf.expired.len());
        let (visitors, visitors_out) = mpsc::channel(VISITORS + expired.sum::<usize>());
        let (reports, reported) = mpsc::channel(64);
        let outlets = Outlets {
            talks,
            lobby,
            visitors,
        };
        let house = House::new(self, outlets, reports);
        tokio::spawn(house.run(accept, requested, reported));
        Server {
            requests,
            talks: talks_out,
            lobby: lobby_out,
            visitors: Some(Visitors(visitors_out)),
            is_seat_free: false,
        }
    }
}

impl Server {
    /// The next conversation. Nobody is welcomed before this is called. May
    /// be dropped at any time; whoever was welcomed meanwhile comes next time.
    /// `None` once the server has stopped.
    pub async fn next(&mut self) -> Option<Talk> {
        if !self.is_seat_free {
            self.requests.send(Request::Seat).await.ok()?;
            self.is_seat_free = true;
        }
        let talk = self.talks.recv().await;
        self.is_seat_free = false;
        talk
    }

    /// Who was welcomed already, and was not handed out by
    /// [`next`](Self::next) yet. Asks for nobody.
    pub fn welcomed(&mut self) -> Option<Talk> {
        let talk = self.talks.try_recv().ok()?;
        self.is_seat_free = false;
        Some(talk)
    }

    /// Hands each conversation to `handler`, at most `many` at once, until
    /// the server stops. The others queue. Of one peer only the newest
    /// conversation is kept, unless [`ServerBuilder::many_at_a_time`] was said.
    pub async fn serve<H, F>(mut self, many: usize, mut handler: H)
    where
        H: FnMut(Talk) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let seats = Arc::new(Semaphore::new(many));
        while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
            let Some(talk) = self.next().await else {
                return;
            };
            let conversation = handler(talk);
            tokio::spawn(async move {
                conversation.await;
                drop(seat);
            });
        }
    }

    /// Who waits to be let in, now and whenever it changes.
    pub fn lobby(&self) -> watch::Receiver<Lobby> {
        self.lobby.clone()
    }

    /// The unknown key that the person is to be asked about, if one still
    /// waits. Counts as a question put.
    pub async fn ask(&self) -> Option<KeyId> {
        let (reply, question) = oneshot::channel();
        self.requests.send(Request::Ask(reply)).await.ok()?;
        question.await.ok()?
    }

    /// The person's answer about a key. Without effect if it has left. One that
    /// is accepted may come back to its open conversation unasked.
    pub async fn answer(&self, key: KeyId, answer: Answer) {
        let _ = self.requests.send(Request::Answer(key, answer)).await;
    }

    /// A key is not let in as before: one that was accepted is asked about again
    /// before it may come back, and one that waits is sent away unless it is admitted.
    pub async fn forget(&self, key: KeyId) {
        let _ = self.requests.send(Request::Forget(key)).await;
    }

    /// Those who did not get a conversation; once, to whoever asks first.
    pub fn visitors(&mut self) -> Option<Visitors> {
        self.visitors.take()
    }

    /// Stops: whoever waits is told `busy`, and gets a moment to read it. A
    /// conversation that is still on is cut.
    pub async fn stop(self) {
        let _ = self.requests.send(Request::Stop).await;
        self.requests.closed().await;
    }
}
