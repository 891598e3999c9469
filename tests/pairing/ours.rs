//! Our side: the library's server with an open pairing and a habit in the place of its user,
//! and the library's client.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{DuplexStream, duplex};
use tokio::sync::{Mutex, mpsc};
use turnchat::{Algorithm, Identity, KeyId};
use turnchat::{
    Confirmed, Pairing, PairingClient, PairingError, PairingEvent, Server, ServerBuilder, Storing,
    Verdict,
};

/// What passes between two peers without being read.
pub(crate) const PIPE: usize = 64 * 1024;

pub(crate) const LOOPBACK: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

/// What the server's user learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Code(String),
    Wrong(KeyId),
    TooLate(KeyId),
    Asked(KeyId),
    Expired,
    Exhausted,
    Over,
}

/// What the user does with a key that is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    Answers(Storing),
    Drops,
    /// Until told.
    Thinks,
}

pub(crate) enum Order {
    Be(Habit),
    Answer(Storing),
    NewCode,
    Close,
}

/// A server with an open pairing.
pub(crate) struct House {
    pub(crate) id: KeyId,
    pub(crate) server: Server,
    pub(crate) code: String,
    arrivals: mpsc::UnboundedSender<(DuplexStream, Option<IpAddr>)>,
    user: User,
}

/// The user of a pairing.
pub(crate) struct User {
    told: mpsc::UnboundedReceiver<Told>,
    orders: mpsc::UnboundedSender<Order>,
    stored: Arc<std::sync::Mutex<Vec<KeyId>>>,
}

pub(crate) fn identity() -> Identity {
    Identity::generate(Algorithm::default()).unwrap()
}

impl User {
    pub(crate) fn of(pairing: Pairing) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let (orders, ordered) = mpsc::unbounded_channel();
        let stored = Arc::default();
        tokio::spawn(attend(pairing, tell, ordered, Arc::clone(&stored)));
        Self {
            told,
            orders,
            stored,
        }
    }

    pub(crate) async fn told(&mut self) -> Told {
        self.told.recv().await.unwrap()
    }

    /// The next is a code.
    pub(crate) async fn code(&mut self) -> String {
        match self.told().await {
            Told::Code(code) => code,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn stored(&self) -> Vec<KeyId> {
        self.stored.lock().unwrap().clone()
    }
}

async fn attend(
    pairing: Pairing,
    tell: mpsc::UnboundedSender<Told>,
    mut ordered: mpsc::UnboundedReceiver<Order>,
    stored: Arc<std::sync::Mutex<Vec<KeyId>>>,
) {
    let mut pairing = Some(pairing);
    let mut habit = Habit::Answers(Storing::Stored);
    let mut asked: Option<Confirmed> = None;
    let answer = |confirmed: Confirmed, storing| {
        if storing == Storing::Stored {
            stored.lock().unwrap().push(confirmed.key);
        }
        confirmed.answer(storing);
    };
    loop {
        let next = async {
            match &mut pairing {
                Some(pairing) => pairing.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = next => {
                let told = match event {
                    Some(PairingEvent::Code(code)) => Told::Code(code.spoken()),
                    Some(PairingEvent::WrongGuess { key, .. }) => Told::Wrong(key),
                    Some(PairingEvent::TooLate { key, .. }) => Told::TooLate(key),
                    Some(PairingEvent::Confirmed(confirmed)) => {
                        let key = confirmed.key;
                        match habit {
                            Habit::Answers(storing) => answer(confirmed, storing),
                            Habit::Drops => drop(confirmed),
                            Habit::Thinks => asked = Some(confirmed),
                        }
                        Told::Asked(key)
                    }
                    Some(PairingEvent::Expired) => Told::Expired,
                    Some(PairingEvent::Exhausted) => Told::Exhausted,
                    Some(other) => panic!("{other:?}"),
                    None => {
                        pairing = None;
                        Told::Over
                    }
                };
                let _ = tell.send(told);
            }
            order = ordered.recv() => match order {
                Some(Order::Be(other)) => habit = other,
                Some(Order::Answer(storing)) => answer(asked.take().unwrap(), storing),
                Some(Order::NewCode) => pairing.as_mut().unwrap().new_code(),
                Some(Order::Close) => pairing = None,
                None => return,
            },
        }
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        let mut house = Self::closed(&identity()).await;
        house.open().await;
        house
    }

    /// A server that does not pair.
    pub(crate) async fn closed(identity: &Identity) -> Self {
        let (arrivals, arrived) = mpsc::unbounded_channel();
        let arrived = Arc::new(Mutex::new(arrived));
        let accept = move || {
            let arrived = Arc::clone(&arrived);
            async move {
                let mut arrived = arrived.lock().await;
                arrived
                    .recv()
                    .await
                    .ok_or(io::ErrorKind::NotConnected.into())
            }
        };
        let builder = ServerBuilder::new(identity, async |_| Verdict::Admit);
        let server = builder.start(accept).await.unwrap();
        let (_, told) = mpsc::unbounded_channel();
        Self {
            id: identity.key_id(),
            server,
            code: String::new(),
            arrivals,
            user: User {
                told,
                orders: mpsc::unbounded_channel().0,
                stored: Arc::default(),
            },
        }
    }

    /// Opens a pairing, and learns its first code.
    pub(crate) async fn open(&mut self) {
        self.user = User::of(self.server.pair());
        self.code = self.user.code().await;
    }

    pub(crate) fn call(&self) -> DuplexStream {
        self.call_from(LOOPBACK)
    }

    pub(crate) fn call_from(&self, address: Option<IpAddr>) -> DuplexStream {
        let (ours, theirs) = duplex(PIPE);
        self.arrivals.send((theirs, address)).unwrap();
        ours
    }

    pub(crate) async fn told(&mut self) -> Told {
        self.user.told().await
    }

    /// Whether the user was told nothing more.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.user.told.is_empty()
    }

    /// The next thing that the user is told is another code.
    pub(crate) async fn new_code(&mut self) {
        let code = self.user.code().await;
        assert_ne!(code, self.code);
        self.code = code;
    }

    pub(crate) fn order(&self, order: Order) {
        self.user.orders.send(order).unwrap();
    }

    /// The keys that were stored, as often as they were.
    pub(crate) fn stored(&self) -> Vec<KeyId> {
        self.user.stored()
    }

    /// Our client tries this code.
    pub(crate) async fn pair(&self, client: &Identity, code: &str) -> Result<KeyId, PairingError> {
        pair_over(self.call(), client, code).await
    }
}

/// Our client tries this code over this stream.
pub(crate) async fn pair_over<S>(
    stream: S,
    client: &Identity,
    code: &str,
) -> Result<KeyId, PairingError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let mut client = PairingClient::new(client);
    let paired = client
        .pair(code.parse().unwrap(), async { Ok(stream) })
        .await?;
    let key = paired.key();
    paired.close().await;
    Ok(key)
}

/// A code that is not this one.
pub(crate) fn other_than(code: &str) -> &'static str {
    match code {
        "acoustic-museum-tide" => "acoustic-museum-tiger",
        _ => "acoustic-museum-tide",
    }
}
