//! When a client dials again, how fast, and what slows it down.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};
use turnchat::link::{Cause, Client, LinkError, TheirTurn, Waiting};
use turnchat::protocol::Overdue;

use crate::network::{Accepting, network};
use crate::raw::{Face, Papers, QUIT, heard, say};
use crate::sides::{Sides, theirs};
use crate::{Host, comes, take, welcome};

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
        let client = Client::new(&Sides::new().client, vec![papers.id]).unwrap();
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
    let (mut there, _, raw, _theirs) = There::welcomed().await;
    drop(raw);
    let dials = there.count(Duration::from_secs(60), async |raw| {
        raw.hello().await;
        raw.send("{\"refuse\":{\"reason\":\"busy\"}}").await;
    });
    let dials = dials.await;
    assert!((10..=25).contains(&dials), "{dials} dials in a minute");
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
