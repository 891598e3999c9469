//! [`State`]: a server's connections and conversations, and what becomes of them. It
//! owns [`Admission`], asks it, and carries out its orders.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::field::display;
use tracing::{debug, info};

use crate::link::abandoned::Abandoned;
use crate::link::crowding::Crowding;
use crate::link::driver::Keeper;
use crate::link::error::{ConnectionError, LinkError, chain};
use crate::link::handshake::Tls;
use crate::link::server::admission::{
    Admission, ConnectionId, ConversationName, Entry, Hello, Instruction, Order, Orders, Verdict,
    Why,
};
use crate::link::server::answer::{Answer, Entering, HubEvent, Parting, Remains, Waiting};
use crate::link::server::conversation::Live;
use crate::link::server::event::{News, ServerEvent};
use crate::link::server::question::{Candidate, Questions};
use crate::link::server::seats::Seats;
use crate::link::server::timers::Timers;
use crate::link::session::{Greeting, NotAccepted};
use crate::link::store::{Inventory, Record, RecordName, Store, StoreError, Stored};
use crate::link::turn::Talk;
use crate::link::untold::Untold;
use crate::link::wire::Wire;
use crate::protocol::{Conversation, Frame, HeardWhen, Limits, Reason, Role, Violation};
use crate::trust::{KeyId, Peer};

pub(in crate::link::server) struct State<S> {
    pub(super) limits: Arc<Limits>,
    one_at_a_time: bool,
    questions: Questions,
    store: Option<Arc<dyn Store>>,
    /// Other servers have it, too. What is not on here is not known here: it stands in the store,
    /// and whoever enters claims it there.
    is_shared: bool,
    pub(super) admission: Admission,
    timers: Timers,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Those that were told to go at once. They hold a descriptor until they have
    /// gone, and nobody else is accepted before that (PROTOCOL 5.4).
    going: BTreeSet<ConnectionId>,
    pub(super) live: BTreeMap<ConversationName, Live<S>>,
    /// Connections for a conversation that is just ending or being parked: each is told when
    /// that is done.
    early: BTreeMap<ConversationName, oneshot::Sender<()>>,
    parked: BTreeMap<ConversationName, Parked>,
    /// The records of the ends that are remembered.
    ended: BTreeMap<ConversationName, Arc<Record>>,
    pub(super) tasks: JoinSet<()>,
    accepted: u64,
    pub(super) outlets: Outlets,
    is_crowded: bool,
    /// The same, for the conversations that mind.
    crowding: Arc<Crowding>,
    /// What the server's own task waits for, as far as it knows.
    look: Look,
    hub: Weak<dyn Tell>,
}

/// What is told to whoever has the state.
pub(super) trait Tell: Send + Sync {
    /// What is left of a conversation.
    fn over(&self, name: ConversationName, remains: Remains);

    /// The server's user has answered a question, in this task.
    fn answered(
        &self,
        key: KeyId,
        verdict: Verdict,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The channels to the server's user.
pub(in crate::link::server) struct Outlets {
    /// `None`: no conversation begins any more.
    pub(in crate::link::server) talks: Option<mpsc::UnboundedSender<Talk>>,
    /// Who is first in the queue.
    pub(in crate::link::server) next: watch::Sender<Option<KeyId>>,
    pub(in crate::link::server) events: mpsc::Sender<News>,
}

/// Events that wait to be told of; half of the places are for what was lost.
pub(in crate::link::server) const EVENTS: usize = 64;
const MENTIONS: usize = EVENTS / 2;

/// What the server's own task waits for.
#[derive(Clone, Copy, Default)]
pub(in crate::link::server) struct Look {
    /// When the first timer fires.
    pub(in crate::link::server) wake_at: Option<Instant>,
    /// Whether a connection may be accepted.
    pub(in crate::link::server) may_accept: bool,
}

/// A conversation that can go on later.
pub(super) struct Parked {
    pub(super) conversation: Conversation,
    pub(super) record: Arc<Record>,
}

struct Connection {
    address: Option<IpAddr>,
    key: Option<KeyId>,
    way: Way,
}

/// How a connection is told to do something.
enum Way {
    /// It has not said `hello`, and can only be made to go: this is its task.
    Task(AbortHandle),
    /// Its `hello` is just being answered, with this.
    Answer(Vec<Instruction>),
    Channel(mpsc::UnboundedSender<Instruction>),
}

impl<S> State<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    pub(super) fn new(
        limits: Arc<Limits>,
        one_at_a_time: bool,
        questions: Questions,
        store: Option<Arc<dyn Store>>,
        outlets: Outlets,
        hub: Weak<dyn Tell>,
    ) -> Self {
        let is_shared = store.as_ref().is_some_and(|store| store.is_shared());
        let admission = Admission::new(&limits, one_at_a_time);
        Self {
            admission: match is_shared {
                true => admission.shared(),
                false => admission,
            },
            limits,
            one_at_a_time,
            questions,
            store,
            is_shared,
            timers: Timers::default(),
            connections: BTreeMap::new(),
            going: BTreeSet::new(),
            live: BTreeMap::new(),
            early: BTreeMap::new(),
            parked: BTreeMap::new(),
            ended: BTreeMap::new(),
            tasks: JoinSet::new(),
            accepted: 0,
            outlets,
            is_crowded: false,
            crowding: Arc::default(),
            look: Look::default(),
            hub,
        }
    }

    // The start.

    /// Takes up what the journal holds.
    pub(super) async fn take_up(&mut self, inventory: Inventory) {
        let mut orders = Orders::new();
        for (name, error) in inventory.unreadable {
            if let Some(RecordName::Server(key, id)) = name {
                orders.extend(self.admission.unreadable((key, id)));
            }
            self.tell(ServerEvent::Unreadable(error), None);
        }
        self.expire(&inventory.expired).await;
        self.forget_ends(&inventory.excess).await;
        orders.extend(self.restore(inventory.stored));
        self.give(orders).await;
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

    /// The open conversations, in the order in which the peers last came; and the ends.
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
        let held = held.filter(|_| self.one_at_a_time);
        // A conversation gets no seat if the user would have to be asked about its peer.
        let candidate = |s: &Stored| Candidate {
            key: s.peer,
            address: None,
            conversation: s.conversation.id(),
            is_returning: true,
            others: 0,
        };
        let candidate = held.and_then(|place| stored.get(place)).map(candidate);
        let verdict = candidate.and_then(|candidate| self.questions.ask(candidate).ok());
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
                let keeper = self.keep(name, live, talk);
                self.tasks.spawn(keeper.keep(None));
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

    // What becomes of connections.

    /// One has come, and gets a task.
    pub(in crate::link::server) async fn arrive<F>(
        &mut self,
        address: Option<IpAddr>,
        receive: impl FnOnce(ConnectionId) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = ConnectionId(self.accepted);
        self.accepted += 1;
        debug!(connection = id.0, from = address.map(display), "accepted");
        let connection = Connection {
            address,
            key: None,
            way: Way::Task(self.tasks.spawn(receive(id))),
        };
        self.connections.insert(id, connection);
        let orders = self.admission.arrive(id, address);
        self.give(orders).await;
    }

    /// Their whole ClientHellos have come.
    pub(super) fn greeted(&mut self, ids: Vec<ConnectionId>) {
        ids.into_iter().for_each(|id| self.admission.greeted(id));
    }

    /// Its `hello` has come.
    pub(in crate::link::server) async fn hello(
        &mut self,
        id: ConnectionId,
        hello: Hello,
        wire: Box<Wire<Tls<S>>>,
    ) -> Answer<S> {
        let orders = self.judge(id, hello);
        self.give(orders).await;
        let Some(Connection { way, .. }) = self.connections.get_mut(&id) else {
            return Answer::Left;
        };
        let Way::Answer(told) = way else {
            // It was made to go just now.
            return Answer::Left;
        };
        let has_quit = false;
        if told.last() == Some(&Instruction::Enter) {
            return self.entered(id, Entering { wire, has_quit }).await;
        }
        let (sender, instructions) = mpsc::unbounded_channel();
        for instruction in told {
            // The receiver is here.
            let _ = sender.send(*instruction);
        }
        *way = Way::Channel(sender);
        Answer::Wait(Waiting {
            wire,
            has_quit,
            instructions,
        })
    }

    fn judge(&mut self, id: ConnectionId, hello: Hello) -> Orders {
        let key = hello.peer.key();
        let Some(connection) = self.connections.get_mut(&id) else {
            return Orders::new();
        };
        connection.key = Some(key);
        if !self.going.contains(&id) {
            connection.way = Way::Answer(Vec::new());
        }
        let from = connection.address.map(display);
        info!(connection = id.0, %key, from, conversation = %hello.conversation, "hello");
        let asked = self.questions.ask(Candidate {
            key,
            address: connection.address,
            conversation: hello.conversation,
            is_returning: self.admission.is_open(&hello.name()),
            others: self.admission.others(&hello.name()),
        });
        let verdict = match asked {
            Ok(verdict) => Some(verdict),
            Err(question) => {
                if !self.questions.is_open(&key) {
                    let hub = Weak::clone(&self.hub);
                    let asking = async move {
                        let verdict = question.answered().await;
                        if let Some(hub) = hub.upgrade() {
                            hub.answered(key, verdict).await;
                        }
                    };
                    self.questions.open(key, self.tasks.spawn(asking));
                }
                None
            }
        };
        self.admission.hello(id, hello, verdict)
    }

    /// A question is answered, by the task that calls this.
    pub(super) async fn answered(&mut self, key: &KeyId, verdict: Verdict) {
        if self.questions.close(key) {
            let orders = self.admission.answer(key, verdict);
            self.give(orders).await;
        }
    }

    /// Its `quit` has come, before it was let in.
    pub(in crate::link::server) async fn quit(&mut self, id: ConnectionId) {
        // In a store that others have it may stand: it ends once it is claimed.
        if !self.is_shared {
            let orders = self.admission.quit(id);
            self.give(orders).await;
        }
    }

    /// What somebody has told who could not wait.
    pub(in crate::link::server) async fn handle(&mut self, event: HubEvent) {
        match event {
            HubEvent::Left(id, error) => self.left(id, error).await,
            HubEvent::Over(name, remains) => self.over(name, remains).await,
        }
    }

    /// It is gone, and why, if something went wrong.
    async fn left(&mut self, id: ConnectionId, error: Option<Box<ConnectionError>>) {
        let from = self.forget(id).map(display);
        if let Some(error) = error {
            info!(connection = id.0, from, why = chain(&*error), "failed");
            self.mention(ServerEvent::Failed(*error));
        }
        let orders = self.admission.leave(id);
        self.give(orders).await;
    }

    /// It was let in.
    pub(in crate::link::server) async fn entered(
        &mut self,
        id: ConnectionId,
        entering: Entering<S>,
    ) -> Answer<S> {
        self.forget(id);
        let (answer, orders) = self.enter(id, entering, None);
        self.give(orders).await;
        answer
    }

    /// A connection is gone; from where it came.
    fn forget(&mut self, id: ConnectionId) -> Option<IpAddr> {
        self.going.remove(&id);
        self.connections.remove(&id)?.address
    }

    /// The one way in. `claimed`: what it has claimed in a store that others have, too.
    pub(super) fn enter(
        &mut self,
        id: ConnectionId,
        entering: Entering<S>,
        claimed: Option<(Arc<Record>, Conversation)>,
    ) -> (Answer<S>, Orders) {
        let (hello, is_live) = match self.admission.entry(id) {
            Entry::Begin(hello) => (hello, false),
            Entry::GoOn(hello) => (hello, true),
            Entry::Ended => {
                let reason = Reason::Ended;
                return self.close_with(id, entering.wire, Frame::Refuse { reason }, None);
            }
            Entry::Again(key) => return self.wait_again(id, key, entering),
            Entry::None => return self.let_go(id),
        };
        match (claimed, self.store.clone()) {
            (None, Some(store)) if self.is_shared => {
                (self.claim(&hello, entering, store), Orders::new())
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
    fn go_on(
        &mut self,
        id: ConnectionId,
        hello: &Hello,
        entering: Entering<S>,
    ) -> (Answer<S>, Orders) {
        let Entering { wire, has_quit } = entering;
        let greeting = greeting(hello, has_quit);
        let live = self.live.get(&hello.name());
        let refused = live.and_then(|live| live.driver.accept(wire, greeting).err());
        match refused {
            Some((wire, NotAccepted::Ending)) => {
                let entering = Entering { wire, has_quit };
                (self.come_early(hello.name(), entering), Orders::new())
            }
            Some((wire, NotAccepted::Violation(violation))) => self.turn_away(id, wire, violation),
            None => self.let_go(id),
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
    ) -> (Answer<S>, Orders) {
        let Entering { wire, has_quit } = entering;
        let greeting = greeting(&hello, has_quit);
        // Where it cannot be, nothing has changed (PROTOCOL 4.4).
        if let Err(violation) = conversation.check_counters(greeting.heard) {
            return self.turn_away(id, wire, violation);
        }
        let name = hello.name();
        info!(connection = id.0, key = %name.0, conversation = %name.1, "let in");
        let (live, talk) = self.live(hello.peer, conversation, record);
        if live.driver.accept(wire, greeting).is_err() {
            return self.let_go(id);
        }
        self.parked.remove(&name);
        let orders = self.admission.begin(id);
        (Answer::Keep(self.keep(name, live, talk)), orders)
    }

    fn live(
        &self,
        peer: Peer,
        conversation: Conversation,
        record: Option<Arc<Record>>,
    ) -> (Live<S>, Talk) {
        let crowding = Arc::clone(&self.crowding);
        Live::new(peer, conversation, record, &self.limits, crowding)
    }

    fn keep(&mut self, name: ConversationName, live: Live<S>, talk: Talk) -> Keeper<Tls<S>> {
        let hub = Weak::clone(&self.hub);
        let keeper = live.keeper(move |remains| {
            if let Some(hub) = hub.upgrade() {
                hub.over(name, remains);
            }
        });
        self.live.insert(name, live);
        // Nobody takes it only when the server is let go of.
        let _ = self.outlets.talks.as_ref().map(|talks| talks.send(talk));
        keeper
    }

    /// Its conversation is just ending, or being parked. An earlier one for it has to go.
    pub(super) fn come_early(
        &mut self,
        name: ConversationName,
        entering: Entering<S>,
    ) -> Answer<S> {
        let (done, is_done) = oneshot::channel();
        self.early.insert(name, done);
        Answer::Early(entering, is_done)
    }

    /// It goes back to where it waits behind its `hello`.
    fn wait_again(
        &mut self,
        id: ConnectionId,
        key: KeyId,
        entering: Entering<S>,
    ) -> (Answer<S>, Orders) {
        let Entering { wire, has_quit } = entering;
        let instructions = self.instruct_from_now_on(id, Some(key));
        let mut orders = self.admission.again(id);
        if has_quit && !self.is_shared {
            orders.extend(self.admission.quit(id));
        }
        let waiting = Waiting {
            wire,
            has_quit,
            instructions,
        };
        (Answer::Wait(waiting), orders)
    }

    /// What a conversation does not take.
    pub(super) fn turn_away(
        &mut self,
        id: ConnectionId,
        wire: Box<Wire<Tls<S>>>,
        violation: Violation,
    ) -> (Answer<S>, Orders) {
        let error = LinkError::from(violation);
        match error.farewell() {
            Some(last) => self.close_with(id, wire, last, Some(error)),
            None => self.let_go(id),
        }
    }

    /// It is closed with a last frame, and counts until it is gone.
    pub(super) fn close_with(
        &mut self,
        id: ConnectionId,
        wire: Box<Wire<Tls<S>>>,
        last: Frame,
        error: Option<LinkError>,
    ) -> (Answer<S>, Orders) {
        let parting = Parting {
            wire,
            last,
            error,
            instructions: self.instruct_from_now_on(id, None),
        };
        (Answer::Close(parting), self.admission.turn_away(id))
    }

    /// It is a conversation's, or closed without a word.
    pub(super) fn let_go(&mut self, id: ConnectionId) -> (Answer<S>, Orders) {
        (Answer::Gone, self.admission.leave(id))
    }

    fn instruct_from_now_on(
        &mut self,
        id: ConnectionId,
        key: Option<KeyId>,
    ) -> mpsc::UnboundedReceiver<Instruction> {
        let (sender, instructions) = mpsc::unbounded_channel();
        let connection = Connection {
            address: None,
            key,
            way: Way::Channel(sender),
        };
        self.connections.insert(id, connection);
        instructions
    }

    // What becomes of conversations.

    /// One is over, or parked.
    async fn over(&mut self, name: ConversationName, remains: Remains) {
        let orders = match remains {
            Remains::End(record) => return self.ended(name, record),
            Remains::Nothing => self.admission.taken_over(name),
            Remains::Parked(conversation, record) => {
                let conversation = *conversation;
                let parked = Parked {
                    conversation,
                    record,
                };
                self.park(name, parked)
            }
        };
        self.no_longer_live(&name);
        self.give(orders).await;
    }

    /// One has ended. Nothing is to be stored for that.
    pub(super) fn ended(&mut self, name: ConversationName, record: Option<Arc<Record>>) {
        let orders = match record {
            // Its task has failed, and what the record says nobody knows.
            None if self.store.is_some() => self.admission.taken_over(name),
            record => self.end(name, record),
        };
        self.no_longer_live(&name);
        self.carry_out_at_once(orders);
    }

    fn no_longer_live(&mut self, name: &ConversationName) {
        if let Some(live) = self.live.remove(name) {
            live.driver.forgotten();
        }
        if let Some(early) = self.early.remove(name) {
            // Whoever has left says so.
            let _ = early.send(());
        }
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
    pub(super) fn mention(&self, event: ServerEvent) {
        if self.outlets.events.capacity() > MENTIONS {
            self.tell(event, None);
        }
    }

    // What the server's user says.

    /// So many more conversations may begin.
    pub(in crate::link::server) fn seats(&mut self, more: usize) {
        if more > 0 {
            let orders = self.admission.seats(more);
            self.carry_out_at_once(orders);
        }
    }

    /// This key is not let in any more.
    pub(in crate::link::server) async fn expel(&mut self, key: &KeyId) {
        let orders = self.admission.expel(key);
        self.give(orders).await;
    }

    /// No conversation begins any more.
    pub(super) async fn close(&mut self) {
        let orders = self.admission.close();
        self.give(orders).await;
        self.outlets.talks = None;
    }

    /// Lets all connections go but those that linger, and cuts the conversations that are on.
    /// Returns the tasks, of which some may need a moment.
    pub(super) fn stop(self, lingering: &BTreeSet<ConnectionId>) -> JoinSet<()> {
        for (id, connection) in self.connections {
            match connection.way {
                Way::Task(task) if !lingering.contains(&id) => task.abort(),
                // Without more instructions to expect it goes.
                _ => {}
            }
        }
        self.live.values().for_each(|live| live.driver.cut_off());
        self.tasks
    }

    // How it is done.

    /// What the server's own task is to wait for.
    pub(in crate::link::server) fn look(&mut self) -> Look {
        self.look = Look {
            wake_at: self.timers.next(),
            may_accept: self.going.is_empty(),
        };
        self.look
    }

    /// Timers are due.
    pub(in crate::link::server) async fn fire(&mut self) {
        while let Some(timer) = self.timers.fire() {
            let orders = self.admission.fired(timer);
            self.give(orders).await;
        }
    }

    /// Tells whom it concerns how things stand now.
    pub(super) fn publish(&mut self, seats: &Seats) {
        while self.tasks.try_join_next().is_some() {}
        let admission = &self.admission;
        self.questions.retain(|key| admission.is_asking(key));
        let next = admission.next();
        self.outlets
            .next
            .send_if_modified(|published| std::mem::replace(published, next) != next);
        let is_crowded = self.admission.is_crowded();
        if std::mem::replace(&mut self.is_crowded, is_crowded) != is_crowded {
            seats.awaited(is_crowded);
            for name in self.crowding.set(is_crowded) {
                if let Some(live) = self.live.get(&name) {
                    live.driver.crowded();
                }
            }
        }
        let is_sooner = |at: Instant| self.look.wake_at.is_none_or(|waits| at < waits);
        if self.timers.next().is_some_and(is_sooner)
            || self.look.may_accept != self.going.is_empty()
        {
            seats.change();
        }
    }

    pub(super) async fn give(&mut self, orders: Orders) {
        let mut orders = VecDeque::from(orders);
        let mut unstored = Vec::new();
        while let Some(order) = orders.pop_front() {
            let Some(given_up) = self.carry_out(order, &unstored) else {
                continue;
            };
            let first = self.give_up(given_up, &mut unstored).await;
            for order in first.into_iter().rev() {
                orders.push_front(order);
            }
        }
    }

    /// Carries out orders of which none gives up a conversation.
    fn carry_out_at_once(&mut self, orders: Orders) {
        for order in orders {
            let given_up = self.carry_out(order, &[]);
            debug_assert!(given_up.is_none());
        }
    }

    /// Carries an order out, or returns what has to be given up for it in the store.
    fn carry_out(&mut self, order: Order, unstored: &[KeyId]) -> Option<GivenUp> {
        match order {
            Order::Tell(id, instruction) => self.instruct(id, instruction, unstored),
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
                let parked = self.parked.remove(&name)?;
                return Some(GivenUp {
                    name,
                    why,
                    clienthello,
                    parked,
                });
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
        None
    }

    /// Gives a conversation up, and returns what follows. `unstored` has the keys of those whose
    /// end could not be stored.
    async fn give_up(&mut self, given_up: GivenUp, unstored: &mut Vec<KeyId>) -> Orders {
        let GivenUp {
            name,
            why,
            clienthello,
            parked,
        } = given_up;
        if self.is_shared {
            self.give_up_anywhere(name, parked, why);
            return Orders::new();
        }
        let conversation = parked.conversation.clone();
        match Untold::end(name.0, &parked.record, conversation).await {
            Ok((abandoned, untold)) => {
                self.tell(given_up_event(why, abandoned), untold);
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
        }
    }

    fn instruct(&mut self, id: ConnectionId, instruction: Instruction, unstored: &[KeyId]) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        // An end is on the disk before anybody is told of it (PROTOCOL 4.7).
        let is_unstored = connection.key.is_some_and(|key| unstored.contains(&key));
        let instruction = match is_unstored {
            true => Instruction::Close,
            false => instruction,
        };
        let (address, key) = (connection.address, connection.key);
        let is_there = match &mut connection.way {
            Way::Task(task) => {
                task.abort();
                true
            }
            Way::Answer(told) => {
                told.push(instruction);
                true
            }
            // Whoever has left says so.
            Way::Channel(sender) => sender.send(instruction).is_ok(),
        };
        if let (Instruction::Refuse(reason), Some(key)) = (instruction, key) {
            let from = address.map(display);
            info!(connection = id.0, %key, from, reason = reason.word(), "refused");
            self.mention(ServerEvent::Refused { key, reason });
        }
        if is_there && instruction == Instruction::Close {
            let from = address.map(display);
            let why = "it had to make room, or a newer one has come";
            info!(connection = id.0, from, why, "failed");
            self.going.insert(id);
        }
    }
}

/// A conversation that is to end where it is kept.
struct GivenUp {
    name: ConversationName,
    why: Why,
    clienthello: u64,
    parked: Parked,
}

/// What the server's user is told of a parked conversation that is over.
pub(super) fn given_up_event(why: Why, abandoned: Abandoned) -> ServerEvent {
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
