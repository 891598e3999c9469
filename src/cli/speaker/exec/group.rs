//! [`Group`]: the processes of a program, which all end with it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// All that have not ended yet, for who leaves at once.
static GROUPS: Mutex<BTreeSet<Pid>> = Mutex::new(BTreeSet::new());

/// A process group that is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Group(Option<Pid>);

impl Group {
    /// The group that this process leads.
    pub(super) fn of(leader: u32) -> Self {
        let leader = i32::try_from(leader).ok().map(Pid::from_raw);
        groups().extend(leader);
        Self(leader)
    }

    /// Asks all in it to end.
    pub(super) fn terminate(&self) {
        if let Some(leader) = self.0 {
            // Whoever has ended needs no signal.
            let _ = killpg(leader, Signal::SIGTERM);
        }
    }

    /// Ends all that are left in it. Called as soon as its leader is known to have ended: later
    /// its number may be another's.
    pub(super) fn kill(&mut self) {
        if let Some(leader) = self.0.take() {
            groups().remove(&leader);
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ends all groups: the program leaves at once.
pub fn kill_all() {
    for leader in std::mem::take(&mut *groups()) {
        let _ = killpg(leader, Signal::SIGKILL);
    }
}

fn groups() -> MutexGuard<'static, BTreeSet<Pid>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}
