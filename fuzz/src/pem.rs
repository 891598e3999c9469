//! The files of certificates and keys.
//!
//! Input: what the file is for and how it is wrapped, and the bytes. No private key stands in a
//! corpus: those that are needed are made here, and the input says how they are spoilt.

use std::path::Path;
use std::sync::LazyLock;

use arbitrary::Unstructured;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, SerialNumber};
use turnchat::internals::client_config;
use turnchat::{Identity, IdentityError, KeyId, key_of_certificate_file};

use super::files;

/// An identity whose key is of no use to anybody: everybody can compute it.
struct Known {
    key: String,
    certificate: String,
    id: KeyId,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    // PKCS #8 of Ed25519 (RFC 8410), without the key itself, and 32 sevens.
    let begin = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    let der = [&begin[..], &[7; 32]].concat();
    let key = KeyPair::try_from(der.as_slice()).expect("a key");
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&[7; 16]));
    let certificate = params.self_signed(&key).expect("a certificate");
    Known {
        key: wrapped("PRIVATE KEY", &der),
        certificate: certificate.pem(),
        id: KeyId::of_spki(&key.subject_public_key_info()),
    }
});

const LABELS: [&str; 8] = [
    "CERTIFICATE",
    "PRIVATE KEY",
    "EC PRIVATE KEY",
    "RSA PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "PUBLIC KEY",
    "TRUSTED CERTIFICATE",
    "X509 CRL",
];

pub fn run(data: &[u8]) {
    let mut from = Unstructured::new(data);
    let _ = inner(&mut from);
}

fn inner(from: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let known = &*KNOWN;
    let is_key: bool = from.arbitrary()?;
    let home = files::directory();
    let (certificate, key) = (home.path().join("cert.pem"), home.path().join("key.pem"));
    let whole = match is_key {
        true => &known.key,
        false => &known.certificate,
    };
    let bytes = match from.int_in_range(0..=2)? {
        0 => from.bytes(from.len())?.to_vec(),
        1 => {
            let label = *from.choose(&LABELS)?;
            wrapped(label, from.bytes(from.len())?).into_bytes()
        }
        _ => spoilt(whole.as_bytes().to_vec(), from)?,
    };
    match is_key {
        true => {
            files::write(&certificate, known.certificate.as_bytes());
            files::write(&key, &bytes);
        }
        false => {
            files::write(&certificate, &bytes);
            files::write(&key, known.key.as_bytes());
        }
    }
    let named = key_of_certificate_file(&certificate);
    match Identity::load(&certificate, &key) {
        Ok(identity) => {
            assert_eq!(named.ok(), Some(identity.key_id()));
            assert_eq!(identity.key_id(), known.id, "only the right key fits");
            let _ = client_config(&identity, vec![known.id]);
        }
        Err(error) => check(&error, &bytes, home.path(), is_key),
    }
    if let Err(error) = key_of_certificate_file(&certificate) {
        check(&error, &bytes, home.path(), false);
    }
    // A key is no certificate, and its file is not quoted where it is taken for one.
    if is_key && let Err(error) = key_of_certificate_file(&key) {
        check(&error, &bytes, home.path(), true);
    }
    Ok(())
}

/// What is said of a file has nothing in it that a terminal may not see; and of a key's file, none
/// of its lines.
fn check(error: &IdentityError, bytes: &[u8], home: &Path, is_key: bool) {
    let told = error.to_string().replace(&*home.to_string_lossy(), "");
    assert!(!told.chars().any(char::is_control), "{told:?}");
    if is_key {
        let text = String::from_utf8_lossy(bytes);
        for line in text.lines().map(str::trim) {
            let is_digit = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
            let is_secret = line.len() >= 24 && line.chars().all(is_digit);
            assert!(!is_secret || !told.contains(line), "{told:?}");
        }
    }
}

/// A few bytes are other ones, gone, or more.
fn spoilt(mut bytes: Vec<u8>, from: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    for _ in 0..from.int_in_range(0..=8)? {
        if bytes.is_empty() {
            break;
        }
        let at = from.choose_index(bytes.len())?;
        match from.int_in_range(0..=3)? {
            0 => bytes[at] = from.arbitrary()?,
            1 => _ = bytes.remove(at),
            2 => bytes.truncate(at),
            _ => {
                let more = from.bytes(from.len().min(40))?;
                bytes.splice(at..at, more.iter().copied());
            }
        }
    }
    Ok(bytes)
}

fn wrapped(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut lines = format!("-----BEGIN {label}-----\n");
    for (number, bytes) in der.chunks(3).enumerate() {
        let bits = bytes
            .iter()
            .fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - bytes.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            lines.push(match place <= bytes.len() {
                true => char::from(digit),
                false => '=',
            });
        }
        if number % 16 == 15 {
            lines.push('\n');
        }
    }
    format!("{}\n-----END {label}-----\n", lines.trim_end())
}
