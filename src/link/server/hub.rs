//! [`Hub`]: the task behind a [`Server`](super::Server). It owns [`Admission`] and the parked
//! conversations, and passes instructions on to the connections.

mod shared;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::field::display;
use tracing::{debug, info};

use super::admission::{
    Admission, ConnectionId, ConversationName, Entry, Hello, Instruction, Order, Orders, Verdict,
    Why,
};
use super::connection::{self, Entrance, HubHandle};
use super::conversation::Live;
use super::event::{News, ServerEvent};
use super::hub_event::{ConnectionEvent, Entering, Handed, HubEvent, Remains, Task};
use super::question::{Candidate, Questions};
use super::tickets::Tickets;
use super::timers::Timers;
use crate::link::abandoned::Abandoned;
use crate::link::crowding::Crowding;
use crate::link::error::{ConnectionError, LinkError, chain};
use crate::link::handshake::Tls;
use crate::link::session::{Greeting, NotAccepted};
use crate::link::store::{Inventory, Record, RecordName, Store, StoreError, Stored};
use crate::link::turn::Talk;
use crate::link::untold::Untold;
use crate::link::wire::Wire;
use crate::protocol::{Conversation, Frame, HeardWhen, Limits, Reason, Role, Violation};
use crate::trust::{KeyId, Peer};

/// How long to wait after a failed accept, most often for want of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// A server's settings.
pub(super) struct Settings {
    pub(super) entrance: Entrance,
    /// Each connection has them until it is let in: they are large.
    pub(super) limits: Arc<Limits>,
    pub(super) one_at_a_time: bool,
    pub(super) questions: Questions,
}

/// What the server's user wants of its hub.
pub(super) enum Request {
    /// So many more conversations may begin.
    Seats(usize),
    /// This key is not let in any more.
    Expel(KeyId),
    /// No conversation begins any more.
    Close,
    Stop,
}

/// The task that keeps [`Admission`] and gives its orders out.
pub(super) struct Hub<S> {
    settings: Settings,
    store: Option<Arc<dyn Store>>,
    /// Other servers have it, too. What is not on here is not known here: it stands in the store,
    /// and whoever enters claims it there.
    is_shared: bool,
    admission: Admission,
    timers: Timers,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Those that were told to go at once. They hold a descriptor until they have
    /// gone, and nobody else is accepted before that (PROTOCOL 5.4).
    going: BTreeSet<ConnectionId>,
    live: BTreeMap<ConversationName, Live<S>>,
    /// Connections for a conversation that is just ending or being parked; they are answered
    /// after that.
    early: BTreeMap<ConversationName, (ConnectionId, Entering<S>)>,
    /// Whose `hello` is being answered, and whether it is let in.
    answering: Option<(ConnectionId, bool)>,
    parked: BTreeMap<ConversationName, Parked>,
    /// The records of the ends that are remembered.
    ended: BTreeMap<ConversationName, Arc<Record>>,
    tasks: JoinSet<()>,
    events: mpsc::UnboundedSender<HubEvent<S>>,
    /// Whose whole ClientHello has come: it wakes nobody.
    greeted: (
        mpsc::UnboundedSender<ConnectionId>,
        mpsc::UnboundedReceiver<ConnectionId>,
    ),
    tickets: Arc<Tickets>,
    accepted: u64,
    outlets: Outlets,
    is_crowded: bool,
    /// The same, for the conversations that mind.
    crowding: Arc<Crowding>,
}

/// A conversation that can go on later.
struct Parked {
    conversation: Conversation,
    record: Arc<Record>,
}

/// The channels to the server's user.
pub(super) struct Outlets {
    /// `None`: no conversation begins any more.
    pub(super) talks: Option<mpsc::UnboundedSender<Talk>>,
    /// Who is first in the queue.
    pub(super) next: watch::Sender<Option<KeyId>>,
    pub(super) events: mpsc::Sender<News>,
}

struct Connection {
    address: Option<IpAddr>,
    instructions: mpsc::UnboundedSender<Instruction>,
    key: Option<KeyId>,
}

/// Events that wait to be told of; half of the places are for what was lost.
pub(super) const EVENTS: usize = 64;
const MENTIONS: usize = EVENTS / 2;

impl<S> Hub<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// A hub that takes up what the journal holds, and what it has to do first.
    pub(super) async fn new(
        settings: Settings,
        inventory: Inventory,
        outlets: Outlets,
        events: mpsc::UnboundedSender<HubEvent<S>>,
    ) -> (Self, Orders) {
        let mut orders = Orders::new();
        let Inventory {
            store,
            stored,
            expired,
            excess,
            unreadable,
        } = inventory;
        let is_shared = store.as_ref().is_some_and(|store| store.is_shared());
        let admission = Admission::new(&settings.limits, settings.one_at_a_time);
        let mut hub = Self {
            admission: match is_shared {
                true => admission.shared(),
                false => admission,
            },
            timers: Timers::default(),
            settings,
            tickets: Arc::new(Tickets::of(store.clone())),
            store,
            is_shared,
            connections: BTreeMap::new(),
            going: BTreeSet::new(),
            live: BTreeMap::new(),
            early: BTreeMap::new(),
            answering: None,
            parked: BTreeMap::new(),
            ended: BTreeMap::new(),
            tasks: JoinSet::new(),
            events,
            greeted: mpsc::unbounded_channel(),
            accepted: 0,
            outlets,
            is_crowded: false,
            crowding: Arc::default(),
        };
        for (name, error) in unreadable {
            if let Some(RecordName::Server(key, id)) = name {
                orders.extend(hub.admission.unreadable((key, id)));
            }
            hub.tell(ServerEvent::Unreadable(error), None);
        }
        hub.expire(&expired).await;
        hub.forget_ends(&excess).await;
        orders.extend(hub.restore(stored));
        (hub, orders)
    }

    /// Receives and gives orders, until it is told to stop or nobody is there
    /// to tell it.
    pub(super) async fn run<A, F>(
        mut self,
        first: Orders,
        mut accept: A,
        mut requests: mpsc::UnboundedReceiver<Request>,
        mut events: mpsc::UnboundedReceiver<HubEvent<S>>,
    ) where
        A: FnMut() -> F + Send + 'static,
        F: Future<Output = io::Result<(S, Option<IpAddr>)>> + Send + 'static,
    {
        let mut arrival = || {
            let accepting = accept();
            async {
                let arrived = accepting.await;
                if arrived.is_err() {
                    sleep(ACCEPT_REST).await;
                }
                arrived.ok()
            }
        };
        let mut arriving = pin!(arrival());
        let mut alarm = pin!(sleep_until(Instant::now()));
        self.give(first).await;
        loop {
            self.publish();
            let wake_at = self.timers.next();
            if let Some(at) = wake_at.filter(|at| *at != alarm.deadline()) {
                alarm.as_mut().reset(at);
            }
            tokio::select! {
                arrived = &mut arriving, if self.going.is_empty() => {
                    arriving.set(arrival());
                    if let Some((stream, address)) = arrived {
                        self.receive(stream, address).await;
                    }
                }
                Some(event) = events.recv() => self.handle_event(event).await,
                Some(_) = self.tasks.join_next() => {}
                (key, verdict) = self.settings.questions.answered() => {
                    let orders = self.admission.answer(&key, verdict);
                    self.give(orders).await;
                }
                () = &mut alarm, if wake_at.is_some() => {
                    while let Some(timer) = self.timers.fire() {
                        let orders = self.admission.fired(timer);
                        self.give(orders).await;
                    }
                }
                request = requests.recv() => match request {
                    Some(Request::Seats(more)) => {
                        let orders = self.admission.seats(more);
                        self.give(orders).await;
                    }
                    Some(Request::Expel(key)) => {
                        let orders = self.admission.expel(&key);
                        self.give(orders).await;
                    }
                    Some(Request::Close) => self.close().await,
                    Some(Request::Stop) => return self.stop().await,
                    None => return,
                },
            }
        }
    }

    async fn receive(&mut self, stream: S, address: Option<IpAddr>) {
        let id = ConnectionId(self.accepted);
        self.accepted += 1;
        debug!(connection = id.0, from = address.map(display), "accepted");
        let (instructions, instructed) = mpsc::unbounded_channel();
        let connection = Connection {
            address,
            instructions,
            key: None,
        };
        self.connections.insert(id, connection);
        let hub = self.handle(id);
        let entrance = self.settings.entrance.clone();
        let limits = Arc::clone(&self.settings.limits);
        self.tasks.spawn(connection::receive(
            stream, address, entrance, limits, hub, instructed,
        ));
        // Only now does it matter.
        while let Ok(id) = self.greeted.1.try_recv() {
            self.admission.greeted(id);
        }
        let orders = self.admission.arrive(id, address);
        self.give(orders).await;
    }

    fn handle(&self, id: ConnectionId) -> HubHandle<S> {
        HubHandle {
            id,
            events: self.events.clone(),
            greeted: self.greeted.0.clone(),
            tickets: Arc::clone(&self.tickets),
        }
    }

    /// Gives up what has waited too long.
    async fn expire(&mut self, expired: &[Stored]) {
        for stored in expired {
            let (record, conversation) = (&stored.record, &stored.conversation);
            let expired = Untold::expired(stored.peer, record, conversation);
            let (abandoned, untold) = expired.await;
            match (conversation.has_quit(), &untold) {
                (true, None) => {}
                (true, Some(_)) => self.tell(ServerEvent::Ended(abandoned), untold),
                (false, _) => self.tell(ServerEvent::Expired(abandoned), untold),
            }
        }
    }

    /// Tells of what nobody has asked for, once more and for the last time.
    async fn forget_ends(&mut self, excess: &[Stored]) {
        for stored in excess {
            let (record, conversation) = (&stored.record, &stored.conversation);
            let expired = Untold::expired(stored.peer, record, conversation);
            if let (abandoned, Some(untold)) = expired.await {
                self.tell(ServerEvent::Ended(abandoned), None);
                untold.told().await;
            }
        }
    }

    /// Takes up what the journal holds, in the order in which the peers last came.
    fn restore(&mut self, stored: Vec<Stored>) -> Orders {
        let mut orders = Orders::new();
        for stored in &stored {
            let (peer, conversation) = (stored.peer, &stored.conversation);
            let name = (peer, conversation.id());
            if !conversation.has_quit() {
                orders.extend(
                    self.admission
                        .restore(name, stored.clienthello, stored.age()),
                );
                continue;
            }
            orders.extend(self.end(name, Some(Arc::clone(&stored.record))));
            if let Some((abandoned, untold)) = Untold::ended(peer, &stored.record, conversation) {
                self.tell(ServerEvent::Ended(abandoned), Some(untold));
            }
        }
        let name = |s: &Stored| (s.peer, s.conversation.id());
        let is_held = |s: &Stored| s.is_live && self.admission.is_open(&name(s));
        let held = stored.iter().rposition(is_held);
        let held = held.filter(|_| self.settings.one_at_a_time);
        // A conversation gets no seat if the user would have to be asked about its peer.
        let candidate = |s: &Stored| Candidate {
            key: s.peer,
            address: None,
            conversation: s.conversation.id(),
            is_returning: true,
            others: 0,
        };
        let candidate = held.and_then(|place| stored.get(place)).map(candidate);
        let verdict = candidate.and_then(|candidate| self.settings.questions.ask(candidate));
        let held = held.filter(|_| verdict == Some(Verdict::Admit));
        let open = |(_, stored): &(_, Stored)| !stored.conversation.has_quit();
        for (place, stored) in stored.into_iter().enumerate().filter(open) {
            let name = name(&stored);
            let Stored {
                record,
                peer,
                conversation,
                clienthello,
                ..
            } = stored;
            if held == Some(place) {
                orders.extend(self.admission.hold(name));
                let (live, talk) = self.live(Peer::remembered(peer), conversation, Some(record));
                live.driver.hold(clienthello);
                self.keep(name, live, talk, None);
            } else {
                self.parked.insert(
                    name,
                    Parked {
                        conversation,
                        record,
                    },
                );
            }
        }
        orders
    }

    fn live(
        &self,
        peer: Peer,
        conversation: Conversation,
        record: Option<Arc<Record>>,
    ) -> (Live<S>, Talk) {
        let crowding = Arc::clone(&self.crowding);
        Live::new(peer, conversation, record, &self.settings.limits, crowding)
    }

    fn keep(&mut self, name: ConversationName, mut live: Live<S>, talk: Talk, task: Option<Task>) {
        live.keep(name, task, &mut self.tasks, self.events.clone());
        self.live.insert(name, live);
        // Nobody takes it only when the server is let go of.
        let _ = self.outlets.talks.as_ref().map(|talks| talks.send(talk));
    }

    /// Of a conversation that is over. Where nobody takes events, the newest are dropped; what
    /// was to be read is told of at the next start.
    fn tell(&self, event: ServerEvent, untold: Option<Untold>) {
        let _ = self.outlets.events.try_send(News { event, untold });
    }

    /// A conversation is over, and this is its record, if it has one.
    fn end(&mut self, name: ConversationName, record: Option<Arc<Record>>) -> Orders {
        // A store that others have forgets ends by itself.
        let record = record.filter(|_| !self.is_shared);
        self.ended.extend(record.map(|record| (name, record)));
        self.admission.ended(name)
    }

    /// Tells of a connection without a conversation, unless that would leave no room for
    /// abandoned conversations.
    fn mention(&self, event: ServerEvent) {
        if self.outlets.events.capacity() > MENTIONS {
            self.tell(event, None);
        }
    }

    async fn handle_event(&mut self, event: HubEvent<S>) {
        let orders = match event {
            HubEvent::Connection(id, event) => match event {
                ConnectionEvent::Hello(hello, handed) => {
                    return self.hello(id, *hello, handed).await;
                }
                // It may stand in the store: it ends once it is claimed.
                ConnectionEvent::Quit if self.is_shared => return,
                ConnectionEvent::Quit => self.admission.quit(id),
                ConnectionEvent::Entered(wire, has_quit) => {
                    self.forget(id);
                    let task = None;
                    self.enter(
                        id,
                        Entering {
                            wire,
                            has_quit,
                            task,
                        },
                        None,
                    )
                }
                ConnectionEvent::Claimed(claimed) => {
                    let (entering, claimed) = *claimed;
                    self.claimed(id, entering, claimed)
                }
                ConnectionEvent::Left(error) => {
                    let from = self.forget(id).map(display);
                    if let Some(error) = error {
                        info!(connection = id.0, from, why = chain(&*error), "failed");
                        self.mention(ServerEvent::Failed(*error));
                    }
                    self.admission.leave(id)
                }
            },
            HubEvent::Over(name, remains) => {
                if let Some(live) = self.live.remove(&name) {
                    live.driver.forgotten();
                }
                let mut orders = match remains {
                    Remains::Nothing => self.admission.taken_over(name),
                    // Its task has failed, and what the record says nobody knows.
                    Remains::End(None) if self.store.is_some() => self.admission.taken_over(name),
                    Remains::End(record) => self.end(name, record),
                    Remains::Parked(conversation, record) => {
                        let conversation = *conversation;
                        let parked = Parked {
                            conversation,
                            record,
                        };
                        self.park(name, parked)
                    }
                };
                if let Some((id, entering)) = self.early.remove(&name) {
                    orders.extend(self.enter(id, entering, None));
                }
                orders
            }
        };
        self.give(orders).await;
    }

    /// A conversation can go on later.
    fn park(&mut self, name: ConversationName, parked: Parked) -> Orders {
        self.parked.insert(name, parked);
        let mut orders = self.admission.parked(name);
        if self.is_shared && self.admission.is_open(&name) {
            // Wherever its peer comes.
            self.parked.remove(&name);
            orders.extend(self.admission.forget(name));
        }
        orders
    }

    /// A connection is gone; from where it came.
    fn forget(&mut self, id: ConnectionId) -> Option<IpAddr> {
        self.going.remove(&id);
        self.connections.remove(&id)?.address
    }

    async fn hello(&mut self, id: ConnectionId, hello: Hello, handed: Handed<S>) {
        let orders = self.judge(id, hello);
        self.answering = Some((id, false));
        self.give(orders).await;
        if let Some((_, true)) = self.answering.take() {
            self.forget(id);
            let entering = Entering {
                wire: handed.wire,
                has_quit: false,
                task: handed.task,
            };
            let orders = self.enter(id, entering, None);
            self.give(orders).await;
        } else {
            let handle = self.handle(id);
            self.tasks.spawn(connection::wait(handed, handle));
        }
    }

    fn judge(&mut self, id: ConnectionId, hello: Hello) -> Orders {
        let key = hello.peer.key();
        let Some(connection) = self.connections.get_mut(&id) else {
            return Orders::new();
        };
        connection.key = Some(key);
        let from = connection.address.map(display);
        info!(connection = id.0, %key, from, conversation = %hello.conversation, "hello");
        self.settings.entrance.door.hello(&key);
        let verdict = self.settings.questions.ask(Candidate {
            key,
            address: connection.address,
            conversation: hello.conversation,
            is_returning: self.admission.is_open(&hello.name()),
            others: self.admission.others(&hello.name()),
        });
        self.admission.hello(id, hello, verdict)
    }

    /// A connection was let in, and hands itself over: the one way in. `claimed`: what it has
    /// claimed in a store that others have, too.
    fn enter(
        &mut self,
        id: ConnectionId,
        entering: Entering<S>,
        claimed: Option<(Arc<Record>, Conversation)>,
    ) -> Orders {
        let (hello, is_live) = match self.admission.entry(id) {
            Entry::Begin(hello) => (hello, false),
            Entry::GoOn(hello) => (hello, true),
            Entry::Ended => {
                let reason = Reason::Ended;
                return self.close_with(id, entering.wire, Frame::Refuse { reason }, None);
            }
            Entry::Again(key) => return self.wait_again(id, key, entering),
            Entry::None => return self.admission.leave(id),
        };
        match (claimed, self.store.clone()) {
            (None, Some(store)) if self.is_shared => {
                self.claim(id, &hello, entering, store);
                Orders::new()
            }
            _ if is_live => self.go_on(id, &hello, entering),
            (Some((record, conversation)), _) => {
                self.begin(id, hello, entering, conversation, Some(record))
            }
            (None, store) => {
                let name = hello.name();
                let (conversation, record) = match self.parked.get(&name) {
                    Some(parked) => (
                        parked.conversation.clone(),
                        Some(Arc::clone(&parked.record)),
                    ),
                    None => new(name, store),
                };
                self.begin(id, hello, entering, conversation, record)
            }
        }
    }

    /// It is on, or held.
    fn go_on(&mut self, id: ConnectionId, hello: &Hello, entering: Entering<S>) -> Orders {
        let Entering { wire, has_quit, .. } = entering;
        let greeting = greeting(hello, has_quit);
        let live = self.live.get(&hello.name());
        let refused = live.and_then(|live| live.driver.accept(wire, greeting).err());
        match refused {
            Some((wire, NotAccepted::Ending)) => {
                let task = None;
                self.come_early(
                    id,
                    hello.name(),
                    Entering {
                        wire,
                        has_quit,
                        task,
                    },
                )
            }
            Some((wire, NotAccepted::Violation(violation))) => self.turn_away(id, wire, violation),
            None => self.admission.leave(id),
        }
    }

    /// It begins, or goes on from here.
    fn begin(
        &mut self,
        id: ConnectionId,
        hello: Hello,
        entering: Entering<S>,
        conversation: Conversation,
        record: Option<Arc<Record>>,
    ) -> Orders {
        let Entering {
            wire,
            has_quit,
            task,
        } = entering;
        let greeting = greeting(&hello, has_quit);
        // Where it cannot be, nothing has changed (PROTOCOL 4.4).
        if let Err(violation) = conversation.check_counters(greeting.heard) {
            return self.turn_away(id, wire, violation);
        }
        let name = hello.name();
        info!(connection = id.0, key = %name.0, conversation = %name.1, "let in");
        let (live, talk) = self.live(hello.peer, conversation, record);
        if live.driver.accept(wire, greeting).is_err() {
            return self.admission.leave(id);
        }
        self.parked.remove(&name);
        let orders = self.admission.begin(id);
        self.keep(name, live, talk, task);
        orders
    }

    /// Its conversation is just ending, or being parked.
    fn come_early(
        &mut self,
        id: ConnectionId,
        name: ConversationName,
        entering: Entering<S>,
    ) -> Orders {
        let earlier = self.early.insert(name, (id, entering));
        earlier.map_or(Orders::new(), |(earlier, _)| self.admission.leave(earlier))
    }

    /// A connection goes back to where it waits behind its `hello`.
    fn wait_again(&mut self, id: ConnectionId, key: KeyId, entering: Entering<S>) -> Orders {
        let Entering { wire, has_quit, .. } = entering;
        let (instructions, instructed) = mpsc::unbounded_channel();
        let connection = Connection {
            address: None,
            instructions,
            key: Some(key),
        };
        self.connections.insert(id, connection);
        let handed = Handed {
            wire,
            has_quit,
            instructions: instructed,
            task: None,
        };
        let handle = self.handle(id);
        self.tasks.spawn(connection::wait(handed, handle));
        let mut orders = self.admission.again(id);
        if has_quit && !self.is_shared {
            orders.extend(self.admission.quit(id));
        }
        orders
    }

    /// What a conversation does not take.
    fn turn_away(
        &mut self,
        id: ConnectionId,
        wire: Box<Wire<Tls<S>>>,
        violation: Violation,
    ) -> Orders {
        let error = LinkError::from(violation);
        match error.farewell() {
            Some(last) => self.close_with(id, wire, last, Some(error)),
            None => self.admission.leave(id),
        }
    }

    /// Closes a connection in the background, with a last frame. It counts until it is closed.
    fn close_with(
        &mut self,
        id: ConnectionId,
        wire: Box<Wire<Tls<S>>>,
        last: Frame,
        error: Option<LinkError>,
    ) -> Orders {
        let events = self.events.clone();
        let (instructions, mut instructed) = mpsc::unbounded_channel();
        let connection = Connection {
            address: None,
            instructions,
            key: None,
        };
        self.connections.insert(id, connection);
        self.tasks.spawn(async move {
            connection::close(wire, last, &mut instructed).await;
            let error = error.map(|error| Box::new(ConnectionError::from(error)));
            let _ = events.send(HubEvent::Connection(id, ConnectionEvent::Left(error)));
        });
        self.admission.turn_away(id)
    }

    async fn give(&mut self, orders: Orders) {
        let mut orders = VecDeque::from(orders);
        let mut unstored = Vec::new();
        while let Some(order) = orders.pop_front() {
            match order {
                Order::Tell(id, instruction) => self.instruct(id, instruction, &unstored),
                Order::Supersede(name) => {
                    if let Some(live) = self.live.get(&name) {
                        live.driver.supersede();
                    }
                }
                Order::Expel(name) => {
                    if let Some(live) = self.live.get(&name) {
                        live.driver.expel();
                    }
                }
                Order::GiveUp {
                    name,
                    why,
                    clienthello,
                } => {
                    let Some(parked) = self.parked.remove(&name) else {
                        continue;
                    };
                    if self.is_shared {
                        self.give_up_anywhere(name, parked, why);
                        continue;
                    }
                    let conversation = parked.conversation.clone();
                    let told = match Untold::end(name.0, &parked.record, conversation).await {
                        Ok((abandoned, untold)) => {
                            self.tell(given_up(why, abandoned), untold);
                            // Whatever the record says: a `hello` may still be held back.
                            self.end(name, Some(parked.record))
                        }
                        Err(error) => {
                            unstored.push(name.0);
                            if error == StoreError::TakenOver {
                                self.admission.taken_over(name)
                            } else {
                                self.parked.insert(name, parked);
                                self.admission.kept(name, clienthello)
                            }
                        }
                    };
                    told.into_iter()
                        .rev()
                        .for_each(|order| orders.push_front(order));
                }
                Order::Forget(name) => {
                    // What cannot be removed is so at the next start, when it is too old.
                    if let Some(record) = self.ended.remove(&name) {
                        self.tasks.spawn(async move { _ = record.forget().await });
                    }
                }
                Order::Arm(timer, delay) => self.timers.arm(timer, delay),
                Order::Disarm(timer) => self.timers.disarm(timer),
            }
        }
    }

    fn instruct(&mut self, id: ConnectionId, instruction: Instruction, unstored: &[KeyId]) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        // An end is on the disk before anybody is told of it (PROTOCOL 4.7).
        let is_unstored = connection.key.is_some_and(|key| unstored.contains(&key));
        let instruction = match is_unstored {
            true => Instruction::Close,
            false => instruction,
        };
        if let (Instruction::Refuse(reason), Some(key)) = (instruction, connection.key) {
            let from = connection.address.map(display);
            info!(connection = id.0, %key, from, reason = reason.word(), "refused");
            self.mention(ServerEvent::Refused { key, reason });
        }
        if let (Instruction::Enter, Some((answering, is_let_in))) =
            (instruction, &mut self.answering)
            && *answering == id
        {
            *is_let_in = true;
            return;
        }
        let has_to_go = instruction == Instruction::Close;
        // Whoever has left says so.
        if connection.instructions.send(instruction).is_ok() && has_to_go {
            let from = connection.address.map(display);
            let why = "it had to make room, or a newer one has come";
            info!(connection = id.0, from, why, "failed");
            self.going.insert(id);
        }
    }

    fn publish(&mut self) {
        let admission = &self.admission;
        self.settings
            .questions
            .retain(|key| admission.is_asking(key));
        let next = admission.next();
        self.outlets
            .next
            .send_if_modified(|published| std::mem::replace(published, next) != next);
        let is_crowded = self.admission.is_crowded();
        if std::mem::replace(&mut self.is_crowded, is_crowded) != is_crowded {
            for name in self.crowding.set(is_crowded) {
                if let Some(live) = self.live.get(&name) {
                    live.driver.crowded();
                }
            }
        }
    }

    async fn close(&mut self) {
        self.settings.entrance.door.close();
        let orders = self.admission.close();
        self.give(orders).await;
        self.outlets.talks = None;
    }

    async fn stop(mut self) {
        self.close().await;
        // A connection that has no more instructions to expect lets go.
        self.connections.clear();
        self.live.values().for_each(|live| live.driver.cut_off());
        let all_gone = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(2 * self.settings.limits.close_time, all_gone).await;
    }
}

/// What the server's user is told of a parked conversation that is over.
fn given_up(why: Why, abandoned: Abandoned) -> ServerEvent {
    let (key, conversation) = (&abandoned.key, &abandoned.conversation);
    info!(%conversation, peer = %key, "given up");
    match why {
        Why::Peer => ServerEvent::GaveUp(abandoned),
        Why::Age => ServerEvent::Expired(abandoned),
        Why::Expelled => ServerEvent::Expelled(abandoned),
    }
}

fn greeting(hello: &Hello, has_quit: bool) -> Greeting {
    Greeting {
        heard: hello.heard,
        has_quit,
        clienthello: hello.clienthello,
    }
}

/// A conversation that begins, and where it is kept.
fn new(
    name: ConversationName,
    store: Option<Arc<dyn Store>>,
) -> (Conversation, Option<Arc<Record>>) {
    let record = store.map(|store| {
        let name = RecordName::Server(name.0, name.1);
        Arc::new(Record::of_new(store, name))
    });
    let heard_when = match record {
        Some(_) => HeardWhen::Stored,
        None => HeardWhen::Taken,
    };
    let conversation = Conversation::new(Role::Server, name.1, heard_when);
    (conversation, record)
}
