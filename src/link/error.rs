//! What can go wrong with a link, with a handshake, and with a conversation:
//! [`LinkError`], [`HandshakeError`], and [`Ended`], which is how a
//! conversation ended as its user learns it.

use std::error::Error;
use std::fmt;
use std::io;

use super::io_error::IoError;
use super::journal::JournalError;
use crate::protocol::{
    By, Code, Detail, End, Frame, FrameError, Message, Overdue, Reason, Violation,
};
use crate::trust::NotProven;
use crate::trust::{HandshakeFailure, KeyId};

/// The end of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Ended {
    /// Who or what ended it.
    pub cause: Cause,
    /// Its last turn, whoever spoke in it; 0: none.
    pub turns: u64,
    /// The turn and words of our last message, if the peer is not known to
    /// hold it. Without a cut that is only so when both speak of the end at once.
    pub unacknowledged: Option<Message>,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for Ended {
    /// Its cause is what it says of itself already.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

impl Ended {
    /// Whether it had to stop since the journal failed.
    pub fn is_unkept(&self) -> bool {
        matches!(self.cause, Cause::Link(LinkError::Journal(_)))
    }
}

/// Who or what ended a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// We quit, and the peer knows.
    #[error("this side ended the conversation")]
    Me,
    /// The peer quit, or does not have this conversation any more.
    #[error("the peer ended the conversation")]
    Peer,
    /// The server refused: it never began.
    #[error("the server refused: {}", .0.word())]
    Refused(Reason),
    /// The connection could not go on.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// What an error says, and what it comes from.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        said += &format!(": {error}");
        source = error.source();
    }
    said
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        Self {
            cause: match end.by {
                By::Me => Cause::Me,
                By::Peer => Cause::Peer,
                By::Refused(reason) => Cause::Refused(reason),
            },
            turns: end.turns,
            unacknowledged: end.unacknowledged,
        }
    }
}

/// Why a connection cannot go on, other than by the conversation's end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The stream ended without `quit`, `refuse` or `error`: a fault or an
    /// attacker cut it. The conversation is not ended by that.
    #[error("the connection was cut")]
    Cut,
    /// The stream failed, or TLS did; a certificate that the other side does
    /// not accept shows here too, as TLS 1.3 tells a client only afterwards.
    #[error("the connection failed")]
    Io(#[from] IoError),
    /// Something took too long; the phase is named.
    #[error("{}", overdue(*.0))]
    Overdue(Overdue),
    /// The peer sent what is no frame.
    #[error("the peer sent what is no frame")]
    Malformed(#[from] FrameError),
    /// The peer sent a frame that has no place where it came.
    #[error("the peer broke the protocol")]
    Violation(#[from] Violation),
    /// The server has no place at the moment for the conversation that was to
    /// go on.
    #[error("the server refuses for now: {}", .0.word())]
    NotNow(Reason),
    /// Another key answered when a lost link was dialled anew, and the peer's own did
    /// not since.
    #[error("another key answers there: {0}")]
    OtherKey(KeyId),
    /// Our own fault: whoever was to read the peer's messages does not take them.
    #[error("the messages cannot be read here")]
    ReaderFailed,
    /// Our own fault: the conversation cannot be kept.
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    /// The peer says, by `error`, that it cannot go on.
    #[error("the peer reports `{}`", code.word())]
    Reported {
        /// What it says is wrong.
        code: Code,
        /// What it adds: foreign text, for the log.
        detail: Option<Detail>,
    },
}

fn overdue(overdue: Overdue) -> &'static str {
    match overdue {
        Overdue::Silent => "nothing came from the peer, not even an answer to `ping`",
        Overdue::Line => "the peer started a line and did not end it in time",
        Overdue::Write => "the peer does not take what is sent to it",
        Overdue::FirstFrame => "the peer's first frame did not come in time",
        Overdue::Quit => "the peer did not acknowledge the end in time",
    }
}

impl LinkError {
    /// Whether the fault may pass with the connection, so that the
    /// conversation can go on over another (PROTOCOL 4.10). Whoever breaks the protocol,
    /// or says that we did, would do so again.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Cut | Self::Io(_) | Self::Overdue(_) | Self::NotNow(_) | Self::OtherKey(_) => {
                true
            }
            Self::Reported { code, .. } => *code == Code::Timeout,
            Self::Malformed(_) | Self::Violation(_) | Self::Journal(_) | Self::ReaderFailed => {
                false
            }
        }
    }

    /// Whether the connection ended and nothing says why: not for what came over it, nor
    /// for either side's key.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Self::Cut => true,
            Self::Io(error) => matches!(HandshakeFailure::of(error), HandshakeFailure::Io(_)),
            _ => false,
        }
    }

    /// What the other side is told before the connection is closed (PROTOCOL 2.9, 2.10
    /// and 5.2). Nothing of our own state travels in it.
    pub fn farewell(&self) -> Option<Frame> {
        let (code, detail) = match self {
            Self::Malformed(error) => (Code::ProtocolError, Detail::new(error.to_string()).ok()),
            Self::Violation(violation) => {
                (violation.code(), Detail::new(violation.to_string()).ok())
            }
            Self::Overdue(Overdue::Line) => (Code::Timeout, None),
            Self::Journal(_) | Self::ReaderFailed => (Code::Internal, None),
            Self::Cut
            | Self::Io(_)
            | Self::NotNow(_)
            | Self::OtherKey(_)
            | Self::Reported { .. } => {
                return None;
            }
            Self::Overdue(
                Overdue::Silent | Overdue::Write | Overdue::FirstFrame | Overdue::Quit,
            ) => return None,
        };
        Some(Frame::Error { code, detail })
    }
}

/// Why there is no proven peer at the other end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// TLS failed, or the stream under it.
    /// [`HandshakeFailure`] says which.
    #[error("the TLS handshake failed")]
    Tls(#[from] io::Error),
    /// TLS succeeded, and is not what turnchat/1 asks for.
    #[error(transparent)]
    NotProven(#[from] NotProven),
    /// It took too long.
    #[error("the TLS handshake took too long")]
    TimedOut,
}

/// Why a client did not get as far as `hello`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no connection to be had.
    #[error("no connection")]
    Dial(#[source] io::Error),
    /// There is, but not to one of the keys that are accepted.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The conversation cannot be kept, or another process goes on with it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl ConnectError {
    /// Whether it may pass, so that an open conversation is tried again.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Dial(_) | Self::Handshake(HandshakeError::TimedOut) => true,
            Self::Handshake(_) | Self::Journal(_) => self.is_cut(),
        }
    }

    /// The key that was offered and is not accepted, if that is what is wrong.
    pub fn other_key(&self) -> Option<KeyId> {
        match self {
            Self::Handshake(HandshakeError::Tls(error)) => match HandshakeFailure::of(error) {
                HandshakeFailure::UnexpectedKey(key) => Some(key),
                _ => None,
            },
            Self::Dial(_) | Self::Handshake(_) | Self::Journal(_) => None,
        }
    }

    /// Whether there was a connection that ended, and nothing says why.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Self::Handshake(HandshakeError::Tls(error)) => {
                matches!(HandshakeFailure::of(error), HandshakeFailure::Io(_))
            }
            Self::Dial(_) | Self::Handshake(_) | Self::Journal(_) => false,
        }
    }
}

/// What went wrong with a connection that had not become a conversation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// No proven peer.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A proven peer, and then trouble.
    #[error(transparent)]
    Link(#[from] LinkError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever prints an error and all that it comes from says nothing twice.
    #[test]
    fn no_error_prints_its_source() {
        let io = || io::Error::other("the disk is on fire");
        let journal = || JournalError::Unwritable {
            path: "page".into(),
            source: io().into(),
        };
        let cut = LinkError::from(IoError::from(io()));
        let errors: [&dyn Error; 8] = [
            &cut,
            &LinkError::from(journal()),
            &ConnectError::Dial(io()),
            &ConnectError::from(journal()),
            &HandshakeError::Tls(io()),
            &ConnectError::from(HandshakeError::Tls(io())),
            &ConnectionError::from(LinkError::from(IoError::from(io()))),
            &Ended {
                cause: cut.clone().into(),
                turns: 0,
                unacknowledged: None,
            },
        ];
        for error in errors {
            let whole = chain(error);
            assert!(whole.ends_with("the disk is on fire"), "{whole}");
            for words in whole.split(": ") {
                assert_eq!(whole.matches(words).count(), 1, "{whole}");
            }
        }
    }
}
