//! [`Conversations`]: which exist, and the state of each.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::terms::{ConversationName, Order, Orders, Timer, Why};
use crate::protocol::{ConversationId, Limits};
use crate::trust::KeyId;

/// For how long a parked conversation is kept (30 days).
pub(super) const PARKED_TIME: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Of the places for parked conversations, one of so many is a key's own share.
const SHARES: usize = 4;

/// All conversations except those that wait to begin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Conversations {
    most_parked: usize,
    most_ended: usize,
    ended_time: Duration,
    standings: BTreeMap<ConversationName, Standing>,
    /// How many of each key are on, or held.
    live: BTreeMap<KeyId, usize>,
    /// And the parked and the ended ones, the oldest first.
    parked: VecDeque<ConversationName>,
    ended: VecDeque<ConversationName>,
}

/// The state of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standing {
    Live {
        clienthello: u64,
        /// However it ends, it is not parked.
        given_up: Option<Why>,
    },
    /// It can go on later.
    Parked { clienthello: u64 },
    /// A `hello` for it can come once more, as if for a new one.
    Ended,
    /// Its record cannot be read, or another process goes on with it: how it stands, nobody here
    /// knows.
    OutOfReach,
}

impl Conversations {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            most_parked: limits.parked,
            most_ended: limits.ended,
            ended_time: limits.ended_time,
            standings: BTreeMap::new(),
            live: BTreeMap::new(),
            parked: VecDeque::new(),
            ended: VecDeque::new(),
        }
    }

    pub(super) fn get(&self, name: &ConversationName) -> Option<&Standing> {
        self.standings.get(name)
    }

    /// Whether one is on, or held.
    pub(super) fn has_live(&self) -> bool {
        !self.live.is_empty()
    }

    /// Whether this one is on, or held.
    pub(super) fn is_live(&self, name: &ConversationName) -> bool {
        matches!(self.get(name), Some(Standing::Live { .. }))
    }

    /// How many of a key are on, or held.
    pub(super) fn live_of(&self, key: &KeyId) -> usize {
        self.live.get(key).copied().unwrap_or(0)
    }

    pub(super) fn is_open(&self, name: &ConversationName) -> bool {
        let standing = self.standings.get(name);
        standing.and_then(Standing::clienthello).is_some()
    }

    /// When the newest connection of all open ones came, by its ClientHello.
    pub(super) fn newest(&self) -> Option<u64> {
        self.standings
            .values()
            .filter_map(Standing::clienthello)
            .max()
    }

    /// The same of those in a range.
    pub(super) fn youngest(&self, range: RangeInclusive<ConversationName>) -> Option<u64> {
        let standings = self.standings.range(range);
        standings.filter_map(|(_, of)| of.clienthello()).max()
    }

    /// It is on.
    pub(super) fn live(&mut self, name: ConversationName, clienthello: u64, orders: &mut Orders) {
        let live = Standing::Live {
            clienthello,
            given_up: None,
        };
        self.stand(name, live, orders);
        *self.live.entry(name.0).or_default() += 1;
    }

    /// A younger connection has come for one that is on.
    pub(super) fn come_again(&mut self, name: &ConversationName, younger: u64) {
        if let Some(Standing::Live { clienthello, .. }) = self.standings.get_mut(name) {
            *clienthello = younger;
        }
    }

    /// Nobody goes on with it here.
    pub(super) fn out_of_reach(&mut self, name: ConversationName, orders: &mut Orders) {
        self.stand(name, Standing::OutOfReach, orders);
    }

    /// It was parked before a restart, for so long.
    pub(super) fn restore(
        &mut self,
        name: ConversationName,
        clienthello: u64,
        age: Duration,
        orders: &mut Orders,
    ) {
        self.park(name, clienthello, age, orders);
        self.limit_parked(&name.0, orders);
    }

    /// It is on no longer, and can go on later; the oldest go past the limit.
    pub(super) fn parked(&mut self, name: ConversationName) -> Orders {
        let mut orders = Orders::new();
        let clienthello = match self.standings.get(&name) {
            Some(Standing::Live {
                given_up: Some(why),
                ..
            }) => {
                let why = *why;
                self.give_up(name, why, &mut orders);
                return orders;
            }
            Some(standing) => standing.clienthello().unwrap_or(0),
            None => 0,
        };
        self.park(name, clienthello, Duration::ZERO, &mut orders);
        self.limit_parked(&name.0, &mut orders);
        orders
    }

    /// One of this key was parked: past its share its own oldest goes, else the oldest of all.
    fn limit_parked(&mut self, key: &KeyId, orders: &mut Orders) {
        let mut of_key = self.parked.iter().filter(|name| name.0 == *key);
        let oldest = of_key.next().copied();
        let share = (self.most_parked / SHARES).max(1);
        let gives_up = match (1 + of_key.count() > share, self.parked.front()) {
            (true, _) => oldest,
            (false, front) => front
                .filter(|_| self.parked.len() > self.most_parked)
                .copied(),
        };
        if let Some(name) = gives_up {
            self.give_up(name, Why::Age, orders);
        }
    }

    /// It can go on later, whatever the limit; and has been parked for so long.
    pub(super) fn park(
        &mut self,
        name: ConversationName,
        clienthello: u64,
        age: Duration,
        orders: &mut Orders,
    ) {
        self.stand(name, Standing::Parked { clienthello }, orders);
        self.parked.push_back(name);
        let left = PARKED_TIME.saturating_sub(age);
        orders.push(Order::Arm(Timer::Parked(name.0, name.1), left));
    }

    /// It has ended; the oldest ends are forgotten past the limit.
    pub(super) fn ended(&mut self, name: ConversationName) -> Orders {
        let mut orders = Orders::new();
        self.stand(name, Standing::Ended, &mut orders);
        if self.ended.len() >= self.most_ended
            && let Some(oldest) = self.ended.front().copied()
        {
            self.forget_end(&oldest, &mut orders);
        }
        self.ended.push_back(name);
        let timer = Timer::Ended(name.0, name.1);
        orders.push(Order::Arm(timer, self.ended_time));
        orders
    }

    /// The key's other open conversations are over for it (PROTOCOL 4.30).
    pub(super) fn give_up_others(&mut self, name: ConversationName, orders: &mut Orders) {
        let mut parked = Vec::new();
        for (other, standing) in self.standings.range_mut(all_of(&name.0)) {
            match standing {
                _ if *other == name => {}
                Standing::Live { given_up, .. } => {
                    *given_up = Some(Why::Peer);
                    orders.push(Order::Supersede(*other));
                }
                Standing::Parked { .. } => parked.push(*other),
                Standing::Ended | Standing::OutOfReach => {}
            }
        }
        for other in parked {
            self.give_up(other, Why::Peer, orders);
        }
    }

    /// All open conversations of a key are over: it is not admitted any more.
    pub(super) fn expel(&mut self, key: &KeyId, orders: &mut Orders) {
        let mut parked = Vec::new();
        for (name, standing) in self.standings.range_mut(all_of(key)) {
            match standing {
                Standing::Live { given_up, .. } => {
                    *given_up = Some(Why::Expelled);
                    orders.push(Order::Expel(*name));
                }
                Standing::Parked { .. } => parked.push(*name),
                Standing::Ended | Standing::OutOfReach => {}
            }
        }
        for name in parked {
            self.give_up(name, Why::Expelled, orders);
        }
    }

    /// It is over, once that is stored.
    pub(super) fn give_up(&mut self, name: ConversationName, why: Why, orders: &mut Orders) {
        let standing = self.standings.get(&name);
        let clienthello = standing.and_then(Standing::clienthello).unwrap_or(0);
        self.forget(&name, orders);
        orders.push(Order::GiveUp {
            name,
            why,
            clienthello,
        });
    }

    /// Nobody is told any more that it has ended.
    pub(super) fn forget_end(&mut self, name: &ConversationName, orders: &mut Orders) {
        self.forget(name, orders);
        orders.push(Order::Forget(*name));
    }

    /// The state of a conversation does not matter any more.
    pub(super) fn forget(&mut self, name: &ConversationName, orders: &mut Orders) {
        if let Some(was) = self.standings.remove(name) {
            self.stood(name, &was, orders);
        }
    }

    /// It stands like this from now on.
    fn stand(&mut self, name: ConversationName, standing: Standing, orders: &mut Orders) {
        if let Some(was) = self.standings.insert(name, standing) {
            self.stood(&name, &was, orders);
        }
    }

    /// It stood like this until now.
    fn stood(&mut self, name: &ConversationName, was: &Standing, orders: &mut Orders) {
        match was {
            Standing::Parked { .. } => {
                self.parked.retain(|parked| parked != name);
                orders.push(Order::Disarm(Timer::Parked(name.0, name.1)));
            }
            Standing::Ended => {
                // The oldest first: mostly it is that one.
                let place = self.ended.iter().position(|ended| ended == name);
                if let Some(place) = place {
                    self.ended.remove(place);
                }
                orders.push(Order::Disarm(Timer::Ended(name.0, name.1)));
            }
            Standing::Live { .. } => {
                if let Entry::Occupied(mut live) = self.live.entry(name.0) {
                    *live.get_mut() -= 1;
                    if *live.get() == 0 {
                        live.remove();
                    }
                }
            }
            Standing::OutOfReach => {}
        }
    }
}

impl Standing {
    fn clienthello(&self) -> Option<u64> {
        match self {
            Self::Live { clienthello, .. } | Self::Parked { clienthello } => Some(*clienthello),
            Self::Ended | Self::OutOfReach => None,
        }
    }
}

/// All conversations of this key.
pub(super) fn all_of(key: &KeyId) -> RangeInclusive<ConversationName> {
    let (first, last) = ([0; 16], [u8::MAX; 16]);
    (*key, ConversationId::from_bits(first))..=(*key, ConversationId::from_bits(last))
}
