//! [`KeyId`], the name by which a public key is pinned, printed and compared.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// The identity of a peer: SHA-256 over the `SubjectPublicKeyInfo` of its
/// key (as RFC 7858, section 4.2 pins keys), printed as `SHA256:` and 43
/// characters of unpadded standard base64 (RFC 4648, section 4).
///
/// It names a key; it does not prove that anyone holds it.
///
/// ```
/// let printed = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
/// let key: turnchat::KeyId = printed.parse()?;
/// assert_eq!(key.to_string(), printed);
/// # Ok::<(), turnchat::MalformedKey>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyId([u8; 32]);

/// As the bytes are ordered. A server's maps compare keys in each step, and most are equal there:
/// words cost a fraction of a call to `memcmp`.
impl Ord for KeyId {
    fn cmp(&self, other: &Self) -> Ordering {
        fn words(KeyId(bytes): &KeyId) -> impl Iterator<Item = u64> {
            let (words, _) = bytes.as_chunks();
            words.iter().copied().map(u64::from_be_bytes)
        }
        words(self).cmp(words(other))
    }
}

impl PartialOrd for KeyId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl KeyId {
    /// What every printed key begins with.
    pub const PREFIX: &'static str = "SHA256:";

    /// The identity of the key whose DER-encoded `SubjectPublicKeyInfo` (RFC 5280,
    /// section 4.1.2.7) is given, byte for byte as in a certificate.
    pub fn of_spki(spki: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, spki).as_ref());
        Self(hash)
    }
}

impl KeyId {
    /// How long [`file_name`](Self::file_name) is, in bytes.
    pub(crate) const FILE_NAME: usize = 43;

    /// The key as part of a file's name: 43 characters of unpadded base64url
    /// (RFC 4648, section 5).
    pub fn file_name(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The key that a file is named for by [`file_name`](Self::file_name); `None` if by none.
    pub fn of_file_name(name: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(name).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

/// A malformed key: not `SHA256:` and 43 characters of base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key: a key is `SHA256:` and 43 letters, digits, `+` or `/`")]
pub struct MalformedKey;

impl FromStr for KeyId {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<Self, MalformedKey> {
        let encoded = text.strip_prefix(Self::PREFIX).ok_or(MalformedKey)?;
        let bytes = STANDARD_NO_PAD.decode(encoded).map_err(|_| MalformedKey)?;
        Ok(Self(bytes.try_into().map_err(|_| MalformedKey)?))
    }
}

impl Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl TryFrom<String> for KeyId {
    type Error = MalformedKey;

    fn try_from(text: String) -> Result<Self, MalformedKey> {
        text.parse()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let key = KeyId::of_spki(b"a key");
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.to_string().len(), 7 + 43);
    }

    #[test]
    fn a_file_s_name_is_read_back() {
        let key = KeyId::of_spki(b"a key");
        assert_eq!(KeyId::of_file_name(&key.file_name()), Some(key));
        for name in ["", "old", "lost+found", &key.to_string()] {
            assert_eq!(KeyId::of_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn only_the_canonical_form_is_a_key() {
        let key = KeyId::of_spki(b"a key").to_string();
        for malformed in [
            String::new(),
            key.replace("SHA256:", ""),
            key.to_lowercase(),
            format!("{key}="),
            format!(" {key}"),
            key[..key.len() - 1].to_owned(),
            // The last character carries four unused bits, which must be zero.
            "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV".to_owned(),
        ] {
            assert_eq!(malformed.parse::<KeyId>(), Err(MalformedKey), "{malformed}");
        }
    }
}
