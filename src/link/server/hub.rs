//! [`Hub`]: the task behind a [`Server`](super::Server). It keeps
//! [`Admission`], gives its instructions out to the connections, and keeps the
//! conversations that are parked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::admission::{
    Admission, Admitted, Answer, ConnectionId, Hello, Instruction, Instructions, Verdict,
};
use super::connection::{
    self, Arrival, Beginning, ConnectionEvent, HubChannels, HubHandle, HubMessage, Remains,
};
use super::event::{Abandoned, Candidates, ServerEvent};
use crate::link::handshake::Tls;
use crate::link::journal::{Journal, Record, Stored, StoredConversations};
use crate::link::turn::Talk;
use crate::protocol::{Conversation, ConversationId, HeardWhen, Limits, Role};
use crate::trust::KeyId;

/// How long accepting rests after it failed: out of file descriptors, mostly.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What a server is to be.
pub(super) struct Settings {
    pub(super) config: Arc<rustls::ServerConfig>,
    pub(super) limits: Limits,
    pub(super) one_at_a_time: bool,
    pub(super) verdict: Box<dyn Fn(&KeyId) -> Verdict + Send>,
    pub(super) journal: Option<(Journal, StoredConversations)>,
}

/// What the server's user wants of its hub.
pub(super) enum Request {
    Seat,
    Ask(oneshot::Sender<Option<KeyId>>),
    Answer(KeyId, Answer),
    Forget(KeyId),
    Stop,
}

/// The task that keeps [`Admission`] and gives its instructions out.
pub(super) struct Hub<S> {
    settings: Settings,
    journal: Option<Journal>,
    /// Nobody else serves the conversations in the journal meanwhile.
    _lock: Option<File>,
    parked: BTreeMap<(KeyId, ConversationId), Parked>,
    parkings: u64,
    admission: Admission,
    connections: BTreeMap<ConnectionId, Connection<S>>,
    tasks: JoinSet<()>,
    events: mpsc::Sender<(ConnectionId, ConnectionEvent)>,
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
    record: Arc<Record>,
    /// How many were parked before it.
    place: u64,
}

/// Where the server's user hears of it.
pub(super) struct Outlets {
    pub(super) talks: mpsc::Sender<Talk>,
    pub(super) candidates: watch::Sender<Candidates>,
    pub(super) events: mpsc::Sender<ServerEvent>,
}

struct Connection<S> {
    messages: mpsc::Sender<HubMessage<S>>,
    /// The way into the conversation that begins on this connection.
    arrivals: mpsc::Sender<Box<Arrival<Tls<S>>>>,
    key: Option<KeyId>,
}

/// Messages that a connection may be behind with. Of `wait` there can be one
/// for each place in the queue.
const MESSAGES: usize = 64;

/// Events that wait to be told of; half of the places are for what was lost.
pub(super) const EVENTS: usize = 64;
const MENTIONS: usize = EVENTS / 2;

impl<S> Hub<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    pub(super) fn new(
        mut settings: Settings,
        outlets: Outlets,
        events: mpsc::Sender<(ConnectionId, ConnectionEvent)>,
    ) -> Self {
        let (journal, stored) = settings.journal.take().unzip();
        let (stored, expired, lock) = match stored {
            Some(stored) => (stored.stored, stored.expired, Some(stored.lock)),
            None => (Vec::new(), Vec::new(), None),
        };
        let last = stored.iter().map(|stored| stored.clienthello).max();
        let mut hub = Self {
            admission: Admission::new(&settings.limits, settings.one_at_a_time),
            settings,
            journal,
            _lock: lock,
            parked: BTreeMap::new(),
            parkings: 0,
            connections: BTreeMap::new(),
            tasks: JoinSet::new(),
            events,
            clienthellos: Arc::new(AtomicU64::new(last.map_or(0, |last| last + 1))),
            accepted: 0,
            outlets,
            crowded: watch::Sender::new(false),
            asking: None,
            approved: BTreeSet::new(),
        };
        hub.expire(expired);
        hub.restore(stored);
        hub
    }

    /// Receives and gives instructions, until it is told to stop or nobody is there
    /// to tell it.
    pub(super) async fn run<A, F>(
        mut self,
        mut accept: A,
        mut requests: mpsc::Receiver<Request>,
        mut events: mpsc::Receiver<(ConnectionId, ConnectionEvent)>,
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
        // What a crash has left open beside a key's newer one.
        self.end_given_up().await;
        loop {
            self.publish();
            let wake_at = self.admission.wake_at().map(Instant::from_std);
            tokio::select! {
                () = &mut accepting => return,
                Some((stream, address)) = arrived.recv() => self.receive(stream, address).await,
                Some((id, event)) = events.recv() => self.handle_event(id, event).await,
                Some(_) = self.tasks.join_next() => {}
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {
                    let instructions = self.admission.overdue(now());
                    self.give(instructions).await;
                }
                request = requests.recv() => match request {
                    Some(Request::Seat) => {
                        let instructions = self.admission.seat();
                        self.give(instructions).await;
                    }
                    Some(Request::Ask(reply)) => {
                        self.asking = self.admission.ask(now());
                        let _ = reply.send(self.asking);
                    }
                    Some(Request::Answer(key, answer)) => {
                        if answer == Answer::Accept {
                            self.approved.insert(key);
                        }
                        let instructions = self.admission.answer(&key, answer, now());
                        self.give(instructions).await;
                    }
                    Some(Request::Forget(key)) => {
                        self.approved.remove(&key);
                        if (self.settings.verdict)(&key) != Verdict::Admit {
                            let instructions = self.admission.expel(&key);
                            self.give(instructions).await;
                        }
                    }
                    Some(Request::Stop) => return self.close().await,
                    None => return,
                },
            }
        }
    }

    async fn receive(&mut self, stream: S, address: Option<IpAddr>) {
        let (hub, channels) = self.expect_connection();
        let id = hub.id;
        let config = Arc::clone(&self.settings.config);
        let limits = self.settings.limits;
        self.tasks
            .spawn(connection::receive(stream, config, limits, hub, channels));
        let instructions = self.admission.arrive(id, address);
        self.give(instructions).await;
    }

    fn expect_connection(&mut self) -> (HubHandle, HubChannels<S>) {
        let id = ConnectionId(self.accepted);
        self.accepted += 1;
        let (messages, messages_out) = mpsc::channel(MESSAGES);
        let (arrivals, arrivals_out) = mpsc::channel(1);
        let connection = Connection {
            messages,
            arrivals,
            key: None,
        };
        self.connections.insert(id, connection);
        let channels = HubChannels {
            messages: messages_out,
            arrivals: arrivals_out,
            crowded: self.crowded.subscribe(),
        };
        let hub = HubHandle {
            id,
            events: self.events.clone(),
            clienthellos: Arc::clone(&self.clienthellos),
        };
        (hub, channels)
    }

    /// Gives up what has waited too long.
    fn expire(&mut self, expired: Vec<Stored>) {
        for stored in expired {
            let Stored {
                record,
                peer,
                conversation,
                ..
            } = stored;
            if !conversation.has_quit() {
                self.tell(ServerEvent::Expired(Abandoned::of(peer, &conversation)));
            }
            // What fails here is told of again at the next start.
            let _ = record.remove();
        }
    }

    /// Takes up what the journal holds, whose peer came last last.
    fn restore(&mut self, stored: Vec<Stored>) {
        for stored in &stored {
            let (peer, id) = (stored.peer, stored.conversation.id());
            match stored.conversation.has_quit() {
                true => {
                    self.admission.remember_end(peer, id, now());
                    let abandoned = Abandoned::of(peer, &stored.conversation);
                    if abandoned.unacknowledged.is_some() || abandoned.untaken.is_some() {
                        self.tell(ServerEvent::Ended(abandoned));
                        let end = stored.conversation.tombstone();
                        // What fails here is told of again at the next start.
                        let _ = stored.record.store(&end, false, 0);
                    }
                }
                false => self.admission.restore(peer, id, stored.clienthello),
            }
        }
        let is_held =
            |s: &Stored| s.is_live && self.admission.is_open(&s.peer, s.conversation.id());
        let held = stored.iter().rposition(is_held);
        let held = held.filter(|_| self.settings.one_at_a_time);
        // Nobody sits at a conversation whose peer would have to be asked about.
        let is_admitted = |s: &Stored| (self.settings.verdict)(&s.peer) == Verdict::Admit;
        let held = held.filter(|place| stored.get(*place).is_some_and(is_admitted));
        let open = |(_, stored): &(_, Stored)| !stored.conversation.has_quit();
        for (place, stored) in stored.into_iter().enumerate().filter(open) {
            if held == Some(place) {
                let (hub, channels) = self.expect_connection();
                self.admission
                    .hold(hub.id, stored.peer, stored.conversation.id());
                let limits = self.settings.limits;
                self.tasks
                    .spawn(connection::wait(stored, limits, hub, channels));
            } else {
                let Stored {
                    record,
                    peer,
                    conversation,
                    ..
                } = stored;
                self.keep_parked(peer, conversation, Arc::new(record));
            }
        }
    }

    fn keep_parked(&mut self, key: KeyId, conversation: Conversation, record: Arc<Record>) {
        self.parkings += 1;
        let named = (key, conversation.id());
        let parked = Parked {
            conversation,
            record,
            place: self.parkings,
        };
        self.parked.insert(named, parked);
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
                Some(abandoned) => {
                    self.tell(ServerEvent::GaveUp(abandoned));
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
        while self.parked.len() > self.settings.limits.parked {
            let oldest = self.parked.iter().min_by_key(|(_, parked)| parked.place);
            let Some((key, id)) = oldest.map(|(named, _)| *named) else {
                return;
            };
            self.admission.unpark(key, id);
            if let Some(parked) = self.parked.remove(&(key, id))
                && let Some(abandoned) = self.end(key, id, &parked).await
            {
                self.tell(ServerEvent::Expired(abandoned));
            }
        }
    }

    /// Of a conversation that is over. Where nobody takes events, the newest are dropped.
    fn tell(&self, event: ServerEvent) {
        let _ = self.outlets.events.try_send(event);
    }

    /// Leaves of a parked conversation what its end needs; `None` where that
    /// cannot be stored.
    async fn end(&mut self, key: KeyId, id: ConversationId, parked: &Parked) -> Option<Abandoned> {
        let mut conversation = parked.conversation.clone();
        conversation.quit();
        let abandoned = Abandoned::of(key, &conversation);
        let may_return = !conversation.is_acknowledged();
        let record = Arc::clone(&parked.record);
        let storing = spawn_blocking(move || match may_return {
            true => record.store(&conversation.tombstone(), false, 0),
            false => record.remove(),
        });
        storing.await.ok()?.ok()?;
        // Whatever the record says: a `hello` for it may still be held back.
        self.admission.remember_end(key, id, now());
        Some(abandoned)
    }

    /// Of those who came to nothing; what was lost in a conversation always finds room.
    fn mention(&self, event: ServerEvent) {
        if self.outlets.events.capacity() > MENTIONS {
            let _ = self.outlets.events.try_send(event);
        }
    }

    async fn handle_event(&mut self, id: ConnectionId, event: ConnectionEvent) {
        let instructions = match event {
            ConnectionEvent::Hello(hello) => self.hello(id, hello),
            ConnectionEvent::Welcomed(talk) => {
                self.admission.begin(id);
                let _ = self.outlets.talks.send(talk).await;
                return;
            }
            ConnectionEvent::Quit => self.admission.quit(id, now()),
            ConnectionEvent::Remains(key, conversation, rest) => {
                self.rest(key, conversation, rest);
                // One that its peer has begun another after is not kept.
                self.end_given_up().await;
                return self.end_excess().await;
            }
            ConnectionEvent::Left(error) => {
                self.connections.remove(&id);
                if let Some(error) = error {
                    self.mention(ServerEvent::Failed(error));
                }
                self.admission.leave(id)
            }
        };
        self.give(instructions).await;
    }

    fn hello(&mut self, id: ConnectionId, hello: Hello) -> Instructions {
        let key = hello.peer.key();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.key = Some(key);
        }
        let verdict = match (self.settings.verdict)(&key) {
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

    async fn give(&mut self, instructions: Instructions) {
        // An end is on the disk before anybody is told of it.
        let unstored = self.end_given_up().await;
        for (id, mut instruction) in instructions {
            let Some(connection) = self.connections.get(&id) else {
                continue;
            };
            if connection.key.is_some_and(|key| unstored.contains(&key)) {
                instruction = Instruction::Close;
            }
            let messages = connection.messages.clone();
            if let (Instruction::Refuse(reason), Some(key)) = (&instruction, connection.key) {
                let reason = *reason;
                self.mention(ServerEvent::Refused { key, reason });
            }
            let message = match instruction {
                Instruction::Resume { with, heard } => self.connections.get(&with).map_or(
                    HubMessage::Instruction(Instruction::Close),
                    |held| HubMessage::Join {
                        conversation: held.arrivals.clone(),
                        heard,
                    },
                ),
                Instruction::Welcome(admitted) => HubMessage::Begin(Box::new(self.begin(admitted))),
                instruction => HubMessage::Instruction(instruction),
            };
            // One that does not keep up with its messages has to go.
            if let Err(error) = messages.try_send(message) {
                self.connections.remove(&id);
                if let HubMessage::Begin(beginning) = error.into_inner() {
                    let (key, id) = (beginning.admitted.peer.key(), beginning.conversation.id());
                    self.rest(key, id, beginning.kept());
                }
            }
        }
    }

    /// What is left of a conversation that is not gone on with now.
    fn rest(&mut self, key: KeyId, conversation: ConversationId, rest: Remains) {
        match rest {
            Remains::Nothing => {}
            Remains::End => self.admission.remember_end(key, conversation, now()),
            Remains::Parked(parked, record) => {
                self.admission.park(key, conversation);
                self.keep_parked(key, parked, record);
            }
        }
    }

    fn begin(&mut self, admitted: Admitted) -> Beginning {
        let (key, id) = (admitted.peer.key(), admitted.conversation);
        let (conversation, record) = match self.parked.remove(&(key, id)) {
            Some(parked) => (parked.conversation, Some(parked.record)),
            None => {
                let record = self
                    .journal
                    .as_ref()
                    .map(|journal| journal.server(&key, id));
                let heard_when = match record {
                    Some(_) => HeardWhen::Stored,
                    None => HeardWhen::Taken,
                };
                let conversation = Conversation::new(Role::Server, id, heard_when);
                (conversation, record.map(Arc::new))
            }
        };
        Beginning {
            admitted,
            conversation,
            record,
        }
    }

    fn publish(&mut self) {
        self.asking = self.asking.filter(|key| self.admission.is_asking(key));
        let candidates = Candidates {
            next: self.admission.next(),
            question: self.admission.question(now()),
            asking: self.asking,
        };
        self.outlets
            .candidates
            .send_if_modified(|published| std::mem::replace(published, candidates) != candidates);
        let crowded = self.admission.is_crowded();
        self.crowded
            .send_if_modified(|published| std::mem::replace(published, crowded) != crowded);
    }

    async fn close(mut self) {
        let instructions = self.admission.close();
        self.give(instructions).await;
        // A connection that has no more instructions to expect lets go.
        self.connections.clear();
        let all_gone = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(2 * self.settings.limits.close_time, all_gone).await;
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
