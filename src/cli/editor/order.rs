//! What the editor's thread is told to do, and what it tells of the person.

use std::io;
use std::sync::mpsc::SyncSender;

/// Where something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The transcript.
    Stdout,
    /// All else.
    Stderr,
}

/// What may follow behind what stands before the cursor, if that is clear.
pub type Complete = fn(&str) -> Option<String>;

/// What a person is asked for.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Nothing: no conversation is on. What is typed goes nowhere.
    Closed,
    /// Nothing: it is the peer's turn, and this is how things stand. What is typed is a draft.
    Listening(String),
    /// A message.
    Speaking {
        /// In this turn.
        turn: u64,
        /// Whether the bell is rung.
        rings: bool,
    },
    /// An answer to this question, and how Tab completes it. All its lines but the last have been
    /// printed.
    Asking(String, Option<Complete>),
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
    /// Pasted more than there is room for; nothing of it is taken.
    TooLong,
    /// Typed more than there is room for, or pressed Enter behind that: nothing more is taken,
    /// and nothing sent, before something is deleted.
    Overfull,
    /// Ended the input (Ctrl-D).
    End,
    /// The terminal is gone.
    Gone,
}

/// Told once something is printed, or cannot be.
pub type Done = SyncSender<io::Result<()>>;

/// What the thread is to do.
#[derive(Debug)]
pub enum Order {
    /// Print this, which ends its last row, above what is being written.
    Print(Stream, String, Option<Done>),
    /// Ask for something else.
    TurnTo(Mode),
    /// The conversation is over; tell what was left unsent.
    Close(SyncSender<Option<String>>),
    /// The terminal has another size.
    Resized,
    /// The program was stopped, and goes on.
    Continued,
    /// Put the terminal back; this is dropped then.
    Stop(SyncSender<()>),
}
