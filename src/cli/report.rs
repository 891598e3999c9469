//! Outcomes as words, advice and exit code. Every failure is told in two
//! parts: what happened, and what to do now.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::book::{BookError, Petname};
use crate::link::error::chain;
use crate::link::{Cause, ConnectError, Ended, HandshakeError, JournalError, LinkError};
use crate::protocol::{Code, Message, Overdue, Reason};
use crate::trust::{HandshakeFailure, IdentityError, KeyId};

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

    /// stdout cannot be written.
    pub fn stdout(error: &io::Error) -> Self {
        Self::new(
            Exit::Failure,
            format!("The transcript cannot be written: {error}."),
            "Keep standard output open for as long as the conversation goes on.",
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

    /// The person does not take the server's key for the right one.
    pub fn declined(host: &str) -> Self {
        Self::new(
            Exit::Trust,
            format!("You declined the key of {host}. Nothing was said to it."),
            "Ask your peer for the output of `turnchat fingerprint`, and compare.",
        )
    }

    /// The question about a server's key came to an end without an answer.
    pub fn not_answered(host: &str) -> Self {
        Self::new(
            Exit::Trust,
            format!("You have not answered about the key of {host}. Nothing was said to it."),
            "Run the same command again, or give the key with `--pin`.",
        )
    }

    /// The line editor cannot run.
    pub fn terminal(error: &io::Error) -> Self {
        Self::new(
            Exit::Failure,
            format!("The terminal cannot be used: {error}."),
            "Close other programs, or run turnchat with `TERM=dumb`.",
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

    /// The port cannot be had.
    pub fn listen(address: &str, error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "Stop the program that listens there, or choose another port with `--listen`."
            }
            io::ErrorKind::PermissionDenied => "Choose a port above 1023 with `--listen`.",
            _ => "Choose an address of this machine with `--listen`.",
        };
        Self::new(
            Exit::Failure,
            format!("Cannot listen on {address}: {error}."),
            advice,
        )
    }

    /// The signal handlers cannot be installed.
    pub fn signals(error: &io::Error) -> Self {
        Self::new(
            Exit::Failure,
            format!("Signals cannot be listened to: {error}."),
            "Run turnchat outside of the sandbox that forbids it.",
        )
    }

    /// A key that is none of those given with `--pin`.
    pub fn not_pinned(host: &str, key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!("{host} has another key than the one pinned: {key}. Nothing was said to it."),
            "Ask your peer for the output of `turnchat fingerprint`; if it is this key, pin it with `--pin`. If not, somebody else answers there.",
        )
    }

    /// A known peer has another key than the book says.
    pub fn changed(name: &Petname, key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!("The key of {name} has changed: {key}. Nothing was said to it."),
            format!(
                "Somebody else may answer in the place of {name}. If your peer has a new key and tells you so, run `turnchat peers remove {name}`, then add it anew with `turnchat peers add`."
            ),
        )
    }

    /// Another key answers a redial.
    pub fn other_key(key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!("Another key than your peer's answers there: {key}. Nothing was said to it."),
            "Your network may lead elsewhere, or somebody else answers in the place of your peer. The conversation goes on only with your peer's own key.",
        )
    }

    /// A host that the book does not know, and nobody to ask.
    pub fn unknown_host(host: &str, key: &KeyId, known_as: Option<&Petname>) -> Self {
        let known = known_as.map_or(String::new(), |name| {
            format!(" You know this key as {name}, at another address.")
        });
        Self::new(
            Exit::Trust,
            format!("{host} has a key that you don't know: {key}.{known} Nothing was said to it."),
            format!(
                "Ask your peer to run `turnchat fingerprint`; if it prints this key, run the same command with `--pin {key}`."
            ),
        )
    }
}

/// What became of a conversation, for its own side's exit code; `Err` where
/// there is something to say about it.
pub fn outcome(over: &Ended) -> Result<Exit, Report> {
    let unacknowledged = |exit| match over.unacknowledged {
        None => Ok(exit),
        Some(Message { turn, .. }) => Err(Report::new(
            Exit::Link,
            format!("Your message of turn {turn} was not acknowledged before the end."),
            "Your peer may not have it: say it again in the next conversation.",
        )),
    };
    match &over.cause {
        Cause::Me | Cause::Peer => unacknowledged(Exit::Success),
        Cause::Refused(reason) => Err(refused(*reason)),
        Cause::Link(error) => {
            let mut report = Report::from(error);
            if let Some(Message { turn, .. }) = over.unacknowledged {
                report.what += &format!(" Your message of turn {turn} was not acknowledged.");
            }
            Err(report)
        }
    }
}

fn refused(reason: Reason) -> Report {
    match reason {
        Reason::UnknownPeer => Report::new(
            Exit::Trust,
            "The server does not know your key.",
            "Give your peer the output of `turnchat fingerprint`, to be allowed there with `--allow` or `turnchat peers add`.",
        ),
        Reason::Declined => Report::new(
            Exit::Trust,
            "The server declined to talk with your key.",
            "Ask your peer why, and check that you do not dial yourself.",
        ),
        Reason::Busy => Report::new(Exit::Busy, "The server is busy.", "Try again later."),
        Reason::NoAnswer => Report::new(
            Exit::Busy,
            "Your peer was asked about your key, and has not answered.",
            "Give your peer the output of `turnchat fingerprint`, and call again when your peer is there.",
        ),
        Reason::AskedTooOften => Report::new(
            Exit::Busy,
            "Your peer was asked about too many keys in the last minutes.",
            "Call again in ten minutes, or ask your peer to add your key with `turnchat peers add`.",
        ),
        Reason::Closing => Report::new(
            Exit::Busy,
            "The server is stopping.",
            "Call again when it runs.",
        ),
        Reason::Ended => Report::new(
            Exit::Link,
            "The server says that this conversation is over, before it began here.",
            "Run the same command again to begin another.",
        ),
    }
}

impl From<&LinkError> for Report {
    fn from(error: &LinkError) -> Self {
        let again = "Run the same command again: it goes on where a journal was kept, and else begins anew.";
        match error {
            LinkError::Cut => Self::new(Exit::Link, "The connection was lost.", again),
            LinkError::Io(io) => match HandshakeFailure::of(io) {
                HandshakeFailure::Io(kind) => Self::new(
                    Exit::Link,
                    format!("The connection was lost: {kind}."),
                    again,
                ),
                failure @ HandshakeFailure::CertificateRefused(_) => {
                    handshake(&failure, "the peer")
                }
                _ => Self::new(Exit::Link, format!("The connection was lost: {io}."), again),
            },
            LinkError::Overdue(overdue) => {
                let what = match overdue {
                    Overdue::Silent => {
                        "Nothing came from the peer for a minute: the connection is lost."
                    }
                    Overdue::Line => {
                        "The peer began a message and did not go on: the connection was given up."
                    }
                    Overdue::Write => "The peer takes no more data: the connection is lost.",
                    Overdue::FirstFrame => "The server did not answer the greeting.",
                    Overdue::Quit => {
                        return Self::new(
                            Exit::Link,
                            "The peer did not acknowledge the end of the conversation.",
                            "Your peer may go on waiting, and learns of the end when you call again.",
                        );
                    }
                };
                Self::new(Exit::Link, what, again)
            }
            LinkError::ReaderFailed => Self::new(
                Exit::Failure,
                "The conversation was stopped: its messages cannot be shown here.",
                "Mend what reads them, and begin a new one.",
            ),
            LinkError::Journal(error) => Self::from(error),
            LinkError::OtherKey(key) => Self::other_key(key),
            LinkError::NotNow(reason) => refused(*reason),
            LinkError::Malformed(_) | LinkError::Violation(_) => Self::new(
                Exit::Protocol,
                format!("The conversation was stopped: {}.", chain(error)),
                "The other program is at fault; ask your peer which one it is, and in which version.",
            ),
            LinkError::Reported { code, detail } => {
                let detail = detail.as_ref().map_or(String::new(), |detail| {
                    format!(" It adds: {}", detail.as_str())
                });
                match code {
                    Code::ProtocolError | Code::OutOfTurn => Self::new(
                        Exit::Failure,
                        format!(
                            "The peer says that we broke the protocol (`{}`).{detail}",
                            code.word()
                        ),
                        "One of the two programs is at fault; please report it with the versions of both.",
                    ),
                    Code::Timeout => Self::new(
                        Exit::Link,
                        format!("The peer gave up: a message took too long on its way.{detail}"),
                        again,
                    ),
                    Code::Internal => Self::new(
                        Exit::Link,
                        format!("The peer's program failed.{detail}"),
                        "Ask your peer to look at its messages, then run the same command again.",
                    ),
                    Code::Replaced => Self::new(
                        Exit::Link,
                        "A newer connection with your key has taken the place of this one.",
                        "Go on there, or end it first.",
                    ),
                }
            }
        }
    }
}

impl Report {
    /// There is no proven connection to `host`.
    pub fn connect(error: &ConnectError, host: &str) -> Self {
        match error {
            ConnectError::Dial(error) => Self::new(
                Exit::Link,
                format!("Cannot reach {host}: {error}."),
                "Check the name and the port, and that `turnchat server` runs there.",
            ),
            ConnectError::Journal(error) => Self::from(error),
            ConnectError::Handshake(error) => match error {
                HandshakeError::Tls(failure) => handshake(failure, host),
                HandshakeError::NotProven(error) => handshake(&error.clone().into(), host),
                HandshakeError::TimedOut => Self::new(
                    Exit::Link,
                    format!("{host} took the connection, and then did not answer."),
                    "Check that it is a turnchat server that listens there.",
                ),
            },
        }
    }
}

fn handshake(failure: &HandshakeFailure, host: &str) -> Report {
    let other_program = "Check the address and the port: another program seems to listen there.";
    match failure {
        HandshakeFailure::UnexpectedKey(key) => Report::not_pinned(host, key),
        HandshakeFailure::NoProof(error) => Report::new(
            Exit::Trust,
            format!("{host} did not prove its key: {error}."),
            "Somebody may hold a copy of your peer's certificate. Do not go on before you have asked your peer.",
        ),
        HandshakeFailure::CertificateRefused(alert) => Report::new(
            Exit::Trust,
            format!("The peer does not accept our certificate ({alert:?})."),
            "Make a new one for the same key with `turnchat gen-cert --renew`.",
        ),
        HandshakeFailure::NotAsked => Report::new(
            Exit::Trust,
            format!("{host} does not ask for your key: it would not know whom it talks to."),
            "Is it a turnchat server? Check the address, and ask your peer what runs there.",
        ),
        HandshakeFailure::NoCommonProtocol => Report::new(
            Exit::Protocol,
            format!("{host} does not speak turnchat/1."),
            other_program,
        ),
        HandshakeFailure::NotTls13 => Report::new(
            Exit::Protocol,
            format!("{host} does not speak TLS 1.3."),
            other_program,
        ),
        HandshakeFailure::NotTls => Report::new(
            Exit::Protocol,
            format!("{host} does not speak TLS."),
            other_program,
        ),
        HandshakeFailure::Io(kind) => Report::new(
            Exit::Link,
            format!("The connection to {host} was lost before it was secured: {kind}."),
            "Check that it is a turnchat server that listens there, and try again.",
        ),
        other => Report::new(
            Exit::Protocol,
            format!("No secured connection to {host}: {other}."),
            other_program,
        ),
    }
}

impl From<&IdentityError> for Report {
    fn from(error: &IdentityError) -> Self {
        let what = format!("{}.", capitalized(&chain(error)));
        let (exit, advice) = match error {
            IdentityError::Exists { .. } => (
                Exit::Failure,
                "Nothing was changed. Choose another directory with `--out`, or renew the certificate with `--renew`.".to_owned(),
            ),
            IdentityError::CertificateMissing { key, .. } => (
                Exit::Failure,
                format!(
                    "Make a new certificate for the same key with `turnchat gen-cert --renew --out {}`; the fingerprint stays.",
                    shell_quoted(key.parent().unwrap_or(key))
                ),
            ),
            IdentityError::KeyMissing { certificate, key } => (
                Exit::Failure,
                format!(
                    "Restore {} from a backup. Without one, move the certificate away with `mv {} {}`, and a new identity can be made.",
                    key.display(),
                    shell_quoted(certificate),
                    shell_quoted(&certificate.with_extension("pem.old"))
                ),
            ),
            IdentityError::LooseKey { path, .. } => (
                Exit::Trust,
                format!("Close it with `chmod 600 {}`.", shell_quoted(path)),
            ),
            IdentityError::Mismatch { .. } => (
                Exit::Failure,
                "Give the certificate and the key of one identity, or renew the certificate with `turnchat gen-cert --renew`.".to_owned(),
            ),
            IdentityError::Unwritable { .. } => (
                Exit::Failure,
                "Check that the directory can be written and the disk is not full.".to_owned(),
            ),
            IdentityError::Unreadable { .. } => (
                Exit::Failure,
                "Check the path and its permissions; `turnchat gen-cert` makes a new identity.".to_owned(),
            ),
            _ => (
                Exit::Failure,
                "Restore the file from a backup, or make a new identity with `turnchat gen-cert --out DIR`.".to_owned(),
            ),
        };
        Self { exit, what, advice }
    }
}

impl From<&BookError> for Report {
    fn from(error: &BookError) -> Self {
        let advice = match error {
            BookError::Refused(_) => "See `turnchat peers list`; nothing was changed.",
            BookError::Unwritable { .. } => {
                "Check that the directory can be written and the disk is not full; nothing was changed."
            }
            _ => {
                "Mend the file, or move it away to begin with an empty address book; it was left as it is."
            }
        };
        Self::new(
            Exit::Failure,
            format!("{}.", capitalized(&chain(error))),
            advice,
        )
    }
}

impl From<JournalError> for Report {
    fn from(error: JournalError) -> Self {
        Self::from(&error)
    }
}

impl From<&JournalError> for Report {
    fn from(error: &JournalError) -> Self {
        let advice = match error {
            JournalError::InUse { .. } => {
                "Go on there, or end that process first; or run this one with another `--home` or with `--no-journal`."
            }
            JournalError::Unwritable { .. } => {
                "Check that the directory can be written and the disk is not full; or run the same command with `--no-journal`."
            }
            JournalError::Unreadable { .. } => "Check its permissions; it was left as it is.",
            JournalError::OtherVersion { .. } => {
                "Go on with the version that wrote it, or give the conversation up by removing the file."
            }
            _ => {
                "Restore it from a backup, or give the conversation up by removing the file; it was left as it is."
            }
        };
        Self::new(
            Exit::Failure,
            format!("{}.", capitalized(&chain(error))),
            advice,
        )
    }
}

/// A path as a shell takes it.
pub fn shell_quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    match !path.is_empty() && path.chars().all(is_plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

fn capitalized(sentence: &str) -> String {
    let mut chars = sentence.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tls_finds_wrong_in_mid_conversation_is_a_lost_connection() {
        let fault = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        let report = Report::from(&LinkError::Io(fault.into()));
        assert_eq!(report.exit, Exit::Link);
        assert!(
            report.what.starts_with("The connection was lost: "),
            "{report:?}"
        );
        assert!(!report.what.contains("handshake"), "{report:?}");

        // A client learns of this one only at its first reading.
        let alert = rustls::AlertDescription::CertificateUnknown;
        let refused = rustls::Error::AlertReceived(alert);
        let fault = io::Error::new(io::ErrorKind::InvalidData, refused);
        let report = Report::from(&LinkError::Io(fault.into()));
        assert_eq!(report.exit, Exit::Trust);
    }
}
