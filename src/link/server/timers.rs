//! [`Timers`]: when admission's timers fire. It has the clock that admission
//! does without.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::admission::Timer;

#[derive(Debug, Default)]
pub(super) struct Timers {
    at: BTreeMap<Timer, Instant>,
    due: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, delay: Duration) {
        self.disarm(timer);
        let at = Instant::now() + delay;
        self.at.insert(timer, at);
        self.due.insert((at, timer));
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.due.remove(&(at, timer));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A timer that is due, once.
    pub(super) fn fire(&mut self) -> Option<Timer> {
        let (at, timer) = *self.due.first()?;
        (at <= Instant::now()).then(|| {
            self.disarm(timer);
            timer
        })
    }
}
