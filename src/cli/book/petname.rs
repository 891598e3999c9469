//! [`Petname`], what a person calls a peer.

use std::fmt;
use std::str::FromStr;

/// The longest petname, in bytes.
const MAX_LENGTH: usize = 64;

/// A name that a person gave to a peer in their own address book. It never
/// travels, and what a peer calls itself never becomes one.
///
/// 1 to 64 ASCII letters, digits, `.`, `_` and `-`, so that it can be typed,
/// compared by eye and shown anywhere. It does not begin with `-` or `.`
/// (which would be an option or a hidden file) and does not end in `.pem`
/// (which would be a certificate file). Case counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Petname(String);

impl Petname {
    /// The name as it is typed and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Petname {
    type Err = MalformedPetname;

    fn from_str(text: &str) -> Result<Self, MalformedPetname> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let good = (1..=MAX_LENGTH).contains(&text.len())
            && text.chars().all(allowed)
            && !text.starts_with(['-', '.'])
            && !text.ends_with(".pem");
        good.then(|| Self(text.to_owned())).ok_or(MalformedPetname)
    }
}

impl fmt::Display for Petname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot be a petname.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a name: a name is 1 to 64 ASCII letters, digits, `.`, `_` or `-`, \
     does not begin with `-` or `.` and does not end in `.pem`"
)]
pub struct MalformedPetname;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_typed_are_petnames() {
        for text in [
            "a",
            "bob",
            "Bob_2",
            "a-b.c",
            "7",
            "_",
            &"a".repeat(64),
            "pem",
            "a.pem.b",
        ] {
            assert_eq!(text.parse::<Petname>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_that_could_be_something_else_are_not() {
        for text in [
            "",
            "-a",
            ".a",
            ".",
            "..",
            "a.pem",
            "a b",
            "a/b",
            "a:8876",
            "SHA256:a",
            "é",
            "a\n",
            "a\u{202e}b",
            "a\u{1b}",
            &"a".repeat(65),
        ] {
            assert_eq!(text.parse::<Petname>(), Err(MalformedPetname), "{text:?}");
        }
    }

    #[test]
    fn case_tells_two_petnames_apart() {
        assert_ne!("bob".parse::<Petname>(), "Bob".parse());
    }
}
