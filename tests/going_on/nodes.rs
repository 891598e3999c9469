//! Two servers with one identity and one store: a client's next connection comes to either.

use std::sync::{Arc, Mutex};

use tokio::join;
use turnchat::{
    Cause, Client, Ended, Journal, LinkError, Message, Server, SharedStore, Talk, TheirTurn,
};

use super::message;
use super::network::{Carried, Dialling, network};
use super::sides::{Sides, begun, greeted, mine, text, theirs};

/// Both, and a balancer that is told where each connection goes.
struct Nodes {
    sides: Sides,
    one: Server,
    other: Server,
    balancer: Balancer,
}

#[derive(Clone)]
struct Balancer {
    links: [Carried; 2],
    goes_to: Arc<Mutex<usize>>,
}

impl Balancer {
    /// The last connection to where they go now carries nothing more, and the next goes there.
    fn cut_and_go_to(&self, next: usize) {
        let mut goes_to = self.goes_to.lock().unwrap();
        let links = self.links[*goes_to].lock().unwrap();
        if let Some((_, left)) = links.last() {
            *left.lock().unwrap() = 0;
        }
        *goes_to = next;
    }
}

async fn nodes() -> (Nodes, impl FnMut() -> Dialling + Clone + Send + 'static) {
    let sides = Sides::new();
    let store = SharedStore::in_memory();
    let (to_one, accept_one, of_one) = network(vec![]);
    let (to_other, accept_other, of_other) = network(vec![]);
    let node = || sides.builder().with_shared_store(store.clone());
    let (one, other) = join!(node().start(accept_one), node().start(accept_other));
    let balancer = Balancer {
        links: [of_one, of_other],
        goes_to: Arc::default(),
    };
    let goes_to = Arc::clone(&balancer.goes_to);
    let mut dials = [
        Box::new(to_one) as Box<dyn Dial>,
        Box::new(to_other) as Box<dyn Dial>,
    ];
    let dial = move || dials[*goes_to.lock().unwrap()].dial();
    let nodes = Nodes {
        sides,
        one: one.unwrap(),
        other: other.unwrap(),
        balancer,
    };
    (nodes, dial)
}

trait Dial: Send {
    fn dial(&mut self) -> Dialling;
    fn copy(&self) -> Box<dyn Dial>;
}

impl<D: FnMut() -> Dialling + Clone + Send + 'static> Dial for D {
    fn dial(&mut self) -> Dialling {
        self()
    }

    fn copy(&self) -> Box<dyn Dial> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Dial> {
    fn clone(&self) -> Self {
        (**self).copy()
    }
}

fn is_taken_over(ended: &Ended) -> bool {
    matches!(ended.cause, Cause::Link(LinkError::TakenOver))
}

/// It waits for a client that is elsewhere, and learns that once it waits no longer.
async fn waits_in_vain(theirs: TheirTurn) {
    let ended = theirs.hear().await.unwrap_err();
    assert!(is_taken_over(&ended), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_conversation_goes_on_at_the_other() {
    let (mut nodes, dial) = nodes().await;
    let waiting = nodes.sides.client().connect(dial).await.unwrap();
    let (here, there) = greeted(&mut nodes.one, waiting).await;
    nodes.balancer.cut_and_go_to(1);
    let there = there.say(text("two")).await.unwrap();

    let talk = nodes.other.next().await.unwrap();
    assert!(talk.is_resumed);
    let (Message { text: heard, .. }, at_other) = theirs(talk).hear().await.unwrap();
    assert_eq!((heard, at_other.number()), (text("two"), 3));
    waits_in_vain(here).await;
    let at_other = at_other.say(text("three")).await.unwrap();
    let (Message { text: heard, .. }, there) = there.hear().await.unwrap();
    assert_eq!(heard, text("three"));
    let (ended, _) = join!(there.quit(), at_other.hear());
    assert!(matches!(ended.cause, Cause::Me), "{ended:?}");
}

/// And where it was held all the while, what is held there is worth nothing.
#[tokio::test(start_paused = true)]
async fn a_conversation_comes_back_to_where_it_was() {
    let (mut nodes, dial) = nodes().await;
    let waiting = nodes.sides.client().connect(dial).await.unwrap();
    let (stale, there) = greeted(&mut nodes.one, waiting).await;
    nodes.balancer.cut_and_go_to(1);
    let there = there.say(text("two")).await.unwrap();
    let talk = nodes.other.next().await.unwrap();
    let (_, at_other) = theirs(talk).hear().await.unwrap();
    let at_other = at_other.say(text("three")).await.unwrap();
    let (_, there) = there.hear().await.unwrap();

    nodes.balancer.cut_and_go_to(0);
    let said = there.say(text("four"));
    let (talk, told, said) = join!(nodes.one.next(), waits_in_vain(stale), said);
    let (talk, there, ()) = (talk.unwrap(), said.unwrap(), told);
    assert!(talk.is_resumed);
    let (Message { text: heard, .. }, at_one) = theirs(talk).hear().await.unwrap();
    assert_eq!((heard, at_one.number()), (text("four"), 5));
    at_one.say(text("five")).await.unwrap();
    let (Message { text: heard, .. }, _there) = there.hear().await.unwrap();
    assert_eq!(heard, text("five"));
    waits_in_vain(at_other).await;
}

/// Both handlers have the same message to answer, and one answer is sent.
#[tokio::test(start_paused = true)]
async fn what_is_answered_twice_is_answered_once() {
    let (mut nodes, dial) = nodes().await;
    let waiting = nodes.sides.client().connect(dial).await.unwrap();
    let (here, there) = greeted(&mut nodes.one, waiting).await;
    let there = there.say(text("two")).await.unwrap();
    let (_, at_one) = here.hear().await.unwrap();
    nodes.balancer.cut_and_go_to(1);
    let answers = async {
        let talk = nodes.other.next().await.unwrap();
        assert_eq!(talk.unanswered, Some(message(2, "two")));
        let answered = at_one.say(text("from one")).await;
        assert!(is_taken_over(&answered.unwrap_err()));
        mine(talk).say(text("from the other")).await.unwrap()
    };
    // Its client notices the cut once its link is silent.
    let (at_other, heard) = join!(answers, there.hear());
    let (Message { text: heard, .. }, _there) = heard.unwrap();
    assert_eq!(heard, text("from the other"));
    drop(at_other);
}

/// Its client comes before the node's user knows of anything.
#[tokio::test(start_paused = true)]
async fn what_ended_at_one_has_ended_at_the_other() {
    let (mut nodes, dial) = nodes().await;
    let dir = tempfile::tempdir().unwrap();
    let journal = || Journal::new(dir.path(), &nodes.sides.client.key_id());
    let client = || -> Client { nodes.sides.client().with_journal(journal()) };
    let waiting = client().connect(dial.clone()).await.unwrap();
    let (here, there) = begun(&mut nodes.one, waiting).await;
    drop(there);
    let ended = here.quit().await;
    assert!(matches!(ended.cause, Cause::Link(_)), "{ended:?}");

    nodes.balancer.cut_and_go_to(1);
    // It is looked up once there is a place for it.
    nodes.other.make_room(1);
    let waiting = client().connect(dial.clone()).await.unwrap();
    assert!(waiting.is_resuming());
    let ended = waiting.welcome().await.unwrap_err();
    assert!(matches!(ended.cause, Cause::Peer), "{ended:?}");
    // And a new one begins there.
    let waiting = client().connect(dial).await.unwrap();
    let (talk, welcomed) = join!(nodes.other.next(), waiting.welcome());
    assert!(!talk.unwrap().is_resumed);
    assert!(welcomed.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_leaves_all_to_the_other() {
    let (nodes, dial) = nodes().await;
    let Nodes {
        sides,
        mut one,
        mut other,
        balancer,
    } = nodes;
    let waiting = sides.client().connect(dial).await.unwrap();
    let (here, there) = greeted(&mut one, waiting).await;
    *balancer.goes_to.lock().unwrap() = 1;
    // As by a crash: its handler has not answered yet.
    drop((here, one));
    let there = there.say(text("two")).await.unwrap();
    let talk: Talk = other.next().await.unwrap();
    let (Message { text: heard, .. }, at_other) = theirs(talk).hear().await.unwrap();
    assert_eq!(heard, text("two"));
    let ended = at_other.quit();
    let (ended, _) = join!(ended, there.hear());
    assert!(matches!(ended.cause, Cause::Me), "{ended:?}");
}
