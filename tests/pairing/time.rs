//! What takes too long. Time is played.

use std::time::Duration;

use tokio::io::duplex;
use tokio::time::{Instant, sleep};
use turnchat::{
    ConnectError, ConnectionError, HandshakeError, LinkError, Overdue, PairReason, PairingError,
    ServerEvent,
};

use super::foreign::{Answerer, BUSY, FAILED, Guesser, Half, face, line_of};
use super::ours::{Habit, House, Order, PIPE, Told, identity, other_than, pair_over};
use crate::wire::raw::{Came, Papers};

const CODE: &str = "acoustic-museum-tide";

#[tokio::test(start_paused = true)]
async fn a_first_frame_is_due_ten_seconds_after_the_connection_came() {
    for trickled in [0, 8] {
        let mut house = House::new().await;
        let mut events = house.server.events().unwrap();
        let start = Instant::now();
        let stream = house.call();
        sleep(Duration::from_secs(1)).await;
        let mut raw = face(&Papers::new()).dial(stream).await.unwrap();
        for byte in Half::client(&house.code).line.bytes().take(trickled) {
            raw.send_bytes(&[byte]).await;
            sleep(Duration::from_secs(1)).await;
        }
        assert!(matches!(raw.next().await, Came::Cut | Came::Close));
        assert_eq!(start.elapsed().as_secs(), 10);
        let Some(ServerEvent::Failed(error)) = events.next().await else {
            panic!("nothing failed");
        };
        assert!(matches!(
            error,
            ConnectionError::Link(LinkError::Overdue(Overdue::FirstFrame))
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn an_exchange_ends_fifteen_seconds_after_its_first_frame() {
    let mut house = House::new().await;
    let stream = house.call();
    let mut guesser = Guesser::begin(stream, &Papers::new(), &house.id, &house.code).await;
    let start = Instant::now();
    sleep(Duration::from_secs(14)).await;
    guesser
        .raw
        .send_bytes(&guesser.ours.clone().as_bytes()[..9])
        .await;
    assert!(matches!(guesser.raw.next().await, Came::Cut | Came::Close));
    assert_eq!(start.elapsed().as_secs(), 15);
    assert!(house.is_silent());
}

/// The confirmation is right, but somebody before it is never judged to the end.
#[tokio::test(start_paused = true)]
async fn a_confirmation_whose_turn_does_not_come_is_refused_and_is_no_guess() {
    let mut house = House::new().await;
    house.order(Order::Be(Habit::Thinks));
    let (eve, bob) = (Papers::new(), Papers::new());
    let mut first = Guesser::begin(house.call(), &eve, &house.id, &house.code).await;
    first.raw.send(&first.ours.clone()).await;
    assert_eq!(house.told().await, Told::Asked(eve.id));
    let mut second = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
    let start = Instant::now();
    second.fail(BUSY).await;
    assert_eq!(start.elapsed().as_secs(), 15);
    assert!(matches!(first.raw.next().await, Came::Cut | Came::Close));
    house.order(Order::Answer(turnchat::Storing::Failed));
    house.order(Order::Be(Habit::Answers(turnchat::Storing::Stored)));
    let mut again = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
    again.succeed().await;
}

/// One that was sent in time, and whose two seconds would end too late.
#[tokio::test(start_paused = true)]
async fn the_wait_for_a_turn_is_within_the_fifteen_seconds() {
    let mut house = House::new().await;
    let (eve, bob) = (Papers::new(), Papers::new());
    let mut slow = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
    sleep(Duration::from_secs(14)).await;
    let wrong = other_than(&house.code);
    let mut quick = Guesser::begin(house.call(), &eve, &house.id, wrong).await;
    quick.fail(FAILED).await;
    slow.fail(BUSY).await;
    assert_eq!(house.told().await, Told::Wrong(eve.id));
    assert!(house.is_silent());
}

#[tokio::test(start_paused = true)]
async fn a_code_expires_after_ten_minutes_and_another_comes_when_asked_for() {
    let mut house = House::new().await;
    let mut codes = vec![house.code.clone()];
    for _ in 0..3 {
        sleep(Duration::from_secs(590)).await;
        let bob = Papers::new();
        let mut guesser = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
        guesser.raw.expect(FAILED).await;
        assert_eq!(house.told().await, Told::Expired);
        assert!(house.is_silent());
        let failed = house.pair(&identity(), &house.code).await.unwrap_err();
        assert!(failed.is_not_open());
        house.order(Order::NewCode);
        if codes.len() < 3 {
            house.new_code().await;
            codes.push(house.code.clone());
        }
    }
    assert_eq!(house.told().await, Told::Exhausted);
    assert_eq!(house.told().await, Told::Over);
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_fifteen_seconds() {
    let bob = identity();
    for steps in 0..2 {
        let alice = Papers::new();
        let (ours, theirs) = duplex(PIPE);
        let start = Instant::now();
        let answer = async {
            let mut answerer = Answerer::begin(theirs, &alice, &bob.key_id(), CODE).await;
            if steps == 1 {
                sleep(Duration::from_secs(14)).await;
                answerer.go_on().await;
            }
            assert!(matches!(answerer.raw.next().await, Came::Cut | Came::Close));
        };
        let (paired, ()) = tokio::join!(pair_over(ours, &bob, CODE), answer);
        assert!(matches!(
            paired,
            Err(PairingError::Link(LinkError::Overdue(Overdue::Pairing)))
        ));
        assert_eq!(start.elapsed().as_secs(), 15);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_gives_a_handshake_ten_seconds() {
    let (ours, _theirs) = duplex(PIPE);
    let start = Instant::now();
    let failed = pair_over(ours, &identity(), CODE).await.unwrap_err();
    assert!(matches!(
        failed,
        PairingError::Connect(ConnectError::Handshake(HandshakeError::TimedOut))
    ));
    assert_eq!(start.elapsed().as_secs(), 10);
}

/// A refusal is read though the client has not said a word.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_comes_at_once_is_understood() {
    let (bob, alice) = (identity(), Papers::new());
    let (ours, theirs) = duplex(PIPE);
    let answer = async {
        let mut raw = face(&alice).answer(theirs).await.unwrap();
        raw.send(BUSY).await;
        line_of(&mut raw).await;
        assert_eq!(raw.next().await, Came::Close);
    };
    let (paired, ()) = tokio::join!(pair_over(ours, &bob, CODE), answer);
    assert!(matches!(
        paired,
        Err(PairingError::Refused(PairReason::Busy))
    ));
}
