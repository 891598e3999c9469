//! Silence, slow lines, stalled writes and storms (PROTOCOL 5.1 and 5.2), on played
//! time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::time::{Instant, sleep, timeout};
use turnchat::Overdue;
use turnchat::{Algorithm, Identity, Message};
use turnchat::{Cause, Client, Ended, LinkError, Notice, Turn, Waiting};

use super::ours::{Habit, House, Tale, Told, called, next_told, told, unheld, welcomed};
use super::raw::{Came, Face, ID, PING, PONG, Papers, QUIT, Raw, heard, hello, say, welcome};
use super::streams::Mute;

const SECOND: Duration = Duration::from_secs(1);

fn overdue(over: &Ended) -> Overdue {
    match over.cause {
        Cause::Link(LinkError::Overdue(overdue)) => overdue,
        ref other => panic!("{other:?}"),
    }
}

/// When a client asks, and when a server does: so of two that are ours, one asks.
const CLIENT_ASKS: u64 = 20;
const SERVER_ASKS: u64 = 25;

/// Is asked after so many seconds, does not answer, and is given up after 60 s.
async fn falls_silent<T: AsyncRead + AsyncWrite + Unpin>(
    peer: &mut Raw<T>,
    tale: &mut Tale,
    asked_after: u64,
) {
    let start = Instant::now();
    peer.expect(PING).await;
    assert_eq!(start.elapsed().as_secs(), asked_after);
    assert!(matches!(peer.next().await, Came::Cut | Came::Close));
    assert_eq!(start.elapsed().as_secs(), 60);
    let (_, over) = told(tale).await;
    assert_eq!(overdue(&over), Overdue::Silent);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_asked_and_then_lost() {
    let mut house = House::new(Habit::Thinks).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    falls_silent(&mut guest, &mut house.tale, SERVER_ASKS).await;
    house.serves_the_next(Habit::Thinks).await;

    let (mut raw, mut tale) = welcomed(Habit::Thinks).await;
    falls_silent(&mut raw, &mut tale, CLIENT_ASKS).await;

    let (mut raw, mut tale) = called(Habit::Thinks).await;
    raw.hello().await;
    raw.send("{\"wait\":{\"ahead\":0}}").await;
    falls_silent(&mut raw, &mut tale, CLIENT_ASKS).await;
}

/// Once, while the link may still be there, and once more if it is.
#[tokio::test(start_paused = true)]
async fn a_silence_is_told_of_before_the_link_is_lost() {
    let (mut raw, mut tale) = welcomed(Habit::Thinks).await;
    let start = Instant::now();
    while !matches!(next_told(&mut tale).await, Told::Silence { is_over: false }) {}
    assert_eq!(start.elapsed().as_secs(), 30);
    raw.expect(PING).await;
    sleep(10 * SECOND).await;
    raw.send(PONG).await;
    assert!(matches!(
        next_told(&mut tale).await,
        Told::Silence { is_over: true }
    ));
    assert_eq!(start.elapsed().as_secs(), 40);
    // And anew with the next one.
    assert!(matches!(
        next_told(&mut tale).await,
        Told::Silence { is_over: false }
    ));
    assert_eq!(start.elapsed().as_secs(), 70);
    raw.expect(PING).await;
    raw.send(PONG).await;
    assert!(matches!(
        next_told(&mut tale).await,
        Told::Silence { is_over: true }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_loses_its_place_in_the_queue() {
    let house = House::new(Habit::Thinks).await;
    let mut first = house.guest().await;
    first.begin().await;
    let mut second = house.guest().await;
    second.send(&hello(ID)).await;
    second.expect("{\"wait\":{\"ahead\":0}}").await;
    let start = Instant::now();
    let keeping_alive = async {
        loop {
            sleep(15 * SECOND).await;
            first.send(PING).await;
        }
    };
    tokio::select! {
        () = keeping_alive => {}
        () = second.expect(PING) => {}
    }
    assert_eq!(start.elapsed().as_secs(), SERVER_ASKS);
    first.send(PING).await;
    sleep(30 * SECOND).await;
    first.send(PING).await;
    assert!(matches!(second.next().await, Came::Cut | Came::Close));
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn one_byte_is_a_sign_of_life() {
    let house = House::new(Habit::Answers).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    let line = say(2, "slow");
    for (sent, byte) in line.bytes().enumerate() {
        sleep(27 * SECOND).await;
        // Asked for each time, and a byte is answer enough.
        assert_eq!(guest.next().await, Came::Line(PING.to_owned()), "{sent}");
        if sent == 20 {
            break;
        }
        guest.send_bytes(&[byte]).await;
    }
    guest.send_bytes(&line.as_bytes()[20..]).await;
    guest.send("").await;
    // All through a long line it was asked every 25 seconds.
    loop {
        match guest.next().await {
            Came::Line(line) if line == PING => {}
            came => return assert_eq!(came, Came::Line(heard(2))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answered_ping_keeps_a_thinking_person_connected() {
    let mut house = House::new(Habit::Thinks).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(24 * 3600) {
        guest.expect(PING).await;
        guest.send(PONG).await;
    }
    guest.send(QUIT).await;
    guest.expect(QUIT).await;
    let (words, _) = told(&mut house.tale).await;
    assert_eq!(words, ["began"]);
}

/// Reads past pings to an `error` `timeout`.
async fn expect_timeout<T: AsyncRead + AsyncWrite + Unpin>(peer: &mut Raw<T>) {
    loop {
        match peer.next().await {
            Came::Line(line) if line == PING => {}
            came => {
                let timeout = "{\"error\":{\"code\":\"timeout\"}}".to_owned();
                assert_eq!(came, Came::Line(timeout));
                return assert_eq!(peer.next().await, Came::Close);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_started_line_does_not_pause_for_thirty_seconds() {
    let mut house = House::new(Habit::Answers).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    let start = Instant::now();
    guest.send_bytes(b"{\"say\"").await;
    expect_timeout(&mut guest).await;
    assert_eq!(start.elapsed().as_secs(), 30);
    drop(guest);
    let (words, over) = told(&mut house.tale).await;
    assert_eq!(
        (words, overdue(&over)),
        (vec!["began".into()], Overdue::Line)
    );
    house.serves_the_next(Habit::Answers).await;

    let (mut raw, mut tale) = welcomed(Habit::Answers).await;
    let start = Instant::now();
    raw.send_bytes(b"{").await;
    expect_timeout(&mut raw).await;
    assert_eq!(start.elapsed().as_secs(), 30);
    let (_, over) = told(&mut tale).await;
    assert_eq!(overdue(&over), Overdue::Line);
}

#[tokio::test(start_paused = true)]
async fn a_started_line_ends_in_ten_minutes() {
    let house = House::new(Habit::Answers).await;
    let mut guest = house.guest().await;
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    let start = Instant::now();
    while start.elapsed() < 595 * SECOND {
        guest.send_bytes(b" ").await;
        sleep(15 * SECOND).await;
    }
    expect_timeout(&mut guest).await;
    assert_eq!(start.elapsed().as_secs(), 600);
}

#[tokio::test(start_paused = true)]
async fn before_welcome_a_started_line_ends_in_thirty_seconds() {
    let house = House::new(Habit::Thinks).await;
    let mut first = house.guest().await;
    first.begin().await;
    let mut second = house.guest().await;
    second.send(&hello(ID)).await;
    second.expect("{\"wait\":{\"ahead\":0}}").await;
    let start = Instant::now();
    while start.elapsed() < 29 * SECOND {
        second.send_bytes(b" ").await;
        sleep(SECOND).await;
    }
    expect_timeout(&mut second).await;
    assert_eq!(start.elapsed().as_secs(), 30);

    let (mut raw, _tale) = called(Habit::Answers).await;
    raw.hello().await;
    raw.send("{\"wait\":{\"ahead\":0}}").await;
    let start = Instant::now();
    while start.elapsed() < 29 * SECOND {
        raw.send_bytes(b" ").await;
        sleep(SECOND).await;
    }
    expect_timeout(&mut raw).await;
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_first_frame_that_only_begins_is_none() {
    let (mut raw, mut tale) = called(Habit::Answers).await;
    raw.hello().await;
    let start = Instant::now();
    raw.send_bytes(b"{\"wait\"").await;
    let (_, over) = told(&mut tale).await;
    assert_eq!(overdue(&over), Overdue::FirstFrame);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_lost_after_thirty_seconds() {
    let mut house = House::on(Habit::Shouts, unheld(), async |_| turnchat::Verdict::Admit).await;
    let (here, there) = duplex(4096);
    house.arrive(there);
    let mut guest = Face::new(&Papers::new()).dial(here).await.unwrap();
    guest.begin().await;
    let start = Instant::now();
    // It is there, but takes nothing more.
    let talking = async {
        loop {
            guest.send(PONG).await;
            sleep(5 * SECOND).await;
        }
    };
    let (_, over) = tokio::select! {
        () = talking => panic!("it talks for ever"),
        over = told(&mut house.tale) => over,
    };
    assert_eq!(overdue(&over), Overdue::Write);
    assert_eq!(start.elapsed().as_secs(), 30);
}

/// A server over a stream that cannot be written any more, and what it was about to
/// write: how long it takes to notice.
async fn muted(habit: Habit, says: &str) -> Duration {
    let mut house = House::on(habit, unheld(), async |_| turnchat::Verdict::Admit).await;
    let (here, there) = duplex(4096);
    let (there, is_mute) = Mute::new(there);
    house.arrive(there);
    let mut guest = Face::new(&Papers::new()).dial(here).await.unwrap();
    guest.begin().await;
    if habit == Habit::Answers {
        guest.expect(&say(1, "turn 1")).await;
    }
    is_mute.store(true, Ordering::Relaxed);
    let start = Instant::now();
    guest.send_bytes(says.as_bytes()).await;
    let (_, over) = told(&mut house.tale).await;
    assert!(
        matches!(over.cause, Cause::Link(LinkError::Io(_))),
        "{over:?}"
    );
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_link_that_cannot_be_written_is_lost_at_once() {
    // An answer, a `pong`, and the `ping` that is due after 25 seconds.
    let answer = muted(Habit::Answers, &format!("{}\n", say(2, "x"))).await;
    assert!(answer < SECOND, "{answer:?}");
    let pong = muted(Habit::Thinks, &format!("{PING}\n")).await;
    assert!(pong < SECOND, "{pong:?}");
    let ping = muted(Habit::Thinks, "").await;
    assert_eq!(ping.as_secs(), SERVER_ASKS);
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_a_link_failed_is_heard() {
    let mut house = House::on(Habit::Answers, unheld(), async |_| turnchat::Verdict::Admit).await;
    let (here, there) = duplex(4096);
    let (there, is_mute) = Mute::new(there);
    house.arrive(there);
    let mut guest = Face::new(&Papers::new()).dial(here).await.unwrap();
    guest.begin().await;
    guest.expect(&say(1, "turn 1")).await;
    is_mute.store(true, Ordering::Relaxed);
    let last = [
        say(2, "x"),
        "{\"error\":{\"code\":\"internal\"}}\n".to_owned(),
    ];
    guest.send_bytes(last.join("\n").as_bytes()).await;
    let (words, over) = told(&mut house.tale).await;
    assert_eq!(words, ["began", "delivered 1", "heard 2 x"]);
    let code = turnchat::Code::Internal;
    let detail = None;
    assert_eq!(
        over.cause,
        Cause::Link(LinkError::Reported { code, detail })
    );
}

/// Though it comes first, a `pong` is no first frame.
#[tokio::test(start_paused = true)]
async fn a_ping_behind_the_hello_is_answered_behind_the_welcome() {
    let house = House::new(Habit::Thinks).await;
    let mut guest = house.guest().await;
    guest.send(&format!("{}\n{PING}\n{PING}", hello(ID))).await;
    let first = guest.next().await;
    let answers = [wait(0), welcome(ID)].map(Came::Line);
    assert!(answers.contains(&first), "{first:?}");
    loop {
        let next = guest.next().await;
        if next == Came::Line(PONG.to_owned()) {
            break;
        }
        assert!(answers.contains(&next), "{next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_talks_and_does_not_read_is_lost_too() {
    let mut house = House::on(Habit::Shouts, unheld(), async |_| turnchat::Verdict::Admit).await;
    let (here, there) = duplex(4096);
    house.arrive(there);
    let mut guest = Face::new(&Papers::new()).dial(here).await.unwrap();
    guest.begin().await;
    // Each of its turns is answered by 64 KiB, and it takes none of it.
    let talking = async {
        for turn in (2..).step_by(2) {
            guest.send(&say(turn, "x")).await;
            sleep(10 * SECOND).await;
        }
    };
    let over = tokio::select! {
        () = talking => unreachable!("it talks without end"),
        (_, over) = told(&mut house.tale) => over,
        () = sleep(100 * SECOND) => panic!("it is not lost"),
    };
    assert_eq!(overdue(&over), Overdue::Write);
}

/// It acknowledges what it cannot have, in order to be answered.
#[tokio::test(start_paused = true)]
async fn the_answers_to_a_peer_that_does_not_read_are_not_hoarded() {
    let mut house = House::on(Habit::Shouts, unheld(), async |_| turnchat::Verdict::Admit).await;
    let (here, there) = duplex(4096);
    house.arrive(there);
    let mut guest = Face::new(&Papers::new()).dial(here).await.unwrap();
    guest.begin().await;
    let (mut answered, long) = (0, "x".repeat(4_096));
    while timeout(SECOND, guest.send(&say(2 * answered + 2, &long)))
        .await
        .is_ok()
    {
        answered += 1;
        assert!(answered < 12, "as many as it wants: no end");
        sleep(SECOND / 10).await;
    }
    let (_, over) = told(&mut house.tale).await;
    assert_eq!(overdue(&over), Overdue::Write);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_slowly_is_not_lost() {
    let mut house = House::on(Habit::Shouts, unheld(), async |_| turnchat::Verdict::Admit).await;
    let (here, there) = duplex(4096);
    house.arrive(there);
    let mut guest = Face::new(&Papers::new()).dial(here).await.unwrap();
    guest.begin().await;
    // 16 KiB every 25 seconds.
    while !guest.has_line() {
        sleep(25 * SECOND).await;
        let enough = guest.unread.len() + 16 * 1024;
        while guest.unread.len() < enough && !guest.has_line() {
            assert!(guest.read_some().await, "given up");
        }
        guest.send(PONG).await;
    }
    drop(guest);
    let (_, over) = told(&mut house.tale).await;
    assert!(!matches!(over.cause, Cause::Link(LinkError::Overdue(_))));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_pings_from_a_peer_that_does_not_read_is_not_hoarded() {
    const PIPE: usize = 4096;
    let house = House::on(Habit::Thinks, unheld(), async |_| turnchat::Verdict::Admit).await;
    let (here, there) = duplex(PIPE);
    house.arrive(there);
    let mut guest = Face::new(&Papers::new()).dial(here).await.unwrap();
    guest.begin().await;
    for _ in 0..200 {
        guest.send(&vec![PING; 100].join("\n")).await;
    }
    // What is in the pipe, what is half written, and the one that is owed.
    let mut pongs = 0;
    while let Ok(came) = timeout(SECOND, guest.next()).await {
        assert_eq!(came, Came::Line(PONG.to_owned()));
        pongs += 1;
    }
    let record = PONG.len() + 1 + 22;
    assert!((1..=PIPE / record + 3).contains(&pongs), "{pongs}");
}

/// A raw server, and our client, which has one link to dial and waits.
async fn greeted() -> (Raw<tokio_rustls::server::TlsStream<DuplexStream>>, Waiting) {
    let papers = Papers::new();
    let (ours, theirs) = duplex(4096);
    let identity = Identity::generate(Algorithm::default()).unwrap();
    let client = Client::new(&identity, vec![papers.id]);
    let mut ours = Some(ours);
    let dial = move || {
        let stream = ours
            .take()
            .ok_or(std::io::ErrorKind::ConnectionRefused.into());
        async { stream }
    };
    let face = Face::new(&papers);
    let (raw, waiting) = tokio::join!(face.answer(theirs), client.connect(dial));
    (raw.unwrap(), waiting.unwrap())
}

fn wait(ahead: u64) -> String {
    format!("{{\"wait\":{{\"ahead\":{ahead}}}}}")
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_waits_is_not_hoarded() {
    let (mut raw, mut waiting) = greeted().await;
    raw.hello().await;
    // Its user does not ask: of 20,000 places the last one is kept.
    for _ in 0..200 {
        raw.send(&vec![wait(7); 100].join("\n")).await;
    }
    raw.send(&wait(3)).await;
    sleep(SECOND).await;
    assert_eq!(waiting.notice().await, Some(Notice::Waiting { ahead: 3 }));
    assert!(timeout(SECOND, waiting.notice()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_waits_is_told_at_a_bounded_rate() {
    let (mut raw, mut waiting) = greeted().await;
    raw.hello().await;
    let storm = async {
        for ahead in 0..20_000 {
            raw.send(&wait(ahead)).await;
        }
        sleep(20 * SECOND).await;
    };
    let mut told = Vec::new();
    let telling = async {
        while let Some(notice) = waiting.notice().await {
            told.push(notice);
        }
    };
    tokio::select! {
        () = storm => {}
        () = telling => panic!("it ends"),
    }
    assert!((2..40).contains(&told.len()), "{}", told.len());
    assert_eq!(told.last(), Some(&Notice::Waiting { ahead: 19_999 }));
}

/// A user who looked once, and then is about something else for an hour.
#[tokio::test(start_paused = true)]
async fn whoever_looks_away_is_still_there() {
    let (mut raw, waiting) = greeted().await;
    let id = raw.hello().await;
    raw.send(&welcome(&id)).await;
    let Turn::Theirs(mut theirs) = waiting.welcome().await.unwrap().turn else {
        panic!("it is the server's turn");
    };
    assert!(timeout(Duration::ZERO, theirs.notice()).await.is_err());
    for _ in 0..180 {
        sleep(20 * SECOND - Duration::from_millis(100)).await;
        let start = Instant::now();
        raw.send(PING).await;
        raw.expect(PONG).await;
        assert!(start.elapsed() <= Duration::from_millis(50));
    }
    raw.send(&say(1, "x")).await;
    let (
        Message {
            text: heard_words, ..
        },
        mine,
    ) = theirs.hear().await.unwrap();
    assert_eq!(heard_words.as_str(), "x");
    mine.taken();
    raw.expect(&heard(1)).await;
}
