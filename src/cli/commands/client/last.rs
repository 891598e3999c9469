//! [`Last`]: the conversation that a client's journal had, where nobody goes on with it.

use crate::cli::abandoned;
use crate::cli::display::Display;
use crate::cli::report::Report;
use crate::cli::speaker::Speaker;
use crate::link::{Abandoned, Cause, Ended, Waiting};
use crate::protocol::ConversationId;
use crate::trust::KeyId;

/// What a client has dialled for.
pub(super) struct Last {
    key: KeyId,
    /// Its peer's name, or key.
    name: String,
    conversation: ConversationId,
    is_resuming: bool,
    was_quit: bool,
}

impl Last {
    pub(super) fn of(waiting: &Waiting, name: Option<String>) -> Self {
        let key = waiting.peer().key();
        Self {
            key,
            name: name.unwrap_or_else(|| key.to_string()),
            conversation: waiting.conversation(),
            is_resuming: waiting.is_resuming(),
            was_quit: waiting.is_over(),
        }
    }

    pub(super) fn key(&self) -> KeyId {
        self.key
    }

    /// Whether this side had quit it.
    pub(super) fn was_quit(&self) -> bool {
        self.was_quit
    }

    /// Whether a new one is begun now: it was to go on, and is over on the other side; or only its
    /// end was to be told there.
    pub(super) fn is_settled_by(&self, over: &Ended) -> bool {
        match self.was_quit {
            true => !over.has_journal_failed(),
            false => self.is_resuming && matches!(over.cause, Cause::Peer),
        }
    }

    /// Tells what is left of it, and lets its record go.
    ///
    /// # Errors
    /// stdout cannot be written: the next start tells of it.
    pub(super) async fn settle(
        self,
        over: Ended,
        display: &Display,
        speaker: &mut impl Speaker,
    ) -> Result<(), Report> {
        let told = self.tell(&over, display, speaker);
        match told {
            Ok(()) => over.told().await,
            Err(_) => over.not_told(),
        }
        told
    }

    fn tell(
        &self,
        over: &Ended,
        display: &Display,
        speaker: &mut impl Speaker,
    ) -> Result<(), Report> {
        let what = match self.was_quit {
            true => abandoned::ended_before(&self.name),
            false => "Your last conversation was ended meanwhile; this is a new one.".to_owned(),
        };
        if over.unacknowledged.is_some() {
            let left = Abandoned {
                key: self.key,
                conversation: self.conversation,
                unacknowledged: over.unacknowledged.clone(),
                untaken: None,
            };
            return abandoned::tell(what, &left, display, speaker);
        }
        if !self.was_quit {
            display.say(&what);
        }
        Ok(())
    }
}
