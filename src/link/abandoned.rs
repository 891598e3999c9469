//! [`Abandoned`]: what is left of a conversation that will not continue.

use crate::protocol::{By, Conversation, ConversationId, Message};
use crate::trust::KeyId;

/// A conversation that could have continued after a cut or a crash, but is over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abandoned {
    /// The peer's key.
    pub key: KeyId,
    /// The name that both sides used for it.
    pub conversation: ConversationId,
    /// Our last message in it, unless the peer is known to hold it.
    pub unacknowledged: Option<Message>,
    /// The peer's last message in it, unless it is known to be taken.
    pub untaken: Option<Message>,
}

impl Abandoned {
    pub(super) fn of(key: KeyId, conversation: &Conversation) -> Self {
        let last = conversation.last_heard();
        let untaken = last.filter(|_| conversation.has_untaken());
        Self {
            key,
            conversation: conversation.id(),
            unacknowledged: conversation.end(By::Peer).unacknowledged,
            untaken,
        }
    }
}
