//! What each side has stored, and what it then may claim.

use std::io;
use turnchat::Message;

use super::{arrive, at_this_instant, comes, hello, welcome};
use crate::going_on::network::{Link, network};
use crate::going_on::sides::{Kept, Sides, mine, text, theirs};
use crate::wire::raw::{Face, ID, Papers, heard, say};

#[tokio::test(start_paused = true)]
async fn a_server_that_crashes_with_its_first_word_had_stored_it() {
    let kept = Kept::new();
    let face = Face::new(&Papers::new());
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let mut guest = arrive(&face, dial).await;
    let (talk, ()) = tokio::join!(server.next(), guest.begin());
    let _here = mine(talk.unwrap()).say(text("one")).await.unwrap();
    guest.expect(&say(1, "one")).await;

    let crashed = at_this_instant(&kept);
    let (dial, accept, _) = network(vec![]);
    let mut server = crashed.serve(|| accept.clone()).await;
    let mut guest = arrive(&face, dial).await;
    guest.send(&hello(ID, 1)).await;
    guest.expect(&welcome(ID, 0)).await;
    guest.send(&say(2, "two")).await;
    guest.expect(&heard(2)).await;
    let here = comes(server.next()).await.unwrap();
    assert!(here.is_resumed);
    let (Message { text: words, .. }, here) = theirs(here).hear().await.unwrap();
    assert_eq!((words, here.number()), (text("two"), 3));
}

#[tokio::test(start_paused = true)]
async fn counters_from_a_backup_are_refused_and_change_nothing() {
    let face = Face::new(&Papers::new());
    let (dial, accept, _) = network(vec![]);
    let mut server = Sides::new().serve(accept).await;
    let mut guest = arrive(&face, dial.clone()).await;
    let (talk, ()) = tokio::join!(server.next(), guest.begin());
    let mut here = mine(talk.unwrap());
    // With what no client can have heard once this turn was said, and answered.
    let (all, even) = (&[0, 1, 2, 4, 5][..], &[0, 2, 4][..]);
    for (turn, once_said, once_answered) in [(1, &[2, 3][..], &[0, 2, 3][..]), (3, even, all)] {
        let theirs = here.say(text("x")).await.unwrap();
        guest.expect(&say(turn, "x")).await;
        are_refused(once_said, &face, &dial).await;
        guest.send(&say(turn + 1, "y")).await;
        here = theirs.hear().await.unwrap().1;
        here.taken();
        guest.expect(&heard(turn + 1)).await;
        are_refused(once_answered, &face, &dial).await;
    }

    let _here = here.say(text("five")).await.unwrap();
    guest.expect(&say(5, "five")).await;
    let mut guest = arrive(&face, dial).await;
    guest.send(&hello(ID, 3)).await;
    guest.expect(&welcome(ID, 4)).await;
    guest.expect(&say(5, "five")).await;
}

/// Each `hello` with this `heard` is answered as impossible.
async fn are_refused<D, F>(counters: &[u64], face: &Face, dial: &D)
where
    D: FnMut() -> F + Clone,
    F: Future<Output = io::Result<Link>>,
{
    for heard in counters {
        let mut restored = arrive(face, dial.clone()).await;
        restored.send(&hello(ID, *heard)).await;
        restored.expect_error("protocol-error").await;
    }
}
