//! A path that carries little.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split};
use tokio::time::sleep;
use turnchat::Text;
use turnchat::{Message, Notice};

use super::comes;
use crate::going_on::network::{Link, network};
use crate::going_on::sides::{Sides, greeted, text};

/// What goes up in a second: the longest message needs more than a minute; or more than five, and
/// each TLS record of it longer than a line may pause, and than a link may be silent.
const UP: [usize; 2] = [1_024, 200];

/// Carries so much a second one way, and the other as it comes.
async fn carry(client: tokio::io::DuplexStream, link: Link, up: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = split(link);
    let up = async {
        let mut piece = [0; FAST];
        while let Ok(read @ 1..) = {
            let piece = &mut piece[..up.load(Ordering::Relaxed)];
            from_client.read(piece).await
        } {
            to_server.write_all(&piece[..read]).await?;
            sleep(Duration::from_secs(1)).await;
        }
        to_server.shutdown().await
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    let _ = tokio::join!(up, down);
}

/// The handshake has its own time.
const FAST: usize = 4_096;

#[tokio::test(start_paused = true)]
async fn a_long_message_over_a_slow_path_is_said_once() {
    for up in UP {
        said_once(up).await;
    }
}

async fn said_once(up: usize) {
    let sides = Sides::new();
    let speed = Arc::new(AtomicUsize::new(FAST));
    let carried = Arc::clone(&speed);
    let (mut dial, accept, links) = network(vec![]);
    let mut server = sides.serve(accept).await;
    let slowly = move || {
        let (dialling, speed) = (dial(), Arc::clone(&carried));
        async move {
            let (near, far) = duplex(FAST);
            tokio::spawn(carry(far, dialling.await?, speed));
            Ok(near)
        }
    };
    let waiting = sides.client().connect(slowly).await.unwrap();
    let (here, there) = greeted(&mut server, waiting).await;

    speed.store(up, Ordering::Relaxed);
    let long = text(&"x".repeat(Text::MAX));
    let mut there = there.say(long.clone()).await.unwrap();
    let (Message { text: words, .. }, here) = comes(here.hear()).await.unwrap();
    assert_eq!(words, long);
    here.taken();
    assert_eq!(there.notice().await, Some(Notice::Delivered { turn: 2 }));
    assert_eq!(links.lock().unwrap().len(), 1);
}
