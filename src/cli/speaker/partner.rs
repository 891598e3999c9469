//! [`Partner`]: with whom a conversation is, and what a person is told of it.

use std::net::IpAddr;

use crate::protocol::{ConversationId, Role};
use crate::trust::KeyId;

/// With whom a conversation is.
#[derive(Clone, Debug)]
pub struct Partner {
    /// The proven key.
    pub key: KeyId,
    /// What the address book calls it.
    pub petname: Option<String>,
    /// Where it has called from, if it has.
    pub address: Option<IpAddr>,
    /// Which side we are.
    pub role: Role,
    /// What both sides call the conversation.
    pub conversation: ConversationId,
    /// It goes on, after a restart of this side.
    pub is_resumed: bool,
}

impl Partner {
    /// What to call the peer.
    pub fn name(&self) -> String {
        self.petname.clone().unwrap_or_else(|| self.key.to_string())
    }

    /// What to call the peer where it is clear who is meant.
    pub fn short_name(&self) -> String {
        let nameless = || "Your peer".to_owned();
        self.petname.clone().unwrap_or_else(nameless)
    }

    /// The same within a sentence.
    pub fn name_within(&self) -> String {
        let nameless = || "your peer".to_owned();
        self.petname.clone().unwrap_or_else(nameless)
    }

    /// What a person is told when the conversation is on.
    pub fn greeting(&self) -> String {
        let name = self.name();
        let from = self.address.map(|address| format!(", from {address}"));
        let from = from.unwrap_or_default();
        match self.is_resumed {
            true => format!("Going on with your conversation with {name}{from}."),
            false => format!("Connected with {name}{from}."),
        }
    }
}
