//! [`Frame`] to a line and back, and the [`Decoder`] that keeps half a line
//! between calls (PROTOCOL 2.1).

use memchr::memchr;
use serde::Serialize;

use super::canonical::Line;
use super::conversation_id::ConversationId;
use super::json::Json;
use super::text::{Detail, Text};

/// One frame: on the wire a JSON object with exactly one member, whose name
/// is the kind, on one line ended by LF.
///
/// ```
/// use turnchat::internals::Frame;
///
/// let frame = Frame::Heard { turn: 7 };
/// assert_eq!(frame.to_line(), b"{\"heard\":{\"turn\":7}}\n");
/// assert_eq!(Frame::from_line(b"{\"heard\":{\"turn\":7}}"), Ok(frame));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Frame {
    /// The client's first frame: I am here, to begin this conversation or to
    /// go on with it.
    Hello {
        /// Which conversation.
        conversation: ConversationId,
        /// The highest turn that the client has heard; 0: none.
        heard: u64,
    },
    /// The server's: you are in the queue.
    Wait {
        /// How many are before you; 0: you are next, or my user is deciding.
        ahead: u64,
    },
    /// The server's: the conversation is on.
    Welcome {
        /// The one that `hello` named.
        conversation: ConversationId,
        /// The highest turn that the server has heard; 0: none.
        heard: u64,
    },
    /// The server's: there will be no conversation.
    Refuse {
        /// Why not.
        reason: Reason,
    },
    /// My message; the turn passes.
    Say {
        /// The number of this turn.
        turn: u64,
        /// The message.
        text: Text,
    },
    /// I have it, safely.
    Heard {
        /// The turn acknowledged.
        turn: u64,
    },
    /// The conversation is over.
    Quit {},
    /// Are you there?
    Ping {},
    /// I am.
    Pong {},
    /// This connection cannot go on.
    Error {
        /// What is wrong.
        code: Code,
        /// For the log.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<Detail>,
    },
}

/// Why a server refuses (PROTOCOL 2.1 and 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The key is not known here, and nobody is there to be asked.
    UnknownPeer,
    /// A person said no; or the key is the server's own.
    Declined,
    /// No place in the queue, or too many questions are open.
    Busy,
    /// A person was asked about the key, and has not answered.
    NoAnswer,
    /// A person was asked about too many keys lately.
    AskedTooOften,
    /// The server stops.
    Closing,
    /// The conversation is over, or was never known here.
    Ended,
}

/// What an `error` frame says is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Code {
    /// Something that the protocol does not allow at that point.
    ProtocolError,
    /// A `say` out of turn, or with a number other than the next turn's (PROTOCOL 2.10).
    OutOfTurn,
    /// A line took too long.
    Timeout,
    /// The sender's own failure.
    Internal,
    /// A newer connection has replaced this one.
    Replaced,
}

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

impl Frame {
    /// Integers on the wire are at most this, 2^53 − 1: what a double holds
    /// exactly (RFC 8259, section 6; PROTOCOL 2.3).
    pub const MAX_INTEGER: u64 = (1 << 53) - 1;

    /// The frame as it is sent, LF included.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        self.write_line(&mut line);
        line
    }

    /// Appends the frame as it is sent, LF included.
    pub fn write_line(&self, to: &mut Vec<u8>) {
        let is_written = match self {
            Self::Say { turn, text } => Line::Say {
                turn: *turn,
                text: text.as_str(),
            }
            .write(to),
            Self::Heard { turn } => Line::Heard { turn: *turn }.write(to),
            _ => false,
        };
        if !is_written {
            #[expect(
                clippy::expect_used,
                reason = "memory takes all, and no key is a non-string"
            )]
            serde_json::to_writer(&mut *to, self).expect("a frame is JSON");
        }
        to.push(b'\n');
    }

    /// The frame that a line holds; the line is given without its LF.
    ///
    /// # Errors
    /// A [`FrameError`] for anything but exactly one frame; only blanks may surround its
    /// tokens (PROTOCOL 2.7 and 2.9).
    pub fn from_line(line: &[u8]) -> Result<Self, FrameError> {
        match Line::read(line) {
            Some(Line::Heard { turn }) => Ok(Self::Heard { turn }),
            Some(Line::Say { turn, text }) => Text::new(text)
                .map(|text| Self::Say { turn, text })
                .map_err(|_| FrameError::BadValue("text")),
            None => Self::read_strictly(line),
        }
    }

    pub(super) fn read_strictly(line: &[u8]) -> Result<Self, FrameError> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Err(FrameError::EmptyLine);
        }
        let Json::Object(mut members) = Json::parse(line).ok_or(FrameError::NotJson)? else {
            return Err(FrameError::NotOneMember);
        };
        match (members.pop(), members.is_empty()) {
            (Some((kind, Json::Object(value))), true) => Self::from_members(&kind, Members(value)),
            _ => Err(FrameError::NotOneMember),
        }
    }

    fn from_members(kind: &str, mut members: Members) -> Result<Self, FrameError> {
        let frame = match kind {
            "hello" => Self::Hello {
                conversation: members.id("conversation")?,
                heard: members.integer("heard")?,
            },
            "wait" => Self::Wait {
                ahead: members.integer("ahead")?,
            },
            "welcome" => Self::Welcome {
                conversation: members.id("conversation")?,
                heard: members.integer("heard")?,
            },
            "refuse" => Self::Refuse {
                reason: members.word("reason", Reason::from_word)?,
            },
            "say" => Self::Say {
                turn: members.integer("turn")?,
                text: members.text("text")?,
            },
            "heard" => Self::Heard {
                turn: members.integer("turn")?,
            },
            "quit" => Self::Quit {},
            "ping" => Self::Ping {},
            "pong" => Self::Pong {},
            "error" => Self::Error {
                code: members.word("code", Code::from_word)?,
                detail: members.detail("detail")?,
            },
            _ => return Err(FrameError::UnknownKind),
        };
        members.none_left()?;
        Ok(frame)
    }

    /// The name of the frame's kind, as it stands on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Wait { .. } => "wait",
            Self::Welcome { .. } => "welcome",
            Self::Refuse { .. } => "refuse",
            Self::Say { .. } => "say",
            Self::Heard { .. } => "heard",
            Self::Quit {} => "quit",
            Self::Ping {} => "ping",
            Self::Pong {} => "pong",
            Self::Error { .. } => "error",
        }
    }
}

impl Reason {
    /// The reason as it stands on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::UnknownPeer => "unknown-peer",
            Self::Declined => "declined",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::AskedTooOften => "asked-too-often",
            Self::Closing => "closing",
            Self::Ended => "ended",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [
            Self::UnknownPeer,
            Self::Declined,
            Self::Busy,
            Self::NoAnswer,
            Self::AskedTooOften,
            Self::Closing,
            Self::Ended,
        ]
        .into_iter()
        .find(|reason| reason.word() == word)
    }

    /// Whether a later try may succeed: nothing is wrong with the key or the conversation.
    pub fn is_temporary(self) -> bool {
        match self {
            Self::Busy | Self::NoAnswer | Self::AskedTooOften | Self::Closing => true,
            Self::UnknownPeer | Self::Declined | Self::Ended => false,
        }
    }
}

impl Code {
    /// The code as it stands on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::ProtocolError => "protocol-error",
            Self::OutOfTurn => "out-of-turn",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::Replaced => "replaced",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [
            Self::ProtocolError,
            Self::OutOfTurn,
            Self::Timeout,
            Self::Internal,
            Self::Replaced,
        ]
        .into_iter()
        .find(|code| code.word() == word)
    }
}

/// The members of a frame's value that were not read yet.
struct Members(Vec<(String, Json)>);

impl Members {
    fn take(&mut self, name: &'static str) -> Option<Json> {
        let at = self.0.iter().position(|(member, _)| member == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn integer(&mut self, name: &'static str) -> Result<u64, FrameError> {
        match self.take(name).ok_or(FrameError::Missing(name))? {
            Json::Integer(integer) if integer <= Frame::MAX_INTEGER => Ok(integer),
            _ => Err(FrameError::BadValue(name)),
        }
    }

    fn string(&mut self, name: &'static str) -> Result<String, FrameError> {
        match self.take(name).ok_or(FrameError::Missing(name))? {
            Json::String(string) => Ok(string),
            _ => Err(FrameError::BadValue(name)),
        }
    }

    fn id(&mut self, name: &'static str) -> Result<ConversationId, FrameError> {
        let id = self.string(name)?;
        id.parse().map_err(|_| FrameError::BadValue(name))
    }

    fn word<T>(&mut self, name: &'static str, of: fn(&str) -> Option<T>) -> Result<T, FrameError> {
        of(&self.string(name)?).ok_or(FrameError::BadValue(name))
    }

    fn text(&mut self, name: &'static str) -> Result<Text, FrameError> {
        Text::new(self.string(name)?).map_err(|_| FrameError::BadValue(name))
    }

    fn detail(&mut self, name: &'static str) -> Result<Option<Detail>, FrameError> {
        match self.string(name) {
            Err(FrameError::Missing(_)) => Ok(None),
            detail => Detail::new(detail?)
                .map(Some)
                .map_err(|_| FrameError::BadValue(name)),
        }
    }

    fn none_left(&self) -> Result<(), FrameError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(FrameError::UnknownMember),
        }
    }
}

/// Turns bytes into frames, however the bytes are split. It holds only an unfinished line,
/// which is never longer than the limit.
#[derive(Debug)]
pub struct Decoder {
    started: Vec<u8>,
    limit: usize,
}

impl Decoder {
    /// A decoder for lines of at most `limit` bytes, LF included (PROTOCOL 2.6).
    pub fn new(limit: usize) -> Self {
        Self {
            started: Vec::new(),
            limit,
        }
    }

    /// From now on lines may have `limit` bytes, LF included.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes off the front of `bytes`, up to the first LF or all of
    /// them, and returns the frame if they end one. Call it until `bytes` is
    /// empty.
    ///
    /// # Errors
    /// A [`FrameError`]; nothing after it can be read as a frame.
    pub fn decode(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        let end = memchr(b'\n', bytes);
        let (piece, rest) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
        *bytes = rest;
        // A line of exactly `limit` bytes ends in the LF; one without it is already too long.
        if self.started.len() + piece.len() + usize::from(end.is_none()) > self.limit {
            return Err(FrameError::LineTooLong { limit: self.limit });
        }
        let Some(content) = piece.strip_suffix(b"\n") else {
            self.started.extend_from_slice(piece);
            return Ok(None);
        };
        if self.started.is_empty() {
            return Frame::from_line(content).map(Some);
        }
        self.started.extend_from_slice(content);
        let frame = Frame::from_line(&self.started);
        // Keep the memory: the next line may be as long.
        self.started.clear();
        frame.map(Some)
    }

    /// Frees the memory that long lines needed, unless it is in use.
    pub fn shrink(&mut self) {
        if self.started.is_empty() {
            self.started = Vec::new();
        }
    }
}
