//! [`Inventory`]: what a server's store holds when it starts.

use std::sync::Arc;

use super::error::JournalError;
use super::page::{Page, Stored};
use super::record_name::RecordName;
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
