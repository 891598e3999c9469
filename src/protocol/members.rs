//! What every frame has in common: one object with one member, whose value is an object
//! (PROTOCOL 2.1 and 2.9).

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{Json, Name};
use super::text::{Detail, Text};

/// Why a line is not a frame. Always a protocol error of its sender (PROTOCOL 2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// More bytes than a line may have here, and no end of it yet.
    #[error("a line of more than {limit} bytes")]
    LineTooLong {
        /// What was allowed, LF included.
        limit: usize,
    },
    /// Nothing but blanks before the LF.
    #[error("an empty line")]
    EmptyLine,
    /// No JSON text, or one that is not UTF-8, or with an unpaired surrogate.
    #[error("a line that is not JSON")]
    NotJson,
    /// JSON, but not an object with exactly one member whose value is an object.
    #[error("not an object with one member that is an object")]
    NotOneMember,
    /// A kind of frame that the protocol does not have.
    #[error("an unknown kind of frame")]
    UnknownKind,
    /// A member that this kind does not have, or a repeated one.
    #[error("a member that the frame does not have, or has only once")]
    UnknownMember,
    /// The member named is not there.
    #[error("a frame without `{0}`")]
    Missing(&'static str),
    /// The named member has an invalid value: a wrong type, a number over 2^53 − 1, a text
    /// over its limit, a malformed id or an unknown word.
    #[error("a frame whose `{0}` has a value that it cannot have")]
    BadValue(&'static str),
}

/// The members of a frame's value that were not read yet.
pub(super) struct Members<'a>(Vec<(Name<'a>, Json<'a>)>);

impl<'a> Members<'a> {
    /// 2^53 − 1 (PROTOCOL 2.3).
    pub(super) const MAX_INTEGER: u64 = (1 << 53) - 1;

    /// The kind that a line names, and the members of its value; the line is given without its
    /// LF.
    pub(super) fn of_line(line: &'a [u8]) -> Result<(Cow<'a, str>, Self), FrameError> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Err(FrameError::EmptyLine);
        }
        let Json::Object(mut members) = Json::parse(line).ok_or(FrameError::NotJson)? else {
            return Err(FrameError::NotOneMember);
        };
        match (members.pop(), members.is_empty()) {
            (Some((Name(kind), Json::Object(value))), true) => Ok((kind, Self(value))),
            _ => Err(FrameError::NotOneMember),
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Json<'a>> {
        let at = self.0.iter().position(|(member, _)| member.0 == name)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Result<u64, FrameError> {
        match self.take(name).ok_or(FrameError::Missing(name))? {
            Json::Integer(integer) if integer <= Self::MAX_INTEGER => Ok(integer),
            _ => Err(FrameError::BadValue(name)),
        }
    }

    /// Unpadded base64url of so many bytes, in its canonical form.
    pub(super) fn bytes<const N: usize>(
        &mut self,
        name: &'static str,
    ) -> Result<[u8; N], FrameError> {
        let bytes = URL_SAFE_NO_PAD.decode(&*self.string(name)?).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or(FrameError::BadValue(name))
    }

    /// Whether a member of this name was not read yet.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(member, _)| member.0 == name)
    }

    fn string(&mut self, name: &'static str) -> Result<Cow<'a, str>, FrameError> {
        match self.take(name).ok_or(FrameError::Missing(name))? {
            Json::String(string) => Ok(string),
            _ => Err(FrameError::BadValue(name)),
        }
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &'static str) -> Result<T, FrameError> {
        let word = self.string(name)?;
        word.parse().map_err(|_| FrameError::BadValue(name))
    }

    pub(super) fn word<T>(
        &mut self,
        name: &'static str,
        of: fn(&str) -> Option<T>,
    ) -> Result<T, FrameError> {
        of(&self.string(name)?).ok_or(FrameError::BadValue(name))
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Text, FrameError> {
        Text::new(self.string(name)?).map_err(|_| FrameError::BadValue(name))
    }

    pub(super) fn detail(&mut self, name: &'static str) -> Result<Option<Detail>, FrameError> {
        match self.string(name) {
            Err(FrameError::Missing(_)) => Ok(None),
            detail => Detail::new(detail?)
                .map(Some)
                .map_err(|_| FrameError::BadValue(name)),
        }
    }

    pub(super) fn none_left(&self) -> Result<(), FrameError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(FrameError::UnknownMember),
        }
    }
}
