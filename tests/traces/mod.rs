//! The traces in which simpler rules lost messages, each played against the
//! rule that closes it: `docs/RELIABILITY.md` lists them. Real TLS over a
//! network in memory and played time, against the library's server and client;
//! a raw peer stands where the order of things has to be forced.

mod counters;
mod ends;
mod faults;
mod goodbyes;
mod hellos;
mod programs;
mod redials;
#[cfg(feature = "cli")]
mod shown;
mod slow;
mod taken;

use std::fs;
use std::io;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::going_on::network::{Accepting, Carried, Link};
use crate::going_on::sides::Kept;
use crate::wire::raw::{Face, Raw};

/// A raw client behind its handshake.
type Guest = Raw<tokio_rustls::client::TlsStream<Link>>;

/// Shakes hands as a client, and says nothing.
async fn arrive<F>(face: &Face, mut dial: impl FnMut() -> F) -> Guest
where
    F: Future<Output = io::Result<Link>>,
{
    face.dial(dial().await.unwrap()).await.unwrap()
}

/// A raw server behind its handshake.
type Host = Raw<tokio_rustls::server::TlsStream<tokio::io::DuplexStream>>;

/// A raw server takes the next connection.
async fn take(face: &Face, accept: &mut impl FnMut() -> Accepting) -> Host {
    let (stream, _) = comes(accept()).await.unwrap();
    face.answer(stream).await.unwrap()
}

/// A `hello` of who has heard so far.
fn hello(id: &str, heard: u64) -> String {
    format!("{{\"hello\":{{\"conversation\":\"{id}\",\"heard\":{heard}}}}}")
}

fn welcome(id: &str, heard: u64) -> String {
    format!("{{\"welcome\":{{\"conversation\":\"{id}\",\"heard\":{heard}}}}}")
}

const ENDED: &str = "{\"refuse\":{\"reason\":\"ended\"}}";

/// Cuts a link; who next writes or reads on it notices.
fn cut(links: &Carried, link: usize) {
    *links.lock().unwrap()[link].1.lock().unwrap() = 0;
}

/// A way that can be closed: a dial then waits until it is open.
struct Gate(watch::Sender<bool>);

impl Gate {
    fn open() -> Self {
        Self(watch::Sender::new(true))
    }

    fn set(&self, is_open: bool) {
        self.0.send_replace(is_open);
    }

    fn before<D, F>(&self, dial: D) -> impl FnMut() -> Passing<F::Output> + Clone + use<D, F>
    where
        D: FnMut() -> F + Clone + Send + 'static,
        F: Future + Send + 'static,
    {
        let gate = self.0.subscribe();
        move || {
            let (mut gate, mut dial) = (gate.clone(), dial.clone());
            Box::pin(async move {
                let _ = gate.wait_for(|is_open| *is_open).await;
                dial().await
            })
        }
    }
}

type Passing<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// What is waited for comes. On played time a hang shows at once.
async fn comes<F: Future>(what: F) -> F::Output {
    let hour = Duration::from_secs(3_600);
    timeout(hour, what).await.expect("it does not come")
}

/// The same sides with copies of the journals: what a crash at this instant
/// would leave.
fn at_this_instant(kept: &Kept) -> Kept {
    let copied = tempfile::tempdir().unwrap();
    for side in fs::read_dir(kept.dir.path()).unwrap() {
        let side = side.unwrap();
        let copy = copied.path().join(side.file_name());
        fs::create_dir(&copy).unwrap();
        for page in fs::read_dir(side.path()).unwrap() {
            let page = page.unwrap();
            match fs::copy(page.path(), copy.join(page.file_name())) {
                // It was just being put in the place of another.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                copied => _ = copied.unwrap(),
            }
        }
    }
    Kept {
        sides: kept.sides.clone(),
        dir: copied,
    }
}
