//! [`Algorithm`]: the kinds of keys that are made.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::identity_error::IdentityError;

/// The kind of a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA on P-256, which every TLS library loads.
    #[default]
    EcdsaP256,
    /// Ed25519.
    Ed25519,
}

impl Algorithm {
    /// All of them, the default first.
    pub const ALL: [Self; 2] = [Self::EcdsaP256, Self::Ed25519];

    /// The name that is typed and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Ed25519 => "ed25519",
        }
    }

    /// A new key, which serializes as PKCS#8 version 1.
    pub(super) fn generate(self) -> Result<KeyPair, IdentityError> {
        match self {
            Self::EcdsaP256 => {
                KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::not_made)
            }
            Self::Ed25519 => {
                // rcgen would write version 2, which OpenSSL 3.0 refuses.
                let written = Ed25519KeyPair::generate()
                    .and_then(|key| key.to_pkcs8v1())
                    .map_err(IdentityError::not_made)?;
                KeyPair::try_from(&PrivatePkcs8KeyDer::from(written.as_ref()))
                    .map_err(IdentityError::not_made)
            }
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or(UnknownAlgorithm)
    }
}

/// A text that does not name an [`Algorithm`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an algorithm: `ecdsa-p256` or `ed25519`")]
pub struct UnknownAlgorithm;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_read_as_they_are_printed() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        assert_eq!("rsa".parse::<Algorithm>(), Err(UnknownAlgorithm));
    }
}
