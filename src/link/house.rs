//! [`House`]: the task behind a [`Server`](super::Server). It keeps
//! [`Admission`], gives its orders out to the connections, and keeps the
//! conversations that are parked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::admission::{Admission, Admitted, Answer, ConnectionId, Hello, Order, Orders, Verdict};
use super::journal::{Journal, Page, Stored};
use super::reception::{self, Beginning, Errand, Hub, Mailbox, Report, Tls};
use super::server::{Lapsed, Lobby, Request, ServerBuilder, Visitor};
use super::session::{Attachment, Rest};
use super::turn::Talk;
use crate::protocol::{Conversation, ConversationId, Role};
use crate::trust::{KeyId, Peer};

/// How long accepting rests after it failed: out of file descriptors, mostly.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The task that keeps [`Admission`] and gives its orders out.
pub(super) struct House<S> {
    builder: ServerBuilder,
    journal: Option<Journal>,
    /// Nobody else serves the conversations in the journal meanwhile.
    _shelf_lock: Option<File>,
    parked: BTreeMap<(KeyId, ConversationId), Parked>,
    parkings: u64,
    admission: Admission,
    guests: BTreeMap<ConnectionId, Guest<S>>,
    tasks: JoinSet<()>,
    reports: mpsc::Sender<(ConnectionId, Report)>,
    clienthellos: Arc<AtomicU64>,
    accepted: u64,
    outlets: Outlets,
    crowded: watch::Sender<bool>,
    /// What the person was last asked about.
    asking: Option<KeyId>,
    /// Unknown keys that the person has let in.
    approved: BTreeSet<KeyId>,
}

/// A conversation that can go on later.
struct Parked {
    conversation: Conversation,
    page: Arc<Page>,
    /// How many were parked before it.
    place: u64,
}

/// Where the server's user hears of it.
pub(super) struct Outlets {
    pub(super) talks: mpsc::Sender<Talk>,
    pub(super) lobby: watch::Sender<Lobby>,
    pub(super) visitors: mpsc::Sender<Visitor>,
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

/// Visitors that wait to be told of; half of the places are for what was lost.
pub(super) const VISITORS: usize = 64;
const MENTIONS: usize = VISITORS / 2;

impl<S> House<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    pub(super) fn new(
        mut builder: ServerBuilder,
        outlets: Outlets,
        reports: mpsc::Sender<(ConnectionId, Report)>,
    ) -> Self {
        let (journal, shelf) = builder.journal.take().unzip();
        let (stored, expired, shelf_lock) = match shelf {
            Some(shelf) => (shelf.stored, shelf.expired, Some(shelf.lock)),
            None => (Vec::new(), Vec::new(), None),
        };
        let mut house = Self {
            admission: Admission::new(&builder.limits, builder.one_at_a_time),
            builder,
            journal,
            _shelf_lock: shelf_lock,
            parked: BTreeMap::new(),
            parkings: 0,
            guests: BTreeMap::new(),
            tasks: JoinSet::new(),
            reports,
            clienthellos: Arc::default(),
            accepted: 0,
            outlets,
            crowded: watch::Sender::new(false),
            asking: None,
            approved: BTreeSet::new(),
        };
        house.expire(expired);
        house.restore(stored);
        house
    }

    /// Receives and gives orders, until it is told to stop or nobody is there
    /// to tell it.
    pub(super) async fn run<A, F>(
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
            self.publish();
            let wake_at = self.admission.wake_at().map(Instant::from_std);
            tokio::select! {
                () = &mut accepting => return,
                Some((stream, address)) = arrived.recv() => self.receive(stream, address).await,
                Some((id, report)) = reports.recv() => self.reported(id, report).await,
                Some(_) = self.tasks.join_next() => {}
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {
                    let orders = self.admission.overdue(now());
                    self.give(orders).await;
                }
                request = requests.recv() => match request {
                    Some(Request::Seat) => {
                        let orders = self.admission.seat();
                        self.give(orders).await;
                    }
                    Some(Request::Ask(reply)) => {
                        self.asking = self.admission.ask(now());
                        let _ = reply.send(self.asking);
                    }
                    Some(Request::Answer(key, answer)) => {
                        if answer == Answer::Accept {
                            self.approved.insert(key);
                        }
                        let orders = self.admission.answer(&key, answer, now());
                        self.give(orders).await;
                    }
                    Some(Request::Forget(key)) => {
                        self.approved.remove(&key);
                        if (self.builder.verdict)(&key) != Verdict::Admit {
                            let orders = self.admission.expel(&key);
                            self.give(orders).await;
                        }
                    }
                    Some(Request::Stop) => return self.close().await,
                    None => return,
                },
            }
        }
    }

    async fn receive(&mut self, stream: S, address: Option<IpAddr>) {
        let (hub, mailbox) = self.expect_guest();
        let id = hub.id;
        let config = Arc::clone(&self.builder.config);
        let limits = self.builder.limits;
        self.tasks
            .spawn(reception::receive(stream, config, limits, hub, mailbox));
        let orders = self.admission.arrive(id, address);
        self.give(orders).await;
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

    /// Gives up what has waited too long.
    fn expire(&mut self, expired: Vec<Stored>) {
        for stored in expired {
            let Stored {
                page,
                peer,
                conversation,
                ..
            } = stored;
            if !conversation.has_quit() {
                let lapsed = Lapsed::of(peer, &conversation);
                let _ = self.outlets.visitors.try_send(Visitor::Expired(lapsed));
            }
            // What fails here is told of again at the next start.
            let _ = page.remove();
        }
    }

    /// Takes up what the journal holds, the newest last.
    fn restore(&mut self, stored: Vec<Stored>) {
        let is_held = |s: &Stored| s.is_live && !s.conversation.has_quit();
        let held = stored.iter().rposition(is_held);
        let held = held.filter(|_| self.builder.one_at_a_time);
        // Nobody sits at a conversation whose peer would have to be asked about.
        let is_admitted = |s: &Stored| (self.builder.verdict)(&s.peer) == Verdict::Admit;
        let held = held.filter(|place| stored.get(*place).is_some_and(is_admitted));
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
                self.rest(peer, id, Rest::Parked(conversation, Arc::new(page)));
            }
        }
    }

    /// Ends what a peer has given up, by a `quit` or by beginning anew.
    ///
    /// Returns whose end could not be stored: it is parked as before.
    async fn end_given_up(&mut self) -> Vec<KeyId> {
        let mut unstored = Vec::new();
        for (key, id) in self.admission.given_up() {
            let Some(parked) = self.parked.remove(&(key, id)) else {
                continue;
            };
            match self.end(key, id, &parked).await {
                Some(lapsed) => {
                    let _ = self.outlets.visitors.try_send(Visitor::GaveUp(lapsed));
                }
                None => {
                    self.admission.park(key, id);
                    self.parked.insert((key, id), parked);
                    unstored.push(key);
                }
            }
        }
        unstored
    }

    /// Gives the oldest up, where more are parked than there may be.
    async fn end_excess(&mut self) {
        while self.parked.len() > self.builder.limits.parked {
            let oldest = self.parked.iter().min_by_key(|(_, parked)| parked.place);
            let Some((key, id)) = oldest.map(|(named, _)| *named) else {
                return;
            };
            self.admission.unpark(key, id);
            if let Some(parked) = self.parked.remove(&(key, id))
                && let Some(lapsed) = self.end(key, id, &parked).await
            {
                let _ = self.outlets.visitors.try_send(Visitor::Expired(lapsed));
            }
        }
    }

    /// Leaves of a parked conversation what its end needs; `None` where that
    /// cannot be stored.
    async fn end(&mut self, key: KeyId, id: ConversationId, parked: &Parked) -> Option<Lapsed> {
        let mut conversation = parked.conversation.clone();
        conversation.quit();
        let lapsed = Lapsed::of(key, &conversation);
        let may_return = !conversation.is_acknowledged();
        let page = Arc::clone(&parked.page);
        let storing = spawn_blocking(move || match may_return {
            true => page.store(&conversation.epitaph(), false),
            false => page.remove(),
        });
        storing.await.ok()?.ok()?;
        if may_return {
            self.admission.remember_end(key, id, now());
        }
        Some(lapsed)
    }

    /// Of those who came to nothing; what was lost in a conversation always finds room.
    fn mention(&self, visitor: Visitor) {
        if self.outlets.visitors.capacity() > MENTIONS {
            let _ = self.outlets.visitors.try_send(visitor);
        }
    }

    async fn reported(&mut self, id: ConnectionId, report: Report) {
        let orders = match report {
            Report::Hello(hello) => self.hello(id, hello),
            Report::Welcomed(talk) => {
                self.admission.begin(id);
                let _ = self.outlets.talks.send(talk).await;
                return;
            }
            Report::Quit => self.admission.quit(id, now()),
            Report::Rest(key, conversation, rest) => {
                self.rest(key, conversation, rest);
                return self.end_excess().await;
            }
            Report::Left(incident) => {
                self.guests.remove(&id);
                if let Some(incident) = incident {
                    self.mention(Visitor::Failed(incident));
                }
                self.admission.leave(id)
            }
        };
        self.give(orders).await;
    }

    fn hello(&mut self, id: ConnectionId, hello: Hello) -> Orders {
        let key = hello.peer.key();
        if let Some(guest) = self.guests.get_mut(&id) {
            guest.key = Some(key);
        }
        let verdict = match (self.builder.verdict)(&key) {
            // The person was asked when it began.
            Verdict::Ask
                if self.approved.contains(&key)
                    && self.admission.is_open(&key, hello.conversation) =>
            {
                Verdict::Admit
            }
            verdict => verdict,
        };
        self.admission.hello(id, hello, verdict, now())
    }

    async fn give(&mut self, orders: Orders) {
        // An end is on the disk before anybody is told of it.
        let unstored = self.end_given_up().await;
        for (id, mut order) in orders {
            let Some(guest) = self.guests.get(&id) else {
                continue;
            };
            if guest.key.is_some_and(|key| unstored.contains(&key)) {
                order = Order::Close;
            }
            let errands = guest.errands.clone();
            if let (Order::Refuse(reason), Some(key)) = (&order, guest.key) {
                let reason = *reason;
                self.mention(Visitor::Refused { key, reason });
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
            if let Err(error) = errands.try_send(errand) {
                self.guests.remove(&id);
                if let Errand::Begin(beginning) = error.into_inner() {
                    let (key, id) = (beginning.admitted.peer.key(), beginning.conversation.id());
                    self.rest(key, id, beginning.kept());
                }
            }
        }
    }

    /// What is left of a conversation that is not gone on with now.
    fn rest(&mut self, key: KeyId, conversation: ConversationId, rest: Rest) {
        match rest {
            Rest::Nothing => {}
            Rest::End => self.admission.remember_end(key, conversation, now()),
            Rest::Parked(parked, page) => {
                self.admission.park(key, conversation);
                self.parkings += 1;
                let parked = Parked {
                    conversation: parked,
                    page,
                    place: self.parkings,
                };
                self.parked.insert((key, conversation), parked);
            }
        }
    }

    fn begin(&mut self, admitted: Admitted) -> Beginning {
        let (key, id) = (admitted.peer.key(), admitted.conversation);
        let (conversation, page) = match self.parked.remove(&(key, id)) {
            Some(parked) => (parked.conversation, Some(parked.page)),
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
        self.outlets
            .lobby
            .send_if_modified(|published| std::mem::replace(published, lobby) != lobby);
        let crowded = self.admission.is_crowded();
        self.crowded
            .send_if_modified(|published| std::mem::replace(published, crowded) != crowded);
    }

    async fn close(mut self) {
        let orders = self.admission.close();
        self.give(orders).await;
        // A connection that has no more orders to expect lets go.
        self.guests.clear();
        let all_gone = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(2 * self.builder.limits.close_time, all_gone).await;
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
