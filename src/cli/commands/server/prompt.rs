//! [`PromptState`]: what a person at a terminal is asked between
//! conversations.

use crate::cli::report::Report;
use crate::cli::speaker::{Answer, Speaker};
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
    /// The person may have another pairing code; and the same.
    NewCode(bool),
}

impl PromptState {
    pub(super) fn new(speaker: &impl Speaker, is_first: bool) -> Self {
        match speaker.is_person() && !is_first {
            true => Self::EnterNeeded,
            false => Self::NotNeeded,
        }
    }

    /// Whether the person is asked something.
    fn is_open(&self) -> bool {
        matches!(
            self,
            Self::Welcomed(_) | Self::Next(_) | Self::Question(..) | Self::NewCode(_)
        )
    }

    /// Whether the person is asked for Enter alone: words with it are no answer, and nobody's.
    pub(super) fn wants_enter(&self) -> bool {
        matches!(self, Self::Welcomed(_) | Self::Next(_) | Self::NewCode(_))
    }

    pub(super) fn starts_at_once(self) -> bool {
        matches!(
            self,
            Self::NotNeeded | Self::Accepted(_) | Self::NewCode(true)
        )
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
            Self::Question(_, true) | Self::NewCode(true) => Self::NotNeeded,
            _ => Self::EnterNeeded,
        }
    }
}

/// What comes between conversations: an answer to the question that stands there, or the end
/// of the input or the terminal. May be dropped at any time.
pub(super) async fn read_between(
    speaker: &mut impl Speaker,
    prompt: &PromptState,
    is_first: bool,
) -> Result<Answer, Report> {
    match prompt.is_open() {
        true => speaker.answer().await,
        false => speaker.between(is_first).await.map(Answer::Left),
    }
}

/// Whether the input has ended by now, behind a conversation.
pub(super) async fn has_ended(speaker: &mut impl Speaker) -> Result<bool, Report> {
    tokio::select! {
        biased;
        left = speaker.between(false) => left.map(|_| true),
        () = std::future::ready(()) => Ok(false),
    }
}
