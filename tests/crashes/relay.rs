//! Something in between, on loopback, that cuts.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// How many connections there were, and what they have carried in both directions.
#[derive(Default)]
pub(crate) struct Carried {
    pub(crate) bytes: AtomicUsize,
    pub(crate) dials: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Carried {
    /// Cuts all that are open now.
    pub(crate) fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Relays to `port`. Of the first connections, each is cut once it has carried so many `bytes`; those
/// after them are not.
pub(crate) fn relay(port: u16, bytes: Vec<usize>) -> (u16, Arc<Carried>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap().port();
    let carried = Arc::new(Carried::default());
    let count = Arc::clone(&carried);
    thread::spawn(move || {
        let mut bytes = bytes.into_iter();
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                continue;
            };
            count.dials.fetch_add(1, Ordering::Relaxed);
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
                let open = &mut *count.open.lock().unwrap();
                open.push(stream.try_clone().unwrap());
            }
            let budget = Arc::new(Mutex::new(bytes.next()));
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                let (budget, count) = (Arc::clone(&budget), Arc::clone(&count));
                thread::spawn(move || {
                    let mut chunk = [0; 4096];
                    while let Ok(read @ 1..) = from.read(&mut chunk) {
                        let mut budget = budget.lock().unwrap();
                        let part = budget.map_or(read, |left| read.min(left));
                        *budget = budget.map(|left| left - part);
                        count.bytes.fetch_add(part, Ordering::Relaxed);
                        if to.write_all(&chunk[..part]).is_err() || part < read {
                            break;
                        }
                    }
                    let _ = from.shutdown(Shutdown::Both);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    (here, carried)
}
