//! A scripted conversation of the real binaries over a relay that cuts the
//! first connection after each k-th byte, counted in both directions.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::relay::relay;
use crate::side::{Homes, Side, Who, port};
use crate::{PATIENCE, assert_whole, number};

const LAST: u64 = 5;
/// Conversations at the same time: they wait for the disk and for each other
/// more than they compute, so that these may be more than the machine has cores.
const AT_ONCE: usize = 4;

/// Whether the client was connected before the cut; if so, all went well.
fn converse(bytes: usize) -> (bool, usize) {
    let homes = Homes::new();
    let (tell, told) = channel();
    let mut server = Side::start(Who::Server, homes.server(0), tell.clone());
    let (port, carried) = relay(port(&told), vec![bytes]);
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
    (true, carried.bytes.load(Ordering::Relaxed))
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
