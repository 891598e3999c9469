//! Something in between, on loopback, that cuts.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

/// How many connections there were, and what they have carried in both directions. The relay ends
/// with it.
pub(crate) struct Carried {
    pub(crate) bytes: AtomicUsize,
    pub(crate) dials: AtomicUsize,
    open: Mutex<Vec<Weak<TcpStream>>>,
    port: u16,
}

impl Carried {
    /// Cuts all that are open now.
    pub(crate) fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            if let Some(stream) = stream.upgrade() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for Carried {
    /// Its listener waits for a connection.
    fn drop(&mut self) {
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Relays to `port`. Of the first connections, each is cut once it has carried so many `bytes`; those
/// after them are not.
pub(crate) fn relay(port: u16, bytes: Vec<usize>) -> (u16, Arc<Carried>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap().port();
    let carried = Arc::new(Carried {
        bytes: AtomicUsize::default(),
        dials: AtomicUsize::default(),
        open: Mutex::default(),
        port: here,
    });
    let counts = Arc::downgrade(&carried);
    thread::spawn(move || {
        let mut bytes = bytes.into_iter();
        for client in listener.incoming().map_while(Result::ok) {
            let Some(count) = counts.upgrade() else {
                return;
            };
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                continue;
            };
            count.dials.fetch_add(1, Ordering::Relaxed);
            let sides = [client, server].map(Arc::new);
            for stream in &sides {
                stream.set_nodelay(true).unwrap();
                count.open.lock().unwrap().push(Arc::downgrade(stream));
            }
            let budget = Arc::new(Mutex::new(bytes.next()));
            let [client, server] = sides;
            for (from, to) in [(Arc::clone(&client), Arc::clone(&server)), (server, client)] {
                let (budget, counts) = (Arc::clone(&budget), counts.clone());
                thread::spawn(move || {
                    let mut chunk = [0; 4096];
                    while let Ok(read @ 1..) = (&*from).read(&mut chunk) {
                        let mut budget = budget.lock().unwrap();
                        let part = budget.map_or(read, |left| read.min(left));
                        *budget = budget.map(|left| left - part);
                        if let Some(count) = counts.upgrade() {
                            count.bytes.fetch_add(part, Ordering::Relaxed);
                        }
                        if (&*to).write_all(&chunk[..part]).is_err() || part < read {
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
