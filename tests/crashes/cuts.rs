//! A scripted conversation of the real binaries over a relay that cuts the
//! first connection after each k-th byte, counted in both directions.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::side::{Homes, Side, Who, port};
use crate::{PATIENCE, assert_whole, number};

const LAST: u64 = 5;
/// Conversations at the same time: they wait for the disk and for each other
/// more than they compute, so that these may be more than the machine has cores.
const AT_ONCE: usize = 4;

/// Relays to `port`; the first connection is cut once it has carried `bytes`.
/// Says how many bytes all of them have carried.
fn relay(port: u16, bytes: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap().port();
    let carried = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&carried);
    thread::spawn(move || {
        let mut left = bytes;
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                return;
            };
            let budget = Arc::new(Mutex::new(left));
            left = usize::MAX;
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                let (budget, count) = (Arc::clone(&budget), Arc::clone(&count));
                thread::spawn(move || {
                    let mut chunk = [0; 4096];
                    while let Ok(read @ 1..) = from.read(&mut chunk) {
                        let mut budget = budget.lock().unwrap();
                        let part = read.min(*budget);
                        *budget -= part;
                        count.fetch_add(part, Ordering::Relaxed);
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

/// Whether the client was connected before the cut; if so, all went well.
fn converse(bytes: usize) -> (bool, usize) {
    let homes = Homes::new();
    let (tell, told) = channel();
    let mut server = Side::start(Who::Server, homes.server(0), tell.clone());
    let (port, carried) = relay(port(&told), bytes);
    let mut client = Side::start(Who::Client, homes.client(port), tell);

    let mut is_connected = false;
    while client.ended.is_none() || server.ended.is_none() {
        let (who, _, event) = told.recv_timeout(PATIENCE).unwrap();
        let side = match who {
            Who::Server => &mut server,
            Who::Client => &mut client,
        };
        match event {
            Some(event) if who == Who::Client && !is_connected && event["event"] == "error" => {
                return (false, 0);
            }
            Some(event) => {
                is_connected |= who == Who::Client && event["event"] == "connected";
                side.on(&event, LAST);
            }
            // A first dial fails at once.
            None if who == Who::Client && !is_connected => return (false, 0),
            None if side.ended.is_some() => {}
            None => panic!("{who:?} stopped, cut after {bytes} bytes"),
        }
    }
    assert_whole(&server, &client, LAST);
    (true, carried.load(Ordering::Relaxed))
}

#[test]
fn a_cut_after_each_kth_byte_loses_nothing_and_doubles_nothing() {
    let (_, whole) = converse(usize::MAX);
    let step = usize::try_from(number("TURNCHAT_CUT_STEP", 53)).unwrap();
    let cuts = Arc::new(Mutex::new((0..whole).step_by(step)));
    let (done, results) = channel();
    for _ in 0..AT_ONCE {
        let cuts = Arc::clone(&cuts);
        let done: Sender<bool> = done.clone();
        thread::spawn(move || {
            loop {
                let Some(bytes) = cuts.lock().unwrap().next() else {
                    return;
                };
                done.send(converse(bytes).0).unwrap();
            }
        });
    }
    drop(done);
    let connected: Vec<_> = results.iter().collect();
    assert_eq!(
        connected.len(),
        whole.div_ceil(step),
        "a conversation failed"
    );
    let begun = connected.iter().filter(|connected| **connected).count();
    eprintln!(
        "cut after each {step}. of {whole} bytes: {begun} conversations had begun, and went on"
    );
    assert!(begun > 0);
}
