//! [`Over`]: how a conversation ended, as its user learns it.

use super::wire::LinkError;
use crate::protocol::{By, End, Reason, Text};

/// The end of a conversation.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Over {
    /// Who or what ended it.
    #[source]
    pub cause: Cause,
    /// Its last turn, whoever spoke in it; 0: none.
    pub turns: u64,
    /// The turn and words of our last message, if the peer is not known to
    /// hold it. Without a cut that is only so when both speak of the end at once.
    pub unacknowledged: Option<(u64, Text)>,
}

impl Over {
    /// Whether it had to stop since the journal failed.
    pub fn is_unkept(&self) -> bool {
        matches!(self.cause, Cause::Link(LinkError::Journal(_)))
    }
}

/// Who or what ended a conversation.
#[derive(Debug, thiserror::Error)]
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

impl From<End> for Over {
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
