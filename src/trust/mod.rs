//! Floor 2: who a peer is. Keys, certificates and the TLS
//! configurations that prove them. No frames, no turns.

pub mod algorithm;
pub mod certificate;
pub(crate) mod durable;
pub mod identity;
mod identity_error;
pub mod key_id;
mod pem;
pub mod tls;
pub mod verifier;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use identity::{Identity, key_of_certificate_file};
pub use identity_error::IdentityError;
pub use key_id::KeyId;
pub use tls::{HandshakeFailure, NotProven, Peer};
