//! [`Tickets`]: the order in which ClientHellos come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::link::store::{JournalError, Store, next_ticket};

/// Where a server's tickets come from: a number for each ClientHello, above those of all that came
/// before (PROTOCOL 4.25).
#[derive(Debug)]
pub(super) enum Tickets {
    /// Counted here: nothing is kept.
    Counted(AtomicU64),
    /// From its store, which knows those of its records.
    OfStore(Arc<dyn Store>),
    /// Of a store that other servers have, too.
    Shared(Draws),
}

impl Tickets {
    pub(super) fn of(store: Option<Arc<dyn Store>>) -> Self {
        match store {
            None => Self::Counted(AtomicU64::new(0)),
            Some(store) if store.is_shared() => Self::Shared(Draws::of(store)),
            Some(store) => Self::OfStore(store),
        }
    }

    pub(super) async fn draw(&self) -> Result<u64, JournalError> {
        match self {
            Self::Counted(count) => Ok(count.fetch_add(1, Ordering::Relaxed)),
            Self::OfStore(store) => Arc::clone(store).ticket().await,
            Self::Shared(draws) => draws.next().await,
        }
    }
}

/// Looks at a shared store, one at a time: each serves all ClientHellos that had come before it
/// began.
#[derive(Debug)]
pub(super) struct Draws {
    store: Arc<dyn Store>,
    begun: AtomicU64,
    last: Mutex<Draw>,
}

#[derive(Debug, Default)]
struct Draw {
    /// Which of those that were begun.
    number: u64,
    /// How many writes there were.
    writes: u64,
    /// The last ticket that was given out.
    ticket: u64,
}

impl Draws {
    fn of(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            begun: AtomicU64::new(0),
            last: Mutex::default(),
        }
    }

    async fn next(&self) -> Result<u64, JournalError> {
        let begun = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.number <= begun {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let writes = Arc::clone(&self.store).ticket().await?;
            (last.number, last.writes) = (number, writes);
        }
        last.ticket = next_ticket(last.ticket, last.writes);
        Ok(last.ticket)
    }
}
