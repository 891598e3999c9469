//! A cut at any byte, and cuts upon cuts.

use proptest::prelude::Strategy as _;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tokio::sync::oneshot;

use super::network::{Link, network};
use super::sides::Sides;
use super::{Transcript, converse};

/// One conversation of seven turns over links that are cut so; how many bytes
/// each link has carried. `None` where the client was never connected: a first
/// dial fails at once.
async fn run(sides: &Sides, cuts: Vec<usize>) -> Option<Vec<usize>> {
    const TURNS: u64 = 7;
    let (dial, accept, links) = network(cuts.clone());
    let mut server = sides.serve(accept).await;
    let (done, serving) = oneshot::channel();
    tokio::spawn(async move {
        while let Some(talk) = server.next().await {
            let (transcript, over) = converse(talk, true, TURNS).await;
            if transcript.len() as u64 == TURNS {
                let _ = done.send((transcript, over));
                break;
            }
        }
    });
    let waiting = sides.client().connect::<Link, _, _>(dial).await.ok()?;
    let talk = waiting.welcome().await.ok()?;
    let (heard, over) = converse(talk, false, TURNS).await;
    let expected: Transcript = (1..=TURNS)
        .map(|turn| (turn, turn % 2 == 1, format!("turn {turn}")))
        .collect();
    assert_eq!(heard, expected, "client, cuts {cuts:?}: {over:?}");
    assert!(over.unacknowledged.is_none(), "cuts {cuts:?}: {over:?}");
    let (said, over) = serving.await.unwrap();
    assert_eq!(said, expected, "server, cuts {cuts:?}: {over:?}");
    let carried = links.lock().unwrap();
    let carried = carried.iter();
    Some(
        carried
            .map(|(bytes, left)| bytes - *left.lock().unwrap())
            .collect(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_cut_after_any_byte_loses_nothing_and_doubles_nothing() {
    let sides = Sides::new();
    let whole = run(&sides, vec![]).await.unwrap();
    let [bytes] = whole[..] else {
        panic!("one link: {whole:?}");
    };
    let mut connected = 0;
    for k in 0..bytes {
        connected += u32::from(run(&sides, vec![k]).await.is_some());
    }
    eprintln!("cut after each of {bytes} bytes; {connected} conversations had begun, and went on");
    assert!(connected > 0);
}

#[tokio::test(start_paused = true)]
async fn cuts_upon_cuts_lose_nothing_and_double_nothing() {
    let sides = Sides::new();
    let whole = run(&sides, vec![]).await.unwrap();
    let bytes = whole[0];
    let mut seeds = TestRunner::deterministic();
    // The first link lasts into the conversation, the later ones as they like.
    let cuts = (
        bytes * 3 / 4..bytes,
        proptest::collection::vec(0..bytes, 0..5),
    );
    for _ in 0..200 {
        let (first, later) = cuts.new_tree(&mut seeds).unwrap().current();
        let cuts = [vec![first], later].concat();
        run(&sides, cuts).await;
    }
}
