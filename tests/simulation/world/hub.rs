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
use turnchat::internals::{Conversation, Frame, Role, StoreError};
use turnchat::{ConversationId, KeyId, LinkError, Reason, Violation};

use super::driver::Driver;
use super::network::{LinkId, Parcel};
use super::untold::Untold;
use super::{At, Event, World};
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
            admission: Admission::new(&setup.limits, one_at_a_time),
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
        self.live.is_empty() && self.connections.is_empty() && self.early.is_empty()
    }
}

impl World {
    fn name_of(&self, id: ConversationId) -> ConversationName {
        (self.key(self.owner(id)), id)
    }

    /// `Hub::handle_event`, and what else its task waits for.
    pub(super) fn at_hub(&mut self, number: u64, event: Event) {
        let orders = match event {
            Event::Entered(_, id) => match self.hub.connections.remove(&id) {
                Some(Connection {
                    link,
                    stage: Stage::Entering { has_quit },
                    ..
                }) => self.enter(id, link, has_quit),
                _ => Orders::new(),
            },
            Event::Left(_, id) => {
                self.hub.connections.remove(&id);
                self.hub.admission.leave(id)
            }
            Event::HelloDue(_, id) => {
                let connection = self.hub.connections.get(&id);
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
            Event::HubFires(_, timer) => match self.hub.timers.get(&timer) == Some(&number) {
                true => {
                    self.note(|| format!("    {timer:?} fires"));
                    self.hub.timers.remove(&timer);
                    self.hub.admission.fired(timer)
                }
                false => Orders::new(),
            },
            Event::Answers(_, key) => match self.hub.admission.is_asking(&key) {
                true => {
                    self.hub.book.insert(key);
                    self.hub.admission.answer(&key, Verdict::Admit)
                }
                false => Orders::new(),
            },
            Event::Seat(_) => self.hub.admission.seats(1),
            Event::ReadsEnd(_) => return self.read_end(),
            _ => return,
        };
        self.give(orders);
        self.publish();
    }

    fn soon(&mut self, event: impl FnOnce(u32) -> Event) {
        let soon = self.dice.up_to(self.setup.delay);
        let event = event(self.server.life);
        self.queue.after(soon, event);
    }

    // A connection, up to its `hello`.

    /// `Hub::receive`.
    pub(super) fn accepted(&mut self, link: LinkId) {
        if !self.server.is_up {
            return self.hang_up(Side::Server, link, true);
        }
        let Some(of) = self.links.get_mut(&link) else {
            return;
        };
        let id = ConnectionId(self.hub.accepted);
        self.hub.accepted += 1;
        of.accepted = Some((id, self.server.life));
        let from = of.client.map_or(200, |client| client as u8);
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, from));
        let connection = Connection {
            link,
            key: None,
            clienthello: 0,
            stage: Stage::Stranger,
        };
        self.hub.connections.insert(id, connection);
        let due = Event::HelloDue(self.server.life, id);
        self.queue.after(self.setup.limits.hello, due);
        let clienthello = self.dice.evenly(self.setup.latency);
        self.queue.after(clienthello, Event::ClientHello(link));
        let orders = self.hub.admission.arrive(id, Some(address));
        self.give(orders);
        self.publish();
    }

    /// `choose` in `greet`: it has its place in the order of all.
    pub(super) fn client_hello(&mut self, link: LinkId) {
        let Some(id) = self.connection_on(link) else {
            return;
        };
        let hub = &mut self.hub;
        if let Some(connection) = hub.connections.get_mut(&id) {
            connection.clienthello = hub.clienthellos;
            hub.clienthellos += 1;
            hub.admission.greeted(id);
            let handshake = self.dice.evenly(2 * self.setup.latency);
            self.queue.after(handshake, Event::Proven(link));
        }
    }

    /// The server's connection on this link, if it is of this life and was not handed over.
    fn connection_on(&self, link: LinkId) -> Option<ConnectionId> {
        let (id, life) = self.links.get(&link)?.accepted?;
        let is_here = life == self.server.life && self.hub.connections.contains_key(&id);
        is_here.then_some(id)
    }

    /// `greet` and `obey`: something has come on a connection that was not handed over.
    pub(super) fn greet(&mut self, link: LinkId) {
        while let Some(id) = self.connection_on(link)
            && let Connection { stage, .. } = self.hub.connections[&id]
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
                ) => self.hello(id, conversation, heard),
                (Stage::Waits { .. }, Parcel::Frame(Frame::Quit {})) => {
                    let waits = Stage::Waits { has_quit: true };
                    self.set_stage(id, waits);
                    self.forget_if_undecided(link);
                    let orders = self.hub.admission.quit(id);
                    self.give(orders);
                }
                (Stage::Waits { has_quit: true }, Parcel::Frame(_)) => {}
                (_, Parcel::Frame(Frame::Error { .. }) | Parcel::End) => {
                    self.connection_is_gone(link);
                }
                _ => self.breaks(crate::ACCUSED),
            }
            self.publish();
        }
    }

    /// A stranger's end is not remembered, else anybody could fill the server's memory of ends:
    /// a `hello` that was held back begins its conversation, once the key is let in.
    fn forget_if_undecided(&mut self, link: LinkId) {
        let client = self.links.get(&link).and_then(|of| of.client);
        if let Some(client) = client
            && self.hub.admission.is_asking(&self.key(client))
            && let Some(driver) = self.clients[client].driver()
        {
            let id = driver.conversation().id();
            self.tale(id).forget(Side::Client);
        }
    }

    fn set_stage(&mut self, id: ConnectionId, stage: Stage) {
        if let Some(connection) = self.hub.connections.get_mut(&id) {
            connection.stage = stage;
        }
    }

    /// Its task ends, and says so.
    pub(super) fn connection_is_gone(&mut self, link: LinkId) {
        if let Some(id) = self.connection_on(link)
            && let Stage::Stranger | Stage::Waits { .. } = self.hub.connections[&id].stage
        {
            self.set_stage(id, Stage::Gone);
            self.hang_up(Side::Server, link, false);
            self.soon(|life| Event::Left(life, id));
        }
    }

    /// `Hub::hello` and `Hub::judge`.
    fn hello(&mut self, id: ConnectionId, conversation: ConversationId, heard: u64) {
        let Connection {
            link, clienthello, ..
        } = self.hub.connections[&id];
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
            Some(_) if self.setup.asks && !self.hub.book.contains(&key) => None,
            Some(_) => Some(Verdict::Admit),
        };
        if let Some(connection) = self.hub.connections.get_mut(&id) {
            connection.key = Some(key);
            connection.stage = Stage::Waits { has_quit: false };
        }
        let orders = self.hub.admission.hello(id, hello, verdict);
        if verdict.is_none() && self.hub.admission.is_asking(&key) {
            let thought = self.dice.up_to(Duration::from_secs(150));
            self.queue
                .after(thought, Event::Answers(self.server.life, key));
        }
        self.hub.answering = Some((id, false));
        self.give(orders);
        if let Some((_, true)) = self.hub.answering.take() {
            self.hub.connections.remove(&id);
            let orders = self.enter(id, link, false);
            self.give(orders);
        }
    }

    // The one way in.

    /// `Hub::enter`.
    fn enter(&mut self, id: ConnectionId, link: LinkId, has_quit: bool) -> Orders {
        if self.is_blown() {
            return Orders::new();
        }
        let entry = self.hub.admission.entry(id);
        self.note(|| format!("    connection {} enters: {entry:?}", id.0));
        let (hello, is_live) = match entry {
            Entry::Begin(hello) => (hello, false),
            Entry::GoOn(hello) => (hello, true),
            Entry::Ended => {
                let reason = Reason::Ended;
                return self.close_with(id, link, Frame::Refuse { reason });
            }
            Entry::Again(key) => return self.wait_again(id, key, link, has_quit),
            Entry::None => {
                self.hang_up(Side::Server, link, false);
                return self.hub.admission.leave(id);
            }
        };
        let name = hello.name();
        let greeting = Greeting {
            heard: hello.heard,
            has_quit,
            clienthello: hello.clienthello,
        };
        if is_live {
            return match self.accept(name.1, link, greeting) {
                Ok(()) => self.hub.admission.leave(id),
                Err(NotAccepted::Ending) if self.setup.breaks(Broken::JustPutAway) => {
                    let reason = Reason::Ended;
                    self.close_with(id, link, Frame::Refuse { reason })
                }
                Err(NotAccepted::Ending) => {
                    let early = Early { id, link, has_quit };
                    match self.hub.early.insert(name.1, early) {
                        Some(earlier) => {
                            self.hang_up(Side::Server, earlier.link, true);
                            self.hub.admission.leave(earlier.id)
                        }
                        None => Orders::new(),
                    }
                }
                Err(NotAccepted::Violation(violation)) => self.turn_away(id, link, violation),
            };
        }
        let has_journal = self.server.has_journal;
        let parked = self.hub.parked.get(&name.1).cloned();
        let is_parked = parked.is_some();
        let new = || Conversation::new(Role::Server, name.1, heard_when(has_journal));
        let conversation = parked.unwrap_or_else(new);
        if let Err(violation) = conversation.clone().accept(greeting.heard) {
            return self.turn_away(id, link, violation);
        }
        let tale = self.tale(name.1);
        let told = tale.of_mut(Side::Server);
        told.untold = false;
        if told.outcome == Some(Outcome::Ended) && !told.forgot {
            self.breaks(crate::REOPENED);
        }
        self.begin_live(conversation, is_parked && has_journal);
        if self.accept(name.1, link, greeting).is_err() {
            self.hub.live.remove(&name.1);
            return self.hub.admission.leave(id);
        }
        self.hub.parked.remove(&name.1);
        let orders = self.hub.admission.begin(id);
        self.join_crowd(name.1);
        orders
    }

    /// `Live::new`, and its user has it.
    fn begin_live(&mut self, conversation: Conversation, was_stored: bool) {
        let (id, number) = (conversation.id(), self.new_driver());
        let (limits, has_journal) = (self.setup.limits, self.server.has_journal);
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
        self.hub.live.insert(id, driver);
    }

    fn join_crowd(&mut self, id: ConversationId) {
        let is_crowded = self.hub.is_crowded;
        if let Some(driver) = self.hub.live.get_mut(&id) {
            driver.session.crowded(is_crowded);
            self.run(At::Server(id));
        }
    }

    fn accept(
        &mut self,
        id: ConversationId,
        link: LinkId,
        greeting: Greeting,
    ) -> Result<(), NotAccepted> {
        let Some(driver) = self.hub.live.get_mut(&id) else {
            return Ok(());
        };
        driver.session.accept(greeting)?;
        driver.arriving = Some(link);
        self.run(At::Server(id));
        Ok(())
    }

    fn wait_again(&mut self, id: ConnectionId, key: KeyId, link: LinkId, has_quit: bool) -> Orders {
        let connection = Connection {
            link,
            // An end that cannot be stored is not told of.
            key: Some(key).filter(|_| !self.setup.breaks(Broken::KeyIsKept)),
            clienthello: 0,
            stage: Stage::Waits { has_quit },
        };
        self.hub.connections.insert(id, connection);
        let mut orders = self.hub.admission.again(id);
        if has_quit {
            orders.extend(self.hub.admission.quit(id));
        }
        orders
    }

    fn turn_away(&mut self, id: ConnectionId, link: LinkId, violation: Violation) -> Orders {
        self.breaks(crate::ACCUSED);
        match LinkError::from(violation).farewell_of() {
            Some(last) => self.close_with(id, link, last),
            None => self.hub.admission.leave(id),
        }
    }

    /// Closes a connection in the background, with a last frame.
    fn close_with(&mut self, id: ConnectionId, link: LinkId, last: Frame) -> Orders {
        let connection = Connection {
            link,
            key: None,
            clienthello: 0,
            stage: Stage::Gone,
        };
        self.hub.connections.insert(id, connection);
        self.send(Side::Server, link, last);
        self.hang_up(Side::Server, link, false);
        self.soon(|life| Event::Left(life, id));
        self.hub.admission.turn_away(id)
    }

    // What is ordered.

    /// `Hub::give`.
    pub(super) fn give(&mut self, orders: Orders) {
        let mut orders = VecDeque::from(orders);
        let mut unstored = Vec::new();
        if self.setup.breaks(Broken::EndBeforeAnswer) {
            let is_end = |order: &&Order| matches!(order, Order::GiveUp(..));
            let (ends, others): (Vec<_>, Vec<_>) = orders.iter().partition(is_end);
            orders = others.into_iter().chain(ends).copied().collect();
        }
        while let Some(order) = orders.pop_front() {
            if self.burns() || self.server.disk.has_stopped() {
                return;
            }
            self.note(|| format!("    {order:?}"));
            match order {
                Order::Tell(id, instruction) => self.instruct(id, instruction, &unstored),
                Order::Supersede((_, id)) => {
                    if let Some(driver) = self.hub.live.get_mut(&id) {
                        driver.session.supersede();
                        self.run(At::Server(id));
                    }
                }
                Order::Expel((_, id)) => {
                    if let Some(driver) = self.hub.live.get_mut(&id) {
                        driver.session.expel();
                        self.run(At::Server(id));
                    }
                }
                Order::GiveUp((key, id), _) => {
                    let Some(parked) = self.hub.parked.remove(&id) else {
                        continue;
                    };
                    let told = match self.end_parked(id, parked.clone()) {
                        Ok(()) => self.hub.admission.ended((key, id)),
                        Err(error) => {
                            unstored.push(key);
                            if error == StoreError::TakenOver {
                                self.hub.admission.forget((key, id))
                            } else {
                                self.hub.parked.insert(id, parked);
                                self.hub.admission.kept((key, id))
                            }
                        }
                    };
                    let told = told.into_iter().rev();
                    told.for_each(|order| orders.push_front(order));
                }
                Order::Forget((_, id)) => self.forget_end(id),
                Order::Arm(timer, delay) => {
                    let fires = Event::HubFires(self.server.life, timer);
                    let number = self.queue.after(delay, fires);
                    self.hub.timers.insert(timer, number);
                }
                Order::Disarm(timer) => _ = self.hub.timers.remove(&timer),
            }
        }
    }

    /// `Hub::instruct`, and what the connection's task does.
    fn instruct(&mut self, id: ConnectionId, instruction: Instruction, unstored: &[KeyId]) {
        let Some(Connection {
            link, key, stage, ..
        }) = self.hub.connections.get(&id).copied()
        else {
            return;
        };
        let is_unstored = key.is_some_and(|key| unstored.contains(&key));
        let instruction = match is_unstored {
            true => Instruction::Close,
            false => instruction,
        };
        if let (Instruction::Enter, Some((answering, is_let_in))) =
            (instruction, &mut self.hub.answering)
            && *answering == id
        {
            *is_let_in = true;
            return;
        }
        let has_quit = match stage {
            Stage::Stranger => false,
            Stage::Waits { has_quit } => has_quit,
            Stage::Gone if self.setup.breaks(Broken::SeatComesBack) => {
                if instruction == Instruction::Enter {
                    self.hub.admission.begin(id);
                }
                return;
            }
            // Whoever has handed itself over, or is gone, hears nothing.
            Stage::Entering { .. } | Stage::Gone => return,
        };
        let last = match instruction {
            Instruction::Enter => {
                self.set_stage(id, Stage::Entering { has_quit });
                return self.soon(|life| Event::Entered(life, id));
            }
            Instruction::Wait { ahead } => {
                return self.send(Side::Server, link, Frame::Wait { ahead });
            }
            Instruction::Refuse(reason) => Some(Frame::Refuse { reason }),
            Instruction::Replaced => Some(REPLACED),
            Instruction::Quit => Some(Frame::Quit {}),
            Instruction::Close => None,
        };
        if let Some(last) = last {
            self.send(Side::Server, link, last);
        }
        self.set_stage(id, Stage::Gone);
        self.hang_up(Side::Server, link, false);
        self.soon(|life| Event::Left(life, id));
    }

    /// `Hub::publish`.
    fn publish(&mut self) {
        let is_crowded = self.hub.admission.is_crowded();
        if std::mem::replace(&mut self.hub.is_crowded, is_crowded) != is_crowded {
            let live: Vec<_> = self.hub.live.keys().copied().collect();
            live.into_iter().for_each(|id| self.join_crowd(id));
        }
    }

    /// `HubEvent::Over`.
    pub(super) fn put_away_server(&mut self, id: ConversationId) {
        let Some(driver) = self.hub.live.remove(&id) else {
            return;
        };
        let name = self.name_of(id);
        let mut orders = match driver.remains {
            Some(Remains::Parked(conversation)) => {
                self.hub.parked.insert(id, *conversation);
                self.hub.admission.parked(name)
            }
            Some(Remains::Nothing) => self.hub.admission.forget(name),
            _ => self.hub.admission.ended(name),
        };
        if self.setup.breaks(Broken::EndsRemembered) {
            self.hub.admission.forget_end(&name);
        }
        if let Some(Early { id, link, has_quit }) = self.hub.early.remove(&id) {
            orders.extend(self.enter(id, link, has_quit));
        }
        self.give(orders);
        self.publish();
        let rest = self.dice.up_to(self.setup.thought);
        self.queue.after(rest, Event::Seat(self.server.life));
    }

    /// `ServerBuilder::start` and `Hub::restore`.
    pub(super) fn start_server(&mut self) {
        if std::mem::replace(&mut self.server.is_up, true) {
            return;
        }
        let book = std::mem::take(&mut self.hub.book);
        self.hub = Hub {
            book,
            ..Hub::new(&self.setup)
        };
        let Ok(mut stored) = self.server.load_all() else {
            // Where the disk has stopped, the machine crashes next.
            if !self.server.disk.has_stopped() {
                self.breaks(crate::READABLE);
            }
            return;
        };
        stored.sort_by_key(|contents| (contents.clienthello, contents.conversation.id));
        let last = stored.iter().map(|contents| contents.clienthello).max();
        self.hub.clienthellos = last.map_or(0, |last| last + 1);
        let mut orders = Orders::new();
        let mut restored = Vec::new();
        for contents in stored {
            let name = (contents.peer, contents.conversation.id);
            let Some(conversation) = Conversation::restore(Role::Server, contents.conversation)
            else {
                return self.breaks(crate::READABLE);
            };
            if conversation.has_quit() {
                orders.extend(self.hub.admission.ended(name));
                let untold = Untold::of(&conversation);
                if untold.has_something() && !self.setup.breaks(Broken::EndsAreTold) {
                    self.tell_later(untold);
                }
                continue;
            }
            let restored_as =
                self.hub
                    .admission
                    .restore(name, contents.clienthello, Duration::ZERO);
            orders.extend(restored_as);
            restored.push((name, conversation, contents.live, contents.clienthello));
        }
        let is_held = |(name, _, is_live, _): &(ConversationName, Conversation, bool, u64)| {
            *is_live && self.hub.admission.is_open(name)
        };
        let held = restored
            .iter()
            .rposition(is_held)
            .filter(|_| self.setup.one_at_a_time);
        let is_admitted = |key: &KeyId| !self.setup.asks || self.hub.book.contains(key);
        let held = held.filter(|place| is_admitted(&restored[*place].0.0));
        for (place, (name, conversation, _, clienthello)) in restored.into_iter().enumerate() {
            if held == Some(place) {
                orders.extend(self.hub.admission.hold(name));
                self.begin_live(conversation, true);
                if let Some(driver) = self.hub.live.get_mut(&name.1) {
                    driver.session.hold(clienthello);
                }
                self.run(At::Server(name.1));
            } else {
                self.hub.parked.insert(name.1, conversation);
            }
        }
        self.give(orders);
        let seats = self.hub.admission.seats(self.setup.seats);
        self.give(seats);
        self.check_restored();
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
