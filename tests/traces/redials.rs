//! When a client dials again, how fast, and what slows it down.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};
use turnchat::Overdue;
use turnchat::{Cause, Client, LinkError, Message, Notice, TheirTurn, Waiting};

use super::{Host, comes, take, welcome};
use crate::going_on::network::{Accepting, network};
use crate::going_on::sides::{Sides, text, theirs};
use crate::wire::raw::{Face, Papers, QUIT, heard, say};

fn refuse(reason: &str) -> String {
    format!("{{\"refuse\":{{\"reason\":\"{reason}\"}}}}")
}

const WAIT: &str = "{\"wait\":{\"ahead\":0}}";

/// A raw server, for a client of ours.
struct There {
    face: Face,
    accept: Box<dyn FnMut() -> Accepting + Send>,
}

impl There {
    /// The server, its first connection, and the client behind that.
    async fn called() -> (Self, Host, Waiting) {
        let papers = Papers::new();
        let (dial, accept, _) = network(vec![]);
        let mut there = Self {
            face: Face::new(&papers),
            accept: Box::new(accept),
        };
        let client = Client::new(&Sides::new().client, vec![papers.id]);
        let (raw, waiting) = tokio::join!(there.take(), client.connect(dial));
        (there, raw, waiting.unwrap())
    }

    /// The same, where the conversation is on; its id.
    async fn welcomed() -> (Self, String, Host, TheirTurn) {
        let (there, mut raw, waiting) = Self::called().await;
        let id = raw.hello().await;
        raw.send(&welcome(&id, 0)).await;
        let talk = waiting.welcome().await.unwrap();
        (there, id, raw, theirs(talk))
    }

    async fn take(&mut self) -> Host {
        take(&self.face, &mut self.accept).await
    }

    /// How many connections come within this time, each treated so.
    async fn count(&mut self, time: Duration, treat: impl AsyncFn(&mut Host)) -> usize {
        let mut dials = 0;
        let counting = async {
            loop {
                let mut raw = self.take().await;
                dials += 1;
                treat(&mut raw).await;
                let _ = raw.stream.shutdown().await;
            }
        };
        let _ = timeout(time, counting).await;
        dials
    }
}

/// Whatever it is that a server does, unless turns pass.
#[tokio::test(start_paused = true)]
async fn a_server_that_serves_no_turn_is_dialled_ever_more_slowly() {
    let minute = Duration::from_secs(60);
    for last in ["", "{\"error\":{\"code\":\"timeout\"}}\n"] {
        let (mut there, id, raw, theirs) = There::welcomed().await;
        drop(raw);
        let dials = there.count(minute, async |raw| {
            raw.hello().await;
            raw.send(&welcome(&id, 0)).await;
            raw.send_bytes(last.as_bytes()).await;
        });
        let dials = dials.await;
        assert!((10..=25).contains(&dials), "{dials} dials in a minute");

        // A turn passes: the next cut is an accident again.
        let mut raw = there.take().await;
        raw.hello().await;
        raw.send(&welcome(&id, 0)).await;
        raw.send(&say(1, "one")).await;
        let (_, mine) = comes(theirs.hear()).await.unwrap();
        mine.taken();
        raw.expect(&heard(1)).await;
        drop(raw);
        let cut_at = Instant::now();
        there.take().await;
        assert!(cut_at.elapsed() < Duration::from_millis(150));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_for_a_resuming_client_is_dialled_ever_more_slowly() {
    for reason in ["busy", "no-answer", "asked-too-often", "closing"] {
        let (mut there, _, raw, _theirs) = There::welcomed().await;
        drop(raw);
        let dials = there.count(Duration::from_secs(60), async |raw| {
            raw.hello().await;
            raw.send(&refuse(reason)).await;
        });
        let dials = dials.await;
        assert!((10..=25).contains(&dials), "{dials} dials in a minute");
    }
}

/// PROTOCOL 4.12 and 4.15.
#[tokio::test(start_paused = true)]
async fn any_other_refusal_of_a_resuming_client_is_final_and_so_is_any_error_but_timeout() {
    let errors = ["protocol-error", "out-of-turn", "internal", "replaced"];
    let errors = errors.map(|code| format!("{{\"error\":{{\"code\":\"{code}\"}}}}"));
    let refusals = ["unknown-peer", "declined", "ended"].map(refuse);
    for last in [&errors[..], &refusals].concat() {
        let (mut there, _, raw, theirs) = There::welcomed().await;
        drop(raw);
        let mut raw = there.take().await;
        raw.hello().await;
        raw.send(&last).await;
        comes(theirs.hear()).await.unwrap_err();
        let dials = there.count(Duration::from_secs(60), async |_| ());
        assert_eq!(dials.await, 0, "after {last}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_redials_for_a_quit_are_spread_over_its_time() {
    for is_cut_before in [true, false] {
        let (mut there, id, mut raw, theirs) = There::welcomed().await;
        if is_cut_before {
            drop(raw);
            // It has dialled for so long that the next dial is seconds away.
            let welcome = welcome(&id, 0);
            let greet = async |raw: &mut Host| {
                raw.hello().await;
                raw.send(&welcome).await;
            };
            there.count(Duration::from_secs(30), greet).await;
            theirs.quit();
        } else {
            theirs.quit();
            raw.expect(QUIT).await;
            drop(raw);
        }
        let quit_at = Instant::now();
        let mut dials = Vec::new();
        let over = tokio::select! {
            over = theirs.hear() => over.unwrap_err(),
            () = async {
                loop {
                    let mut raw = there.take().await;
                    dials.push(quit_at.elapsed());
                    raw.hello().await;
                }
            } => unreachable!(),
        };
        let overdue = LinkError::Overdue(Overdue::Quit);
        assert_eq!(over.cause, Cause::Link(overdue));
        assert_eq!(quit_at.elapsed().as_secs(), 10);
        let [first, second, third] = dials[..] else {
            panic!("{dials:?}");
        };
        assert!(first < Duration::from_millis(150), "{dials:?}");
        assert!(second > Duration::from_secs(1), "{dials:?}");
        assert!(third > Duration::from_secs(4), "{dials:?}");
    }
}

/// The `welcome` was on its way.
#[tokio::test(start_paused = true)]
async fn a_quit_in_the_queue_is_redialled() {
    let (mut there, mut raw, mut waiting) = There::called().await;
    let id = raw.hello().await;
    raw.send(WAIT).await;
    assert_eq!(waiting.notice().await, Some(Notice::Waiting { ahead: 0 }));
    waiting.quit();
    raw.expect(QUIT).await;
    drop(raw);

    let mut raw = there.take().await;
    assert_eq!(raw.hello().await, id);
    raw.send(&welcome(&id, 0)).await;
    raw.expect(QUIT).await;
    raw.send(QUIT).await;
    let over = match waiting.welcome().await {
        Ok(talk) => theirs(talk).hear().await.unwrap_err(),
        Err(over) => over,
    };
    assert_eq!(over.cause, Cause::Me);
}

/// The answer to the `quit` was on its way: the redial is told that the conversation has ended.
#[tokio::test(start_paused = true)]
async fn a_quit_whose_answer_was_lost_is_our_own() {
    for is_on in [false, true] {
        let (mut there, mut raw, mut waiting) = There::called().await;
        let id = raw.hello().await;
        raw.send(WAIT).await;
        waiting.notice().await;
        let over = match is_on {
            false => {
                waiting.quit();
                raw.expect(QUIT).await;
                tokio::spawn(async { waiting.welcome().await.unwrap_err() })
            }
            true => {
                raw.send(&welcome(&id, 0)).await;
                let here = theirs(waiting.welcome().await.unwrap());
                here.quit();
                raw.expect(QUIT).await;
                tokio::spawn(async { here.hear().await.unwrap_err() })
            }
        };
        drop(raw);

        let mut raw = there.take().await;
        assert_eq!(raw.hello().await, id);
        raw.send("{\"refuse\":{\"reason\":\"ended\"}}").await;
        assert_eq!(over.await.unwrap().cause, Cause::Me, "{is_on}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quit_in_the_queue_that_reaches_nobody_is_said_to() {
    let (mut there, mut raw, mut waiting) = There::called().await;
    raw.hello().await;
    raw.send(WAIT).await;
    waiting.notice().await;
    waiting.quit();
    drop(raw);
    let over = tokio::select! {
        over = waiting.welcome() => over.unwrap_err(),
        _ = there.count(Duration::from_secs(20), async |_| ()) => panic!("it goes on"),
    };
    let overdue = LinkError::Overdue(Overdue::Quit);
    assert_eq!(over.cause, Cause::Link(overdue));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_cut_in_the_queue_comes_back() {
    let (mut there, mut raw, mut waiting) = There::called().await;
    let id = raw.hello().await;
    raw.send(WAIT).await;
    assert_eq!(waiting.notice().await, Some(Notice::Waiting { ahead: 0 }));
    drop(raw);
    assert_eq!(waiting.notice().await, Some(Notice::Lost));
    assert!(waiting.is_lost());

    let mut raw = there.take().await;
    assert_eq!(raw.hello().await, id);
    raw.send("{\"wait\":{\"ahead\":1}}").await;
    assert_eq!(waiting.notice().await, Some(Notice::Resumed));
    assert_eq!(waiting.notice().await, Some(Notice::Waiting { ahead: 1 }));
    assert!(!waiting.is_lost());
    // However long it waits now: that is no cut.
    let hour = Duration::from_secs(3_600);
    let waited = timeout(hour, async {
        loop {
            raw.expect("{\"ping\":{}}").await;
            raw.send("{\"pong\":{}}").await;
        }
    });
    assert!(waited.await.is_err());
    raw.send(&welcome(&id, 0)).await;
    raw.send(&say(1, "one")).await;
    let (Message { text: words, .. }, _mine) = theirs(waiting.welcome().await.unwrap())
        .hear()
        .await
        .unwrap();
    assert_eq!(words, text("one"));
}

/// In the queue nothing is resumed: that there is no place any more is the end.
#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_to_a_full_queue_is_refused() {
    let (mut there, mut raw, mut waiting) = There::called().await;
    raw.hello().await;
    raw.send(WAIT).await;
    waiting.notice().await;
    drop(raw);
    let mut raw = there.take().await;
    raw.hello().await;
    raw.send("{\"refuse\":{\"reason\":\"busy\"}}").await;
    let over = waiting.welcome().await.unwrap_err();
    assert_eq!(over.cause, Cause::Refused(turnchat::Reason::Busy));
}

/// Before its handshake is done, and behind its `hello`.
#[tokio::test(start_paused = true)]
async fn a_first_dial_that_is_cut_before_a_frame_is_tried_again() {
    let papers = Papers::new();
    let (dial, mut accept, _) = network(vec![]);
    let face = Face::new(&papers);
    let client = Client::new(&Sides::new().client, vec![papers.id]);
    let dialled_at = Instant::now();
    let connecting = client.connect(dial);
    let accepting = async {
        drop(accept().await.unwrap());
        take(&face, &mut accept).await
    };
    let (mut raw, waiting) = tokio::join!(accepting, connecting);
    let mut waiting = waiting.unwrap();
    let id = raw.hello().await;
    drop(raw);
    let mut raw = take(&face, &mut accept).await;
    assert_eq!(raw.hello().await, id);
    raw.send(WAIT).await;
    // Nothing was said before: there is nothing to tell either.
    assert_eq!(waiting.notice().await, Some(Notice::Waiting { ahead: 0 }));
    assert!(dialled_at.elapsed() < Duration::from_secs(1));
    raw.send(&welcome(&id, 0)).await;
    waiting.welcome().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_first_dial_is_tried_again_three_times_in_ten_seconds() {
    let (mut there, raw, waiting) = There::called().await;
    drop(raw);
    let dialled_at = Instant::now();
    let over = waiting.welcome();
    let dials = there.count(Duration::from_secs(60), async |_| ());
    let (over, dials) = tokio::join!(
        async { (over.await.unwrap_err(), dialled_at.elapsed()) },
        dials
    );
    assert_eq!(dials, 3);
    assert!(
        matches!(over.0.cause, Cause::Link(LinkError::Cut | LinkError::Io(_))),
        "{over:?}"
    );
    assert!(
        over.1 > Duration::from_secs(4) && over.1 < Duration::from_secs(10),
        "{over:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn another_key_that_answers_a_redial_is_told_of_once() {
    let (mut there, id, raw, mut theirs) = There::welcomed().await;
    drop(raw);
    let other = Papers::new();
    let own = std::mem::replace(&mut there.face, Face::new(&other));
    assert_eq!(theirs.notice().await, Some(Notice::Lost));
    let answering = async {
        loop {
            let (stream, _) = (there.accept)().await.unwrap();
            assert!(there.face.answer(stream).await.is_err());
        }
    };
    let telling = async {
        let notice = theirs.notice().await;
        assert_eq!(notice, Some(Notice::OtherKey { key: other.id }));
        assert!(
            timeout(Duration::from_secs(60), theirs.notice())
                .await
                .is_err()
        );
    };
    tokio::select! {
        () = answering => unreachable!(),
        () = telling => {}
    }

    there.face = own;
    let mut raw = there.take().await;
    assert_eq!(raw.hello().await, id);
    raw.send(&welcome(&id, 0)).await;
    assert_eq!(theirs.notice().await, Some(Notice::Resumed));
}
