//! The played clock: what happens next, and when.

use std::collections::BTreeMap;
use std::time::Duration;

/// Since the history began.
pub(crate) type Time = Duration;

/// What is to happen, in the order of its time. Of two at one time, the first that was put in.
#[derive(Debug)]
pub(super) struct Queue<E> {
    now: Time,
    events: BTreeMap<(Time, u64), E>,
    count: u64,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Self {
            now: Time::ZERO,
            events: BTreeMap::new(),
            count: 0,
        }
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    /// Its number, by which what it is about may know it.
    pub(super) fn at(&mut self, time: Time, event: E) -> u64 {
        self.count += 1;
        self.events.insert((time.max(self.now), self.count), event);
        self.count
    }

    pub(super) fn after(&mut self, delay: Duration, event: E) -> u64 {
        self.at(self.now + delay, event)
    }

    /// It happens later, under the number that it has.
    pub(super) fn again(&mut self, time: Time, number: u64, event: E) {
        self.events.insert((time, number), event);
    }

    /// Time goes on to it.
    pub(super) fn next(&mut self) -> Option<(u64, E)> {
        let ((time, number), event) = self.events.pop_first()?;
        self.now = time;
        Some((number, event))
    }
}
