//! A path that carries little.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split};
use tokio::time::sleep;
use turnchat::Text;
use turnchat::{Message, Notice};

use super::comes;
use crate::going_on::network::{Link, network};
use crate::going_on::sides::{Sides, greeted, text};

/// What goes up in a second: the longest message needs more than a minute.
const UP: usize = 1_024;

/// Carries 1 KiB a second one way, and the other as it comes.
async fn carry(client: tokio::io::DuplexStream, link: Link) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_server, mut to_server) = split(link);
    let up = async {
        let mut piece = [0; UP];
        while let Ok(read @ 1..) = from_client.read(&mut piece).await {
            to_server.write_all(&piece[..read]).await?;
            sleep(Duration::from_secs(1)).await;
        }
        to_server.shutdown().await
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    let _ = tokio::join!(up, down);
}

#[tokio::test(start_paused = true)]
async fn a_long_message_over_a_slow_path_is_said_once() {
    let sides = Sides::new();
    let (mut dial, accept, links) = network(vec![]);
    let mut server = sides.serve(accept).await;
    let slowly = move || {
        let dialling = dial();
        async move {
            let (near, far) = duplex(UP);
            tokio::spawn(carry(far, dialling.await?));
            Ok(near)
        }
    };
    let waiting = sides.client().connect(slowly).await.unwrap();
    let (here, there) = greeted(&mut server, waiting).await;

    let long = text(&"x".repeat(Text::MAX));
    let mut there = there.say(long.clone()).await.unwrap();
    let (Message { text: words, .. }, here) = comes(here.hear()).await.unwrap();
    assert_eq!(words, long);
    here.taken();
    assert_eq!(there.notice().await, Some(Notice::Delivered { turn: 2 }));
    assert_eq!(links.lock().unwrap().len(), 1);
}
