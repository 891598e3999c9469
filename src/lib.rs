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
pub mod link;
pub mod protocol;
pub mod trust;
