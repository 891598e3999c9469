//! The PEM files of keys and certificates, read: all forms that others write them in, or named
//! where we do not use them.

use std::borrow::Cow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::identity_error::{Encoding, IdentityError};
use super::own_file::{self, Whose};

/// The longest key or certificate file that is read, in bytes. Ours take under 1 KiB; this
/// keeps a wrong path (a core dump) from filling the memory.
const MAX_PEM: u64 = 64 * 1024;

pub(super) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    let bytes = own_file::read(path, Whose::Anybodys, MAX_PEM)
        .map_err(|error| IdentityError::from_read(path, error))?;
    let pem = text(&bytes, path)?;
    // openssl's own: the certificate, and after it what it is trusted for. That is not asked.
    let plain = untrusted(pem);
    rustls_pemfile::certs(&mut &*plain)
        .next()
        .ok_or_else(|| IdentityError::NoCertificate {
            path: path.to_owned(),
            found: first_label(pem),
        })?
        .map(|der| match plain {
            Cow::Borrowed(_) => der,
            Cow::Owned(_) => first_value(&der).to_vec().into(),
        })
        .map_err(|_| not_pem(path))
}

pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let bytes = read_closed(path, MAX_PEM)?;
    let pem = text(&bytes, path)?;
    let encrypted = || IdentityError::Encrypted {
        path: path.to_owned(),
    };
    // The older form of encryption has headers, which the PEM reader does not know.
    if lines(pem).any(|line| line.starts_with(b"Proc-Type:") && line.ends_with(b",ENCRYPTED")) {
        return Err(encrypted());
    }
    let key = rustls_pemfile::private_key(&mut &*pem).map_err(|_| not_pem(path))?;
    match key {
        Some(PrivateKeyDer::Pkcs8(key)) => Ok(without_public_key(key)),
        Some(key) => Ok(key),
        None if labels(pem).any(|label| label == "ENCRYPTED PRIVATE KEY") => Err(encrypted()),
        None => Err(IdentityError::NoKey {
            path: path.to_owned(),
            found: first_label(pem),
        }),
    }
}

/// The bytes, so many at most, of a file that nobody else may read.
pub(crate) fn read_closed(path: &Path, most: u64) -> Result<Vec<u8>, IdentityError> {
    let unreadable = |error| IdentityError::from_read(path, error);
    let (file, found) = own_file::open(path, Whose::OwnOfAnyMode).map_err(unreadable)?;
    // Checked on the open file: a path could point elsewhere by the time it is read.
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::LooseKey {
            path: path.to_owned(),
            mode,
        });
    }
    own_file::read_open(file, path, most).map_err(unreadable)
}

/// The certificates of a text, up to the first that is none.
#[cfg(feature = "etcd")]
pub(crate) fn certificates(mut pem: &[u8]) -> Vec<CertificateDer<'static>> {
    let all = rustls_pemfile::certs(&mut pem);
    all.map_while(Result::ok).collect()
}

/// The private key of a text, of any kind.
#[cfg(feature = "etcd")]
pub(crate) fn private_key(mut pem: &[u8]) -> Option<PrivateKeyDer<'static>> {
    rustls_pemfile::private_key(&mut pem).ok().flatten()
}

/// The PEM reader's own message could quote a key, also one where a certificate is expected.
fn not_pem(path: &Path) -> IdentityError {
    IdentityError::malformed(path, "it is not PEM")
}

/// The text of a PEM file, without a byte order mark.
fn text<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a [u8], IdentityError> {
    let other = |encoding| IdentityError::NotPem {
        path: path.to_owned(),
        encoding,
    };
    match bytes {
        [0xef, 0xbb, 0xbf, text @ ..] => Ok(text),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(other(Encoding::Utf16)),
        // A PEM file may begin with any text: this is one sequence, and nothing after it.
        [0x30, ..] if first_value(bytes).len() == bytes.len() && labels(bytes).next().is_none() => {
            Err(other(Encoding::Der))
        }
        text => Ok(text),
    }
}

fn lines(pem: &[u8]) -> impl Iterator<Item = &[u8]> {
    pem.split(|byte| matches!(byte, b'\n' | b'\r'))
        .map(<[u8]>::trim_ascii)
}

fn labels(pem: &[u8]) -> impl Iterator<Item = &str> {
    lines(pem).filter_map(|line| {
        let label = line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
        str::from_utf8(label).ok()
    })
}

/// The longest word of a label that is told; CERTIFICATE has 11 letters.
const LONGEST_WORD: usize = 16;

fn first_label(pem: &[u8]) -> Option<String> {
    // No small letters, and no long words: they could be a key's.
    let is_plain = |label: &&str| {
        label.split(' ').all(|word| {
            let is_capital = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
            word.len() <= LONGEST_WORD && word.bytes().all(is_capital)
        })
    };
    labels(pem).find(is_plain).map(str::to_owned)
}

/// The same with the certificates of openssl's own form under the common label.
fn untrusted(pem: &[u8]) -> Cow<'_, [u8]> {
    const OWN: &str = "TRUSTED CERTIFICATE";
    match labels(pem).find(|label| label.ends_with("CERTIFICATE")) {
        Some(OWN) => {
            let text = String::from_utf8_lossy(pem);
            Cow::Owned(text.replace(OWN, "CERTIFICATE").into_bytes())
        }
        _ => Cow::Borrowed(pem),
    }
}

/// The first DER value of these, or all where they are none.
fn first_value(der: &[u8]) -> &[u8] {
    let length = match der {
        [_, length @ ..=0x7f, ..] => 2 + usize::from(*length),
        [_, 0x81, length, ..] => 3 + usize::from(*length),
        [_, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => der.len(),
    };
    der.get(..length).unwrap_or(der)
}

/// How a PKCS#8 file of Ed25519 begins that has the public key too, up to the private one: the
/// lengths of all, version 2, the algorithm.
const WITH_PUBLIC: [&[u8]; 2] = [
    // As older versions of ring and rcgen wrote it: the public key in a wrapper too many.
    b"\x30\x53\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20",
    // As RFC 8410 has it.
    b"\x30\x51\x02\x01\x01\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20",
];
/// How it begins in version 1, without.
const WITHOUT_PUBLIC: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// The length of an Ed25519 private key.
const SEED: usize = 32;

/// The same key without its public half, which is computed from it anyway.
fn without_public_key(key: PrivatePkcs8KeyDer<'static>) -> PrivateKeyDer<'static> {
    let der = key.secret_pkcs8_der();
    let rest = WITH_PUBLIC
        .iter()
        .find_map(|begin| der.strip_prefix(*begin));
    let Some(seed) = rest.and_then(|rest| rest.get(..SEED)) else {
        return key.into();
    };
    PrivatePkcs8KeyDer::from([WITHOUT_PUBLIC, seed].concat()).into()
}
