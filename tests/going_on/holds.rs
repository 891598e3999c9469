//! How long a conversation that was cut is held, and what ends it.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use turnchat::Limits;
use turnchat::{Cause, LinkError, Message, Notice, Talk};

use super::message;
use super::network::{Link, network};
use super::sides::{Sides, begun, mine, text, theirs};

/// Both sides of a conversation whose first link lasts, and whose later dials
/// all fail within the handshake.
async fn talks(sides: &Sides, limits: Limits) -> (turnchat::Server, Talk, Talk, impl Fn()) {
    let (dial, accept, links) = network([vec![usize::MAX], vec![0; 10_000]].concat());
    let mut server = sides
        .builder()
        .with_limits(limits)
        .start(accept)
        .await
        .unwrap();
    let client = sides.client().with_limits(limits);
    let (server_talk, client_talk) = tokio::join!(server.next(), async {
        let waiting = client.connect::<Link, _, _>(dial).await.unwrap();
        waiting.welcome().await.unwrap()
    });
    let cut = move || *links.lock().unwrap()[0].1.lock().unwrap() = 0;
    (server, server_talk.unwrap(), client_talk, cut)
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_is_told_and_given_up_after_the_hold() {
    let mut limits = Limits::default();
    limits.hold = Duration::from_secs(900);
    let sides = Sides::new();
    let (_server, here, there, cut) = talks(&sides, limits).await;
    let (mut here, mut there) = (mine(here), theirs(there));
    cut();
    let cut_at = Instant::now();
    assert_eq!(there.notice().await, Some(Notice::Lost));
    assert_eq!(here.notice().await, Some(Notice::Lost));
    // The silence of a minute at most until it is noticed, and the hold.
    let held = timeout(Duration::from_secs(961), async {
        let theirs = here.say(text("into the dark")).await.unwrap();
        (
            theirs.hear().await.unwrap_err(),
            there.hear().await.unwrap_err(),
        )
    });
    let (here, there) = held.await.unwrap();
    assert!(cut_at.elapsed() >= limits.hold);
    assert!(matches!(here.cause, Cause::Link(_)), "{here:?}");
    assert!(matches!(there.cause, Cause::Link(_)), "{there:?}");
    assert_eq!(here.unacknowledged, Some(message(1, "into the dark")));
    assert_eq!(there.unacknowledged, None);
}

#[tokio::test(start_paused = true)]
async fn without_a_hold_a_cut_is_the_end() {
    let mut limits = Limits::default();
    limits.hold = Duration::ZERO;
    let sides = Sides::new();
    let (_server, here, there, cut) = talks(&sides, limits).await;
    cut();
    let there = theirs(there).hear().await.unwrap_err();
    assert!(
        matches!(there.cause, Cause::Link(LinkError::Cut | LinkError::Io(_))),
        "{there:?}"
    );
    let mut here = mine(here);
    assert_eq!(here.notice().await, None);
    assert!(matches!(here.quit().await.cause, Cause::Link(_)));
}

#[tokio::test(start_paused = true)]
async fn a_quit_over_a_lost_link_is_given_up_after_ten_seconds() {
    let sides = Sides::new();
    let (_server, here, there, cut) = talks(&sides, Limits::default()).await;
    cut();
    let mut there = theirs(there);
    assert_eq!(there.notice().await, Some(Notice::Lost));
    there.quit();
    let quit_at = Instant::now();
    let over = there.hear().await.unwrap_err();
    assert!(
        matches!(over.cause, Cause::Link(LinkError::Overdue(_))),
        "{over:?}"
    );
    assert_eq!(quit_at.elapsed().as_secs(), 10);
    drop(here);
}

#[tokio::test(start_paused = true)]
async fn somebody_who_waits_gets_the_place_after_thirty_seconds() {
    let sides = Sides::new();
    let other = Sides::new();
    let (dial, accept, links) = network([vec![usize::MAX], vec![0; 3]].concat());
    let mut server = sides.serve(accept).await;
    let waiting = sides
        .client()
        .connect::<Link, _, _>(dial.clone())
        .await
        .unwrap();
    let (here, there) = tokio::join!(server.next(), waiting.welcome());
    let (mut here, there) = (mine(here.unwrap()), there.unwrap());
    *links.lock().unwrap()[0].1.lock().unwrap() = 0;
    drop(there);
    assert_eq!(here.notice().await, Some(Notice::Lost));
    let lost_at = Instant::now();
    tokio::time::advance(Duration::from_secs(100)).await;

    let another = turnchat::Client::new(&other.client, vec![sides.server.key_id()]);
    let mut tries = 0;
    let waiting = loop {
        tries += 1;
        match another.connect::<Link, _, _>(dial.clone()).await {
            Ok(waiting) => break waiting,
            Err(_) => assert!(tries < 10),
        }
    };
    // The thirty seconds count from the cut, and are over.
    let (next, _welcomed) = tokio::join!(server.next(), waiting.welcome());
    assert_eq!(next.unwrap().peer.key(), other.client.key_id());
    assert!(lost_at.elapsed().as_secs() < 200);
    assert_eq!(here.notice().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_begins_anew_does_not_wait_behind_its_ghost() {
    let sides = Sides::new();
    let (dial, accept, _links) = network(vec![]);
    let mut server = sides.serve(accept).await;
    let waiting = sides
        .client()
        .connect::<Link, _, _>(dial.clone())
        .await
        .unwrap();
    let (here, ghost) = tokio::join!(server.next(), waiting.welcome());
    let here = mine(here.unwrap())
        .say(text("lost on a ghost"))
        .await
        .unwrap();

    // Another process of the same person, while the first one still seems to be there.
    let again = sides.client().connect::<Link, _, _>(dial).await.unwrap();
    let ended = timeout(Duration::from_secs(60), here.hear());
    let over = ended.await.unwrap().unwrap_err();
    assert!(matches!(over.cause, Cause::Peer), "{over:?}");
    let (next, welcomed) = tokio::join!(server.next(), again.welcome());
    assert!(welcomed.is_ok());
    assert!(!next.unwrap().is_resumed);
    drop(ghost);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_comes_and_goes_is_served_though_its_user_takes_no_notice() {
    let sides = Sides::new();
    let (dial, accept, links) = network(vec![usize::MAX; 12]);
    let mut server = sides.serve(accept).await;
    let waiting = sides
        .client()
        .connect::<Link, _, _>(dial.clone())
        .await
        .unwrap();
    let (here, mut there) = begun(&mut server, waiting).await;
    for cut in 0..10 {
        *links.lock().unwrap()[cut].1.lock().unwrap() = 0;
        assert_eq!(there.notice().await, Some(Notice::Lost));
        assert_eq!(there.notice().await, Some(Notice::Resumed), "cut {cut}");
    }
    let theirs = here.say(text("still here")).await.unwrap();
    let (Message { text: heard, .. }, _) = there.hear().await.unwrap();
    assert_eq!(heard, text("still here"));
    drop(theirs);
}

/// Whatever a caller wants to wait for.
#[tokio::test(start_paused = true)]
async fn limits_that_no_clock_can_count_to_stop_nobody() {
    let most = Duration::MAX;
    let mut limits = Limits::default();
    limits.hello = most;
    limits.handshake = most;
    limits.first_answer = most;
    limits.early_line_time = most;
    limits.line_pause = most;
    limits.line_time = most;
    limits.write_pause = most;
    limits.quit = most;
    limits.crowded_quit = most;
    limits.hold = most;
    limits.crowded_hold = most;
    limits.close_time = most;
    limits.ended_time = most;
    limits.question_time = most;
    let sides = Sides::new();
    let (server, here, there, cut) = talks(&sides, limits).await;
    let (here, mut there) = (mine(here).say(text("one")).await.unwrap(), theirs(there));
    while there.notice().await.is_some() {}
    let (_, mut there) = there.hear().await.unwrap();
    cut();
    assert_eq!(there.notice().await, Some(Notice::Lost));
    drop((here, there));
    server.stop().await;
}
