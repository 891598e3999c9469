//! What is told to whoever collects it: what happens, and none of the words. Alone in its
//! program: tracing remembers for all threads which events nobody collects.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]
#[path = "../going_on/network.rs"]
mod network;
#[expect(dead_code, reason = "what others need of it")]
#[path = "../going_on/sides.rs"]
mod sides;

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use tokio::io::AsyncReadExt as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};
use turnchat::{Identity, Limits};

use crate::network::network;
use crate::sides::{Sides, mine, text, theirs};

/// Keeps all that is told, a line an event or a span.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Collector {
    fn keep(&self, record: impl FnOnce(&mut Line)) {
        let mut line = Line(String::new());
        record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

impl Subscriber for Collector {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        of.target().starts_with("turnchat")
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        self.keep(|line| span.record(line));
        span::Id::from_u64(self.0.lock().unwrap().len() as u64)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        self.keep(|line| values.record(line));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        self.keep(|line| event.record(line));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_told_and_no_word_that_is_said() {
    let told = Collector::default();
    let _collecting = tracing::subscriber::set_default(told.clone());
    let sides = Sides::new();
    let (dial, accept, links) = network(vec![]);
    let mut server = sides.serve(accept).await;
    let waiting = sides.client().connect(dial.clone()).await.unwrap();
    let (here, there) = tokio::join!(server.next(), waiting.welcome());
    let listening = mine(here.unwrap()).say(text("a secret")).await.unwrap();
    let (_, there) = theirs(there.unwrap()).hear().await.unwrap();
    *links.lock().unwrap()[0].1.lock().unwrap() = 0;
    let answering = there.say(text("another secret")).await.unwrap();
    let (_, here) = listening.hear().await.unwrap();
    let (over, _) = tokio::join!(answering.hear(), here.quit());
    over.unwrap_err();
    server.stop().await;

    let mut limits = Limits::default();
    limits.strangers = 1;
    let (mut dial, accept, _links) = network(vec![]);
    let server = sides
        .builder()
        .with_limits(limits)
        .start(accept)
        .await
        .unwrap();
    let mut first = dial().await.unwrap();
    let _second = dial().await.unwrap();
    assert_eq!(first.read(&mut [0]).await.unwrap(), 0);
    server.stop().await;

    let told = told.0.lock().unwrap().join("\n");
    for what in [
        "message=accepted",
        "message=hello connection=0",
        "message=let in",
        "message=says turn=1",
        "message=heard turn=2",
        "message=lost its connection why=",
        "message=ended turns=2 why=",
        "message=failed connection=0 why=\"it had to make room",
    ] {
        assert!(told.contains(what), "{what}:\n{told}");
    }
    let key = |of: &Identity| of.key_id().to_string();
    assert!(told.contains(&key(&sides.client)), "{told}");
    assert!(!told.contains("secret"), "{told}");
}
