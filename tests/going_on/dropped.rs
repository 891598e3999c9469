//! Futures that are dropped at each of their awaits: what only waits loses
//! nothing, and what consumes a turn leaves it as a crash would.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;
use turnchat::{Cause, Client, Ended, LinkError, Message, MyTurn, Server, Talk, TheirTurn, Turn};

use super::message;
use super::network::{Link, network};
use super::sides::{Kept, Sides, text};

/// Polls a future so often, whenever it wakes, and then drops it.
async fn polled<F: Future>(future: F, times: u32) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // Dropped in a poll of its own, after whatever woke it.
            Poll::Pending if left > 0 => Poll::Pending,
            Poll::Pending => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}

/// Listens by futures that are dropped after so many polls, with a pause
/// between: none, less than a tick of the keeper's, and more than two.
async fn heard(mut theirs: TheirTurn, times: u32, pause: Duration) -> Result<MyTurn, Ended> {
    while polled(theirs.ready(), times).await.is_none() {
        sleep(pause).await;
    }
    let number = theirs.number();
    let (Message { text: words, .. }, mine) = theirs.hear().await?;
    assert_eq!(words, text(&format!("turn {number}")));
    Ok(mine)
}

const TURNS: u64 = 9;

/// Speaks its turns, and listens impatiently; the client quits.
async fn converse(talk: Talk, times: u32, pause: Duration) -> Ended {
    let mut turn = talk.turn;
    loop {
        turn = match turn {
            Turn::Mine(mine) if mine.number() > TURNS => return mine.quit().await,
            Turn::Mine(mut mine) => {
                // A person looks up once, and takes no notice of what comes then.
                let notice = polled(mine.notice(), 1).await;
                assert!(notice.is_none_or(|notice| notice.is_some()));
                let words = format!("turn {}", mine.number());
                Turn::Theirs(mine.say(text(&words)).await.unwrap())
            }
            Turn::Theirs(theirs) => match heard(theirs, times, pause).await {
                Ok(mine) => Turn::Mine(mine),
                Err(ended) => return ended,
            },
        }
    }
}

async fn impatient(
    mut server: Server,
    client: Client,
    dial: impl Dial,
    times: u32,
    pause: Duration,
) {
    let serving = async {
        let talk = server.next().await.unwrap();
        converse(talk, times, pause).await
    };
    let calling = async {
        let mut waiting = client.connect::<Link, _, _>(dial).await.unwrap();
        while polled(waiting.notice(), times).await.is_none() {
            sleep(pause).await;
        }
        converse(waiting.welcome().await.unwrap(), times, pause).await
    };
    let (here, there) = tokio::join!(serving, calling);
    for ended in [here, there] {
        assert_eq!((ended.turns, ended.unacknowledged), (TURNS, None));
    }
}

trait Dial: FnMut() -> super::network::Dialling + Clone + Send + 'static {}

impl<D: FnMut() -> super::network::Dialling + Clone + Send + 'static> Dial for D {}

const PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(10),
    Duration::from_millis(80),
];

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_loses_nothing() {
    let sides = Sides::new();
    for times in 1..4 {
        for pause in PAUSES {
            let (dial, accept, _) = network(vec![]);
            impatient(
                sides.serve(accept).await,
                sides.client(),
                dial,
                times,
                pause,
            )
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_while_something_is_stored_loses_nothing() {
    for times in 1..4 {
        for pause in PAUSES {
            let kept = Kept::new();
            let (dial, accept, _) = network(vec![]);
            let server = kept.serve(|| accept.clone()).await;
            impatient(server, kept.client(), dial, times, pause).await;
        }
    }
}

/// Of a turn that is dropped in the midst of `say`, the message is said once
/// or not at all, and the journal knows which.
#[tokio::test(start_paused = true)]
async fn a_message_whose_future_is_dropped_is_said_once_or_is_still_to_be_said() {
    let mut were_said = [0, 0];
    for times in 0..6 {
        let kept = Kept::new();
        let (dial, accept, _) = network(vec![]);
        let mut server = kept.serve(|| accept.clone()).await;
        let waiting = kept.connect(dial.clone()).await;
        let (here, there) = super::sides::greeted(&mut server, waiting).await;
        let _ = polled(there.say(text("two")), times).await;
        // Dropped, it was as a crash: the program starts again.
        let waiting = kept.connect(dial).await;
        assert!(waiting.is_resuming());
        let answering = async {
            match waiting.welcome().await.unwrap().turn {
                Turn::Theirs(theirs) => (theirs, true),
                Turn::Mine(mine) => (mine.say(text("two")).await.unwrap(), false),
            }
        };
        let (heard, (there, was_said)) = tokio::join!(here.hear(), answering);
        were_said[usize::from(was_said)] += 1;
        let (words, here) = heard.unwrap();
        assert_eq!((words, here.number()), (message(2, "two"), 3));
        drop(there);
    }
    assert!(were_said.iter().all(|many| *many > 0), "{were_said:?}");
}

/// A turn that is dropped while it listens is a crash too: what comes
/// meanwhile is shown again, or comes again.
#[tokio::test(start_paused = true)]
async fn a_message_that_comes_as_its_listener_is_dropped_is_not_lost() {
    for times in 0..6 {
        let kept = Kept::new();
        let (dial, accept, _) = network(vec![]);
        let mut server = kept.serve(|| accept.clone()).await;
        let waiting = kept.connect(dial.clone()).await;
        let (here, there) = super::sides::begun(&mut server, waiting).await;
        let (said, _) = tokio::join!(here.say(text("one")), polled(there.hear(), times));
        let _here = said.unwrap();
        let waiting = kept.connect(dial).await;
        let talk = waiting.welcome().await.unwrap();
        let words = match (talk.unanswered, talk.turn) {
            (Some(message), Turn::Mine(_)) => message,
            (None, Turn::Theirs(theirs)) => theirs.hear().await.unwrap().0,
            other => panic!("{other:?}"),
        };
        assert_eq!(words, message(1, "one"));
    }
}

/// Who speaks into a server that has stopped is told so, and it is not kept.
#[tokio::test(start_paused = true)]
async fn nothing_is_said_where_the_keeper_is_gone() {
    let kept = Kept::new();
    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial).await;
    let (here, _there) = super::sides::begun(&mut server, waiting).await;
    server.stop().await;
    let ended = here.say(text("one")).await.unwrap_err();
    assert!(
        matches!(ended.cause, Cause::Link(LinkError::Cut)),
        "{ended:?}"
    );
    let mut server = kept.serve(|| accept.clone()).await;
    let talk = server.next().await.unwrap();
    assert!(matches!(talk.turn, Turn::Mine(mine) if mine.number() == 1));
}

/// Whoever does not wait for the peer's answer to a `quit` has said it all the same.
#[tokio::test(start_paused = true)]
async fn a_quit_that_is_not_waited_for_is_told() {
    for times in 0..3 {
        for is_lost in [false, true] {
            let sides = Sides::new();
            let (dial, accept, links) = network(vec![]);
            let mut server = sides.serve(accept).await;
            let waiting = sides.client().connect(dial).await.unwrap();
            let (here, there) = super::sides::begun(&mut server, waiting).await;
            if is_lost {
                *links.lock().unwrap()[0].1.lock().unwrap() = 0;
            }
            let over = polled(here.quit(), times).await;
            assert!(over.is_none() || times > 1, "{over:?}");
            let over = there.hear().await.unwrap_err();
            assert_eq!(over.cause, Cause::Peer, "{times} {is_lost}");
        }
    }
}
