//! [`Timers`]: when admission's timers fire. It has the clock that admission
//! does without.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::admission::Timer;

#[derive(Debug, Default)]
pub(super) struct Timers {
    at: BTreeMap<Timer, Instant>,
    due: BTreeSet<(Instant, Timer)>,
    /// Those of ends, a thousand as a rule. All have the same delay: the first armed is the first
    /// due.
    ends: VecDeque<(Instant, Timer)>,
}

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, delay: Duration) {
        let at = Instant::now() + delay;
        match timer {
            // That of an end that comes once more was disarmed before.
            Timer::Ended(..) => self.ends.push_back((at, timer)),
            _ => {
                self.disarm(timer);
                self.at.insert(timer, at);
                self.due.insert((at, timer));
            }
        }
    }

    pub(super) fn disarm(&mut self, timer: Timer) {
        match timer {
            Timer::Ended(..) => {
                // Mostly it is the first.
                let place = self.ends.iter().position(|(_, of)| *of == timer);
                place.and_then(|place| self.ends.remove(place));
            }
            _ => {
                if let Some(at) = self.at.remove(&timer) {
                    self.due.remove(&(at, timer));
                }
            }
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.first().map(|(at, _)| at)
    }

    /// A timer that is due, once.
    pub(super) fn fire(&mut self) -> Option<Timer> {
        let (at, timer) = self.first()?;
        (at <= Instant::now()).then(|| {
            self.disarm(timer);
            timer
        })
    }

    fn first(&self) -> Option<(Instant, Timer)> {
        let firsts = [self.due.first(), self.ends.front()];
        firsts.into_iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::protocol::ConversationId;
    use crate::trust::{Algorithm, Identity};

    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test(start_paused = true)]
    async fn they_fire_in_their_order_and_once() {
        let key = Identity::generate(Algorithm::default()).unwrap().key_id();
        let id = |number| ConversationId::from_bits([number; 16]);
        let end = |number| Timer::Ended(key, id(number));
        let mut timers = Timers::default();
        for number in 1..=4 {
            timers.arm(end(number), 24 * HOUR);
        }
        timers.arm(Timer::Question(key), HOUR);
        timers.arm(Timer::Place(key, id(1)), 24 * HOUR);
        assert_eq!(timers.next(), Some(Instant::now() + HOUR));
        assert_eq!(timers.fire(), None);

        advance(HOUR).await;
        assert_eq!(timers.fire(), Some(Timer::Question(key)));
        assert_eq!(timers.fire(), None);
        // Forgotten before its time, in the middle and at the front; and one that ends again.
        timers.disarm(end(3));
        timers.disarm(end(1));
        timers.disarm(end(2));
        timers.arm(end(2), 24 * HOUR);
        assert_eq!(timers.next(), Some(Instant::now() + 23 * HOUR));

        advance(23 * HOUR).await;
        let mut fired = [timers.fire(), timers.fire()];
        fired.sort();
        assert_eq!(fired, [Some(Timer::Place(key, id(1))), Some(end(4))]);
        assert_eq!(timers.fire(), None);
        advance(HOUR).await;
        assert_eq!(timers.fire(), Some(end(2)));
        assert_eq!((timers.fire(), timers.next()), (None, None));
    }
}
