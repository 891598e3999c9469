//! A code of three words proves two keys to each other: [`PairingCode`], and the exchange that
//! needs both sides to know it. No frames, no connections.

mod code;
mod exchange;

pub use code::{MalformedPairingCode, PairingCode};
pub(crate) use exchange::{Confirmation, Exchange, Exporter, Keys, NoPoint};
