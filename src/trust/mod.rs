//! Floor 2: who a peer is. Keys, certificates, the address book and the TLS
//! configurations that prove them. No frames, no turns.

pub mod certificate;
mod durable;
pub mod identity;
pub mod key_id;

pub use identity::{Algorithm, Identity, IdentityError, key_of_certificate_file};
pub use key_id::KeyId;
