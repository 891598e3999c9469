//! [`Identity`], our own key and certificate: made, written, renewed and read. Whom we trust
//! is not decided here.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rcgen::{Certificate, KeyPair};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::{key_of_certificate, odd_form, self_signed};
use super::durable::ReplaceError;
use super::identity_error::IdentityError;
use super::lock::{LockError, PATIENCE, lock_within};
use super::own_file::{Unusable, or_here};
use super::{Algorithm, KeyId, durable, own_file, pem};

/// The certificate's file in a home.
pub(crate) const CERTIFICATE_FILE: &str = "cert.pem";

/// The private key's file in a home.
pub(crate) const KEY_FILE: &str = "key.pem";

/// Our own key and certificate, ready to prove to a peer who we are.
///
/// The private key can be used but not read out; `Debug` shows only the public key. Clones
/// share it.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<RwLock<Arc<CertifiedKey>>>,
    key: KeyId,
}

impl Identity {
    /// Makes an identity in memory; no file is touched.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotMade`], where the system has no random bytes.
    pub fn generate(algorithm: Algorithm) -> Result<Self, IdentityError> {
        let key = algorithm.generate()?;
        let certificate = self_signed(&key).map_err(IdentityError::not_made)?;
        Self::of_generated(&key, certificate.der().clone())
    }

    /// Makes an identity and writes it to `cert.pem` and `key.pem` (PKCS#8, mode 0600, not
    /// encrypted) in `dir`, which is made where it is missing (0700). Both are on the disk when
    /// this returns.
    ///
    /// # Errors
    ///
    /// - [`IdentityError::Exists`], [`IdentityError::KeyMissing`],
    ///   [`IdentityError::CertificateMissing`], if either file or both exist: nothing was
    ///   changed.
    /// - [`IdentityError::Unreadable`], if `dir` cannot be looked into: nothing was changed.
    /// - [`IdentityError::Unusable`], if others own or can write `dir`, or its file system keeps
    ///   no permissions; [`IdentityError::Busy`].
    /// - [`IdentityError::Unwritable`]; the files that it made are removed.
    /// - [`IdentityError::NotMade`], where the system has no random bytes.
    pub fn create(dir: &Path, algorithm: Algorithm) -> Result<Self, IdentityError> {
        let (certificate_path, key_path) = paths_in(dir);
        let exists = || IdentityError::Exists {
            path: key_path.clone(),
        };
        if are_there(dir)? {
            return Err(exists());
        }
        durable::create_private_dir(dir).map_err(|error| IdentityError::unwritable(dir, error))?;
        own_file::check_directory(dir)?;
        let _lock = lock(dir, PATIENCE)?;
        if look_for(&certificate_path, &key_path)? {
            return Err(exists());
        }
        // Before a key is made, and not at the next start.
        let keeps_modes = durable::keeps_modes(dir);
        if !keeps_modes.map_err(|error| IdentityError::unwritable(dir, error))? {
            return Err(IdentityError::Unusable(Unusable::NoModes {
                path: dir.to_owned(),
            }));
        }
        let key = algorithm.generate()?;
        let certificate = self_signed(&key).map_err(IdentityError::not_made)?;
        let identity = Self::of_generated(&key, certificate.der().clone())?;

        // The key first: if the machine stops between the two, a key can get a new
        // certificate, but a certificate without its key is useless.
        create_new(&key_path, key.serialize_pem().as_bytes())?;
        // Whole at once: whoever finds both reads them.
        if let Err(error) = replace(&certificate_path, &certificate) {
            // The first error is the one to report.
            let _ = fs::remove_file(&certificate_path);
            let _ = fs::remove_file(&key_path);
            return Err(match error {
                IdentityError::Unsynced { path, source } => {
                    IdentityError::Unwritable { path, source }
                }
                error => error,
            });
        }
        Ok(identity)
    }

    /// Writes a new certificate for the key in `dir`, replacing an old one if there is one.
    /// The key file is not touched, and the [`KeyId`] stays.
    ///
    /// # Errors
    ///
    /// Those of [`Identity::load`] for the key; [`IdentityError::KeyMissing`];
    /// [`IdentityError::NotMade`]; [`IdentityError::Unusable`], if the certificate is a link;
    /// [`IdentityError::Busy`]; [`IdentityError::Unwritable`]. The old certificate is unchanged.
    /// After [`IdentityError::Unsynced`] the new one is in place.
    pub fn renew(dir: &Path) -> Result<Self, IdentityError> {
        let (certificate_path, key_path) = paths_in(dir);
        own_file::check_directory(dir)?;
        let _lock = lock(dir, PATIENCE)?;
        match look_for(&certificate_path, &key_path) {
            Ok(_) | Err(IdentityError::CertificateMissing { .. }) => {}
            Err(error) => return Err(error),
        }
        let key = pem::read_key(&key_path)?;
        // Refuses the kinds of key that could be renewed but not be used.
        signing_key(&key, &key_path)?;
        let pair = KeyPair::try_from(&key).map_err(|_| IdentityError::UnsupportedKey {
            path: key_path.clone(),
        })?;
        let certificate = self_signed(&pair).map_err(IdentityError::not_made)?;
        let renewed = Self::assemble(
            certificate.der().clone(),
            &key,
            &certificate_path,
            &key_path,
        )?;
        replace(&certificate_path, &certificate)?;
        Ok(renewed)
    }

    /// Reads the identity in `dir`; `None` if neither file exists.
    ///
    /// # Errors
    ///
    /// Those of [`Identity::load`], [`IdentityError::Unusable`] also for `dir`;
    /// [`IdentityError::KeyMissing`] and [`IdentityError::CertificateMissing`], if only the
    /// other file exists.
    pub fn load_from(dir: &Path) -> Result<Option<Self>, IdentityError> {
        if !are_there(dir)? {
            return Ok(None);
        }
        let (certificate_path, key_path) = paths_in(dir);
        Self::load(&certificate_path, &key_path).map(Some)
    }

    /// Reads the identity in `dir`, or makes one there if there is none. Two programs that do
    /// so at once have the same one.
    ///
    /// ```no_run
    /// use turnchat::{Algorithm, Identity};
    ///
    /// let home = std::path::Path::new("home");
    /// let identity = Identity::load_or_create(home, Algorithm::default())?;
    /// # Ok::<(), turnchat::IdentityError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Identity::load_from`] and [`Identity::create`].
    pub fn load_or_create(dir: &Path, algorithm: Algorithm) -> Result<Self, IdentityError> {
        if let Some(identity) = Self::load_from(dir)? {
            return Ok(identity);
        }
        match Self::create(dir, algorithm) {
            // Another program has just made it.
            Err(IdentityError::Exists { path }) => {
                Self::load_from(dir)?.ok_or(IdentityError::Exists { path })
            }
            made => made,
        }
    }

    /// Reads a certificate and its private key from PEM files. The first of each is used; a
    /// chain after the certificate is ignored.
    ///
    /// The key is ECDSA P-256 (PKCS#8 or SEC1) or Ed25519 (PKCS#8).
    ///
    /// # Errors
    ///
    /// - [`IdentityError::Unreadable`], [`IdentityError::Unusable`].
    /// - [`IdentityError::NoCertificate`], [`IdentityError::NoKey`],
    ///   [`IdentityError::NotPem`], [`IdentityError::Malformed`].
    /// - [`IdentityError::LooseKey`], before a byte of the key is read.
    /// - [`IdentityError::Encrypted`], [`IdentityError::UnsupportedKey`].
    /// - [`IdentityError::Mismatch`], [`IdentityError::OtherForm`].
    pub fn load(certificate_path: &Path, key_path: &Path) -> Result<Self, IdentityError> {
        let certificate = pem::read_certificate(certificate_path)?;
        let key = pem::read_key(key_path)?;
        Self::assemble(certificate, &key, certificate_path, key_path)
    }

    /// The public key, by which peers pin this identity.
    pub fn key_id(&self) -> KeyId {
        self.key
    }

    /// Shows the certificate of `newer` from now on: in every handshake of this identity and of
    /// its clones, also of a server that runs. `false`, and nothing has changed, if that is of
    /// another key: peers know this one.
    ///
    /// ```
    /// use turnchat::{Algorithm, Identity};
    ///
    /// let identity = Identity::generate(Algorithm::default())?;
    /// let other = Identity::generate(Algorithm::default())?;
    /// assert!(!identity.take_certificate(&other));
    /// # Ok::<(), turnchat::IdentityError>(())
    /// ```
    #[must_use]
    pub fn take_certificate(&self, newer: &Self) -> bool {
        let is_same = newer.key == self.key;
        if is_same {
            let newer = newer.certified();
            *self
                .certified
                .write()
                .unwrap_or_else(PoisonError::into_inner) = newer;
        }
        is_same
    }

    /// What rustls signs with.
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        let certified = self.certified.read();
        Arc::clone(&certified.unwrap_or_else(PoisonError::into_inner))
    }

    /// An identity that holds no file names, so that its errors need none.
    fn of_generated(
        key: &KeyPair,
        certificate: CertificateDer<'static>,
    ) -> Result<Self, IdentityError> {
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialized_der()));
        let memory = Path::new("the generated key");
        Self::assemble(certificate, &der, memory, memory)
    }

    fn assemble(
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'_>,
        certificate_path: &Path,
        key_path: &Path,
    ) -> Result<Self, IdentityError> {
        let id = key_of_certificate(&certificate)
            .map_err(|error| IdentityError::malformed(certificate_path, error))?;
        let certified = CertifiedKey::new(vec![certificate], signing_key(key, key_path)?);
        certified.keys_match().map_err(|_| {
            let (certificate, key) = (certificate_path.to_owned(), key_path.to_owned());
            match other_form(&certified) {
                Some(form) => IdentityError::OtherForm {
                    certificate,
                    key,
                    form,
                },
                None => IdentityError::Mismatch { certificate, key },
            }
        })?;
        Ok(Self {
            certified: Arc::new(RwLock::new(Arc::new(certified))),
            key: id,
        })
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.key).finish()
    }
}

/// The key of the first certificate in a PEM file, ours or a peer's.
///
/// # Errors
///
/// [`IdentityError::Unreadable`], [`IdentityError::Unusable`],
/// [`IdentityError::NoCertificate`], [`IdentityError::NotPem`], [`IdentityError::Malformed`].
pub fn key_of_certificate_file(path: &Path) -> Result<KeyId, IdentityError> {
    let certificate = pem::read_certificate(path)?;
    key_of_certificate(&certificate).map_err(|error| IdentityError::malformed(path, error))
}

fn paths_in(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE))
}

/// Whether both files of an identity are there, or neither. Whoever is just making them is
/// waited for.
fn are_there(dir: &Path) -> Result<bool, IdentityError> {
    let (certificate, key) = paths_in(dir);
    own_file::check_directory(dir)?;
    match look_for(&certificate, &key) {
        Err(IdentityError::KeyMissing { .. } | IdentityError::CertificateMissing { .. }) => {
            let _lock = lock(dir, PATIENCE)?;
            look_for(&certificate, &key)
        }
        found => found,
    }
}

/// The same as they are just now.
fn look_for(certificate: &Path, key: &Path) -> Result<bool, IdentityError> {
    match (is_there(certificate)?, is_there(key)?) {
        (true, true) => Ok(true),
        (false, false) => Ok(false),
        (true, false) => Err(IdentityError::KeyMissing {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        }),
        (false, true) => Err(IdentityError::CertificateMissing {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        }),
    }
}

/// Keeps others from making or renewing an identity in this directory, until it is dropped.
/// `None` where there is no such directory, or where it cannot be locked: there only one of
/// two that make one at once succeeds.
fn lock(dir: &Path, patience: Duration) -> Result<Option<File>, IdentityError> {
    let file = match File::open(or_here(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| IdentityError::unreadable(dir, error))?,
    };
    match lock_within(&file, patience) {
        Ok(()) => Ok(Some(file)),
        Err(LockError::Io(error)) => {
            tracing::debug!(dir = %dir.display(), %error, "the directory is not locked");
            Ok(None)
        }
        Err(LockError::Held) => Err(IdentityError::Busy {
            path: dir.to_owned(),
        }),
    }
}

/// Whether anything has this name, a dangling link too.
fn is_there(path: &Path) -> Result<bool, IdentityError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(IdentityError::unreadable(path, error)),
    }
}

fn create_new(path: &Path, pem: &[u8]) -> Result<(), IdentityError> {
    durable::create_new(path, pem, durable::PRIVATE).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists {
            path: path.to_owned(),
        },
        _ => IdentityError::unwritable(path, error),
    })
}

fn replace(path: &Path, certificate: &Certificate) -> Result<(), IdentityError> {
    let replaced = durable::replace(path, certificate.pem().as_bytes(), durable::PUBLIC);
    replaced.map_err(|error| match error {
        ReplaceError::Unusable(unusable) => unusable.into(),
        ReplaceError::Io(source) => IdentityError::unwritable(path, source),
        ReplaceError::Unsynced(source) => IdentityError::Unsynced {
            path: path.to_owned(),
            source,
        },
    })
}

/// What is odd about a certificate that has this very key.
fn other_form(certified: &CertifiedKey) -> Option<&'static str> {
    odd_form(certified.cert.first()?, &certified.key.public_key()?)
}

fn signing_key(
    key: &PrivateKeyDer<'_>,
    path: &Path,
) -> Result<Arc<dyn rustls::sign::SigningKey>, IdentityError> {
    sign::any_supported_type(key)
        .ok()
        // Other kinds would do for us, but not for every peer.
        .filter(|key| {
            key.choose_scheme(&[
                SignatureScheme::ECDSA_NISTP256_SHA256,
                SignatureScheme::ED25519,
            ])
            .is_some()
        })
        .ok_or_else(|| IdentityError::UnsupportedKey {
            path: path.to_owned(),
        })
}

#[cfg(test)]
mod tests;
