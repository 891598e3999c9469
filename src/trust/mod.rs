//! Floor 2: who a peer is. Keys, certificates, the address book and the TLS
//! configurations that prove them. No frames, no turns.

pub mod key_id;

pub use key_id::KeyId;
