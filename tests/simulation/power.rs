//! Pulled power: a machine stops in each operation of its disk in turn, and both sides come out
//! whole.

use std::time::Instant;

use turnchat::ConversationId;
use turnchat::internals::{FileStore, RecordName, Version};

use crate::config::Setup;
use crate::disk::{FakeDisk, Lies};
use crate::figures::Figures;
use crate::rules::Broken;
use crate::world::{Whose, World};
use crate::{number, peers};

const HISTORIES: u64 = 25;

/// The power is pulled at each operation in turn; the first promise that is broken.
fn pull(seed: u64, broken: Option<Broken>) -> Result<Figures, (&'static str, String)> {
    let world = || World::new(Setup::drawn(seed, broken).calm(), peers());
    let mut figures = Figures::default();
    for whose in [Whose::Server(0), Whose::Client(0)] {
        let mut undisturbed = world();
        let _ = undisturbed.live();
        for operation in 1..=undisturbed.operations(whose) {
            let mut pulled = world().pulling(whose, operation);
            if pulled.live().is_err() {
                let mut again = world().pulling(whose, operation).telling(60);
                let (promise, told) = again.live().expect_err("the same history");
                let told = told.join("\n");
                return Err((promise, format!("{told}\n{whose:?}, operation {operation}")));
            }
            pulled.figures.histories = 1;
            figures += pulled.figures;
        }
    }
    Ok(figures)
}

#[test]
fn both_sides_come_out_whole_wherever_the_power_is_pulled() {
    let start = Instant::now();
    let mut figures = Figures::default();
    for seed in 0..number("TURNCHAT_PULLS").unwrap_or(HISTORIES) {
        match pull(seed, None) {
            Ok(more) => figures += more,
            Err((promise, told)) => panic!("{told}\nseed {seed}: not kept: {promise}"),
        }
    }
    println!("{figures}; {:?}", start.elapsed());
}

#[test]
fn a_flush_that_is_left_out_is_found() {
    for broken in [Broken::Flushed, Broken::NamesFlushed, Broken::TornAlone] {
        let found = (0..HISTORIES).find_map(|seed| pull(seed, Some(broken)).err());
        let promise = found.map(|(promise, _)| promise);
        println!("{broken:?}: {promise:?}");
        assert!(promise.is_some(), "{broken:?}: nothing is broken");
    }
}

/// That is no damage of a record, which would keep its conversation out for as long as the server
/// runs.
#[test]
fn a_disk_that_fails_as_a_server_starts_fails_the_start() {
    let disk = FakeDisk::new(Lies::None);
    let name = RecordName::Server(peers()[0].key(), ConversationId::from_bits([1; 16]));
    let store = FileStore::new(disk.clone());
    store.write(&name, b"{}", Version::NONE).unwrap();
    disk.fail_after(Some(0));
    assert!(store.take_up_all().is_err());
    assert_eq!(store.take_up_all().unwrap().len(), 1);
}
