//! What the editor's thread is told to do, and what it tells of the person.

use std::io;
use std::sync::mpsc::SyncSender;

use super::desk::Complete;

/// Where something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The transcript.
    Stdout,
    /// All else.
    Stderr,
}

/// What the person has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Entered this, in this turn.
    Entered {
        /// Which turn.
        turn: u64,
        /// What.
        text: String,
    },
    /// Answered the question.
    Answered(String),
    /// Pasted more than a message can have; nothing of it is taken.
    TooLong,
    /// Typed more than a message can have, or pressed Enter behind that.
    Overfull,
    /// Ended the input (Ctrl-D).
    End,
    /// The terminal is gone.
    Gone,
}

/// What the thread is to do.
pub(super) enum Order {
    Print(Stream, String, Option<SyncSender<io::Result<()>>>),
    Listen(String),
    Speak { turn: u64, rings: bool },
    Ask(String, Option<Complete>),
    Close(SyncSender<Option<String>>),
    Resized,
    Continued,
    Stop(SyncSender<()>),
}
