//! Which `hello` goes on with a conversation, and which does not count.

use turnchat::{Client, Journal, Message, Notice};

use super::{arrive, at_this_instant, comes, cut, hello, take, welcome};
use crate::going_on::network::network;
use crate::going_on::sides::{Kept, Sides, mine, text, theirs};
use crate::wire::raw::{Came, Face, ID, OTHER_ID, Papers, heard, say};

#[tokio::test(start_paused = true)]
async fn a_client_cut_before_its_welcome_goes_on_with_what_began() {
    for is_restarted in [true, false] {
        cut_before_its_welcome(is_restarted).await;
    }
}

async fn cut_before_its_welcome(is_restarted: bool) {
    let kept = Kept::new();
    let (dial, accept, links) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let mut waiting = kept.connect(dial.clone()).await;
    assert_eq!(waiting.notice().await, Some(Notice::Waiting { ahead: 0 }));
    cut(&links, 0);
    let here = mine(server.next().await.unwrap());
    let here = here.say(text("one")).await.unwrap();
    let waiting = match is_restarted {
        true => {
            drop(waiting);
            kept.connect(dial).await
        }
        false => waiting,
    };
    let there = comes(waiting.welcome()).await.unwrap();
    let (Message { text: heard, .. }, there) = comes(theirs(there).hear()).await.unwrap();
    assert_eq!(heard, text("one"));
    let _there = there.say(text("two")).await.unwrap();
    let (Message { text: heard, .. }, _here) = comes(here.hear()).await.unwrap();
    assert_eq!(heard, text("two"));
}

#[tokio::test(start_paused = true)]
async fn a_hello_held_back_neither_ends_nor_takes_over_what_came_after() {
    // For the conversation that its client began meanwhile, and for another.
    for held_back in [ID, OTHER_ID] {
        let face = Face::new(&Papers::new());
        let (dial, accept, _) = network(vec![]);
        let mut server = Sides::new().serve(accept).await;
        let mut first = arrive(&face, dial.clone()).await;
        let mut guest = arrive(&face, dial.clone()).await;
        let (talk, ()) = tokio::join!(server.next(), guest.begin());
        let here = mine(talk.unwrap()).say(text("one")).await.unwrap();
        guest.expect(&say(1, "one")).await;
        guest.send(&say(2, "two")).await;
        let (Message { text: words, .. }, mut here) = here.hear().await.unwrap();
        assert_eq!(words, text("two"));
        here.taken();
        drop(guest);
        assert_eq!(here.notice().await, Some(Notice::Lost));

        first.send(&hello(held_back, 0)).await;
        let came = first.next().await;
        assert!(matches!(came, Came::Cut | Came::Close), "{came:?}");

        let mut guest = arrive(&face, dial).await;
        guest.send(&hello(ID, 1)).await;
        guest.expect(&welcome(ID, 2)).await;
        assert_eq!(here.notice().await, Some(Notice::Resumed));
        let mut here = here.say(text("three")).await.unwrap();
        guest.expect(&say(3, "three")).await;
        guest.send(&heard(3)).await;
        assert_eq!(here.notice().await, Some(Notice::Delivered { turn: 3 }));
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_late_on_the_old_connection_is_not_heard() {
    let face = Face::new(&Papers::new());
    let (dial, accept, _) = network(vec![]);
    let mut server = Sides::new().serve(accept).await;
    let mut old = arrive(&face, dial.clone()).await;
    let (talk, ()) = tokio::join!(server.next(), old.begin());
    let here = mine(talk.unwrap()).say(text("one")).await.unwrap();
    old.expect(&say(1, "one")).await;

    let mut new = arrive(&face, dial).await;
    new.send(&hello(ID, 1)).await;
    new.expect(&welcome(ID, 0)).await;
    // It was on its way when the server said that it had not heard it.
    old.send(&say(2, "two")).await;
    old.expect_error("replaced").await;
    new.send(&say(2, "two")).await;
    let (Message { text: words, .. }, here) = here.hear().await.unwrap();
    assert_eq!(words, text("two"));
    here.taken();
    new.expect(&heard(2)).await;
    let _here = here.say(text("three")).await.unwrap();
    new.expect(&say(3, "three")).await;
}

#[tokio::test(start_paused = true)]
async fn where_many_talk_hellos_that_cross_are_both_answered() {
    let face = Face::new(&Papers::new());
    let (dial, accept, _) = network(vec![]);
    let mut server = Sides::new()
        .builder()
        .many_at_a_time()
        .start(accept)
        .await
        .unwrap();
    let mut oldest = arrive(&face, dial.clone()).await;
    let mut older = arrive(&face, dial.clone()).await;
    let mut newer = arrive(&face, dial).await;
    let (one, ()) = tokio::join!(server.next(), newer.begin_as(OTHER_ID));
    let (other, ()) = tokio::join!(server.next(), older.begin());
    // Of one conversation it is still the newest that counts.
    oldest.send(&hello(ID, 0)).await;
    let came = oldest.next().await;
    assert!(matches!(came, Came::Cut | Came::Close), "{came:?}");

    for (talk, guest) in [(one, &mut newer), (other, &mut older)] {
        let here = mine(talk.unwrap()).say(text("one")).await.unwrap();
        guest.expect(&say(1, "one")).await;
        guest.send(&say(2, "two")).await;
        let (Message { text: words, .. }, _) = here.hear().await.unwrap();
        assert_eq!(words, text("two"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_in_a_queue_again_speaks_though_it_takes_no_notice() {
    let papers = Papers::new();
    let face = Face::new(&papers);
    let (dial, mut accept, links) = network(vec![]);
    let client = Client::new(&Sides::new().client, vec![papers.id]);
    let (mut raw, waiting) = tokio::join!(take(&face, &mut accept), client.connect(dial));
    let id = raw.hello().await;
    raw.send(&welcome(&id, 0)).await;
    raw.send(&say(1, "one")).await;
    let there = theirs(waiting.unwrap().welcome().await.unwrap());
    let (_, there) = there.hear().await.unwrap();
    there.taken();
    raw.expect(&heard(1)).await;

    cut(&links, 0);
    drop(raw);
    let mut raw = take(&face, &mut accept).await;
    raw.expect(&hello(&id, 1)).await;
    for ahead in (0..20).rev() {
        raw.send(&format!("{{\"wait\":{{\"ahead\":{ahead}}}}}"))
            .await;
    }
    raw.send(&welcome(&id, 0)).await;
    let said = comes(there.say(text("two"))).await;
    raw.expect(&say(2, "two")).await;
    drop(said);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_client_for_whom_there_is_no_place_dials_again() {
    let (kept, papers) = (Kept::new(), Papers::new());
    let face = Face::new(&papers);
    let (dial, mut accept, _) = network(vec![]);
    let journal = || Journal::new(kept.dir.path(), &kept.sides.client.key_id());
    let client = || Client::new(&kept.sides.client, vec![papers.id]);
    let first = client().with_journal(journal());
    let (mut raw, waiting) = tokio::join!(take(&face, &mut accept), first.connect(dial.clone()));
    let id = raw.hello().await;
    raw.send(&welcome(&id, 0)).await;
    raw.send(&say(1, "one")).await;
    let there = theirs(waiting.unwrap().welcome().await.unwrap());
    let (_, there) = there.hear().await.unwrap();
    there.taken();
    raw.expect(&heard(1)).await;

    let crashed = at_this_instant(&kept);
    drop((there, raw));
    let journal = Journal::new(crashed.dir.path(), &kept.sides.client.key_id());
    let second = client().with_journal(journal);
    let (dial, mut accept, _) = network(vec![]);
    let (mut raw, _waiting) = tokio::join!(take(&face, &mut accept), second.connect(dial));
    raw.expect(&hello(&id, 1)).await;
    raw.send("{\"refuse\":{\"reason\":\"busy\"}}").await;
    drop(raw);
    let mut raw = take(&face, &mut accept).await;
    raw.expect(&hello(&id, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn where_there_are_seats_nobody_queues() {
    let face = Face::new(&Papers::new());
    let (dial, accept, _) = network(vec![]);
    let server = Sides::new()
        .builder()
        .many_at_a_time()
        .start(accept)
        .await
        .unwrap();
    let serving = tokio::spawn(server.serve(64, async |talk| {
        std::future::pending::<()>().await;
        drop(talk);
    }));
    let id = |n: u8| turnchat::ConversationId::from_bits([n; 16]).to_string();
    let mut guests = Vec::new();
    for n in 0..32 {
        let mut guest = arrive(&face, dial.clone()).await;
        guest.send(&hello(&id(n), 0)).await;
        guests.push(guest);
    }
    for (n, guest) in (0..32).zip(&mut guests) {
        guest.expect(&welcome(&id(n), 0)).await;
    }
    serving.abort();
}

/// Whoever panics gives its place back.
#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_gives_its_place_back() {
    let face = Face::new(&Papers::new());
    let (dial, accept, _) = network(vec![]);
    let server = Sides::new().serve(accept).await;
    let serving = tokio::spawn(server.serve(1, |_talk| async { panic!("on purpose") }));
    for id in [ID, OTHER_ID] {
        let mut guest = arrive(&face, dial.clone()).await;
        guest.send(&hello(id, 0)).await;
        loop {
            match guest.next().await {
                Came::Line(line) if line == welcome(id, 0) => break,
                Came::Line(line) => assert!(line.contains("wait"), "{line}"),
                other => panic!("{other:?}"),
            }
        }
    }
    serving.abort();
}
