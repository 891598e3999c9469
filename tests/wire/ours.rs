//! Our side, in memory: the library's server and client, each with a habit in
//! the place of a person, telling what it lives through.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use turnchat::{Algorithm, Identity, KeyId, Message};
use turnchat::{
    Candidate, Cause, Client, ConnectError, Ended, MyTurn, Notice, ServerBuilder, ServerEvent,
    ServerEvents, Talk, TheirTurn, Turn, Verdict,
};
use turnchat::{Limits, Text};

use super::raw::{Came, Face, Papers, QUIT, Raw, heard, say};

/// What passes between two peers without being read.
pub(crate) const PIPE: usize = 256 * 1024;

/// The usual limits, but that a cut ends a conversation.
pub(crate) fn unheld() -> Limits {
    let mut limits = Limits::default();
    limits.hold = Duration::ZERO;
    limits
}

/// What our side does when it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Says `turn N` in each turn of its own.
    Answers,
    /// Says the longest text in each turn of its own.
    Shouts,
    /// Never says anything.
    Thinks,
    /// Answers, and quits when this turn has come, whosever it is.
    QuitsAt(u64),
}

/// What our side's user learned.
#[derive(Debug)]
pub(crate) enum Told {
    Waiting(u64),
    Began,
    Heard(u64, String),
    Delivered(u64),
    Silence { is_over: bool },
    Ended(Ended),
}

/// What our side tells, as it comes.
pub(crate) type Tale = mpsc::UnboundedReceiver<Told>;

/// Our server, whom anybody with a key may call.
pub(crate) struct House<S = DuplexStream> {
    pub(crate) id: KeyId,
    pub(crate) tale: Tale,
    pub(crate) events: ServerEvents,
    arrivals: mpsc::UnboundedSender<S>,
}

impl House {
    /// A server that holds one conversation after another.
    pub(crate) async fn new(habit: Habit) -> Self {
        Self::with(habit, unheld()).await
    }

    pub(crate) async fn with(habit: Habit, limits: Limits) -> Self {
        Self::on(habit, limits, async |_| Verdict::Admit).await
    }

    /// A connection to it, without a word said.
    pub(crate) fn call(&self) -> DuplexStream {
        let (here, there) = duplex(PIPE);
        self.arrive(there);
        here
    }

    /// A raw client behind its handshake.
    pub(crate) async fn guest(&self) -> Raw<tokio_rustls::client::TlsStream<DuplexStream>> {
        self.guest_as(&Face::new(&Papers::new())).await
    }

    pub(crate) async fn guest_as(
        &self,
        face: &Face,
    ) -> Raw<tokio_rustls::client::TlsStream<DuplexStream>> {
        face.dial(self.call()).await.unwrap()
    }

    /// Whoever was there before, the server serves the next honest peer.
    pub(crate) async fn serves_the_next(&mut self, habit: Habit) {
        let mut guest = self.guest().await;
        guest.begin().await;
        if habit == Habit::Answers {
            guest.expect(&say(1, "turn 1")).await;
            guest.send(&heard(1)).await;
            guest.send(&say(2, "honest")).await;
            guest.expect(&heard(2)).await;
        }
        guest.send(QUIT).await;
        loop {
            match guest.next().await {
                Came::Line(line) if line == QUIT => break,
                Came::Line(_) => {}
                came => panic!("{came:?}"),
            }
        }
        assert_eq!(guest.next().await, Came::Close);
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> House<S> {
    pub(crate) async fn on<F>(
        habit: Habit,
        limits: Limits,
        admit: impl FnMut(Candidate) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        let identity = Identity::generate(Algorithm::default()).unwrap();
        let (arrivals, arrived) = mpsc::unbounded_channel();
        let arrived = Arc::new(Mutex::new(arrived));
        let accept = move || {
            let arrived = Arc::clone(&arrived);
            async move {
                match arrived.lock().await.recv().await {
                    Some(stream) => Ok::<_, io::Error>((stream, None::<IpAddr>)),
                    None => std::future::pending().await,
                }
            }
        };
        let mut server = ServerBuilder::new(&identity, admit)
            .with_limits(limits)
            .start(accept)
            .await
            .unwrap();
        let events = server.events().unwrap();
        let (teller, tale) = mpsc::unbounded_channel();
        tokio::spawn(server.serve(1, move |talk| live(talk, habit, teller.clone())));
        Self {
            id: identity.key_id(),
            tale,
            events,
            arrivals,
        }
    }

    pub(crate) fn arrive(&self, stream: S) {
        self.arrivals.send(stream).unwrap();
    }

    /// Why the last event came to nothing.
    pub(crate) async fn incident(&mut self) -> turnchat::ConnectionError {
        match self.events.next().await {
            Some(ServerEvent::Failed(incident)) => incident,
            other => panic!("{other:?}"),
        }
    }
}

/// Our client, dialling over this stream, and expecting this key.
pub(crate) async fn dial<S>(
    stream: S,
    pin: KeyId,
    habit: Habit,
    limits: Limits,
) -> Result<Tale, ConnectError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let identity = Identity::generate(Algorithm::default()).unwrap();
    let client = Client::new(&identity, vec![pin]).with_limits(limits);
    // There is one link to be had.
    let mut stream = Some(stream);
    let dial = move || {
        let stream = stream.take().ok_or(io::ErrorKind::ConnectionRefused.into());
        async { stream }
    };
    let mut waiting = client.connect(dial).await?;
    let (teller, tale) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        if habit == Habit::QuitsAt(0) {
            waiting.quit();
        }
        while let Some(notice) = waiting.notice().await {
            tell(&teller, notice);
        }
        match waiting.welcome().await {
            Ok(talk) => live(talk, habit, teller).await,
            Err(over) => {
                let _ = teller.send(Told::Ended(over));
            }
        }
    });
    Ok(tale)
}

/// Our client called a raw server with this face: both, behind the handshake.
pub(crate) async fn called(
    habit: Habit,
) -> (Raw<tokio_rustls::server::TlsStream<DuplexStream>>, Tale) {
    let papers = Papers::new();
    let (ours, theirs) = duplex(PIPE);
    let face = Face::new(&papers);
    let (raw, tale) = tokio::join!(face.answer(theirs), dial(ours, papers.id, habit, unheld()));
    (raw.unwrap(), tale.unwrap())
}

/// The same, and the conversation is on; our client's turn is 2.
pub(crate) async fn welcomed(
    habit: Habit,
) -> (Raw<tokio_rustls::server::TlsStream<DuplexStream>>, Tale) {
    let (mut raw, mut tale) = called(habit).await;
    let id = raw.hello().await;
    raw.send(&super::raw::welcome(&id)).await;
    assert!(matches!(tale.recv().await, Some(Told::Began)));
    (raw, tale)
}

async fn live(talk: Talk, habit: Habit, teller: mpsc::UnboundedSender<Told>) {
    let _ = teller.send(Told::Began);
    let mut turn = talk.turn;
    let over = loop {
        let next = match turn {
            Turn::Mine(mine) => speak(mine, habit, &teller).await,
            Turn::Theirs(theirs) => listen(theirs, habit, &teller).await,
        };
        turn = match next {
            Ok(turn) => turn,
            Err(over) => break over,
        };
    };
    let _ = teller.send(Told::Ended(over));
}

async fn speak(
    mut mine: MyTurn,
    habit: Habit,
    teller: &mpsc::UnboundedSender<Told>,
) -> Result<Turn, Ended> {
    let number = mine.number();
    if habit == Habit::Thinks {
        while let Some(notice) = mine.notice().await {
            tell(teller, notice);
        }
        return Err(mine.quit().await);
    }
    if habit == Habit::QuitsAt(number) {
        return Err(mine.quit().await);
    }
    let words = match habit {
        Habit::Shouts => "x".repeat(Text::MAX),
        _ => format!("turn {number}"),
    };
    let text = Text::new(words).unwrap();
    mine.say(text).await.map(Turn::Theirs)
}

async fn listen(
    mut theirs: TheirTurn,
    habit: Habit,
    teller: &mpsc::UnboundedSender<Told>,
) -> Result<Turn, Ended> {
    let number = theirs.number();
    if habit == Habit::QuitsAt(number) {
        theirs.quit();
    }
    while let Some(notice) = theirs.notice().await {
        tell(teller, notice);
    }
    let (Message { text, .. }, mine) = theirs.hear().await?;
    let _ = teller.send(Told::Heard(number, text.as_str().to_owned()));
    mine.taken();
    Ok(Turn::Mine(mine))
}

fn tell(teller: &mpsc::UnboundedSender<Told>, notice: Notice) {
    let told = match notice {
        Notice::Waiting { ahead } => Told::Waiting(ahead),
        Notice::Delivered { turn } => Told::Delivered(turn),
        // What comes of it shows at the end, or on the wire.
        Notice::Lost | Notice::Resumed => return,
        Notice::Silence { is_over } => Told::Silence { is_over },
        other => panic!("{other:?}"),
    };
    let _ = teller.send(told);
}

/// All that was told up to the end, as short words, and why it ended.
pub(crate) async fn told(tale: &mut Tale) -> (Vec<String>, Ended) {
    let mut words = Vec::new();
    loop {
        match next_told(tale).await {
            Told::Waiting(ahead) => words.push(format!("waiting {ahead}")),
            Told::Began => words.push("began".to_owned()),
            Told::Heard(turn, text) => words.push(format!("heard {turn} {text}")),
            Told::Delivered(turn) => words.push(format!("delivered {turn}")),
            Told::Silence { .. } => {}
            Told::Ended(over) => return (words, over),
        }
    }
}

/// The next thing told. On played time a hang shows at once.
pub(crate) async fn next_told(tale: &mut Tale) -> Told {
    timeout(Duration::from_secs(3600), tale.recv())
        .await
        .expect("our side hangs")
        .expect("our side is gone")
}

/// Why it ended, in a word.
pub(crate) fn cause(over: &Ended) -> String {
    match &over.cause {
        Cause::Me => "me".to_owned(),
        Cause::Peer => "peer".to_owned(),
        Cause::Refused(reason) => reason.word().to_owned(),
        Cause::Link(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}
