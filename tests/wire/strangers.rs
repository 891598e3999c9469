//! Connections that come faster than those that make room for them can go.

use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use turnchat::{Algorithm, Identity};
use turnchat::{ServerBuilder, Verdict};

use super::ours::{PIPE, unheld};
use super::streams::{Tap, Tapped};

/// Each of them is a file descriptor, and there are only so many.
#[tokio::test]
async fn no_more_are_open_than_the_limit_and_the_newest() {
    let identity = Identity::generate(Algorithm::default()).unwrap();
    let mut limits = unheld();
    limits.strangers = 6;
    let arrived = Arc::new(Mutex::new((0, Vec::<(DuplexStream, Tap)>::new())));
    let (finished, mut all) = mpsc::unbounded_channel();
    let seen = Arc::clone(&arrived);
    // A listener whose next connection is always there already.
    let accept = move || {
        let mut arrived = seen.lock().unwrap();
        let (most, streams) = &mut *arrived;
        let (here, there) = duplex(PIPE);
        let (stream, tap) = Tapped::new(there);
        streams.push((here, tap));
        let open = streams.iter().filter(|(_, tap)| tap.is_open()).count();
        *most = open.max(*most);
        let is_last = streams.len() == 200;
        let finished = finished.clone();
        async move {
            if is_last {
                let _ = finished.send(());
                pending::<()>().await;
            }
            Ok::<_, io::Error>((stream, None::<IpAddr>))
        }
    };
    let _server = ServerBuilder::new(&identity, async |_| Verdict::Admit)
        .with_limits(limits)
        .start(accept)
        .await
        .unwrap();
    all.recv().await.unwrap();
    // The newest, and one that is accepted already and not received.
    assert_eq!(arrived.lock().unwrap().0, 6 + 2);
}
