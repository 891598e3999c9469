//! What a certificate is to us: a wrapper around a public key. How ours are
//! made, and how a key is taken out of anyone's. Files are not known here.

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

/// The key in a certificate, over its `SubjectPublicKeyInfo` as the bytes
/// stand there (PROTOCOL 1.9). Nothing else in the certificate is looked at, and nothing is
/// proven: anyone can hold a copy of a certificate.
///
/// # Errors
///
/// [`MalformedCertificate`], where there is no certificate to take it from.
pub(crate) fn key_of_certificate(der: &CertificateDer<'_>) -> Result<KeyId, MalformedCertificate> {
    let certificate = EndEntityCert::try_from(der).map_err(MalformedCertificate)?;
    Ok(KeyId::of_spki(&certificate.subject_public_key_info()))
}

/// A certificate for a key of one's own, signed by that key.
///
/// It says nothing of its owner: the same name in all of them, a `notBefore`
/// that does not tell when it was made, and the `notAfter` that stands for no
/// end (RFC 5280, section 4.1.2.5). Only the serial number, at random, tells
/// two for the same key apart.
///
/// # Errors
///
/// Where the system has no random bytes or the key cannot sign.
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
    // Either end may be the server, and libraries that look at this want to
    // see the part that is played named (PROTOCOL 1.6).
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
