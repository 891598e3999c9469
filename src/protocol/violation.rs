//! [`Violation`]: a frame that the protocol does not allow, and what its sender is told.

use super::frame::Code;

/// A frame that the protocol does not allow at this point. The sender is at fault; nothing
/// changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// This kind of frame is not allowed in this phase (PROTOCOL 2.9).
    #[error("`{kind}` has no place {phase}")]
    OutOfPlace {
        /// The frame's kind.
        kind: &'static str,
        /// The phase, in words.
        phase: &'static str,
    },
    /// A `say` out of turn, or with a number other than the next turn's (PROTOCOL 2.10).
    #[error("{}", out_of_turn(*turn, *next))]
    OutOfTurn {
        /// The turn that the frame names.
        turn: u64,
        /// The turn in which its sender may speak next.
        next: u64,
    },
    /// `heard` for a turn other than the last one said (PROTOCOL 3.6).
    #[error("`heard` for turn {turn}; the last turn that its receiver said is {said}")]
    HeardWhatWasNotSaid {
        /// The turn that the frame names.
        turn: u64,
        /// The highest turn said; 0: none.
        said: u64,
    },
    /// The counter in `hello` or `welcome` is impossible, given our own (PROTOCOL 4.4).
    #[error(
        "the peer has heard up to turn {theirs}; here turn {said} was said last, and turn {heard} heard"
    )]
    Counters {
        /// What the frame says.
        theirs: u64,
        /// The highest turn said here.
        said: u64,
        /// The highest turn heard here.
        heard: u64,
    },
    /// `welcome` names a conversation other than the one in `hello` (PROTOCOL 3.3).
    #[error("welcomed to another conversation")]
    OtherConversation,
    /// `ping` or `pong` before anything else (PROTOCOL 2.8).
    #[error("`{kind}` as a first frame")]
    FirstFrame {
        /// The frame's kind.
        kind: &'static str,
    },
}

impl Violation {
    /// The code that the peer is told.
    pub fn code(&self) -> Code {
        match self {
            Self::OutOfTurn { .. } => Code::OutOfTurn,
            Self::OutOfPlace { .. }
            | Self::HeardWhatWasNotSaid { .. }
            | Self::Counters { .. }
            | Self::OtherConversation
            | Self::FirstFrame { .. } => Code::ProtocolError,
        }
    }
}

/// Both sides read this: the receiver of the `say` in its own log, the sender in an `error`'s
/// detail.
fn out_of_turn(turn: u64, next: u64) -> String {
    match turn == next {
        true => format!("`say` for turn {turn} came before that turn"),
        false => format!("`say` for turn {turn}; the next turn of its sender is {next}"),
    }
}
