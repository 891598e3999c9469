//! What becomes of a key that is to be stored, and of its client.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use rustls::crypto::aws_lc_rs::sign;
use rustls_pemfile::{certs, private_key};
use turnchat::{Algorithm, Code, Identity, LinkError, PairReason, PairingError, Storing};

use super::foreign::{DECLINED, FAILED, Guesser, Half, face};
use super::ours::{Habit, House, Order, Told, identity, other_than};
use crate::wire::raw::{Came, Papers};

/// Those of an identity in this directory.
fn papers_in(directory: &Path) -> Papers {
    let file = |name| BufReader::new(File::open(directory.join(name)).unwrap());
    let key = private_key(&mut file("key.pem")).unwrap().unwrap();
    Papers {
        id: turnchat::key_of_certificate_file(&directory.join("cert.pem")).unwrap(),
        certificate: certs(&mut file("cert.pem")).next().unwrap().unwrap(),
        key: sign::any_supported_type(&key).unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_store_says_so_and_the_code_is_not_spent() {
    let mut house = House::new().await;
    let bob = identity();
    for habit in [Habit::Answers(Storing::Failed), Habit::Drops] {
        house.order(Order::Be(habit));
        let failed = house.pair(&bob, &house.code).await.unwrap_err();
        let PairingError::Link(LinkError::Reported { code, detail }) = failed else {
            panic!("{failed}");
        };
        assert_eq!((code, detail), (Code::Internal, None));
        assert_eq!(house.told().await, Told::Asked(bob.key_id()));
    }
    house.order(Order::Be(Habit::Answers(Storing::Stored)));
    // Four may try at once, as before.
    let four: Vec<_> = (0..4).map(|_| Papers::new()).collect();
    let mut guessers = Vec::new();
    for papers in &four {
        guessers.push(Guesser::begin(house.call(), papers, &house.id, &house.code).await);
    }
    guessers[0].succeed().await;
    assert_eq!(house.stored(), [four[0].id]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_another_keys_ends_the_pairing() {
    let mut house = House::new().await;
    house.order(Order::Be(Habit::Answers(Storing::Declined)));
    let bob = identity();
    let failed = house.pair(&bob, &house.code).await.unwrap_err();
    assert!(matches!(
        failed,
        PairingError::Refused(PairReason::Declined)
    ));
    assert_eq!(house.told().await, Told::Asked(bob.key_id()));
    assert_eq!(house.told().await, Told::Over);
    let late = house.pair(&bob, &house.code).await.unwrap_err();
    assert!(late.is_not_open());
    assert!(house.stored().is_empty());
}

/// Nothing is sent before the key is stored, and nobody else is judged.
#[tokio::test(start_paused = true)]
async fn the_server_confirms_once_the_key_is_stored() {
    let mut house = House::new().await;
    house.order(Order::Be(Habit::Thinks));
    let (bob, eve) = (Papers::new(), Papers::new());
    let mut first = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
    let mut second = Guesser::begin(house.call(), &eve, &house.id, &house.code).await;
    first.raw.send(&first.ours.clone()).await;
    assert_eq!(house.told().await, Told::Asked(bob.id));
    second.raw.send(&second.ours.clone()).await;
    let waits = tokio::time::timeout(Duration::from_secs(5), async {
        tokio::select! {
            came = first.raw.next() => came,
            came = second.raw.next() => came,
        }
    });
    assert!(waits.await.is_err());
    house.order(Order::Answer(Storing::Stored));
    let theirs = first.theirs.clone();
    first.raw.expect(&theirs).await;
    second.raw.expect(FAILED).await;
    assert_eq!(house.stored(), [bob.id]);
    assert!(house.is_silent());
}

#[tokio::test(start_paused = true)]
async fn a_key_is_stored_though_its_client_has_left() {
    let mut house = House::new().await;
    house.order(Order::Be(Habit::Thinks));
    let (bob, eve) = (Papers::new(), Papers::new());
    let mut guesser = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
    guesser.raw.send(&guesser.ours.clone()).await;
    assert_eq!(house.told().await, Told::Asked(bob.id));
    drop(guesser);
    // After its 15 s too.
    tokio::time::sleep(Duration::from_secs(20)).await;
    house.order(Order::Answer(Storing::Stored));
    house.order(Order::Be(Habit::Answers(Storing::Stored)));
    let mut again = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
    again.succeed().await;
    assert_eq!(house.stored(), [bob.id, bob.id]);
    let mut other = face(&eve).dial(house.call()).await.unwrap();
    other.expect(FAILED).await;
}

/// Whatever the client has seen of an exchange, the same code leads to the end.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_at_any_step_comes_again_with_the_same_code() {
    for step in 0..5 {
        let mut house = House::new().await;
        let bob = Papers::new();
        let stream = house.call();
        match step {
            0 => drop(stream),
            1 => drop(face(&bob).dial(stream).await.unwrap()),
            2 => {
                let mut raw = face(&bob).dial(stream).await.unwrap();
                raw.send(&Half::client(&house.code).line).await;
            }
            3 => drop(Guesser::begin(stream, &bob, &house.id, &house.code).await),
            _ => {
                let mut guesser = Guesser::begin(stream, &bob, &house.id, &house.code).await;
                guesser.raw.send(&guesser.ours.clone()).await;
                assert_eq!(house.told().await, Told::Asked(bob.id));
            }
        }
        let mut again = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
        again.succeed().await;
        assert_eq!(house.told().await, Told::Asked(bob.id), "{step}");
        assert!(house.is_silent());
    }
}

#[tokio::test(start_paused = true)]
async fn a_paired_key_may_not_guess_for_ever() {
    let mut house = House::new().await;
    let bob = Papers::new();
    let mut guesser = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
    guesser.succeed().await;
    assert_eq!(house.told().await, Told::Asked(bob.id));
    for _ in 0..5 {
        let wrong = other_than(&house.code);
        let mut guesser = Guesser::begin(house.call(), &bob, &house.id, wrong).await;
        guesser.fail(FAILED).await;
        assert_eq!(house.told().await, Told::Wrong(bob.id));
    }
    assert_eq!(house.told().await, Told::Over);
}

#[tokio::test(start_paused = true)]
async fn a_server_does_not_pair_with_its_own_key() {
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity::create(directory.path(), Algorithm::default()).unwrap();
    let mut house = House::closed(&identity).await;
    house.open().await;
    // Our client stops by itself; another one is refused.
    let failed = house.pair(&identity, &house.code).await.unwrap_err();
    assert!(matches!(failed, PairingError::OwnKey));
    let papers = papers_in(directory.path());
    assert_eq!(papers.id, house.id);
    let mut raw = face(&papers).dial(house.call()).await.unwrap();
    raw.expect(DECLINED).await;
    assert_eq!(raw.next().await, Came::Close);
    assert!(house.is_silent());
}

/// Meanwhile the code was replaced: the one that its client knows is the one that counts.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_stored_late_comes_again_with_its_own_code() {
    let mut house = House::new().await;
    house.order(Order::Be(Habit::Thinks));
    let (bob, old) = (Papers::new(), house.code.clone());
    let mut guesser = Guesser::begin(house.call(), &bob, &house.id, &old).await;
    guesser.raw.send(&guesser.ours.clone()).await;
    assert_eq!(house.told().await, Told::Asked(bob.id));
    assert_eq!(house.told().await, Told::Expired);
    house.order(Order::NewCode);
    house.new_code().await;
    let eve = Papers::new();
    let mut other = Guesser::begin(house.call(), &eve, &house.id, &house.code).await;
    house.order(Order::Answer(Storing::Stored));
    other.raw.expect(FAILED).await;
    house.order(Order::Be(Habit::Answers(Storing::Stored)));
    let mut again = Guesser::begin(house.call(), &bob, &house.id, &old).await;
    again.succeed().await;
    assert_eq!(house.stored(), [bob.id, bob.id]);
}
