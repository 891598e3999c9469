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
        let is_limited = !matches!(origin, None | Some(Origin::Loopback));
        let of_one: usize = groups.iter().map(|group| group.of(origin).len()).sum();
        if is_limited && of_one > self.most_of_one {
            let mut oldest = groups
                .into_iter()
                .filter_map(|group| group.of(origin).first());
            return oldest.find(|id| **id != newcomer).copied();
        }
        if self.silent.size + self.greeted.size <= self.most {
            return None;
        }
        let mut crowded = groups.into_iter().flat_map(Group::oldest_of_most);
        crowded.find(|id| *id != newcomer)
    }

    fn group(&mut self, stranger: Stranger) -> &mut Group {
        match stranger.has_greeted {
            true => &mut self.greeted,
            false => &mut self.silent,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Group {
    size: usize,
    origins: BTreeMap<Option<Origin>, BTreeSet<ConnectionId>>,
    /// How many each origin has, and its oldest.
    ranks: BTreeSet<(usize, Reverse<ConnectionId>)>,
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
        let rank = |ids: &BTreeSet<ConnectionId>| Some((ids.len(), Reverse(*ids.first()?)));
        if let Some(rank) = rank(ids) {
            self.ranks.remove(&rank);
        }
        change(ids);
        match rank(ids) {
            Some(rank) => _ = self.ranks.insert(rank),
            None => _ = self.origins.remove(&origin),
        }
    }

    /// The oldest of each origin, of those that have most first, of equals the oldest.
    fn oldest_of_most(&self) -> impl Iterator<Item = ConnectionId> {
        self.ranks.iter().rev().map(|(_, Reverse(oldest))| *oldest)
    }
}
