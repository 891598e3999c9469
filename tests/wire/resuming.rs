//! Going on after cuts with our server, and what it costs not to (PROTOCOL 4.10, 4.18,
//! 4.25, 4.26, 4.28 and 4.30), on played time.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional, duplex};
use tokio::sync::oneshot;
use tokio::time::sleep;
use turnchat::Limits;

use super::ours::{Habit, House, PIPE};
use super::raw::{Came, Face, ID, OTHER_ID, PING, Papers, QUIT, hello, say, welcome};

const SECOND: Duration = Duration::from_secs(1);
const ENDED: &str = "{\"refuse\":{\"reason\":\"ended\"}}";

fn wait(ahead: u64) -> String {
    format!("{{\"wait\":{{\"ahead\":{ahead}}}}}")
}

fn somebody() -> Face {
    Face::new(&Papers::new())
}

#[tokio::test(start_paused = true)]
async fn after_an_error_a_server_that_stores_nothing_has_ended_the_conversation() {
    // What the client sends, the code of the server's answer, and whether it goes on.
    let timeout = "{\"error\":{\"code\":\"timeout\"}}\n";
    let internal = "{\"error\":{\"code\":\"internal\"}}\n";
    for (sent, answer, goes_on) in [
        ("{", Some("timeout"), true),
        (timeout, None, true),
        ("nonsense\n", Some("protocol-error"), false),
        (
            "{\"say\":{\"turn\":4,\"text\":\"\"}}\n",
            Some("out-of-turn"),
            false,
        ),
        (internal, None, false),
    ] {
        let house = House::with(Habit::Answers, Limits::default()).await;
        let face = somebody();
        let mut guest = house.guest_as(&face).await;
        guest.begin().await;
        guest.expect(&say(1, "turn 1")).await;
        guest.send_bytes(sent.as_bytes()).await;
        if answer == Some("timeout") {
            guest.expect(PING).await;
        }
        match answer {
            Some(code) => guest.expect_error(code).await,
            None => assert!(matches!(guest.next().await, Came::Cut | Came::Close)),
        }
        drop(guest);
        let mut guest = house.guest_as(&face).await;
        guest.send(&hello(ID)).await;
        match goes_on {
            true => {
                guest.expect(&welcome(ID)).await;
                guest.expect(&say(1, "turn 1")).await;
            }
            false => guest.expect(ENDED).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_in_the_queue_outlives_a_cut_for_ten_seconds() {
    let house = House::new(Habit::Thinks).await;
    let mut live = house.guest().await;
    live.begin().await;
    let face = somebody();
    let mut cut = house.guest_as(&face).await;
    cut.send(&hello(ID)).await;
    cut.expect(&wait(0)).await;
    let mut behind = house.guest().await;
    behind.send(&hello(ID)).await;
    behind.expect(&wait(1)).await;

    for (pause, place) in [(9, 0), (11, 1)] {
        drop(cut);
        behind.expect(&wait(0)).await;
        sleep(pause * SECOND).await;
        cut = house.guest_as(&face).await;
        cut.send(&hello(ID)).await;
        cut.expect(&wait(place)).await;
        if place == 0 {
            behind.expect(&wait(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_as_young_as_its_whole_clienthello() {
    let house = House::new(Habit::Thinks).await;
    let face = somebody();
    // Of the first connection half a ClientHello comes, and nothing more for a while.
    let (here, mut near) = duplex(PIPE);
    let mut far = house.call();
    let (open, opened) = oneshot::channel();
    tokio::spawn(async move {
        let mut half = [0; 100];
        near.read_exact(&mut half).await.unwrap();
        far.write_all(&half).await.unwrap();
        opened.await.unwrap();
        let _ = copy_bidirectional(&mut near, &mut far).await;
    });
    let meanwhile = async {
        sleep(SECOND).await;
        let held_back = house.guest_as(&face).await;
        let mut guest = house.guest_as(&face).await;
        guest.begin().await;
        open.send(()).unwrap();
        (held_back, guest)
    };
    let (first, (mut held_back, mut guest)) = tokio::join!(face.dial(here), meanwhile);
    let mut first = first.unwrap();
    first.send(&hello(ID)).await;
    first.expect(&welcome(ID)).await;
    guest.expect_error("replaced").await;

    for id in [ID, OTHER_ID] {
        held_back.send(&hello(id)).await;
        let came = held_back.next().await;
        assert!(matches!(came, Came::Cut | Came::Close), "{came:?}");
    }
    first.send(QUIT).await;
    first.expect(QUIT).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_conversation_of_a_key_ends_its_other_one() {
    let house = House::new(Habit::Thinks).await;
    let face = somebody();
    let mut old = house.guest_as(&face).await;
    old.begin().await;
    let mut new = house.guest_as(&face).await;
    new.begin_as(OTHER_ID).await;
    old.expect(QUIT).await;

    // In the queue it takes the place as well.
    let face = somebody();
    let mut old = house.guest_as(&face).await;
    old.send(&hello(ID)).await;
    old.expect(&wait(0)).await;
    let mut new = house.guest_as(&face).await;
    new.send(&hello(OTHER_ID)).await;
    new.expect(&wait(0)).await;
    old.expect(ENDED).await;
    let mut newest = house.guest_as(&face).await;
    newest.send(&hello(OTHER_ID)).await;
    newest.expect(&wait(0)).await;
    new.expect_error("replaced").await;
}
