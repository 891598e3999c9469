//! What becomes of a [`State`]'s connections: each is asked about, told what to do, and let in.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tracing::field::display;
use tracing::{debug, info};

use super::state::{Connection, State, Way};
use crate::link::error::{ConnectionError, LinkError, chain};
use crate::link::handshake::Tls;
use crate::link::server::admission::{
    ConnectionId, ConversationName, Entry, Hello, Instruction, Orders, Verdict,
};
use crate::link::server::answer::{Answer, Entering, HubEvent, Parting, Waiting};
use crate::link::server::event::ServerEvent;
use crate::link::server::question::Candidate;
use crate::link::session::{Greeting, NotAccepted};
use crate::link::store::{Record, RecordName, Store};
use crate::link::wire::Wire;
use crate::protocol::{Conversation, Frame, HeardWhen, Reason, Role, Violation};
use crate::trust::KeyId;

impl<S> State<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
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
            way: Way::Task(self.spawn(receive(id))),
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
        let entering = Entering {
            wire,
            has_quit: false,
            has_claimed: false,
        };
        if told.last() == Some(&Instruction::Enter) {
            return self.entered(id, entering).await;
        }
        let (sender, instructions) = mpsc::unbounded_channel();
        for instruction in told {
            // The receiver is here.
            let _ = sender.send(*instruction);
        }
        *way = Way::Channel(sender);
        Answer::Wait(Waiting {
            entering,
            instructions,
        })
    }

    fn judge(&mut self, id: ConnectionId, hello: Hello) -> Orders {
        let key = hello.peer.key();
        let Some(connection) = self.connections.get_mut(&id) else {
            return Orders::new();
        };
        connection.key = Some(key);
        if !self.going.contains(id) {
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
                    let task = self.spawn(asking);
                    self.questions.open(key, task);
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
    pub(super) fn forget(&mut self, id: ConnectionId) -> Option<IpAddr> {
        self.going.remove(id);
        self.connections.remove(&id)?.address
    }

    /// The one way in. `claimed`: what it has claimed in a store that others have, too.
    pub(super) fn enter(
        &mut self,
        id: ConnectionId,
        entering: Entering<S>,
        claimed: Option<(Arc<Record>, Conversation)>,
    ) -> (Answer<S>, Orders) {
        let entering = Entering {
            has_claimed: entering.has_claimed || claimed.is_some(),
            ..entering
        };
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
                (self.claim(id, &hello, entering, store), Orders::new())
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
        let greeting = greeting(hello, entering.has_quit);
        let live = self.live.get(&hello.name());
        let refused = live.and_then(|live| live.driver.accept(entering.wire, greeting).err());
        match refused {
            Some((wire, NotAccepted::Ending)) => {
                let entering = Entering { wire, ..entering };
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
        let Entering { wire, has_quit, .. } = entering;
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
        let instructions = self.instruct_from_now_on(id, Some(key));
        let mut orders = self.admission.again(id);
        if entering.has_quit && !self.is_shared {
            orders.extend(self.admission.quit(id));
        }
        let waiting = Waiting {
            entering,
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

    pub(super) fn instruct_from_now_on(
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
