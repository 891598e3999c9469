//! [`Speaker`]: who speaks on this side. A person at a terminal, a pipe, or a
//! program that speaks JSON; one value, made once.

pub mod intent;
pub mod json;
mod notices;
pub mod partner;
pub mod pipe;
pub mod terminal;

pub use intent::Intent;
pub use partner::Partner;

use json::JsonLines;
use pipe::Pipe;
use terminal::Terminal;

use super::report::Report;
use crate::link::{Ended, Notice};
use crate::protocol::{ConversationId, Message, Role, Text};

/// Who speaks on this side.
#[derive(Debug)]
pub enum Speaker {
    /// A person.
    Terminal(Terminal),
    /// Lines from a pipe or a file.
    Pipe(Pipe),
    /// A program, with `--json`.
    Json(JsonLines),
}

impl Speaker {
    /// Whether this speaker knows where the talk stands after a restart, so
    /// that a conversation can be kept for it. A pipe would repeat its lines.
    pub fn can_resume(&self) -> bool {
        !matches!(self, Self::Pipe(_))
    }

    /// The last message heard before a restart, which waits for an answer.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn heard_again(
        &mut self,
        conversation: ConversationId,
        message: &Message,
    ) -> Result<(), Report> {
        match self {
            Self::Terminal(terminal) => terminal.heard_again(&message.text),
            Self::Pipe(pipe) => pipe.heard_again(&message.text),
            Self::Json(json) => json.heard_again(conversation, message),
        }
    }

    /// A conversation is on.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn connected(&mut self, partner: &Partner) -> Result<(), Report> {
        match self {
            Self::Terminal(terminal) => terminal.connected(partner),
            Self::Pipe(pipe) => pipe.connected(partner),
            Self::Json(json) => json.connected(partner),
        }
    }

    /// It is our turn, of this number: what is to be said? May be dropped at
    /// any time and asked again; nothing typed is lost.
    pub async fn ask(&mut self, turn: u64) -> Intent {
        match self {
            Self::Terminal(terminal) => terminal.ask(turn).await,
            Self::Pipe(pipe) => pipe.ask(turn).await,
            Self::Json(json) => json.ask(turn).await,
        }
    }

    /// It is not our turn. Returns only when the conversation is to be ended
    /// all the same.
    pub async fn idle(&mut self) -> Intent {
        match self {
            // Typed ahead or waiting in the pipe, it is read in its turn.
            Self::Terminal(_) | Self::Pipe(_) => std::future::pending().await,
            Self::Json(json) => json.idle().await,
        }
    }

    /// This was said, in this turn.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn sent(&mut self, turn: u64, text: &Text) -> Result<(), Report> {
        match self {
            Self::Terminal(terminal) => terminal.sent(text),
            Self::Pipe(pipe) => pipe.sent(text),
            Self::Json(json) => json.turn(turn, "me", text),
        }
    }

    /// The conversation was over before this could be said.
    pub fn not_sent(&mut self, text: Text) {
        match self {
            Self::Pipe(pipe) => pipe.not_sent(text),
            // At a terminal what was typed for one peer is never kept for the next.
            Self::Terminal(_) | Self::Json(_) => {}
        }
    }

    /// The peer said this, in this turn.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn heard(&mut self, message: &Message) -> Result<(), Report> {
        match self {
            Self::Terminal(terminal) => terminal.heard(&message.text),
            Self::Pipe(pipe) => pipe.heard(&message.text),
            Self::Json(json) => json.turn(message.turn, "peer", &message.text),
        }
    }

    /// Something to know.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn notice(&mut self, notice: Notice) -> Result<(), Report> {
        match self {
            Self::Terminal(terminal) => terminal.notice(notice),
            Self::Pipe(pipe) => pipe.notice(notice),
            Self::Json(json) => json.notice(notice),
        }
    }

    /// The link is lost, and the end still has to be told.
    pub fn leaving(&mut self) {
        match self {
            Self::Terminal(terminal) => terminal.leaving(),
            Self::Pipe(pipe) => pipe.leaving(),
            Self::Json(_) => {}
        }
    }

    /// The conversation is over.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn ended(&mut self, over: &Ended) -> Result<(), Report> {
        match self {
            Self::Terminal(terminal) => terminal.ended(over),
            Self::Pipe(pipe) => pipe.ended(over),
            Self::Json(json) => json.ended(over),
        }
    }

    /// Something failed.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn failed(&mut self, report: &Report) -> Result<(), Report> {
        match self {
            Self::Json(json) => json.failed(report),
            Self::Terminal(_) | Self::Pipe(_) => Ok(()),
        }
    }

    /// The program stops for this, in this role.
    pub fn stopped(&mut self, report: &Report, role: Role) {
        if let Self::Json(json) = self {
            // Where stdout is closed, the exit code tells.
            let _ = json.stopped(report, role);
        }
    }
}
