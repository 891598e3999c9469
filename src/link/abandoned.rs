//! [`Abandoned`]: what is to be known of a conversation that nobody goes on with.

use crate::protocol::{By, Conversation, ConversationId, Message};
use crate::trust::KeyId;

/// A conversation that could have gone on after a cut or a crash, and is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abandoned {
    /// With whom.
    pub key: KeyId,
    /// What both sides called it.
    pub conversation: ConversationId,
    /// Our last message in it, and its turn, if the peer is not known to hold
    /// it.
    pub unacknowledged: Option<Message>,
    /// The peer's last message in it, and its turn, if it is not known to be taken.
    pub untaken: Option<Message>,
}

impl Abandoned {
    pub(super) fn of(key: KeyId, conversation: &Conversation) -> Self {
        let last = conversation.last_heard();
        let untaken = last.filter(|_| conversation.is_in_hand());
        Self {
            key,
            conversation: conversation.id(),
            unacknowledged: conversation.end(By::Peer).unacknowledged,
            untaken,
        }
    }
}
