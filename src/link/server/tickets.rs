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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::sync::Semaphore;
    use tokio::{join, task};

    use super::*;
    use crate::link::store::{Later, Loaded, MemoryStore, PutError, RecordName, Version};

    /// A store that answers when it may, with how often it was asked.
    #[derive(Debug)]
    struct Slow {
        asked: AtomicU64,
        may: Semaphore,
        fails: AtomicU64,
    }

    impl Store for Slow {
        fn is_shared(&self) -> bool {
            true
        }

        fn place(&self, _: &RecordName) -> PathBuf {
            PathBuf::new()
        }

        fn load(self: Arc<Self>, name: RecordName) -> Later<Result<Option<Loaded>, JournalError>> {
            Arc::new(MemoryStore::default()).load(name)
        }

        fn put(
            self: Arc<Self>,
            name: RecordName,
            bytes: Vec<u8>,
            expected: Version,
        ) -> Later<Result<Version, PutError>> {
            Arc::new(MemoryStore::default()).put(name, bytes, expected)
        }

        fn remove(
            self: Arc<Self>,
            name: RecordName,
            expected: Version,
        ) -> Later<Result<(), PutError>> {
            Arc::new(MemoryStore::default()).remove(name, expected)
        }

        fn ticket(self: Arc<Self>) -> Later<Result<u64, JournalError>> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            Box::pin(async move {
                self.may.acquire().await.unwrap().forget();
                match self.fails.load(Ordering::SeqCst) {
                    0 => Ok(asked),
                    _ => Err(JournalError::InUse { path: "it".into() }),
                }
            })
        }
    }

    fn slow(may: usize) -> (Arc<Slow>, Tickets) {
        let slow = Arc::new(Slow {
            asked: AtomicU64::new(0),
            may: Semaphore::new(may),
            fails: AtomicU64::new(0),
        });
        let store: Arc<dyn Store> = slow.clone();
        (slow, Tickets::of(Some(store)))
    }

    /// Those that come while the store is asked wait for the next answer: theirs may be older.
    #[tokio::test]
    async fn one_look_serves_all_that_had_come_before_it() {
        let (slow, tickets) = slow(0);
        let crowd = async {
            let (a, b, c, d) = join!(
                tickets.draw(),
                tickets.draw(),
                tickets.draw(),
                tickets.draw()
            );
            [a, b, c, d].map(Result::unwrap)
        };
        let answers = async {
            task::yield_now().await;
            assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
            slow.may.add_permits(2);
        };
        let (drawn, ()) = join!(crowd, answers);
        assert_eq!(slow.asked.load(Ordering::SeqCst), 2);
        let first = next_ticket(0, 1);
        let second = next_ticket(first, 2);
        assert_eq!(drawn, [first, second, second + 1, second + 2]);
    }

    #[tokio::test]
    async fn no_ticket_is_older_than_its_clienthello() {
        let (slow, tickets) = slow(2);
        let drawn = tickets.draw().await.unwrap();
        let later = tickets.draw().await.unwrap();
        assert_eq!(later, next_ticket(drawn, 2));
        assert_eq!(slow.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_look_that_fails_or_is_dropped_holds_up_nobody() {
        let (slow, tickets) = slow(0);
        let dropped = tokio::time::timeout(std::time::Duration::ZERO, tickets.draw()).await;
        assert!(dropped.is_err());
        slow.may.add_permits(2);
        slow.fails.store(1, Ordering::SeqCst);
        assert!(tickets.draw().await.is_err());
        slow.fails.store(0, Ordering::SeqCst);
        assert_eq!(tickets.draw().await, Ok(next_ticket(0, 3)));
    }
}
