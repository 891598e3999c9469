//! [`IdentityError`]: why a key and certificate cannot be used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why an identity could not be made, renewed or read. Unless a variant says otherwise, no
/// file was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A key or certificate exists already. Use it, renew its certificate, or choose another
    /// directory; it is never overwritten.
    #[error("the file {} exists already", path.display())]
    Exists {
        /// What was found.
        path: PathBuf,
    },
    /// There is a certificate without its key, which proves nothing: restore the key, or make
    /// another identity.
    #[error("the certificate {} is there without its key, {}", certificate.display(), key.display())]
    KeyMissing {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// There is a key, and no certificate for it. [`Identity::renew`](super::Identity::renew) makes one.
    #[error("the key {} is there without its certificate, {}", key.display(), certificate.display())]
    CertificateMissing {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A file could not be read, most often because it is not there.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory could not be written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file has more than 65,536 bytes; a key or a certificate has about 1,000.
    #[error("the file {} is too long for a key or a certificate", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file has no `CERTIFICATE` section.
    #[error("no certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file has no private key section that can be read. Keys under a passphrase are not
    /// supported.
    #[error("no private key in {}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A file is not PEM, or its certificate is not X.509 version 3.
    #[error("cannot understand {}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; it may quote the file.
        what: String,
    },
    /// Users other than its owner have some permission on the key file (mode & 0o077). It was
    /// not read.
    #[error("the private key {} is open to others (mode {mode:04o})", path.display())]
    LooseKey {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A private key is damaged, or neither ECDSA P-256 nor Ed25519.
    #[error("the private key {} is damaged, or neither ECDSA P-256 nor Ed25519", path.display())]
    UnsupportedKey {
        /// The key file.
        path: PathBuf,
    },
    /// The certificate is for another key.
    #[error("the certificate {} is not for the private key {}", certificate.display(), key.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A key or certificate could not be made; in practice, the system gave
    /// no random bytes.
    #[error("cannot make a key: {what}")]
    NotMade {
        /// What the cryptographic library said.
        what: String,
    },
}

impl IdentityError {
    pub(super) fn unreadable(path: &Path, source: io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn unwritable(path: &Path, source: io::Error) -> Self {
        Self::Unwritable {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn malformed(path: &Path, error: impl fmt::Display) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            what: error.to_string(),
        }
    }

    pub(super) fn not_made(error: impl fmt::Display) -> Self {
        Self::NotMade {
            what: error.to_string(),
        }
    }
}
