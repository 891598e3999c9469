//! The server, as src/link/server/hub.rs, src/link/server/connection.rs and
//! src/link/server/mod.rs have it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use turnchat::Verdict;
use turnchat::internals::admission::{
    Admission, ConversationName, Entry, Hello, Instruction, Order, Orders, Timer,
};
use turnchat::internals::session::{Greeting, NotAccepted, Remains};
use turnchat::internals::{By, Conversation, Frame, HeardWhen, Role, Snapshot};
use turnchat::{Code, ConversationId, Limits, Message, Reason};

use super::driver::Driver;
use super::{Number, World, connection_id, number_of};
use crate::config::{Config, Side};
use crate::rules::Broken;
use crate::tale::Outcome;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Connection {
    Stranger,
    Greeted {
        conversation: ConversationId,
        heard: u64,
        has_quit: bool,
    },
    /// It has handed itself over, and the hub does not know yet.
    Entered {
        conversation: ConversationId,
        heard: u64,
        has_quit: bool,
    },
    /// Its task is gone, and the hub does not know yet.
    Gone(ConversationId),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hub {
    pub(super) admission: Admission,
    /// Of admission's timers, those that matter: places in the queue.
    pub(super) timers: BTreeSet<Timer>,
    pub(super) connections: BTreeMap<Number, Connection>,
    /// Those that are on or held, by the number of the conversation.
    pub(super) live: BTreeMap<Number, Box<Driver>>,
    pub(super) parked: BTreeMap<ConversationId, Conversation>,
    /// What a crash leaves; whose peer came last stands last.
    pub(super) records: Vec<Record>,
    /// Ends that the server's user has still to read of (`ServerEvents`).
    pub(super) untold: VecDeque<Snapshot>,
    /// Sessions that have not learned yet that their peer has begun another conversation.
    pub(super) superseding: BTreeSet<Number>,
    /// `Server::next` is waited for.
    pub(super) is_seat_asked: bool,
    /// Welcomed, for the user; the first is being talked in.
    pub(super) talks: VecDeque<ConversationId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) snapshot: Snapshot,
    pub(super) is_live: bool,
    pub(super) clienthello: u64,
}

impl Record {
    /// Of an end: a message that was not acknowledged, or not taken.
    pub(super) fn is_to_be_told(&self) -> bool {
        let Snapshot {
            said,
            acknowledged,
            last_heard,
            ..
        } = &self.snapshot;
        (self.snapshot.last_said.is_some() && said > acknowledged) || last_heard.is_some()
    }

    pub(super) fn end(id: ConversationId) -> Self {
        Self {
            snapshot: Conversation::new(Role::Server, id, HeardWhen::Stored).tombstone(),
            is_live: false,
            clienthello: 0,
        }
    }
}

impl Hub {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            admission: Admission::new(&Limits::default(), !config.breaks(Broken::OneOpen)),
            timers: BTreeSet::new(),
            connections: BTreeMap::new(),
            live: BTreeMap::new(),
            parked: BTreeMap::new(),
            untold: VecDeque::new(),
            records: Vec::new(),
            superseding: BTreeSet::new(),
            is_seat_asked: false,
            talks: VecDeque::new(),
        }
    }
}

/// Conversations are numbered by what their ids are made of.
pub(super) fn number_of_id(id: ConversationId) -> Number {
    let mut numbers = 0..=Number::MAX;
    numbers.find(|number| super::id(*number) == id).unwrap()
}

impl World {
    fn name(config: &Config, id: ConversationId) -> ConversationName {
        (config.peer.key(), id)
    }

    /// src/link/server/connection.rs, `greet` and `wait`.
    pub(super) fn up(&mut self, config: &Config, number: Number) {
        let link = self.links.get_mut(&number).unwrap();
        let frame = link.up.pop_front().unwrap();
        match (self.hub.connections.get_mut(&number), frame) {
            (
                Some(Connection::Stranger),
                Frame::Hello {
                    conversation,
                    heard,
                },
            ) => self.hello(config, number, conversation, heard),
            (Some(Connection::Greeted { has_quit, .. }), Frame::Quit {}) => {
                *has_quit = true;
                let orders = self.hub.admission.quit(connection_id(number));
                self.give(config, orders);
            }
            (Some(Connection::Greeted { has_quit: true, .. }), _) => {}
            (Some(Connection::Greeted { conversation, .. }), Frame::Error { .. }) => {
                // The task ends, and says so.
                let gone = Connection::Gone(*conversation);
                self.hub.connections.insert(number, gone);
                self.hang_up(Side::Server, number, false);
            }
            (Some(Connection::Stranger | Connection::Greeted { .. }), _) => {
                self.breaks(crate::ACCUSED)
            }
            (_, frame) => {
                if let Some(at) = self.session_on(number) {
                    self.receive(config, Side::Server, at, frame);
                }
            }
        }
    }

    /// `State::hello`.
    fn hello(&mut self, config: &Config, number: Number, conversation: ConversationId, heard: u64) {
        let greeted = Connection::Greeted {
            conversation,
            heard,
            has_quit: false,
        };
        self.hub.connections.insert(number, greeted);
        let clienthello = match config.breaks(Broken::NewestWins) {
            true => 0,
            false => number.into(),
        };
        let hello = Hello {
            peer: config.peer,
            conversation,
            heard,
            clienthello,
        };
        let id = connection_id(number);
        let admission = &mut self.hub.admission;
        if config.breaks(Broken::RefusedChangesNothing)
            && heard > 0
            && !admission.is_open(&hello.name())
        {
            let begins = Hello { heard: 0, ..hello };
            let mut orders = admission.hello(id, begins, Some(Verdict::Admit));
            orders.retain(|order| !matches!(order, Order::Tell(other, _) if *other == id));
            orders.push(Order::Tell(id, Instruction::Refuse(Reason::Ended)));
            return self.give(config, orders);
        }
        let orders = admission.hello(id, hello, Some(Verdict::Admit));
        self.give(config, orders);
    }

    /// `State::give`, and what connections and sessions do about it.
    pub(super) fn give(&mut self, config: &Config, orders: Orders) {
        let mut orders = VecDeque::from(orders);
        if config.breaks(Broken::EndBeforeAnswer) {
            let is_end = |order: &&Order| matches!(order, Order::GiveUp { .. });
            let (ends, others): (Vec<_>, Vec<_>) = orders.iter().partition(is_end);
            orders = others.into_iter().chain(ends).copied().collect();
        }
        while let Some(order) = orders.pop_front() {
            if self.is_blown {
                return;
            }
            let told = match order {
                Order::Tell(id, instruction) => self.instruct(config, number_of(id), instruction),
                Order::Supersede((_, id)) => {
                    let number = number_of_id(id);
                    match config.size.tells_late {
                        true => _ = self.hub.superseding.insert(number),
                        false => self.supersede(config, number),
                    }
                    Orders::new()
                }
                // Nobody is expelled in the model.
                Order::Expel(_) => Orders::new(),
                Order::GiveUp { name: (_, id), .. } => self.give_up(config, id),
                Order::Arm(timer @ Timer::Place(..), _) => {
                    self.hub.timers.insert(timer);
                    Orders::new()
                }
                Order::Disarm(timer) => {
                    self.hub.timers.remove(&timer);
                    Orders::new()
                }
                // Days are not waited for.
                Order::Arm(..) | Order::Forget(_) => Orders::new(),
            };
            told.into_iter()
                .rev()
                .for_each(|order| orders.push_front(order));
        }
    }

    pub(super) fn supersede(&mut self, config: &Config, number: Number) {
        self.hub.superseding.remove(&number);
        if let Some(live) = self.hub.live.get_mut(&number) {
            live.session.supersede();
            self.process(config, Side::Server, number, false);
        }
    }

    fn instruct(&mut self, config: &Config, number: Number, instruction: Instruction) -> Orders {
        let last = match (instruction, self.hub.connections.get_mut(&number)) {
            (Instruction::Enter, Some(Connection::Gone(id))) => {
                let id = *id;
                // Its seat comes back when it has left, and what was parked is parked still.
                if config.breaks(Broken::SeatComesBack) {
                    return self.hub.admission.begin(connection_id(number));
                }
                if config.breaks(Broken::ParkedStays) && self.hub.parked.remove(&id).is_some() {
                    self.hub.admission.ended(Self::name(config, id));
                    self.hub.admission.forget_end(&Self::name(config, id));
                }
                return Orders::new();
            }
            // Whoever has handed itself over, or is gone, hears nothing.
            (_, None | Some(Connection::Entered { .. } | Connection::Gone(_))) => {
                return Orders::new();
            }
            (Instruction::Enter, Some(connection)) => {
                if let Connection::Greeted {
                    conversation,
                    heard,
                    has_quit,
                } = *connection
                {
                    *connection = Connection::Entered {
                        conversation,
                        heard,
                        has_quit,
                    };
                }
                return Orders::new();
            }
            (Instruction::Wait { ahead }, _) => {
                self.send(Side::Server, number, Frame::Wait { ahead });
                return Orders::new();
            }
            (Instruction::Refuse(reason), _) => Some(Frame::Refuse { reason }),
            (Instruction::Replaced, _) => Some(Frame::Error {
                code: Code::Replaced,
                detail: None,
            }),
            (Instruction::Quit, _) => Some(Frame::Quit {}),
            (Instruction::Close, _) => None,
        };
        if let Some(frame) = last {
            self.send(Side::Server, number, frame);
        }
        self.hang_up(Side::Server, number, false);
        self.hub.connections.remove(&number);
        self.hub.admission.leave(connection_id(number))
    }

    /// `State::enter`: the one way in.
    pub(super) fn enter(&mut self, config: &Config, number: Number) {
        let connection = self.hub.connections.remove(&number);
        let Some(Connection::Entered {
            conversation,
            heard,
            has_quit,
        }) = connection
        else {
            return;
        };
        let id = connection_id(number);
        let at = number_of_id(conversation);
        if config.breaks(Broken::NewestEnters) && self.hub.live.contains_key(&at) {
            let _ = self.accept(config, at, number, heard, has_quit);
            return self.left(config, number);
        }
        let (hello, is_live) = match self.hub.admission.entry(id) {
            Entry::Begin(hello) => (hello, false),
            Entry::GoOn(hello) => (hello, true),
            Entry::Ended => {
                let reason = Reason::Ended;
                self.send(Side::Server, number, Frame::Refuse { reason });
                self.hang_up(Side::Server, number, false);
                return self.left(config, number);
            }
            Entry::Again(_) => {
                let greeted = Connection::Greeted {
                    conversation,
                    heard,
                    has_quit,
                };
                self.hub.connections.insert(number, greeted);
                let mut orders = self.hub.admission.again(id);
                if has_quit {
                    orders.extend(self.hub.admission.quit(id));
                }
                return self.give(config, orders);
            }
            Entry::None => {
                self.hang_up(Side::Server, number, false);
                return self.left(config, number);
            }
        };
        if is_live && self.hub.live.contains_key(&at) {
            match self.accept(config, at, number, hello.heard, has_quit) {
                Ok(()) => {}
                Err(why) => self.turn_away(config, number, &why),
            }
            return self.left(config, number);
        }
        let parked = self.hub.parked.get(&conversation).cloned();
        let heard_when = config.heard_when(Side::Server);
        let new = || Conversation::new(Role::Server, conversation, heard_when);
        let begun = parked.unwrap_or_else(new);
        if let Err(violation) = begun.clone().accept(hello.heard)
            && !config.breaks(Broken::Counters)
        {
            self.turn_away(config, number, &violation.into());
            return self.left(config, number);
        }
        let tale = self.tales.entry(conversation).or_default();
        tale.of_mut(Side::Server).is_final = false;
        let is_over = |told: &crate::tale::Told| told.outcome == Some(Outcome::Ended);
        if is_over(tale.of(Side::Server)) && !tale.of(Side::Server).forgot {
            self.breaks(crate::REOPENED);
        }
        let driver = Driver::new(config, Side::Server, begun, true);
        self.hub.live.insert(at, Box::new(driver));
        self.hub.talks.push_back(conversation);
        self.accept(config, at, number, hello.heard, has_quit)
            .unwrap();
        if self.is_blown {
            return;
        }
        self.hub.parked.remove(&conversation);
        self.hub.is_seat_asked = false;
        let orders = self.hub.admission.begin(id);
        self.give(config, orders);
        if !self.is_blown {
            self.show_again(config, Side::Server, at);
        }
    }

    /// `State::turn_away`.
    fn turn_away(&mut self, config: &Config, number: Number, why: &NotAccepted) {
        if let NotAccepted::Violation(violation) = why {
            let code = violation.code();
            self.send(Side::Server, number, Frame::Error { code, detail: None });
        }
        if *why == NotAccepted::Ending && config.breaks(Broken::JustPutAway) {
            let reason = Reason::Ended;
            self.send(Side::Server, number, Frame::Refuse { reason });
        }
        self.hang_up(Side::Server, number, false);
    }

    /// A server has this connection for a conversation. Where it is not taken,
    /// nothing has changed.
    fn accept(
        &mut self,
        config: &Config,
        at: Number,
        link: Number,
        heard: u64,
        has_quit: bool,
    ) -> Result<(), NotAccepted> {
        let driver = self.driver(Side::Server, at);
        let said = driver.conversation().snapshot().said;
        let greeting = Greeting {
            heard: match config.breaks(Broken::Counters) {
                true => said.saturating_sub(2),
                false => heard,
            },
            has_quit,
            clienthello: link.into(),
        };
        driver.session.accept(greeting)?;
        driver.arriving = Some(link);
        self.process(config, Side::Server, at, true);
        Ok(())
    }

    /// `HubEvent::Over`: the hub learns what is left.
    pub(super) fn put_away_server(&mut self, config: &Config, number: Number) {
        if self.driver(Side::Server, number).has_failed && config.keeps_journal(Side::Server) {
            // The program stops, and is started again.
            self.crash(config, Side::Server);
            self.crashes -= 1;
            return;
        }
        let driver = self.hub.live.remove(&number).unwrap();
        self.hub.superseding.remove(&number);
        let conversation = driver.conversation();
        let name = Self::name(config, conversation.id());
        let remembers = !config.breaks(Broken::EndsRemembered)
            && (!conversation.is_acknowledged() || !config.breaks(Broken::JustEnded));
        let admission = &mut self.hub.admission;
        let orders = match driver.done {
            Some((_, Remains::Parked(parked))) => {
                if config.breaks(Broken::ParkedKeepsAge) {
                    admission.ended(name);
                    admission.forget_end(&name);
                }
                self.hub.parked.insert(name.1, *parked);
                let orders = admission.parked(name);
                let given_up = orders.iter().find_map(|order| match order {
                    Order::GiveUp { clienthello, .. } => Some(*clienthello),
                    _ => None,
                });
                match given_up.filter(|_| config.breaks(Broken::SupersededEnds)) {
                    Some(clienthello) => admission.kept(name, clienthello),
                    None => orders,
                }
            }
            _ => {
                let orders = admission.ended(name);
                if !remembers {
                    admission.forget_end(&name);
                }
                orders
            }
        };
        self.give(config, orders);
    }

    /// A parked conversation is given up.
    fn give_up(&mut self, config: &Config, id: ConversationId) -> Orders {
        let Some(mut conversation) = self.hub.parked.remove(&id) else {
            return Orders::new();
        };
        if self.burns() {
            return Orders::new();
        }
        conversation.quit();
        let record = Record {
            snapshot: conversation.snapshot(),
            is_live: false,
            clienthello: 0,
        };
        let end = record.snapshot.clone();
        if config.size.takes_late && record.is_to_be_told() {
            match config.breaks(Broken::ToldFirst) {
                true => self.store(config, Side::Server, Record::end(id)),
                false => self.store(config, Side::Server, record),
            }
            self.hub.untold.push_back(end);
        } else {
            self.tell_end(config, end, false);
        }
        let name = Self::name(config, id);
        let orders = self.hub.admission.ended(name);
        if config.breaks(Broken::EndsRemembered) {
            self.hub.admission.forget_end(&name);
        }
        orders
    }

    /// The server's user reads an event, and it is told (`Untold::told`). `late`: a crash can
    /// come between.
    pub(super) fn tell_end(&mut self, config: &Config, end: Snapshot, late: bool) {
        let conversation = Conversation::restore(Role::Server, end).unwrap();
        let id = conversation.id();
        self.tell_abandoned(&conversation);
        if late && self.burns() {
            // It is told again.
            return;
        }
        let told = self.tales.entry(id).or_default().of_mut(Side::Server);
        told.outcome = Some(Outcome::Ended);
        match conversation.is_acknowledged() {
            true => self.remove_record(Side::Server, id),
            false => self.store(config, Side::Server, Record::end(id)),
        }
    }

    /// `Abandoned::of`, and its user reads it.
    fn tell_abandoned(&mut self, conversation: &Conversation) {
        let tale = self.tales.entry(conversation.id()).or_default();
        if let Some(Message { turn, .. }) = conversation.end(By::Peer).unacknowledged {
            tale.of_mut(Side::Server).named = Some(turn);
        }
        if let Some(Message { turn, text }) = conversation.last_heard()
            && conversation.has_untaken()
            && let Err(promise) = tale.show(Side::Server, turn, &text, true)
        {
            self.breaks(promise);
        }
    }

    /// `HubEvent::Left`.
    pub(super) fn left(&mut self, config: &Config, number: Number) {
        self.hub.connections.remove(&number);
        let orders = self.hub.admission.leave(connection_id(number));
        self.give(config, orders);
    }

    /// `State::restore`.
    pub(super) fn restart_hub(&mut self, config: &Config) {
        let hub = &mut self.hub;
        let records = std::mem::take(&mut hub.records);
        *hub = Hub::new(config);
        hub.records.clone_from(&records);
        let mut orders = Orders::new();
        let mut untold = Vec::new();
        for record in &records {
            let name = Self::name(config, record.snapshot.id);
            if record.is_to_be_told() && record.snapshot.quit {
                untold.push(record.snapshot.clone());
            }
            if !record.snapshot.quit {
                orders.extend(
                    hub.admission
                        .restore(name, record.clienthello, Duration::ZERO),
                );
            } else if !config.breaks(Broken::EndsRemembered) {
                orders.extend(hub.admission.ended(name));
            }
        }
        if config.breaks(Broken::LastIsKept) {
            for order in std::mem::take(&mut orders) {
                if let Order::GiveUp {
                    name, clienthello, ..
                } = order
                {
                    hub.admission.kept(name, clienthello);
                }
            }
        }
        let is_open = |record: &Record| {
            let name = Self::name(config, record.snapshot.id);
            hub.admission.is_open(&name)
        };
        let held = records
            .iter()
            .rposition(|record| record.is_live && is_open(record));
        let open = |(_, record): &(_, Record)| !record.snapshot.quit;
        for (place, record) in records.into_iter().enumerate().filter(open) {
            let id = record.snapshot.id;
            let conversation = Conversation::restore(Role::Server, record.snapshot).unwrap();
            if held == Some(place) {
                let (hub, at) = (&mut self.hub, number_of_id(id));
                orders.extend(hub.admission.hold(Self::name(config, id)));
                // `Server::next` asks for a seat, and is given this.
                assert!(hub.admission.seats(1).is_empty());
                hub.talks.push_back(id);
                let mut driver = Driver::new(config, Side::Server, conversation, true);
                driver.session.hold(record.clienthello);
                hub.live.insert(at, Box::new(driver));
                self.process(config, Side::Server, at, false);
                self.show_again(config, Side::Server, at);
            } else {
                self.hub.parked.insert(id, conversation);
            }
        }
        if config.breaks(Broken::EndsAreTold) {
            untold.clear();
        }
        for end in untold {
            // `ServerEvent::Ended`.
            match config.size.takes_late {
                true => self.hub.untold.push_back(end),
                false => self.tell_end(config, end, false),
            }
        }
        self.give(config, orders);
    }
}
