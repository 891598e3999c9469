//! [`Identity`], one's own key and certificate: made, written, renewed and
//! read. Whom one trusts is not here.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::KeyId;
use super::certificate::{key_of_certificate, self_signed};
use super::durable;

/// The certificate's file in a home.
pub const CERTIFICATE_FILE: &str = "cert.pem";

/// The private key's file in a home.
pub const KEY_FILE: &str = "key.pem";

/// The longest key or certificate file that is read, in bytes. Ours take
/// under 1 KiB; this keeps a wrong path (a device, a core dump) from filling
/// the memory.
const MAX_PEM: u64 = 64 * 1024;

/// One's own key and certificate, ready to prove to a peer who one is.
///
/// The private key can be used but not be taken out again, and `Debug` shows
/// the public one alone. Clones share it.
#[derive(Clone)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    certified: Arc<CertifiedKey>,
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
        let certificate = self_signed(&key).map_err(not_made)?;
        Self::of_generated(&key, certificate.der().clone())
    }

    /// Makes an identity and writes it to [`CERTIFICATE_FILE`] and
    /// [`KEY_FILE`] (0600) in `dir`, which is made where it is missing
    /// (0700). Both are on the disk when this returns.
    ///
    /// # Errors
    ///
    /// - [`IdentityError::Exists`], [`IdentityError::KeyMissing`],
    ///   [`IdentityError::CertificateMissing`], where both files are there, or
    ///   either: nothing was changed.
    /// - [`IdentityError::Unwritable`]; the files that it made are removed.
    /// - [`IdentityError::NotMade`], where the system has no random bytes.
    pub fn create(dir: &Path, algorithm: Algorithm) -> Result<Self, IdentityError> {
        let (certificate_path, key_path) = paths_in(dir);
        if are_there(&certificate_path, &key_path)? {
            return Err(IdentityError::Exists { path: key_path });
        }
        let key = algorithm.generate()?;
        let certificate = self_signed(&key).map_err(not_made)?;
        let identity = Self::of_generated(&key, certificate.der().clone())?;

        durable::create_private_dir(dir).map_err(|error| unwritable(dir, error))?;
        // The key first: where the machine stops between the two, a key
        // without its certificate can be renewed, the reverse is lost.
        create_new(&key_path, key.serialize_pem().as_bytes(), durable::PRIVATE)?;
        if let Err(error) = create_new(
            &certificate_path,
            certificate.pem().as_bytes(),
            durable::PUBLIC,
        ) {
            // The error that is told is the first one.
            let _ = fs::remove_file(&key_path);
            return Err(error);
        }
        Ok(identity)
    }

    /// Writes a new certificate for the key in `dir`, in the place of the old
    /// one or where it is missing. The key file is not touched, the
    /// [`KeyId`] stays.
    ///
    /// # Errors
    ///
    /// Those of [`Identity::load`] for the key; [`IdentityError::KeyMissing`];
    /// [`IdentityError::Unwritable`]. The old certificate stands as it was.
    pub fn renew(dir: &Path) -> Result<Self, IdentityError> {
        let (certificate_path, key_path) = paths_in(dir);
        match are_there(&certificate_path, &key_path) {
            Ok(_) | Err(IdentityError::CertificateMissing { .. }) => {}
            Err(error) => return Err(error),
        }
        let key = read_key(&key_path)?;
        // Refuses the kinds of key that could be renewed but not be used.
        signing_key(&key, &key_path)?;
        let pair = KeyPair::try_from(&key).map_err(|_| IdentityError::UnsupportedKey {
            path: key_path.clone(),
        })?;
        let certificate = self_signed(&pair).map_err(not_made)?;
        let renewed = Self::assemble(
            certificate.der().clone(),
            &key,
            &certificate_path,
            &key_path,
        )?;
        durable::replace(
            &certificate_path,
            certificate.pem().as_bytes(),
            durable::PUBLIC,
        )
        .map_err(|error| unwritable(&certificate_path, error))?;
        Ok(renewed)
    }

    /// Reads the identity in `dir`; `None`, where neither of its files is
    /// there.
    ///
    /// # Errors
    ///
    /// Those of [`Identity::load`]; [`IdentityError::KeyMissing`] and
    /// [`IdentityError::CertificateMissing`], where there is only the other.
    pub fn load_from(dir: &Path) -> Result<Option<Self>, IdentityError> {
        let (certificate_path, key_path) = paths_in(dir);
        if !are_there(&certificate_path, &key_path)? {
            return Ok(None);
        }
        Self::load(&certificate_path, &key_path).map(Some)
    }

    /// Reads a certificate and its private key from PEM files. The first of
    /// each is taken; a chain behind the certificate means nothing to us.
    ///
    /// The key is ECDSA P-256 (PKCS#8 or SEC1) or Ed25519 (PKCS#8).
    ///
    /// # Errors
    ///
    /// - [`IdentityError::Unreadable`], [`IdentityError::TooLong`],
    ///   [`IdentityError::Malformed`].
    /// - [`IdentityError::NoCertificate`], [`IdentityError::NoKey`].
    /// - [`IdentityError::LooseKey`], before a byte of the key is read.
    /// - [`IdentityError::UnsupportedKey`].
    /// - [`IdentityError::Mismatch`].
    pub fn load(certificate_path: &Path, key_path: &Path) -> Result<Self, IdentityError> {
        let certificate = read_certificate(certificate_path)?;
        let key = read_key(key_path)?;
        Self::assemble(certificate, &key, certificate_path, key_path)
    }

    /// The public key, by which peers pin this identity.
    pub fn key_id(&self) -> KeyId {
        self.key
    }

    /// The certificate, DER-encoded. It is public.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What rustls signs with.
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
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
        let id =
            key_of_certificate(&certificate).map_err(|error| malformed(certificate_path, error))?;
        let certified = CertifiedKey::new(vec![certificate.clone()], signing_key(key, key_path)?);
        certified
            .keys_match()
            .map_err(|_| IdentityError::Mismatch {
                certificate: certificate_path.to_owned(),
                key: key_path.to_owned(),
            })?;
        Ok(Self {
            certificate,
            certified: Arc::new(certified),
            key: id,
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.key).finish()
    }
}

/// The kind of a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
    fn generate(self) -> Result<KeyPair, IdentityError> {
        match self {
            Self::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(not_made),
            Self::Ed25519 => {
                // rcgen would write version 2, which OpenSSL 3.0 refuses.
                let written = Ed25519KeyPair::generate()
                    .and_then(|key| key.to_pkcs8v1())
                    .map_err(not_made)?;
                KeyPair::try_from(&PrivatePkcs8KeyDer::from(written.as_ref())).map_err(not_made)
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

/// A text that names no [`Algorithm`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an algorithm: `ecdsa-p256` or `ed25519`")]
pub struct UnknownAlgorithm;

/// The key of the first certificate in a PEM file, one's own or a peer's.
///
/// # Errors
///
/// [`IdentityError::Unreadable`], [`IdentityError::TooLong`],
/// [`IdentityError::NoCertificate`], [`IdentityError::Malformed`].
pub fn key_of_certificate_file(path: &Path) -> Result<KeyId, IdentityError> {
    let certificate = read_certificate(path)?;
    key_of_certificate(&certificate).map_err(|error| malformed(path, error))
}

/// Why there is no identity to go on with. Where nothing else is said, no
/// file was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A key or certificate is there already. Use it, renew its certificate,
    /// or choose another directory; it is never overwritten.
    #[error("{} exists already", path.display())]
    Exists {
        /// What was found.
        path: PathBuf,
    },
    /// There is a certificate, and not the key that it is for. Without the key
    /// it proves nothing: restore the key, or make another identity.
    #[error("{} is there without its key, {}", certificate.display(), key.display())]
    KeyMissing {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// There is a key, and no certificate for it. [`Identity::renew`] makes one.
    #[error("{} is there without its certificate, {}", key.display(), certificate.display())]
    CertificateMissing {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A file could not be read, most often because it is not there.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is far longer than any key or certificate.
    #[error("{} is too long for a key or a certificate", path.display())]
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
    /// A file has no private key section that can be read; one under a
    /// passphrase cannot.
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
    /// Others than its owner can read or write the key file. It was not read.
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

fn paths_in(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE))
}

/// Whether both files of an identity are there, or neither.
fn are_there(certificate: &Path, key: &Path) -> Result<bool, IdentityError> {
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

/// Whether anything has this name, a dangling link too.
fn is_there(path: &Path) -> Result<bool, IdentityError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unreadable(path, error)),
    }
}

fn create_new(path: &Path, pem: &[u8], mode: u32) -> Result<(), IdentityError> {
    durable::create_new(path, pem, mode).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists {
            path: path.to_owned(),
        },
        _ => unwritable(path, error),
    })
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    let pem = read_bounded(file, path)?;
    rustls_pemfile::certs(&mut pem.as_slice())
        .next()
        .ok_or_else(|| IdentityError::NoCertificate {
            path: path.to_owned(),
        })?
        .map_err(|error| malformed(path, error))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    // Asked of the open file, so that what is checked is what is read.
    let mode = file
        .metadata()
        .map_err(|error| unreadable(path, error))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::LooseKey {
            path: path.to_owned(),
            mode,
        });
    }
    let pem = read_bounded(file, path)?;
    rustls_pemfile::private_key(&mut pem.as_slice())
        .map_err(|_| IdentityError::Malformed {
            path: path.to_owned(),
            // The reader's own words could quote what stands in a key file.
            what: "it is not PEM".to_owned(),
        })?
        .ok_or_else(|| IdentityError::NoKey {
            path: path.to_owned(),
        })
}

fn read_bounded(file: File, path: &Path) -> Result<Vec<u8>, IdentityError> {
    let mut bytes = Vec::new();
    file.take(MAX_PEM + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > MAX_PEM {
        return Err(IdentityError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
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

fn unreadable(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

fn unwritable(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Unwritable {
        path: path.to_owned(),
        source,
    }
}

fn malformed(path: &Path, error: impl fmt::Display) -> IdentityError {
    IdentityError::Malformed {
        path: path.to_owned(),
        what: error.to_string(),
    }
}

fn not_made(error: impl fmt::Display) -> IdentityError {
    IdentityError::NotMade {
        what: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tempfile::{TempDir, tempdir};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn openssl(arguments: &[&str], dir: &Path) -> String {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(dir)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}{complained}");
        said
    }

    /// A home with an identity of the given kind.
    fn home(algorithm: Algorithm) -> (TempDir, Identity) {
        let dir = tempdir().unwrap();
        let identity = Identity::create(dir.path(), algorithm).unwrap();
        (dir, identity)
    }

    #[test]
    fn what_is_created_is_loaded() {
        for algorithm in Algorithm::ALL {
            let (dir, created) = home(algorithm);
            let loaded = Identity::load_from(dir.path()).unwrap().unwrap();
            assert_eq!(loaded.key_id(), created.key_id());
            assert_eq!(loaded.certificate(), created.certificate());
            let certificate = dir.path().join(CERTIFICATE_FILE);
            assert_eq!(
                key_of_certificate_file(&certificate).unwrap(),
                created.key_id()
            );
        }
    }

    #[test]
    fn a_home_without_an_identity_is_no_error() {
        let dir = tempdir().unwrap();
        assert!(Identity::load_from(dir.path()).unwrap().is_none());
        assert!(
            Identity::load_from(&dir.path().join("absent"))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn half_an_identity_is_an_error_and_not_a_reason_to_make_one() {
        for lost in [CERTIFICATE_FILE, KEY_FILE] {
            let (dir, _) = home(Algorithm::default());
            fs::remove_file(dir.path().join(lost)).unwrap();
            for tried in [
                Identity::load_from(dir.path()).map(|_| ()),
                Identity::create(dir.path(), Algorithm::default()).map(|_| ()),
            ] {
                match tried {
                    Err(IdentityError::CertificateMissing { .. }) => {
                        assert_eq!(lost, CERTIFICATE_FILE);
                    }
                    Err(IdentityError::KeyMissing { .. }) => assert_eq!(lost, KEY_FILE),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn the_key_is_its_owners_alone() {
        let dir = tempdir().unwrap();
        let home = dir.path().join("above/home");
        Identity::create(&home, Algorithm::default()).unwrap();
        assert_eq!(mode(&home), 0o700);
        assert_eq!(mode(&home.join(KEY_FILE)), 0o600);
    }

    #[test]
    fn nothing_that_exists_is_overwritten_and_nothing_is_left_beside_it() {
        let both = [CERTIFICATE_FILE, KEY_FILE];
        for there in [&both[..1], &both[1..], &both] {
            let dir = tempdir().unwrap();
            for file in there {
                fs::write(dir.path().join(file), "mine").unwrap();
            }
            let refused = Identity::create(dir.path(), Algorithm::default());
            match (refused, there) {
                (Err(IdentityError::Exists { path }), [_, _]) => {
                    assert_eq!(path, dir.path().join(KEY_FILE));
                }
                (Err(IdentityError::KeyMissing { .. }), [CERTIFICATE_FILE])
                | (Err(IdentityError::CertificateMissing { .. }), [KEY_FILE]) => {}
                other => panic!("{other:?}"),
            }
            for file in there {
                let path = dir.path().join(file);
                assert_eq!(fs::read_to_string(path).unwrap(), "mine");
            }
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), there.len());
        }
    }

    #[test]
    fn of_two_that_create_at_once_one_is_refused_and_the_home_is_whole() {
        let dir = tempdir().unwrap();
        let made: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Identity::create(dir.path(), Algorithm::default())))
                .collect();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap())
                .collect()
        });
        let winners: Vec<_> = made.iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        let loaded = Identity::load_from(dir.path()).unwrap().unwrap();
        assert_eq!(loaded.key_id(), winners[0].key_id());
    }

    #[test]
    fn a_renewed_certificate_is_another_one_for_the_same_key() {
        for algorithm in Algorithm::ALL {
            let (dir, created) = home(algorithm);
            let key_before = fs::read(dir.path().join(KEY_FILE)).unwrap();
            Identity::renew(dir.path()).unwrap();
            let loaded = Identity::load_from(dir.path()).unwrap().unwrap();
            assert_eq!(loaded.key_id(), created.key_id());
            assert_ne!(loaded.certificate(), created.certificate());
            assert_eq!(fs::read(dir.path().join(KEY_FILE)).unwrap(), key_before);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn a_lost_certificate_is_made_again_by_renewing() {
        let (dir, created) = home(Algorithm::default());
        fs::remove_file(dir.path().join(CERTIFICATE_FILE)).unwrap();
        assert_eq!(
            Identity::renew(dir.path()).unwrap().key_id(),
            created.key_id()
        );
        assert!(Identity::load_from(dir.path()).unwrap().is_some());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (dir, _) = home(Algorithm::default());
        let path = dir.path().join(KEY_FILE);
        for loose in [0o640, 0o604, 0o620, 0o601] {
            chmod(&path, loose);
            for refused in [
                Identity::load_from(dir.path()).err(),
                Identity::renew(dir.path()).err(),
            ] {
                match refused {
                    Some(IdentityError::LooseKey { path: named, mode }) => {
                        assert_eq!((named, mode), (path.clone(), loose));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        chmod(&path, 0o400);
        assert!(Identity::load_from(dir.path()).is_ok());
    }

    #[test]
    fn a_certificate_for_another_key_is_a_mismatch() {
        let ((alice, _), (bob, _)) = (home(Algorithm::default()), home(Algorithm::default()));
        let refused = Identity::load(
            &alice.path().join(CERTIFICATE_FILE),
            &bob.path().join(KEY_FILE),
        );
        assert!(matches!(refused, Err(IdentityError::Mismatch { .. })));
    }

    #[test]
    fn a_file_without_what_is_looked_for_is_an_error() {
        let (dir, _) = home(Algorithm::default());
        let (certificate, key) = paths_in(dir.path());
        chmod(&certificate, 0o600);
        assert!(matches!(
            Identity::load(&key, &key),
            Err(IdentityError::NoCertificate { .. })
        ));
        assert!(matches!(
            Identity::load(&certificate, &certificate),
            Err(IdentityError::NoKey { .. })
        ));
        let empty = dir.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        assert!(matches!(
            key_of_certificate_file(&empty),
            Err(IdentityError::NoCertificate { .. })
        ));
    }

    #[test]
    fn of_a_chain_the_first_certificate_is_taken() {
        let ((alice, identity), (bob, _)) =
            (home(Algorithm::default()), home(Algorithm::default()));
        let path = alice.path().join(CERTIFICATE_FILE);
        let mut chain = fs::read(&path).unwrap();
        chain.extend(fs::read(bob.path().join(CERTIFICATE_FILE)).unwrap());
        fs::write(&path, chain).unwrap();
        assert_eq!(key_of_certificate_file(&path).unwrap(), identity.key_id());
        assert!(Identity::load_from(alice.path()).is_ok());
    }

    #[test]
    fn damaged_and_endless_files_are_errors() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("file.pem");
        for damaged in [
            "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            fs::write(&path, damaged).unwrap();
            let refused = key_of_certificate_file(&path);
            assert!(
                matches!(refused, Err(IdentityError::Malformed { .. })),
                "{refused:?}"
            );
        }
        assert!(matches!(
            key_of_certificate_file(Path::new("/dev/zero")),
            Err(IdentityError::TooLong { .. })
        ));
    }

    #[test]
    fn a_damaged_key_is_refused_without_being_quoted() {
        let (dir, _) = home(Algorithm::default());
        let path = dir.path().join(KEY_FILE);
        for damaged in [
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END secret-----\n",
            "-----BEGIN PRIVATE KEY-----\nsecret%\n-----END PRIVATE KEY-----\n",
        ] {
            fs::write(&path, damaged).unwrap();
            let refused = Identity::load_from(dir.path()).unwrap_err();
            let said = format!("{refused} {refused:?}");
            assert!(
                !said.contains("secret") && !said.contains("c2Vjc"),
                "{said}"
            );
        }
    }

    #[test]
    fn keys_that_openssl_writes_are_loaded() {
        let dir = tempdir().unwrap();
        for (kind, options) in [
            (
                "ecdsa-p256",
                &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..],
            ),
            ("ed25519", &["-algorithm", "ED25519"]),
        ] {
            let genpkey = [&["genpkey", "-out", "key.pem"][..], options].concat();
            openssl(&genpkey, dir.path());
            let certify = [
                "req", "-x509", "-new", "-key", "key.pem", "-out", "cert.pem", "-subj",
            ];
            openssl(&[&certify[..], &["/CN=bob"]].concat(), dir.path());
            chmod(&dir.path().join(KEY_FILE), 0o600);
            let pkcs8 = Identity::load_from(dir.path()).unwrap().unwrap();
            if kind == "ecdsa-p256" {
                openssl(&["ec", "-in", "key.pem", "-out", "sec1.pem"], dir.path());
                let path = dir.path().join("sec1.pem");
                chmod(&path, 0o600);
                assert!(
                    fs::read_to_string(&path)
                        .unwrap()
                        .contains("BEGIN EC PRIVATE KEY")
                );
                let sec1 = Identity::load(&dir.path().join(CERTIFICATE_FILE), &path).unwrap();
                assert_eq!(sec1.key_id(), pkcs8.key_id());
                fs::rename(&path, dir.path().join(KEY_FILE)).unwrap();
            }
            assert_eq!(
                Identity::renew(dir.path()).unwrap().key_id(),
                pkcs8.key_id()
            );
        }
    }

    #[test]
    fn an_ed25519_key_in_the_second_version_of_pkcs8_is_loaded() {
        let dir = tempdir().unwrap();
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let (certificate, key) = paths_in(dir.path());
        fs::write(&certificate, self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        chmod(&key, 0o600);
        Identity::load(&certificate, &key).unwrap();
    }

    #[test]
    fn other_kinds_of_keys_are_refused() {
        let dir = tempdir().unwrap();
        for options in [
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"][..],
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        ] {
            openssl(
                &[&["genpkey", "-out", "key.pem"][..], options].concat(),
                dir.path(),
            );
            let certify = [
                "req", "-x509", "-new", "-key", "key.pem", "-out", "cert.pem", "-subj",
            ];
            openssl(&[&certify[..], &["/CN=bob"]].concat(), dir.path());
            chmod(&dir.path().join(KEY_FILE), 0o600);
            for refused in [
                Identity::load_from(dir.path()).err(),
                Identity::renew(dir.path()).err(),
            ] {
                assert!(
                    matches!(refused, Some(IdentityError::UnsupportedKey { .. })),
                    "{refused:?}"
                );
            }
        }
    }

    #[test]
    fn openssl_reads_the_keys_and_hashes_them_to_the_same_identity() {
        for algorithm in Algorithm::ALL {
            let (dir, identity) = home(algorithm);
            openssl(&["pkey", "-in", KEY_FILE, "-noout", "-check"], dir.path());
            let public = [
                "pkey", "-in", KEY_FILE, "-pubout", "-outform", "DER", "-out", "spki",
            ];
            openssl(&public, dir.path());
            let spki = fs::read(dir.path().join("spki")).unwrap();
            assert_eq!(KeyId::of_spki(&spki), identity.key_id());
        }
    }

    #[test]
    fn certificates_have_the_promised_shape_and_say_nothing_of_their_owner() {
        for algorithm in Algorithm::ALL {
            let (dir, _) = home(algorithm);
            let text = openssl(
                &[
                    "x509",
                    "-in",
                    CERTIFICATE_FILE,
                    "-noout",
                    "-text",
                    "-nameopt",
                    "rfc2253",
                    "-nameopt",
                    "rfc2253",
                ],
                dir.path(),
            );
            for expected in [
                "Version: 3",
                "Subject: CN=turnchat",
                "Issuer: CN=turnchat",
                "Not Before: Jan  1 00:00:00 1975 GMT",
                "Not After : Dec 31 23:59:59 9999 GMT",
                "Digital Signature\n",
                "TLS Web Server Authentication, TLS Web Client Authentication\n",
            ] {
                assert!(text.contains(expected), "{expected}: {text}");
            }
            for absent in ["Alternative Name", "CA:TRUE", "Certificate Sign"] {
                assert!(!text.contains(absent), "{absent}: {text}");
            }
            // As a peer on OpenSSL sees it that trusts this certificate alone.
            for purpose in ["sslserver", "sslclient"] {
                let verify = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile"];
                let files = [CERTIFICATE_FILE, CERTIFICATE_FILE];
                openssl(&[&verify[..], &files].concat(), dir.path());
            }
        }
    }

    #[test]
    fn keys_are_written_as_the_first_version_of_pkcs8() {
        for algorithm in Algorithm::ALL {
            let (dir, _) = home(algorithm);
            let parsed = openssl(&["asn1parse", "-in", KEY_FILE], dir.path());
            let version = parsed.lines().nth(1).unwrap();
            assert!(
                version.contains("INTEGER") && version.ends_with(":00"),
                "{parsed}"
            );
        }
    }

    #[test]
    fn debug_shows_the_public_key_alone() {
        let identity = Identity::generate(Algorithm::default()).unwrap();
        let shown = format!("{identity:?}");
        assert_eq!(shown, format!("Identity(KeyId({}))", identity.key_id()));
    }

    #[test]
    fn algorithms_are_read_as_they_are_printed() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        assert_eq!("rsa".parse::<Algorithm>(), Err(UnknownAlgorithm));
    }
}
