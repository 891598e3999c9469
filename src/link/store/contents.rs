//! [`Contents`]: what a record says, as JSON.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::error::JournalError;
use crate::protocol::Snapshot;
use crate::trust::KeyId;

/// The version of this form. Records of another version are refused.
const VERSION: u32 = 4;

/// More than can ever come. The count continues from the stored number, so a larger one is
/// damage.
const MOST_CLIENTHELLOS: u64 = 1 << 63;

/// A record's content. It holds the last messages, not encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    version: u32,
    /// Whose conversation it is.
    pub peer: KeyId,
    /// Seconds since 1970, when this was written.
    pub written: u64,
    /// By this number, drawn at random and never 0, the one who wrote it knows it again.
    pub nonce: u64,
    /// It was on, or held, when this was written; else it is parked.
    pub live: bool,
    /// A server's: when the ClientHello of its newest connection came, among all
    /// since these were first kept (PROTOCOL 4.25).
    pub clienthello: u64,
    /// What is needed to go on.
    pub conversation: Snapshot,
}

/// Only the part that every version has.
#[derive(Deserialize)]
struct AnyContents {
    version: u32,
}

/// Why bytes are not taken for a record's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    OtherVersion(u32),
    Damaged,
}

impl Malformed {
    /// The same, of the record that stands there.
    pub(super) fn at(self, path: PathBuf) -> JournalError {
        match self {
            Self::OtherVersion(version) => JournalError::OtherVersion { path, version },
            Self::Damaged => JournalError::Damaged { path },
        }
    }
}

impl Contents {
    /// Of a conversation that is parked, or over.
    pub fn new(peer: KeyId, conversation: Snapshot) -> Self {
        Self {
            version: VERSION,
            peer,
            written: 0,
            nonce: 0,
            live: false,
            clienthello: 0,
            conversation,
        }
    }

    /// As it is stored.
    ///
    /// # Panics
    /// Never: all its parts can be written as JSON.
    pub fn encode(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "numbers, text and no maps")]
        serde_json::to_vec(self).expect("JSON")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        match serde_json::from_slice(bytes) {
            Ok(AnyContents { version: VERSION }) => {}
            Ok(AnyContents { version }) => return Err(Malformed::OtherVersion(version)),
            Err(_) => return Err(Malformed::Damaged),
        }
        let contents: Self = serde_json::from_slice(bytes).map_err(|_| Malformed::Damaged)?;
        match contents.clienthello > MOST_CLIENTHELLOS {
            true => Err(Malformed::Damaged),
            false => Ok(contents),
        }
    }

    /// What stands at the beginning of a file of which nothing is whole: up to version 2 it
    /// was all JSON.
    pub(super) fn malformed(beginning: &[u8]) -> Malformed {
        let version = || {
            let beginning = std::str::from_utf8(beginning).ok()?;
            let version = beginning.strip_prefix("{\"version\":")?;
            let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        };
        version().map_or(Malformed::Damaged, Malformed::OtherVersion)
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Conversation, ConversationId, HeardWhen, Role};

    fn contents() -> Contents {
        let id = ConversationId::from_bits([7; 16]);
        let conversation = Conversation::new(Role::Server, id, HeardWhen::Stored);
        Contents {
            written: 1,
            nonce: 2,
            live: true,
            clienthello: MOST_CLIENTHELLOS,
            ..Contents::new(KeyId::of_spki(b"bob"), conversation.snapshot())
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        assert_eq!(Contents::decode(&contents().encode()), Ok(contents()));
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut other = contents();
        other.version = 5;
        assert_eq!(
            Contents::decode(&other.encode()),
            Err(Malformed::OtherVersion(5))
        );
        // Whatever it holds.
        let later = br#"{"version":6,"all":"else is new"}"#;
        assert_eq!(Contents::decode(later), Err(Malformed::OtherVersion(6)));
        for damaged in [
            &br#"{"version":4,"all":"else is missing"}"#[..],
            br#"{"peer":"nobody"}"#,
            b"",
        ] {
            assert_eq!(Contents::decode(damaged), Err(Malformed::Damaged));
        }
        let mut counted_too_far = contents();
        counted_too_far.clienthello += 1;
        assert_eq!(
            Contents::decode(&counted_too_far.encode()),
            Err(Malformed::Damaged)
        );
    }

    /// Up to version 2 a file was all JSON, and had no slots.
    #[test]
    fn a_file_of_an_early_version_is_named_as_such() {
        for (beginning, malformed) in [
            (
                &b"{\"version\":2,\"peer\":\"SHA"[..],
                Malformed::OtherVersion(2),
            ),
            (b"{\"version\":12}", Malformed::OtherVersion(12)),
            (b"{\"version\":}", Malformed::Damaged),
            (b"{\"peer\":2", Malformed::Damaged),
            (b"\xff", Malformed::Damaged),
            (b"", Malformed::Damaged),
        ] {
            assert_eq!(Contents::malformed(beginning), malformed);
        }
        let path = || PathBuf::from("record");
        assert_eq!(
            Malformed::OtherVersion(2).at(path()),
            JournalError::OtherVersion {
                path: path(),
                version: 2
            }
        );
        let damaged = JournalError::Damaged { path: path() };
        assert_eq!(Malformed::Damaged.at(path()), damaged);
    }
}
