//! Certificates, which to us only wrap a public key: how ours are made, and how a key is read
//! from any. No files here.

use std::cell::RefCell;
use std::time::Duration;

use aws_lc_rs::rand;
use rcgen::{
    Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::KeyId;

/// A certificate that cannot be read: not DER, not X.509 version 3, or with a
/// critical extension that is not known (PROTOCOL 1.5 and 1.6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed certificate: {0}")]
pub struct MalformedCertificate(webpki::Error);

/// The key in a certificate, hashed from the exact bytes of its `SubjectPublicKeyInfo`
/// (PROTOCOL 1.9). Nothing else is looked at, and nothing is proven: anyone can copy a
/// certificate.
///
/// # Errors
///
/// [`MalformedCertificate`], if the certificate cannot be read.
pub(crate) fn key_of_certificate(der: &CertificateDer<'_>) -> Result<KeyId, MalformedCertificate> {
    let is_last = |(last, _): &&(CertificateDer<'_>, KeyId)| last == der;
    if let Some(key) = LAST.with_borrow(|last| last.as_ref().filter(is_last).map(|(_, key)| *key)) {
        return Ok(key);
    }
    let certificate = EndEntityCert::try_from(der).map_err(MalformedCertificate)?;
    let key = KeyId::of_spki(&certificate.subject_public_key_info());
    LAST.set(Some((der.clone().into_owned(), key)));
    Ok(key)
}

thread_local! {
    /// The certificate that this thread has read last: a verifier reads it, and whoever asks for
    /// the peer a moment later does so once more.
    static LAST: RefCell<Option<(CertificateDer<'static>, KeyId)>> = const { RefCell::new(None) };
}

/// What is odd about how a certificate writes its elliptic curve key, where the key is this one
/// (its `SubjectPublicKeyInfo` as it is commonly written). `None` for any other.
pub(super) fn odd_form(der: &CertificateDer<'_>, spki: &[u8]) -> Option<&'static str> {
    let certificate = EndEntityCert::try_from(der).ok()?;
    let written = certificate.subject_public_key_info();
    // The last of it: 4, and the two coordinates of the point.
    let point = spki.get(spki.len().checked_sub(65)?..)?;
    let [4, coordinates @ ..] = point else {
        return None;
    };
    let (x, y) = coordinates.split_at_checked(32)?;
    let odd = y.last()? & 1;
    let compressed = [&[2 + odd], x].concat();
    if written.ends_with(point) && written.len() > spki.len() {
        Some("a curve that is described, not named")
    } else if written.ends_with(&compressed) {
        Some("a compressed point")
    } else {
        None
    }
}

/// A certificate for a key of one's own, signed by that key.
///
/// It reveals nothing about its owner: all have the same name, a fixed `notBefore`, and the
/// `notAfter` that means no end (RFC 5280, section 4.1.2.5). Only the random serial number
/// distinguishes two for the same key.
///
/// # Errors
///
/// If the system has no random bytes or the key cannot sign.
pub(super) fn self_signed(key: &KeyPair) -> Result<Certificate, rcgen::Error> {
    let mut serial = [0; 16];
    rand::fill(&mut serial).map_err(|_| rcgen::Error::RingUnspecified)?;

    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "turnchat");
    params.not_before = date_time_ymd(1975, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31) + Duration::from_secs(24 * 60 * 60 - 1);
    params.is_ca = IsCa::NoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // One certificate serves both roles, and libraries that check this extension want their
    // peer's role in it (PROTOCOL 1.6).
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.self_signed(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_certificates_for_one_key_are_told_apart_and_name_the_same_key() {
        let key = KeyPair::generate().unwrap();
        let (first, second) = (self_signed(&key).unwrap(), self_signed(&key).unwrap());
        assert_ne!(first.der(), second.der());
        assert_eq!(
            key_of_certificate(first.der()),
            key_of_certificate(second.der())
        );
    }

    #[test]
    fn the_key_is_the_hash_of_the_spki_as_it_stands() {
        use rcgen::PublicKeyData as _;

        let key = KeyPair::generate().unwrap();
        let certificate = self_signed(&key).unwrap();
        let expected = KeyId::of_spki(&key.subject_public_key_info());
        assert_eq!(key_of_certificate(certificate.der()), Ok(expected));
    }

    #[test]
    fn what_is_no_certificate_has_no_key() {
        for bytes in [
            &b""[..],
            b"certificate",
            &[0x30, 0x80],
            &[0x30, 0x03, 0x02, 0x01, 0x01],
        ] {
            assert!(
                key_of_certificate(&CertificateDer::from(bytes)).is_err(),
                "{bytes:?}"
            );
        }
    }
}
