//! [`Text`], [`Message`] and [`Detail`]: the only free text in frames.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One message: at most [`Text::MAX`] bytes of UTF-8, line feeds and U+0000
/// included, possibly empty. Cheap to clone.
///
/// It is exactly what was said, and so is what `Display` writes: escape it before a terminal
/// shows it.
///
/// ```
/// use turnchat::Text;
///
/// let text: Text = "Hello, client!".try_into()?;
/// assert_eq!(text.as_str(), "Hello, client!");
/// assert!(Text::new("x".repeat(Text::MAX + 1)).is_err());
/// # Ok::<(), turnchat::TooLong>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Text(
    // A long one is read into a `String`; to make an `Arc<str>` of that would copy it.
    #[serde(serialize_with = "as_str")] Arc<String>,
);

/// What was said in one turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The number of its turn; a conversation begins with 1, the server's (PROTOCOL 3.1).
    pub turn: u64,
    /// Its words.
    pub text: Text,
}

impl Message {
    pub(crate) fn new(turn: u64, text: Text) -> Self {
        Self { turn, text }
    }
}

/// A text over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes of text, and at most {max} are allowed")]
pub struct TooLong {
    /// How many bytes it has.
    pub bytes: usize,
    /// How many it may have.
    pub max: usize,
}

impl Text {
    /// Bytes of UTF-8 that a message may have (PROTOCOL 2.4).
    pub const MAX: usize = 65_536;

    /// A message with these words.
    ///
    /// # Errors
    /// [`TooLong`] over [`Text::MAX`] bytes.
    pub fn new(words: impl Into<String>) -> Result<Self, TooLong> {
        within(words.into(), Self::MAX).map(|words| Self(Arc::new(words)))
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Text {
    type Error = TooLong;

    fn try_from(words: String) -> Result<Self, TooLong> {
        Self::new(words)
    }
}

impl TryFrom<&str> for Text {
    type Error = TooLong;

    fn try_from(words: &str) -> Result<Self, TooLong> {
        Self::new(words)
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an `error` frame adds for the other side's log: at most
/// [`Detail::MAX`] bytes of UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Detail(#[serde(serialize_with = "as_str")] Arc<str>);

impl Detail {
    /// Bytes of UTF-8 that a detail may have (PROTOCOL 2.5).
    pub const MAX: usize = 256;

    /// A detail with these words.
    ///
    /// # Errors
    /// [`TooLong`] over [`Detail::MAX`] bytes.
    pub fn new(words: impl Into<Arc<str>>) -> Result<Self, TooLong> {
        within(words.into(), Self::MAX).map(Self)
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn within<T: AsRef<str>>(words: T, max: usize) -> Result<T, TooLong> {
    match words.as_ref().len() {
        bytes if bytes > max => Err(TooLong { bytes, max }),
        _ => Ok(words),
    }
}

fn as_str<T, S>(words: &Arc<T>, to: S) -> Result<S::Ok, S::Error>
where
    T: AsRef<str> + ?Sized,
    S: serde::Serializer,
{
    to.serialize_str((**words).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_counts_bytes_not_characters() {
        let longest = "é".repeat(Text::MAX / 2);
        assert_eq!(Text::new(longest.clone()).unwrap().as_str(), longest);
        assert_eq!(
            Text::new(longest + "x"),
            Err(TooLong {
                bytes: Text::MAX + 1,
                max: Text::MAX
            })
        );
        assert!(Detail::new("d".repeat(Detail::MAX)).is_ok());
        assert!(Detail::new("d".repeat(Detail::MAX + 1)).is_err());
    }

    #[test]
    fn a_message_may_be_empty_and_may_hold_anything() {
        for words in ["", "\n", "\0", "QUIT"] {
            assert_eq!(Text::new(words).unwrap().as_str(), words);
        }
    }

    #[test]
    fn a_text_is_made_of_its_words_and_shown_as_them() {
        let words = "Tea at five?";
        let text = Text::try_from(words).unwrap();
        assert_eq!(text, Text::try_from(words.to_owned()).unwrap());
        assert_eq!(text.as_ref(), words);
        assert_eq!(text.to_string(), words);
        let too_long = "x".repeat(Text::MAX + 1);
        let error = Text::try_from(&*too_long).unwrap_err();
        assert_eq!(
            error.to_string(),
            "65537 bytes of text, and at most 65536 are allowed"
        );
    }
}
