//! kill -9 of either side or both, at random instants, over one conversation.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::side::{Homes, Side, Who, port};
use crate::{PATIENCE, assert_whole, number};

#[test]
fn one_conversation_survives_kills_of_both_sides() {
    let kills = number("TURNCHAT_KILLS", 40);
    // The conversation outlives the last kill by a few turns.
    let mut last = u64::MAX;
    let homes = Homes::new();
    let (tell, told) = channel();
    let mut server = Side::start(Who::Server, homes.server(0), tell.clone());
    let port = port(&told);
    server.with_arguments(homes.server(port));
    let mut client = Side::start(Who::Client, homes.client(port), tell);

    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut killed = 0;
    let mut next_kill = Instant::now();
    let mut progress = Instant::now();
    while client.ended.is_none() {
        // Before turn 1 has come, a client that cannot dial gives up.
        let may_kill = killed < kills && !client.heard.is_empty();
        let wait = match may_kill {
            true => next_kill.saturating_duration_since(Instant::now()),
            false => PATIENCE,
        };
        match told.recv_timeout(wait) {
            Ok((who, life, Some(event))) => {
                let side = match who {
                    Who::Server => &mut server,
                    Who::Client => &mut client,
                };
                if life == side.lives {
                    side.on(&event, last);
                    progress = Instant::now();
                }
            }
            // Nobody stops by itself before the end.
            Ok((who, life, None)) => {
                let side = if who == Who::Server { &server } else { &client };
                assert_ne!(life, side.lives, "{who:?} stopped");
            }
            Err(RecvTimeoutError::Timeout) if may_kill => {
                match rng.next_u32() % 3 {
                    0 => server.crash(),
                    1 => client.crash(),
                    _ => {
                        server.kill();
                        client.crash();
                        server.crash();
                    }
                }
                killed += 1;
                if killed == kills {
                    let highest = [&server, &client].map(|side| side.said);
                    last = highest.into_iter().max().unwrap_or(0) + 6;
                }
                next_kill =
                    Instant::now() + Duration::from_micros(u64::from(rng.next_u32() % 250_000));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(progress.elapsed() < PATIENCE, "nothing goes on");
    }
    assert_eq!(killed, kills);
    let turns = client.ended.clone().unwrap()["turns"].as_u64().unwrap();
    while server.ended.is_none() {
        if let (Who::Server, _, Some(event)) = told.recv_timeout(PATIENCE).unwrap() {
            server.on(&event, last);
        }
    }
    assert_eq!(server.ended.clone().unwrap()["turns"].as_u64(), Some(turns));
    assert_whole(&server, &client, turns);
    eprintln!("{killed} kills over {turns} turns");
}
