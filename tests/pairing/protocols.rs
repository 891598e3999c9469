//! Pairing and conversations do not mix.

use rustls::{AlertDescription, Error};
use turnchat::Client;

use super::foreign::{FAILED, Guesser, Half, PAIR_ALPN, face};
use super::ours::{House, Told, identity};
use crate::wire::raw::{ALPN, Came, Face, ID, Papers, hello};

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_pair_says_no_word_of_it() {
    let alice = identity();
    let house = House::closed(&alice).await;
    let failed = house.pair(&identity(), "acoustic-museum-tide").await;
    assert!(failed.unwrap_err().is_not_open());
    let refused = face(&Papers::new()).dial(house.call()).await.err().unwrap();
    let alert = refused.get_ref().and_then(|inner| inner.downcast_ref());
    let expected = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(alert, Some(&expected));
}

#[tokio::test(start_paused = true)]
async fn conversations_go_on_beside_a_pairing() {
    let house = House::new().await;
    let mut stream = Some(house.call());
    let dial = move || std::future::ready(stream.take().ok_or(std::io::ErrorKind::Other.into()));
    let client = Client::new(&identity(), vec![house.id]);
    let mut waiting = client.connect(dial).await.unwrap();
    waiting.notice().await;
    let mut guesser = Guesser::begin(house.call(), &Papers::new(), &house.id, &house.code).await;
    guesser.succeed().await;
}

/// The same bytes mean nothing on the other kind of connection.
#[tokio::test(start_paused = true)]
async fn no_frame_counts_on_a_connection_for_the_other_protocol() {
    let mut house = House::new().await;
    let papers = Papers::new();
    let mut pairing = face(&papers).dial(house.call()).await.unwrap();
    pairing.send(&hello(ID)).await;
    pairing.expect_error("protocol-error").await;
    let mut talking = Face::new(&papers).dial(house.call()).await.unwrap();
    talking.send(&Half::client(&house.code).line).await;
    talking.expect_error("protocol-error").await;
    assert!(house.is_silent());
}

/// Who offers both wants a conversation.
#[tokio::test(start_paused = true)]
async fn a_client_that_offers_both_talks() {
    let house = House::new().await;
    for names in [[ALPN, PAIR_ALPN], [PAIR_ALPN, ALPN]] {
        let face = Face::new(&Papers::new()).speaking(&names);
        let mut raw = face.dial(house.call()).await.unwrap();
        let agreed = raw.stream.get_ref().1.alpn_protocol();
        assert_eq!(agreed, Some(ALPN.as_bytes()));
        raw.send(&hello(ID)).await;
        assert!(matches!(raw.next().await, Came::Line(line) if line.starts_with("{\"wait\"")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_names_no_protocol_hears_no_word() {
    let mut house = House::new().await;
    let face = Face::new(&Papers::new()).speaking(&[]);
    let mut raw = face.dial(house.call()).await.unwrap();
    raw.send(&Half::client(&house.code).line).await;
    assert!(!matches!(raw.next().await, Came::Line(_)));
    assert!(house.is_silent());
}

/// It was let in while a pairing was open, and comes to its word when none is.
#[tokio::test(start_paused = true)]
async fn a_pairing_that_ends_in_a_handshake_refuses() {
    let mut house = House::new().await;
    let (bob, eve) = (Papers::new(), Papers::new());
    let mut late = face(&eve).dial(house.call()).await.unwrap();
    let mut guesser = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
    guesser.succeed().await;
    late.expect(FAILED).await;
    assert_eq!(house.told().await, Told::Asked(bob.id));
}
