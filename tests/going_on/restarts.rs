//! Crashes of either side, with a journal.

use std::fs::File;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use turnchat::internals::{read_record, write_record};
use turnchat::{
    Cause, Client, ConnectError, Ended, Journal, JournalError, LinkError, Message, MyTurn, Notice,
    Server, ServerBuilder, ServerEvent, Verdict,
};
use turnchat::{Code, KeyId, Limits, Reason};

use super::message;
use super::network::{Accepting, Link, network};
use super::sides::{Kept, Sides, begun, greeted, mine, text, theirs};

#[tokio::test(start_paused = true)]
async fn both_sides_go_on_after_both_have_crashed() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial.clone()).await;
    let (here, there) = greeted(&mut server, waiting).await;
    let there = there.say(text("two")).await.unwrap();
    let (Message { text: heard, .. }, here) = here.hear().await.unwrap();
    assert_eq!(heard, text("two"));

    drop((here, there));
    server.stop().await;
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;

    // The server holds the place, shows what was not answered, and can speak.
    let here = server.next().await.unwrap();
    assert!(here.is_resumed);
    assert_eq!(here.unanswered, Some(message(2, "two")));
    let here = mine(here);
    assert_eq!(here.number(), 3);
    let here = here.say(text("three")).await.unwrap();

    let waiting = kept.connect(dial).await;
    assert!(waiting.is_resuming());
    let there = waiting.welcome().await.unwrap();
    assert_eq!(there.unanswered, None);
    let (Message { text: heard, .. }, there) = theirs(there).hear().await.unwrap();
    assert_eq!((heard, there.number()), (text("three"), 4));
    let over = there.quit().await;
    assert!(matches!(over.cause, Cause::Me), "{over:?}");
    let over = here.hear().await.unwrap_err();
    assert!(matches!(over.cause, Cause::Peer), "{over:?}");
    assert_eq!((over.turns, over.unacknowledged), (3, None));
}

#[tokio::test(start_paused = true)]
async fn a_second_process_on_a_live_conversation_is_turned_away() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial.clone()).await;
    let (_here, _there) = tokio::join!(server.next(), waiting.welcome());
    let second = kept.client().connect(dial).await;
    assert!(matches!(
        second,
        Err(ConnectError::Journal(JournalError::InUse { .. }))
    ));
    let journal = Journal::new(kept.dir.path(), &kept.sides.server.key_id());
    let second = kept.sides.builder().with_journal(journal);
    let second = second.start(accept.clone()).await;
    assert!(matches!(second.err(), Some(JournalError::InUse { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_open_conversation_is_dialled_until_the_server_is_back() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial).await;
    let (here, there) = greeted(&mut server, waiting).await;
    drop((here, there));
    server.stop().await;

    // Ten dials fail in the handshake.
    let (dial, accept, _) = network(vec![0; 10]);
    let waiting = kept.connect(dial).await;
    let mut server = kept.serve(|| accept.clone()).await;
    let (here, there) = tokio::join!(server.next(), waiting.welcome());
    let there = there.unwrap();
    assert_eq!(there.unanswered, Some(message(1, "one")));
    let there = mine(there).say(text("two")).await.unwrap();
    let (Message { text: heard, .. }, _here) = theirs(here.unwrap()).hear().await.unwrap();
    assert_eq!(heard, text("two"));
    drop(there);
}

/// A server that has quit with a message unacknowledged, since its peer was gone; and its end.
async fn quit_unheard() -> (Kept, Server, Ended) {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial).await;
    let (here, there) = greeted(&mut server, waiting).await;
    drop(there);
    here.quit();
    let over = here.hear().await.unwrap_err();
    (kept, server, over)
}

#[tokio::test(start_paused = true)]
async fn what_the_server_ended_meanwhile_is_ended_and_a_new_one_begins() {
    let (kept, server, over) = quit_unheard().await;
    assert!(matches!(over.cause, Cause::Link(_)), "{over:?}");
    let pages = pages(&kept.dir.path().join(kept.sides.server.key_id().file_name()));
    let [page] = &pages[..] else {
        panic!("{pages:?}");
    };
    // The end is remembered, and the words for as long as their speaker is not told.
    let has_words = || {
        let bytes = std::fs::read(page).unwrap();
        String::from_utf8_lossy(&bytes).contains("\"one\"")
    };
    assert!(has_words());
    over.told().await;
    // Nor is there an older state with them.
    assert!(!has_words());
    server.stop().await;

    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial.clone()).await;
    assert!(waiting.is_resuming());
    let over = waiting.welcome().await.unwrap_err();
    assert!(matches!(over.cause, Cause::Peer), "{over:?}");

    let waiting = kept.connect(dial).await;
    assert!(!waiting.is_resuming());
    let (here, there) = tokio::join!(server.next(), waiting.welcome());
    assert!(!here.unwrap().is_resumed);
    assert!(there.is_ok());
}

/// However many there are, and while the server runs.
#[tokio::test(start_paused = true)]
async fn ends_that_are_forgotten_leave_no_file() {
    const REMEMBERED: usize = 3;
    let kept = Kept::new();
    let own = kept.sides.server.key_id();
    let mut limits = Limits::default();
    limits.ended = REMEMBERED;
    let (dial, accept, _) = network(vec![]);
    let builder = kept.sides.builder().with_limits(limits);
    let builder = builder.with_journal(Journal::new(kept.dir.path(), &own));
    let mut server = builder.start(accept).await.unwrap();
    let left = || pages(&kept.dir.path().join(own.file_name())).len();
    for _ in 0..REMEMBERED + 4 {
        let waiting = kept.sides.client().connect(dial.clone()).await.unwrap();
        let (here, there) = begun(&mut server, waiting).await;
        assert_eq!(here.quit().await.cause, Cause::Me);
        drop(there);
    }
    // A removal takes a moment.
    let fall_to = async |most| {
        let falling = async {
            while left() > most {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(60), falling).await.unwrap();
        assert_eq!(left(), most);
    };
    fall_to(REMEMBERED).await;
    sleep(limits.ended_time).await;
    fall_to(0).await;
    drop(server);
}

/// Where its user could not be told, as after a crash.
#[tokio::test(start_paused = true)]
async fn the_next_start_tells_a_servers_user_of_an_end_who_was_not() {
    let not_told: [fn(Ended); 3] = [
        Ended::not_told,
        |over| {
            let copy = over.clone();
            over.not_told();
            drop(copy);
        },
        |over| {
            let panicking = thread::spawn(|| {
                let _over = over;
                panic!("before it is told");
            });
            assert!(panicking.join().is_err());
        },
    ];
    for leave in not_told {
        let (kept, server, over) = quit_unheard().await;
        leave(over);
        server.stop().await;

        for is_told in [false, true] {
            let (_, accept, _) = network(vec![]);
            let mut server = kept.serve(|| accept.clone()).await;
            let mut events = server.events().unwrap();
            let ended = timeout(Duration::from_secs(60), events.next());
            match ended.await {
                Ok(Some(ServerEvent::Ended(abandoned))) if !is_told => {
                    assert_eq!(abandoned.unacknowledged, Some(message(1, "one")));
                    let _ = timeout(Duration::from_secs(60), events.next()).await;
                }
                ended => assert!(is_told && ended.is_err(), "{ended:?}"),
            }
            server.stop().await;
        }
    }
}

/// A conversation in which one turn has passed, and both programs have stopped.
async fn stopped() -> (Kept, [std::path::PathBuf; 2]) {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial).await;
    let (here, there) = greeted(&mut server, waiting).await;
    drop((here, there));
    server.stop().await;
    let page = |own: KeyId| pages(&kept.dir.path().join(own.file_name())).remove(0);
    let pages = [kept.sides.client.key_id(), kept.sides.server.key_id()].map(page);
    (kept, pages)
}

/// Damages a record in every way, one after another, and tells which error is expected.
fn damages(page: &std::path::Path) -> Vec<(Vec<u8>, Option<u32>)> {
    let whole = std::fs::read(page).unwrap();
    let json = read_record(page).unwrap();
    // A count that would not go on.
    let mut endless: serde_json::Value = serde_json::from_str(&json).unwrap();
    endless["clienthello"] = ((1_u64 << 63) + 1).into();
    let record = |json: &str| {
        std::fs::remove_file(page).unwrap();
        assert!(write_record(page, json));
        std::fs::read(page).unwrap()
    };
    let other_version = json.replace("\"version\":4", "\"version\":5");
    let damages = vec![
        (Vec::new(), None),
        (b"turnchat".to_vec(), None),
        (vec![b'x'; whole.len()], None),
        (record(&json.replace("\"said\":", "\"sayd\":")), None),
        (record(&endless.to_string()), None),
        (record(&other_version), Some(5)),
        (b"{\"version\":2,\"peer\":\"\"}".to_vec(), Some(2)),
    ];
    std::fs::write(page, whole).unwrap();
    damages
}

fn is_expected(error: &JournalError, version: Option<u32>) -> bool {
    match error {
        JournalError::Damaged { .. } => version.is_none(),
        JournalError::OtherVersion { version: found, .. } => version == Some(*found),
        _ => false,
    }
}

/// It is not taken for somebody else's work, and no server stops for it.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_damaged_meanwhile_stops_its_own_conversation() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial.clone()).await;
    let (here, there) = greeted(&mut server, waiting).await;
    let own = kept.dir.path().join(kept.sides.server.key_id().file_name());
    let [page] = &pages(&own)[..] else {
        panic!("one record");
    };
    std::fs::write(page, "turnchat").unwrap();
    let there = there.say(text("two")).await.unwrap();
    let over = here.hear().await.unwrap_err();
    assert!(
        matches!(&over.cause, Cause::Link(LinkError::Journal(JournalError::Damaged { path })) if path == page),
        "{over:?}"
    );
    assert!(!over.has_journal_failed());
    let over = there.hear().await.unwrap_err();
    let code = Code::Internal;
    assert_eq!(
        over.cause,
        Cause::Link(LinkError::Reported { code, detail: None })
    );
    assert_eq!(over.unacknowledged, Some(message(2, "two")));
    assert_eq!(std::fs::read(page).unwrap(), b"turnchat");

    let other = Sides::new();
    let other = Client::new(&other.client, vec![kept.sides.server.key_id()]);
    let waiting = other.connect::<Link, _, _>(dial).await.unwrap();
    let (here, there) = tokio::join!(server.next(), waiting.welcome());
    assert!(here.is_some() && there.is_ok());
}

/// Nobody here knows how it goes on, and so nobody is told that it has ended (PROTOCOL 4.12).
#[tokio::test(start_paused = true)]
async fn a_record_that_another_process_has_written_is_no_end() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial).await;
    let (here, there) = greeted(&mut server, waiting).await;
    let own = kept.dir.path().join(kept.sides.server.key_id().file_name());
    let page = pages(&own).remove(0);
    assert!(write_record(&page, &read_record(&page).unwrap()));
    let there = there.say(text("two")).await.unwrap();
    let there = tokio::spawn(there.hear());
    let over = here.hear().await.unwrap_err();
    assert!(
        matches!(over.cause, Cause::Link(LinkError::TakenOver)),
        "{over:?}"
    );
    // Its client dials for as long as the server is busy.
    sleep(Duration::from_secs(60)).await;
    server.stop().await;

    let mut server = kept.serve(|| accept.clone()).await;
    let here = server.next().await.unwrap();
    assert!(here.is_resumed);
    let (Message { text: heard, .. }, here) = theirs(here).hear().await.unwrap();
    assert_eq!(heard, text("two"));
    let _here = here.say(text("three")).await.unwrap();
    let (Message { text: heard, .. }, _) = there.await.unwrap().unwrap();
    assert_eq!(heard, text("three"));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_of_a_client_stops_before_anything_is_sent() {
    let (kept, [page, _]) = stopped().await;
    let (dial, _accept, links) = network(vec![]);
    for (damaged, version) in damages(&page) {
        std::fs::write(&page, &damaged).unwrap();
        let error = loop {
            match kept.client().connect(dial.clone()).await {
                Err(ConnectError::Journal(JournalError::InUse { .. })) => {
                    tokio::task::yield_now().await
                }
                Err(ConnectError::Journal(error)) => break error,
                // No server: the page of a conversation that had begun is asked for.
                other => panic!("{other:?}"),
            }
        };
        assert!(is_expected(&error, version), "{error}");
        assert_eq!(std::fs::read(&page).unwrap(), damaged);
    }
    drop(links);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_of_a_server_stops_its_own_conversation_alone() {
    let (kept, [_, page]) = stopped().await;
    for (damaged, version) in damages(&page) {
        std::fs::write(&page, &damaged).unwrap();
        let (dial, accept, _) = network(vec![]);
        let mut server = kept.serve(|| accept.clone()).await;
        let mut events = server.events().unwrap();
        let Some(ServerEvent::Unreadable(error)) = events.next().await else {
            panic!("nothing is told");
        };
        assert!(is_expected(&error, version), "{error}");

        // Its peer keeps it, and goes on once the record is back.
        let waiting = kept.connect(dial.clone()).await;
        assert!(waiting.is_resuming());
        let refused = timeout(Duration::from_secs(3_600), waiting.welcome()).await;
        let over = refused.expect("it gives up").unwrap_err();
        assert!(!matches!(over.cause, Cause::Peer), "{over:?}");

        // Nobody else is stopped by that.
        let other = Sides::new();
        let other = Client::new(&other.client, vec![kept.sides.server.key_id()]);
        let waiting = other.connect::<Link, _, _>(dial).await.unwrap();
        let (here, there) = tokio::join!(server.next(), waiting.welcome());
        assert!(here.is_some() && there.is_ok());
        drop((here, there));
        server.stop().await;
        assert_eq!(std::fs::read(&page).unwrap(), damaged);
        let dir = page.parent().unwrap();
        for other in pages(dir).iter().filter(|other| **other != page) {
            std::fs::remove_file(other).unwrap();
        }
    }
}

/// The files of conversations in this directory.
fn pages(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let is_page = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "record");
    let entries = std::fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(is_page)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn without_a_hold_a_cut_ends_what_the_journal_kept() {
    let kept = Kept::new();
    let mut limits = Limits::default();
    limits.hold = Duration::ZERO;
    let (dial, accept, links) = network(vec![usize::MAX]);
    let mut server = kept.serve(|| accept.clone()).await;
    let client = kept.client().with_limits(limits);
    let waiting = client.connect::<Link, _, _>(dial).await.unwrap();
    let (here, there) = tokio::join!(server.next(), waiting.welcome());
    let _here = mine(here.unwrap()).say(text("one")).await.unwrap();
    let (_, there) = theirs(there.unwrap()).hear().await.unwrap();
    let dir = kept.dir.path().join(kept.sides.client.key_id().file_name());
    assert_eq!(pages(&dir).len(), 1);
    *links.lock().unwrap()[0].1.lock().unwrap() = 0;
    let over = there.say(text("two")).await.unwrap().hear().await;
    let over = over.unwrap_err();
    assert_eq!(over.unacknowledged, Some(message(2, "two")));
    assert_eq!(pages(&dir).len(), 1);
    over.told().await;
    assert_eq!(pages(&dir).len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_quit_outlives_a_crash_and_then_a_new_conversation_begins() {
    let kept = Kept::new();
    // The first link lasts; after its cut nobody answers.
    let (dial, accept, links) = network([vec![usize::MAX], vec![0; 100]].concat());
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial).await;
    let (here, there) = greeted(&mut server, waiting).await;
    let mut there = there.say(text("two")).await.unwrap();
    let (Message { text: heard, .. }, here) = here.hear().await.unwrap();
    assert_eq!(heard, text("two"));
    assert_eq!(there.notice().await, Some(Notice::Delivered { turn: 2 }));
    *links.lock().unwrap()[0].1.lock().unwrap() = 0;
    assert_eq!(there.notice().await, Some(Notice::Lost));
    there.quit();
    // Until the end stands on the page, where a crash then leaves it.
    let page = kept.dir.path().join(kept.sides.client.key_id().file_name());
    let page = pages(&page).remove(0);
    while !read_record(&page).is_some_and(|it| it.contains("\"quit\":true")) {
        tokio::task::yield_now().await;
    }
    drop((here, there));
    server.stop().await;
    // A dial that finds it held still would count below.
    let lock = page.with_extension("lock");
    while File::open(&lock).unwrap().try_lock().is_err() {
        tokio::task::yield_now().await;
    }

    let (dial, accept, links) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let held = server.next().await.unwrap();
    assert!(held.is_resumed);
    let old = kept.connect(dial.clone()).await;
    assert!(old.is_over());
    let (there, over) = tokio::join!(old.welcome(), mine(held).quit_of_peer());
    assert!(matches!(over.cause, Cause::Peer), "{over:?}");
    assert_eq!(there.unwrap_err().cause, Cause::Me);
    let waiting = kept.connect(dial).await;
    assert!(!waiting.is_resuming());
    let (here, there) = tokio::join!(server.next(), waiting.welcome());
    assert!(!here.unwrap().is_resumed);
    assert!(there.is_ok());
    // One for the end alone, and one for the beginning.
    assert_eq!(links.lock().unwrap().len(), 2);
}

trait QuitOfPeer {
    /// Takes what it was handed, and waits for the peer's end.
    async fn quit_of_peer(self) -> Ended;
}

impl QuitOfPeer for MyTurn {
    async fn quit_of_peer(mut self) -> Ended {
        self.taken();
        while self.notice().await.is_some() {}
        self.quit().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_past_its_hold_is_parked_and_goes_on_later() {
    let kept = Kept::new();
    let (dial, accept, links) = network([vec![usize::MAX], vec![0; 10_000]].concat());
    let (later_dial, later_accept, _) = network(vec![]);
    let either = move || -> Accepting {
        let (now, later) = (accept.clone()(), later_accept.clone()());
        Box::pin(async move {
            tokio::select! { link = now => link, link = later => link }
        })
    };
    let mut server = kept.serve(|| either.clone()).await;
    let waiting = kept.connect(dial).await;
    let (here, there) = greeted(&mut server, waiting).await;
    *links.lock().unwrap()[0].1.lock().unwrap() = 0;
    // Both give up: the client exits, the server is free for others.
    let (here, there) = tokio::join!(here.hear(), there.quit_of_peer());
    assert!(matches!(here.unwrap_err().cause, Cause::Link(_)));
    assert!(matches!(there.cause, Cause::Link(_)), "{there:?}");

    let waiting = kept.connect(later_dial).await;
    assert!(waiting.is_resuming());
    let (here, there) = tokio::join!(server.next(), waiting.welcome());
    let (here, there) = (here.unwrap(), there.unwrap());
    assert!(here.is_resumed && there.is_resumed);
    assert_eq!(there.unanswered, Some(message(1, "one")));
    let _there = mine(there).say(text("two")).await.unwrap();
    let (Message { text: heard, .. }, _) = theirs(here).hear().await.unwrap();
    assert_eq!(heard, text("two"));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_stops_before_anything_is_sent() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial).await;
    let (here, there) = begun(&mut server, waiting).await;
    // As if the disk were full, or had gone.
    let dir = kept.dir.path().join(kept.sides.server.key_id().file_name());
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::write(&dir, "").unwrap();

    let over = match here.say(text("never sent")).await {
        Ok(theirs) => theirs.hear().await.unwrap_err(),
        Err(over) => over,
    };
    let failed = matches!(
        over.cause,
        Cause::Link(LinkError::Journal(JournalError::Unwritable { .. }))
    );
    assert!(failed, "{over:?}");
    let over = there.hear().await.unwrap_err();
    let told = matches!(
        over.cause,
        Cause::Link(LinkError::Reported {
            code: Code::Internal,
            ..
        })
    );
    assert!(told, "{over:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_stored_is_not_said_later_either() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial.clone()).await;
    let (here, there) = greeted(&mut server, waiting).await;
    let there = there.say(text("two")).await.unwrap();
    let (_, here) = here.hear().await.unwrap();

    let dir = kept.dir.path().join(kept.sides.server.key_id().file_name());
    let (away, file) = (dir.with_extension("away"), "in its place");
    std::fs::rename(&dir, &away).unwrap();
    std::fs::write(&dir, file).unwrap();
    assert!(here.say(text("never stored")).await.is_err());
    assert!(there.hear().await.is_err());
    std::fs::remove_file(&dir).unwrap();
    std::fs::rename(&away, &dir).unwrap();

    // The server's process lives on, and its user is back in turn 1: what it
    // could read when it was parked.
    let waiting = kept.connect(dial).await;
    let (here, _there) = tokio::join!(server.next(), waiting.welcome());
    assert_eq!(mine(here.unwrap()).number(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_left_half_written_goes() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut halves = Vec::new();
    for (own, name) in [
        (kept.sides.server.key_id(), "server-x".to_owned()),
        (
            kept.sides.client.key_id(),
            format!("client-{}", kept.sides.server.key_id().file_name()),
        ),
    ] {
        let dir = kept.dir.path().join(own.file_name());
        std::fs::create_dir_all(&dir).unwrap();
        halves.push(dir.join(format!(".{name}.record.0123456789abcdef.new")));
    }
    for half in &halves {
        std::fs::write(half, "{").unwrap();
    }
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial).await;
    let (_here, _there) = tokio::join!(server.next(), waiting.welcome());
    for half in &halves {
        assert!(!half.exists(), "{}", half.display());
    }
}

#[tokio::test(start_paused = true)]
async fn a_quit_left_over_that_is_refused_is_let_go_of() {
    let kept = Kept::new();
    let (dial, accept, links) = network([vec![usize::MAX], vec![0; 100]].concat());
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial).await;
    let (here, there) = greeted(&mut server, waiting).await;
    *links.lock().unwrap()[0].1.lock().unwrap() = 0;
    let there = there.say(text("two")).await.unwrap();
    let there = tokio::spawn(async move {
        there.quit();
        there.hear().await.unwrap_err()
    });
    drop(here);
    server.stop().await;
    // The quit is stored, and not acknowledged: the program crashes.
    while !page_of_the_client(&kept).contains("\"quit\":true") {
        tokio::task::yield_now().await;
    }
    let page = page_of_the_client(&kept);
    let _ = there.await;
    let dir = kept.dir.path().join(kept.sides.client.key_id().file_name());
    let name = format!("client-{}.record", kept.sides.server.key_id().file_name());
    assert!(write_record(&dir.join(name), &page));

    // Meanwhile the server has been told to let this key in no more.
    let (mut dial, accept, _) = network(vec![]);
    let _server = ServerBuilder::new(&kept.sides.server, async |_| {
        Verdict::Refuse(Reason::UnknownPeer)
    })
    .start(accept)
    .await
    .unwrap();
    let mut dials = 0;
    let dial = move || {
        dials += 1;
        let dialled = dial();
        async move {
            match dials {
                ..=5 => dialled.await,
                _ => std::future::pending().await,
            }
        }
    };
    for is_told in [false, true] {
        let old = kept.connect::<_, _>(dial.clone()).await;
        assert!(old.is_over());
        let over = timeout(Duration::from_secs(3_600), old.welcome()).await;
        let over = over.expect("its end").unwrap_err();
        assert_eq!(over.unacknowledged, Some(message(2, "two")));
        match is_told {
            true => over.told().await,
            false => over.not_told(),
        }
    }
    let new = kept.connect::<_, _>(dial).await;
    assert!(!new.is_over() && !new.is_resuming());
    let over = new.welcome().await.unwrap_err();
    assert!(matches!(over.cause, Cause::Refused(_)), "{over:?}");
}

/// What stands in the client's journal.
fn page_of_the_client(kept: &Kept) -> String {
    let dir = kept.dir.path().join(kept.sides.client.key_id().file_name());
    let read = |path: std::path::PathBuf| read_record(&path).unwrap_or_default();
    pages(&dir).into_iter().map(read).collect()
}

#[tokio::test(start_paused = true)]
async fn past_the_limit_the_oldest_parked_conversation_is_given_up() {
    let (kept, other) = (Kept::new(), Sides::new());
    let mut limits = Limits::default();
    limits.parked = 1;
    let journal = Journal::new(kept.dir.path(), &kept.sides.server.key_id());
    let builder = kept.sides.builder().with_limits(limits);
    let (dial, accept, _) = network(vec![]);
    let mut server = builder.with_journal(journal).start(accept).await.unwrap();
    let mut events = server.events().unwrap();
    let other = Client::new(&other.client, vec![kept.sides.server.key_id()]);

    let waiting = kept.connect(dial.clone()).await;
    let (here, _there) = greeted(&mut server, waiting).await;
    drop(here);
    let waiting = other.connect::<Link, _, _>(dial).await.unwrap();
    let (here, _there) = greeted(&mut server, waiting).await;
    drop(here);
    let abandoned = timeout(Duration::from_secs(60), events.next()).await;
    let Ok(Some(ServerEvent::Expired(abandoned))) = abandoned else {
        panic!("{abandoned:?}");
    };
    assert_eq!(abandoned.key, kept.sides.client.key_id());
}

/// Polls where there is no runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Whoever finds that a conversation is over does what follows on the server: here the record of
/// the one before is removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_find_the_end_outside_of_the_runtime() {
    let kept = Kept::new();
    let mut limits = Limits::default();
    limits.ended = 1;
    let journal = Journal::new(kept.dir.path(), &kept.sides.server.key_id());
    let builder = kept.sides.builder().with_limits(limits);
    let (dial, accept, _) = network(vec![]);
    let mut server = builder.with_journal(journal).start(accept).await.unwrap();
    // Mostly it does, and not the keeper.
    for _ in 0..10 {
        let waiting = kept.connect(dial.clone()).await;
        let (here, there) = greeted(&mut server, waiting).await;
        let (told, over) = oneshot::channel();
        let hearing = thread::spawn(move || {
            let over = block_on(here.hear()).unwrap_err();
            told.send(over.cause.clone()).unwrap();
        });
        there.quit().await;
        assert_eq!(over.await, Ok(Cause::Peer));
        hearing.join().unwrap();
    }
    server.stop().await;
}

/// Its peer had begun another, and the crash came before the first one's end was stored.
#[tokio::test(start_paused = true)]
async fn of_what_a_crash_left_open_of_a_key_the_last_goes_on() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.sides.client().connect(dial.clone()).await.unwrap();
    let first = waiting.welcome();
    let (here, there) = tokio::join!(server.next(), first);
    let (here, there) = (mine(here.unwrap()), theirs(there.unwrap()));
    let here = here.say(text("one")).await.unwrap();
    let (_, there) = there.hear().await.unwrap();
    let dir = kept.dir.path().join(kept.sides.server.key_id().file_name());
    let first = pages(&dir).remove(0);
    let before = std::fs::read(&first).unwrap();

    let waiting = kept.connect(dial).await;
    let over = here.hear().await.unwrap_err();
    assert_eq!(over.cause, Cause::Peer);
    over.told().await;
    drop(there);
    let (here, there) = greeted(&mut server, waiting).await;
    drop((here, there));
    server.stop().await;
    assert_ne!(std::fs::read(&first).ok(), Some(before.clone()));
    std::fs::write(&first, before).unwrap();

    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let mut events = server.events().unwrap();
    let abandoned = timeout(Duration::from_secs(60), events.next()).await;
    let Ok(Some(ServerEvent::GaveUp(abandoned))) = abandoned else {
        panic!("{abandoned:?}");
    };
    let name = first.file_stem().unwrap().to_str().unwrap();
    assert!(name.ends_with(&abandoned.conversation.to_string()));
    let here = server.next().await.unwrap();
    assert!(here.is_resumed);
    let there = kept.connect(dial).await.welcome().await.unwrap();
    assert_eq!(here.conversation, there.conversation);
    assert_ne!(here.conversation, abandoned.conversation);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_let_go_of_frees_its_record_at_once() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial).await;
    let (_here, there) = greeted(&mut server, waiting).await;
    let lock = lock_of_the_client(&kept);
    assert!(lock.try_lock().is_err());
    drop(there);
    assert!(lock.try_lock().is_ok());
}

/// The last store of one that was let go of may be on its way.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_held_is_waited_for() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial.clone()).await;
    let (_here, there) = greeted(&mut server, waiting).await;
    drop(there);
    let lock = lock_of_the_client(&kept);
    lock.lock().unwrap();
    let client = kept.client();
    let connecting = client.connect(dial);
    tokio::pin!(connecting);
    let soon = timeout(Duration::from_secs(2), &mut connecting).await;
    assert!(soon.is_err(), "{:?}", soon.map(drop));
    lock.unlock().unwrap();
    assert!(connecting.await.unwrap().is_resuming());
}

fn lock_of_the_client(kept: &Kept) -> File {
    let dir = kept.dir.path().join(kept.sides.client.key_id().file_name());
    let name = format!("client-{}.lock", kept.sides.server.key_id().file_name());
    File::open(dir.join(name)).unwrap()
}

/// Nobody asked for the one that was on before the restart, and the next is welcomed
/// all the same.
#[tokio::test(start_paused = true)]
async fn who_is_taken_before_anybody_was_asked_for_takes_no_place() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial).await;
    drop(greeted(&mut server, waiting).await);
    server.stop().await;

    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let held = loop {
        match server.welcomed() {
            Some(talk) => break talk,
            None => tokio::task::yield_now().await,
        }
    };
    assert!(held.is_resumed);
    drop(held);
    let waiting = kept.connect(dial).await;
    let both = async { tokio::join!(server.next(), waiting.welcome()) };
    let both = timeout(Duration::from_secs(3_600), both).await;
    let (next, there) = both.expect("a place");
    assert!(next.unwrap().is_resumed);
    assert!(there.is_ok());
}
