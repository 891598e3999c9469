//! [`PromptState`]: what a person at a terminal is asked between
//! conversations.

use crate::cli::report::Report;
use crate::cli::speaker::Speaker;
use crate::trust::KeyId;

/// Whether the next conversation begins at once, or what the person is asked
/// first. Only at a terminal anything is asked: there, what is typed belongs to
/// one conversation.
#[derive(Clone, Copy, Debug)]
pub(super) enum PromptState {
    /// The next conversation begins at once.
    NotNeeded,
    /// So does this key's, which the person has just let in.
    Accepted(KeyId),
    /// A conversation has ended; the next needs an Enter.
    EnterNeeded,
    /// The person was about another when this one was welcomed, and has not
    /// pressed Enter.
    Welcomed(KeyId),
    /// The person sees who is next, and has not pressed Enter.
    Next(KeyId),
    /// The person is asked about this key; and whether the state before it was
    /// [`NotNeeded`](Self::NotNeeded).
    Question(KeyId, bool),
}

impl PromptState {
    pub(super) fn new(speaker: &Speaker, is_first: bool) -> Self {
        match speaker {
            Speaker::Terminal(_) if !is_first => Self::EnterNeeded,
            _ => Self::NotNeeded,
        }
    }

    pub(super) fn starts_at_once(self) -> bool {
        matches!(self, Self::NotNeeded | Self::Accepted(_))
    }

    /// Nobody has to be asked any more about these keys.
    pub(super) fn settled(self, keys: &[KeyId]) -> Self {
        match self {
            Self::Question(key, _) if keys.contains(&key) => self.before_question(),
            _ => self,
        }
    }

    /// As it was before the question.
    pub(super) fn before_question(self) -> Self {
        match self {
            Self::Question(_, true) => Self::NotNeeded,
            _ => Self::EnterNeeded,
        }
    }
}

/// What is typed or piped between conversations: a line at a question, or
/// `None` at the end of the input.
pub(super) async fn read_between(
    speaker: &mut Speaker,
    prompt: &PromptState,
    is_first: bool,
) -> Result<Option<String>, Report> {
    match (speaker, prompt) {
        (
            Speaker::Terminal(terminal),
            PromptState::Next(_) | PromptState::Welcomed(_) | PromptState::Question(..),
        ) => terminal.answer().await,
        (
            Speaker::Terminal(_),
            PromptState::NotNeeded | PromptState::Accepted(_) | PromptState::EnterNeeded,
        ) => std::future::pending().await,
        // It is nobody's turn yet, and no conversation has left anything over.
        (Speaker::Pipe(_), _) if is_first => std::future::pending().await,
        (Speaker::Pipe(pipe), _) => pipe.read_ahead().await.map(|()| None),
        (Speaker::Json(json), _) => json.until_end().await.map(|()| None),
    }
}
