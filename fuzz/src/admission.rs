//! Whom a server lets in: whatever connections, verdicts, ends and timers come, and in whatever
//! order, everybody is answered at most once, and nothing is left behind.
//!
//! Input: small limits, and a sequence of events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use turnchat::internals::admission::{
    Admission, ConnectionId, ConversationName, Entry, Hello, Instruction, Order, Orders, Timer, Why,
};
use turnchat::{ConversationId, KeyId, Limits, Reason, Verdict};

use super::peers::PEERS;

pub fn run(data: &[u8]) {
    let mut from = Unstructured::new(data);
    let Ok(mut hub) = Hub::begin(&mut from) else {
        return;
    };
    while !from.is_empty() && hub.event(&mut from).is_ok() {
        hub.check();
    }
    hub.close_up();
}

/// The one that has the connections and conversations, and what it knows of them.
struct Hub {
    admission: Admission,
    limits: Limits,
    one_at_a_time: bool,
    next: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Those that are on: has it been told that it is over?
    live: BTreeMap<ConversationName, bool>,
    /// Those that can go on later; `true`: whatever the limit.
    parked: BTreeMap<ConversationName, bool>,
    ended: BTreeSet<ConversationName>,
    unreadable: BTreeSet<ConversationName>,
    armed: BTreeSet<Timer>,
    seats: isize,
    is_closing: bool,
}

#[derive(Clone, Debug)]
struct Connection {
    address: Option<IpAddr>,
    stage: Stage,
    clienthello: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Stranger,
    /// It was told to wait, and what it is asked about.
    Asking(ConversationName),
    Queued(ConversationName, u64),
    Entering(ConversationName),
    Closing {
        lingers: bool,
    },
}

impl Hub {
    fn begin(from: &mut Unstructured<'_>) -> Result<Self> {
        let mut limits = Limits::default();
        limits.queue = from.int_in_range(0..=3)?;
        limits.parked = from.int_in_range(1..=3)?;
        limits.ended = from.int_in_range(1..=3)?;
        limits.strangers = from.int_in_range(1..=5)?;
        limits.strangers_per_address = from.int_in_range(1..=3)?;
        limits.questions = from.int_in_range(0..=2)?;
        let one_at_a_time = from.arbitrary()?;
        Ok(Self {
            admission: Admission::new(&limits, one_at_a_time),
            limits,
            one_at_a_time,
            next: 0,
            connections: BTreeMap::new(),
            live: BTreeMap::new(),
            parked: BTreeMap::new(),
            ended: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            armed: BTreeSet::new(),
            seats: 0,
            is_closing: false,
        })
    }

    fn event(&mut self, from: &mut Unstructured<'_>) -> Result<()> {
        match from.int_in_range(0..=19)? {
            0..=2 => self.arrive(from)?,
            3..=6 => self.hello(from)?,
            7 => {
                if let Some(id) = self.some(from, |stage| {
                    matches!(
                        stage,
                        Stage::Asking(_) | Stage::Queued(..) | Stage::Entering(_)
                    )
                })? {
                    self.quit(id);
                }
            }
            8 | 9 => {
                if let Some(id) = self.some(from, |stage| matches!(stage, Stage::Entering(_)))? {
                    self.enter(id, from.ratio(1, 8)?);
                }
            }
            10 | 11 => {
                if let Some(id) = self.some(from, |_| true)? {
                    self.leave(id);
                }
            }
            12 | 13 => {
                let more = from.int_in_range(0..=2)?;
                self.seats += isize::try_from(more).expect("small");
                let orders = self.admission.seats(more);
                self.give(orders);
            }
            14 => {
                let names: Vec<_> = self.live.keys().copied().collect();
                if !names.is_empty() {
                    let name = *from.choose(&names)?;
                    match from.arbitrary()? {
                        true => self.end(name),
                        false => self.park(name),
                    }
                }
            }
            15 => {
                let key = key(from)?;
                let verdict = verdict(from)?;
                let asked = self.asked(&key);
                let orders = self.admission.answer(&key, verdict);
                assert!(asked.is_some() || orders.is_empty(), "nobody asked");
                self.disarmed(&orders);
                self.decided(asked, &orders);
                self.give(orders);
            }
            16 => {
                let timers: Vec<_> = self.armed.iter().copied().collect();
                if !timers.is_empty() {
                    self.fire(*from.choose(&timers)?);
                }
            }
            17 => self.before_a_restart(from)?,
            18 => {
                let key = key(from)?;
                let orders = self.admission.expel(&key);
                self.give(orders);
                for (name, is_over) in &self.live {
                    assert!(name.0 != key || *is_over, "it is told that it is over");
                }
                assert!(self.parked.keys().all(|name| name.0 != key), "none is kept");
            }
            _ => {
                if from.ratio(1, 4)? {
                    self.is_closing = true;
                    let orders = self.admission.close();
                    self.give(orders);
                    let waits =
                        |of: &Connection| matches!(of.stage, Stage::Asking(_) | Stage::Queued(..));
                    assert!(
                        !self.connections.values().any(waits),
                        "nobody waits any more"
                    );
                }
            }
        }
        Ok(())
    }

    fn some(
        &self,
        from: &mut Unstructured<'_>,
        is_one: impl Fn(&Stage) -> bool,
    ) -> Result<Option<ConnectionId>> {
        let ids = self.connections.iter().filter(|(_, of)| is_one(&of.stage));
        let ids: Vec<_> = ids.map(|(id, _)| *id).collect();
        match ids.is_empty() {
            true => Ok(None),
            false => from.choose(&ids).copied().map(Some),
        }
    }

    /// Those that count to the crowd, all or those from one address.
    fn strangers(&self, from: Option<Option<IpAddr>>) -> usize {
        let counts = |of: &&Connection| {
            let is_stranger = matches!(
                of.stage,
                Stage::Stranger | Stage::Asking(_) | Stage::Closing { lingers: true }
            );
            is_stranger && from.is_none_or(|address| of.address == address)
        };
        self.connections.values().filter(counts).count()
    }

    fn arrive(&mut self, from: &mut Unstructured<'_>) -> Result<()> {
        let addresses = [
            None,
            Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
            Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7))),
        ];
        let address = *from.choose(&addresses)?;
        let id = ConnectionId(self.next);
        self.next += 1;
        let before = (self.strangers(None), self.strangers(Some(address)));
        let orders = self.admission.arrive(id, address);
        let connection = Connection {
            address,
            stage: Stage::Stranger,
            // Some handshakes are delayed; no two have one number.
            clienthello: 16 + 4 * self.next - 5 * from.int_in_range(0..=3)?,
        };
        self.connections.insert(id, connection);
        self.give(orders);
        assert_eq!(
            self.connections[&id].stage,
            Stage::Stranger,
            "the new one stays"
        );
        let is_limited = address.is_some_and(|address| !address.is_loopback());
        assert!(self.strangers(None) <= before.0.max(self.limits.strangers));
        if is_limited {
            let most = before.1.max(self.limits.strangers_per_address);
            assert!(self.strangers(Some(address)) <= most);
        }
        if from.arbitrary()? {
            self.admission.greeted(id);
        }
        Ok(())
    }

    fn hello(&mut self, from: &mut Unstructured<'_>) -> Result<()> {
        let Some(id) = self.some(from, |stage| {
            matches!(stage, Stage::Stranger | Stage::Closing { .. })
        })?
        else {
            return Ok(());
        };
        let connection = self.connections[&id].clone();
        let hello = Hello {
            peer: *from.choose(&PEERS)?,
            conversation: ConversationId::from_bits([from.int_in_range(0..=2)?; 16]),
            heard: from.int_in_range(0..=1)?,
            clienthello: connection.clienthello,
        };
        let name = hello.name();
        let verdict = match from.ratio(1, 3)? {
            true => None,
            false => Some(verdict(from)?),
        };
        let is_admitted = verdict == Some(Verdict::Admit);
        let is_asked = verdict.is_none();
        let orders = self.admission.hello(id, hello, verdict);
        if connection.stage != Stage::Stranger {
            assert!(orders.is_empty(), "it was told to go");
            return Ok(());
        }
        if is_admitted {
            self.decided(Some((id, name)), &orders);
        } else if is_asked {
            let waits = orders.contains(&Order::Tell(id, Instruction::Wait { ahead: 0 }));
            if waits {
                // Its answer is the youngest connection's.
                self.connections.get_mut(&id).expect("it is there").stage = Stage::Asking(name);
            }
        }
        self.give(orders);
        let stage = self.connections[&id].stage;
        assert!(stage != Stage::Stranger, "a hello is answered");
        Ok(())
    }

    /// A connection that is admitted waits in the queue or comes in, unless it is told to go.
    fn decided(&mut self, of: Option<(ConnectionId, ConversationName)>, orders: &Orders) {
        let Some((id, name)) = of else {
            return;
        };
        let is_told = |order: &&Order| matches!(order, Order::Tell(told, _) if *told == id);
        let told = orders.iter().find(is_told);
        let connection = self.connections.get_mut(&id).expect("it is there");
        match told {
            Some(Order::Tell(_, Instruction::Wait { .. } | Instruction::Enter)) => {
                connection.stage = Stage::Queued(name, u64::MAX);
            }
            Some(_) => {}
            // It keeps a place that it was told of before.
            None => panic!("{id:?} is not answered"),
        }
    }

    fn quit(&mut self, id: ConnectionId) {
        let stage = self.connections[&id].stage;
        let orders = self.admission.quit(id);
        match stage {
            Stage::Entering(_) => {
                assert!(orders.is_empty(), "its conversation takes note of it");
            }
            Stage::Queued(name, _) => {
                // The end is remembered.
                self.ended.insert(name);
                self.give(orders);
            }
            _ => self.give(orders),
        }
        let is_gone = matches!(self.connections[&id].stage, Stage::Closing { .. });
        assert!(is_gone || matches!(stage, Stage::Entering(_)));
    }

    /// A connection that was let in is handed over.
    fn enter(&mut self, id: ConnectionId, is_turned_away: bool) {
        let Stage::Entering(name) = self.connections[&id].stage else {
            return;
        };
        if is_turned_away {
            let orders = self.admission.turn_away(id);
            self.connections.get_mut(&id).expect("it is there").stage =
                Stage::Closing { lingers: true };
            return self.give(orders);
        }
        match self.admission.entry(id) {
            Entry::Begin(hello) => {
                assert_eq!(hello.name(), name);
                assert!(!self.is_closing, "none begins any more");
                assert!(!self.live.contains_key(&name), "it is on already");
                if self.one_at_a_time {
                    let others = self.live.iter().filter(|(other, _)| other.0 == name.0);
                    assert!({ others }.all(|(_, is_over)| *is_over), "a key has one");
                }
                self.connections.remove(&id);
                self.parked.remove(&name);
                self.ended.remove(&name);
                self.seats -= 1;
                assert!(self.seats >= 0, "there was a seat");
                self.live.insert(name, false);
                let orders = self.admission.begin(id);
                self.give(orders);
            }
            Entry::GoOn(hello) => {
                assert_eq!(hello.name(), name);
                assert!(self.live.contains_key(&name), "it is on");
                self.leave(id);
            }
            Entry::Ended => {
                assert!(self.ended.contains(&name));
                self.leave(id);
            }
            Entry::Again(key) => {
                assert_eq!(key, name.0);
                let orders = self.admission.again(id);
                self.connections.get_mut(&id).expect("it is there").stage = Stage::Stranger;
                self.decided(Some((id, name)), &orders);
                self.give(orders);
            }
            Entry::None => {
                assert!(self.unreadable.contains(&name), "it has a place");
                self.leave(id);
            }
        }
    }

    fn leave(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
        let orders = self.admission.leave(id);
        self.give(orders);
    }

    fn end(&mut self, name: ConversationName) {
        self.live.remove(&name);
        self.parked.remove(&name);
        self.unreadable.remove(&name);
        self.ended.insert(name);
        let orders = self.admission.ended(name);
        self.give(orders);
    }

    fn park(&mut self, name: ConversationName) {
        let is_over = self.live.remove(&name) == Some(true);
        if !is_over {
            self.parked.insert(name, false);
        }
        let orders = self.admission.parked(name);
        if is_over {
            assert!(matches!(orders[..], [Order::GiveUp { name: given, .. }] if given == name));
            // It is ended on the disk as if it had been parked.
            self.parked.insert(name, false);
        }
        self.give(orders);
    }

    /// What is read from a journal; conversations that are on are not in it. Another process can
    /// take over any.
    fn before_a_restart(&mut self, from: &mut Unstructured<'_>) -> Result<()> {
        let conversation = ConversationId::from_bits([from.int_in_range(0..=2)?; 16]);
        let name = (key(from)?, conversation);
        let is_used = |stage: &Stage| match stage {
            Stage::Asking(of) | Stage::Queued(of, _) | Stage::Entering(of) => *of == name,
            Stage::Stranger | Stage::Closing { .. } => false,
        };
        let is_on = self.live.contains_key(&name);
        let is_used = is_on || self.connections.values().any(|of| is_used(&of.stage));
        match from.int_in_range(0..=3)? {
            2 => {
                self.live.remove(&name);
                self.parked.remove(&name);
                self.ended.remove(&name);
                self.unreadable.insert(name);
                let orders = self.admission.taken_over(name);
                self.give(orders);
            }
            _ if is_used => {}
            0 | 1 => {
                self.ended.remove(&name);
                self.unreadable.remove(&name);
                self.parked.insert(name, false);
                let clienthello = from.int_in_range(0..=2)?;
                let orders = self.admission.restore(name, clienthello, Duration::ZERO);
                self.give(orders);
            }
            // Before anybody can be let in.
            _ if self.next > 0 || self.seats != 0 => {}
            _ => {
                let was_parked = self.parked.remove(&name).is_some();
                let orders = self.admission.hold(name);
                if was_parked {
                    self.seats -= 1;
                    self.live.insert(name, false);
                }
                self.give(orders);
            }
        }
        Ok(())
    }

    fn fire(&mut self, timer: Timer) {
        self.armed.remove(&timer);
        let orders = self.admission.fired(timer);
        if let Timer::Parked(key, id) = timer {
            let is_given_up = |order: &Order| matches!(order, Order::GiveUp { name, why: Why::Age, .. } if *name == (key, id));
            assert!(orders.iter().any(is_given_up));
        }
        self.give(orders);
    }

    /// Which connection a question is about.
    fn asked(&self, key: &KeyId) -> Option<(ConnectionId, ConversationName)> {
        let mut asking = self
            .connections
            .iter()
            .filter_map(|(id, of)| match of.stage {
                Stage::Asking(name) if name.0 == *key => Some((*id, name)),
                _ => None,
            });
        let asked = asking.next();
        assert!(asking.next().is_none(), "one question of a key");
        asked
    }

    fn disarmed(&mut self, orders: &Orders) {
        for order in orders {
            if let Order::Disarm(timer) = order {
                self.armed.remove(timer);
            }
        }
    }

    /// Carries orders out, and holds them against the promises.
    fn give(&mut self, orders: Orders) {
        assert!(orders.len() < 200, "{} orders", orders.len());
        for order in orders {
            match order {
                Order::Tell(id, instruction) => self.tell(id, instruction),
                Order::Supersede(name) => {
                    assert!(self.one_at_a_time);
                    *self.live.get_mut(&name).expect("it is on") = true;
                }
                Order::Expel(name) => *self.live.get_mut(&name).expect("it is on") = true,
                Order::GiveUp { name, .. } => {
                    assert!(self.parked.remove(&name).is_some(), "it was parked");
                    self.end(name);
                }
                Order::Forget(name) => assert!(self.ended.remove(&name), "it was remembered"),
                Order::Arm(timer, _) => {
                    // Also one that had not begun, and is given up for another.
                    if let Timer::Ended(key, id) = timer {
                        let is_known = !self.unreadable.contains(&(key, id));
                        assert!(is_known, "it has ended, as far as anybody knows");
                        self.ended.insert((key, id));
                    }
                    self.armed.insert(timer);
                }
                Order::Disarm(timer) => _ = self.armed.remove(&timer),
            }
        }
    }

    fn tell(&mut self, id: ConnectionId, instruction: Instruction) {
        let connection = self.connections.get_mut(&id).expect("it is there");
        let before = connection.stage;
        connection.stage = match (before, instruction) {
            // It takes its time with its last frame, and is to make room now.
            (Stage::Closing { lingers: true }, Instruction::Close) => {
                Stage::Closing { lingers: false }
            }
            (Stage::Closing { .. }, _) => panic!("{id:?} is answered twice: {instruction:?}"),
            (Stage::Asking(name), Instruction::Wait { ahead: 0 }) => Stage::Asking(name),
            (Stage::Queued(name, told), Instruction::Wait { ahead }) => {
                assert_ne!(ahead, told, "it knows that");
                Stage::Queued(name, ahead)
            }
            (Stage::Queued(name, _), Instruction::Enter) => Stage::Entering(name),
            (_, Instruction::Wait { .. } | Instruction::Enter) => {
                panic!("{id:?}, {before:?}: {instruction:?}")
            }
            (_, Instruction::Close) => Stage::Closing { lingers: false },
            (_, Instruction::Refuse(_) | Instruction::Replaced | Instruction::Quit) => {
                Stage::Closing { lingers: true }
            }
        };
    }

    /// What holds between two events.
    fn check(&self) {
        let names = self.live.keys().chain(self.parked.keys());
        for name in names {
            assert!(self.admission.is_open(name), "{name:?} is open");
        }
        for name in self.ended.iter().chain(&self.unreadable) {
            assert!(!self.admission.is_open(name), "{name:?} is over");
        }
        assert!(
            self.ended.len() <= self.limits.ended,
            "ends that are remembered"
        );
        assert!(
            self.parked.len() <= self.limits.parked,
            "parked conversations"
        );
        let mut asking = 0;
        for peer in PEERS.iter() {
            let is_asked = self.asked(&peer.key()).is_some();
            asking += usize::from(is_asked);
            assert_eq!(
                self.admission.is_asking(&peer.key()),
                is_asked,
                "a question"
            );
            assert_eq!(
                self.armed.contains(&Timer::Question(peer.key())),
                is_asked,
                "its timer"
            );
        }
        assert!(asking <= self.limits.questions);
        let queued = self.connections.values().filter_map(|of| match of.stage {
            Stage::Queued(_, ahead) => Some(ahead),
            _ => None,
        });
        let mut places: Vec<_> = queued.collect();
        places.sort_unstable();
        assert!(
            places.iter().copied().eq(0..places.len() as u64),
            "{places:?}"
        );
        assert_eq!(self.admission.is_crowded(), !places.is_empty());
        let entering = self.connections.values();
        let entering = entering.filter(|of| matches!(of.stage, Stage::Entering(_)));
        assert!(
            self.seats <= 0 || places.is_empty() || entering.count() > 0,
            "a seat is free"
        );
    }

    /// Once everybody has gone and all is forgotten, it is as it was at the beginning.
    fn close_up(mut self) {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            self.leave(id);
            self.check();
        }
        assert_eq!(self.strangers(None), 0);
        let live: Vec<_> = self.live.keys().copied().collect();
        for name in live {
            self.end(name);
        }
        for name in std::mem::take(&mut self.unreadable) {
            let orders = self.admission.forget(name);
            self.give(orders);
        }
        while let Some(timer) = self.armed.first().copied() {
            self.fire(timer);
        }
        assert!(self.parked.is_empty() && self.ended.is_empty());
        if let Ok(seats) = usize::try_from(self.seats) {
            let mut fresh = Admission::new(&self.limits, self.one_at_a_time);
            fresh.seats(seats);
            if self.is_closing {
                fresh.close();
            }
            assert!(
                self.admission == fresh,
                "something is left: {:?}",
                self.admission
            );
        }
    }
}

fn key(from: &mut Unstructured<'_>) -> Result<KeyId> {
    Ok(from.choose(&PEERS)?.key())
}

fn verdict(from: &mut Unstructured<'_>) -> Result<Verdict> {
    let refusals = [Reason::UnknownPeer, Reason::Declined, Reason::Busy];
    Ok(match from.ratio(1, 4)? {
        true => Verdict::Refuse(*from.choose(&refusals)?),
        false => Verdict::Admit,
    })
}
