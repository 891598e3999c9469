//! What is no frame, no point, or not due: told, and no guess.

use tokio::io::duplex;
use turnchat::{LinkError, PairingError};

use super::foreign::{Answerer, FAILED, Guesser, Half, INTERNAL, face, line, line_of};
use super::ours::{House, PIPE, Told, identity, pair_over};
use crate::wire::raw::{Came, Papers};

/// A point of the curve is not everywhere: this one has no x.
fn no_point(side: u8) -> String {
    let mut message = [0; 33];
    message[0] = side;
    message[1] = 2;
    line("spake2", &message)
}

/// What is malformed wherever it comes.
fn malformed() -> Vec<String> {
    let confirm = "A".repeat(43);
    let spake2 = "QUFB".repeat(11);
    [
        String::new(),
        "hello".to_owned(),
        "{}".to_owned(),
        "{\"pair\":{}}".to_owned(),
        "{\"pair\":null}".to_owned(),
        "{\"ping\":{}}".to_owned(),
        "{\"pong\":{}}".to_owned(),
        "{\"quit\":{}}".to_owned(),
        "{\"hello\":{\"conversation\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"heard\":0}}".to_owned(),
        "{\"refuse\":{\"reason\":\"closing\"}}".to_owned(),
        format!("{{\"pair\":{{\"confirm\":\"{confirm}=\"}}}}"),
        format!("{{\"pair\":{{\"confirm\":\"{}B\"}}}}", &confirm[1..]),
        format!("{{\"pair\":{{\"spake2\":\"{}\"}}}}", &spake2[1..]),
        format!("{{\"pair\":{{\"spake2\":\"{spake2}\",\"confirm\":\"{confirm}\"}}}}"),
        format!("{{\"pair\":{{\"code\":\"{spake2}\"}}}}"),
        " ".repeat(4_096),
    ]
    .into()
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_what_is_no_frame_and_counts_no_guess() {
    let mut house = House::new().await;
    let (eve, code) = (Papers::new(), house.code.clone());
    let spake2 = Half::client(&code).line;
    let mut first = malformed();
    first.extend([
        FAILED.to_owned(),
        line("confirm", &[0; 32]),
        Half::server(&code).line,
        no_point(0x41),
    ]);
    for line in first {
        let mut raw = face(&eve).dial(house.call()).await.unwrap();
        raw.send(&line).await;
        raw.expect_error("protocol-error").await;
    }
    let mut second = malformed();
    second.extend([FAILED.to_owned(), spake2]);
    for line in second {
        let mut guesser = Guesser::begin(house.call(), &eve, &house.id, &code).await;
        guesser.raw.send(&line).await;
        guesser.raw.expect_error("protocol-error").await;
    }
    // No user was told of anything, and the code is good.
    assert!(house.is_silent());
    let mut guesser = Guesser::begin(house.call(), &eve, &house.id, &code).await;
    guesser.succeed().await;
    assert_eq!(house.told().await, Told::Asked(eve.id));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_client_is_not_answered() {
    let mut house = House::new().await;
    let eve = Papers::new();
    let mut raw = face(&eve).dial(house.call()).await.unwrap();
    raw.send(INTERNAL).await;
    assert!(!matches!(raw.next().await, Came::Line(_)));
    let mut guesser = Guesser::begin(house.call(), &eve, &house.id, &house.code).await;
    guesser.raw.send(INTERNAL).await;
    assert!(!matches!(guesser.raw.next().await, Came::Line(_)));
    assert!(house.is_silent());
}

/// A frame too many before the answer is no guess: it may not be waited for.
#[tokio::test(start_paused = true)]
async fn a_second_confirmation_is_out_of_place() {
    let mut house = House::new().await;
    let wrong = super::ours::other_than(&house.code);
    let (eve, mallory) = (Papers::new(), Papers::new());
    let mut first = Guesser::begin(house.call(), &eve, &house.id, wrong).await;
    first.fail(FAILED).await;
    assert_eq!(house.told().await, Told::Wrong(eve.id));
    // It has to wait for two seconds, and does not.
    let mut second = Guesser::begin(house.call(), &mallory, &house.id, wrong).await;
    let twice = format!("{0}\n{0}", second.ours);
    second.raw.send(&twice).await;
    second.raw.expect_error("protocol-error").await;
    assert!(house.is_silent());
}

#[tokio::test(start_paused = true)]
async fn a_client_answers_what_is_no_frame() {
    let bob = identity();
    let code = "acoustic-museum-tide";
    let mut first = malformed();
    first.extend([
        line("confirm", &[0; 32]),
        Half::client(code).line,
        no_point(0x42),
    ]);
    for line in first {
        let alice = Papers::new();
        let (ours, theirs) = duplex(PIPE);
        let answer = async {
            let mut raw = face(&alice).answer(theirs).await.unwrap();
            line_of(&mut raw).await;
            raw.send(&line).await;
            raw.expect_error("protocol-error").await;
        };
        let (paired, ()) = tokio::join!(pair_over(ours, &bob, code), answer);
        told_as_malformed(&paired.unwrap_err());
    }
    let mut second = malformed();
    second.push(Half::server(code).line);
    for line in second {
        let alice = Papers::new();
        let (ours, theirs) = duplex(PIPE);
        let answer = async {
            let mut answerer = Answerer::begin(theirs, &alice, &bob.key_id(), code).await;
            answerer.go_on().await;
            answerer.raw.send(&line).await;
            answerer.raw.expect_error("protocol-error").await;
        };
        let (paired, ()) = tokio::join!(pair_over(ours, &bob, code), answer);
        told_as_malformed(&paired.unwrap_err());
    }
}

fn told_as_malformed(error: &PairingError) {
    assert!(
        matches!(
            error,
            PairingError::Link(LinkError::Malformed(_) | LinkError::Violation(_))
        ),
        "{error:?}"
    );
}
