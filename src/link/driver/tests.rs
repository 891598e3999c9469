//! The driver over a stream in memory and a real disk: who is woken, what is
//! kept, and when.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex,
};
use tokio::time::timeout;

use super::*;
use crate::link::error::{Cause, LinkError};
use crate::link::journal::Journal;
use crate::link::metered::Metered;
use crate::link::store::RecordName;
use crate::link::turn::{self, Talk, Turn};
use crate::protocol::{Conversation, ConversationId, HeardWhen, Limits, Role, Snapshot};
use crate::trust::{KeyId, Peer};

type Stream = BufReader<Metered<DuplexStream>>;

const GREETING: Greeting = Greeting {
    heard: 0,
    has_quit: false,
    clienthello: 1,
};

fn text(words: &str) -> Text {
    Text::new(words).unwrap()
}

fn id() -> ConversationId {
    ConversationId::from_bits([7; 16])
}

fn key() -> KeyId {
    let key = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
    key.parse().unwrap()
}

fn wire(stream: DuplexStream, limits: &Limits) -> Box<Wire<Stream>> {
    let (stream, meter) = Metered::new(stream);
    let first_frame_by = Instant::now() + limits.first_answer;
    Box::new(Wire::new(
        Role::Server,
        BufReader::new(stream),
        meter,
        limits,
        first_frame_by,
    ))
}

fn server(limits: &Limits, record: Option<Record>) -> (Arc<Driver<Stream>>, Talk) {
    server_in(limits, record, None)
}

fn server_in(
    limits: &Limits,
    record: Option<Record>,
    crowding: Option<Arc<Crowding>>,
) -> (Arc<Driver<Stream>>, Talk) {
    let has_journal = record.is_some();
    let heard_when = match has_journal {
        true => HeardWhen::Stored,
        false => HeardWhen::Taken,
    };
    let conversation = Conversation::new(Role::Server, id(), heard_when);
    let session = Session::new(
        Role::Server,
        conversation.clone(),
        true,
        has_journal,
        limits,
    );
    let driver = Driver::new(session, key(), record.map(Arc::new), crowding);
    let user = Arc::clone(&driver);
    let talk = turn::welcomed(Peer::remembered(key()), &conversation, user);
    (driver, talk)
}

/// A server's conversation over this stream, which is not kept going yet.
fn begun(limits: &Limits, record: Option<Record>) -> (Arc<Driver<Stream>>, Talk, DuplexStream) {
    let (driver, talk) = server(limits, record);
    let (ours, theirs) = duplex(64 * 1024);
    assert!(driver.accept(wire(ours, limits), GREETING).is_ok());
    (driver, talk, theirs)
}

#[test]
fn not_everyone_comes_back_at_the_same_instant() {
    let second = Duration::from_secs(1);
    let delays: Vec<_> = (0..64).map(|_| with_jitter(second)).collect();
    assert!(delays.iter().all(|it| (second..2 * second).contains(it)));
    assert!(delays.windows(2).any(|two| two[0] != two[1]));
}

/// Its record, and what would be put there now.
fn recorded(driver: &Driver<Stream>) -> (Arc<Record>, Snapshot) {
    let state = driver.lock();
    let snapshot = state.session.conversation().snapshot();
    (state.record.clone().unwrap(), snapshot)
}

async fn record(journal: &Journal) -> Record {
    let kept = journal.server(&Limits::default()).await.unwrap();
    Record::of_new(kept.store.unwrap(), RecordName::Server(key(), id()))
}

/// While the disk is busy, something to know does not wake a `say` again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_say_that_is_being_stored_does_not_spin() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::new(dir.path(), &key());
    let record = record(&journal).await;
    let (driver, talk) = server(&Limits::default(), Some(record));
    driver.hold(0);
    tokio::spawn(Arc::clone(&driver).keeper(|_| ()).keep(None));
    let Turn::Mine(mine) = talk.turn else {
        panic!("it is the server's turn");
    };
    let polls = AtomicUsize::new(0);
    let mut say = pin!(mine.say(text("x")));
    let said = poll_fn(|cx| {
        polls.fetch_add(1, Ordering::Relaxed);
        say.as_mut().poll(cx)
    });
    assert!(said.await.is_ok());
    assert!(polls.load(Ordering::Relaxed) < 5, "{polls:?}");
}

/// Whoever waits for a put polls it: no task stands between them and the disk.
#[tokio::test]
async fn a_put_has_no_task_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::new(dir.path(), &key());
    let record = record(&journal).await;
    let (driver, talk) = server(&Limits::default(), Some(record));
    driver.hold(0);
    let _keeper = driver.keeper(|_| ()).keep(None);
    let Turn::Mine(mine) = talk.turn else {
        panic!("it is the server's turn");
    };
    let before = Handle::current().metrics().num_alive_tasks();
    let mut say = pin!(mine.say(text("x")));
    assert!(polled(say.as_mut()).await.is_pending());
    assert_eq!(Handle::current().metrics().num_alive_tasks(), before);
    assert!(say.await.is_ok());
}

/// Whoever leaves in the midst of a put hands it over.
#[tokio::test]
async fn a_put_goes_on_without_a_user_and_a_keeper() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::new(dir.path(), &key());
    let record = record(&journal).await;
    let (driver, talk) = server(&Limits::default(), Some(record));
    driver.hold(0);
    let keeper = Arc::clone(&driver).keeper(|_| ()).keep(None);
    let Turn::Mine(mine) = talk.turn else {
        panic!("it is the server's turn");
    };
    // Another put holds the record: this one is not even begun.
    let (record, snapshot) = recorded(&driver);
    let mut other = Box::pin(record.put(&snapshot, true, 0));
    assert!(polled(other.as_mut()).await.is_pending());
    let mut say = Box::pin(mine.say(text("x")));
    assert!(polled(say.as_mut()).await.is_pending());
    drop((say, keeper));
    assert!(other.await.is_ok());
    let path = record.place();
    let is_put = async {
        while !std::fs::read_to_string(&path).unwrap().contains(":\"x\"") {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(Duration::from_secs(60), is_put).await.is_ok());
}

/// While the keeper reads, it is who finishes a put, whoever has looked at it last.
#[tokio::test]
async fn a_put_that_its_user_has_turned_away_from_is_finished() {
    const SOON: Duration = Duration::from_millis(5);
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::new(dir.path(), &key());
    let record = record(&journal).await;
    let (driver, talk, theirs) = begun(&Limits::default(), Some(record));
    tokio::spawn(Arc::clone(&driver).keeper(|_| ()).keep(None));
    let Turn::Mine(mine) = talk.turn else {
        panic!("it is the server's turn");
    };
    let mut listening = mine.say(text("x")).await.unwrap();
    let (reader, mut writer) = tokio::io::split(theirs);
    let mut lines = BufReader::new(reader).lines();
    for kind in ["welcome", "say"] {
        let line = lines.next_line().await.unwrap().unwrap();
        assert!(line.contains(kind), "{line}");
    }
    while !driver.lock().keeper_reads {
        tokio::time::sleep(SOON).await;
    }
    // Another put holds the record.
    let (record, snapshot) = recorded(&driver);
    let mut other = Box::pin(record.put(&snapshot, true, 0));
    assert!(polled(other.as_mut()).await.is_pending());
    let answer = b"{\"heard\":{\"turn\":1}}\n{\"say\":{\"turn\":2,\"text\":\"y\"}}\n";
    writer.write_all(answer).await.unwrap();
    while !driver.lock().session.is_storing() {
        tokio::time::sleep(SOON).await;
    }
    assert!(polled(pin!(listening.ready())).await.is_pending());
    assert!(other.await.is_ok());
    // Before anything else could wake the keeper.
    let line = timeout(Duration::from_secs(10), lines.next_line()).await;
    let line = line.expect("an answer").unwrap();
    assert_eq!(line.as_deref(), Some(r#"{"heard":{"turn":2}}"#));
}

async fn polled<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

#[tokio::test]
async fn a_keeper_that_is_dropped_before_it_ran_is_told() {
    let (driver, talk, _theirs) = begun(&Limits::default(), None);
    drop(driver.keeper(|_| ()).keep(None));
    let Turn::Mine(mine) = talk.turn else {
        panic!("it is the server's turn");
    };
    let ended = mine.say(text("x")).await.unwrap_err();
    assert_eq!(ended.cause, Cause::Link(LinkError::Cut));
}

/// A server's user does not wait for its keeper to learn of an end.
#[tokio::test]
async fn an_end_is_acknowledged_without_the_keeper() {
    let (driver, talk, mut theirs) = begun(&Limits::default(), None);
    let keeper = driver.keeper(|_| ()).keep(None);
    let Turn::Mine(mine) = talk.turn else {
        panic!("it is the server's turn");
    };
    let listening = mine.say(text("x")).await.unwrap();
    let heard_and_quit = b"{\"heard\":{\"turn\":1}}\n{\"quit\":{}}\n";
    theirs.write_all(heard_and_quit).await.unwrap();
    let heard = timeout(Duration::from_secs(60), listening.hear()).await;
    assert_eq!(heard.unwrap().unwrap_err().cause, Cause::Peer);
    let mut told = String::new();
    theirs.read_to_string(&mut told).await.unwrap();
    assert!(told.ends_with("{\"quit\":{}}\n"), "{told}");
    drop(keeper);
}

/// A fault right behind a message does not swallow it while it is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_before_a_fault_is_handed_over() {
    for (hold, fault) in [(900, &b"garbage\n"[..]), (0, b"")] {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), &key());
        let limits = Limits {
            hold: Duration::from_secs(hold),
            ..Limits::default()
        };
        let record = record(&journal).await;
        let (driver, talk, mut theirs) = begun(&limits, Some(record));
        tokio::spawn(driver.keeper(|_| ()).keep(None));
        let Turn::Mine(mine) = talk.turn else {
            panic!("it is the server's turn");
        };
        let listening = mine.say(text("x")).await.unwrap();
        let last = b"{\"say\":{\"turn\":2,\"text\":\"last words\"}}\n";
        theirs.write_all(&[last, fault].concat()).await.unwrap();
        if fault.is_empty() {
            drop(theirs);
        }
        let heard = timeout(Duration::from_secs(60), listening.hear()).await;
        assert_eq!(heard.unwrap().unwrap().0.text, text("last words"));
    }
}

/// Whoever speaks after the end has taken what came before it.
#[tokio::test]
async fn a_say_that_comes_too_late_takes_the_message_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::new(dir.path(), &key());
    let record = record(&journal).await;
    let (driver, talk, mut theirs) = begun(&Limits::default(), Some(record));
    tokio::spawn(driver.keeper(|_| ()).keep(None));
    let Turn::Mine(mine) = talk.turn else {
        panic!("it is the server's turn");
    };
    let mut listening = mine.say(text("x")).await.unwrap();
    let answer = b"{\"say\":{\"turn\":2,\"text\":\"y\"}}\n";
    theirs.write_all(answer).await.unwrap();
    listening.ready().await;
    listening.quit();
    theirs.write_all(b"{\"quit\":{}}\n").await.unwrap();
    let mut told = String::new();
    theirs.read_to_string(&mut told).await.unwrap();
    assert!(told.ends_with("{\"quit\":{}}\n"), "{told}");
    let (message, mine) = listening.hear().await.unwrap();
    assert_eq!(message.text, text("y"));
    let ended = mine.say(text("z")).await.unwrap_err();
    assert_eq!((ended.cause, ended.turns), (Cause::Me, 2));
}

/// Thousands may be idle at once.
#[tokio::test]
async fn a_driver_and_its_keeper_are_small() {
    let (driver, _talk) = server(&Limits::default(), None);
    let size = size_of_val(&*driver);
    assert!(size <= 1280, "{size} B");
    let size = size_of_val(&driver.keeper(|_| ()).keep(None));
    assert!(size <= 512, "{size} B");
}

/// Most conversations have nothing to do with a crowd: they are not even looked at.
#[tokio::test]
async fn only_what_is_cut_or_about_to_end_minds_a_crowd() {
    let limits = Limits::default();
    let crowding = Arc::new(Crowding::default());
    let told = || crowding.set(true).len();

    let (driver, talk) = server_in(&limits, None, Some(Arc::clone(&crowding)));
    let (ours, _theirs) = duplex(64 * 1024);
    assert!(driver.accept(wire(ours, &limits), GREETING).is_ok());
    assert_eq!(told(), 0);
    let Turn::Mine(mine) = talk.turn else {
        panic!("it is the server's turn");
    };
    let leaving = mine.leave();
    assert_eq!(told(), 1);
    let is_hurried = |driver: &Driver<Stream>| {
        let state = driver.lock();
        let armed = state.deadlines.iter().map(|(timer, _)| *timer);
        { armed }.any(|timer| timer == Timer::CrowdedQuit)
    };
    assert!(is_hurried(&driver));

    drop((driver, leaving));
    assert_eq!(told(), 0);

    let (driver, _talk) = server_in(&limits, None, Some(Arc::clone(&crowding)));
    driver.hold(0);
    assert_eq!(told(), 1);
    let (ours, _theirs) = duplex(64 * 1024);
    assert!(driver.accept(wire(ours, &limits), GREETING).is_ok());
    assert_eq!(told(), 0);
}

/// Keeps a conversation, and counts how often its keeper is woken.
fn kept(driver: Arc<Driver<Stream>>) -> Arc<AtomicUsize> {
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&wakes);
    let mut keeper = Box::pin(driver.keeper(|_| ()).keep(None));
    tokio::spawn(poll_fn(move |cx| {
        counted.fetch_add(1, Ordering::Relaxed);
        keeper.as_mut().poll(cx)
    }));
    wakes
}

/// Nothing else wakes the keeper of a conversation in which nobody speaks.
#[tokio::test(start_paused = true)]
async fn an_idle_keeper_wakes_for_pings_alone() {
    let limits = Limits::default();
    let (driver, talk, mut theirs) = begun(&limits, None);
    let Turn::Mine(mine) = talk.turn else {
        panic!("it is the server's turn");
    };
    let mut listening = mine.say(text("x")).await.unwrap();
    let heard = b"{\"heard\":{\"turn\":1}}\n";
    theirs.write_all(heard).await.unwrap();
    let wakes = kept(driver);
    tokio::spawn(async move { listening.ready().await });
    let mut lines = BufReader::new(&mut theirs);
    let mut line = String::new();
    while !line.contains("ping") {
        line.clear();
        assert!(lines.read_line(&mut line).await.unwrap() > 0);
    }
    let before = wakes.load(Ordering::Relaxed);
    const PINGS: usize = 10;
    for _ in 0..PINGS {
        lines.get_mut().write_all(b"{\"pong\":{}}\n").await.unwrap();
        line.clear();
        assert!(lines.read_line(&mut line).await.unwrap() > 0);
        assert_eq!(line, "{\"ping\":{}}\n");
    }
    let wakes = wakes.load(Ordering::Relaxed) - before;
    assert!(wakes <= 2 * PINGS, "{wakes} for {PINGS} pings");
}

/// Where seconds go by between two turns, the keeper is woken by what comes, and by nothing else.
#[tokio::test(start_paused = true)]
async fn a_slow_turn_wakes_its_keeper_once() {
    const TURNS: usize = 10;
    let (driver, talk, mut theirs) = begun(&Limits::default(), None);
    let wakes = kept(driver);
    tokio::spawn(async move {
        let mut turn = talk.turn;
        loop {
            turn = match turn {
                Turn::Mine(mine) => Turn::Theirs(mine.say(text("x")).await.unwrap()),
                Turn::Theirs(theirs) => Turn::Mine(theirs.hear().await.unwrap().1),
            }
        }
    });
    let mut lines = BufReader::new(&mut theirs);
    let mut line = String::new();
    let mut before = 0;
    for turn in 1..=TURNS + 1 {
        while !line.contains("say") {
            line.clear();
            assert!(lines.read_line(&mut line).await.unwrap() > 0);
        }
        line.clear();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if turn == 1 {
            before = wakes.load(Ordering::Relaxed);
        }
        let said = format!("{{\"say\":{{\"turn\":{},\"text\":\"y\"}}}}\n", 2 * turn);
        lines.get_mut().write_all(said.as_bytes()).await.unwrap();
    }
    let wakes = wakes.load(Ordering::Relaxed) - before;
    assert!(wakes <= TURNS + 1, "{wakes} for {TURNS} turns");
}
