//! The two TLS configurations, and [`Peer`], the proof that a handshake under them gives. No
//! sockets here.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    AlertDescription, ClientConfig, CommonState, Error, HandshakeKind, InvalidMessage,
    PeerIncompatible, PeerMisbehaved, ProtocolVersion, ServerConfig, SignatureScheme,
};

use super::alpn::Alpn;
use super::certificate::{MalformedCertificate, key_of_certificate};
use super::verifier::{AnyProvenClient, Expected, ExpectedServer, unexpected_key};
use super::{Identity, KeyId};

/// A server's side: TLS 1.3 with this identity, for every client that proves a key. No
/// connection leaves state for the next.
pub fn server_config(identity: &Identity) -> Arc<ServerConfig> {
    server(identity, Alpn::Talk)
}

/// The same for connections that pair (PAIRING 1.2).
pub(crate) fn pair_server_config(identity: &Identity) -> Arc<ServerConfig> {
    server(identity, Alpn::Pair)
}

fn server(identity: &Identity, alpn: Alpn) -> Arc<ServerConfig> {
    let provider = provider();
    let verifier = AnyProvenClient::new(provider.signature_verification_algorithms);
    #[expect(clippy::expect_used, reason = "aws-lc has TLS 1.3's suites")]
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3");
    let mut config = builder
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(identity.clone()));
    config.alpn_protocols = vec![alpn.name().to_vec()];
    // A resumed handshake would take the client's certificate from the
    // ticket, unproven (PROTOCOL 1.12).
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Arc::new(config)
}

/// A client's side: TLS 1.3 with this identity, for a server that proves one of the
/// `acceptable` keys. Any other server is rejected before our certificate is sent;
/// `unexpected_key` tells which key it offered. An empty list rejects every server.
pub fn client_config(identity: &Identity, acceptable: Vec<KeyId>) -> Arc<ClientConfig> {
    client(identity, Expected::OneOf(acceptable), Alpn::Talk)
}

/// The same for a connection that pairs: for a server that proves one of the `known` keys or,
/// where it is not known at all, any key (PAIRING 1.4).
pub(crate) fn pair_client_config(
    identity: &Identity,
    known: Option<Vec<KeyId>>,
) -> Arc<ClientConfig> {
    let expected = known.map_or(Expected::AnyProven, Expected::OneOf);
    client(identity, expected, Alpn::Pair)
}

fn client(identity: &Identity, expected: Expected, alpn: Alpn) -> Arc<ClientConfig> {
    let provider = provider();
    let verifier = ExpectedServer::new(expected, provider.signature_verification_algorithms);
    #[expect(clippy::expect_used, reason = "aws-lc has TLS 1.3's suites")]
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3");
    let mut config = builder
        // The one exception to the web's rules: keys are compared, not names (PROTOCOL 1.7 and
        // 1.10).
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(identity.clone()));
    config.alpn_protocols = vec![alpn.name().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Arc::new(config)
}

/// The same for one connection, which also records whether the server asked for our
/// certificate.
pub(crate) fn watched(config: &ClientConfig) -> (Arc<ClientConfig>, Arc<CertificateRequest>) {
    let request = Arc::new(CertificateRequest {
        resolver: Arc::clone(&config.client_auth_cert_resolver),
        has_come: AtomicBool::new(false),
    });
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::clone(&request) as Arc<dyn ResolvesClientCert>;
    (Arc::new(config), request)
}

/// Answers a server's CertificateRequest (RFC 8446, section 4.3.2), and remembers that
/// one has come.
#[derive(Debug)]
pub(crate) struct CertificateRequest {
    resolver: Arc<dyn ResolvesClientCert>,
    has_come: AtomicBool,
}

impl CertificateRequest {
    /// # Errors
    /// [`NotProven::NotAsked`], if none has come: such a server does not know whom it lets in
    /// (PROTOCOL 1.4).
    pub(crate) fn has_come(&self) -> Result<(), NotProven> {
        match self.has_come.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(NotProven::NotAsked),
        }
    }
}

impl ResolvesClientCert for CertificateRequest {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.has_come.store(true, Ordering::Relaxed);
        self.resolver.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.resolver.has_certs()
    }
}

/// The server name that every client gives to rustls: an address that nobody has. An address
/// is never sent as SNI, and no certificate is compared with it.
pub fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into())
}

/// A peer whose key is proven, in a TLS handshake; or known, from a journal, while there is no
/// connection: each later connection has to prove the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    key: KeyId,
}

impl Peer {
    /// The peer that was proven on a connection under [`server_config`] or [`client_config`], or
    /// their like for pairing, once its handshake is complete. A connection for another protocol
    /// than this one proves nobody.
    ///
    /// # Errors
    ///
    /// A [`NotProven`] that names what is missing. The connection must be closed.
    pub(crate) fn proven(connection: &CommonState, alpn: Alpn) -> Result<Self, NotProven> {
        if connection.is_handshaking() {
            return Err(NotProven::Handshaking);
        }
        if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return Err(NotProven::NotTls13);
        }
        if !matches!(
            connection.handshake_kind(),
            Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
        ) {
            return Err(NotProven::Resumed);
        }
        // rustls accepts a peer that names no protocol at all (PROTOCOL 1.3).
        if connection.alpn_protocol() != Some(alpn.name()) {
            return Err(NotProven::NoCommonProtocol);
        }
        let certificate = connection
            .peer_certificates()
            .and_then(|chain| chain.first())
            .ok_or(NotProven::NoCertificate)?;
        Ok(Self {
            key: key_of_certificate(certificate)?,
        })
    }

    /// A peer that proved its key in an earlier process, according to our journal. Every
    /// connection proves the key anew.
    pub(crate) fn remembered(key: KeyId) -> Self {
        Self { key }
    }

    /// The key that was proven.
    pub fn key(&self) -> KeyId {
        self.key
    }
}

/// Why a connection proves no peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotProven {
    /// The handshake is not complete; this side asked too early.
    #[error("the handshake is not complete")]
    Handshaking,
    /// Another version of TLS (PROTOCOL 1.2).
    #[error("the connection is not TLS 1.3")]
    NotTls13,
    /// An earlier TLS session was resumed, which proves nothing now (PROTOCOL 1.12).
    #[error("the connection resumed an older session")]
    Resumed,
    /// The peer named no protocol, or another one: it speaks TLS, but not turnchat (PROTOCOL 1.3).
    #[error("the peer does not speak this protocol")]
    NoCommonProtocol,
    /// The peer showed no certificate (PROTOCOL 1.4).
    #[error("the peer showed no certificate")]
    NoCertificate,
    /// The server did not ask for this side's certificate (PROTOCOL 1.4).
    #[error("the server does not ask who connects")]
    NotAsked,
    /// The peer's certificate cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedCertificate),
}

/// Why a handshake failed, sorted by what a person can do about it.
///
/// In TLS 1.3 a client finishes before the server has checked its certificate: it learns of
/// [`CertificateRefused`](Self::CertificateRefused) at its first read after the handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// The server offered a key that this client does not expect. It did not
    /// prove that it holds it.
    #[error("the peer offered another key: {0}")]
    UnexpectedKey(KeyId),
    /// The peer did not prove a key: no certificate, one that cannot be read, or a signature
    /// that is not by its key. In the TLS library's words.
    #[error("the peer did not prove its key: {0}")]
    NoProof(String),
    /// The peer refused this side's certificate, by this alert (RFC 8446, section 6).
    #[error("the peer refused the certificate: {0}")]
    CertificateRefused(String),
    /// The server did not ask for this side's certificate.
    #[error("the server does not ask who connects")]
    NotAsked,
    /// Both speak TLS 1.3, but no protocol in common.
    #[error("the peer does not speak this protocol")]
    NoCommonProtocol,
    /// The peer speaks no TLS 1.3.
    #[error("the peer does not speak TLS 1.3")]
    NotTls13,
    /// What came is not TLS.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// Anything else that is wrong with what the peer sent, or that the peer complained of. In
    /// the TLS library's words.
    #[error("the handshake failed: {0}")]
    Other(String),
    /// The connection failed below TLS; it may have been cut.
    #[error("the connection failed: {0}")]
    Io(io::ErrorKind),
}

impl HandshakeFailure {
    /// What an error of a TLS stream means, during the handshake or at the first read after
    /// it.
    pub fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(tls) => Self::of_tls(tls),
            None => Self::Io(error.kind()),
        }
    }

    /// What an error of rustls means.
    fn of_tls(error: &Error) -> Self {
        if let Some(key) = unexpected_key(error) {
            return Self::UnexpectedKey(key);
        }
        match error {
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
                Self::NoProof(error.to_string())
            }
            Error::AlertReceived(
                alert @ (AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::CertificateRequired),
            ) => Self::CertificateRefused(format!("{alert:?}")),
            Error::NoApplicationProtocol
            | Error::AlertReceived(AlertDescription::NoApplicationProtocol)
            | Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
                Self::NoCommonProtocol
            }
            Error::AlertReceived(AlertDescription::ProtocolVersion)
            | Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ) => Self::NotTls13,
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::InvalidEmptyPayload
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<NotProven> for HandshakeFailure {
    fn from(missing: NotProven) -> Self {
        match missing {
            NotProven::NoCommonProtocol => Self::NoCommonProtocol,
            NotProven::NotTls13 => Self::NotTls13,
            NotProven::NotAsked => Self::NotAsked,
            NotProven::Handshaking => Self::Other(missing.to_string()),
            NotProven::NoCertificate | NotProven::Resumed | NotProven::Malformed(_) => {
                Self::NoProof(missing.to_string())
            }
        }
    }
}

/// The only cryptography provider of peers' connections, so a process never mixes two. The
/// post-quantum hybrid is preferred (PROTOCOL 1.13).
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..default_provider()
    })
}

#[cfg(test)]
mod tests;
