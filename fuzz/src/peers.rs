//! Keys that were proven: only a handshake makes one.

use std::sync::LazyLock;

use tokio::io::duplex;
use tokio::sync::mpsc;
use turnchat::{Algorithm, Client, Identity, Peer, ServerBuilder, Verdict};

/// Three, in the order of their keys: so an input means the same whichever they are.
pub static PEERS: LazyLock<Vec<Peer>> = LazyLock::new(|| {
    let mut peers: Vec<_> = (0..3).map(|_| proven()).collect();
    peers.sort_by_key(Peer::key);
    peers
});

/// A client's key, as a server has it after a real handshake.
fn proven() -> Peer {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let alice = Identity::generate(Algorithm::EcdsaP256).expect("a key");
        let bob = Identity::generate(Algorithm::EcdsaP256).expect("a key");
        let (ours, theirs) = duplex(64 * 1024);
        let (arrivals, mut arrived) = mpsc::channel(1);
        arrivals.try_send(theirs).expect("room");
        let accept = move || {
            let stream = arrived.try_recv();
            async move {
                match stream {
                    Ok(stream) => Ok((stream, None)),
                    Err(_) => std::future::pending().await,
                }
            }
        };
        let server = ServerBuilder::new(&alice, async |_| Verdict::Admit);
        let mut server = server.start(accept).await.expect("no journal");
        let client = Client::new(&bob, vec![alice.key_id()]);
        let mut ours = Some(ours);
        let dial = move || {
            let stream = ours.take().ok_or(std::io::ErrorKind::NotFound.into());
            async move { stream }
        };
        let (talk, waiting) = tokio::join!(server.next(), client.connect(dial));
        drop(waiting);
        talk.expect("a conversation").peer
    })
}
