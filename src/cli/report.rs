//! Outcomes as words, advice and exit code. Every failure is told in two
//! parts: what happened, and what to do now.

mod pairing;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::book::{Address, BookError, Petname, Refusal};
use crate::cli::own_addresses::OwnAddresses;
use crate::cli::proposal::{self, Called, shell_quoted, theirs, yours};
use crate::cli::remedy::{self, Wanted};
use crate::link::error::chain;
use crate::link::{Cause, ConnectError, Ended, HandshakeError, JournalError, LinkError};
use crate::protocol::{Code, Message, Overdue, Reason};
use crate::trust::{
    CERTIFICATE_FILE, Encoding, HandshakeFailure, IdentityError, KEY_FILE, KeyId, Unusable,
};

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

    /// The person does not take the server's key for the right one.
    pub fn declined(host: &str) -> Self {
        Self::new(
            Exit::Trust,
            format!("You declined the key of {host}. Nothing was said to it."),
            format!(
                "Ask your peer for the output of {}, and compare.",
                theirs("fingerprint")
            ),
        )
    }

    /// The key that the person has pasted is not the server's.
    pub fn other_than_pasted(host: &str, key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!(
                "The key that you pasted is not that of {host}, which is {key}. Nothing was said to it."
            ),
            "Somebody may stand in between. Ask your peer for the fingerprint once more, on another way.",
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

    /// A key that is none of those given with `--pin`.
    pub fn not_pinned(host: &str, key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!("{host} has another key than the one pinned: {key}. Nothing was said to it."),
            format!(
                "Ask your peer for the output of {}; if it is this key, pin it with `--pin`. If not, somebody else answers there.",
                theirs("fingerprint")
            ),
        )
    }

    /// The key that was accepted for a host does not answer there a moment later.
    pub fn not_accepted(host: &str, key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!(
                "{host} has another key than a moment ago, when one was accepted: {key}. Nothing was said to it."
            ),
            format!(
                "Somebody else may answer there. Ask your peer for the output of {}, and pin that key with `--pin`.",
                theirs("fingerprint")
            ),
        )
    }

    /// The key of a host is one's own.
    pub fn own_key(host: &str) -> Self {
        Self::new(
            Exit::Trust,
            format!("{host} has your own key: you have called yourself."),
            "Check the address; your peer needs a key of its own.",
        )
    }

    /// A known peer has another key than the book says.
    pub fn changed(name: &Petname, address: &Address, key: &KeyId) -> Self {
        let address = shell_quoted(Path::new(&address.to_string()));
        Self::new(
            Exit::Trust,
            format!("The key of {name} has changed: {key}. Nothing was said to it."),
            format!(
                "Somebody else may answer in the place of {name}. If your peer has a new key and tells you so, run {}, then add it anew with {}.",
                yours(&format!("peers remove {name}")),
                yours(&format!("peers add {name} KEY --address {address}"))
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

    /// A host that the book does not know, and nobody to ask; `with_accept_new` if the key was
    /// to be stored, which `--pin` excludes.
    pub fn unknown_host(
        host: &str,
        key: &KeyId,
        known_as: Option<&Petname>,
        with_accept_new: bool,
    ) -> Self {
        let instead = match with_accept_new {
            true => " in place of `--accept-new`",
            false => "",
        };
        let known = known_as.map_or(String::new(), |name| {
            format!(" You know this key as {name}, at another address.")
        });
        Self::new(
            Exit::Trust,
            format!("{host} has a key that you don't know: {key}.{known} Nothing was said to it."),
            format!(
                "Ask your peer to run {}; if it prints this key, run the same command with `--pin {key}`{instead}.",
                theirs("fingerprint")
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

impl From<&LinkError> for Report {
    fn from(error: &LinkError) -> Self {
        // Told on a server too, which may go on and need no command.
        let again = "On the client's side, run the same command again: the conversation goes on where a journal was kept, and else begins anew.";
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
                            "Your peer may go on waiting, and learns of the end when you call again.",
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
                remedy::for_too_many(error).unwrap_or_else(|| {
                    format!(
                        "Check the name and the port, and that {} runs there.",
                        theirs("server")
                    )
                }),
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

impl From<&IdentityError> for Report {
    fn from(error: &IdentityError) -> Self {
        let exit = match error {
            IdentityError::LooseKey { .. } => Exit::Trust,
            IdentityError::Unusable(unusable) => exit_for(unusable),
            _ => Exit::Failure,
        };
        Self::new(exit, sentence(error), identity_advice(error))
    }
}

/// What belongs to others is a matter of trust; the rest is in the way.
fn exit_for(unusable: &Unusable) -> Exit {
    match unusable {
        Unusable::Foreign { .. } | Unusable::Exposed { .. } | Unusable::NoModes { .. } => {
            Exit::Trust
        }
        _ => Exit::Failure,
    }
}

fn identity_advice(error: &IdentityError) -> String {
    match error {
        IdentityError::Unusable(Unusable::TooLong { path, .. }) => damaged_advice(path),
        IdentityError::Unusable(unusable) => remedy::for_unusable(unusable),
        IdentityError::Busy { .. } => {
            "Run the same command again once that program has ended; nothing was changed."
                .to_owned()
        }
        IdentityError::Encrypted { path } => format!(
            "Decrypt it with `{}`; turnchat uses keys without a passphrase, readable by you alone.",
            openssl("pkey", path)
        ),
        IdentityError::NotPem {
            path,
            encoding: Encoding::Utf16,
        } => format!("Save {} as plain text (UTF-8).", path.display()),
        IdentityError::NotPem { path, .. } => {
            let kind = match is_key(path) {
                true => "pkey -inform DER",
                false => "x509 -inform DER",
            };
            format!("Rewrite it as PEM with `{}`.", openssl(kind, path))
        }
        IdentityError::OtherForm { key, .. } => format!(
            "Make a new certificate for it with {}. Its fingerprint is another: give your peers that one.",
            proposal::renewal(directory_of(key))
        ),
        IdentityError::Unsynced { .. } => {
            "The new certificate is in place. Check the disk: after a power cut the old one may be back, which will do too."
                .to_owned()
        }
        IdentityError::NoKey {
            path,
            found: Some(found),
        } if found == "OPENSSH PRIVATE KEY" => format!(
            "Rewrite it with `ssh-keygen -p -N \"\" -m PKCS8 -f {}` if it is ECDSA P-256; another key cannot be used here.",
            shell_quoted(path)
        ),
        IdentityError::Exists { path } => format!(
            "Nothing was changed. Choose another directory with `--out DIR`, or make a new certificate for the same key with {}.",
            proposal::renewal(directory_of(path))
        ),
        IdentityError::CertificateMissing { key, .. } => format!(
            "Make a new certificate for the same key with {}; the fingerprint stays.",
            proposal::renewal(directory_of(key))
        ),
        IdentityError::KeyMissing { certificate, key } => format!(
            "Restore {} from a backup. Without one, move the certificate away with `mv {} {}`, and a new identity can be made.",
            key.display(),
            shell_quoted(certificate),
            shell_quoted(&certificate.with_extension("pem.old"))
        ),
        IdentityError::LooseKey { path, .. } => remedy::for_loose_key(path),
        IdentityError::Mismatch { certificate, key } => match is_home_of_both(certificate, key) {
            true => format!(
                "Restore the file that is not of this identity; or, if the key is the right one, make a new certificate for it with {}.",
                proposal::renewal(directory_of(key))
            ),
            false => "Give the certificate and the key of one identity.".to_owned(),
        },
        IdentityError::Unreadable { path, source } if is_absent_key(path, source) => {
            "There is no key to make a certificate for: leave `--renew` out to make both."
                .to_owned()
        }
        IdentityError::Unreadable { path, source } => remedy::for_own(Wanted::Read, path, source),
        IdentityError::Unwritable { path, source } => remedy::for_own(Wanted::Write, path, source),
        IdentityError::NoCertificate { path, .. }
        | IdentityError::NoKey { path, .. }
        | IdentityError::Malformed { path, .. }
        | IdentityError::UnsupportedKey { path } => damaged_advice(path),
        IdentityError::NotMade { .. } => {
            "Check that the system gives random numbers: a sandbox may forbid it.".to_owned()
        }
    }
}

/// The command by which openssl rewrites a file in its place, readable by its owner alone.
fn openssl(command: &str, path: &Path) -> String {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let (path, new) = (shell_quoted(path), shell_quoted(Path::new(&new)));
    format!("(umask 077; openssl {command} -in {path} -out {new} && mv {new} {path})")
}

/// Whether this path is that of our private key, not of a certificate.
fn is_key(path: &Path) -> bool {
    match &Called::get().identity {
        Some([_, key]) => path == key,
        None => path.ends_with(KEY_FILE),
    }
}

/// The file is there and is of no use as it is.
fn damaged_advice(path: &Path) -> String {
    let key = path.with_file_name(KEY_FILE);
    if path.ends_with(CERTIFICATE_FILE) && key.exists() {
        return format!(
            "If the key beside it is whole, make a new certificate for it with {}; the fingerprint stays.",
            proposal::renewal(directory_of(path))
        );
    }
    "Restore it from a backup, or give another with `--cert FILE` and `--key FILE`: a certificate and a key, ECDSA P-256 or Ed25519, as PEM without a passphrase.".to_owned()
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether both are where `gen-cert` would make them.
fn is_home_of_both(certificate: &Path, key: &Path) -> bool {
    certificate.ends_with(CERTIFICATE_FILE)
        && key.ends_with(KEY_FILE)
        && certificate.parent() == key.parent()
}

/// Only `gen-cert --renew` looks for a key in a directory that has neither file.
fn is_absent_key(path: &Path, error: &io::Error) -> bool {
    Called::get().identity.is_none()
        && error.kind() == io::ErrorKind::NotFound
        && path.ends_with(KEY_FILE)
        && !path.is_symlink()
}

impl From<&BookError> for Report {
    fn from(error: &BookError) -> Self {
        let advice = match error {
            BookError::Refused(Refusal::LastKey(name)) => format!(
                "Remove the peer itself with {}, or add the new key first; nothing was changed.",
                yours(&format!("peers remove {name}"))
            ),
            BookError::Refused(_) => {
                format!("See {}; nothing was changed.", yours("peers list"))
            }
            BookError::Unwritable { path, source } => format!(
                "{} Nothing was changed.",
                remedy::for_own(Wanted::Write, path, source)
            ),
            BookError::Unsynced { .. } => {
                "The change is made and in force. Check the disk: after a power cut it may be gone."
                    .to_owned()
            }
            BookError::Unusable(unusable) => remedy::for_unusable(unusable),
            BookError::Held { .. } => {
                "Wait until that has ended, and run the same command again; nothing was changed."
                    .to_owned()
            }
            BookError::Unreadable { path, source } => remedy::for_own(Wanted::Read, path, source),
            BookError::Damaged { .. } => {
                "Repair the file, or move it away to begin with an empty address book; it was left as it is.".to_owned()
            }
        };
        let exit = match error {
            BookError::Unusable(unusable) => exit_for(unusable),
            _ => Exit::Failure,
        };
        Self::new(exit, sentence(error), advice)
    }
}

impl From<JournalError> for Report {
    fn from(error: JournalError) -> Self {
        Self::from(&error)
    }
}

impl Report {
    /// What is wrong with a journal, for a command that is about nothing else.
    pub fn journal(error: &JournalError) -> Self {
        let advice = match error {
            JournalError::InUse { .. } => {
                "Stop the turnchat that runs there, then run this command again; nothing was changed."
                    .to_owned()
            }
            JournalError::Unwritable { path, source } => {
                remedy::for_own(Wanted::Write, path, source)
            }
            JournalError::Unreadable { path, source } => {
                remedy::for_own(Wanted::Read, path, source)
            }
            JournalError::Unusable(unusable) => remedy::for_unusable(unusable),
            JournalError::OtherVersion { .. } => {
                "Use the version of turnchat that wrote it.".to_owned()
            }
            JournalError::Damaged { .. } => {
                "Restore it from a backup, or give the conversation up by removing the file; it was left as it is."
                    .to_owned()
            }
        };
        let exit = match error {
            JournalError::Unusable(unusable) => exit_for(unusable),
            _ => Exit::Failure,
        };
        Self::new(exit, sentence(error), advice)
    }
}

/// For a conversation, which can do without one.
impl From<&JournalError> for Report {
    fn from(error: &JournalError) -> Self {
        let mut report = Self::journal(error);
        match error {
            JournalError::InUse { .. } => {
                report.advice =
                    "Go on there, or end that process first; or run this one with `--no-journal`."
                        .to_owned();
            }
            JournalError::Damaged { .. } => {}
            _ => report.advice += " Or run the same command with `--no-journal`.",
        }
        report
    }
}

const SEND_OUTPUT_ELSEWHERE: &str = "Send standard output elsewhere, for example to a file on a disk with free space, and run the same command again.";

/// An error and its sources as a sentence. None of ours begins with a path or a name, which
/// have to stay as they are.
fn sentence(error: &dyn std::error::Error) -> String {
    let chain = chain(error);
    let mut chars = chain.chars();
    let first = chars.next().map(|first| first.to_uppercase());
    format!(
        "{}{}.",
        first.into_iter().flatten().collect::<String>(),
        chars.as_str()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::book::Damage;

    /// Every error that names a file.
    fn errors_about(path: &Path) -> Vec<Report> {
        let path = || path.to_owned();
        let source = || io::Error::from(io::ErrorKind::TimedOut);
        let identity = [
            IdentityError::Exists { path: path() },
            IdentityError::KeyMissing {
                certificate: path(),
                key: path(),
            },
            IdentityError::CertificateMissing {
                certificate: path(),
                key: path(),
            },
            IdentityError::Unreadable {
                path: path(),
                source: source(),
            },
            IdentityError::Unwritable {
                path: path(),
                source: source(),
            },
            IdentityError::Busy { path: path() },
            IdentityError::NoCertificate {
                path: path(),
                found: None,
            },
            IdentityError::NoKey {
                path: path(),
                found: Some("OPENSSH PRIVATE KEY".to_owned()),
            },
            IdentityError::Encrypted { path: path() },
            IdentityError::NotPem {
                path: path(),
                encoding: Encoding::Der,
            },
            IdentityError::OtherForm {
                certificate: path(),
                key: path(),
                form: "a compressed point",
            },
            IdentityError::Unsynced {
                path: path(),
                source: source(),
            },
            IdentityError::Malformed {
                path: path(),
                what: "it is not PEM".to_owned(),
            },
            IdentityError::LooseKey {
                path: path(),
                mode: 0o644,
            },
            IdentityError::UnsupportedKey { path: path() },
            IdentityError::Mismatch {
                certificate: path(),
                key: path(),
            },
        ];
        let book = [
            BookError::Unreadable {
                path: path(),
                source: source(),
            },
            BookError::Unwritable {
                path: path(),
                source: source(),
            },
            BookError::Damaged {
                path: path(),
                line: Some(3),
                damage: Damage::NotUtf8,
            },
        ];
        let journal = [
            JournalError::Unreadable {
                path: path(),
                source: source().into(),
            },
            JournalError::Unwritable {
                path: path(),
                source: source().into(),
            },
            JournalError::Damaged { path: path() },
            JournalError::OtherVersion {
                path: path(),
                version: 1,
            },
            JournalError::InUse { path: path() },
        ];
        let unusable = [
            Unusable::Foreign {
                path: path(),
                owner: 65_534,
            },
            Unusable::Exposed {
                path: path(),
                mode: 0o777,
            },
            Unusable::NoModes { path: path() },
            Unusable::Link { path: path() },
            Unusable::NotAFile {
                path: path(),
                kind: "a named pipe",
            },
            Unusable::TooLong {
                path: path(),
                most: 1,
            },
        ];
        let mut reports: Vec<_> = identity.iter().map(Report::from).collect();
        let unusable = unusable.into_iter();
        reports.extend(unusable.flat_map(|unusable| {
            [
                Report::from(&BookError::Unusable(unusable.clone())),
                Report::from(&JournalError::Unusable(unusable.clone())),
                Report::from(&IdentityError::Unusable(unusable)),
            ]
        }));
        reports.extend(book.iter().map(Report::from));
        reports.extend(journal.iter().map(Report::from));
        reports
    }

    #[test]
    fn a_path_is_told_as_it_is() {
        for report in errors_about(Path::new("certs/alice/file")) {
            assert!(report.what.contains("certs/alice/file"), "{report:?}");
            for part in [&report.what, &report.advice] {
                assert!(part.starts_with(char::is_uppercase), "{report:?}");
                assert!(!part.contains("Certs"), "{report:?}");
            }
        }
    }

    #[test]
    fn only_what_is_damaged_may_be_given_up() {
        let throws = [
            "remov",
            "delet",
            "move it away",
            "makes a new",
            "make a new identity",
        ];
        for report in errors_about(Path::new("certs/alice/file")) {
            let is_whole = !report.what.contains("is damaged");
            let is_thrown = throws.iter().any(|word| report.advice.contains(word));
            assert!(!(is_whole && is_thrown), "{report:?}");
        }
    }

    #[test]
    fn advice_about_stdout_fits_what_is_wrong_with_it() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(Report::stdout(&full).advice.contains("free space"));
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        let closed = Report::stdout(&closed);
        assert!(closed.advice.contains("what reads"), "{closed:?}");
        assert!(!closed.advice.contains("free space"), "{closed:?}");
    }

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
