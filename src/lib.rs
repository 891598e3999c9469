//! A private conversation between two peers, one turn at a time.
//!
//! ```text
//! person/    4  arguments, terminal, JSON, reports                  knows all below
//! link/      3  async: wire, session, admission, server, client     knows 1 and 2
//! trust/     2  keys, identities, peers, verifiers, TLS             fs, rcgen, rustls; no frames, no turns
//! protocol/  1  pure: limits, text, frame, conversation, liveness   no io, net, fs, tokio, rustls, clap, clock
//! ```
//!
//! A floor names only floors below it; 1 and 2 do not know each other.

pub mod link;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod person;
pub mod protocol;
pub mod trust;
