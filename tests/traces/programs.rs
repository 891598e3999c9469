//! Two programs with one key.

use turnchat::{Cause, Client, LinkError, Message, Notice};
use turnchat::{Code, Reason};

use super::{Gate, at_this_instant, comes, cut};
use crate::going_on::network::network;
use crate::going_on::sides::{Kept, Sides, begun, greeted, mine, text, theirs};

#[tokio::test(start_paused = true)]
async fn a_program_that_was_replaced_does_not_take_over_again() {
    let kept = Kept::new();
    let (dial, accept, links) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial.clone()).await;
    let (here, mut there) = greeted(&mut server, waiting).await;

    let copy = at_this_instant(&kept);
    let again = copy.connect(dial).await.welcome().await.unwrap();
    assert!(again.is_resumed);
    assert_eq!(there.notice().await, None);
    let over = there.quit().await;
    let is_replaced = matches!(
        over.cause,
        Cause::Link(LinkError::Reported {
            code: Code::Replaced,
            ..
        })
    );
    assert!(is_replaced, "{over:?}");

    let _again = mine(again).say(text("two")).await.unwrap();
    let (Message { text: words, .. }, _here) = comes(here.hear()).await.unwrap();
    assert_eq!(words, text("two"));
    assert_eq!(links.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_quit_for_what_another_program_has_ended_changes_nothing() {
    let sides = Sides::new();
    let (dial, accept, links) = network(vec![]);
    let mut server = sides.serve(accept).await;
    let gate = Gate::open();
    let behind = gate.before(dial.clone());
    let waiting = sides.client().connect(behind).await.unwrap();
    let (here, mut one) = greeted(&mut server, waiting).await;
    gate.set(false);
    cut(&links, 0);
    assert_eq!(one.notice().await, Some(Notice::Lost));

    let waiting = sides.client().connect(dial).await.unwrap();
    let over = here.hear().await.unwrap_err();
    assert!(matches!(over.cause, Cause::Peer), "{over:?}");
    let (here, other) = begun(&mut server, waiting).await;

    gate.set(true);
    let over = one.quit().await;
    assert!(matches!(over.cause, Cause::Peer), "{over:?}");
    assert_eq!(links.lock().unwrap().len(), 3);

    let here = here.say(text("to the other")).await.unwrap();
    let (Message { text: words, .. }, other) = comes(other.hear()).await.unwrap();
    assert_eq!(words, text("to the other"));
    let _other = other.say(text("from it")).await.unwrap();
    let (Message { text: words, .. }, _here) = comes(here.hear()).await.unwrap();
    assert_eq!(words, text("from it"));
}

#[tokio::test(start_paused = true)]
async fn a_program_whose_conversation_another_ended_is_told_and_stays_away() {
    let sides = Sides::new();
    let (dial, accept, links) = network(vec![]);
    let mut server = sides.serve(accept).await;
    let waiting = sides.client().connect(dial.clone()).await.unwrap();
    let (ended, one) = tokio::join!(server.next(), waiting.welcome());

    let waiting = sides.client().connect(dial).await.unwrap();
    let over = theirs(one.unwrap()).hear().await.unwrap_err();
    assert!(matches!(over.cause, Cause::Peer), "{over:?}");
    assert_eq!(mine(ended.unwrap()).notice().await, None);
    let (here, other) = tokio::join!(server.next(), waiting.welcome());
    let _here = mine(here.unwrap()).say(text("one")).await.unwrap();
    let (Message { text: words, .. }, _other) = comes(theirs(other.unwrap()).hear()).await.unwrap();
    assert_eq!(words, text("one"));
    assert_eq!(links.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_program_whose_place_another_took_is_told_and_stays_away() {
    let (sides, others) = (Sides::new(), Sides::new());
    let (dial, accept, links) = network(vec![]);
    let mut server = sides.serve(accept).await;
    let third = Client::new(&others.client, vec![sides.server.key_id()]);
    let third = third.connect(dial.clone()).await.unwrap();
    let (_talking, third) = tokio::join!(server.next(), third.welcome());

    let mut one = sides.client().connect(dial.clone()).await.unwrap();
    assert_eq!(one.notice().await, Some(Notice::Waiting { ahead: 0 }));
    let mut other = sides.client().connect(dial).await.unwrap();
    assert_eq!(other.notice().await, Some(Notice::Waiting { ahead: 0 }));
    let over = one.welcome().await.unwrap_err();
    assert_eq!(over.cause, Cause::Refused(Reason::Ended));

    theirs(third.unwrap()).quit();
    let (here, other) = tokio::join!(server.next(), other.welcome());
    assert_eq!(here.unwrap().conversation, other.unwrap().conversation);
    assert_eq!(links.lock().unwrap().len(), 3);
}
