//! A private conversation between two peers, one turn at a time.
//!
//! ```text
//! cli/       4  arguments, terminal, JSON, reports, address book    knows all below
//! link/      3  async: wire, session, admission, server, client     knows 1 and 2
//! trust/     2  keys, identities, verifiers, TLS                    fs, rcgen, rustls; no frames, no turns
//! protocol/  1  pure: limits, text, frame, conversation, liveness   no io, net, fs, tokio, rustls, clap, clock
//! ```
//!
//! A floor names only floors below it; 1 and 2 do not know each other.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod internals;
mod link;
mod protocol;
mod trust;

pub use link::{
    Abandoned, Candidate, Cause, Client, ConnectError, ConnectionError, Ended, HandshakeError,
    IoError, Journal, JournalError, LinkError, MyTurn, Notice, Server, ServerBuilder, ServerEvent,
    ServerEvents, Talk, TheirTurn, Turn, Verdict, Waiting, tcp,
};
pub use protocol::{
    Code, ConversationId, Detail, FrameError, Limits, MalformedId, Message, Overdue, Reason, Text,
    TooLong, Violation,
};
pub use trust::{
    Algorithm, HandshakeFailure, Identity, IdentityError, KeyId, MalformedKey, NotProven, Peer,
    UnknownAlgorithm, key_of_certificate_file,
};
