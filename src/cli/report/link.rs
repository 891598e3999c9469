//! What can go wrong between two peers, as words.

use super::{Exit, Report};
use crate::cli::book::Petname;
use crate::cli::proposal::{self, Called, theirs, yours};
use crate::cli::remedy;
use crate::link::error::chain;
use crate::link::socks::ProxyError;
use crate::link::{Cause, ConnectError, Ended, HandshakeError, LinkError};
use crate::protocol::{Code, Message, Overdue, Reason, Violation};
use crate::trust::HandshakeFailure;

/// What two counters that do not fit mean before anything else. Whoever lacks turns says so.
const RESTORED: &str =
    "If one side's journal was restored from an older backup, the client begins anew with `--new`.";

/// What became of a conversation, for its own side's exit code; `Err` where
/// there is something to say about it.
pub fn outcome(over: &Ended) -> Result<Exit, Report> {
    let unacknowledged = |exit| match over.unacknowledged {
        None => Ok(exit),
        Some(Message { turn, .. }) => Err(Report::new(
            Exit::Link,
            format!("Your message of turn {turn} was not acknowledged before the end."),
            "Your peer may have it or not: ask, or say it again in the next conversation.",
        )),
    };
    let report = match &over.cause {
        Cause::Me | Cause::Peer => return unacknowledged(Exit::Success),
        Cause::Refused(reason) => refused(*reason),
        Cause::Link(error) => Report::from(error),
    };
    Err(naming_unacknowledged(report, over))
}

/// The report, and which message was not acknowledged.
pub fn naming_unacknowledged(mut report: Report, over: &Ended) -> Report {
    if let Some(Message { turn, .. }) = over.unacknowledged {
        report.what += &format!(" Your message of turn {turn} was not acknowledged.");
    }
    report
}

fn refused(reason: Reason) -> Report {
    match reason {
        Reason::UnknownPeer => Report::new(
            Exit::Trust,
            "The server does not know your key.",
            format!(
                "Give your peer the output of {}, to be allowed there with `--allow` or {}.",
                proposal::fingerprint(),
                theirs("peers add")
            ),
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
            format!(
                "Give your peer the output of {}, and call again when your peer is there.",
                proposal::fingerprint()
            ),
        ),
        Reason::AskedTooOften => Report::new(
            Exit::Busy,
            "Your peer was asked about too many keys in the last minutes.",
            format!(
                "Call again in ten minutes, or ask your peer to add your key with {}.",
                theirs("peers add")
            ),
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

impl Report {
    /// A server refuses a redial, for now. No failure: the conversation is held.
    pub fn not_now(reason: Reason) -> Self {
        Self {
            advice: "The conversation goes on once the server takes it: turnchat asks again."
                .into(),
            ..refused(reason)
        }
    }
}

impl From<&LinkError> for Report {
    fn from(error: &LinkError) -> Self {
        let again = proposal::again();
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
                    Overdue::Pairing => "The pairing did not come to its end in time.",
                    Overdue::Quit => {
                        return Self::new(
                            Exit::Link,
                            "The peer did not acknowledge the end of the conversation.",
                            "Your peer may go on waiting, and learns of the end with the next connection between you.",
                        );
                    }
                };
                Self::new(Exit::Link, what, again)
            }
            LinkError::ReaderFailed => Self::new(
                Exit::Failure,
                "The conversation was stopped: its messages cannot be shown here.",
                "Repair what reads standard output, then run the same command again.",
            ),
            LinkError::Journal(error) => Self::from(error),
            LinkError::TakenOver => Self::new(
                Exit::Link,
                "The conversation goes on elsewhere: another process has its record.",
                "Go on there; what is entered there alone is sent.",
            ),
            LinkError::OtherKey(key) => Self::other_key(key),
            LinkError::NotNow(reason) => refused(*reason),
            LinkError::Violation(Violation::Counters { .. }) => Self::new(
                Exit::Protocol,
                format!("The conversation was stopped: {}.", chain(error)),
                format!(
                    "{RESTORED} Else the other program is at fault; ask your peer which one it is, and in which version."
                ),
            ),
            LinkError::Malformed(_) | LinkError::Violation(_) => Self::new(
                Exit::Protocol,
                format!("The conversation was stopped: {}.", chain(error)),
                "The other program is at fault; ask your peer which one it is, and in which version.",
            ),
            LinkError::Reported { code, detail } => {
                let detail = detail.as_ref().map_or(String::new(), |detail| {
                    format!(" It adds: {}.", detail.as_str().trim_end_matches('.'))
                });
                match code {
                    Code::ProtocolError | Code::OutOfTurn => Self::new(
                        Exit::Failure,
                        format!(
                            "The peer says that we broke the protocol (`{}`).{detail}",
                            code.word()
                        ),
                        format!(
                            "{RESTORED} Else one of the two programs is at fault; please report it with the versions of both."
                        ),
                    ),
                    Code::Timeout => Self::new(
                        Exit::Link,
                        format!("The peer gave up: a message took too long on its way.{detail}"),
                        again,
                    ),
                    Code::Internal => Self::new(
                        Exit::Link,
                        format!("The peer's program failed.{detail}"),
                        proposal::again_once_repaired(),
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

/// What to do where nothing is found.
fn unreached(host: &str) -> String {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    match name.ends_with(".onion") {
        true => {
            "An onion service is reached through Tor, as with `--proxy socks5h://127.0.0.1:9050`."
                .to_owned()
        }
        // It may have been meant for one.
        false if name.parse::<Petname>().is_ok() && !name.contains('.') => format!(
            "Check the name and the port, and that {} runs there. The names in your address book: {}.",
            theirs("server"),
            yours("peers list")
        ),
        false => format!(
            "Check the name and the port, and that {} runs there.",
            theirs("server")
        ),
    }
}

impl Report {
    /// There is no proven connection to `host`.
    pub fn connect(error: &ConnectError, host: &str) -> Self {
        match error {
            ConnectError::Dial(error) => match ProxyError::of(error) {
                Some(error) => Self::proxy(error, host),
                None => Self::new(
                    Exit::Link,
                    format!("Cannot reach {host}: {error}."),
                    remedy::for_too_many(error).unwrap_or_else(|| unreached(host)),
                ),
            },
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
            match Called::get().identity {
                None => format!(
                    "Make a new one for the same key with {}.",
                    yours("gen-cert --renew")
                ),
                Some(_) => {
                    "Make a new certificate for the same key, and give it with `--cert`.".to_owned()
                }
            },
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
