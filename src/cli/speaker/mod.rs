//! [`Speaker`]: who speaks on this side. A person at a terminal, a pipe, a program that is
//! started for it, or one that speaks JSON. Nothing outside asks which one it is.

pub mod exec;
pub mod intent;
pub mod json;
pub mod lines;
mod notices;
pub mod partner;
pub mod pipe;
#[cfg(test)]
mod scene;
pub mod terminal;

pub use intent::Intent;
pub use partner::Partner;

use std::future::{pending, ready};
use std::time::Duration;

use notices::{INTERRUPTED, show_heard_again, show_leaving, show_notice};

use super::book::Petname;
use super::display::Display;
use super::layout::THEIRS;
use super::pairing_code;
use super::report::Report;
use crate::link::{Abandoned, Ended, Notice};
use crate::protocol::{ConversationId, Message, Role, Text};
use crate::trust::{KeyId, PairingCode};

/// Who speaks on this side, and is spoken to.
///
/// What returns a [`Report`] fails where stdout is closed: what was to be shown is not. The
/// defaults show everything as people read it.
pub trait Speaker: Send {
    /// Where everything is shown.
    fn display(&self) -> &Display;

    /// The program begins, on its runtime.
    ///
    /// # Errors
    /// The terminal cannot be taken over.
    fn begin(&mut self) -> Result<(), Report> {
        Ok(())
    }

    /// Whether this speaker knows where the talk stands after a restart, so
    /// that a conversation can be kept for it. A pipe would repeat its lines.
    fn can_resume(&self) -> bool {
        true
    }

    /// Whether this is a person, who can be asked things and begins each conversation.
    fn is_person(&self) -> bool {
        false
    }

    /// The server listens here, with this key.
    ///
    /// # Errors
    /// stdout is closed.
    fn listening(&mut self, _address: &str, _key: &KeyId) -> Result<(), Report> {
        Ok(())
    }

    /// The server has refused this key.
    ///
    /// # Errors
    /// stdout is closed.
    fn refused(&mut self, _key: &KeyId, _reason: &str) -> Result<(), Report> {
        Ok(())
    }

    /// A conversation that could have gone on is over; `what` is said on stderr already.
    ///
    /// # Errors
    /// stdout is closed.
    fn abandoned(&mut self, _what: &str, abandoned: &Abandoned) -> Result<(), Report> {
        if let Some(message) = &abandoned.unacknowledged {
            let text = message.text.as_str();
            self.display().quote("Not acknowledged: ", text);
        }
        match &abandoned.untaken {
            Some(message) => self.heard_again(abandoned.conversation, message),
            None => Ok(()),
        }
    }

    /// A conversation is on.
    ///
    /// # Errors
    /// stdout is closed.
    fn connected(&mut self, partner: &Partner) -> Result<(), Report>;

    /// It is our turn, of this number: what is to be said? May be dropped at
    /// any time and asked again; nothing typed is lost.
    fn ask(&mut self, turn: u64) -> impl Future<Output = Intent> + Send;

    /// It is not our turn. Returns only when the conversation is to be ended, or left, all the
    /// same. May be dropped at any time.
    fn idle(&mut self) -> impl Future<Output = Intent> + Send {
        pending()
    }

    /// This was said, in this turn.
    ///
    /// # Errors
    /// stdout is closed.
    fn sent(&mut self, turn: u64, text: &Text) -> Result<(), Report>;

    /// The messages that were entered, and are not taken yet.
    fn entered(&mut self) -> Vec<Text> {
        Vec::new()
    }

    /// The conversation was over before this could be said. Says so, unless it is kept.
    fn unsaid(&mut self, text: Text) -> Unsaid;

    /// The peer said this, in this turn.
    ///
    /// # Errors
    /// stdout is closed.
    fn heard(&mut self, message: &Message) -> Result<(), Report> {
        self.display().message(THEIRS, message.text.as_str())
    }

    /// Waits until all that it was given is taken: what is shown is taken at once. May be dropped
    /// at any time.
    ///
    /// # Errors
    /// It cannot be taken.
    fn taken(&mut self) -> impl Future<Output = Result<(), Report>> + Send {
        ready(Ok(()))
    }

    /// The last message heard before a restart, which waits for an answer.
    ///
    /// # Errors
    /// stdout is closed.
    fn heard_again(
        &mut self,
        _conversation: ConversationId,
        message: &Message,
    ) -> Result<(), Report> {
        show_heard_again(self.display());
        self.heard(message)
    }

    /// Something to know.
    ///
    /// # Errors
    /// stdout is closed.
    fn notice(&mut self, notice: Notice) -> Result<(), Report> {
        show_notice(self.display(), notice);
        Ok(())
    }

    /// The end is to be told because of Ctrl-C, and may take a moment.
    fn interrupted(&mut self) {
        self.display().say(INTERRUPTED);
    }

    /// The program stops because of Ctrl-C, and no conversation is on.
    fn stopping(&mut self) {}

    /// The link is lost, and the end still has to be told, which takes so long at most.
    fn leaving(&mut self, within: Duration) {
        show_leaving(self.display(), within);
    }

    /// The conversation is over.
    ///
    /// # Errors
    /// stdout is closed.
    fn ended(&mut self, over: &Ended) -> Result<(), Report>;

    /// All is told of the conversation. Lets go of what was for it alone.
    fn finish(&mut self) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Something failed, and is said on stderr.
    ///
    /// # Errors
    /// stdout is closed.
    fn failed(&mut self, _report: &Report) -> Result<(), Report> {
        Ok(())
    }

    /// The program stops for this, in this role.
    fn stopped(&mut self, _report: &Report, _role: Role) {}

    // Between conversations.

    /// Waits for what ends the input, or the terminal. It is `is_first` before the first
    /// conversation. May be dropped at any time.
    ///
    /// # Errors
    /// The input cannot be read.
    fn between(&mut self, _is_first: bool) -> impl Future<Output = Result<Left, Report>> + Send {
        pending()
    }

    /// Puts a question to a person; its answer is typed behind it.
    fn question(&mut self, _question: &str) {}

    /// The answer. May be dropped at any time.
    ///
    /// # Errors
    /// The terminal cannot be read.
    fn answer(&mut self) -> impl Future<Output = Result<Answer, Report>> + Send {
        pending()
    }

    /// Asks for the code of a pairing; its answer. May be dropped at any time.
    ///
    /// # Errors
    /// The input cannot be read, or stdout is closed.
    fn pairing_code(&mut self) -> impl Future<Output = Result<Answer, Report>> + Send {
        self.question(pairing_code::PROMPT);
        self.answer()
    }

    /// This code is to be read to the peer.
    ///
    /// # Errors
    /// stdout is closed.
    fn pairing(&mut self, _code: &PairingCode) -> Result<(), Report> {
        Ok(())
    }

    /// This key has been proven by a code, and is stored under this name.
    ///
    /// # Errors
    /// stdout is closed.
    fn paired(&mut self, _key: &KeyId, _petname: &Petname) -> Result<(), Report> {
        Ok(())
    }

    /// Something has gone wrong in a pairing, and is said on stderr. It may well come again.
    ///
    /// # Errors
    /// stdout is closed.
    fn pairing_failed(&mut self, _report: &Report) -> Result<(), Report> {
        Ok(())
    }

    /// Whether a question still stands there, unanswered and whole.
    fn is_asking(&self) -> bool {
        false
    }

    /// The question is withdrawn, and what was typed with it.
    fn withdraw(&mut self) {}
}

/// A speaker that can be in many conversations at once, in each as another.
pub trait OneOfMany: Speaker + Sized + 'static {
    /// The same for one more conversation.
    fn one_of_many(&self) -> Self;
}

/// What becomes of a message that could not be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsaid {
    /// It is said in the next conversation.
    Kept,
    /// It is not said.
    Lost,
}

/// What has come to an end between conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The input.
    Input,
    /// The terminal.
    Terminal,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This was typed.
    Line(String),
    /// Nothing more will be.
    Left(Left),
}
