//! [`RecordName`]: whose conversation a record holds.

use std::fmt;
use std::str::FromStr;

use crate::protocol::{ConversationId, Role};
use crate::trust::KeyId;

/// Whose conversation a record holds. A client has one with a peer, a server many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordName {
    /// A client's, with this peer.
    Client(KeyId),
    /// A server's, with this peer.
    Server(KeyId, ConversationId),
}

impl RecordName {
    /// The side that keeps it.
    pub fn role(&self) -> Role {
        match self {
            Self::Client(_) => Role::Client,
            Self::Server(..) => Role::Server,
        }
    }

    /// The other side.
    pub fn peer(&self) -> KeyId {
        match self {
            Self::Client(peer) | Self::Server(peer, _) => *peer,
        }
    }

    /// The lock of whoever goes on with it: a server has one for all of its conversations.
    pub(in crate::link) fn lock(&self) -> String {
        match self {
            Self::Client(_) => self.to_string(),
            Self::Server(..) => "server".to_owned(),
        }
    }
}

/// `client-PEER-KEY` or `server-PEER-KEY-ID`, of which a file's name can be made.
impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(peer) => write!(f, "client-{}", peer.file_name()),
            Self::Server(peer, id) => write!(f, "server-{}-{id}", peer.file_name()),
        }
    }
}

/// It is no record's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRecord;

impl FromStr for RecordName {
    type Err = NoRecord;

    fn from_str(name: &str) -> Result<Self, NoRecord> {
        let parsed = match name.split_once('-') {
            Some(("client", peer)) => KeyId::of_file_name(peer).map(Self::Client),
            // Both may have `-` in them.
            Some(("server", rest)) => rest
                .split_at_checked(KeyId::FILE_NAME)
                .and_then(|(peer, id)| Some((peer, id.strip_prefix('-')?)))
                .and_then(|(peer, id)| {
                    Some(Self::Server(KeyId::of_file_name(peer)?, id.parse().ok()?))
                }),
            _ => None,
        };
        parsed.ok_or(NoRecord)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let peer = KeyId::of_spki(b"bob");
        let id = ConversationId::from_bits([0xFB; 16]);
        for name in [RecordName::Client(peer), RecordName::Server(peer, id)] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn other_names_are_none_of_a_record() {
        let peer = KeyId::of_spki(b"bob").file_name();
        for name in ["", "server", "client-", &peer, &format!("server-{peer}")] {
            assert_eq!(name.parse::<RecordName>(), Err(NoRecord), "{name}");
        }
    }
}
