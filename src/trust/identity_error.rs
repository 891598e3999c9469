//! [`IdentityError`]: why a key and certificate cannot be used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::own_file::{FileError, Unusable};

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
    /// A file or directory could not be written. Nothing was changed.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory is not used as it is: another user owns it or others can write it,
    /// it is too long (65,536 bytes are enough), no file, or a link that would be replaced.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// Another program is making or renewing an identity in this directory, and was not ready
    /// within 3 seconds.
    #[error("another program is making a key in {}", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// A file has no `CERTIFICATE` section.
    #[error("no certificate in {}{}", path.display(), instead(found.as_deref()))]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// The first section that it has, such as `PUBLIC KEY`.
        found: Option<String>,
    },
    /// A file has no private key section that can be read.
    #[error("no private key in {}{}", path.display(), instead(found.as_deref()))]
    NoKey {
        /// The file.
        path: PathBuf,
        /// The first section that it has, such as `OPENSSH PRIVATE KEY`.
        found: Option<String>,
    },
    /// A private key is under a passphrase. Such keys are not used: nobody may be there to
    /// type it when a server starts.
    #[error("the private key {} is encrypted", path.display())]
    Encrypted {
        /// The key file.
        path: PathBuf,
    },
    /// A file is not in the text form of PEM.
    #[error("the file {} is {encoding}, not PEM", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What it is.
        encoding: Encoding,
    },
    /// The certificate has the public key in a form that few peers would read.
    /// [`Identity::renew`](super::Identity::renew) makes one in the common form, which has
    /// another [`KeyId`](super::KeyId).
    #[error("the certificate {} has its key with {form}, which is not used here", certificate.display())]
    OtherForm {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is odd about it.
        form: &'static str,
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
    /// The new certificate is in place, and could not be synced to the disk.
    #[error("cannot sync {} to the disk", path.display())]
    Unsynced {
        /// The certificate's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key or certificate could not be made; in practice, the system gave
    /// no random bytes.
    #[error("cannot make a key: {what}")]
    NotMade {
        /// What the cryptographic library said.
        what: String,
    },
}

/// How a key or certificate is written that is not PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// The bytes that PEM has in base64.
    Der,
    /// Text with two bytes a letter, as some editors and shells of Windows save it.
    Utf16,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Der => "DER",
            Self::Utf16 => "UTF-16",
        })
    }
}

fn instead(found: Option<&str>) -> String {
    found.map_or(String::new(), |found| format!(": it holds `{found}`"))
}

impl IdentityError {
    /// A file that was to be read.
    pub(super) fn from_read(path: &Path, error: FileError) -> Self {
        match error {
            FileError::Unusable(unusable) => unusable.into(),
            FileError::Io(error) => Self::unreadable(path, error),
        }
    }

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
