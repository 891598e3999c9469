//! The PEM files of keys and certificates, read.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::identity_error::IdentityError;

/// The longest key or certificate file that is read, in bytes. Ours take
/// under 1 KiB; this keeps a wrong path (a device, a core dump) from filling
/// the memory.
const MAX_PEM: u64 = 64 * 1024;

pub(super) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    let file = File::open(path).map_err(|error| IdentityError::unreadable(path, error))?;
    let pem = read_bounded(file, path)?;
    rustls_pemfile::certs(&mut pem.as_slice())
        .next()
        .ok_or_else(|| IdentityError::NoCertificate {
            path: path.to_owned(),
        })?
        .map_err(|error| IdentityError::malformed(path, error))
}

pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let file = File::open(path).map_err(|error| IdentityError::unreadable(path, error))?;
    // Checked on the open file: a path could point elsewhere by the time it is read.
    let mode = file
        .metadata()
        .map_err(|error| IdentityError::unreadable(path, error))?
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
            // The PEM reader's own message could quote the key file.
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
        .map_err(|error| IdentityError::unreadable(path, error))?;
    if bytes.len() as u64 > MAX_PEM {
        return Err(IdentityError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}
