//! [`Seats`]: how many conversations have left their seat.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Seats that are free again. Mostly nobody waits for one: then the next connection finds it, and
/// nobody is woken.
#[derive(Debug, Default)]
pub(super) struct Seats {
    left: AtomicUsize,
    is_awaited: AtomicBool,
    /// The server's own task has to look.
    changed: Notify,
}

impl Seats {
    /// A conversation leaves its seat.
    pub(super) fn leave(&self) {
        self.left.fetch_add(1, Ordering::SeqCst);
        if self.is_awaited.load(Ordering::SeqCst) {
            self.changed.notify_one();
        }
    }

    /// So many were left since this was last called.
    pub(super) fn take(&self) -> usize {
        self.left.swap(0, Ordering::SeqCst)
    }

    /// Whether somebody waits for one from now on.
    pub(super) fn awaited(&self, is_awaited: bool) {
        self.is_awaited.store(is_awaited, Ordering::SeqCst);
        // One that was left before that woke nobody.
        if is_awaited && self.left.load(Ordering::SeqCst) > 0 {
            self.changed.notify_one();
        }
    }

    /// Done when the server's own task has to look.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// It has to.
    pub(super) fn change(&self) {
        self.changed.notify_one();
    }
}
