//! Floor 3: conversations over connections. Async, but generic over the stream, so tests can
//! use a simulated network.

mod abandoned;
mod client;
mod closer;
mod closing;
mod crowding;
mod driver;
pub(crate) mod error;
mod handshake;
mod io_error;
mod journal;
mod metered;
mod open_conversations;
mod origin;
mod pairing;
pub(crate) mod server;
pub mod session;
#[cfg(feature = "socks")]
pub mod socks;
pub(crate) mod store;
pub mod tcp;
mod turn;
mod unsent;
mod untold;
mod wire;

pub use abandoned::Abandoned;
pub use client::Client;
pub use error::{Cause, ConnectError, ConnectionError, Ended, HandshakeError, LinkError};
pub use io_error::IoError;
pub use journal::Journal;
pub use open_conversations::OpenConversation;
pub use pairing::{Confirmed, Paired, Pairing, PairingClient, PairingError, PairingEvent, Storing};
pub use server::{Candidate, Server, ServerBuilder, ServerEvent, ServerEvents, Verdict};
pub use session::Notice;
#[cfg(feature = "etcd")]
pub use store::{Caution, EtcdAddress, EtcdStore, EtcdTls, NoEtcdAddress, UnfitTls};
pub use store::{JournalError, SharedStore};
pub use turn::{MyTurn, Talk, TheirTurn, Turn, Waiting};
