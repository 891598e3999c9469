use rustls::server::{Acceptor, ServerSessionMemoryCache};
use rustls::{CertificateError, ClientConnection, ConnectionCommon, ServerConnection, SideData};

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
