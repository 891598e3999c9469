//! The library, by its public interface.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use turnchat::{Algorithm, Client, Identity, KeyId, Limits, MyTurn, ServerBuilder, Text, Turn};
use turnchat::{Verdict, tcp};

use super::{MESSAGE, PING_AFTER};

/// More than there are.
const MANY: usize = 100_000;

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.ping_after = PING_AFTER;
    (limits.queue, limits.strangers) = (MANY, MANY);
    limits
}

fn text() -> Text {
    Text::new("x".repeat(MESSAGE)).unwrap()
}

/// Says what it hears, until standard input ends.
pub(crate) async fn serve() {
    let identity = Identity::generate(Algorithm::default()).unwrap();
    let listener = tcp::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = ServerBuilder::new(&identity, async |_| Verdict::Admit)
        .with_limits(limits())
        .many_at_a_time()
        .start(tcp::acceptor(listener));
    let server = server.await.unwrap();
    println!("{} {port}", identity.key_id());
    let mut input = tokio::io::stdin();
    tokio::select! {
        () = server.serve(MANY, echo) => {}
        _ = input.read_u8() => {}
    }
}

async fn echo(talk: turnchat::Talk) {
    let Turn::Mine(mut mine) = talk.turn else {
        panic!("the server speaks first");
    };
    let mut text = text();
    // An `Err` is the end.
    while let Ok(theirs) = mine.say(text).await {
        match theirs.hear().await {
            Ok((message, next)) => (text, mine) = (message.text, next),
            Err(_) => return,
        }
    }
}

pub(crate) struct Talk(MyTurn);

impl super::Talk for Talk {
    type Clients = (Vec<Client>, u16);

    fn clients(keys: usize, server: KeyId, port: u16) -> Self::Clients {
        let client = |_| {
            let identity = Identity::generate(Algorithm::default()).unwrap();
            Client::new(&identity, vec![server]).with_limits(limits())
        };
        ((0..keys).map(client).collect(), port)
    }

    async fn open((clients, port): &Self::Clients, client: usize) -> Self {
        let dial = tcp::dialer("127.0.0.1", *port);
        let waiting = clients.get(client).unwrap().connect(dial).await.unwrap();
        let talk = waiting.welcome().await.unwrap();
        let Turn::Theirs(theirs) = talk.turn else {
            panic!("the server speaks first");
        };
        Self(theirs.hear().await.unwrap().1).turn().await
    }

    async fn turn(self) -> Self {
        let theirs = self.0.say(text()).await.unwrap();
        Self(theirs.hear().await.unwrap().1)
    }

    async fn idle(mut self, time: Duration) -> Self {
        let over = async { while self.0.notice().await.is_some() {} };
        assert!(timeout(time, over).await.is_err(), "it has ended");
        self
    }
}
