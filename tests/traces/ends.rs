//! Ends: said, lost, answered, remembered.

use std::time::Duration;

use tokio::time::timeout;
use turnchat::{Cause, Client, LinkError, Message, MyTurn, Notice, Server, ServerEvent, TheirTurn};
use turnchat::{Limits, Overdue};

use super::{ENDED, Gate, arrive, at_this_instant, comes, cut, hello, take, welcome};
use crate::going_on::network::{Accepting, Carried, Dialling, network};
use crate::going_on::sides::{Kept, Sides, greeted, mine, text, theirs};
use crate::wire::raw::{Came, Face, ID, Papers, QUIT, heard, say};

#[tokio::test(start_paused = true)]
async fn an_error_does_not_acknowledge_a_quit() {
    let papers = Papers::new();
    let face = Face::new(&papers);
    let (dial, mut accept, _) = network(vec![]);
    let client = Client::new(&Sides::new().client, vec![papers.id]);
    let (mut raw, waiting) = tokio::join!(take(&face, &mut accept), client.connect(dial));
    let id = raw.hello().await;
    raw.send(&welcome(&id, 0)).await;
    let there = theirs(waiting.unwrap().welcome().await.unwrap());
    there.quit();
    raw.expect(QUIT).await;
    raw.send("{\"error\":{\"code\":\"timeout\"}}").await;
    drop(raw);

    let mut raw = take(&face, &mut accept).await;
    assert_eq!(raw.hello().await, id);
    raw.send(&welcome(&id, 0)).await;
    raw.expect(QUIT).await;
    raw.send(QUIT).await;
    let over = there.hear().await.unwrap_err();
    assert!(matches!(over.cause, Cause::Me), "{over:?}");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_a_server_said_or_answered_outlives_its_crash() {
    for is_answered in [true, false] {
        let kept = Kept::new();
        let face = Face::new(&Papers::new());
        let (dial, accept, _) = network(vec![]);
        let mut server = kept.serve(|| accept.clone()).await;
        let mut guest = arrive(&face, dial).await;
        let (talk, ()) = tokio::join!(server.next(), guest.begin());
        let here = mine(talk.unwrap());
        match is_answered {
            true => guest.send(QUIT).await,
            false => drop(tokio::spawn(here.quit())),
        }
        guest.expect(QUIT).await;

        let crashed = at_this_instant(&kept);
        let (dial, accept, _) = network(vec![]);
        let _server = crashed.serve(|| accept.clone()).await;
        let mut guest = arrive(&face, dial).await;
        guest.send(&hello(ID, 0)).await;
        guest.expect(ENDED).await;
        assert_eq!(guest.next().await, Came::Close);
    }
}

#[tokio::test(start_paused = true)]
async fn what_ended_before_its_client_was_welcomed_is_not_begun_again() {
    let kept = Kept::new();
    let (dial, accept, links) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let mut waiting = kept.connect(dial).await;
    assert_eq!(waiting.notice().await, Some(Notice::Waiting { ahead: 0 }));
    // It is cut, and crashes.
    cut(&links, 0);
    let here = server.next().await.unwrap();
    drop(waiting);
    let ended = here.conversation;
    let over = mine(here).quit().await;
    assert!(
        matches!(over.cause, Cause::Link(LinkError::Overdue(Overdue::Quit))),
        "{over:?}"
    );
    server.stop().await;

    let (dial, accept, _) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let waiting = kept.connect(dial.clone()).await;
    assert!(waiting.is_resuming());
    let over = comes(waiting.welcome()).await.unwrap_err();
    assert!(matches!(over.cause, Cause::Peer), "{over:?}");

    let waiting = kept.connect(dial).await;
    let (here, there) = tokio::join!(server.next(), waiting.welcome());
    let (here, there) = (here.unwrap(), there.unwrap());
    assert!(!here.is_resumed && !there.is_resumed);
    assert_eq!(here.conversation, there.conversation);
    assert_ne!(here.conversation, ended);
}

#[tokio::test(start_paused = true)]
async fn a_quit_from_the_queue_ends_the_parked_conversation() {
    // The server keeps a journal, so that it parks; the client waits longer.
    let (kept, other) = (Kept::new(), Sides::new());
    let mut limits = Limits::default();
    limits.hold = Duration::from_secs(24 * 3_600);
    let client = kept.sides.client().with_limits(limits);
    let (dial, accept, links) = network(vec![]);
    let mut server = kept.serve(|| accept.clone()).await;
    let mut events = server.events().unwrap();
    let gate = Gate::open();
    let waiting = client.connect(gate.before(dial.clone())).await.unwrap();
    let (here, there) = greeted(&mut server, waiting).await;
    gate.set(false);
    cut(&links, 0);
    let over = here.hear().await.unwrap_err();
    assert!(matches!(over.cause, Cause::Link(_)), "{over:?}");

    let live = Client::new(&other.client, vec![kept.sides.server.key_id()]);
    let live = live.connect(dial).await.unwrap();
    let (here, live) = tokio::join!(server.next(), live.welcome());
    let (here, live) = (mine(here.unwrap()), theirs(live.unwrap()));

    gate.set(true);
    let over = there.quit().await;
    assert!(matches!(over.cause, Cause::Me), "{over:?}");
    let gave_up = timeout(Duration::from_secs(1), events.next()).await;
    assert!(
        matches!(&gave_up, Ok(Some(ServerEvent::GaveUp(of))) if of.key == kept.sides.client.key_id()),
        "{gave_up:?}"
    );

    let _here = here.say(text("still on")).await.unwrap();
    let (Message { text: words, .. }, _live) = comes(live.hear()).await.unwrap();
    assert_eq!(words, text("still on"));
}

/// A server that has said "one" in a conversation which is parked now, and
/// talks with another.
struct Parked {
    kept: Kept,
    face: Face,
    _server: Server,
    _live: (TheirTurn, MyTurn),
}

impl Parked {
    async fn new(
        dial: &(impl FnMut() -> Dialling + Clone + Send + 'static),
        accept: impl FnMut() -> Accepting + Clone + Send + 'static,
        links: &Carried,
    ) -> Self {
        let (kept, other) = (Kept::new(), Sides::new());
        let face = Face::new(&Papers::new());
        let mut server = kept.serve(|| accept.clone()).await;
        let mut guest = arrive(&face, dial.clone()).await;
        let (talk, ()) = tokio::join!(server.next(), guest.begin());
        let here = mine(talk.unwrap()).say(text("one")).await.unwrap();
        guest.expect(&say(1, "one")).await;
        cut(links, 0);
        drop(guest);
        let over = here.hear().await.unwrap_err();
        assert!(matches!(over.cause, Cause::Link(_)), "{over:?}");

        let live = Client::new(&other.client, vec![kept.sides.server.key_id()]);
        let live = live.connect(dial.clone()).await.unwrap();
        let live = greeted(&mut server, live).await;
        Self {
            kept,
            face,
            _server: server,
            _live: live,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_quit_from_the_queue_is_stored_before_it_is_answered() {
    let (dial, accept, links) = network(vec![]);
    let parked = Parked::new(&dial, accept, &links).await;
    let (kept, face) = (&parked.kept, &parked.face);
    let mut guest = arrive(face, dial).await;
    guest.send(&hello(ID, 1)).await;
    guest.expect("{\"wait\":{\"ahead\":0}}").await;
    guest.send(QUIT).await;
    guest.expect(QUIT).await;

    let crashed = at_this_instant(kept);
    let (dial, accept, _) = network(vec![]);
    let _server = crashed.serve(|| accept.clone()).await;
    let mut guest = arrive(face, dial).await;
    guest.send(&hello(ID, 1)).await;
    guest.expect(ENDED).await;
}

#[tokio::test(start_paused = true)]
async fn a_quit_whose_end_cannot_be_stored_is_not_answered() {
    let (dial, accept, links) = network(vec![]);
    let parked = Parked::new(&dial, accept, &links).await;
    let (kept, face) = (&parked.kept, &parked.face);
    // As if the disk were full, or had gone.
    let dir = kept.dir.path().join(kept.sides.server.key_id().file_name());
    let away = kept.dir.path().join("away");
    std::fs::rename(&dir, &away).unwrap();
    let mut guest = arrive(face, dial.clone()).await;
    guest.send(&hello(ID, 0)).await;
    guest.expect("{\"wait\":{\"ahead\":0}}").await;
    guest.send(QUIT).await;
    assert_eq!(guest.next().await, Came::Cut);

    // It is where it was, and can be ended once there is room.
    std::fs::rename(&away, &dir).unwrap();
    let mut guest = arrive(face, dial).await;
    guest.send(&hello(ID, 0)).await;
    guest.expect("{\"wait\":{\"ahead\":0}}").await;
    guest.send(QUIT).await;
    guest.expect(QUIT).await;
}

/// C has turn 2, the link is cut, C says 2, redials, quits: the message is said
/// first, whenever the `welcome` comes.
#[tokio::test(start_paused = true)]
async fn what_was_said_while_the_link_was_lost_goes_before_a_quit() {
    let papers = Papers::new();
    let face = Face::new(&papers);
    let (dial, mut accept, links) = network(vec![]);
    let client = Client::new(&Sides::new().client, vec![papers.id]);
    let (raw, waiting) = tokio::join!(take(&face, &mut accept), client.connect(dial));
    let (mut raw, waiting) = (raw, waiting.unwrap());
    let id = raw.hello().await;
    raw.send(&welcome(&id, 0)).await;
    raw.send(&say(1, "one")).await;
    let (_, there) = theirs(waiting.welcome().await.unwrap())
        .hear()
        .await
        .unwrap();
    there.taken();
    raw.expect(&heard(1)).await;

    cut(&links, 0);
    drop(raw);
    let there = there.say(text("two")).await.unwrap();
    let mut raw = take(&face, &mut accept).await;
    assert_eq!(raw.next().await, Came::Line(hello(&id, 1)));
    there.quit();
    assert!(timeout(Duration::from_secs(5), raw.next()).await.is_err());
    raw.send(&welcome(&id, 0)).await;
    raw.expect(&say(2, "two")).await;
    raw.expect(QUIT).await;
    raw.send(&heard(2)).await;
    raw.send(QUIT).await;
    let ended = comes(there.hear()).await.unwrap_err();
    assert!(matches!(ended.cause, Cause::Me), "{ended:?}");
    assert_eq!(ended.unacknowledged, None);
}
