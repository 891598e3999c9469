//! What comes before the first frame: certificates, keys, ALPN, and what is
//! no TLS at all. Time is played.

use std::time::Duration;

use rcgen::{BasicConstraints, CustomExtension, DnType, IsCa, KeyUsagePurpose, date_time_ymd};
use rustls::{AlertDescription, CertificateError, Error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::Instant;
use turnchat::{ConnectError, ConnectionError, HandshakeError, LinkError};
use turnchat::{HandshakeFailure, NotProven};
use turnchat::{Limits, Overdue};

use super::ours::{Habit, House, PIPE, called, dial, told};
use super::raw::{Came, Face, Papers, hello};

fn tls_failure(incident: &ConnectionError) -> HandshakeFailure {
    match incident {
        ConnectionError::Handshake(HandshakeError::Tls(failure)) => failure.clone(),
        ConnectionError::Handshake(HandshakeError::NotProven(missing)) => missing.clone().into(),
        other => panic!("{other:?}"),
    }
}

fn is_unproven(failure: &HandshakeFailure) -> bool {
    matches!(failure, HandshakeFailure::NoProof(_))
}

/// A client shows this face; the server's alert, and why the server let go.
async fn rejected(face: &Face) -> (Came, HandshakeFailure) {
    let mut house = House::new(Habit::Answers).await;
    let came = match face.dial(house.call()).await {
        Ok(mut guest) => {
            // It believes the handshake to be done, and speaks.
            guest.send(&hello(super::raw::ID)).await;
            guest.next().await
        }
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(Error::AlertReceived(alert)) => Came::Alert(*alert),
            _ => Came::Cut,
        },
    };
    let failure = tls_failure(&house.incident().await);
    house.serves_the_next(Habit::Answers).await;
    assert!(matches!(
        house.tale.recv().await,
        Some(super::ours::Told::Began)
    ));
    (came, failure)
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_certificate_is_told_that_one_is_required() {
    let (came, failure) = rejected(&Face::without_papers()).await;
    assert_eq!(came, Came::Alert(AlertDescription::CertificateRequired));
    assert!(is_unproven(&failure), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_malformed_certificate_is_rejected() {
    let papers = Papers::new();
    let cut = &papers.certificate()[..papers.certificate().len() - 9];
    for der in [&b"certificate"[..], &[0x30, 0x80], cut] {
        let (came, failure) = rejected(&Face::new(&papers.with_certificate(der))).await;
        assert!(
            matches!(
                came,
                Came::Alert(AlertDescription::DecodeError | AlertDescription::BadCertificate)
            ),
            "{came:?}"
        );
        assert!(is_unproven(&failure), "{failure}");
    }
}

/// Whoever shows these papers holds a conversation, as either side.
async fn are_taken(papers: &Papers) {
    let house = House::new(Habit::Answers).await;
    let mut guest = house.guest_as(&Face::new(papers)).await;
    guest.begin().await;

    let (ours, theirs) = duplex(PIPE);
    let face = Face::new(papers);
    let dialling = dial(ours, papers.id, Habit::Answers, Limits::default());
    let (raw, tale) = tokio::join!(face.answer(theirs), dialling);
    tale.unwrap();
    raw.unwrap().hello().await;
}

/// An extension that is critical.
fn critical(oid: &[u64], content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(true);
    extension
}

/// PROTOCOL 1.5: the first two for certain, the third by our leave.
#[tokio::test(start_paused = true)]
async fn p256_and_ed25519_are_taken_and_so_is_p384() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_ECDSA_P384_SHA384,
    ] {
        are_taken(&Papers::of(algorithm)).await;
    }
}

/// PROTOCOL 1.6 and 1.7.
#[tokio::test(start_paused = true)]
async fn whatever_else_a_certificate_says_is_without_meaning() {
    are_taken(&Papers::saying(|it| {
        it.not_before = date_time_ymd(1975, 1, 1);
        it.not_after = date_time_ymd(1976, 1, 1);
        it.distinguished_name.push(DnType::CommonName, "somebody");
    }))
    .await;
    are_taken(&Papers::saying(|it| {
        it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)
    }))
    .await;
    are_taken(&Papers::saying(|it| {
        it.key_usages = vec![KeyUsagePurpose::CrlSign]
    }))
    .await;
    // An extKeyUsage of serverAuth alone, critical; and nameConstraints.
    let server_auth = [0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1];
    let nothing = [0x30, 0];
    for (oid, content) in [
        (&[2, 5, 29, 37], &server_auth[..]),
        (&[2, 5, 29, 30], &nothing[..]),
    ] {
        let extension = critical(oid, content);
        are_taken(&Papers::saying(|it| it.custom_extensions.push(extension))).await;
    }
}

/// PROTOCOL 1.6.
#[tokio::test(start_paused = true)]
async fn a_critical_extension_that_nobody_knows_is_rejected() {
    let papers = Papers::saying(|it| {
        it.custom_extensions
            .push(critical(&[1, 3, 6, 1, 4, 1, 57_264, 99], b"\x05\x00"));
    });
    let face = Face::new(&papers);
    let (came, failure) = rejected(&face).await;
    assert!(matches!(came, Came::Alert(_)), "{came:?}");
    assert!(is_unproven(&failure), "{failure}");
    let (raw, error) = met(&face, &papers).await;
    assert!(is_unproven(&tls(&error)), "{error}");
    assert!(matches!(raw, Err(Came::Alert(_))), "{raw:?}");
}

#[tokio::test(start_paused = true)]
async fn a_copied_certificate_does_not_let_a_client_in() {
    let (came, failure) = rejected(&Face::new(&Papers::new().copied())).await;
    assert!(matches!(came, Came::Alert(_)), "{came:?}");
    assert_eq!(
        failure,
        HandshakeFailure::NoProof(Error::from(CertificateError::BadSignature).to_string())
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_names_no_protocol_is_left_before_any_frame() {
    let (came, failure) = rejected(&Face::new(&Papers::new()).speaking(&[])).await;
    assert!(matches!(came, Came::Close | Came::Cut), "{came:?}");
    assert_eq!(failure, HandshakeFailure::NoCommonProtocol);
}

#[tokio::test(start_paused = true)]
async fn a_client_of_another_protocol_is_told_so() {
    let others = ["h2", "turnchat/2", "turnchat-pair/1"];
    let (came, failure) = rejected(&Face::new(&Papers::new()).speaking(&others)).await;
    assert_eq!(came, Came::Alert(AlertDescription::NoApplicationProtocol));
    assert_eq!(failure, HandshakeFailure::NoCommonProtocol);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_also_speaks_others_is_let_in() {
    let house = House::new(Habit::Answers).await;
    let face = Face::new(&Papers::new()).speaking(&["h2", "turnchat/1"]);
    let mut guest = face.dial(house.call()).await.unwrap();
    guest.begin().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_tls_end_the_connection() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"{\"hello\":{}}\n",
        &[0xff; 64],
        &[0; 64],
    ] {
        let mut house = House::new(Habit::Answers).await;
        let mut stream = house.call();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        // An alert at most, and no word of ours.
        assert!(matches!(&answer[..], [] | [21, ..]), "{answer:?}");
        assert_eq!(
            tls_failure(&house.incident().await),
            HandshakeFailure::NotTls
        );
        house.serves_the_next(Habit::Answers).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_ten_seconds() {
    let mut house = House::new(Habit::Answers).await;
    let start = Instant::now();
    let mut stream = house.call();
    assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), 0);
    assert_eq!(start.elapsed().as_secs(), 10);
    assert!(matches!(
        house.incident().await,
        ConnectionError::Handshake(HandshakeError::TimedOut)
    ));
    house.serves_the_next(Habit::Answers).await;
}

#[tokio::test(start_paused = true)]
async fn half_a_clienthello_does_not_buy_time() {
    let mut house = House::new(Habit::Answers).await;
    let start = Instant::now();
    let mut stream = house.call();
    // A handshake record of 512 bytes, of which a byte comes each second.
    stream.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    while stream.write_all(&[1]).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!((10..=11).contains(&start.elapsed().as_secs()));
    house.serves_the_next(Habit::Answers).await;
}

/// What has come of it is kept until it is whole, so that it must not be long.
#[tokio::test(start_paused = true)]
async fn a_clienthello_without_end_ends_the_connection_at_once() {
    let mut house = House::new(Habit::Answers).await;
    let start = Instant::now();
    let mut stream = house.call();
    // One of 65,536 bytes or more begins in a record.
    stream
        .write_all(&[22, 3, 1, 0, 4, 1, 1, 0, 0])
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(matches!(&answer[..], [] | [21, ..]), "{answer:?}");
    assert_eq!(start.elapsed().as_secs(), 0);
    house.serves_the_next(Habit::Answers).await;
}

#[tokio::test(start_paused = true)]
async fn a_hello_is_due_ten_seconds_after_the_connection_came() {
    for trickled in [0, 9] {
        let mut house = House::new(Habit::Answers).await;
        let start = Instant::now();
        let stream = house.call();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let face = Face::new(&Papers::new());
        let mut guest = face.dial(stream).await.unwrap();
        for byte in hello(super::raw::ID).bytes().take(trickled) {
            guest.send_bytes(&[byte]).await;
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
        assert!(matches!(guest.next().await, Came::Cut | Came::Close));
        assert_eq!(start.elapsed().as_secs(), 10);
        assert!(matches!(
            house.incident().await,
            ConnectionError::Link(LinkError::Overdue(Overdue::FirstFrame))
        ));
        house.serves_the_next(Habit::Answers).await;
    }
}

/// Our client meets a server with this face.
async fn met(face: &Face, pin: &Papers) -> (Result<(), Came>, ConnectError) {
    let (ours, theirs) = duplex(PIPE);
    let (raw, tale) = tokio::join!(
        async {
            let mut raw = match face.answer(theirs).await {
                Ok(raw) => raw,
                Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                    Some(Error::AlertReceived(alert)) => return Err(Came::Alert(*alert)),
                    _ => return Err(Came::Cut),
                },
            };
            match raw.next().await {
                Came::Close | Came::Cut => Ok(()),
                came => Err(came),
            }
        },
        dial(ours, pin.id, Habit::Answers, Limits::default())
    );
    (raw, tale.err().unwrap())
}

fn tls(error: &ConnectError) -> HandshakeFailure {
    match error {
        ConnectError::Handshake(HandshakeError::Tls(failure)) => failure.clone(),
        ConnectError::Handshake(HandshakeError::NotProven(missing)) => missing.clone().into(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_with_another_key_than_the_pinned_is_rejected_in_the_handshake() {
    let (papers, pinned) = (Papers::new(), Papers::new());
    let (raw, error) = met(&Face::new(&papers), &pinned).await;
    assert_eq!(tls(&error), HandshakeFailure::UnexpectedKey(papers.id));
    // It failed for the server too, so it never saw our certificate.
    assert!(matches!(raw, Err(Came::Alert(_))), "{raw:?}");
}

#[tokio::test(start_paused = true)]
async fn a_copied_certificate_does_not_make_a_server() {
    let papers = Papers::new();
    let (raw, error) = met(&Face::new(&papers.copied()), &papers).await;
    assert_eq!(
        tls(&error),
        HandshakeFailure::NoProof(Error::from(CertificateError::BadSignature).to_string())
    );
    assert!(matches!(raw, Err(Came::Alert(_))), "{raw:?}");
}

#[tokio::test(start_paused = true)]
async fn a_servers_malformed_certificate_is_rejected() {
    let papers = Papers::new();
    let face = Face::new(&papers.with_certificate(b"certificate"));
    let (raw, error) = met(&face, &papers).await;
    assert!(is_unproven(&tls(&error)), "{error}");
    assert!(matches!(raw, Err(Came::Alert(_))), "{raw:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_names_no_protocol_hears_no_word() {
    let papers = Papers::new();
    let (raw, error) = met(&Face::new(&papers).speaking(&[]), &papers).await;
    assert_eq!(tls(&error), HandshakeFailure::NoCommonProtocol);
    assert!(matches!(
        error,
        ConnectError::Handshake(HandshakeError::NotProven(NotProven::NoCommonProtocol))
    ));
    assert!(!matches!(raw, Err(Came::Line(_))), "{raw:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_of_another_protocol_is_told_apart() {
    let papers = Papers::new();
    let (_, error) = met(&Face::new(&papers).speaking(&["h2"]), &papers).await;
    assert_eq!(tls(&error), HandshakeFailure::NoCommonProtocol);
}

/// Both sides are proven, always.
#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_ask_who_dials_is_not_talked_to() {
    let papers = Papers::new();
    let (raw, error) = met(&Face::new(&papers).asking_nobody(), &papers).await;
    assert_eq!(tls(&error), HandshakeFailure::NotAsked);
    assert!(!matches!(raw, Err(Came::Line(_))), "{raw:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_without_tls_is_told_apart() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"220 mail ESMTP\r\n",
    ] {
        let (ours, mut theirs) = duplex(PIPE);
        theirs.write_all(bytes).await.unwrap();
        let error = dial(ours, Papers::new().id, Habit::Answers, Limits::default()).await;
        assert_eq!(tls(&error.err().unwrap()), HandshakeFailure::NotTls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_ten_seconds() {
    let (ours, _theirs) = duplex(PIPE);
    let start = Instant::now();
    let error = dial(ours, Papers::new().id, Habit::Answers, Limits::default()).await;
    assert!(matches!(
        error.err().unwrap(),
        ConnectError::Handshake(HandshakeError::TimedOut)
    ));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_proves_its_key_and_is_silent_is_given_ten_seconds() {
    let (_raw, mut tale) = called(Habit::Answers).await;
    let start = Instant::now();
    let (words, over) = told(&mut tale).await;
    assert!(words.is_empty());
    assert!(matches!(
        over.cause,
        turnchat::Cause::Link(LinkError::Overdue(Overdue::FirstFrame))
    ));
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_our_certificate_is_understood_at_the_first_read() {
    let papers = Papers::new();
    let face = Face::new(&papers).refusing(CertificateError::ApplicationVerificationFailure);
    let (ours, theirs) = duplex(PIPE);
    let (raw, tale) = tokio::join!(
        face.answer(theirs),
        dial(ours, papers.id, Habit::Answers, Limits::default())
    );
    assert!(raw.is_err());
    let (words, over) = told(&mut tale.unwrap()).await;
    assert!(words.is_empty());
    let turnchat::Cause::Link(LinkError::Io(error)) = over.cause else {
        panic!("{over:?}");
    };
    assert_eq!(
        HandshakeFailure::of(&error),
        HandshakeFailure::CertificateRefused("AccessDenied".to_owned())
    );
}
