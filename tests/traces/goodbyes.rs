//! A peer that ends a conversation and keeps its connection open holds up nobody. S is
//! ours in all of these.

use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};
use turnchat::Cause;

use super::{ENDED, arrive, hello, welcome};
use crate::going_on::network::network;
use crate::going_on::sides::{Sides, mine};
use crate::wire::raw::{Face, ID, OTHER_ID, Papers, QUIT, Raw};

/// Less than the two seconds for which S reads what still comes.
const SOON: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn who_comes_back_for_what_has_just_ended_is_answered_at_once() {
    let face = Face::new(&Papers::new());
    let (dial, accept, _) = network(vec![]);
    let mut server = Sides::new().serve(accept).await;
    let mut lingering = arrive(&face, dial.clone()).await;
    let (_talk, ()) = tokio::join!(server.next(), lingering.begin());
    lingering.send(QUIT).await;
    lingering.expect(QUIT).await;

    let mut guest = arrive(&face, dial).await;
    let start = Instant::now();
    guest.send(&hello(ID, 0)).await;
    guest.expect(ENDED).await;
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_next_key_is_welcomed_at_once() {
    let (face, other) = (Face::new(&Papers::new()), Face::new(&Papers::new()));
    let (dial, accept, _) = network(vec![]);
    let mut server = Sides::new().serve(accept).await;
    let mut lingering = arrive(&face, dial.clone()).await;
    let (talk, ()) = tokio::join!(server.next(), lingering.begin());
    let mut guest = arrive(&other, dial).await;
    guest.send(&hello(OTHER_ID, 0)).await;
    guest.expect("{\"wait\":{\"ahead\":0}}").await;

    let start = Instant::now();
    lingering.send(QUIT).await;
    let mut here = mine(talk.unwrap());
    while here.notice().await.is_some() {}
    assert_eq!(here.quit().await.cause, Cause::Peer);
    let expected = welcome(OTHER_ID, 0);
    let (_talk, ()) = tokio::join!(server.next(), guest.expect(&expected));
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

/// However often a peer redials, one of its old connections lingers.
#[tokio::test(start_paused = true)]
async fn one_connection_of_a_conversation_lingers() {
    let face = Face::new(&Papers::new());
    let (dial, accept, _) = network(vec![]);
    let mut server = Sides::new().serve(accept).await;
    let mut first = arrive(&face, dial.clone()).await;
    let (talk, ()) = tokio::join!(server.next(), first.begin());
    let _talk = talk.unwrap();
    let mut second = arrive(&face, dial.clone()).await;
    second.send(&hello(ID, 0)).await;
    second.expect(&welcome(ID, 0)).await;
    first.expect_error("replaced").await;
    assert!(timeout(SOON, gone(&mut first)).await.is_err());

    let mut third = arrive(&face, dial).await;
    third.send(&hello(ID, 0)).await;
    third.expect(&welcome(ID, 0)).await;
    timeout(SOON / 10, gone(&mut first)).await.unwrap();
}

/// Its stream is let go of, and no byte can be written to it.
async fn gone<T>(raw: &mut Raw<T>)
where
    T: AsyncWrite + Unpin,
{
    while raw.stream.write_all(b" ").await.is_ok() && raw.stream.flush().await.is_ok() {
        sleep(Duration::from_millis(10)).await;
    }
}
