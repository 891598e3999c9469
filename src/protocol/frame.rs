//! [`Frame`] to a line and back, and the [`Decoder`] that keeps half a line
//! between calls (PROTOCOL 2.1).

use serde::Serialize;

use super::canonical::{BEHIND_TEXT, Line, is_plain, write_to_text};
use super::conversation_id::ConversationId;
use super::lines::Lines;
use super::members::{FrameError, Members};
use super::text::{Detail, Text};

/// A text of so many bytes is not copied for less than it costs to write it apart.
const LONG: usize = 4 * 1024;

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

impl Frame {
    /// Integers on the wire are at most this, 2^53 − 1: what a double holds
    /// exactly (RFC 8259, section 6; PROTOCOL 2.3).
    pub const MAX_INTEGER: u64 = Members::MAX_INTEGER;

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
            Self::Hello {
                conversation,
                heard,
            } => Line::Hello {
                conversation: *conversation,
                heard: *heard,
            }
            .write(to),
            Self::Welcome {
                conversation,
                heard,
            } => Line::Welcome {
                conversation: *conversation,
                heard: *heard,
            }
            .write(to),
            Self::Quit {} => Line::Quit.write(to),
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

    /// The same, but for a long text that is written as it is: that text, and what comes behind it.
    pub fn write_to_long_text(&self, to: &mut Vec<u8>) -> Option<(&Text, &'static [u8])> {
        match self {
            Self::Say { turn, text } if text.as_str().len() >= LONG && is_plain(text.as_str()) => {
                write_to_text(*turn, to);
                Some((text, BEHIND_TEXT))
            }
            _ => {
                self.write_line(to);
                None
            }
        }
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
            Some(Line::Hello {
                conversation,
                heard,
            }) => Ok(Self::Hello {
                conversation,
                heard,
            }),
            Some(Line::Welcome {
                conversation,
                heard,
            }) => Ok(Self::Welcome {
                conversation,
                heard,
            }),
            Some(Line::Quit) => Ok(Self::Quit {}),
            None => Self::read_strictly(line),
        }
    }

    pub(super) fn read_strictly(line: &[u8]) -> Result<Self, FrameError> {
        let (kind, members) = Members::of_line(line)?;
        Self::from_members(&kind, members)
    }

    fn from_members(kind: &str, mut members: Members<'_>) -> Result<Self, FrameError> {
        let frame = match kind {
            "hello" => Self::Hello {
                conversation: members.parsed("conversation")?,
                heard: members.integer("heard")?,
            },
            "wait" => Self::Wait {
                ahead: members.integer("ahead")?,
            },
            "welcome" => Self::Welcome {
                conversation: members.parsed("conversation")?,
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

    pub(super) fn from_word(word: &str) -> Option<Self> {
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

/// Turns bytes into frames, however the bytes are split. It holds only an unfinished line,
/// which is never longer than the limit.
#[derive(Debug)]
pub struct Decoder(Lines);

impl Decoder {
    /// A decoder for lines of at most `limit` bytes, LF included (PROTOCOL 2.6).
    pub fn new(limit: usize) -> Self {
        Self(Lines::new(limit))
    }

    /// From now on lines may have `limit` bytes, LF included.
    pub fn set_limit(&mut self, limit: usize) {
        self.0.set_limit(limit);
    }

    /// Takes bytes off the front of `bytes`, up to the first LF or all of
    /// them, and returns the frame if they end one. Call it until `bytes` is
    /// empty.
    ///
    /// # Errors
    /// A [`FrameError`]; nothing after it can be read as a frame.
    pub fn decode(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        self.0.decode(bytes, Frame::from_line)
    }

    /// Frees the memory that long lines needed, unless it is in use.
    pub fn shrink(&mut self) {
        self.0.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(words: String) -> Frame {
        let text = Text::new(words).unwrap();
        Frame::Say { turn: 1, text }
    }

    /// To copy it costs more than to write it apart; and a short one less.
    #[test]
    fn a_long_text_is_not_copied_into_its_line() {
        let mut line = Vec::new();
        let long = "x".repeat(4_096);
        let frame = say(long.clone());
        let (text, behind) = frame.write_to_long_text(&mut line).unwrap();
        assert_eq!(text.as_str(), long);
        line.extend_from_slice(text.as_str().as_bytes());
        line.extend_from_slice(behind);
        assert_eq!(line, frame.to_line());

        // Nor one that is written in another way.
        let escaped = "\"".repeat(4_096);
        for words in ["x".repeat(4_095), String::new(), escaped] {
            let frame = say(words);
            line.clear();
            assert_eq!(frame.write_to_long_text(&mut line), None);
            assert_eq!(line, frame.to_line());
        }
    }

    /// A double holds no greater one exactly (PROTOCOL 2.3).
    #[test]
    fn an_integer_is_at_most_2_to_53_minus_1() {
        let line = |turn: u64| format!("{{\"heard\":{{\"turn\":{turn}}}}}");
        let greatest = 9_007_199_254_740_991;
        let read = Frame::from_line(line(greatest).as_bytes());
        assert_eq!(read, Ok(Frame::Heard { turn: greatest }));
        for more in [greatest + 1, greatest + 2, u64::MAX] {
            let read = Frame::from_line(line(more).as_bytes());
            assert_eq!(read, Err(FrameError::BadValue("turn")), "{more}");
        }
    }
}
