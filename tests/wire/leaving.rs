//! A peer that goes away at each step, with and without a goodbye of TLS.

use tokio::io::{AsyncWriteExt as _, duplex};
use turnchat::{Cause, LinkError};

use super::ours::{Habit, House, PIPE, called, dial, told, unheld};
use super::raw::{Came, Face, ID, Papers, QUIT, heard, hello, say, welcome};

/// What a client sends before it leaves, after the handshake. It reads all
/// that comes before the next step.
fn client_steps() -> Vec<String> {
    vec![
        String::new(),
        "{\"hello\"".to_owned(),
        format!("{}\n", hello(ID)),
        format!("{}\n{{", hello(ID)),
        format!("{}\n{}\n", hello(ID), heard(1)),
        format!("{}\n{}\n", hello(ID), say(2, "x")),
        format!("{}\n{}\n{}", hello(ID), heard(1), say(2, "x")),
        format!("{}\n{}\n{}\n", hello(ID), say(2, "x"), heard(3)),
        format!("{}\n{}\n{QUIT}\n", hello(ID), say(2, "x")),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_at_any_step_costs_the_next_one_nothing() {
    for step in client_steps() {
        for (says_goodbye, reads) in [(true, true), (false, true), (true, false), (false, false)] {
            let mut house = House::new(Habit::Answers).await;
            let mut guest = house.guest().await;
            let mut sent = step.as_str();
            if reads && let Some(rest) = step.strip_prefix(&format!("{}\n", hello(ID))) {
                guest.begin().await;
                guest.expect(&say(1, "turn 1")).await;
                sent = rest;
            }
            guest.send_bytes(sent.as_bytes()).await;
            if says_goodbye {
                let _ = guest.stream.shutdown().await;
            }
            drop(guest);
            house.serves_the_next(Habit::Answers).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_clients_that_say_hello_and_leave_cost_no_seat() {
    let mut house = House::new(Habit::Answers).await;
    for _ in 0..32 {
        let mut guest = house.guest().await;
        guest.send(&hello(ID)).await;
        drop(guest);
    }
    house.serves_the_next(Habit::Answers).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_inside_of_the_handshake_is_forgotten() {
    let mut house = House::new(Habit::Answers).await;
    drop(house.call());
    for bytes in [&[22][..], &[22, 3, 1, 0, 200], &[22, 3, 1, 0, 200, 1, 0, 0]] {
        let mut stream = house.call();
        stream.write_all(bytes).await.unwrap();
        drop(stream);
    }
    house.serves_the_next(Habit::Answers).await;
}

#[tokio::test(start_paused = true)]
async fn a_queued_client_that_leaves_moves_the_others_up() {
    let house = House::new(Habit::Thinks).await;
    let mut first = house.guest().await;
    first.begin().await;
    let mut queued = Vec::new();
    for ahead in 0..3 {
        let mut guest = house.guest().await;
        guest.send(&hello(ID)).await;
        guest
            .expect(&format!("{{\"wait\":{{\"ahead\":{ahead}}}}}"))
            .await;
        queued.push(guest);
    }
    drop(queued.remove(0));
    queued[0].expect("{\"wait\":{\"ahead\":0}}").await;
    queued[1].expect("{\"wait\":{\"ahead\":1}}").await;
    drop(first);
    queued[0].expect(&welcome(ID)).await;
    queued[1].expect("{\"wait\":{\"ahead\":0}}").await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_at_any_step_is_a_lost_link() {
    for says_goodbye in [true, false] {
        for step in 0..6 {
            let (mut raw, mut tale) = called(Habit::Answers).await;
            let id = raw.hello().await;
            let lines = [
                "{\"wait\":{\"ahead\":0}}".to_owned(),
                welcome(&id),
                say(1, "x"),
                heard(2),
                say(3, "y"),
            ];
            for line in &lines[..step] {
                raw.send(line).await;
            }
            for _ in 0..[0, 0, 0, 2, 2, 4][step] {
                assert!(matches!(raw.next().await, Came::Line(_)));
            }
            raw.send_bytes(b"{\"say\":{\"turn\":").await;
            if says_goodbye {
                raw.stream.shutdown().await.unwrap();
            }
            drop(raw);
            let (words, over) = told(&mut tale).await;
            let all = [
                "waiting 0",
                "began",
                "heard 1 x",
                "delivered 2",
                "heard 3 y",
            ];
            assert_eq!(words, &all[..step]);
            assert!(
                matches!(over.cause, Cause::Link(LinkError::Cut | LinkError::Io(_))),
                "{over:?}"
            );
            let unacknowledged = over.unacknowledged.map(|message| message.turn);
            let expected = [None, None, None, Some(2), None, Some(4)][step];
            assert_eq!(unacknowledged, expected, "step {step}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_inside_of_the_handshake_is_told_at_once() {
    let papers = Papers::new();
    let (ours, theirs) = duplex(PIPE);
    drop(theirs);
    assert!(
        dial(ours, papers.id, Habit::Answers, unheld())
            .await
            .is_err()
    );

    // It proves its key, and is gone before it has read ours.
    let (ours, theirs) = duplex(PIPE);
    let face = Face::new(&papers);
    let (raw, tale) = tokio::join!(
        async { face.answer(theirs).await.map(drop) },
        dial(ours, papers.id, Habit::Answers, unheld())
    );
    raw.unwrap();
    let (words, over) = told(&mut tale.unwrap()).await;
    assert!(words.is_empty());
    assert!(matches!(over.cause, Cause::Link(_)), "{over:?}");
}
