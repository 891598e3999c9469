//! A server that stops in good order.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use turnchat::{Candidate, Cause, Client, Notice, Reason, ServerBuilder, Talk, Verdict};

use super::network::{Carried, network};
use super::sides::{Kept, Sides, mine, text, theirs};

/// Cuts the link that was dialled at this place.
fn cut(links: &Carried, place: usize) {
    *links.lock().unwrap()[place].1.lock().unwrap() = 0;
}

/// Answers each message with itself.
async fn echo(talk: Talk) {
    let mut listening = mine(talk).say(text("Hello")).await.unwrap();
    while let Ok((message, mine)) = listening.hear().await {
        let Ok(next) = mine.say(message.text).await else {
            return;
        };
        listening = next;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_goes_on_and_nothing_else_begins() {
    let sides = Sides::new();
    let (dial, accept, links) = network(vec![]);
    let server = sides.builder().many_at_a_time().start(accept);
    let server = server.await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let done = Arc::new(Mutex::new(false));
    let is_done = Arc::clone(&done);
    let handler = move |talk| {
        let is_done = Arc::clone(&is_done);
        async move {
            echo(talk).await;
            // A handler has all the time it wants.
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            *is_done.lock().unwrap() = true;
        }
    };
    let shutdown = async { drop(stopped.await) };
    let serving = tokio::spawn(server.serve_until(1, handler, shutdown));

    let waiting = sides.client().connect(dial.clone()).await.unwrap();
    let (_, there) = theirs(waiting.welcome().await.unwrap())
        .hear()
        .await
        .unwrap();
    let mut queued = sides.client().connect(dial.clone()).await.unwrap();
    assert_eq!(queued.notice().await, Some(Notice::Waiting { ahead: 0 }));
    drop(stop);
    let refused = queued.welcome().await.unwrap_err();
    assert_eq!(refused.cause, Cause::Refused(Reason::Closing));

    // Over a cut, too.
    cut(&links, 0);
    let mut listening = there.say(text("Still there?")).await.unwrap();
    listening.ready().await;
    let (message, there) = listening.hear().await.unwrap();
    assert_eq!(message.text, text("Still there?"));
    assert!(links.lock().unwrap().len() > 2);

    let late = sides.client().connect(dial.clone()).await.unwrap();
    let refused = timeout(Duration::from_secs(60), late.welcome()).await;
    let refused = refused.unwrap().unwrap_err();
    assert_eq!(refused.cause, Cause::Refused(Reason::Closing));
    assert!(!serving.is_finished());
    assert_eq!(there.quit().await.cause, Cause::Me);
    serving.await.unwrap();
    assert!(*done.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn who_was_welcomed_is_handed_out_before_the_end() {
    let sides = Sides::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = sides.serve(accept).await;
    let waiting = sides.client().connect(dial).await.unwrap();
    // Somebody asked, and did not wait for the answer.
    assert!(timeout(Duration::ZERO, server.next()).await.is_err());
    let there = waiting.welcome().await.unwrap();
    server.close();
    let here = server.next().await.unwrap();
    assert!(server.next().await.is_none());
    let listening = mine(here).say(text("Hello")).await.unwrap();
    let (_, there) = theirs(there).hear().await.unwrap();
    drop(there.say(text("Hi")).await.unwrap());
    listening.hear().await.unwrap();
}

/// No process has to guess when a server before it has let go of its journal.
#[tokio::test(start_paused = true)]
async fn a_journal_is_free_once_its_server_has_stopped() {
    let kept = Kept::new();
    for turn in (1..20).step_by(2) {
        let (dial, accept, _) = network(vec![]);
        let mut server = kept.serve(|| accept.clone()).await;
        let waiting = kept.client().connect(dial).await.unwrap();
        let (here, there) = tokio::join!(server.next(), waiting.welcome());
        let listening = mine(here.unwrap()).say(text("Hello")).await.unwrap();
        let (message, mine) = theirs(there.unwrap()).hear().await.unwrap();
        assert_eq!(message.turn, turn);
        // Its last store is on its way.
        drop(mine.say(text("Hi")).await.unwrap());
        let (message, _) = listening.hear().await.unwrap();
        assert_eq!(message.turn, turn + 1);
        server.stop().await;
    }
}

/// A question that panics costs its own candidate the answer, and nobody else.
#[tokio::test(start_paused = true)]
async fn a_question_that_panics_refuses_its_candidate() {
    let (sides, other) = (Sides::new(), Sides::new());
    for panics_at_once in [true, false] {
        let (dial, accept, _) = network(vec![]);
        let bad = other.client.key_id();
        let builder = ServerBuilder::new(&sides.server, move |candidate: Candidate| {
            let is_bad = candidate.key == bad;
            assert!(!(is_bad && panics_at_once), "on purpose");
            async move {
                if is_bad {
                    tokio::task::yield_now().await;
                    panic!("on purpose");
                }
                Verdict::Admit
            }
        });
        let mut server = builder.start(accept).await.unwrap();
        let client = Client::new(&other.client, vec![sides.server.key_id()]);
        let waiting = client.connect(dial.clone()).await.unwrap();
        let refused = waiting.welcome().await.unwrap_err();
        assert_eq!(refused.cause, Cause::Refused(Reason::NoAnswer));
        let waiting = sides.client().connect(dial).await.unwrap();
        let (here, there) = tokio::join!(server.next(), waiting.welcome());
        assert!(here.is_some() && there.is_ok());
    }
}
