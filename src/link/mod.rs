//! Floor 3: conversations over connections. Async, but naming no socket type
//! where a simulated network should be able to stand in.

pub mod client;
pub mod error;
pub mod handshake;
pub mod journal;
mod redial;
pub mod server;
mod session;
pub mod tcp;
pub mod turn;
pub mod wire;

pub use client::Client;
pub use error::{Cause, ConnectError, ConnectionError, Ended, HandshakeError, LinkError};
pub use journal::{Journal, JournalError};
pub use server::{
    Abandoned, Answer, Candidates, Server, ServerBuilder, ServerEvent, ServerEvents, Verdict,
};
pub use turn::{MyTurn, Notice, Talk, TheirTurn, Turn, Waiting};
