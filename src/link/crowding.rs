//! [`Crowding`]: whether somebody waits for a place on a server, and which conversations mind.
//! Only those that are cut or about to end do: all others are not told, however many they are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::ConversationId;
use crate::trust::KeyId;

/// Whose conversation, and which.
type Name = (KeyId, ConversationId);

/// Shared by a server and its conversations.
#[derive(Debug, Default)]
pub(super) struct Crowding(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_crowded: bool,
    minding: BTreeSet<Name>,
}

impl Crowding {
    /// Somebody waits, or nobody does any more; returns who is to be [told](Place::is_crowded).
    pub(super) fn set(&self, is_crowded: bool) -> Vec<Name> {
        let mut state = self.lock();
        state.is_crowded = is_crowded;
        state.minding.iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a conversation on a server holds, and somebody may wait for.
#[derive(Debug)]
pub(super) struct Place {
    crowding: Arc<Crowding>,
    name: Name,
    is_minding: bool,
}

impl Place {
    pub(super) fn new(crowding: Arc<Crowding>, name: Name) -> Self {
        Self {
            crowding,
            name,
            is_minding: false,
        }
    }

    /// From now on its conversation minds whether somebody waits, or not any more. Returns
    /// [`is_crowded`](Self::is_crowded) if that is a change.
    pub(super) fn mind(&mut self, minds: bool) -> Option<bool> {
        if self.is_minding == minds {
            return None;
        }
        self.is_minding = minds;
        let mut state = self.crowding.lock();
        match minds {
            true => state.minding.insert(self.name),
            false => state.minding.remove(&self.name),
        };
        Some(minds && state.is_crowded)
    }

    /// Whether somebody waits. A conversation that does not mind never learns of it.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_minding && self.crowding.lock().is_crowded
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.mind(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u128) -> Name {
        let key = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
        let id = ConversationId::from_bits(number.to_be_bytes());
        (key.parse().unwrap(), id)
    }

    #[test]
    fn only_those_that_mind_are_told() {
        let crowding = Arc::new(Crowding::default());
        let place = |number| Place::new(Arc::clone(&crowding), name(number));
        let mut places: Vec<_> = (0..1_000).map(place).collect();
        assert!(crowding.set(true).is_empty());
        assert!(!places[7].is_crowded());
        assert_eq!(places[7].mind(true), Some(true));
        assert_eq!(places[7].mind(true), None);
        assert!(places[7].is_crowded());
        assert_eq!(crowding.set(false), [name(7)]);
        assert!(!places[7].is_crowded());
        assert_eq!(places[8].mind(true), Some(false));
        assert_eq!(places[7].mind(false), Some(false));
        assert_eq!(crowding.set(true), [name(8)]);
        drop(places);
        assert!(crowding.set(false).is_empty());
    }
}
