//! [`Going`]: who was told to go at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::link::server::admission::ConnectionId;

/// Those that were told to go at once. They hold a descriptor until they have gone, and nobody
/// else is accepted before that (PROTOCOL 5.4).
#[derive(Default)]
pub(super) struct Going {
    ids: BTreeSet<ConnectionId>,
    is_anybody: Arc<AtomicBool>,
}

impl Going {
    /// For whoever accepts: whether there is anybody, to be read before each accept.
    pub(super) fn watch(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_anybody)
    }

    pub(super) fn insert(&mut self, id: ConnectionId) {
        self.ids.insert(id);
        self.is_anybody.store(true, Ordering::SeqCst);
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        if self.ids.remove(&id) {
            self.is_anybody.store(!self.is_empty(), Ordering::SeqCst);
        }
    }

    pub(super) fn contains(&self, id: ConnectionId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
