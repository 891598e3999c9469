//! [`Gate`]: what a person at a terminal is asked between conversations.

use crate::cli::report::Report;
use crate::cli::speaker::Speaker;
use crate::trust::KeyId;

/// Whether the next conversation may begin. Only at a terminal it is ever not
/// open: there, what is typed belongs to one conversation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gate {
    Open,
    /// For this key, which the person has just let in.
    Accepted(KeyId),
    /// A conversation has ended; the next needs an Enter.
    Closed,
    /// The person was about another when this one was welcomed, and has not
    /// pressed Enter.
    Ready(KeyId),
    /// The person sees who is next, and has not pressed Enter.
    Next(KeyId),
    /// The person is asked about this key; and whether the gate was open before.
    Question(KeyId, bool),
}

impl Gate {
    pub(super) fn new(speaker: &Speaker, is_first: bool) -> Self {
        match speaker {
            Speaker::Terminal(_) if !is_first => Self::Closed,
            _ => Self::Open,
        }
    }

    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Accepted(_))
    }

    /// As it was before the question.
    pub(super) fn behind(self) -> Self {
        match self {
            Self::Question(_, true) => Self::Open,
            _ => Self::Closed,
        }
    }
}

/// What is typed or piped between conversations: a line at a question, or
/// `None` at the end of the input.
pub(super) async fn read_between(
    speaker: &mut Speaker,
    gate: &Gate,
    is_first: bool,
) -> Result<Option<String>, Report> {
    match (speaker, gate) {
        (Speaker::Terminal(terminal), Gate::Next(_) | Gate::Ready(_) | Gate::Question(..)) => {
            terminal.answer().await
        }
        (Speaker::Terminal(_), Gate::Open | Gate::Accepted(_) | Gate::Closed) => {
            std::future::pending().await
        }
        // It is nobody's turn yet, and no conversation has left anything over.
        (Speaker::Pipe(_), _) if is_first => std::future::pending().await,
        (Speaker::Pipe(pipe), _) => pipe.read_ahead().await.map(|()| None),
        (Speaker::Json(json), _) => json.until_end().await.map(|()| None),
    }
}
