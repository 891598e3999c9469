//! [`Server`]: receives connections, lets peers in, and hands their
//! conversations out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::admission::{Admission, Admitted, Answer, ConnectionId, Hello, Order, Orders, Verdict};
use super::journal::{Journal, JournalError, Page, Shelf, Stored};
use super::reception::{self, Beginning, Errand, Hub, Incident, Mailbox, Report, Tls};
use super::session::{Attachment, Rest};
use super::turn::Talk;
use crate::protocol::{By, Conversation, ConversationId, End, Limits, Reason, Role, Text};
use crate::trust::tls::server_config;
use crate::trust::{Identity, KeyId, Peer};

/// How long accepting rests after it failed: out of file descriptors, mostly.
const ACCEPT_REST: Duration = Duration::from_millis(100);

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
    config: Arc<rustls::ServerConfig>,
    limits: Limits,
    one_at_a_time: bool,
    verdict: Box<dyn Fn(&KeyId) -> Verdict + Send>,
    journal: Option<(Journal, Shelf)>,
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

/// Those who did not get a conversation, as they come. Where nobody asks, the
/// newest are dropped.
#[derive(Debug)]
pub struct Visitors(mpsc::Receiver<Visitor>);

impl Visitors {
    /// The next one. `None` once the server has stopped. May be dropped at
    /// any time.
    pub async fn next(&mut self) -> Option<Visitor> {
        self.0.recv().await
    }
}

/// Somebody who came and did not get a conversation.
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
    /// A peer has begun another conversation, or given this one up, which had
    /// been cut and could have gone on.
    GaveUp {
        /// Whose.
        key: KeyId,
        /// Our last message in it, and its turn, if the peer is not known to
        /// hold it.
        unacknowledged: Option<(u64, Text)>,
    },
}

enum Request {
    Seat,
    Ask(oneshot::Sender<Option<KeyId>>),
    Answer(KeyId, Answer),
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
    /// [`Limits::hold`]; [`Server::next`] yields it first.
    ///
    /// # Errors
    /// [`JournalError`]; the files are as they were.
    pub fn with_journal(mut self, journal: Journal) -> Result<Self, JournalError> {
        let shelf = journal.shelf()?;
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
        let (incidents, incidents_out) = mpsc::channel(64);
        let (reports, reported) = mpsc::channel(64);
        let mut builder = self;
        let journal = builder.journal.take();
        let (journal, stored, shelf_lock) = match journal {
            Some((journal, Shelf { stored, lock })) => (Some(journal), stored, Some(lock)),
            None => (None, Vec::new(), None),
        };
        let mut house = House {
            admission: Admission::new(&builder.limits, builder.one_at_a_time),
            builder,
            journal,
            _shelf_lock: shelf_lock,
            parked: BTreeMap::new(),
            guests: BTreeMap::new(),
            tasks: JoinSet::new(),
            reports,
            clienthellos: Arc::default(),
            accepted: 0,
            talks,
            lobby,
            crowded: watch::Sender::new(false),
            incidents,
            asking: None,
        };
        house.restore(stored);
        tokio::spawn(house.run(accept, requested, reported));
        Server {
            requests,
            talks: talks_out,
            lobby: lobby_out,
            visitors: Some(Visitors(incidents_out)),
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

    /// The person's answer about a key. Without effect if it has left.
    pub async fn answer(&self, key: KeyId, answer: Answer) {
        let _ = self.requests.send(Request::Answer(key, answer)).await;
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

/// The task that keeps [`Admission`] and gives its orders out.
struct House<S> {
    builder: ServerBuilder,
    journal: Option<Journal>,
    /// Nobody else serves the conversations in the journal meanwhile.
    _shelf_lock: Option<File>,
    parked: BTreeMap<(KeyId, ConversationId), (Conversation, Arc<Page>)>,
    admission: Admission,
    guests: BTreeMap<ConnectionId, Guest<S>>,
    tasks: JoinSet<()>,
    reports: mpsc::Sender<(ConnectionId, Report)>,
    clienthellos: Arc<AtomicU64>,
    accepted: u64,
    talks: mpsc::Sender<Talk>,
    lobby: watch::Sender<Lobby>,
    crowded: watch::Sender<bool>,
    incidents: mpsc::Sender<Visitor>,
    /// What the person was last asked about.
    asking: Option<KeyId>,
}

struct Guest<S> {
    errands: mpsc::Sender<Errand<S>>,
    /// The way into the conversation that begins on this connection.
    attachments: mpsc::Sender<Attachment<Tls<S>>>,
    key: Option<KeyId>,
}

/// Errands that a connection may be behind with. Of `wait` there can be one
/// for each place in the queue.
const ERRANDS: usize = 64;

impl<S> House<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    async fn run<A, F>(
        mut self,
        mut accept: A,
        mut requests: mpsc::Receiver<Request>,
        mut reports: mpsc::Receiver<(ConnectionId, Report)>,
    ) where
        A: FnMut() -> F + Send + 'static,
        F: Future<Output = io::Result<(S, Option<IpAddr>)>> + Send + 'static,
    {
        let (arrivals, mut arrived) = mpsc::channel(1);
        let accepting = async move {
            loop {
                match accept().await {
                    Ok(arrival) => {
                        // Nobody takes it only when the server has stopped.
                        let _ = arrivals.send(arrival).await;
                    }
                    Err(_) => sleep(ACCEPT_REST).await,
                }
            }
        };
        tokio::pin!(accepting);
        loop {
            self.end_given_up().await;
            self.publish();
            let wake_at = self.admission.wake_at().map(Instant::from_std);
            tokio::select! {
                () = &mut accepting => return,
                Some((stream, address)) = arrived.recv() => self.receive(stream, address),
                Some((id, report)) = reports.recv() => self.reported(id, report).await,
                Some(_) = self.tasks.join_next() => {}
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {
                    let orders = self.admission.overdue(now());
                    self.give(orders);
                }
                request = requests.recv() => match request {
                    Some(Request::Seat) => {
                        let orders = self.admission.seat();
                        self.give(orders);
                    }
                    Some(Request::Ask(reply)) => {
                        self.asking = self.admission.ask(now());
                        let _ = reply.send(self.asking);
                    }
                    Some(Request::Answer(key, answer)) => {
                        let orders = self.admission.answer(&key, answer);
                        self.give(orders);
                    }
                    Some(Request::Stop) => return self.close().await,
                    None => return,
                },
            }
        }
    }

    fn receive(&mut self, stream: S, address: Option<IpAddr>) {
        let (hub, mailbox) = self.expect_guest();
        let id = hub.id;
        let config = Arc::clone(&self.builder.config);
        let limits = self.builder.limits;
        self.tasks
            .spawn(reception::receive(stream, config, limits, hub, mailbox));
        let orders = self.admission.arrive(id, address);
        self.give(orders);
    }

    fn expect_guest(&mut self) -> (Hub, Mailbox<S>) {
        let id = ConnectionId(self.accepted);
        self.accepted += 1;
        let (errands, errands_out) = mpsc::channel(ERRANDS);
        let (attachments, attachments_out) = mpsc::channel(1);
        let guest = Guest {
            errands,
            attachments,
            key: None,
        };
        self.guests.insert(id, guest);
        let mailbox = Mailbox {
            errands: errands_out,
            attachments: attachments_out,
            crowded: self.crowded.subscribe(),
        };
        let hub = Hub {
            id,
            reports: self.reports.clone(),
            clienthellos: Arc::clone(&self.clienthellos),
        };
        (hub, mailbox)
    }

    /// Takes up what the journal holds, the newest last.
    fn restore(&mut self, stored: Vec<Stored>) {
        let is_held = |s: &Stored| s.is_live && !s.conversation.has_quit();
        let held = stored.iter().rposition(is_held);
        let held = held.filter(|_| self.builder.one_at_a_time);
        for (
            place,
            Stored {
                page,
                peer,
                conversation,
                ..
            },
        ) in stored.into_iter().enumerate()
        {
            let id = conversation.id();
            if conversation.has_quit() {
                self.admission.remember_end(peer, id, now());
            } else if held == Some(place) {
                let (hub, mailbox) = self.expect_guest();
                self.admission.hold(hub.id, peer, id);
                let stored = (conversation, Arc::new(page));
                let peer = Peer::remembered(peer);
                let limits = self.builder.limits;
                self.tasks
                    .spawn(reception::wait(peer, stored, limits, hub, mailbox));
            } else {
                self.admission.park(peer, id);
                self.parked
                    .insert((peer, id), (conversation, Arc::new(page)));
            }
        }
    }

    /// Ends what a peer has given up by beginning anew.
    async fn end_given_up(&mut self) {
        for (key, id) in self.admission.given_up() {
            let Some((mut conversation, page)) = self.parked.remove(&(key, id)) else {
                continue;
            };
            conversation.quit();
            let End { unacknowledged, .. } = conversation.end(By::Peer);
            let _ = self.incidents.try_send(Visitor::GaveUp {
                key,
                unacknowledged,
            });
            let may_return = !conversation.is_acknowledged();
            if may_return {
                self.admission.remember_end(key, id, now());
            }
            // What fails here shows at the next start: the conversation is still parked.
            let _ = spawn_blocking(move || match may_return {
                true => page.store(&conversation.epitaph(), false),
                false => page.remove(),
            })
            .await;
        }
    }

    async fn reported(&mut self, id: ConnectionId, report: Report) {
        let orders = match report {
            Report::Hello(hello) => self.hello(id, hello),
            Report::Welcomed(talk) => {
                self.admission.begin(id);
                let _ = self.talks.send(talk).await;
                return;
            }
            Report::Quit => self.admission.quit(id),
            Report::Rest(key, conversation, rest) => {
                match rest {
                    Rest::Nothing => {}
                    Rest::End => self.admission.remember_end(key, conversation, now()),
                    Rest::Parked(parked, page) => {
                        self.admission.park(key, conversation);
                        self.parked.insert((key, conversation), (parked, page));
                    }
                }
                return;
            }
            Report::Left(incident) => {
                self.guests.remove(&id);
                if let Some(incident) = incident {
                    let _ = self.incidents.try_send(Visitor::Failed(incident));
                }
                self.admission.leave(id)
            }
        };
        self.give(orders);
    }

    fn hello(&mut self, id: ConnectionId, hello: Hello) -> Orders {
        let key = hello.peer.key();
        if let Some(guest) = self.guests.get_mut(&id) {
            guest.key = Some(key);
        }
        let verdict = match (self.builder.verdict)(&key) {
            // The person was asked when it began.
            Verdict::Ask if self.admission.is_open(&key, hello.conversation) => Verdict::Admit,
            verdict => verdict,
        };
        self.admission.hello(id, hello, verdict, now())
    }

    fn give(&mut self, orders: Orders) {
        for (id, order) in orders {
            let Some(guest) = self.guests.get(&id) else {
                continue;
            };
            let errands = guest.errands.clone();
            if let (Order::Refuse(reason), Some(key)) = (&order, guest.key) {
                let reason = *reason;
                let _ = self.incidents.try_send(Visitor::Refused { key, reason });
            }
            let errand = match order {
                Order::Resume { with, heard } => {
                    self.guests
                        .get(&with)
                        .map_or(Errand::Order(Order::Close), |held| Errand::Join {
                            conversation: held.attachments.clone(),
                            heard,
                        })
                }
                Order::Welcome(admitted) => Errand::Begin(self.begin(admitted)),
                order => Errand::Order(order),
            };
            // One that does not keep up with its errands has to go.
            if errands.try_send(errand).is_err() {
                self.guests.remove(&id);
            }
        }
    }

    fn begin(&mut self, admitted: Admitted) -> Beginning {
        let (key, id) = (admitted.peer.key(), admitted.conversation);
        let (conversation, page) = match self.parked.remove(&(key, id)) {
            Some((conversation, page)) => (conversation, Some(page)),
            None => {
                let page = self
                    .journal
                    .as_ref()
                    .map(|journal| journal.server(&key, id));
                (Conversation::new(Role::Server, id), page.map(Arc::new))
            }
        };
        Beginning {
            admitted,
            conversation,
            page,
        }
    }

    fn publish(&mut self) {
        self.asking = self.asking.filter(|key| self.admission.is_asking(key));
        let lobby = Lobby {
            next: self.admission.next(),
            question: self.admission.question(now()),
            asking: self.asking,
        };
        self.lobby
            .send_if_modified(|published| std::mem::replace(published, lobby) != lobby);
        let crowded = self.admission.is_crowded();
        self.crowded
            .send_if_modified(|published| std::mem::replace(published, crowded) != crowded);
    }

    async fn close(mut self) {
        let orders = self.admission.close();
        self.give(orders);
        // A connection that has no more orders to expect lets go.
        self.guests.clear();
        let all_gone = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(2 * self.builder.limits.close_time, all_gone).await;
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
