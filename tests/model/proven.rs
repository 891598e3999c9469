//! A key that was proven: only a handshake makes one.

use tokio::io::duplex;
use tokio::sync::mpsc;
use turnchat::{Algorithm, Client, Identity, Peer, ServerBuilder, Verdict};

/// The client's key, as a server has it after a real handshake.
pub(crate) fn proven_peer() -> Peer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let alice = Identity::generate(Algorithm::EcdsaP256).unwrap();
        let bob = Identity::generate(Algorithm::EcdsaP256).unwrap();
        let (ours, theirs) = duplex(64 * 1024);
        let (arrivals, mut arrived) = mpsc::channel(1);
        arrivals.send(theirs).await.unwrap();
        let accept = move || {
            let stream = arrived.try_recv();
            async move {
                match stream {
                    Ok(stream) => Ok((stream, None)),
                    Err(_) => std::future::pending().await,
                }
            }
        };
        let mut server = ServerBuilder::new(&alice, async |_| Verdict::Admit)
            .start(accept)
            .await
            .unwrap();
        let client = Client::new(&bob, vec![alice.key_id()]);
        let mut ours = Some(ours);
        let dial = move || {
            let stream = ours.take().ok_or(std::io::ErrorKind::NotFound.into());
            async move { stream }
        };
        let (talk, waiting) = tokio::join!(server.next(), client.connect(dial));
        drop(waiting);
        talk.unwrap().peer
    })
}
