//! What goes wrong inside of a server costs nobody else a place. S is ours.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::{Instant, sleep};

use super::{arrive, hello, welcome};
use crate::going_on::network::network;
use crate::going_on::sides::{Kept, Sides, mine, text};
use crate::wire::raw::{Face, ID, OTHER_ID, Papers, say};

/// A stream that makes whoever reads it panic, once it is told to.
struct Faulty {
    stream: DuplexStream,
    panics: Arc<AtomicBool>,
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        assert!(!self.panics.load(Ordering::Relaxed), "on purpose");
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_panics_leaves_the_queue() {
    let (face, other) = (Face::new(&Papers::new()), Face::new(&Papers::new()));
    let (dial, mut accept, _) = network(vec![]);
    let panics = Arc::new(AtomicBool::new(false));
    let first = Arc::clone(&panics);
    let mut is_first = true;
    let _server = Sides::new()
        .builder()
        .start(move || {
            let panics = match std::mem::take(&mut is_first) {
                true => Arc::clone(&first),
                false => Arc::default(),
            };
            let accepting = accept();
            async move {
                let (stream, address) = accepting.await?;
                Ok((Faulty { stream, panics }, address))
            }
        })
        .await
        .unwrap();
    let mut before = arrive(&face, dial.clone()).await;
    before.send(&hello(ID, 0)).await;
    before.expect("{\"wait\":{\"ahead\":0}}").await;
    let mut behind = arrive(&other, dial).await;
    behind.send(&hello(OTHER_ID, 0)).await;
    behind.expect("{\"wait\":{\"ahead\":1}}").await;

    panics.store(true, Ordering::Relaxed);
    before.send("{\"ping\":{}}").await;
    behind.expect("{\"wait\":{\"ahead\":0}}").await;
}

/// However many there are, and have yet to say something.
#[tokio::test(start_paused = true)]
async fn a_server_that_stops_waits_for_no_stranger() {
    let face = Face::new(&Papers::new());
    let (dial, accept, _) = network(vec![]);
    let server = Sides::new().serve(accept).await;
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(arrive(&face, dial.clone()).await);
    }
    let start = Instant::now();
    server.stop().await;
    assert_eq!(start.elapsed().as_secs(), 0);
}

/// Its peer breaks the protocol, and dials anew while the conversation is being put away.
#[test]
fn who_comes_back_while_a_conversation_is_parked_is_answered() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true);
    // What holds the only thread for the disk holds up every store.
    let runtime = runtime.max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (kept, face) = (Kept::new(), Face::new(&Papers::new()));
        let (dial, accept, _) = network(vec![]);
        let mut server = kept.serve(|| accept.clone()).await;
        let mut guest = arrive(&face, dial.clone()).await;
        let (talk, ()) = tokio::join!(server.next(), guest.begin());
        let here = mine(talk.unwrap()).say(text("one")).await.unwrap();
        guest.expect(&say(1, "one")).await;
        let mut again = arrive(&face, dial).await;
        // Until the keeper reads: while a thread waits for the disk, time stands still.
        sleep(Duration::from_millis(100)).await;

        let (release, held) = std::sync::mpsc::channel::<()>();
        let holding = tokio::task::spawn_blocking(move || held.recv());
        guest.send_bytes(b"nonsense\n").await;
        guest.expect_error("protocol-error").await;
        again.send(&hello(ID, 1)).await;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        drop(release);
        let _ = holding.await;
        again.expect("{\"wait\":{\"ahead\":0}}").await;
        drop(here);
        let welcome = welcome(ID, 0);
        let (talk, ()) = tokio::join!(server.next(), again.expect(&welcome));
        assert!(talk.unwrap().is_resumed);
    });
}
