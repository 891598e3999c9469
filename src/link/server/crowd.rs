//! [`Crowd`]: the connections that are not admitted, and which of them goes
//! where there are too many: an honest newcomer gets in, from any address (PROTOCOL 5.4).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::link::origin::Origin;

/// A connection, numbered as they were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Connections that are not admitted. Each step is logarithmic in how many they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Crowd {
    most: usize,
    most_of_one: usize,
    /// Without a whole ClientHello, and on their way out: they go first.
    silent: Group,
    greeted: Group,
}

/// From where, and whether a whole ClientHello has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stranger {
    pub(super) origin: Option<Origin>,
    pub(super) has_greeted: bool,
}

impl Crowd {
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Self {
            most,
            most_of_one,
            silent: Group::default(),
            greeted: Group::default(),
        }
    }

    pub(super) fn add(&mut self, id: ConnectionId, stranger: Stranger) {
        self.group(stranger).add(id, stranger.origin);
    }

    pub(super) fn remove(&mut self, id: ConnectionId, stranger: Stranger) {
        self.group(stranger).remove(id, stranger.origin);
    }

    /// Who has to go, now that this one has come from there.
    pub(super) fn excess(
        &self,
        newcomer: ConnectionId,
        origin: Option<Origin>,
    ) -> Option<ConnectionId> {
        let groups = [&self.silent, &self.greeted];
        let of_one: usize = groups.iter().map(|group| group.of(origin).len()).sum();
        if is_limited(origin) && of_one > self.most_of_one {
            let mut oldest = groups
                .into_iter()
                .filter_map(|group| group.of(origin).first());
            return oldest.find(|id| **id != newcomer).copied();
        }
        if self.silent.size + self.greeted.size <= self.most {
            return None;
        }
        // A ClientHello is on its way for a moment: others that come meanwhile, with theirs
        // whole, do not cost it its place, unless its address has more than the one.
        let grace = u64::try_from(self.most / 4).unwrap_or(u64::MAX);
        let goes_first = |rank: &&Rank| {
            let is_young = newcomer.0.saturating_sub(rank.oldest.0.0) <= grace;
            !is_young || is_limited(rank.origin) && rank.size > 1
        };
        let mut crowded = (self.silent.crowded().filter(goes_first))
            .chain(self.greeted.crowded())
            .chain(self.silent.crowded())
            .map(|rank| rank.oldest.0);
        crowded.find(|id| *id != newcomer)
    }

    fn group(&mut self, stranger: Stranger) -> &mut Group {
        match stranger.has_greeted {
            true => &mut self.greeted,
            false => &mut self.silent,
        }
    }
}

/// Whether so many only may come from there.
fn is_limited(origin: Option<Origin>) -> bool {
    !matches!(origin, None | Some(Origin::Loopback))
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Group {
    size: usize,
    origins: BTreeMap<Option<Origin>, BTreeSet<ConnectionId>>,
    /// One for each origin.
    ranks: BTreeSet<Rank>,
}

/// How many an origin has, and its oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Rank {
    size: usize,
    oldest: Reverse<ConnectionId>,
    origin: Option<Origin>,
}

impl Group {
    fn of(&self, origin: Option<Origin>) -> &BTreeSet<ConnectionId> {
        static NOBODY: BTreeSet<ConnectionId> = BTreeSet::new();
        self.origins.get(&origin).unwrap_or(&NOBODY)
    }

    fn add(&mut self, id: ConnectionId, origin: Option<Origin>) {
        self.size += 1;
        self.change(origin, |ids| _ = ids.insert(id));
    }

    fn remove(&mut self, id: ConnectionId, origin: Option<Origin>) {
        self.size -= 1;
        self.change(origin, |ids| _ = ids.remove(&id));
    }

    fn change(&mut self, origin: Option<Origin>, change: impl FnOnce(&mut BTreeSet<ConnectionId>)) {
        let ids = self.origins.entry(origin).or_default();
        let rank = |ids: &BTreeSet<ConnectionId>| {
            let (size, oldest) = (ids.len(), Reverse(*ids.first()?));
            Some(Rank {
                size,
                oldest,
                origin,
            })
        };
        if let Some(rank) = rank(ids) {
            self.ranks.remove(&rank);
        }
        change(ids);
        match rank(ids) {
            Some(rank) => _ = self.ranks.insert(rank),
            None => _ = self.origins.remove(&origin),
        }
    }

    /// Those that have most first, of equals the one with the oldest.
    fn crowded(&self) -> impl Iterator<Item = &Rank> {
        self.ranks.iter().rev()
    }
}
