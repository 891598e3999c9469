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

/// The only cryptography provider. It is named nowhere else, so a process never mixes two. The
/// post-quantum hybrid is preferred (PROTOCOL 1.13).
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..default_provider()
    })
}

#[cfg(test)]
mod tests {
    use rustls::server::{Acceptor, ServerSessionMemoryCache};
    use rustls::{
        CertificateError, ClientConnection, ConnectionCommon, ServerConnection, SideData,
    };

    use rustls::sign::SingleCertAndKey;

    use super::*;
    use crate::trust::Algorithm;

    /// Two connections that exchanged bytes until both were silent, and each one's result.
    struct Joined {
        client: ClientConnection,
        server: ServerConnection,
        client_failed: Option<Error>,
        server_failed: Option<Error>,
        /// How many bytes the client sent after its first flight.
        client_answered: usize,
    }

    impl Joined {
        fn proven(&self) -> (Result<Peer, NotProven>, Result<Peer, NotProven>) {
            self.proven_for(Alpn::Talk)
        }

        fn proven_for(&self, alpn: Alpn) -> (Result<Peer, NotProven>, Result<Peer, NotProven>) {
            (
                Peer::proven(&self.client, alpn),
                Peer::proven(&self.server, alpn),
            )
        }

        fn failures(&self) -> (Option<HandshakeFailure>, Option<HandshakeFailure>) {
            // As a stream hands them on.
            let of = |error: &Option<Error>| {
                let error = error.clone()?;
                let wrapped = io::Error::new(io::ErrorKind::InvalidData, error);
                Some(HandshakeFailure::of(&wrapped))
            };
            (of(&self.client_failed), of(&self.server_failed))
        }
    }

    fn join(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Joined {
        let mut joined = Joined {
            client: ClientConnection::new(client.clone(), server_name()).unwrap(),
            server: ServerConnection::new(server.clone()).unwrap(),
            client_failed: None,
            server_failed: None,
            client_answered: 0,
        };
        for flight in 0.. {
            let sent = sent_by(&mut joined.client);
            if flight > 0 {
                joined.client_answered += sent.len();
            }
            deliver(&mut joined.server, &sent, &mut joined.server_failed);
            let answer = sent_by(&mut joined.server);
            deliver(&mut joined.client, &answer, &mut joined.client_failed);
            if sent.is_empty() && answer.is_empty() {
                break;
            }
        }
        joined
    }

    fn sent_by<S: SideData>(from: &mut ConnectionCommon<S>) -> Vec<u8> {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn deliver<S: SideData>(
        to: &mut ConnectionCommon<S>,
        mut bytes: &[u8],
        failed: &mut Option<Error>,
    ) {
        while !bytes.is_empty() && failed.is_none() {
            to.read_tls(&mut bytes).unwrap();
            *failed = to.process_new_packets().err();
        }
    }

    fn identity() -> Identity {
        Identity::generate(Algorithm::default()).unwrap()
    }

    /// The first one's certificate with the second one's key: anyone who met a peer once can
    /// make this.
    fn impostor(of: &Identity, by: &Identity) -> Arc<SingleCertAndKey> {
        let chain = of.certified().cert.clone();
        let key = by.certified().key.clone();
        Arc::new(CertifiedKey::new(chain, key).into())
    }

    #[derive(Debug)]
    struct NoCertificate;

    impl ResolvesClientCert for NoCertificate {
        fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            None
        }

        fn has_certs(&self) -> bool {
            false
        }
    }

    fn tampered_client(
        config: Arc<ClientConfig>,
        with: impl FnOnce(&mut ClientConfig),
    ) -> Arc<ClientConfig> {
        let mut config = (*config).clone();
        with(&mut config);
        Arc::new(config)
    }

    fn tampered_server(
        config: Arc<ServerConfig>,
        with: impl FnOnce(&mut ServerConfig),
    ) -> Arc<ServerConfig> {
        let mut config = (*config).clone();
        with(&mut config);
        Arc::new(config)
    }

    #[test]
    fn both_sides_prove_their_keys() {
        for algorithm in Algorithm::ALL {
            let alice = Identity::generate(algorithm).unwrap();
            let bob = identity();
            let pins = vec![KeyId::of_spki(b"another"), alice.key_id()];
            let joined = join(&client_config(&bob, pins), &server_config(&alice));
            assert_eq!(joined.failures(), (None, None));
            let (server, client) = joined.proven();
            assert_eq!(server.unwrap().key(), alice.key_id());
            assert_eq!(client.unwrap().key(), bob.key_id());
        }
    }

    #[test]
    fn nothing_is_proven_before_the_handshake_is_complete() {
        let bob = client_config(&identity(), vec![]);
        let client = ClientConnection::new(bob, server_name()).unwrap();
        assert_eq!(
            Peer::proven(&client, Alpn::Talk),
            Err(NotProven::Handshaking)
        );
        let server = ServerConnection::new(server_config(&identity())).unwrap();
        assert_eq!(
            Peer::proven(&server, Alpn::Talk),
            Err(NotProven::Handshaking)
        );
    }

    #[test]
    fn an_unexpected_server_is_rejected_and_never_sees_the_clients_certificate() {
        let (alice, bob) = (identity(), identity());
        for pins in [vec![], vec![bob.key_id()]] {
            let joined = join(&client_config(&bob, pins), &server_config(&alice));
            let refused = AlertDescription::CertificateUnknown;
            assert_eq!(
                joined.failures(),
                (
                    Some(HandshakeFailure::UnexpectedKey(alice.key_id())),
                    Some(HandshakeFailure::CertificateRefused(format!("{refused:?}"))),
                )
            );
            assert_eq!(joined.server.peer_certificates(), None);
            // An alert and the empty record before it; a certificate of ours
            // takes hundreds of bytes.
            assert!(joined.client_answered < 64, "{}", joined.client_answered);
        }
    }

    #[test]
    fn a_copied_certificate_does_not_make_a_server() {
        let (alice, bob, other) = (identity(), identity(), identity());
        let joined = join(
            &client_config(&bob, vec![alice.key_id()]),
            &tampered_server(server_config(&other), |config| {
                config.cert_resolver = impostor(&alice, &other);
            }),
        );
        let expected = Error::InvalidCertificate(CertificateError::BadSignature);
        assert_eq!(
            joined.failures().0,
            Some(HandshakeFailure::NoProof(expected.to_string()))
        );
        assert_eq!(joined.server.peer_certificates(), None);
        assert!(joined.proven().0.is_err());
    }

    #[test]
    fn a_copied_certificate_does_not_make_a_client() {
        let (alice, bob, other) = (identity(), identity(), identity());
        let joined = join(
            &tampered_client(client_config(&other, vec![alice.key_id()]), |config| {
                config.client_auth_cert_resolver = impostor(&bob, &other);
            }),
            &server_config(&alice),
        );
        let expected = Error::InvalidCertificate(CertificateError::BadSignature);
        assert_eq!(
            joined.failures().1,
            Some(HandshakeFailure::NoProof(expected.to_string()))
        );
        assert!(joined.proven().1.is_err());
    }

    #[test]
    fn a_client_without_a_certificate_is_rejected() {
        let (alice, bob) = (identity(), identity());
        let joined = join(
            &tampered_client(client_config(&bob, vec![alice.key_id()]), |config| {
                config.client_auth_cert_resolver = Arc::new(NoCertificate);
            }),
            &server_config(&alice),
        );
        let refused = AlertDescription::CertificateRequired;
        assert_eq!(
            joined.failures(),
            (
                Some(HandshakeFailure::CertificateRefused(format!("{refused:?}"))),
                Some(HandshakeFailure::NoProof(
                    Error::NoCertificatesPresented.to_string()
                )),
            )
        );
        assert!(joined.proven().1.is_err());
    }

    #[test]
    fn a_peer_that_names_no_protocol_is_not_proven() {
        let (alice, bob) = (identity(), identity());
        let client = client_config(&bob, vec![alice.key_id()]);
        let server = server_config(&alice);
        let silent_client = tampered_client(client.clone(), |config| config.alpn_protocols.clear());
        let silent_server = tampered_server(server.clone(), |config| config.alpn_protocols.clear());
        for joined in [join(&silent_client, &server), join(&client, &silent_server)] {
            assert_eq!(joined.failures(), (None, None));
            let refused = Err(NotProven::NoCommonProtocol);
            assert_eq!(joined.proven(), (refused.clone(), refused));
        }
    }

    #[test]
    fn another_protocol_ends_the_handshake() {
        let (alice, bob) = (identity(), identity());
        let joined = join(
            &tampered_client(client_config(&bob, vec![alice.key_id()]), |config| {
                config.alpn_protocols = vec![b"turnchat/2".to_vec()];
            }),
            &server_config(&alice),
        );
        let failure = Some(HandshakeFailure::NoCommonProtocol);
        assert_eq!(joined.failures(), (failure.clone(), failure));
    }

    #[test]
    fn a_connection_that_pairs_is_for_nothing_else() {
        let (alice, bob) = (identity(), identity());
        for known in [None, Some(vec![bob.key_id(), alice.key_id()])] {
            let client = pair_client_config(&bob, known);
            let joined = join(&client, &pair_server_config(&alice));
            assert_eq!(joined.failures(), (None, None));
            let (server, client) = joined.proven_for(Alpn::Pair);
            assert_eq!(server.unwrap().key(), alice.key_id());
            assert_eq!(client.unwrap().key(), bob.key_id());
            let refused = Err(NotProven::NoCommonProtocol);
            assert_eq!(joined.proven_for(Alpn::Talk), (refused.clone(), refused));
        }
        let talk = join(
            &client_config(&bob, vec![alice.key_id()]),
            &server_config(&alice),
        );
        let refused = Err(NotProven::NoCommonProtocol);
        assert_eq!(talk.proven_for(Alpn::Pair), (refused.clone(), refused));
    }

    #[test]
    fn a_side_that_pairs_does_not_meet_one_that_talks() {
        let (alice, bob) = (identity(), identity());
        for joined in [
            join(&pair_client_config(&bob, None), &server_config(&alice)),
            join(
                &client_config(&bob, vec![alice.key_id()]),
                &pair_server_config(&alice),
            ),
        ] {
            let failure = Some(HandshakeFailure::NoCommonProtocol);
            assert_eq!(joined.failures(), (failure.clone(), failure));
        }
    }

    #[test]
    fn a_client_that_pairs_takes_any_key_only_where_it_knows_none() {
        let (alice, bob) = (identity(), identity());
        let changed = join(
            &pair_client_config(&bob, Some(vec![bob.key_id()])),
            &pair_server_config(&alice),
        );
        assert_eq!(
            changed.failures().0,
            Some(HandshakeFailure::UnexpectedKey(alice.key_id()))
        );
        assert_eq!(changed.server.peer_certificates(), None);
        // Any key, but it has to be proven.
        let copied = join(
            &pair_client_config(&bob, None),
            &tampered_server(pair_server_config(&identity()), |config| {
                config.cert_resolver = impostor(&alice, &bob);
            }),
        );
        let expected = Error::InvalidCertificate(CertificateError::BadSignature);
        assert_eq!(
            copied.failures().0,
            Some(HandshakeFailure::NoProof(expected.to_string()))
        );
    }

    #[test]
    fn a_client_wants_to_pair_if_it_offers_nothing_else_that_is_spoken() {
        let bob = identity();
        for (names, is_pair) in [
            (&["turnchat-pair/1"][..], true),
            (&["h2", "turnchat-pair/1"], true),
            (&["turnchat-pair/1", "turnchat/1"], false),
            (&["turnchat/1"], false),
            (&["turnchat-pair/2"], false),
            (&[], false),
        ] {
            let config = tampered_client(pair_client_config(&bob, None), |config| {
                config.alpn_protocols = names.iter().map(|name| name.as_bytes().into()).collect();
            });
            let mut client = ClientConnection::new(config, server_name()).unwrap();
            let (flight, mut acceptor) = (sent_by(&mut client), Acceptor::default());
            let mut bytes = flight.as_slice();
            while !bytes.is_empty() {
                acceptor.read_tls(&mut bytes).unwrap();
            }
            let accepted = acceptor.accept().ok().flatten().unwrap();
            assert_eq!(
                Alpn::is_pair(&accepted.client_hello()),
                is_pair,
                "{names:?}"
            );
        }
    }

    #[test]
    fn no_handshake_is_shortened_by_an_earlier_one() {
        let (alice, bob) = (identity(), identity());
        let client = client_config(&bob, vec![alice.key_id()]);
        let server = server_config(&alice);
        let resuming_client = tampered_client(client.clone(), |config| {
            config.resumption = Resumption::in_memory_sessions(8);
        });
        let resuming_server = tampered_server(server.clone(), |config| {
            config.send_tls13_tickets = 2;
            config.session_storage = ServerSessionMemoryCache::new(8);
        });
        for (client, server) in [
            (&client, &server),
            (&resuming_client, &server),
            (&client, &resuming_server),
        ] {
            for _ in 0..2 {
                let joined = join(client, server);
                assert_eq!(joined.server.handshake_kind(), Some(HandshakeKind::Full));
                assert!(joined.proven().0.is_ok() && joined.proven().1.is_ok());
            }
        }
        // Where both sides were built otherwise, nothing is proven.
        join(&resuming_client, &resuming_server);
        let joined = join(&resuming_client, &resuming_server);
        assert_eq!(joined.server.handshake_kind(), Some(HandshakeKind::Resumed));
        let refused = Err(NotProven::Resumed);
        assert_eq!(joined.proven(), (refused.clone(), refused));
    }

    #[test]
    fn the_first_flight_tells_nothing_of_whom_is_dialled() {
        let (alice, bob) = (identity(), identity());
        let flights = [
            vec![],
            vec![alice.key_id()],
            vec![alice.key_id(), bob.key_id()],
        ]
        .map(|pins| {
            let config = client_config(&bob, pins);
            sent_by(&mut ClientConnection::new(config, server_name()).unwrap())
        });
        for flight in &flights {
            assert_eq!(flight.len(), flights[0].len());
            let mut acceptor = Acceptor::default();
            let mut bytes = flight.as_slice();
            while !bytes.is_empty() {
                acceptor.read_tls(&mut bytes).unwrap();
            }
            let accepted = acceptor.accept().ok().flatten().unwrap();
            let hello = accepted.client_hello();
            assert_eq!(hello.server_name(), None);
            assert_eq!(
                hello.alpn().unwrap().collect::<Vec<_>>(),
                [Alpn::Talk.name()]
            );
        }
    }

    #[test]
    fn the_post_quantum_hybrid_is_preferred_and_one_other_accepted() {
        let names: Vec<_> = provider()
            .kx_groups
            .iter()
            .map(|group| group.name())
            .collect();
        let expected = [
            rustls::NamedGroup::X25519MLKEM768,
            rustls::NamedGroup::X25519,
        ];
        assert_eq!(names, expected);

        let (alice, bob) = (identity(), identity());
        let joined = join(
            &client_config(&bob, vec![alice.key_id()]),
            &server_config(&alice),
        );
        let group = joined.client.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
    }

    /// What a client makes of these first bytes from a server.
    fn client_met(bytes: &[u8]) -> Option<HandshakeFailure> {
        let config = client_config(&identity(), vec![]);
        let mut client = ClientConnection::new(config, server_name()).unwrap();
        let mut failed = None;
        deliver(&mut client, bytes, &mut failed);
        failed.as_ref().map(HandshakeFailure::of_tls)
    }

    /// What a server makes of these first bytes from a client.
    fn server_met(bytes: &[u8]) -> Option<HandshakeFailure> {
        let mut server = ServerConnection::new(server_config(&identity())).unwrap();
        let mut failed = None;
        deliver(&mut server, bytes, &mut failed);
        failed.as_ref().map(HandshakeFailure::of_tls)
    }

    #[test]
    fn a_peer_without_tls_is_told_apart() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"{\"hello\":{}}\n",
        ] {
            assert_eq!(client_met(bytes), Some(HandshakeFailure::NotTls));
            assert_eq!(server_met(bytes), Some(HandshakeFailure::NotTls));
        }
    }

    #[test]
    fn a_peer_with_older_tls_is_told_apart() {
        // Fatal protocol_version.
        let alert = [0x15, 3, 3, 0, 2, 2, 70];
        assert_eq!(client_met(&alert), Some(HandshakeFailure::NotTls13));
        // A ServerHello of TLS 1.2 without extensions.
        let server_hello = [
            &[0x16, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3][..],
            &[7; 32],
            &[0, 0xc0, 0x2b, 0],
        ]
        .concat();
        assert_eq!(client_met(&server_hello), Some(HandshakeFailure::NotTls13));
        // A ClientHello of TLS 1.2 with supported_groups and
        // signature_algorithms.
        let extensions = [0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 4, 0, 2, 4, 3];
        let client_hello = [
            &[0x16, 3, 1, 0, 63, 1, 0, 0, 59, 3, 3][..],
            &[7; 32],
            &[0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 16],
            &extensions,
        ]
        .concat();
        assert_eq!(server_met(&client_hello), Some(HandshakeFailure::NotTls13));
    }

    #[test]
    fn what_fails_below_tls_stays_what_it_was() {
        let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
        let expected = HandshakeFailure::Io(io::ErrorKind::UnexpectedEof);
        assert_eq!(HandshakeFailure::of(&cut), expected);
    }
}
