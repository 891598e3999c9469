//! What can go wrong: with a link, [`LinkError`]; with a handshake, [`HandshakeError`].
//! [`Ended`] tells the user how a conversation ended.

use std::error::Error;
use std::fmt;
use std::io;

use super::io_error::IoError;
use super::store::{JournalError, StoreError};
use super::untold::Telling;
use crate::protocol::{
    By, Code, Detail, End, Frame, FrameError, Message, Overdue, Reason, Violation,
};
use crate::trust::NotProven;
use crate::trust::{HandshakeFailure, KeyId};

/// The end of a conversation.
///
/// With a journal, a message in [`unacknowledged`](Self::unacknowledged) stays on the disk until
/// this is dropped, or [`told`](Self::told): show it first. After a crash before that, or where it
/// was [not told](Self::not_told), it is told of again: on a client by the next
/// [`connect`](super::Client::connect), on a server by a
/// [`ServerEvent`](super::ServerEvent::Ended) of its next start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Ended {
    /// Who or what ended it.
    pub cause: Cause,
    /// Its last turn, whoever spoke in it; 0: none.
    pub turns: u64,
    /// Our last message, unless the peer is known to hold it: the link was lost, or the peer
    /// ended the conversation just then. It may have arrived all the same.
    pub unacknowledged: Option<Message>,
    telling: Telling,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for Ended {
    /// `Display` already prints the cause.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

impl Ended {
    /// An end that no record remembers.
    pub(crate) fn new(cause: Cause, turns: u64, unacknowledged: Option<Message>) -> Self {
        Self {
            cause,
            turns,
            unacknowledged,
            telling: Telling::default(),
        }
    }

    /// The same, for its user, in whose hands the record is now.
    pub(super) fn with(&self, telling: Telling) -> Self {
        Self {
            telling,
            ..self.clone()
        }
    }

    /// Its user knows of the end, and its message: waits until the disk need not know it any more.
    /// A dropped `Ended` does the same in the background, which the end of a program cuts short;
    /// where this future is dropped, the next start may tell of it again.
    pub async fn told(self) {
        self.telling.told().await;
    }

    /// Its user could not be told, as after a crash: a message that was not acknowledged is told
    /// of again.
    pub fn not_told(self) {
        self.telling.give_up();
    }

    /// Whether it ended because the journal failed, and could not keep the next one either. A
    /// record that is damaged, or not to be used, stops its own conversation alone.
    pub fn has_journal_failed(&self) -> bool {
        matches!(&self.cause, Cause::Link(LinkError::Journal(error)) if !error.is_of_one_record())
    }
}

/// Who or what ended a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// We quit, and the peer knows.
    #[error("this side ended the conversation")]
    Me,
    /// The peer quit, began another conversation (PROTOCOL 4.30), or does not have this one any
    /// more.
    #[error("the peer ended the conversation")]
    Peer,
    /// The server refused. As a rule the conversation never began. If it had ([`Ended::turns`] is
    /// above 0), this run of it is over; a journal keeps it, unless this side had quit, and the
    /// next [`Client::connect`](super::Client::connect) asks again.
    #[error("the server refused: {}", .0.word())]
    Refused(Reason),
    /// The connection could not go on.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// An error and its sources, in one line.
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
        let cause = match end.by {
            By::Me => Cause::Me,
            By::Peer => Cause::Peer,
            By::Refused(reason) => Cause::Refused(reason),
        };
        Self::new(cause, end.turns, end.unacknowledged)
    }
}

/// Why a connection cannot go on, other than by the conversation's end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The stream ended without `quit`, `refuse` or `error` (PROTOCOL 3.16): a fault, or an
    /// attacker; or this side let go of it, by a drop or as its server stopped.
    #[error("the connection was cut")]
    Cut,
    /// The stream or TLS failed. A client whose certificate is refused may see it here: TLS
    /// 1.3 tells it only after the handshake.
    #[error("the connection failed")]
    Io(#[from] IoError),
    /// Something took too long; the phase is named.
    #[error("{}", overdue(*.0))]
    Overdue(Overdue),
    /// The peer sent something that is not a frame.
    #[error("the peer sent what is no frame")]
    Malformed(#[from] FrameError),
    /// The peer sent a frame that is not allowed at that point.
    #[error("the peer broke the protocol")]
    Violation(#[from] Violation),
    /// The server refuses to continue the conversation for now (PROTOCOL 4.12).
    #[error("the server refuses for now: {}", .0.word())]
    NotNow(Reason),
    /// Another key answered a redial, and the peer's own key has not answered since.
    #[error("another key answers there: {0}")]
    OtherKey(KeyId),
    /// Our own fault: the peer's messages cannot be taken here.
    #[error("the messages cannot be read here")]
    ReaderFailed,
    /// Our own fault: the conversation cannot be stored.
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    /// Another process goes on with the conversation, and has its record.
    #[error("the conversation is continued elsewhere")]
    TakenOver,
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
        Overdue::Pairing => "the pairing did not come to its end in time",
    }
}

impl From<StoreError> for LinkError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TakenOver => Self::TakenOver,
            StoreError::Failed(error) => error.into(),
        }
    }
}

impl LinkError {
    /// Whether a new connection may cure the fault and continue the conversation
    /// (PROTOCOL 4.10). A peer that breaks the protocol, or says that we did, would do so
    /// again.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Cut | Self::Io(_) | Self::Overdue(_) | Self::NotNow(_) | Self::OtherKey(_) => {
                true
            }
            Self::Reported { code, .. } => *code == Code::Timeout,
            Self::Malformed(_)
            | Self::Violation(_)
            | Self::Journal(_)
            | Self::TakenOver
            | Self::ReaderFailed => false,
        }
    }

    /// Whether the connection ended for no known reason: neither for what was received, nor
    /// for either side's key.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Self::Cut => true,
            Self::Io(error) => matches!(HandshakeFailure::of(error), HandshakeFailure::Io(_)),
            _ => false,
        }
    }

    /// What the peer is told before the connection is closed (PROTOCOL 2.9, 2.10 and 5.2). It
    /// reveals nothing of our own state.
    pub(crate) fn farewell(&self) -> Option<Frame> {
        let (code, detail) = self.fault()?;
        Some(Frame::Error { code, detail })
    }

    /// The same, as what an `error` frame of any protocol holds.
    pub(super) fn fault(&self) -> Option<(Code, Option<Detail>)> {
        match self {
            Self::Malformed(error) => {
                Some((Code::ProtocolError, Detail::new(error.to_string()).ok()))
            }
            Self::Violation(violation) => {
                Some((violation.code(), Detail::new(violation.to_string()).ok()))
            }
            Self::Overdue(Overdue::Line) => Some((Code::Timeout, None)),
            Self::Journal(_) | Self::ReaderFailed => Some((Code::Internal, None)),
            Self::Cut
            | Self::Io(_)
            | Self::NotNow(_)
            | Self::OtherKey(_)
            | Self::TakenOver
            | Self::Reported { .. }
            | Self::Overdue(
                Overdue::Silent
                | Overdue::Write
                | Overdue::FirstFrame
                | Overdue::Quit
                | Overdue::Pairing,
            ) => None,
        }
    }
}

/// Why the peer is not proven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// TLS failed, or the stream under it.
    #[error("the TLS handshake failed")]
    Tls(#[source] HandshakeFailure),
    /// TLS succeeded, but not as turnchat/1 requires.
    #[error(transparent)]
    NotProven(#[from] NotProven),
    /// It took longer than `Limits::handshake`, on a server `Limits::hello` (PROTOCOL 5.1).
    #[error("the TLS handshake took too long")]
    TimedOut,
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Tls(HandshakeFailure::of(&error))
    }
}

/// Why a client did not get as far as `hello`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No connection could be made.
    #[error("no connection")]
    Dial(#[source] io::Error),
    /// A connection was made, but no accepted key was proven on it.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The journal cannot be read or locked, or another client has the conversation open.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl ConnectError {
    /// Whether it may pass: for an open conversation the client then dials again.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Dial(_) | Self::Handshake(HandshakeError::TimedOut) => true,
            Self::Handshake(_) | Self::Journal(_) => self.is_cut(),
        }
    }

    /// The key that was offered but is not accepted, if that is the cause.
    pub fn other_key(&self) -> Option<KeyId> {
        match self {
            Self::Handshake(HandshakeError::Tls(HandshakeFailure::UnexpectedKey(key))) => {
                Some(*key)
            }
            Self::Dial(_) | Self::Handshake(_) | Self::Journal(_) => None,
        }
    }

    /// Whether there was a connection that ended for no known reason.
    pub(super) fn is_cut(&self) -> bool {
        match self {
            Self::Handshake(HandshakeError::Tls(failure)) => {
                matches!(failure, HandshakeFailure::Io(_))
            }
            Self::Dial(_) | Self::Handshake(_) | Self::Journal(_) => false,
        }
    }
}

/// Why a connection failed before it had a conversation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// No proven peer.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Our own fault, before the peer was proven: what the server keeps cannot be read.
    #[error("the store cannot be used")]
    Store(#[source] JournalError),
    /// The peer was proven, but then the connection failed.
    #[error(transparent)]
    Link(#[from] LinkError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printing an error with all its sources says nothing twice.
    #[test]
    fn no_error_prints_its_source() {
        let io = || io::Error::other("the disk is on fire");
        let journal = || JournalError::Unwritable {
            path: "page".into(),
            source: io().into(),
        };
        let cut = LinkError::from(IoError::from(io()));
        let errors: [&dyn Error; 7] = [
            &cut,
            &LinkError::from(journal()),
            &ConnectError::Dial(io()),
            &ConnectError::from(journal()),
            &ConnectionError::from(LinkError::from(IoError::from(io()))),
            &ConnectionError::Store(journal()),
            &Ended::new(cut.clone().into(), 0, None),
        ];
        for error in errors {
            let whole = chain(error);
            assert!(whole.ends_with("the disk is on fire"), "{whole}");
            for words in whole.split(": ") {
                assert_eq!(whole.matches(words).count(), 1, "{whole}");
            }
        }
    }

    /// A peer that breaks the protocol would do so again; a link that was cut may come back
    /// (PROTOCOL 4.10). What is told to the peer says nothing of our own state (PROTOCOL 5.2).
    #[test]
    fn a_fault_is_the_links_the_peers_or_our_own() {
        let reported = |code| LinkError::Reported { code, detail: None };
        let journal = || JournalError::Damaged {
            path: "secret/place".into(),
        };
        let violation = Violation::OtherConversation;
        let key = KeyId::of_spki(b"other");
        let none = None;
        // What it is, whether a new link may cure it, and what the peer is told.
        for (error, is_temporary, told) in [
            (LinkError::Cut, true, none),
            (IoError::from(io::Error::other("off")).into(), true, none),
            (LinkError::Overdue(Overdue::Silent), true, none),
            (LinkError::Overdue(Overdue::Write), true, none),
            (LinkError::Overdue(Overdue::FirstFrame), true, none),
            (LinkError::Overdue(Overdue::Quit), true, none),
            (LinkError::Overdue(Overdue::Line), true, Some(Code::Timeout)),
            (LinkError::NotNow(Reason::Busy), true, none),
            (LinkError::OtherKey(key), true, none),
            (reported(Code::Timeout), true, none),
            (reported(Code::Internal), false, none),
            (violation.into(), false, Some(violation.code())),
            (journal().into(), false, Some(Code::Internal)),
            (LinkError::ReaderFailed, false, Some(Code::Internal)),
            (LinkError::TakenOver, false, none),
        ] {
            assert_eq!(error.is_temporary(), is_temporary, "{error}");
            let fault = error.fault();
            assert_eq!(fault.as_ref().map(|(code, _)| *code), told, "{error}");
            let farewell = fault.map(|(code, detail)| Frame::Error { code, detail });
            assert_eq!(error.farewell(), farewell);
        }
        // Only its own fault is explained to the peer.
        assert_eq!(
            LinkError::from(journal()).fault(),
            Some((Code::Internal, None))
        );
        let (_, detail) = LinkError::from(violation).fault().unwrap();
        assert_eq!(detail.unwrap().as_str(), violation.to_string());
    }

    #[test]
    fn a_cut_is_an_end_for_no_known_reason() {
        let io = |kind| LinkError::from(IoError::from(io::Error::from(kind)));
        assert!(LinkError::Cut.is_cut());
        assert!(io(io::ErrorKind::ConnectionReset).is_cut());
        assert!(!LinkError::Overdue(Overdue::Silent).is_cut());
        assert!(!LinkError::TakenOver.is_cut());
        let dial = ConnectError::Dial(io::ErrorKind::ConnectionRefused.into());
        assert!(dial.is_temporary() && !dial.is_cut());
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let reset = ConnectError::from(HandshakeError::from(reset));
        assert!(reset.is_temporary() && reset.is_cut());
        let late = ConnectError::from(HandshakeError::TimedOut);
        assert!(late.is_temporary() && !late.is_cut());
        let journal = ConnectError::from(JournalError::InUse { path: "it".into() });
        assert!(!journal.is_temporary() && !journal.is_cut());
        let key = KeyId::of_spki(b"other");
        let other = HandshakeFailure::UnexpectedKey(key);
        let other = ConnectError::from(HandshakeError::Tls(other));
        assert_eq!(other.other_key(), Some(key));
        assert!(!other.is_temporary());
        assert_eq!(dial.other_key(), None);
    }

    /// A record that is damaged stops its own conversation; a disk that is full stops them all.
    #[test]
    fn a_journal_has_failed_where_no_record_can_be_written() {
        let ended = |error: JournalError| Ended::new(LinkError::from(error).into(), 0, None);
        let path = || "record".into();
        let source = || IoError::from(io::Error::from(io::ErrorKind::StorageFull));
        for (error, has_failed) in [
            (JournalError::Damaged { path: path() }, false),
            (
                JournalError::OtherVersion {
                    path: path(),
                    version: 1,
                },
                false,
            ),
            (JournalError::InUse { path: path() }, true),
            (
                JournalError::Unwritable {
                    path: path(),
                    source: source(),
                },
                true,
            ),
            (
                JournalError::Unreadable {
                    path: path(),
                    source: source(),
                },
                true,
            ),
        ] {
            assert_eq!(
                ended(error.clone()).has_journal_failed(),
                has_failed,
                "{error}"
            );
        }
        let cut = Ended::new(LinkError::Cut.into(), 0, None);
        assert!(!cut.has_journal_failed());
    }
}
