//! The library, by its public face alone.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use turnchat::{Client, Ended, Journal, MyTurn, Server, ServerBuilder, Talk, Turn, Verdict, tcp};
use turnchat::{Limits, Text};

use tokio::runtime::Handle;

use super::contender::{Contender, Sides};

/// More than any measure has at once.
const MANY: usize = 10_000;

/// A server, and its clients. Needs a runtime.
pub(crate) struct House {
    clients: Vec<Client>,
    port: u16,
    serving: tokio::task::JoinHandle<()>,
}

impl House {
    /// The server opens each conversation with this text.
    pub(crate) fn start(sides: &Sides, text: &Text, journals: Option<&Path>) -> Self {
        let mut limits = Limits::default();
        limits.queue = MANY;
        limits.strangers = MANY;
        let mut builder = ServerBuilder::new(&sides.server, async |_| Verdict::Admit)
            .with_limits(limits)
            .many_at_a_time();
        let accepted = vec![sides.server.key_id()];
        let client = |identity| Client::new(identity, accepted.clone());
        let mut clients: Vec<_> = sides.clients.iter().map(client).collect();
        if let Some(dir) = journals {
            // A directory for each server: only one may hold it.
            static STARTED: AtomicUsize = AtomicUsize::new(0);
            let dir = dir.join(STARTED.fetch_add(1, Ordering::Relaxed).to_string());
            let journal = |key| Journal::new(&dir, &key);
            builder = builder.with_journal(journal(sides.server.key_id()));
            let keys = sides.clients.iter().map(|client| client.key_id());
            let kept = clients.into_iter().zip(keys);
            let kept = kept.map(|(client, key)| client.with_journal(journal(key)));
            clients = kept.collect();
        }
        let listener = tcp::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let starting = builder.start(tcp::acceptor(listener));
        let server: Server = Handle::current().block_on(starting).unwrap();
        let opening = text.clone();
        let serving = tokio::spawn(server.serve(MANY, move |talk| {
            let opening = opening.clone();
            async move {
                answer(talk, opening).await;
            }
        }));
        Self {
            clients,
            port,
            serving,
        }
    }

    async fn connect(&self, who: usize) -> Talk {
        let dial = tcp::dialer("127.0.0.1", self.port);
        let waiting = self.clients.get(who).unwrap().connect(dial).await.unwrap();
        waiting.welcome().await.unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Contender for House {
    type Talk = (MyTurn, Text);

    async fn open(&self, who: usize) -> Self::Talk {
        let Turn::Theirs(theirs) = self.connect(who).await.turn else {
            panic!("the server speaks first");
        };
        let (message, mine) = theirs.hear().await.unwrap();
        (mine, message.text)
    }

    async fn turns((mut mine, mut text): Self::Talk, count: usize) -> Self::Talk {
        for _ in 0..count {
            let theirs = mine.say(text).await.unwrap();
            let (message, next) = theirs.hear().await.unwrap();
            (mine, text) = (next, message.text);
        }
        (mine, text)
    }

    fn port(&self) -> u16 {
        self.port
    }

    async fn short(&self, who: usize) {
        let (mine, _) = self.open(who).await;
        let theirs = mine.say(Text::new("").unwrap()).await.unwrap();
        let over = theirs.hear().await.unwrap_err();
        assert_eq!(over.turns, 2);
    }
}

/// Says what it heard; an empty message is answered with the end.
async fn answer(talk: Talk, opening: Text) -> Ended {
    let Turn::Mine(mut mine) = talk.turn else {
        panic!("the server speaks first");
    };
    let mut text = opening;
    loop {
        let said = mine.say(text).await;
        let heard = match said {
            Ok(theirs) => theirs.hear().await,
            Err(over) => return over,
        };
        (text, mine) = match heard {
            Ok((message, mine)) if message.text.as_str().is_empty() => return mine.quit().await,
            Ok((message, mine)) => (message.text, mine),
            Err(over) => return over,
        };
    }
}
