//! [`ConversationId`]: the name that both sides use for a conversation.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// 128 random bits chosen by the client, written as 22 characters of
/// unpadded base64url (RFC 4648, section 5; PROTOCOL 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ConversationId([u8; 16]);

/// As the bytes are ordered.
impl Ord for ConversationId {
    fn cmp(&self, other: &Self) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for ConversationId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl ConversationId {
    /// The id made of these bits; they should be random (this floor has no
    /// source of randomness).
    pub const fn from_bits(bits: [u8; 16]) -> Self {
        Self(bits)
    }

    /// How many characters it is written with.
    pub(super) const LENGTH: usize = 22;

    /// Appends it as it is written.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let at = to.len();
        to.resize(at + Self::LENGTH, 0);
        let place = to.get_mut(at..).unwrap_or_default();
        let written = URL_SAFE_NO_PAD.encode_slice(self.0, place);
        debug_assert_eq!(written, Ok(Self::LENGTH));
    }
}

/// A malformed id: not 22 characters of canonical base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a conversation id")]
pub struct MalformedId;

impl FromStr for ConversationId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        // Room for what the engine takes for the most that the text could hold.
        let mut bits = [0; 18];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bits) {
            Ok(16) => {}
            Ok(_) | Err(_) => return Err(MalformedId),
        }
        let (bits, _) = bits.split_first_chunk().ok_or(MalformedId)?;
        Ok(Self(*bits))
    }
}

impl TryFrom<String> for ConversationId {
    type Error = MalformedId;

    fn try_from(text: String) -> Result<Self, MalformedId> {
        text.parse()
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base64Display::new(&self.0, &URL_SAFE_NO_PAD).fmt(f)
    }
}

impl fmt::Debug for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConversationId({self})")
    }
}

impl Serialize for ConversationId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let id = ConversationId::from_bits(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "MDEyMzQ1Njc4OWFiY2RlZg");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn only_22_canonical_characters_are_an_id() {
        for malformed in [
            "",
            "MDEyMzQ1Njc4OWFiY2RlZ",
            "MDEyMzQ1Njc4OWFiY2RlZgA",
            "MDEyMzQ1Njc4OWFiY2RlZg==",
            "MDEyMzQ1Njc4OWFiY2RlZh",
            "MDEyMzQ1Njc4OWFiY2R+/g",
        ] {
            assert_eq!(
                malformed.parse::<ConversationId>(),
                Err(MalformedId),
                "{malformed}"
            );
        }
    }
}
