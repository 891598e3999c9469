//! Floor 3: conversations over connections. Async, but naming no socket type
//! where a simulated network should be able to stand in.

pub mod admission;
pub mod client;
pub mod handshake;
mod house;
pub mod journal;
pub mod over;
pub mod reception;
mod redial;
pub mod server;
mod session;
pub mod tcp;
pub mod turn;
pub mod wire;

pub use admission::{Answer, Verdict};
pub use client::{Client, ConnectError};
pub use handshake::HandshakeError;
pub use journal::{Journal, JournalError};
pub use over::{Cause, Over};
pub use reception::Incident;
pub use server::{Lapsed, Lobby, Server, ServerBuilder, Visitor, Visitors};
pub use turn::{MyTurn, Notice, Talk, TheirTurn, Turn, Waiting};
pub use wire::LinkError;
