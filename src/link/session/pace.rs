//! [`Pace`]: how fast a session redials, tells its user of what a peer can change
//! at will, and loses its place while it is cut.

use std::hash::{Hash, Hasher};
use std::time::Duration;

/// Before the first redial; each later one waits twice as long, up to the last. All
/// with jitter, at most as much again (PROTOCOL 4.13).
const FIRST_REDIAL: Duration = Duration::from_millis(50);
const LAST_REDIAL: Duration = Duration::from_secs(3);
/// Before each redial where there are 10 s for all of them: for a first dial that was
/// not answered, and for a conversation that only wants its end acknowledged (PROTOCOL
/// 4.14). With the most jitter they take 9.1 s.
pub(in crate::link) const FEW_REDIALS: [Duration; 3] = [
    FIRST_REDIAL,
    Duration::from_millis(1_500),
    Duration::from_secs(3),
];

/// How many notices are told at once of a state that the peer can change at will; after these,
/// one at a time with a pause. A peer that comes and goes a thousand times a second must not
/// fill the user's screen.
pub(super) const NOTICES: u8 = 20;
pub(super) const NOTICE_PAUSE: Duration = Duration::from_secs(5);

/// The crowded hold is counted in this many parts, and each part that has begun counts whole.
/// A peer that cuts its link again and again therefore does not keep its place.
pub(super) const CUT_PARTS: u32 = 30;

/// How fast it redials and tells, and how long it was cut. Sessions that differ only in this
/// are equal: the model checker need not tell them apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How often a client has redialled since a turn last passed: a `welcome` alone does not
    /// reset it, since a peer can send one and cut at once.
    pub(super) redials: u32,
    /// How many notices may be told now. [`Timer::Notices`](super::Timer::Notices) is armed unless it is all.
    pub(super) notices: u8,
    /// Parts of the crowded hold that were begun since a turn last passed.
    pub(super) cut_parts: u32,
}

impl Pace {
    pub(super) fn turn_passed(&mut self) {
        (self.redials, self.cut_parts) = (0, 0);
    }

    pub(super) fn is_cut_for_long(&self) -> bool {
        self.cut_parts > CUT_PARTS
    }

    /// How long the next redial waits: ever longer.
    pub(super) fn next_redial(&mut self) -> Duration {
        let delay = FIRST_REDIAL.saturating_mul(1 << self.redials.min(16));
        self.redials = self.redials.saturating_add(1);
        delay.min(LAST_REDIAL)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            redials: 0,
            notices: NOTICES,
            cut_parts: 0,
        }
    }
}

impl PartialEq for Pace {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Pace {}

impl Hash for Pace {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
