//! What went wrong with the program of `--exec`, as words.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::{Exit, Report};
use crate::cli::remedy;
use crate::protocol::Text;

impl Report {
    /// The program cannot be run.
    pub fn program_not_started(name: &str, error: &io::Error) -> Self {
        let advice = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT) => {
                "Check what stands behind `--exec`: a path, or a name that is looked for in $PATH."
            }
            Some(Errno::EACCES) => "Allow it to be run, for example with `chmod +x`.",
            Some(Errno::EISDIR | Errno::ENOTDIR) => "Give the path of a program behind `--exec`.",
            Some(Errno::ENOEXEC) => {
                "A script needs a first line that names its interpreter, such as `#!/bin/sh`."
            }
            Some(Errno::E2BIG) => "Give it fewer or shorter arguments.",
            _ => "Close other programs, or raise the limit of processes (`ulimit -u`).",
        };
        Self::new(
            Exit::Failure,
            format!("The program {name} cannot be started: {error}."),
            remedy::for_too_many(error).unwrap_or_else(|| advice.to_owned()),
        )
    }

    /// It is a script, and what its first line names is missing.
    pub fn no_interpreter(name: &str) -> Self {
        Self::new(
            Exit::Failure,
            format!("The program {name} cannot be started: its interpreter is missing."),
            "Look at its first line, `#!` and a path: it may be misspelt, or end in CR.",
        )
    }

    /// It has ended, and not well.
    pub fn program_failed(name: &str, status: ExitStatus) -> Self {
        Self::new(
            Exit::Failure,
            format!("The program {name} {}.", how_it_ended(status)),
            "See what it says on standard error. To end a conversation, it ends with status 0.",
        )
    }

    /// It has ended before it has read what the peer said.
    pub fn program_left_unread(name: &str, status: ExitStatus) -> Self {
        Self::new(
            Exit::Failure,
            format!(
                "The program {name} {} before it had read the peer's last message.",
                how_it_ended(status)
            ),
            "See what it says on standard error. It has to read each message until it ends.",
        )
    }

    /// It reads no more, and goes on.
    pub fn program_closed_stdin(name: &str) -> Self {
        Self::new(
            Exit::Failure,
            format!("The program {name} has closed its standard input."),
            "It has to read each message until it ends.",
        )
    }

    /// It says no more, and goes on.
    pub fn program_closed_stdout(name: &str) -> Self {
        Self::new(
            Exit::Failure,
            format!("The program {name} has closed its standard output, and has not ended."),
            "To end a conversation, it ends with status 0.",
        )
    }

    /// Its conversation was cut, and somebody else needs the place.
    pub fn place_needed() -> Self {
        Self::new(
            Exit::Link,
            "The link was lost, and the place was needed for somebody else.",
            "More conversations fit with `--conversations N`.",
        )
    }

    /// It has not read for long.
    pub fn program_does_not_read(name: &str) -> Self {
        Self::new(
            Exit::Failure,
            format!("The program {name} does not read what it is given."),
            "It has to read its standard input while it thinks.",
        )
    }

    /// A line of it is too long.
    pub fn program_said_too_much(name: &str) -> Self {
        Self::new(
            Exit::Failure,
            format!(
                "The program {name} has written a line of more than {} bytes, which was not sent.",
                Text::MAX
            ),
            "Have it say that in several turns.",
        )
    }

    /// A line of it is no text.
    pub fn program_said_no_text(name: &str) -> Self {
        Self::new(
            Exit::Failure,
            format!("The program {name} has written a line that is not UTF-8, which was not sent."),
            "Have it write UTF-8, for example through `iconv -t UTF-8`.",
        )
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(code), _) => format!("has ended with status {code}"),
        (None, Some(Ok(signal))) => format!("was ended by {signal}"),
        (None, _) => "was ended".to_owned(),
    }
}
