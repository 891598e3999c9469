//! [`Inventory`]: what a server's store holds when it starts.

use std::sync::Arc;

use super::error::JournalError;
use super::page::Page;
use super::record_name::RecordName;
use super::stored::Stored;
use super::{Listed, Store};
use crate::protocol::Limits;

/// What a server's store holds when it starts.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// Where conversations are kept; nowhere without a journal.
    pub(crate) store: Option<Arc<dyn Store>>,
    /// In the order in which their peers last came.
    pub(crate) stored: Vec<Stored>,
    /// Too old, or open and too many.
    pub(crate) expired: Vec<Stored>,
    /// More ends than are remembered.
    pub(crate) excess: Vec<Stored>,
    /// What cannot be read, and whose conversation it is, as far as its name says.
    pub(crate) unreadable: Vec<(Option<RecordName>, JournalError)>,
}

impl Inventory {
    /// Sorts what was read.
    pub(crate) fn of(listed: Vec<Listed>, store: &Arc<dyn Store>, limits: &Limits) -> Self {
        let mut inventory = Self {
            store: Some(Arc::clone(store)),
            ..Self::default()
        };
        let mut stored = Vec::new();
        for Listed { name, read } in listed {
            match read.and_then(|(name, loaded)| Page::read(name, &loaded, &**store)) {
                Ok(page) => stored.push(page.held(Arc::clone(store))),
                // It stops its own conversation, and no other.
                Err(error) => inventory.unreadable.push((name, error)),
            }
        }
        stored.sort_by_key(|stored| (stored.clienthello, stored.written));
        let ends = stored.iter().filter(|s| s.conversation.has_quit()).count();
        let mut excess_open = (stored.len() - ends).saturating_sub(limits.parked);
        let mut excess_ends = ends.saturating_sub(limits.ended);
        for stored in stored {
            let has_quit = stored.conversation.has_quit();
            let surplus = match has_quit {
                true => &mut excess_ends,
                false => &mut excess_open,
            };
            let is_excess = *surplus > 0;
            *surplus = surplus.saturating_sub(1);
            let place = if is_excess && has_quit {
                &mut inventory.excess
            } else if is_excess || stored.is_old() {
                &mut inventory.expired
            } else {
                &mut inventory.stored
            };
            place.push(stored);
        }
        inventory
    }

    /// Above the ClientHellos of all that it holds.
    pub(crate) fn next_clienthello(&self) -> u64 {
        let all = [&self.stored, &self.expired, &self.excess];
        let last = all
            .into_iter()
            .flatten()
            .map(|stored| stored.clienthello)
            .max();
        last.map_or(0, |last| last + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::store::contents::now;
    use crate::link::store::{Contents, Directory, FileStore, Version};
    use crate::protocol::{Conversation, ConversationId, HeardWhen, Role};
    use crate::trust::KeyId;

    /// A record, whose peer last came with this ClientHello.
    fn listed(clienthello: u64, has_quit: bool) -> Listed {
        let byte = u8::try_from(clienthello).unwrap();
        let (peer, id) = (
            KeyId::of_spki(b"bob"),
            ConversationId::from_bits([byte; 16]),
        );
        let conversation = Conversation::new(Role::Server, id, HeardWhen::Stored);
        let snapshot = match has_quit {
            true => conversation.tombstone(),
            false => conversation.snapshot(),
        };
        let mut contents = Contents::new(peer, snapshot);
        contents.clienthello = clienthello;
        contents.written = now();
        let name = RecordName::Server(peer, id);
        Listed {
            name: Some(name),
            read: Ok((name, (Version::NONE, contents.encode()))),
        }
    }

    fn of(listed: Vec<Listed>) -> Inventory {
        let disk = Directory::unlocked("nowhere".as_ref());
        let store: Arc<dyn Store> = Arc::new(FileStore::new(disk));
        let limits = Limits {
            parked: 2,
            ended: 1,
            ..Limits::default()
        };
        Inventory::of(listed, &store, &limits)
    }

    fn clienthellos(stored: &[Stored]) -> Vec<u64> {
        stored.iter().map(|stored| stored.clienthello).collect()
    }

    #[test]
    fn past_the_limits_those_go_whose_peers_came_first() {
        let open = [5, 1, 3].map(|clienthello| listed(clienthello, false));
        let ended = [4, 6].map(|clienthello| listed(clienthello, true));
        let inventory = of(open.into_iter().chain(ended).collect());
        assert_eq!(clienthellos(&inventory.stored), [3, 5, 6]);
        assert_eq!(clienthellos(&inventory.expired), [1]);
        assert_eq!(clienthellos(&inventory.excess), [4]);
        assert!(inventory.unreadable.is_empty());
    }

    /// Also above one that goes: what comes next is younger than all of them (PROTOCOL 4.25).
    #[test]
    fn clienthellos_are_counted_on_from_the_last() {
        assert_eq!(of(Vec::new()).next_clienthello(), 0);
        assert_eq!(of(vec![listed(7, false)]).next_clienthello(), 8);
        let ended = [4, 6].map(|clienthello| listed(clienthello, true));
        assert_eq!(of(ended.into_iter().collect()).next_clienthello(), 7);
    }

    #[test]
    fn what_cannot_be_read_stops_no_other() {
        let mut damaged = listed(9, false);
        damaged.read = damaged
            .read
            .map(|(name, _)| (name, (Version::NONE, Vec::new())));
        let name = damaged.name;
        let inventory = of(vec![damaged, listed(2, false)]);
        assert_eq!(clienthellos(&inventory.stored), [2]);
        let [(of, JournalError::Damaged { .. })] = &inventory.unreadable[..] else {
            panic!("{:?}", inventory.unreadable);
        };
        assert_eq!(*of, name);
    }
}
