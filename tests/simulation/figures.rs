//! How much was lived through.

use std::fmt;
use std::ops::AddAssign;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) histories: usize,
    pub(crate) events: u64,
    pub(crate) conversations: usize,
    pub(crate) turns: usize,
    pub(crate) cuts: usize,
    pub(crate) stalls: usize,
    pub(crate) crashes: usize,
    pub(crate) torn_writes: usize,
    pub(crate) failed_stores: usize,
    pub(crate) taken_over: usize,
    pub(crate) failed_readers: usize,
    pub(crate) seconds: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.histories += other.histories;
        self.events += other.events;
        self.conversations += other.conversations;
        self.turns += other.turns;
        self.cuts += other.cuts;
        self.stalls += other.stalls;
        self.crashes += other.crashes;
        self.torn_writes += other.torn_writes;
        self.taken_over += other.taken_over;
        self.failed_stores += other.failed_stores;
        self.failed_readers += other.failed_readers;
        self.seconds += other.seconds;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} histories, {} hours, {} events: {} conversations, {} turns; {} cuts, {} stalls, \
             {} crashes, {} torn writes, {} failed stores, {} taken over, {} failed readers",
            self.histories,
            self.seconds / 3_600,
            self.events,
            self.conversations,
            self.turns,
            self.cuts,
            self.stalls,
            self.crashes,
            self.torn_writes,
            self.failed_stores,
            self.taken_over,
            self.failed_readers,
        )
    }
}
