//! Both sides: their identities, and journals if they keep any.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use turnchat::Text;
use turnchat::{Algorithm, Identity};
use turnchat::{
    Client, Journal, MyTurn, Server, ServerBuilder, Talk, TheirTurn, Turn, Verdict, Waiting,
};

use super::network::Link;

pub(crate) fn text(words: &str) -> Text {
    Text::new(words).unwrap()
}

pub(crate) fn mine(talk: Talk) -> MyTurn {
    match talk.turn {
        Turn::Mine(mine) => mine,
        Turn::Theirs(theirs) => panic!("turn {} is theirs", theirs.number()),
    }
}

pub(crate) fn theirs(talk: Talk) -> TheirTurn {
    match talk.turn {
        Turn::Theirs(theirs) => theirs,
        Turn::Mine(mine) => panic!("turn {} is mine", mine.number()),
    }
}

/// The conversation of a client who is being let in: the server has turn 1.
pub(crate) async fn begun(server: &mut Server, waiting: Waiting) -> (MyTurn, TheirTurn) {
    let (here, there) = tokio::join!(server.next(), waiting.welcome());
    (mine(here.unwrap()), theirs(there.unwrap()))
}

/// The same where the server has said "one", and the client has turn 2.
pub(crate) async fn greeted(server: &mut Server, waiting: Waiting) -> (TheirTurn, MyTurn) {
    let (here, there) = begun(server, waiting).await;
    let here = here.say(text("one")).await.unwrap();
    let (turnchat::Message { text: heard, .. }, there) = there.hear().await.unwrap();
    assert_eq!(heard, text("one"));
    (here, there)
}

#[derive(Clone)]
pub(crate) struct Sides {
    pub(crate) server: Identity,
    pub(crate) client: Identity,
}

impl Sides {
    pub(crate) fn new() -> Self {
        Self {
            server: Identity::generate(Algorithm::EcdsaP256).unwrap(),
            client: Identity::generate(Algorithm::EcdsaP256).unwrap(),
        }
    }

    pub(crate) fn builder(&self) -> ServerBuilder {
        ServerBuilder::new(&self.server, async |_| Verdict::Admit)
    }

    pub(crate) async fn serve<A, F, S>(&self, accept: A) -> Server
    where
        A: FnMut() -> F + Send + 'static,
        F: Future<Output = io::Result<(S, Option<IpAddr>)>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.builder().start(accept).await.unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.client, vec![self.server.key_id()])
    }
}

/// Both sides, and both journals.
pub(crate) struct Kept {
    pub(crate) sides: Sides,
    pub(crate) dir: tempfile::TempDir,
}

impl Kept {
    pub(crate) fn new() -> Self {
        Self {
            sides: Sides::new(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn client(&self) -> Client {
        let journal = Journal::new(self.dir.path(), &self.sides.client.key_id());
        self.sides.client().with_journal(journal)
    }

    /// A server on its journal, once the one before has let go of it.
    pub(crate) async fn serve<A, F>(&self, mut accept: impl FnMut() -> A) -> Server
    where
        A: FnMut() -> F + Send + 'static,
        F: Future<Output = io::Result<(DuplexStream, Option<IpAddr>)>> + Send + 'static,
    {
        let journal = Journal::new(self.dir.path(), &self.sides.server.key_id());
        let builder = self.sides.builder().with_journal(journal);
        builder.start(accept()).await.unwrap()
    }

    /// Dials, once the client before has let go of the conversation.
    pub(crate) async fn connect<D, F>(&self, dial: D) -> Waiting
    where
        D: FnMut() -> F + Send + 'static,
        F: Future<Output = io::Result<Link>> + Send + 'static,
    {
        self.client().connect(dial).await.unwrap()
    }
}
