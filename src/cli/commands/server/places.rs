//! [`Places`]: for how many conversations at once there is a place, and which one has to make
//! room. A key has a quarter of them at most, and who was cut goes first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::link::{Candidate, Verdict};
use crate::protocol::{ConversationId, Reason};
use crate::trust::KeyId;

/// The places of a server, shared with the library, which asks about every peer.
#[derive(Clone)]
pub(super) struct Places {
    most: usize,
    taken: Arc<Mutex<BTreeMap<ConversationId, Taken>>>,
}

struct Taken {
    key: KeyId,
    /// Since when the link is lost.
    is_lost: watch::Receiver<Option<Instant>>,
    /// It has to make room.
    leaves: Arc<Notify>,
    is_leaving: bool,
}

/// A place that is free again once this is dropped.
pub(super) struct Place {
    places: Places,
    conversation: ConversationId,
    leaves: Arc<Notify>,
    is_lost: watch::Receiver<Option<Instant>>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        let taken = Arc::default();
        Self { most, taken }
    }

    /// What becomes of a candidate whose key is let in. Where all places are taken, it waits for
    /// one in the queue.
    pub(super) fn judge(&self, candidate: &Candidate) -> Verdict {
        let mut taken = self.lock();
        let is_on = |of: &Taken| of.key == candidate.key && !of.is_leaving;
        if taken.get(&candidate.conversation).is_some_and(is_on) {
            return Verdict::Admit;
        }
        let share = (self.most / 4).max(1);
        if candidate.others >= share {
            let makes_room = send_away(&mut taken, |of| of.key == candidate.key);
            return match makes_room {
                true => Verdict::Admit,
                false => Verdict::Refuse(Reason::Busy),
            };
        }
        if taken.len() >= self.most && !send_away(&mut taken, |of| of.key == candidate.key) {
            send_away(&mut taken, |_| true);
        }
        Verdict::Admit
    }

    /// Takes a place for this conversation.
    pub(super) fn take(
        &self,
        key: KeyId,
        conversation: ConversationId,
        is_lost: watch::Receiver<Option<Instant>>,
    ) -> Place {
        let leaves = Arc::new(Notify::new());
        let taken = Taken {
            key,
            is_lost: is_lost.clone(),
            leaves: Arc::clone(&leaves),
            is_leaving: false,
        };
        self.lock().insert(conversation, taken);
        Place {
            places: self.clone(),
            conversation,
            leaves,
            is_lost,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ConversationId, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the one leave whose link has been lost for longest. Whether there is one.
fn send_away(taken: &mut BTreeMap<ConversationId, Taken>, may: impl Fn(&Taken) -> bool) -> bool {
    let cut = taken.values_mut().filter(|of| !of.is_leaving && may(of));
    let cut = cut.filter_map(|of| {
        let since = *of.is_lost.borrow();
        Some((since?, of))
    });
    match cut.min_by_key(|(since, _)| *since) {
        Some((_, longest)) => {
            longest.is_leaving = true;
            longest.leaves.notify_one();
            true
        }
        None => false,
    }
}

impl Place {
    /// Returns once somebody else needs it, and the link is still lost. May be dropped at any
    /// time.
    pub(super) async fn is_needed(&self) {
        loop {
            self.leaves.notified().await;
            if self.is_lost.borrow().is_some() {
                return;
            }
            if let Some(taken) = self.places.lock().get_mut(&self.conversation) {
                taken.is_leaving = false;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(&self.conversation);
    }
}

#[cfg(test)]
mod tests;
