//! [`Callers`]: where those who talk have come from.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::link::Candidate;
use crate::protocol::ConversationId;

/// Of so many it is known: the next one in the queue has come lately.
const KNOWN: usize = 1_000;

/// Noted as they ask to come in.
#[derive(Clone, Default)]
pub(super) struct Callers(Arc<Mutex<VecDeque<(ConversationId, IpAddr)>>>);

impl Callers {
    /// This one has come.
    pub(super) fn note(&self, candidate: &Candidate) {
        let Some(address) = candidate.address else {
            return;
        };
        let mut known = self.lock();
        known.retain(|(conversation, _)| *conversation != candidate.conversation);
        if known.len() >= KNOWN {
            known.pop_front();
        }
        known.push_back((candidate.conversation, address));
    }

    /// Where the peer in this conversation has come from last.
    pub(super) fn address(&self, conversation: ConversationId) -> Option<IpAddr> {
        let known = self.lock();
        let found = known.iter().rev().find(|(of, _)| *of == conversation);
        found.map(|(_, address)| *address)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(ConversationId, IpAddr)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
