//! Outcomes as words, advice and exit code. Every failure is told in two
//! parts: what happened, and what to do now.

mod files;
pub mod link;
mod pairing;
mod peer;
mod program;
mod proxy;

use std::io;
use std::process::ExitCode;

use crate::cli::own_addresses::OwnAddresses;
use crate::cli::remedy;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As it should.
    Success,
    /// Our own failure: disk, port, a damaged file, stdout closed.
    Failure,
    /// Wrong arguments; a malformed key or address.
    Usage,
    /// Trust: an unknown, wrong or changed key; key permissions.
    Trust,
    /// The link could not be made, or was lost.
    Link,
    /// The peer broke the protocol, or speaks another.
    Protocol,
    /// The server has no place.
    Busy,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM, on a client.
    Terminated,
    /// The terminal was closed.
    HungUp,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Trust => 3,
            Self::Link => 4,
            Self::Protocol => 5,
            Self::Busy => 6,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::HungUp => 129,
        }
    }

    /// What an `error` event of `--json` calls it.
    pub fn event_code(self) -> &'static str {
        match self {
            Self::Usage => "bad-input",
            Self::Trust => "trust",
            Self::Link | Self::Busy => "link",
            Self::Protocol => "protocol",
            Self::Success | Self::Failure | Self::Interrupted | Self::Terminated | Self::HungUp => {
                "internal"
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A failure, as a person learns of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How the program ends for it, if it does.
    pub exit: Exit,
    /// What happened: a sentence.
    pub what: String,
    /// What to do now: a sentence.
    pub advice: String,
}

impl Report {
    /// A failure of this kind.
    pub fn new(exit: Exit, what: impl Into<String>, advice: impl Into<String>) -> Self {
        let (what, advice) = (what.into(), advice.into());
        Self { exit, what, advice }
    }

    /// stdout cannot be written in a conversation.
    pub fn stdout(error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::BrokenPipe => {
                "Keep what reads standard output running for as long as the conversation goes on."
            }
            _ => SEND_OUTPUT_ELSEWHERE,
        };
        Self::new(
            Exit::Failure,
            format!("The transcript cannot be written: {error}."),
            advice,
        )
    }

    /// What a command prints, such as `The list`, cannot be written to stdout.
    pub fn output(what: &str, error: &io::Error) -> Self {
        Self::new(
            Exit::Failure,
            format!("{what} cannot be written to standard output: {error}."),
            SEND_OUTPUT_ELSEWHERE,
        )
    }

    /// The terminal was closed.
    pub fn hung_up() -> Self {
        Self::new(
            Exit::HungUp,
            "The terminal was closed.",
            "Run the same command again: with a journal the conversation goes on.",
        )
    }

    /// stdin cannot be read.
    pub fn stdin(error: &io::Error) -> Self {
        Self::new(
            Exit::Failure,
            format!("Standard input cannot be read: {error}."),
            "Run turnchat in a terminal, or give it a pipe or a file to read.",
        )
    }

    /// `--null`, and a person types.
    pub fn null_at_terminal() -> Self {
        Self::new(
            Exit::Usage,
            "With --null the messages come from a pipe or a file, and standard input is a terminal.",
            "Leave --null out: at a terminal, Alt-Enter begins a new line of a message.",
        )
    }

    /// The line editor cannot run.
    pub fn terminal(error: &io::Error) -> Self {
        Self::new(
            Exit::Failure,
            format!("The terminal cannot be used: {error}."),
            "Run turnchat with `TERM=dumb` in its environment: it then needs no line editor.",
        )
    }

    /// A message was entered as the conversation ended.
    pub fn unsaid() -> Self {
        Self::new(
            Exit::Link,
            "Your last message was not sent: the conversation was over.",
            "Say it in the next conversation.",
        )
    }

    /// A turn has taken longer than `--turn-timeout` allows.
    /// `peer`: it was that one's.
    pub fn turn_overdue(peer: Option<&str>) -> Self {
        let what = match peer {
            None => "The conversation is over: your turn took too long.".to_owned(),
            Some(peer) => format!("The conversation is over: the turn of {peer} took too long."),
        };
        Self::new(
            Exit::Failure,
            what,
            "Begin a new one, or give more time with `--turn-timeout`.",
        )
    }

    /// The conversation is over before the peer's message was taken.
    pub fn not_taken(turn: u64) -> Self {
        Self::new(
            Exit::Failure,
            format!("The peer's message of turn {turn} was not taken before the end."),
            "Your peer knows that it has not arrived, and may say it again.",
        )
    }

    /// The port cannot be had.
    pub fn listen(address: &str, error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "Stop the program that listens there, or choose another port with `--listen`."
            }
            io::ErrorKind::PermissionDenied => {
                "Choose another port with `--listen`: those below 1024 often need root, and a sandbox may forbid more."
            }
            _ => "Choose an address of this machine, or a name of it, with `--listen`.",
        };
        let advice = remedy::for_too_many(error).unwrap_or_else(|| advice.to_owned());
        Self::new(
            Exit::Failure,
            format!("Cannot listen on {address}: {error}."),
            advice,
        )
    }

    /// An address that every link has, and no link is named.
    pub fn no_zone(host: &str) -> Self {
        let own = OwnAddresses::find();
        let interface = own.an_interface();
        Self::new(
            Exit::Usage,
            format!("The address {host} is one on a link, and does not say on which."),
            format!(
                "Write the name of this machine's interface behind it, such as {host}%{interface}."
            ),
        )
    }

    /// The name to listen at cannot be resolved.
    pub fn no_such_host(address: &str, error: &io::Error) -> Self {
        Self::new(
            Exit::Failure,
            format!("Cannot listen on {address}: {error}."),
            remedy::for_too_many(error).unwrap_or_else(|| {
                "Check the name, or choose an address of this machine with `--listen`.".to_owned()
            }),
        )
    }

    /// The signal handlers cannot be installed.
    pub fn signals(error: &io::Error) -> Self {
        Self::new(
            Exit::Failure,
            format!("Cannot install signal handlers: {error}."),
            remedy::for_too_many(error).unwrap_or_else(|| {
                "Run turnchat outside of the sandbox that forbids it.".to_owned()
            }),
        )
    }
}

const SEND_OUTPUT_ELSEWHERE: &str = "Send standard output elsewhere, for example to a file on a disk with free space, and run the same command again.";

#[cfg(test)]
mod tests;
