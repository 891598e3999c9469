//! What is acknowledged is in its reader's hands, where there is no journal. C is
//! ours in all of these, and has been told turn 1.

use std::time::Duration;

use tokio::time::timeout;
use turnchat::{Cause, Client, Message, MyTurn, Notice};

use super::{Host, comes, cut, hello, take, welcome};
use crate::going_on::network::{Accepting, Carried, network};
use crate::going_on::sides::{Sides, text, theirs};
use crate::wire::raw::{Came, Face, Papers, QUIT, heard, say};

const LONG: Duration = Duration::from_secs(9);

struct Told {
    raw: Host,
    there: MyTurn,
    id: String,
    face: Face,
    links: Carried,
    accept: Box<dyn FnMut() -> Accepting + Send>,
}

impl Told {
    async fn new() -> Self {
        let papers = Papers::new();
        let face = Face::new(&papers);
        let (dial, accept, links) = network(vec![]);
        let mut accept: Box<dyn FnMut() -> Accepting + Send> = Box::new(accept);
        let client = Client::new(&Sides::new().client, vec![papers.id]);
        let (mut raw, waiting) = tokio::join!(take(&face, &mut accept), client.connect(dial));
        let id = raw.hello().await;
        raw.send(&welcome(&id, 0)).await;
        raw.send(&say(1, "one")).await;
        let there = theirs(waiting.unwrap().welcome().await.unwrap());
        let (Message { text: words, .. }, there) = there.hear().await.unwrap();
        assert_eq!(words, text("one"));
        Self {
            raw,
            there,
            id,
            face,
            links,
            accept,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_once_it_is_taken() {
    let Told { mut raw, there, .. } = Told::new().await;
    assert!(timeout(LONG, raw.next()).await.is_err());
    there.taken();
    raw.expect(&heard(1)).await;
    // Said twice, it does nothing.
    there.taken();
    let _there = there.say(text("two")).await.unwrap();
    raw.expect(&say(2, "two")).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_what_it_answers() {
    let Told { mut raw, there, .. } = Told::new().await;
    let _there = there.say(text("two")).await.unwrap();
    raw.expect(&heard(1)).await;
    raw.expect(&say(2, "two")).await;
}

#[tokio::test(start_paused = true)]
async fn a_quit_is_answered_once_the_last_message_is_taken() {
    let Told { mut raw, there, .. } = Told::new().await;
    raw.send(QUIT).await;
    assert!(timeout(LONG, raw.next()).await.is_err());
    there.taken();
    raw.expect(&heard(1)).await;
    raw.expect(QUIT).await;
    let ended = there.quit().await;
    assert_eq!((ended.cause, ended.turns), (Cause::Peer, 1));
}

#[tokio::test(start_paused = true)]
async fn a_quit_that_waits_in_vain_is_not_answered() {
    let told = Told::new().await;
    let (mut raw, mut there) = (told.raw, told.there);
    raw.send(QUIT).await;
    let came = timeout(Duration::from_secs(11), raw.next()).await.unwrap();
    assert!(matches!(came, Came::Cut | Came::Close), "{came:?}");
    assert_eq!(there.notice().await, Some(Notice::Lost));
}

/// A `hello` with `heard` 0 would begin it anew, if S had forgotten it.
#[tokio::test(start_paused = true)]
async fn the_first_message_is_taken_before_a_redial() {
    let mut told = Told::new().await;
    cut(&told.links, 0);
    drop(told.raw);
    let mut there = told.there;
    assert_eq!(there.notice().await, Some(Notice::Lost));
    assert!(timeout(LONG, (told.accept)()).await.is_err());
    there.taken();
    let mut raw = comes(take(&told.face, &mut told.accept)).await;
    raw.expect(&hello(&told.id, 1)).await;
}

/// S says it again, since it was not acknowledged; it is in C's hands already.
#[tokio::test(start_paused = true)]
async fn an_untaken_message_is_not_handed_over_again() {
    let mut told = Told::new().await;
    let there = told.there.say(text("two")).await.unwrap();
    told.raw.expect(&heard(1)).await;
    told.raw.expect(&say(2, "two")).await;
    told.raw.send(&heard(2)).await;
    told.raw.send(&say(3, "three")).await;
    let (Message { text: words, .. }, there) = there.hear().await.unwrap();
    assert_eq!(words, text("three"));

    drop(told.raw);
    for (link, taken_by) in ["the welcome", "the repeat", "later"]
        .into_iter()
        .enumerate()
    {
        cut(&told.links, link);
        let mut raw = comes(take(&told.face, &mut told.accept)).await;
        raw.expect(&hello(&told.id, 1)).await;
        if taken_by == "the welcome" {
            continue;
        }
        raw.send(&welcome(&told.id, 2)).await;
        raw.send(&say(3, "three")).await;
        if taken_by == "the repeat" {
            assert!(timeout(LONG, raw.next()).await.is_err());
            continue;
        }
        there.taken();
        raw.expect(&heard(3)).await;
        let _there = there.say(text("four")).await.unwrap();
        raw.expect(&say(4, "four")).await;
        return;
    }
}

/// Taken between `hello` and `welcome`, it is acknowledged, and said again all the same.
#[tokio::test(start_paused = true)]
async fn what_is_taken_while_a_hello_is_on_its_way_is_acknowledged_once() {
    let mut told = Told::new().await;
    let there = told.there.say(text("two")).await.unwrap();
    told.raw.expect(&heard(1)).await;
    told.raw.expect(&say(2, "two")).await;
    told.raw.send(&say(3, "three")).await;
    let (_, there) = there.hear().await.unwrap();
    cut(&told.links, 0);
    drop(told.raw);
    let mut raw = comes(take(&told.face, &mut told.accept)).await;
    raw.expect(&hello(&told.id, 1)).await;
    there.taken();
    raw.send(&welcome(&told.id, 2)).await;
    raw.expect(&heard(3)).await;
    raw.send(&say(3, "three")).await;
    let _there = there.say(text("four")).await.unwrap();
    raw.expect(&say(4, "four")).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_fails_without_a_journal_is_told_of() {
    let Told { mut raw, there, .. } = Told::new().await;
    let (ended, ()) = tokio::join!(there.abandon(), raw.expect_error("internal"));
    assert!(matches!(ended.cause, Cause::Link(_)), "{ended:?}");
}
