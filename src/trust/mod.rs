//! Floor 2: who a peer is. Keys, certificates and the TLS
//! configurations that prove them. No frames, no turns.

mod algorithm;
pub(crate) mod alpn;
mod certificate;
pub(crate) mod durable;
mod identity;
mod identity_error;
mod key_id;
pub(crate) mod lock;
pub(crate) mod own_file;
pub(crate) mod pairing;
pub(crate) mod pem;
pub(crate) mod tls;
mod verifier;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use certificate::MalformedCertificate;
#[cfg(feature = "cli")]
pub(crate) use identity::{CERTIFICATE_FILE, KEY_FILE};
pub use identity::{Identity, key_of_certificate_file};
pub use identity_error::{Encoding, IdentityError};
pub use key_id::{KeyId, MalformedKey};
pub use own_file::Unusable;
pub use pairing::{MalformedPairingCode, PairingCode};
pub use tls::{HandshakeFailure, NotProven, Peer};
