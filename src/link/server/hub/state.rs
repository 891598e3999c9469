//! [`State`]: a server's connections and conversations, and what becomes of them. It
//! owns [`Admission`], asks it, and carries out its orders.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::going::Going;
use crate::link::crowding::Crowding;
use crate::link::driver::keeper::Keeper;
use crate::link::handshake::Tls;
use crate::link::server::admission::{
    Admission, ConnectionId, ConversationName, Instruction, Orders, Verdict,
};
use crate::link::server::answer::Remains;
use crate::link::server::conversation::Live;
use crate::link::server::event::{News, ServerEvent};
use crate::link::server::question::Questions;
use crate::link::server::seats::Seats;
use crate::link::server::timers::Timers;
use crate::link::store::{Record, Store};
use crate::link::turn::Talk;
use crate::link::untold::Untold;
use crate::protocol::{Conversation, Limits};
use crate::trust::{KeyId, Peer};

pub(in crate::link::server) struct State<S> {
    pub(super) limits: Arc<Limits>,
    pub(super) one_at_a_time: bool,
    pub(super) questions: Questions,
    pub(super) store: Option<Arc<dyn Store>>,
    /// Other servers have it, too. What is not on here is not known here: it stands in the store,
    /// and whoever enters claims it there.
    pub(super) is_shared: bool,
    pub(super) admission: Admission,
    pub(super) timers: Timers,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    pub(super) going: Going,
    pub(super) live: BTreeMap<ConversationName, Live<S>>,
    /// Connections for a conversation that is just ending or being parked: each is told when
    /// that is done.
    pub(super) early: BTreeMap<ConversationName, oneshot::Sender<()>>,
    pub(super) parked: BTreeMap<ConversationName, Parked>,
    /// The records of the ends that are remembered.
    pub(super) ended: BTreeMap<ConversationName, Arc<Record>>,
    tasks: JoinSet<()>,
    /// Where they run: a conversation's user may have come from outside of it.
    runtime: Handle,
    pub(super) accepted: u64,
    pub(super) outlets: Outlets,
    pub(super) is_crowded: bool,
    /// The same, for the conversations that mind.
    pub(super) crowding: Arc<Crowding>,
    /// What the server's own task waits for, as far as it knows.
    pub(super) look: Look,
    pub(super) hub: Weak<dyn Tell>,
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

pub(super) struct Connection {
    pub(super) address: Option<IpAddr>,
    pub(super) key: Option<KeyId>,
    pub(super) way: Way,
}

/// How a connection is told to do something.
pub(super) enum Way {
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
            going: Going::default(),
            live: BTreeMap::new(),
            early: BTreeMap::new(),
            parked: BTreeMap::new(),
            ended: BTreeMap::new(),
            tasks: JoinSet::new(),
            runtime: Handle::current(),
            accepted: 0,
            outlets,
            is_crowded: false,
            crowding: Arc::default(),
            look: Look::default(),
            hub,
        }
    }

    // What becomes of conversations.

    pub(super) fn live(
        &self,
        peer: Peer,
        conversation: Conversation,
        record: Option<Arc<Record>>,
    ) -> (Live<S>, Talk) {
        let crowding = Arc::clone(&self.crowding);
        Live::new(peer, conversation, record, &self.limits, crowding)
    }

    pub(super) fn keep(
        &mut self,
        name: ConversationName,
        live: Live<S>,
        talk: Talk,
    ) -> Keeper<Tls<S>> {
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

    /// One is over, or parked.
    pub(super) async fn over(&mut self, name: ConversationName, remains: Remains) {
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
    pub(super) fn tell(&self, event: ServerEvent, untold: Option<Untold>) {
        let _ = self.outlets.events.try_send(News { event, untold });
    }

    /// A conversation is over, and this is its record, if it has one.
    pub(super) fn end(&mut self, name: ConversationName, record: Option<Arc<Record>>) -> Orders {
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

    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tasks.spawn_on(task, &self.runtime)
    }

    /// What the server's own task is to wait for.
    pub(in crate::link::server) fn look(&mut self) -> Look {
        self.look = Look {
            wake_at: self.timers.next(),
            may_accept: self.going.is_empty(),
        };
        self.look
    }

    /// A timer is due. One at a time: each may take a while at the store, and others wait for the
    /// state.
    pub(in crate::link::server) async fn fire(&mut self) {
        if let Some(timer) = self.timers.fire() {
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
}
