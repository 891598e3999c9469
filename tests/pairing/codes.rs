//! What codes are worth: right ones, wrong ones, spent ones.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use turnchat::{Client, PairReason, PairingError};

use super::foreign::{FAILED, Guesser};
use super::ours::{House, Told, identity, other_than};
use crate::wire::raw::Papers;

#[tokio::test(start_paused = true)]
async fn a_right_code_pairs_two_keys() {
    let mut house = House::new().await;
    let bob = identity();
    let key = house.pair(&bob, &house.code).await.unwrap();
    assert_eq!(key, house.id);
    assert_eq!(house.told().await, Told::Asked(bob.key_id()));
    assert_eq!(house.stored(), [bob.key_id()]);
    assert!(house.is_silent());
}

#[tokio::test(start_paused = true)]
async fn a_peer_written_from_the_page_pairs_with_the_server() {
    let mut house = House::new().await;
    let bob = Papers::new();
    let mut guesser = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
    guesser.succeed().await;
    assert_eq!(house.told().await, Told::Asked(bob.id));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_code_is_refused_and_told_and_stores_nothing() {
    let mut house = House::new().await;
    let bob = identity();
    let failed = house.pair(&bob, other_than(&house.code)).await.unwrap_err();
    assert!(matches!(
        failed,
        PairingError::Refused(PairReason::PairingFailed)
    ));
    assert_eq!(house.told().await, Told::Wrong(bob.key_id()));
    assert!(house.stored().is_empty() && house.is_silent());
    // The code is still good, for anybody.
    house.pair(&identity(), &house.code).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_code_is_good_for_one_key() {
    let mut house = House::new().await;
    let (bob, eve) = (identity(), identity());
    house.pair(&bob, &house.code).await.unwrap();
    let failed = house.pair(&eve, &house.code).await.unwrap_err();
    assert!(matches!(
        failed,
        PairingError::Refused(PairReason::PairingFailed)
    ));
    // The same key may come again, for ten minutes.
    sleep(Duration::from_secs(599)).await;
    house.pair(&bob, &house.code).await.unwrap();
    assert_eq!(house.stored(), [bob.key_id(), bob.key_id()]);
    sleep(Duration::from_secs(1)).await;
    assert!(
        house
            .pair(&bob, &house.code)
            .await
            .unwrap_err()
            .is_not_open()
    );
    for told in [
        Told::Asked(bob.key_id()),
        Told::TooLate(eve.key_id()),
        Told::Asked(bob.key_id()),
        Told::Over,
    ] {
        assert_eq!(house.told().await, told);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_hello_ends_the_pairing() {
    let mut house = House::new().await;
    let (bob, eve) = (identity(), identity());
    house.pair(&bob, &house.code).await.unwrap();
    assert_eq!(house.told().await, Told::Asked(bob.key_id()));
    for (client, is_over) in [(&eve, false), (&bob, true)] {
        let stream = house.call();
        let mut stream = Some(stream);
        let client = Client::new(client, vec![house.id]);
        let dial =
            move || std::future::ready(stream.take().ok_or(std::io::ErrorKind::Other.into()));
        let mut waiting = client.connect(dial).await.unwrap();
        // The server's user is not ready: it is told to wait.
        waiting.notice().await;
        let again = house.pair(&bob, &house.code).await;
        assert_eq!(again.is_err(), is_over);
    }
    assert_eq!(house.told().await, Told::Asked(bob.key_id()));
    assert_eq!(house.told().await, Told::Over);
    assert!(
        house
            .pair(&bob, &house.code)
            .await
            .unwrap_err()
            .is_not_open()
    );
}

#[tokio::test(start_paused = true)]
async fn five_wrong_guesses_end_a_code_and_fifteen_the_pairing() {
    let mut house = House::new().await;
    let eve = Papers::new();
    for code in 0..3 {
        let spent = house.code.clone();
        let mut waiting = Guesser::begin(house.call(), &Papers::new(), &house.id, &spent).await;
        for _ in 0..5 {
            let wrong = other_than(&house.code);
            let mut guesser = Guesser::begin(house.call(), &eve, &house.id, wrong).await;
            guesser.fail(FAILED).await;
            assert_eq!(house.told().await, Told::Wrong(eve.id));
        }
        // An exchange with the old code is over, though it has the right words.
        waiting.raw.expect(FAILED).await;
        match code {
            2 => assert_eq!(house.told().await, Told::Exhausted),
            _ => {
                house.new_code().await;
                let mut late = Guesser::begin(house.call(), &eve, &house.id, &spent).await;
                assert_ne!(late.ours, late.theirs);
                late.raw.send("{}").await;
                late.raw.expect_error("protocol-error").await;
            }
        }
    }
    assert_eq!(house.told().await, Told::Over);
    assert!(house.stored().is_empty());
    let failed = house.pair(&identity(), &house.code).await.unwrap_err();
    assert!(failed.is_not_open(), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn after_a_wrong_guess_the_next_waits_for_two_seconds() {
    let mut house = House::new().await;
    let wrong = other_than(&house.code);
    let (eve, bob) = (Papers::new(), Papers::new());
    let mut first = Guesser::begin(house.call(), &eve, &house.id, wrong).await;
    let mut second = Guesser::begin(house.call(), &eve, &house.id, wrong).await;
    let mut third = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
    let start = Instant::now();
    first.fail(FAILED).await;
    assert!(start.elapsed() < Duration::from_millis(100));
    let raced = async {
        second.fail(FAILED).await;
        start.elapsed()
    };
    let (second, third) = tokio::join!(raced, async {
        third.succeed().await;
        start.elapsed()
    });
    assert_eq!((second.as_secs(), third.as_secs()), (2, 4));
    for _ in 0..2 {
        assert_eq!(house.told().await, Told::Wrong(eve.id));
    }
    assert_eq!(house.told().await, Told::Asked(bob.id));
}

/// Each side has words of its own.
#[tokio::test(start_paused = true)]
async fn the_servers_confirmation_does_not_convince_the_server() {
    let mut house = House::new().await;
    let eve = Papers::new();
    let mut guesser = Guesser::begin(house.call(), &eve, &house.id, &house.code).await;
    guesser.ours = guesser.theirs.clone();
    guesser.fail(FAILED).await;
    assert_eq!(house.told().await, Told::Wrong(eve.id));
    assert!(house.stored().is_empty());
}
