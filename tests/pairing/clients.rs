//! Our client, and who may answer it.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::io::{DuplexStream, duplex};
use turnchat::{ConnectError, Identity, KeyId, LinkError, PairReason, PairingClient, PairingError};

use super::foreign::{Answerer, FAILED, INTERNAL, face};
use super::ours::{House, PIPE, Told, identity, other_than, pair_over};
use crate::wire::raw::{Came, Papers};

const CODE: &str = "acoustic-museum-tide";

/// Our client tries a code, and this server answers with another or the same.
async fn met(
    client: &Identity,
    papers: &Papers,
    code: &str,
) -> (Result<KeyId, PairingError>, Came) {
    let (ours, theirs) = duplex(PIPE);
    let answer = async {
        let mut answerer = Answerer::begin(theirs, papers, &client.key_id(), code).await;
        let confirm = answerer.go_on().await;
        assert_eq!(confirm == answerer.theirs, code == CODE);
        let ours = answerer.ours.clone();
        answerer.raw.send(&ours).await;
        answerer.raw.next().await
    };
    tokio::join!(pair_over(ours, client, CODE), answer)
}

#[tokio::test(start_paused = true)]
async fn a_client_pairs_with_a_server_written_from_the_page() {
    let (bob, alice) = (identity(), Papers::new());
    let (paired, last) = met(&bob, &alice, CODE).await;
    assert_eq!(paired.unwrap(), alice.id);
    assert_eq!(last, Came::Close);
}

#[tokio::test(start_paused = true)]
async fn who_answers_without_the_code_is_an_impostor() {
    let (bob, mallory) = (identity(), Papers::new());
    let (paired, last) = met(&bob, &mallory, other_than(CODE)).await;
    let Err(PairingError::Impostor(key)) = paired else {
        panic!("{paired:?}");
    };
    assert_eq!(key, mallory.id);
    assert_eq!(last, Came::Close);
}

/// What a server that knows nothing can send back.
#[tokio::test(start_paused = true)]
async fn a_client_is_not_convinced_by_its_own_words() {
    let (bob, mallory) = (identity(), Papers::new());
    let (ours, theirs) = duplex(PIPE);
    let answer = async {
        let mut answerer = Answerer::begin(theirs, &mallory, &bob.key_id(), "a-b-c").await;
        let confirm = answerer.go_on().await;
        answerer.raw.send(&confirm).await;
        answerer.raw.next().await
    };
    let (paired, _) = tokio::join!(pair_over(ours, &bob, CODE), answer);
    assert!(matches!(paired, Err(PairingError::Impostor(_))));
}

#[tokio::test(start_paused = true)]
async fn each_refusal_is_told() {
    for (word, reason) in [
        ("pairing-failed", PairReason::PairingFailed),
        ("busy", PairReason::Busy),
        ("declined", PairReason::Declined),
    ] {
        for has_answered in [false, true] {
            let (bob, alice) = (identity(), Papers::new());
            let (ours, theirs) = duplex(PIPE);
            let answer = async {
                let mut answerer = Answerer::begin(theirs, &alice, &bob.key_id(), CODE).await;
                if has_answered {
                    answerer.go_on().await;
                }
                let refusal = format!("{{\"refuse\":{{\"reason\":\"{word}\"}}}}");
                answerer.raw.send(&refusal).await;
                answerer.raw.next().await
            };
            let (paired, last) = tokio::join!(pair_over(ours, &bob, CODE), answer);
            let Err(PairingError::Refused(told)) = paired else {
                panic!("{paired:?}");
            };
            assert_eq!(told, reason);
            assert_eq!(last, Came::Close);
        }
    }
}

/// Only an exchange that reached our confirmation counts.
#[tokio::test(start_paused = true)]
async fn a_client_has_three_tries() {
    let mut house = House::new().await;
    let bob = identity();
    let mut client = PairingClient::new(&bob);
    let wrong = || other_than("").parse().unwrap();
    for _ in 0..5 {
        let nowhere = async { Err::<DuplexStream, _>(io::ErrorKind::NotFound.into()) };
        let failed = client.pair(wrong(), nowhere).await.unwrap_err();
        assert!(matches!(
            failed,
            PairingError::Connect(ConnectError::Dial(_))
        ));
    }
    for _ in 0..3 {
        let stream = house.call();
        let failed = client.pair(wrong(), async { Ok(stream) }).await;
        assert!(matches!(failed, Err(PairingError::Refused(_))));
        assert_eq!(house.told().await, Told::Wrong(bob.key_id()));
    }
    // It does not even dial.
    let dialling = poll_fn(|_| -> Poll<io::Result<DuplexStream>> { panic!("dialled") });
    let failed = client.pair(house.code.parse().unwrap(), dialling).await;
    assert!(matches!(failed, Err(PairingError::NoTriesLeft)));
}

/// It stops inside of the handshake, before its own certificate goes out.
#[tokio::test(start_paused = true)]
async fn a_client_that_knows_the_server_takes_no_other_key() {
    let (bob, alice, mallory) = (identity(), Papers::new(), Papers::new());
    for (known, is_met) in [(alice.id, true), (mallory.id, false)] {
        let (ours, theirs) = duplex(PIPE);
        let mut client = PairingClient::new(&bob).expecting(vec![known]);
        let answer = async {
            let raw = face(&alice).answer(theirs).await.ok();
            let Some(mut raw) = raw else {
                return false;
            };
            assert!(matches!(raw.next().await, Came::Line(_)));
            raw.send(FAILED).await;
            true
        };
        let pairing = client.pair(CODE.parse().unwrap(), async { Ok(ours) });
        let (paired, has_met) = tokio::join!(pairing, answer);
        assert_eq!(has_met, is_met);
        match paired {
            Err(PairingError::Refused(_)) => assert!(is_met),
            Err(PairingError::Connect(error)) => assert_eq!(error.other_key(), Some(alice.id)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_has_to_prove_its_key() {
    let (bob, alice) = (identity(), Papers::new());
    for face in [face(&alice.copied()), face(&alice).asking_nobody()] {
        let (ours, theirs) = duplex(PIPE);
        let answer = async {
            match face.answer(theirs).await {
                Ok(mut raw) => !matches!(raw.next().await, Came::Line(_)),
                Err(_) => true,
            }
        };
        let (paired, was_silent) = tokio::join!(pair_over(ours, &bob, CODE), answer);
        assert!(matches!(
            paired,
            Err(PairingError::Connect(ConnectError::Handshake(_)))
        ));
        assert!(was_silent);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_server_is_told() {
    let (bob, alice) = (identity(), Papers::new());
    let (ours, theirs) = duplex(PIPE);
    let answer = async {
        let mut answerer = Answerer::begin(theirs, &alice, &bob.key_id(), CODE).await;
        answerer.go_on().await;
        answerer.raw.send(INTERNAL).await;
        // Whoever receives an error answers nothing.
        assert!(!matches!(answerer.raw.next().await, Came::Line(_)));
    };
    let (paired, ()) = tokio::join!(pair_over(ours, &bob, CODE), answer);
    assert!(matches!(
        paired,
        Err(PairingError::Link(LinkError::Reported { .. }))
    ));
}
