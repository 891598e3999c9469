//! [`EtcdTls`]: how etcd is reached over TLS.

use etcd_client::{Certificate, TlsOptions};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;

use crate::trust::pem;

/// How etcd is reached over TLS. All are PEM.
#[derive(Clone, Debug)]
pub struct EtcdTls {
    /// Who signs the certificates of its machines.
    pub authority: Vec<u8>,
    /// Our certificate and its key, where etcd asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Why etcd is not reached with these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnfitTls {
    /// No machine's certificate could be signed by it.
    #[error("there is no certificate of an authority")]
    NoAuthority,
    /// Ours is none.
    #[error("there is no certificate")]
    NoCertificate,
    /// Its key is none.
    #[error("there is no private key")]
    NoKey,
    /// The key is another's.
    #[error("the certificate and the key do not belong together")]
    Mismatch,
}

impl EtcdTls {
    /// Whether etcd can be reached with these at all.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), UnfitTls> {
        let authority = pem::certificates(&self.authority);
        if RootCertStore::empty()
            .add_parsable_certificates(authority)
            .0
            == 0
        {
            return Err(UnfitTls::NoAuthority);
        }
        let Some((certificate, key)) = &self.identity else {
            return Ok(());
        };
        let certificate = pem::certificates(certificate);
        if certificate.is_empty() {
            return Err(UnfitTls::NoCertificate);
        }
        let key = pem::private_key(key).ok_or(UnfitTls::NoKey)?;
        match CertifiedKey::from_der(certificate, key, &default_provider()) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InconsistentKeys(_)) => Err(UnfitTls::Mismatch),
            Err(rustls::Error::InvalidCertificate(_)) => Err(UnfitTls::NoCertificate),
            Err(_) => Err(UnfitTls::NoKey),
        }
    }

    pub(super) fn options(&self) -> TlsOptions {
        let options = TlsOptions::new().ca_certificate(Certificate::from_pem(&self.authority));
        match &self.identity {
            None => options,
            Some((certificate, key)) => {
                options.identity(etcd_client::Identity::from_pem(certificate, key))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Vec<u8>, Vec<u8>) {
        let made = rcgen::generate_simple_self_signed(["etcd".to_owned()]).unwrap();
        (
            made.cert.pem().into_bytes(),
            made.signing_key.serialize_pem().into_bytes(),
        )
    }

    #[test]
    fn only_what_belongs_together_is_taken() {
        let ((certificate, key), (_, other)) = (pair(), pair());
        let empty = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (authority, ours, expected) in [
            (&certificate[..], None, Ok(())),
            (&certificate, Some((&certificate[..], &key[..])), Ok(())),
            (b"", None, Err(UnfitTls::NoAuthority)),
            (b"\0\xff", None, Err(UnfitTls::NoAuthority)),
            (&key, None, Err(UnfitTls::NoAuthority)),
            (empty, None, Err(UnfitTls::NoAuthority)),
            (
                &certificate,
                Some((&key, &key)),
                Err(UnfitTls::NoCertificate),
            ),
            (
                &certificate,
                Some((empty, &key)),
                Err(UnfitTls::NoCertificate),
            ),
            (
                &certificate,
                Some((&certificate, &certificate)),
                Err(UnfitTls::NoKey),
            ),
            (
                &certificate,
                Some((&certificate, &other)),
                Err(UnfitTls::Mismatch),
            ),
        ] {
            let tls = EtcdTls {
                authority: authority.to_owned(),
                identity: ours.map(|(certificate, key)| (certificate.to_owned(), key.to_owned())),
            };
            assert_eq!(tls.check(), expected);
        }
    }
}
