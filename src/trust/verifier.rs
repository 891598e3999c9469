//! The two verifiers that rustls asks during a handshake. The client's compares the server's
//! key with those it expects; the server's takes any key. Both check the signature, which
//! proves that the peer holds the key (PROTOCOL 1.8).
//!
//! They ignore everything else in a certificate: dates, names, issuers, the chain
//! (PROTOCOL 1.7). They never ask anybody and never write anything.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, SignatureScheme,
};

use super::KeyId;
use super::certificate::key_of_certificate;

/// The server offered a key that the client does not expect. It is carried in the handshake's
/// error, where [`unexpected_key`] finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unexpected key {0}")]
pub(crate) struct UnexpectedKey(pub KeyId);

/// The unexpected key that ended a client's handshake, if that was the cause. The server has
/// not proven that it holds this key.
pub(crate) fn unexpected_key(error: &Error) -> Option<KeyId> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.downcast_ref().map(|UnexpectedKey(key)| *key)
        }
        _ => None,
    }
}

/// Which servers a client accepts.
#[derive(Debug)]
pub(super) enum Expected {
    /// Who proves one of these keys (PROTOCOL 1.10). With an empty list, nobody.
    OneOf(Vec<KeyId>),
    /// Who proves a key, whichever. What it is worth is found out behind the handshake
    /// (PAIRING 1.4).
    AnyProven,
}

/// Accepts the servers that are expected, if they prove their key.
#[derive(Debug)]
pub(super) struct ExpectedServer {
    expected: Expected,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ExpectedServer {
    pub(super) fn new(expected: Expected, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self {
            expected,
            algorithms,
        }
    }
}

impl ServerCertVerifier for ExpectedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = offered_key(end_entity)?;
        let is_expected = match &self.expected {
            Expected::OneOf(keys) => keys.contains(&key),
            Expected::AnyProven => true,
        };
        if is_expected {
            Ok(ServerCertVerified::assertion())
        } else {
            let unexpected = OtherError(Arc::new(UnexpectedKey(key)));
            Err(CertificateError::Other(unexpected).into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Accepts a client that proves any key; rejects one without a certificate (PROTOCOL 1.4).
/// Whether that key is admitted is decided after the handshake (PROTOCOL 1.11).
#[derive(Debug)]
pub(super) struct AnyProvenClient {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyProvenClient {
    pub(super) fn new(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { algorithms }
    }
}

impl ClientCertVerifier for AnyProvenClient {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        offered_key(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn offered_key(certificate: &CertificateDer<'_>) -> Result<KeyId, Error> {
    key_of_certificate(certificate).map_err(|_| CertificateError::BadEncoding.into())
}

fn no_tls12() -> Error {
    PeerIncompatible::SupportedVersionsExtensionRequired.into()
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::*;
    use crate::trust::{Algorithm, Identity};

    fn algorithms() -> WebPkiSupportedAlgorithms {
        default_provider().signature_verification_algorithms
    }

    fn verify_server(
        verifier: &ExpectedServer,
        certificate: &CertificateDer<'_>,
    ) -> Result<(), Error> {
        let name = ServerName::try_from("turnchat.invalid").unwrap();
        // Long before any certificate's first day.
        let now = UnixTime::since_unix_epoch(std::time::Duration::ZERO);
        verifier
            .verify_server_cert(certificate, &[], &name, &[], now)
            .map(|_| ())
    }

    #[test]
    fn a_server_with_an_acceptable_key_passes_on_any_day() {
        let alice = Identity::generate(Algorithm::default()).unwrap();
        let bob = Identity::generate(Algorithm::Ed25519).unwrap();
        let verifier = ExpectedServer::new(
            Expected::OneOf(vec![bob.key_id(), alice.key_id()]),
            algorithms(),
        );
        assert_eq!(verify_server(&verifier, &alice.certified().cert[0]), Ok(()));
        assert_eq!(verify_server(&verifier, &bob.certified().cert[0]), Ok(()));
    }

    #[test]
    fn an_unexpected_key_is_found_in_the_error() {
        let alice = Identity::generate(Algorithm::default()).unwrap();
        let bob = Identity::generate(Algorithm::default()).unwrap();
        for acceptable in [vec![], vec![bob.key_id()]] {
            let verifier = ExpectedServer::new(Expected::OneOf(acceptable), algorithms());
            let refused = verify_server(&verifier, &alice.certified().cert[0]).unwrap_err();
            assert_eq!(unexpected_key(&refused), Some(alice.key_id()));
        }
        assert_eq!(unexpected_key(&Error::DecryptError), None);
    }

    #[test]
    fn what_is_no_certificate_passes_neither_verifier() {
        let malformed = CertificateDer::from(&b"certificate"[..]);
        let expected = Error::InvalidCertificate(CertificateError::BadEncoding);
        for servers in [Expected::OneOf(vec![]), Expected::AnyProven] {
            let server = ExpectedServer::new(servers, algorithms());
            assert_eq!(verify_server(&server, &malformed), Err(expected.clone()));
        }
        let client = AnyProvenClient::new(algorithms());
        let now = UnixTime::since_unix_epoch(std::time::Duration::ZERO);
        let refused = client.verify_client_cert(&malformed, &[], now).map(|_| ());
        assert_eq!(refused, Err(expected));
    }

    #[test]
    fn a_client_must_show_a_certificate_and_no_issuer_is_asked_for() {
        let client = AnyProvenClient::new(algorithms());
        assert!(client.offer_client_auth() && client.client_auth_mandatory());
        assert!(client.root_hint_subjects().is_empty());
    }
}
