//! Floor 2: who a peer is. Keys, certificates, the address book and the TLS
//! configurations that prove them. No frames, no turns.

pub mod address;
pub mod algorithm;
pub mod certificate;
pub(crate) mod durable;
pub mod identity;
mod identity_error;
pub mod key_id;
pub mod peers;
mod pem;
pub mod petname;
pub mod tls;
pub mod verdict;
pub mod verifier;

pub use address::Address;
pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use identity::{Identity, key_of_certificate_file};
pub use identity_error::IdentityError;
pub use key_id::KeyId;
pub use peers::{AddressBook, BookError, Entry, Refusal};
pub use petname::Petname;
pub use tls::{HandshakeFailure, NotProven, Peer};
pub use verdict::{Expected, KeyVerdict, Offer, ServerTrust, Target, TargetError};
