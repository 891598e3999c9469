//! A cut after each byte of each frame.

use tokio::io::{AsyncWriteExt as _, duplex};
use turnchat::{LinkError, PairingError};

use super::foreign::{Answerer, Guesser, Half, face};
use super::ours::{House, PIPE, Told, identity, pair_over};
use crate::wire::raw::Papers;

/// In the server's place, our client never stores what was not confirmed to the last byte.
#[tokio::test(start_paused = true)]
async fn a_client_is_paired_by_a_whole_confirmation_alone() {
    let bob = identity();
    let code = "acoustic-museum-tide";
    for frame in 0..2 {
        for bytes in 0.. {
            let alice = Papers::new();
            let (ours, theirs) = duplex(PIPE);
            let answer = async {
                let mut answerer = Answerer::begin(theirs, &alice, &bob.key_id(), code).await;
                let line = match frame {
                    0 => answerer.spake2.clone(),
                    _ => {
                        answerer.go_on().await;
                        answerer.ours.clone()
                    }
                };
                let line = format!("{line}\n");
                let part = line.as_bytes().get(..bytes);
                let part = part.map(<[u8]>::to_vec);
                if let Some(part) = &part {
                    answerer.raw.send_bytes(part).await;
                }
                // With `close_notify`, and without.
                if bytes % 2 == 0 {
                    let _ = answerer.raw.stream.shutdown().await;
                }
                part.map(|part| part.len() == line.len())
            };
            let (paired, is_whole) = tokio::join!(pair_over(ours, &bob, code), answer);
            match (is_whole, paired) {
                (None, _) => break,
                (Some(true), Ok(key)) => assert!(frame == 1 && key == alice.id),
                (Some(is_whole), Err(PairingError::Link(LinkError::Cut))) => {
                    assert!(!is_whole || frame == 0, "{frame} {bytes}");
                }
                (_, other) => panic!("{frame} {bytes}: {other:?}"),
            }
        }
    }
}

/// In the client's place: nothing is judged that is not whole, and the code stays good.
#[tokio::test(start_paused = true)]
async fn a_server_judges_a_whole_confirmation_alone() {
    let mut house = House::new().await;
    let bob = Papers::new();
    let code = house.code.clone();
    let spake2 = format!("{}\n", Half::client(&code).line);
    for bytes in 0..=spake2.len() {
        let mut raw = face(&bob).dial(house.call()).await.unwrap();
        raw.send_bytes(&spake2.as_bytes()[..bytes]).await;
    }
    let mut whole = 0;
    for bytes in 0.. {
        let mut guesser = Guesser::begin(house.call(), &bob, &house.id, &code).await;
        let confirm = format!("{}\n", guesser.ours);
        let Some(part) = confirm.as_bytes().get(..bytes) else {
            break;
        };
        guesser.raw.send_bytes(part).await;
        if part.len() == confirm.len() {
            whole += 1;
            assert_eq!(house.told().await, Told::Asked(bob.id));
        } else if bytes % 2 == 0 {
            let _ = guesser.raw.stream.shutdown().await;
        }
    }
    assert_eq!((whole, house.stored().len()), (1, 1));
    assert!(house.is_silent());
}

/// Frames that come byte by byte are frames.
#[tokio::test(start_paused = true)]
async fn an_exchange_byte_by_byte_succeeds() {
    let mut house = House::new().await;
    let bob = Papers::new();
    let mut guesser = Guesser::begin(house.call(), &bob, &house.id, &house.code).await;
    for byte in guesser.ours.clone().bytes().chain([b'\n']) {
        guesser.raw.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    let theirs = guesser.theirs.clone();
    guesser.raw.expect(&theirs).await;
    assert_eq!(house.told().await, Told::Asked(bob.id));
}
