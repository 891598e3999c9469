//! The simulator: the real [`Session`](turnchat::internals::session::Session), the real
//! [`Admission`](turnchat::internals::admission::Admission) and the real file store through
//! random histories. Many clients, a server, a network, disks and a clock that are all played;
//! one history for each seed, and always the same one.
//!
//! `TURNCHAT_SEEDS` makes the run longer (`scripts/prove`); `TURNCHAT_SEED` repeats one history,
//! and `TURNCHAT_TOLD` tells more of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise, and tells its figures"
)]

mod config;
mod dice;
mod disk;
mod figures;
mod power;
#[path = "../model/promise.rs"]
mod promise;
#[path = "../model/proven.rs"]
mod proven;
mod rules;
#[path = "../model/tale.rs"]
#[expect(dead_code, reason = "the model forgets what need not be told apart")]
mod tale;
mod world;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use turnchat::Peer;

use config::Setup;
use figures::Figures;
use promise::{
    ACCUSED, AGREED, COMPLETE, ENDLESS, LOST, ONE_OPEN, REOPENED, REPLACED, SAFE, STUCK, TURN,
    UNSAID, WANTED,
};
use proven::proven_peer;
use world::World;

const READABLE: &str = "what was stored can be read";
const SILENT: &str = "whoever was taken over says nothing more";
const OWNER: &str = "each version has one owner, and stands in the store";
const OWN: &str = "nobody takes what it did itself for another's";

/// Keys that were proven, in their order: so, a history is the same whichever they are.
fn peers() -> &'static [Peer] {
    static PEERS: OnceLock<Vec<Peer>> = OnceLock::new();
    PEERS.get_or_init(|| {
        let mut peers: Vec<_> = (0..7).map(|_| proven_peer()).collect();
        peers.sort_by_key(Peer::key);
        peers
    })
}

fn live(setup: &Setup) -> Result<Figures, (&'static str, String)> {
    let mut world = World::new(setup.clone(), peers());
    if world.live().is_ok() {
        world.figures.histories = 1;
        return Ok(world.figures);
    }
    let told = number("TURNCHAT_TOLD").unwrap_or(60) as usize;
    let mut world = World::new(setup.clone(), peers()).telling(told);
    let (promise, told) = world.live().expect_err("the same history");
    let told = told.join("\n");
    let setup = &world.setup;
    Err((promise, format!("{setup:#?}\n{told}\n")))
}

/// Histories on all cores; the first that breaks a promise.
fn live_all(seeds: u64, draw: fn(u64) -> Setup) -> (Figures, Option<(u64, &'static str, String)>) {
    peers();
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = || {
            let mut figures = Figures::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return (figures, None);
                }
                match live(&draw(seed)) {
                    Ok(more) => figures += more,
                    Err((promise, told)) => {
                        next.store(seeds, Ordering::Relaxed);
                        return (figures, Some((seed, promise, told)));
                    }
                }
            }
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all = Figures::default();
        let mut first = None;
        for worker in workers {
            let (figures, broken) = worker.join().unwrap();
            all += figures;
            first = first.or(broken);
        }
        (all, first)
    })
}

#[test]
fn the_same_seed_is_the_same_history() {
    let setups = (0..40).flat_map(|seed| [of_one_server(seed), of_several_servers(seed)]);
    for setup in setups {
        let seed = setup.seed;
        let told = || {
            let mut world = World::new(setup.clone(), peers()).telling(usize::MAX);
            let _ = world.live();
            world.told()
        };
        assert_eq!(told(), told(), "seed {seed}");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn of_one_server(seed: u64) -> Setup {
    Setup::drawn(seed, None)
}

fn of_several_servers(seed: u64) -> Setup {
    Setup::drawn(seed, None).shared()
}

#[test]
fn every_history_keeps_what_is_promised() {
    keep_all_promises("every_history", 20_000, of_one_server);
}

/// Whichever of several servers that share a store a connection comes to.
#[test]
fn every_shared_history_keeps_what_is_promised() {
    keep_all_promises("every_shared", 5_000, of_several_servers);
}

fn keep_all_promises(test: &str, seeds: u64, draw: fn(u64) -> Setup) {
    if let Some(seed) = number("TURNCHAT_SEED") {
        if let Err((promise, told)) = live(&draw(seed)) {
            panic!("{told}\nseed {seed}: not kept: {promise}");
        }
        return;
    }
    let start = Instant::now();
    let (figures, broken) = live_all(number("TURNCHAT_SEEDS").unwrap_or(seeds), draw);
    println!("{test}: {figures}; {:?}", start.elapsed());
    if let Some((seed, promise, told)) = broken {
        panic!(
            "{told}\nseed {seed}: not kept: {promise}\nAgain: \
             TURNCHAT_SEED={seed} cargo test --test simulation {test}"
        );
    }
}
