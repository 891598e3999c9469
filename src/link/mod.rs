//! Floor 3: conversations over connections. Async, but naming no socket type
//! where a simulated network should be able to stand in.

mod abandoned;
pub mod client;
mod closer;
mod driver;
pub mod error;
pub mod handshake;
mod io_error;
pub mod journal;
mod metered;
pub mod server;
pub mod session;
pub mod tcp;
pub mod turn;
pub mod wire;

pub use abandoned::Abandoned;
pub use client::Client;
pub use error::{Cause, ConnectError, ConnectionError, Ended, HandshakeError, LinkError};
pub use io_error::IoError;
pub use journal::{Journal, JournalError};
pub use server::{Candidate, Server, ServerBuilder, ServerEvent, ServerEvents, Verdict};
pub use session::Notice;
pub use turn::{MyTurn, Talk, TheirTurn, Turn, Waiting};
