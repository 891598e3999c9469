//! The server, as src/link/server/hub.rs, src/link/server/connection.rs and
//! src/link/server/mod.rs have it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use turnchat::internals::admission::{
    Admission, ConnectionId, ConversationName, Entry, Hello, Instruction, Order, Orders, Timer,
    Verdict,
};
use turnchat::internals::session::{Greeting, NotAccepted, REPLACED, Remains};
use turnchat::internals::{
    Claimant, Conversation, Frame, RecordName, Role, StoreError, next_ticket,
};
use turnchat::{ConversationId, KeyId, LinkError, Reason, Violation};

use super::driver::Driver;
use super::network::{LinkId, Parcel};
use super::store::{Claimed, Of, RecordNumber, What};
use super::untold::Untold;
use super::{At, Event, Life, Node, Server, World};
use crate::config::{Setup, Side, heard_when};
use crate::rules::Broken;
use crate::tale::Outcome;

/// What the hub's task holds; all but the user's book is lost with it.
pub(super) struct Hub {
    pub(super) admission: Admission,
    /// Armed, by the number of their event.
    timers: BTreeMap<Timer, u64>,
    connections: BTreeMap<ConnectionId, Connection>,
    pub(super) live: BTreeMap<ConversationId, Driver>,
    /// Connections for a conversation that is just ending or being parked.
    early: BTreeMap<ConversationId, Early>,
    /// Whose `hello` is being answered, and whether it is let in.
    answering: Option<(ConnectionId, bool)>,
    pub(super) parked: BTreeMap<ConversationId, Conversation>,
    /// Ends that the server's user has still to read of.
    pub(super) untold: VecDeque<Untold>,
    clienthellos: u64,
    accepted: u64,
    is_crowded: bool,
    /// Where the store is shared: who claims a conversation, before it is answered.
    claims: BTreeMap<ConnectionId, (LinkId, bool)>,
    /// And who has claimed one, and has to wait once more.
    have_claimed: BTreeSet<ConnectionId>,
    /// And the records of what is just parked.
    records: BTreeMap<ConversationId, RecordNumber>,
    /// Keys that its user has let in. They are in a book on the disk.
    pub(super) book: BTreeSet<KeyId>,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    link: LinkId,
    key: Option<KeyId>,
    clienthello: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Stranger,
    /// Its `hello` has come, and perhaps a `quit`.
    Waits {
        has_quit: bool,
    },
    /// It hands itself over, and the hub does not know yet.
    Entering {
        has_quit: bool,
    },
    /// Its conversation is being claimed. It hears nothing but what it is told.
    Claiming,
    /// Its task is gone, and the hub does not know yet.
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Early {
    id: ConnectionId,
    link: LinkId,
    has_quit: bool,
}

impl Hub {
    pub(super) fn new(setup: &Setup) -> Self {
        let one_at_a_time = setup.one_at_a_time && !setup.breaks(Broken::OneOpen);
        Self {
            admission: match setup.is_shared() {
                true => Admission::new(&setup.limits, one_at_a_time).shared(),
                false => Admission::new(&setup.limits, one_at_a_time),
            },
            timers: BTreeMap::new(),
            connections: BTreeMap::new(),
            live: BTreeMap::new(),
            early: BTreeMap::new(),
            answering: None,
            parked: BTreeMap::new(),
            untold: VecDeque::new(),
            clienthellos: 0,
            accepted: 0,
            is_crowded: false,
            claims: BTreeMap::new(),
            have_claimed: BTreeSet::new(),
            records: BTreeMap::new(),
            book: BTreeSet::new(),
        }
    }

    /// Who is still there.
    pub(super) fn present(&self) -> String {
        let live: Vec<_> = self.live.keys().collect();
        format!(
            "{:?}, live {live:?}, early {:?}",
            self.connections, self.early
        )
    }

    /// Neither a connection nor a conversation is here.
    pub(super) fn is_idle(&self) -> bool {
        self.live.is_empty()
            && self.connections.is_empty()
            && self.early.is_empty()
            && self.claims.is_empty()
    }
}

impl World {
    fn name_of(&self, id: ConversationId) -> ConversationName {
        (self.key(self.owner(id)), id)
    }

    /// `State::handle`, and what else the server waits for.
    pub(super) fn at_hub(&mut self, node: Node, number: u64, event: Event) {
        let orders = match event {
            Event::Entered(_, id) => match self.nodes[node].hub.connections.remove(&id) {
                Some(Connection {
                    link,
                    stage: Stage::Entering { has_quit },
                    ..
                }) => self.enter(node, id, link, has_quit, None),
                _ => Orders::new(),
            },
            Event::Left(_, id) => {
                self.nodes[node].hub.connections.remove(&id);
                self.nodes[node].hub.admission.leave(id)
            }
            Event::HelloDue(_, id) => {
                let connection = self.nodes[node].hub.connections.get(&id);
                if let Some(Connection {
                    link,
                    stage: Stage::Stranger,
                    ..
                }) = connection
                {
                    self.connection_is_gone(*link);
                }
                Orders::new()
            }
            Event::HubFires(_, timer) => {
                match self.nodes[node].hub.timers.get(&timer) == Some(&number) {
                    true => {
                        self.note(|| format!("    {timer:?} fires"));
                        self.nodes[node].hub.timers.remove(&timer);
                        self.nodes[node].hub.admission.fired(timer)
                    }
                    false => Orders::new(),
                }
            }
            Event::Answers(_, key) => match self.nodes[node].hub.admission.is_asking(&key) {
                true => {
                    self.nodes[node].hub.book.insert(key);
                    self.nodes[node].hub.admission.answer(&key, Verdict::Admit)
                }
                false => Orders::new(),
            },
            Event::Seat(_) => self.nodes[node].hub.admission.seats(1),
            Event::ReadsEnd(_) => return self.read_end(node),
            Event::ClaimDue(_, id) => match self.nodes[node].hub.claims.remove(&id) {
                Some((link, _)) => {
                    self.nodes[node].hub.connections.remove(&id);
                    self.hang_up(Side::Server, link, false);
                    self.nodes[node].hub.admission.leave(id)
                }
                None => Orders::new(),
            },
            Event::Answered(_, call, asked, answer) => return self.answered(call, asked, answer),
            Event::AsksAgain(_, call) => return self.asks_again(call),
            _ => return,
        };
        self.give(node, orders);
        self.publish(node);
    }

    fn soon(&mut self, node: Node, event: impl FnOnce(Life) -> Event) {
        let soon = self.dice.up_to(self.setup.delay);
        let event = event(self.life(node));
        self.queue.after(soon, event);
    }

    // A connection, up to its `hello`.

    /// `Hub::arrive`.
    pub(super) fn accepted(&mut self, link: LinkId) {
        let Some(node) = self.links.get(&link).map(|of| of.node) else {
            return;
        };
        if !self.nodes[node].machine.is_up {
            return self.hang_up(Side::Server, link, true);
        }
        let Some(of) = self.links.get_mut(&link) else {
            return;
        };
        let id = ConnectionId(self.nodes[node].hub.accepted);
        self.nodes[node].hub.accepted += 1;
        of.accepted = Some((id, self.nodes[node].machine.life));
        let from = of.client.map_or(200, |client| client as u8);
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, from));
        let connection = Connection {
            link,
            key: None,
            clienthello: 0,
            stage: Stage::Stranger,
        };
        self.nodes[node].hub.connections.insert(id, connection);
        let due = Event::HelloDue(self.life(node), id);
        self.queue.after(self.setup.limits.hello, due);
        let clienthello = self.dice.evenly(self.setup.latency);
        self.queue.after(clienthello, Event::ClientHello(link));
        let orders = self.nodes[node].hub.admission.arrive(id, Some(address));
        self.give(node, orders);
        self.publish(node);
    }

    /// `choose` in `greet`: it has its place in the order of all.
    pub(super) fn client_hello(&mut self, link: LinkId) {
        let Some((node, id)) = self.connection_on(link) else {
            return;
        };
        let hub = &mut self.nodes[node].hub;
        if let Some(connection) = hub.connections.get_mut(&id) {
            connection.clienthello = hub.clienthellos;
            hub.clienthellos += 1;
            hub.admission.greeted(id);
            if self.setup.is_shared() && !self.setup.breaks(Broken::TicketFirst) {
                self.draw_ticket(node, id);
            }
            let handshake = self.dice.evenly(2 * self.setup.latency);
            self.queue.after(handshake, Event::Proven(link));
        }
    }

    /// `Tickets::draw`, of a store that is shared.
    fn draw_ticket(&mut self, node: Node, id: ConnectionId) {
        let hub = &mut self.nodes[node].hub;
        hub.clienthellos = next_ticket(hub.clienthellos, self.shared.store.writes());
        if let Some(connection) = hub.connections.get_mut(&id) {
            connection.clienthello = hub.clienthellos;
        }
    }

    /// The server's connection on this link, if it is of this life and was not handed over.
    fn connection_on(&self, link: LinkId) -> Option<(Node, ConnectionId)> {
        let of = self.links.get(&link)?;
        let (id, life) = of.accepted?;
        let Server { machine, hub, .. } = &self.nodes[of.node];
        let is_here = life == machine.life && hub.connections.contains_key(&id);
        is_here.then_some((of.node, id))
    }

    /// `greet` and `obey`: something has come on a connection that was not handed over.
    pub(super) fn greet(&mut self, link: LinkId) {
        while let Some((node, id)) = self.connection_on(link)
            && let Connection { stage, .. } = self.nodes[node].hub.connections[&id]
            && matches!(stage, Stage::Stranger | Stage::Waits { .. })
            && let Some(parcel) = self.read(link, Side::Server)
        {
            self.note(|| format!("    connection {} reads {parcel:?}", id.0));
            match (stage, parcel) {
                (
                    Stage::Stranger,
                    Parcel::Frame(Frame::Hello {
                        conversation,
                        heard,
                    }),
                ) => self.hello(node, id, conversation, heard),
                (Stage::Waits { .. }, Parcel::Frame(Frame::Quit {})) => {
                    let waits = Stage::Waits { has_quit: true };
                    self.set_stage(node, id, waits);
                    self.forget_if_undecided(link);
                    if !self.setup.is_shared() {
                        let orders = self.nodes[node].hub.admission.quit(id);
                        self.give(node, orders);
                    }
                }
                (Stage::Waits { has_quit: true }, Parcel::Frame(_)) => {}
                (_, Parcel::Frame(Frame::Error { .. }) | Parcel::End) => {
                    self.connection_is_gone(link);
                }
                _ => self.breaks(crate::ACCUSED),
            }
            self.publish(node);
        }
    }

    /// A stranger's end is not remembered, else anybody could fill the server's memory of ends:
    /// a `hello` that was held back begins its conversation, once the key is let in.
    fn forget_if_undecided(&mut self, link: LinkId) {
        let client = self.links.get(&link).and_then(|of| of.client);
        if let Some(client) = client
            && let Some(node) = self.links.get(&link).map(|of| of.node)
            && self.nodes[node].hub.admission.is_asking(&self.key(client))
            && let Some(driver) = self.clients[client].driver()
        {
            let id = driver.conversation().id();
            self.tale(id).forget(Side::Client);
        }
    }

    fn set_stage(&mut self, node: Node, id: ConnectionId, stage: Stage) {
        if let Some(connection) = self.nodes[node].hub.connections.get_mut(&id) {
            connection.stage = stage;
        }
    }

    /// Its task ends, and says so.
    pub(super) fn connection_is_gone(&mut self, link: LinkId) {
        if let Some((node, id)) = self.connection_on(link)
            && let Stage::Stranger | Stage::Waits { .. } =
                self.nodes[node].hub.connections[&id].stage
        {
            self.set_stage(node, id, Stage::Gone);
            self.hang_up(Side::Server, link, false);
            self.soon(node, |life| Event::Left(life, id));
        }
    }

    /// `State::hello` and `State::judge`.
    fn hello(&mut self, node: Node, id: ConnectionId, conversation: ConversationId, heard: u64) {
        if self.setup.is_shared() && self.setup.breaks(Broken::TicketFirst) {
            self.draw_ticket(node, id);
        }
        let Connection {
            link, clienthello, ..
        } = self.nodes[node].hub.connections[&id];
        let client = self.links.get(&link).and_then(|of| of.client);
        let stranger = self.peers.last().unwrap();
        let peer = client.map_or(*stranger, |client| {
            self.peers[self.setup.clients[client].key]
        });
        let key = peer.key();
        let hello = Hello {
            peer,
            conversation,
            heard,
            clienthello: match self.setup.breaks(Broken::NewestWins) {
                true => 0,
                false => clienthello,
            },
        };
        let verdict = match client {
            None => Some(Verdict::Refuse(Reason::UnknownPeer)),
            Some(_) if self.setup.asks && !self.nodes[node].hub.book.contains(&key) => None,
            Some(_) => Some(Verdict::Admit),
        };
        if let Some(connection) = self.nodes[node].hub.connections.get_mut(&id) {
            connection.key = Some(key);
            connection.stage = Stage::Waits { has_quit: false };
        }
        let orders = self.nodes[node].hub.admission.hello(id, hello, verdict);
        if verdict.is_none() && self.nodes[node].hub.admission.is_asking(&key) {
            let thought = self.dice.up_to(Duration::from_secs(150));
            self.queue
                .after(thought, Event::Answers(self.life(node), key));
        }
        self.nodes[node].hub.answering = Some((id, false));
        self.give(node, orders);
        if let Some((_, true)) = self.nodes[node].hub.answering.take() {
            self.nodes[node].hub.connections.remove(&id);
            let orders = self.enter(node, id, link, false, None);
            self.give(node, orders);
        }
    }

    // The one way in.

    /// `State::enter`.
    fn enter(
        &mut self,
        node: Node,
        id: ConnectionId,
        link: LinkId,
        has_quit: bool,
        claimed: Option<(RecordNumber, Conversation)>,
    ) -> Orders {
        if self.is_blown() {
            return Orders::new();
        }
        if claimed.is_some() {
            self.nodes[node].hub.have_claimed.insert(id);
        }
        let entry = self.nodes[node].hub.admission.entry(id);
        self.note(|| format!("    connection {} enters: {entry:?}", id.0));
        let (hello, is_live) = match entry {
            Entry::Begin(hello) => (hello, false),
            Entry::GoOn(hello) => (hello, true),
            Entry::Ended => {
                let reason = Reason::Ended;
                return self.close_with(node, id, link, Frame::Refuse { reason });
            }
            Entry::Again(key) => return self.wait_again(node, id, key, link, has_quit),
            Entry::None => {
                self.hang_up(Side::Server, link, false);
                return self.nodes[node].hub.admission.leave(id);
            }
        };
        let name = hello.name();
        if self.setup.is_shared() && claimed.is_none() {
            self.claim(node, id, link, has_quit, &hello);
            return Orders::new();
        }
        let greeting = Greeting {
            heard: hello.heard,
            has_quit,
            clienthello: hello.clienthello,
        };
        if is_live {
            return match self.accept(node, name.1, link, greeting) {
                Ok(()) => self.nodes[node].hub.admission.leave(id),
                Err(NotAccepted::Ending) if self.setup.breaks(Broken::JustPutAway) => {
                    let reason = Reason::Ended;
                    self.close_with(node, id, link, Frame::Refuse { reason })
                }
                Err(NotAccepted::Ending) => {
                    self.come_early(node, name.1, Early { id, link, has_quit })
                }
                Err(NotAccepted::Violation(violation)) => self.turn_away(node, id, link, violation),
            };
        }
        let has_journal = self.nodes[node].machine.has_journal;
        let parked = self.nodes[node].hub.parked.get(&name.1).cloned();
        let (record, found) = claimed.unzip();
        let parked = parked.or(found);
        let is_parked = parked.is_some();
        let new = || Conversation::new(Role::Server, name.1, heard_when(has_journal));
        let conversation = parked.unwrap_or_else(new);
        if let Err(violation) = conversation.clone().accept(greeting.heard) {
            return self.turn_away(node, id, link, violation);
        }
        // The answer to a claim can be late: others may have gone on since, and to the end. What is
        // said here then is not heard, and the next put says so.
        let is_owner = record.is_none_or(|record| self.shared.is_owner(record));
        let told = self.tale(name.1).of_mut(Side::Server);
        told.is_final &= !is_owner;
        if is_owner && told.outcome == Some(Outcome::Ended) && !told.forgot {
            self.breaks(crate::REOPENED);
        }
        self.begin_live(node, conversation, is_parked && has_journal);
        if let Some(driver) = self.nodes[node].hub.live.get_mut(&name.1) {
            driver.record = record;
        }
        if self.accept(node, name.1, link, greeting).is_err() {
            self.nodes[node].hub.live.remove(&name.1);
            return self.nodes[node].hub.admission.leave(id);
        }
        self.nodes[node].hub.parked.remove(&name.1);
        let orders = self.nodes[node].hub.admission.begin(id);
        self.join_crowd(node, name.1);
        orders
    }

    fn come_early(&mut self, node: Node, id: ConversationId, early: Early) -> Orders {
        match self.nodes[node].hub.early.insert(id, early) {
            Some(earlier) => {
                self.hang_up(Side::Server, earlier.link, true);
                self.nodes[node].hub.admission.leave(earlier.id)
            }
            None => Orders::new(),
        }
    }

    /// `State::claim`.
    fn claim(&mut self, node: Node, id: ConnectionId, link: LinkId, has_quit: bool, hello: &Hello) {
        let name = hello.name();
        let claimant = Claimant {
            conversation: hello.conversation,
            heard: hello.heard,
            clienthello: hello.clienthello,
            has_claimed: self.nodes[node].hub.have_claimed.contains(&id),
        };
        let connection = Connection {
            link,
            key: Some(name.0),
            clienthello: hello.clienthello,
            stage: Stage::Claiming,
        };
        let hub = &mut self.nodes[node].hub;
        hub.connections.insert(id, connection);
        hub.claims.insert(id, (link, has_quit));
        let held = hub.live.get(&name.1).and_then(|driver| driver.record);
        let (life, hello_time) = (self.life(node), self.setup.limits.hello);
        self.queue.after(hello_time, Event::ClaimDue(life, id));
        let is_ours = held.is_some();
        let record = match held {
            Some(record) => record,
            None => self.new_record(node, RecordName::Server(name.0, name.1)),
        };
        self.call(
            record,
            Of::Connection(id),
            What::Claim { claimant, is_ours },
        );
    }

    pub(super) fn is_claiming(&self, node: Node, id: ConnectionId) -> bool {
        self.nodes[node].hub.claims.contains_key(&id)
    }

    /// `State::claimed`.
    pub(super) fn claimed(&mut self, node: Node, id: ConnectionId, claimed: Claimed) {
        let Some((link, has_quit)) = self.nodes[node].hub.claims.remove(&id) else {
            return;
        };
        self.nodes[node].hub.connections.remove(&id);
        self.note(|| format!("    connection {} at {node} has claimed: {claimed:?}", id.0));
        let orders = match claimed {
            Claimed::Ours(record, conversation) => {
                self.enter(node, id, link, has_quit, Some((record, *conversation)))
            }
            Claimed::Ended => {
                let reason = Reason::Ended;
                self.close_with(node, id, link, Frame::Refuse { reason })
            }
            Claimed::Lost => match self.nodes[node].hub.admission.entry(id) {
                Entry::GoOn(hello) => {
                    let early = Early { id, link, has_quit };
                    let orders = self.come_early(node, hello.conversation, early);
                    self.taken_over(At::Server(node, hello.conversation));
                    orders
                }
                _ => self.enter(node, id, link, has_quit, None),
            },
            Claimed::Impossible => {
                self.breaks(crate::ACCUSED);
                Orders::new()
            }
            Claimed::Nothing => {
                self.hang_up(Side::Server, link, false);
                self.nodes[node].hub.admission.leave(id)
            }
        };
        self.give(node, orders);
        self.publish(node);
    }

    /// `Live::new`, and its user has it.
    fn begin_live(&mut self, node: Node, conversation: Conversation, was_stored: bool) {
        let (id, number) = (conversation.id(), self.new_driver());
        let (limits, has_journal) = (self.setup.limits, self.nodes[node].machine.has_journal);
        let mut driver = Driver::new(
            number,
            Role::Server,
            conversation,
            true,
            has_journal,
            &limits,
        );
        driver.was_stored = was_stored;
        driver.hand_over_again(!self.setup.breaks(Broken::Marked));
        self.nodes[node].hub.live.insert(id, driver);
    }

    fn join_crowd(&mut self, node: Node, id: ConversationId) {
        let is_crowded = self.nodes[node].hub.is_crowded;
        if let Some(driver) = self.nodes[node].hub.live.get_mut(&id) {
            driver.session.crowded(is_crowded);
            self.run(At::Server(node, id));
        }
    }

    fn accept(
        &mut self,
        node: Node,
        id: ConversationId,
        link: LinkId,
        greeting: Greeting,
    ) -> Result<(), NotAccepted> {
        let Some(driver) = self.nodes[node].hub.live.get_mut(&id) else {
            return Ok(());
        };
        driver.session.accept(greeting)?;
        driver.arriving = Some(link);
        self.run(At::Server(node, id));
        Ok(())
    }

    fn wait_again(
        &mut self,
        node: Node,
        id: ConnectionId,
        key: KeyId,
        link: LinkId,
        has_quit: bool,
    ) -> Orders {
        let connection = Connection {
            link,
            // An end that cannot be stored is not told of.
            key: Some(key).filter(|_| !self.setup.breaks(Broken::KeyIsKept)),
            clienthello: 0,
            stage: Stage::Waits { has_quit },
        };
        self.nodes[node].hub.connections.insert(id, connection);
        let mut orders = self.nodes[node].hub.admission.again(id);
        if has_quit && !self.setup.is_shared() {
            orders.extend(self.nodes[node].hub.admission.quit(id));
        }
        orders
    }

    fn turn_away(
        &mut self,
        node: Node,
        id: ConnectionId,
        link: LinkId,
        violation: Violation,
    ) -> Orders {
        self.breaks(crate::ACCUSED);
        match LinkError::from(violation).farewell_of() {
            Some(last) => self.close_with(node, id, link, last),
            None => self.nodes[node].hub.admission.leave(id),
        }
    }

    /// Closes a connection in the background, with a last frame.
    fn close_with(&mut self, node: Node, id: ConnectionId, link: LinkId, last: Frame) -> Orders {
        let connection = Connection {
            link,
            key: None,
            clienthello: 0,
            stage: Stage::Gone,
        };
        self.nodes[node].hub.connections.insert(id, connection);
        self.send(Side::Server, link, last);
        self.hang_up(Side::Server, link, false);
        self.soon(node, |life| Event::Left(life, id));
        self.nodes[node].hub.admission.turn_away(id)
    }

    // What is ordered.

    /// `State::give`.
    pub(super) fn give(&mut self, node: Node, orders: Orders) {
        let mut orders = VecDeque::from(orders);
        let mut unstored = Vec::new();
        if self.setup.breaks(Broken::EndBeforeAnswer) {
            let is_end = |order: &&Order| matches!(order, Order::GiveUp { .. });
            let (ends, others): (Vec<_>, Vec<_>) = orders.iter().partition(is_end);
            orders = others.into_iter().chain(ends).copied().collect();
        }
        while let Some(order) = orders.pop_front() {
            if self.burns() || self.nodes[node].machine.disk.has_stopped() {
                return;
            }
            self.note(|| format!("    {order:?}"));
            match order {
                Order::Tell(id, instruction) => self.instruct(node, id, instruction, &unstored),
                Order::Supersede((_, id)) => {
                    if let Some(driver) = self.nodes[node].hub.live.get_mut(&id) {
                        driver.session.supersede();
                        self.run(At::Server(node, id));
                    }
                }
                Order::Expel((_, id)) => {
                    if let Some(driver) = self.nodes[node].hub.live.get_mut(&id) {
                        driver.session.expel();
                        self.run(At::Server(node, id));
                    }
                }
                Order::GiveUp {
                    name: (key, id),
                    clienthello,
                    ..
                } => {
                    let Some(parked) = self.nodes[node].hub.parked.remove(&id) else {
                        continue;
                    };
                    if let Some(record) = self.nodes[node].hub.records.remove(&id) {
                        self.give_up_anywhere(record, parked);
                        continue;
                    }
                    let told = match self.end_parked(node, id, parked.clone()) {
                        Ok(()) => self.nodes[node].hub.admission.ended((key, id)),
                        Err(error) => {
                            unstored.push(key);
                            if error == StoreError::TakenOver {
                                self.out_of_reach(node, (key, id))
                            } else {
                                self.nodes[node].hub.parked.insert(id, parked);
                                self.nodes[node].hub.admission.kept((key, id), clienthello)
                            }
                        }
                    };
                    let told = told.into_iter().rev();
                    told.for_each(|order| orders.push_front(order));
                }
                Order::Forget((_, id)) => self.forget_end(node, id),
                Order::Arm(timer, delay) => {
                    let fires = Event::HubFires(self.life(node), timer);
                    let number = self.queue.after(delay, fires);
                    self.nodes[node].hub.timers.insert(timer, number);
                }
                Order::Disarm(timer) => _ = self.nodes[node].hub.timers.remove(&timer),
            }
        }
    }

    /// Somebody else goes on with it.
    fn out_of_reach(&mut self, node: Node, name: ConversationName) -> Orders {
        let breaks = self.setup.breaks(Broken::OutOfReach);
        let admission = &mut self.nodes[node].hub.admission;
        match breaks {
            true => admission.forget(name),
            false => admission.taken_over(name),
        }
    }

    /// `State::instruct`, and what the connection's task does.
    fn instruct(
        &mut self,
        node: Node,
        id: ConnectionId,
        instruction: Instruction,
        unstored: &[KeyId],
    ) {
        let Some(Connection {
            link, key, stage, ..
        }) = self.nodes[node].hub.connections.get(&id).copied()
        else {
            return;
        };
        let is_unstored = key.is_some_and(|key| unstored.contains(&key));
        let instruction = match is_unstored {
            true => Instruction::Close,
            false => instruction,
        };
        if let (Instruction::Enter, Some((answering, is_let_in))) =
            (instruction, &mut self.nodes[node].hub.answering)
            && *answering == id
        {
            *is_let_in = true;
            return;
        }
        let has_quit = match stage {
            Stage::Stranger => false,
            Stage::Waits { has_quit } => has_quit,
            Stage::Claiming => {
                self.nodes[node].hub.claims.remove(&id);
                false
            }
            Stage::Gone if self.setup.breaks(Broken::SeatComesBack) => {
                if instruction == Instruction::Enter {
                    self.nodes[node].hub.admission.begin(id);
                }
                return;
            }
            // Whoever has handed itself over, or is gone, hears nothing.
            Stage::Entering { .. } | Stage::Gone => return,
        };
        let last = match instruction {
            Instruction::Enter => {
                self.set_stage(node, id, Stage::Entering { has_quit });
                return self.soon(node, |life| Event::Entered(life, id));
            }
            Instruction::Wait { ahead } => {
                return self.send(Side::Server, link, Frame::Wait { ahead });
            }
            Instruction::Refuse(reason) => Some(Frame::Refuse { reason }),
            Instruction::Replaced => Some(REPLACED),
            Instruction::Quit => Some(Frame::Quit {}),
            Instruction::Close => None,
        };
        if instruction == Instruction::Refuse(Reason::UnknownPeer)
            && let Some(client) = self.links.get(&link).and_then(|of| of.client)
            && let Some(driver) = self.driver(At::Client(client))
        {
            // Its client drops it, even if it crashes before it can say so.
            let id = driver.conversation().id();
            self.tale(id).is_end_wanted = true;
        }
        if let Some(last) = last {
            self.send(Side::Server, link, last);
        }
        self.set_stage(node, id, Stage::Gone);
        self.hang_up(Side::Server, link, false);
        self.soon(node, |life| Event::Left(life, id));
    }

    /// `State::publish`.
    fn publish(&mut self, node: Node) {
        let is_crowded = self.nodes[node].hub.admission.is_crowded();
        if std::mem::replace(&mut self.nodes[node].hub.is_crowded, is_crowded) != is_crowded {
            let live: Vec<_> = self.nodes[node].hub.live.keys().copied().collect();
            live.into_iter().for_each(|id| self.join_crowd(node, id));
        }
    }

    /// `HubEvent::Over`.
    pub(super) fn put_away_server(&mut self, node: Node, id: ConversationId) {
        let Some(driver) = self.nodes[node].hub.live.remove(&id) else {
            return;
        };
        let name = self.name_of(id);
        let mut orders = match driver.remains {
            Some(Remains::Parked(conversation)) => {
                let hub = &mut self.nodes[node].hub;
                hub.parked.insert(id, *conversation);
                hub.records.extend(driver.record.map(|record| (id, record)));
                let mut orders = hub.admission.parked(name);
                if self.setup.is_shared() && hub.admission.is_open(&name) {
                    hub.parked.remove(&id);
                    hub.records.remove(&id);
                    orders.extend(hub.admission.forget(name));
                }
                orders
            }
            Some(Remains::Nothing) => self.out_of_reach(node, name),
            _ => self.nodes[node].hub.admission.ended(name),
        };
        if self.setup.breaks(Broken::EndsRemembered) {
            self.nodes[node].hub.admission.forget_end(&name);
        }
        if let Some(Early { id, link, has_quit }) = self.nodes[node].hub.early.remove(&id) {
            orders.extend(self.enter(node, id, link, has_quit, None));
        }
        self.give(node, orders);
        self.publish(node);
        let rest = self.dice.up_to(self.setup.thought);
        self.queue.after(rest, Event::Seat(self.life(node)));
    }

    /// `ServerBuilder::start` and `State::restore`.
    pub(super) fn start_server(&mut self, node: Node) {
        if std::mem::replace(&mut self.nodes[node].machine.is_up, true) {
            return;
        }
        let book = std::mem::take(&mut self.nodes[node].hub.book);
        self.nodes[node].hub = Hub {
            book,
            ..Hub::new(&self.setup)
        };
        if self.setup.is_shared() {
            let seats = self.nodes[node].hub.admission.seats(self.setup.seats);
            return self.give(node, seats);
        }
        let Ok(mut stored) = self.nodes[node].machine.load_all() else {
            // Where the disk has stopped, the machine crashes next.
            if !self.nodes[node].machine.disk.has_stopped() {
                self.breaks(crate::READABLE);
            }
            return;
        };
        stored.sort_by_key(|contents| (contents.clienthello, contents.conversation.id));
        let last = stored.iter().map(|contents| contents.clienthello).max();
        self.nodes[node].hub.clienthellos = last.map_or(0, |last| last + 1);
        let mut orders = Orders::new();
        let mut restored = Vec::new();
        for contents in stored {
            let name = (contents.peer, contents.conversation.id);
            let Some(conversation) = Conversation::restore(Role::Server, contents.conversation)
            else {
                return self.breaks(crate::READABLE);
            };
            if conversation.has_quit() {
                orders.extend(self.nodes[node].hub.admission.ended(name));
                let untold = Untold::of(&conversation);
                if untold.has_something() && !self.setup.breaks(Broken::EndsAreTold) {
                    self.tell_later(node, untold);
                }
                continue;
            }
            let restored_as =
                self.nodes[node]
                    .hub
                    .admission
                    .restore(name, contents.clienthello, Duration::ZERO);
            orders.extend(restored_as);
            restored.push((name, conversation, contents.live, contents.clienthello));
        }
        let is_held = |(name, _, is_live, _): &(ConversationName, Conversation, bool, u64)| {
            *is_live && self.nodes[node].hub.admission.is_open(name)
        };
        let held = restored
            .iter()
            .rposition(is_held)
            .filter(|_| self.setup.one_at_a_time);
        let is_admitted = |key: &KeyId| !self.setup.asks || self.nodes[node].hub.book.contains(key);
        let held = held.filter(|place| is_admitted(&restored[*place].0.0));
        for (place, (name, conversation, _, clienthello)) in restored.into_iter().enumerate() {
            if held == Some(place) {
                orders.extend(self.nodes[node].hub.admission.hold(name));
                self.begin_live(node, conversation, true);
                if let Some(driver) = self.nodes[node].hub.live.get_mut(&name.1) {
                    driver.session.hold(clienthello);
                }
                self.run(At::Server(node, name.1));
            } else {
                self.nodes[node].hub.parked.insert(name.1, conversation);
            }
        }
        self.give(node, orders);
        let seats = self.nodes[node].hub.admission.seats(self.setup.seats);
        self.give(node, seats);
        self.check_restored(node);
    }
}

/// `LinkError::farewell`.
trait Farewell {
    fn farewell_of(&self) -> Option<Frame>;
}

impl Farewell for LinkError {
    fn farewell_of(&self) -> Option<Frame> {
        match self {
            Self::Violation(violation) => Some(Frame::Error {
                code: violation.code(),
                detail: None,
            }),
            _ => None,
        }
    }
}
