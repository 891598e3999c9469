//! The end of a conversation and of a connection (PROTOCOL 3.8, 3.9, 3.12 and 3.15),
//! and what shares a packet.

use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::time::Instant;
use turnchat::{Cause, LinkError, Message, Verdict};
use turnchat::{Overdue, Text};

use super::ours::{Habit, House, PIPE, called, cause, dial, told, unheld, welcomed};
use super::raw::{Came, Face, ID, PONG, Papers, QUIT, heard, hello, say, welcome};
use super::streams::{Tapped, Unkind, unkind};

/// More than a server reads at once, and less than it drops when it closes.
fn chatter() -> String {
    vec![PONG; 20_000].join("\n")
}

async fn guest(house: &House<Unkind>) -> super::raw::Raw<tokio_rustls::client::TlsStream<Unkind>> {
    let (here, there) = unkind();
    house.arrive(there);
    Face::new(&Papers::new()).dial(here).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn unread_input_does_not_destroy_an_error() {
    let house = House::on(Habit::Answers, unheld(), async |_| Verdict::Admit).await;
    let mut guest = guest(&house).await;
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    guest.send(&format!("nonsense\n{}", chatter())).await;
    guest.expect_error("protocol-error").await;
}

#[tokio::test(start_paused = true)]
async fn unread_input_does_not_destroy_a_quit() {
    let mut house = House::on(Habit::Answers, unheld(), async |_| Verdict::Admit).await;
    let mut guest = guest(&house).await;
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    guest.send(&format!("{QUIT}\n{}", chatter())).await;
    guest.expect(QUIT).await;
    assert_eq!(guest.next().await, Came::Close);
    drop(guest);
    let (_, over) = told(&mut house.tale).await;
    assert_eq!(cause(&over), "peer");
}

#[tokio::test(start_paused = true)]
async fn a_client_too_reads_what_it_has_not_read_before_it_closes() {
    let papers = Papers::new();
    let (ours, theirs) = unkind();
    let face = Face::new(&papers);
    let (raw, tale) = tokio::join!(
        face.answer(theirs),
        dial(ours, papers.id, Habit::Answers, unheld())
    );
    let (mut raw, _tale) = (raw.unwrap(), tale.unwrap());
    let id = raw.hello().await;
    raw.send(&format!("{}\nnonsense\n{}", welcome(&id), chatter()))
        .await;
    raw.expect_error("protocol-error").await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_close_holds_up_nobody() {
    let mut house = House::new(Habit::Answers).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    let start = Instant::now();
    guest.send(QUIT).await;
    guest.expect(QUIT).await;
    assert_eq!(guest.next().await, Came::Close);
    let (_, over) = told(&mut house.tale).await;
    assert_eq!(cause(&over), "peer");
    house.serves_the_next(Habit::Answers).await;
    assert_eq!(start.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_owed_is_acknowledged_before_the_quit() {
    // The server quits in its turn 3, as soon as it has heard turn 2.
    let mut house = House::new(Habit::QuitsAt(3)).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    guest.send(&say(2, "x")).await;
    guest.expect(&heard(2)).await;
    guest.expect(QUIT).await;
    guest.send(QUIT).await;
    assert_eq!(guest.next().await, Came::Close);
    let (words, over) = told(&mut house.tale).await;
    assert_eq!(words, ["began", "delivered 1", "heard 2 x"]);
    assert_eq!(cause(&over), "me");

    let (mut raw, mut tale) = welcomed(Habit::QuitsAt(2)).await;
    raw.send(&say(1, "x")).await;
    raw.expect(&heard(1)).await;
    raw.expect(QUIT).await;
    raw.send(QUIT).await;
    assert_eq!(raw.next().await, Came::Close);
    let (words, over) = told(&mut tale).await;
    assert_eq!(words, ["heard 1 x"]);
    assert_eq!(cause(&over), "me");
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_our_quit_is_not_heard() {
    // The server says 1 and quits; the client hears 1, says 2, and quits.
    let mut house = House::new(Habit::QuitsAt(2)).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    guest.expect(QUIT).await;
    guest
        .send(&format!("{}\n{}\n{QUIT}", heard(1), say(2, "late")))
        .await;
    assert_eq!(guest.next().await, Came::Close);
    let (words, over) = told(&mut house.tale).await;
    assert_eq!(words, ["began", "delivered 1"]);
    assert_eq!(cause(&over), "me");
}

#[tokio::test(start_paused = true)]
async fn a_close_notify_acknowledges_nothing() {
    for is_said in [true, false] {
        let (mut raw, mut tale) = welcomed(Habit::QuitsAt(3)).await;
        raw.send(&say(1, "x")).await;
        raw.expect(&heard(1)).await;
        raw.expect(&say(2, "turn 2")).await;
        raw.expect(QUIT).await;
        if is_said {
            raw.send(QUIT).await;
        }
        raw.stream.shutdown().await.unwrap();
        let (words, over) = told(&mut tale).await;
        assert_eq!(words, ["heard 1 x"]);
        // The end is acknowledged by `quit`, the message by `heard` alone.
        let expected = if is_said {
            "me"
        } else {
            "the connection was cut"
        };
        assert_eq!(cause(&over), expected);
        let Message { turn, text } = over.unacknowledged.unwrap();
        assert_eq!((turn, text), (2, Text::new("turn 2").unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_notify_without_a_quit_ends_no_conversation() {
    let (mut raw, mut tale) = welcomed(Habit::Thinks).await;
    raw.stream.shutdown().await.unwrap();
    let (_, over) = told(&mut tale).await;
    assert!(
        matches!(over.cause, Cause::Link(LinkError::Cut)),
        "{over:?}"
    );

    let mut house = House::new(Habit::Thinks).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    guest.stream.shutdown().await.unwrap();
    let (_, over) = told(&mut house.tale).await;
    assert!(
        matches!(over.cause, Cause::Link(LinkError::Cut)),
        "{over:?}"
    );
    house.serves_the_next(Habit::Thinks).await;
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_quit_is_given_up_after_ten_seconds() {
    let (mut raw, mut tale) = welcomed(Habit::QuitsAt(1)).await;
    let start = Instant::now();
    raw.expect(QUIT).await;
    let (_, over) = told(&mut tale).await;
    assert!(matches!(
        over.cause,
        Cause::Link(LinkError::Overdue(Overdue::Quit))
    ));
    assert_eq!(start.elapsed().as_secs(), 10);

    let mut house = House::new(Habit::QuitsAt(1)).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    guest.expect(QUIT).await;
    let (_, over) = told(&mut house.tale).await;
    assert!(matches!(
        over.cause,
        Cause::Link(LinkError::Overdue(Overdue::Quit))
    ));
    drop(guest);
    house.serves_the_next(Habit::QuitsAt(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_quit_that_crossed_ours_is_not_answered_again() {
    let mut house = House::new(Habit::QuitsAt(1)).await;
    let mut guest = house.guest().await;
    guest.send(&hello(ID)).await;
    guest.expect(&welcome(ID)).await;
    guest.send(QUIT).await;
    guest.expect(QUIT).await;
    assert_eq!(guest.next().await, Came::Close);
    let _ = told(&mut house.tale).await;
    house.serves_the_next(Habit::QuitsAt(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_says_busy() {
    let mut limits = unheld();
    limits.queue = 1;
    let house = House::with(Habit::Thinks, limits).await;
    let mut first = house.guest().await;
    first.begin().await;
    let mut second = house.guest().await;
    second.send(&hello(ID)).await;
    second.expect("{\"wait\":{\"ahead\":0}}").await;
    let mut third = house.guest().await;
    third.send(&hello(ID)).await;
    third.expect("{\"refuse\":{\"reason\":\"busy\"}}").await;
    assert_eq!(third.next().await, Came::Close);
    first.send(QUIT).await;
    first.expect(QUIT).await;
    drop(first);
    second.expect(&welcome(ID)).await;
}

#[tokio::test(start_paused = true)]
async fn heard_and_the_answer_share_a_record() {
    let house = House::on(Habit::Answers, unheld(), async |_| Verdict::Admit).await;
    let (here, there) = duplex(PIPE);
    let (there, tap) = Tapped::new(there);
    house.arrive(there);
    let mut guest = Face::new(&Papers::new()).dial(here).await.unwrap();
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    let before = tap.records();
    guest.send(&say(2, "x")).await;
    guest.expect(&heard(2)).await;
    guest.expect(&say(3, "turn 3")).await;
    assert_eq!(tap.records() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_packs_heard_and_its_answer_too() {
    let papers = Papers::new();
    let (ours, theirs) = duplex(PIPE);
    let (ours, tap) = Tapped::new(ours);
    let face = Face::new(&papers);
    let (raw, tale) = tokio::join!(
        face.answer(theirs),
        dial(ours, papers.id, Habit::Answers, unheld())
    );
    let (mut raw, _tale) = (raw.unwrap(), tale.unwrap());
    let id = raw.hello().await;
    raw.send(&welcome(&id)).await;
    let before = tap.records();
    raw.send(&say(1, "x")).await;
    raw.expect(&heard(1)).await;
    raw.expect(&say(2, "turn 2")).await;
    assert_eq!(tap.records() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn heard_does_not_wait_for_a_person() {
    let (mut raw, _tale) = welcomed(Habit::Thinks).await;
    let start = Instant::now();
    raw.send(&say(1, "x")).await;
    raw.expect(&heard(1)).await;
    // It waits for an answer that could share its packet, and not for longer.
    assert!(start.elapsed() <= Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_quit_before_welcome_is_delivered_from_the_queue() {
    let (mut raw, mut tale) = called(Habit::QuitsAt(0)).await;
    raw.hello().await;
    raw.expect(QUIT).await;
    raw.send(QUIT).await;
    let (words, over) = told(&mut tale).await;
    assert!(words.is_empty());
    assert_eq!(cause(&over), "me");
}
