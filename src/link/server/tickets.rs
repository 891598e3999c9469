//! [`Tickets`]: the order in which ClientHellos come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::link::store::{JournalError, Store};

/// Where a server's tickets come from: a number for each ClientHello, above those of all that came
/// before (PROTOCOL 4.25).
#[derive(Debug)]
pub(super) enum Tickets {
    /// Counted here: nothing is kept.
    Counted(AtomicU64),
    /// From its store, which knows those of its records.
    OfStore(Arc<dyn Store>),
}

impl Tickets {
    pub(super) fn of(store: Option<Arc<dyn Store>>) -> Self {
        store.map_or(Self::Counted(AtomicU64::new(0)), Self::OfStore)
    }

    pub(super) async fn draw(&self) -> Result<u64, JournalError> {
        match self {
            Self::Counted(count) => Ok(count.fetch_add(1, Ordering::Relaxed)),
            Self::OfStore(store) => Arc::clone(store).ticket().await,
        }
    }
}
