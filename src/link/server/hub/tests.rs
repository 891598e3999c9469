//! What a hub answers in moments that no peer can choose.

use std::future::{pending, ready};
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;

use tokio::io::{DuplexStream, duplex};
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::link::handshake::{Proven, accept, connect};
use crate::link::server::ServerBuilder;
use crate::link::server::admission::Hello;
use crate::link::server::answer::Answer;
use crate::link::server::run::run;
use crate::link::store::{
    JournalError, Later, Loaded, PutError, RecordName, SharedStore, Store, Version,
};
use crate::link::wire::Wire;
use crate::link::{Cause, Client};
use crate::protocol::{ConversationId, Reason, Role};
use crate::trust::alpn::Alpn;
use crate::trust::tls::{client_config, server_config};
use crate::trust::{Algorithm, Identity};

type Received = mpsc::UnboundedReceiver<HubEvent>;

/// A hub that admits anybody, and what it is told.
pub(in crate::link::server) async fn hub(
    identity: &Identity,
    limits: Limits,
) -> (Arc<Hub<DuplexStream>>, Received) {
    let settings = Settings {
        entrance: Entrance {
            config: server_config(identity),
            door: Arc::new(Door::new(identity)),
        },
        limits: Arc::new(limits),
        one_at_a_time: true,
        questions: Questions::new(async |_| Verdict::Admit),
    };
    let outlets = Outlets {
        talks: None,
        next: watch::channel(None).0,
        events: mpsc::channel(EVENTS).0,
    };
    let (events, told) = mpsc::unbounded_channel();
    let hub = Hub::new(
        settings,
        Inventory::default(),
        outlets,
        Arc::default(),
        events,
    );
    (hub.await, told)
}

/// A server's end of a connection on which both keys are proven.
async fn proven(identity: &Identity) -> Proven<DuplexStream> {
    let (near, far) = duplex(16 * 1024);
    let config = server_config(identity);
    let by = Instant::now() + Limits::default().handshake;
    let client = client_config(identity, vec![identity.key_id()]);
    let connecting = async {
        let mut proven = connect(far, client, Alpn::Talk, by).await.unwrap();
        proven.meter.uncork();
        tokio::io::AsyncWriteExt::flush(&mut proven.stream)
            .await
            .unwrap();
    };
    let accepting = accept(near, by, |_| async {
        Ok::<_, ConnectionError>((config, Alpn::Talk))
    });
    let (accepted, ()) = tokio::join!(accepting, connecting);
    accepted.unwrap()
}

/// It was told to go while its `hello` was on its way: the hub waits until it says that it is gone.
#[tokio::test]
async fn whoever_has_to_go_says_so_whatever_it_says_before() {
    let identity = Identity::generate(Algorithm::default()).unwrap();
    let limits = Limits {
        strangers: 1,
        ..Limits::default()
    };
    let (hub, mut told) = hub(&identity, limits).await;
    let mut departures = Vec::new();
    for _ in 0..2 {
        let keep = |departure| {
            departures.push(departure);
            pending()
        };
        hub.arrive(None, keep).await;
    }
    let may_accept = async || hub.open().await.unwrap().look().may_accept;
    assert!(!may_accept().await);

    let limits = Limits::default();
    let Proven {
        stream,
        meter,
        peer,
    } = proven(&identity).await;
    let by = Instant::now() + limits.hello;
    let wire = Wire::new(Role::Server, stream, meter, &limits, by);
    let hello = Hello {
        peer,
        conversation: ConversationId::from_bits([7; 16]),
        heard: 0,
        clienthello: 0,
    };
    let mut state = hub.open().await.unwrap();
    let answer = state.hello(ConnectionId(0), hello, Box::new(wire)).await;
    assert!(matches!(answer, Answer::Left));
    drop(state);
    assert!(!may_accept().await);

    drop(departures.remove(0));
    let event = told.recv().await.unwrap();
    hub.open().await.unwrap().handle(event).await;
    assert!(may_accept().await);
}

/// Whoever accepts may be awake already when another task makes a connection go.
#[tokio::test]
async fn while_somebody_has_to_go_nobody_is_accepted() {
    let identity = Identity::generate(Algorithm::default()).unwrap();
    for _ in 0..50 {
        let limits = Limits {
            strangers: 1,
            ..Limits::default()
        };
        let (hub, told) = hub(&identity, limits).await;
        let (come, mut coming) = mpsc::channel(1);
        let accepted = Arc::new(AtomicBool::new(false));
        let is_accepted = Arc::clone(&accepted);
        let accept = move || {
            let mut coming = std::mem::replace(&mut coming, mpsc::channel(1).1);
            let is_accepted = Arc::clone(&is_accepted);
            async move {
                match coming.recv().await {
                    Some(stream) => {
                        is_accepted.store(true, Ordering::SeqCst);
                        Ok((stream, None))
                    }
                    None => pending().await,
                }
            }
        };
        let (_requests, requested) = mpsc::unbounded_channel();
        let serving = tokio::spawn(run(Arc::clone(&hub), accept, requested, told));
        tokio::task::yield_now().await;
        let mut departures = Vec::new();
        for _ in 0..2 {
            let keep = |departure| {
                departures.push(departure);
                pending()
            };
            hub.arrive(None, keep).await;
        }
        come.send(duplex(1).0).await.unwrap();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!accepted.load(Ordering::SeqCst));

        drop(departures.remove(0));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(accepted.load(Ordering::SeqCst));
        serving.abort();
    }
}

/// A store that is asked, and does not answer.
#[derive(Debug, Default)]
struct Silent {
    asked: AtomicUsize,
}

impl Store for Silent {
    fn is_shared(&self) -> bool {
        true
    }

    fn place(&self, _: &RecordName) -> PathBuf {
        PathBuf::new()
    }

    fn load(self: Arc<Self>, _: RecordName) -> Later<Result<Option<Loaded>, JournalError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(pending())
    }

    fn put(
        self: Arc<Self>,
        _: RecordName,
        _: Vec<u8>,
        _: Version,
    ) -> Later<Result<Version, PutError>> {
        Box::pin(pending())
    }

    fn remove(self: Arc<Self>, _: RecordName, _: Version) -> Later<Result<(), PutError>> {
        Box::pin(pending())
    }

    fn ticket(self: Arc<Self>) -> Later<Result<u64, JournalError>> {
        Box::pin(ready(Ok(0)))
    }
}

/// While its conversation is claimed, it hears what everybody is told.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_claim_is_told_that_the_server_closes() {
    let identity = Identity::generate(Algorithm::default()).unwrap();
    let store = Arc::new(Silent::default());
    let (come, coming) = mpsc::unbounded_channel();
    let coming = Arc::new(Mutex::new(coming));
    let accept = move || {
        let coming = Arc::clone(&coming);
        async move {
            let stream: Option<DuplexStream> = coming.lock().await.recv().await;
            stream
                .map(|stream| (stream, None))
                .ok_or(std::io::ErrorKind::Other.into())
        }
    };
    let mut server = ServerBuilder::new(&identity, async |_| Verdict::Admit)
        .with_shared_store(SharedStore(store.clone()))
        .start(accept)
        .await
        .unwrap();
    server.make_room(1);
    let dial = move || {
        let (near, far) = duplex(16 * 1024);
        come.send(far).unwrap();
        ready(Ok(near))
    };
    let client = Client::new(&identity, vec![identity.key_id()]);
    let waiting = client.connect(dial).await.unwrap();
    let begun = Instant::now();
    let closing = async {
        while store.asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        server.close();
        pending::<()>().await;
    };
    let over = tokio::select! {
        over = waiting.welcome() => over.unwrap_err(),
        () = closing => unreachable!(),
    };
    assert_eq!(over.cause, Cause::Refused(Reason::Closing));
    assert_eq!(store.asked.load(Ordering::SeqCst), 1);
    // At once: no deadline has passed.
    assert!(begun.elapsed() < Limits::default().hello / 2);
}
