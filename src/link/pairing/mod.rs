//! Pairing by a spoken code (docs/PAIRING.md). [`PairingClient`] is the client's side. On a
//! server, [`Pairing`] is an open pairing, and [`Door`] is where its connections come in.

mod client;
mod desk;
mod door;
mod event;
mod guesses;
mod open;
mod server;
mod wire;

pub use client::{Paired, PairingClient, PairingError};
pub use event::{Confirmed, PairingEvent, Storing};
pub use open::Pairing;

pub(super) use door::Door;
pub(super) use server::receive;
