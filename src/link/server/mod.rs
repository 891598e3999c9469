//! [`Server`]: receives connections, lets peers in, and hands their
//! conversations out.

pub mod admission;
mod answer;
mod claim;
mod connection;
mod conversation;
mod crowd;
mod event;
mod hub;
mod question;
mod run;
mod seats;
mod tickets;
mod timers;

use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

use self::hub::{EVENTS, Entrance, Hub, Outlets, Settings};
use self::question::Questions;
use self::run::Request;
use self::seats::Seats;
use crate::link::journal::Journal;
use crate::link::pairing::{Door, Pairing};
use crate::link::store::{Inventory, JournalError, SharedStore};
use crate::link::turn::Talk;
use crate::protocol::Limits;
use crate::trust::tls::server_config;
use crate::trust::{Identity, KeyId};

pub use admission::Verdict;
pub use event::{ServerEvent, ServerEvents};
pub use question::Candidate;

/// Builds a [`Server`]: its identity and its rules.
///
/// ```no_run
/// use turnchat::{tcp, ServerBuilder, Verdict};
/// use turnchat::{Algorithm, Identity};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::generate(Algorithm::default())?;
/// let listener = tcp::listen("[::]:8876".parse()?)?;
/// let mut server = ServerBuilder::new(&identity, async |_candidate| Verdict::Admit)
///     .start(tcp::acceptor(listener))
///     .await?;
/// while let Some(talk) = server.next().await {
///     // One conversation after another; `Server::serve` has many at once.
///     drop(talk);
/// }
/// # Ok(())
/// # }
/// ```
pub struct ServerBuilder {
    settings: Settings,
    kept: Kept,
}

/// Where a server keeps its conversations.
enum Kept {
    Nowhere,
    Journal(Journal),
    Shared(SharedStore),
}

/// A server that receives connections. Dropping it drops them all.
#[derive(Debug)]
pub struct Server {
    requests: mpsc::UnboundedSender<Request>,
    talks: mpsc::UnboundedReceiver<Talk>,
    next: watch::Receiver<Option<KeyId>>,
    events: Option<ServerEvents>,
    door: Arc<Door>,
    /// Those that handlers have left.
    left: Arc<Seats>,
    /// Seats asked for that no conversation has taken yet. Below zero: conversations that came
    /// without one.
    seats: isize,
}

impl ServerBuilder {
    /// A server that authenticates as `identity`, and asks `admit` about each [`Candidate`].
    /// Each peer has one conversation at a time: its newest ends its older ones (PROTOCOL 4.30).
    /// How many peers it talks to at once is up to [`Server::next`] and [`Server::serve`].
    ///
    /// `admit` is called at each `hello`, and in [`start`](Self::start) once about the
    /// conversation that a journal says was on. Its future is polled once at least, at once. All
    /// others wait for both, so they must not block. If they panic, the candidate is told
    /// [`Reason::NoAnswer`](crate::protocol::Reason::NoAnswer).
    ///
    /// If `admit` does not answer at once, the candidate is told to wait. After
    /// [`Limits::question_time`] (2 min) it is told `NoAnswer`, and the question is dropped. A
    /// key has one open question at a time: later ones are dropped, and the answer is for the
    /// key's youngest connection. A question whose candidate has left is dropped too. Up to
    /// [`Limits::questions`] (4) may be open, one for an address (PROTOCOL 5.4); any further
    /// candidate is told [`Reason::Busy`](crate::protocol::Reason::Busy).
    pub fn new<A, F>(identity: &Identity, admit: A) -> Self
    where
        A: FnMut(Candidate) -> F + Send + 'static,
        F: Future<Output = Verdict> + Send + 'static,
    {
        Self {
            settings: Settings {
                entrance: Entrance {
                    config: server_config(identity),
                    door: Arc::new(Door::new(identity)),
                },
                limits: Arc::default(),
                one_at_a_time: true,
                questions: Questions::new(admit),
            },
            kept: Kept::Nowhere,
        }
    }

    /// The same server with other limits. Without this it has [`Limits::default`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.settings.limits = Arc::new(limits.countable());
        self
    }

    /// Lets a peer have several conversations at once (PROTOCOL 4.32).
    #[must_use]
    pub fn many_at_a_time(mut self) -> Self {
        self.settings.one_at_a_time = false;
        self
    }

    /// The same server, which keeps its open conversations in this journal and continues them
    /// after a crash, when their peers come back. The one that was on keeps its place for one
    /// [`Limits::hold`], if `admit` admits its peer at once, and [`Server::next`] yields it
    /// first; after [`many_at_a_time`](Self::many_at_a_time) none does.
    #[must_use]
    pub fn with_journal(mut self, journal: Journal) -> Self {
        self.kept = Kept::Journal(journal);
        self
    }

    /// The same server as one of several with the same identity, which have this store in common;
    /// each of them can have [many conversations at a time](Self::many_at_a_time). Any may get a
    /// peer's next connection: a conversation that was cut at one goes on at another, each message
    /// once and in order, as with one server and a journal.
    ///
    /// Where a conversation goes on at another server, the handler that has it here learns
    /// [`LinkError::TakenOver`](super::LinkError::TakenOver) with its next message, or once it is
    /// held no longer: nothing that it says is sent from then on. A message that it was handed and
    /// has not answered is handed to the other as well, as
    /// [unanswered](super::Talk::unanswered). Nothing is read at the start, and a conversation that
    /// is not on at any server is not told of by [`ServerEvent`]s.
    #[must_use]
    pub fn with_shared_store(mut self, store: SharedStore) -> Self {
        self.kept = Kept::Shared(store);
        self.many_at_a_time()
    }

    /// Reads the journal, if there is one, and begins to receive what `accept` yields: streams,
    /// and the addresses that they come from. `None` is an address that is not known, and counts
    /// to no limit of one address. Handshakes run in the background, under deadlines. If `accept`
    /// fails, it is called again after 100 ms. It must not panic.
    ///
    /// If an earlier server still has the journal, this waits for it, up to 3 s. If this
    /// future is dropped, nothing has begun.
    ///
    /// # Errors
    /// [`JournalError`]: the journal cannot be used at all. Without one there is none. A single
    /// record that cannot be read is told of by [`ServerEvent::Unreadable`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start<S, A, F>(self, accept: A) -> Result<Server, JournalError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        A: FnMut() -> F + Send + 'static,
        F: Future<Output = io::Result<(S, Option<IpAddr>)>> + Send + 'static,
    {
        let mut settings = self.settings;
        settings.limits = Arc::new(settings.limits.of_server());
        let kept = match self.kept {
            Kept::Nowhere => Inventory::default(),
            Kept::Journal(journal) => journal.server(&settings.limits).await?,
            Kept::Shared(SharedStore(store)) => Inventory {
                store: Some(store),
                ..Inventory::default()
            },
        };
        let (requests, requested) = mpsc::unbounded_channel();
        let (talks, talks_out) = mpsc::unbounded_channel();
        let (next, next_out) = watch::channel(None);
        let over = kept.expired.len() + kept.excess.len() + kept.stored.len();
        let over = over + kept.unreadable.len();
        let (events, events_out) = mpsc::channel(EVENTS + over);
        let (reports, reported) = mpsc::unbounded_channel();
        let outlets = Outlets {
            talks: Some(talks),
            next,
            events,
        };
        let door = Arc::clone(&settings.entrance.door);
        let left = Arc::new(Seats::default());
        let hub = Hub::new(settings, kept, outlets, Arc::clone(&left), reports).await;
        tokio::spawn(run::run(hub, accept, requested, reported));
        Ok(Server {
            requests,
            talks: talks_out,
            next: next_out,
            events: Some(ServerEvents::new(events_out)),
            door,
            left,
            seats: 0,
        })
    }
}

/// A conversation's seat, which is free again however its handler ends.
struct Seat(Arc<Seats>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Server {
    /// The next conversation. Nobody is welcomed before this is called. `None` once the
    /// server was [closed](Self::close).
    ///
    /// May be dropped at any time; a peer that was welcomed meanwhile comes with the next
    /// call.
    pub async fn next(&mut self) -> Option<Talk> {
        self.make_room(1);
        let talk = self.talks.recv().await;
        self.seats -= 1;
        talk
    }

    /// A conversation that was welcomed already, but not handed out by [`next`](Self::next)
    /// yet. Lets nobody else in.
    pub fn welcomed(&mut self) -> Option<Talk> {
        let talk = self.talks.try_recv().ok()?;
        self.seats -= 1;
        Some(talk)
    }

    /// Welcomes so many peers, if they come, before [`next`](Self::next) is called for each: for
    /// whoever holds several conversations at once. Those that were welcomed, and not handed out,
    /// count to it.
    pub fn make_room(&mut self, many: usize) {
        let many = isize::try_from(many).unwrap_or(isize::MAX);
        let more = many.saturating_sub(self.seats);
        if let Ok(more @ 1..) = usize::try_from(more) {
            let _ = self.requests.send(Request::Seats(more));
            self.seats = many;
        }
    }

    /// Hands each conversation to `handler`, at most `many` at once; the others queue. Of one
    /// peer only the newest conversation is kept, unless [`ServerBuilder::many_at_a_time`] was
    /// called. Each handler runs in a task of its own.
    ///
    /// Serves for ever; [`serve_until`](Self::serve_until) can be told to stop. If this future
    /// is dropped, every conversation is cut, as by a crash. The handlers keep running and
    /// learn of it.
    pub async fn serve<H, F>(self, many: usize, handler: H)
    where
        H: FnMut(Talk) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        self.serve_until(many, handler, pending()).await;
    }

    /// Like [`serve`](Self::serve), until `shutdown` is done. Then it [closes](Self::close),
    /// waits until all handlers have returned, and stops. How long that takes is up to the
    /// handlers: let them [leave](super::MyTurn::leave) at the same signal, or put a `timeout`
    /// around this.
    ///
    /// If this future is dropped, every conversation is cut, as with [`serve`](Self::serve).
    ///
    /// ```no_run
    /// # use turnchat::{Server, Talk};
    /// # async fn example(server: Server, converse: fn(Talk) -> std::future::Ready<()>) {
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// let serving = tokio::spawn(server.serve_until(64, converse, async {
    ///     let _ = stopped.await;
    /// }));
    /// drop(stop);
    /// serving.await.unwrap();
    /// # }
    /// ```
    pub async fn serve_until<H, F, S>(mut self, many: usize, mut handler: H, shutdown: S)
    where
        H: FnMut(Talk) -> F,
        F: Future<Output = ()> + Send + 'static,
        S: Future<Output = ()>,
    {
        self.make_room(many);
        let mut shutdown = pin!(shutdown);
        let mut is_closing = false;
        // Each handler has a sender, and the last that is dropped wakes us.
        let (running, mut all_done) = mpsc::channel::<()>(1);
        loop {
            tokio::select! {
                talk = self.talks.recv() => {
                    let Some(talk) = talk else {
                        break;
                    };
                    // Awaited by value, it would be in the task twice.
                    let conversation = Box::pin(handler(talk));
                    let (seat, running) = (Seat(Arc::clone(&self.left)), running.clone());
                    tokio::spawn(async move {
                        conversation.await;
                        drop((seat, running));
                    });
                }
                () = &mut shutdown, if !is_closing => {
                    is_closing = true;
                    self.close();
                }
            }
        }
        drop(running);
        all_done.recv().await;
        self.stop().await;
    }

    /// Begins no more conversations: everyone who waits, or comes later for a new one, is told
    /// [`Reason::Closing`](crate::protocol::Reason::Closing). Conversations that are on
    /// continue, even over cuts. [`next`](Self::next) yields those already welcomed, and then
    /// `None`.
    pub fn close(&self) {
        let _ = self.requests.send(Request::Close);
    }

    /// Who is first in the queue, now and whenever it changes.
    pub fn first_in_queue(&self) -> watch::Receiver<Option<KeyId>> {
        self.next.clone()
    }

    /// Sends this key's clients in the queue away, as
    /// [unknown](crate::protocol::Reason::UnknownPeer): the key is not admitted any more. Its
    /// conversations end, whether they are on, held or parked. The peer of one that is on is
    /// told with a `quit`, and nobody waits for its answer; whether it may begin another is for
    /// `admit` to say.
    pub fn expel(&self, key: KeyId) {
        let _ = self.requests.send(Request::Expel(key));
    }

    /// Opens a pairing: a peer that is told a code of three words proves its key, beside all
    /// conversations, and learns ours. One that was open before is over. Once the server is
    /// closed or dropped, the pairing is over, too.
    ///
    /// ```no_run
    /// use turnchat::{KeyId, PairingEvent, Server, Storing};
    ///
    /// # async fn example(server: Server, store: fn(KeyId) -> bool) {
    /// let mut pairing = server.pair();
    /// while let Some(event) = pairing.next().await {
    ///     match event {
    ///         PairingEvent::Code(code) => println!("Tell your peer: {}", code.spoken()),
    ///         PairingEvent::Confirmed(peer) => match store(peer.key) {
    ///             true => peer.answer(Storing::Stored),
    ///             false => peer.answer(Storing::Failed),
    ///         },
    ///         PairingEvent::WrongGuess { key, .. } => println!("A wrong code, from {key}"),
    ///         // Or, if your user wants another code, `pairing.new_code()`.
    ///         PairingEvent::Expired => break,
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    pub fn pair(&self) -> Pairing {
        self.door.open()
    }

    /// The server's events. Only the first call gets them.
    pub fn events(&mut self) -> Option<ServerEvents> {
        self.events.take()
    }

    /// Stops: everyone who waits is told [`Reason::Closing`](crate::protocol::Reason::Closing)
    /// (PROTOCOL 4.29), and gets a moment to read it; conversations still on are cut. Once
    /// this returns, the journal is free, except for a store still in progress, which the next
    /// [`ServerBuilder::start`] waits for.
    ///
    /// Takes at most twice [`Limits::close_time`], behind what is just being stored. If this future
    /// is dropped, the server still stops.
    pub fn stop(self) -> impl Future<Output = ()> + Send {
        let _ = self.requests.send(Request::Stop);
        async move { self.requests.closed().await }
    }
}
