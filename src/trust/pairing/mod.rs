//! How a code of three words proves two keys to each other: [`PairingCode`]. No frames, no
//! connections.

mod code;

pub use code::{MalformedPairingCode, PairingCode};
