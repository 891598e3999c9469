//! The real binaries, killed and cut at any instant, with readers that fail:
//! nothing is lost, and nothing comes twice.
//!
//! `TURNCHAT_KILLS`, `TURNCHAT_CUT_STEP`, `TURNCHAT_PEER_CUTS`, `TURNCHAT_READERS`,
//! `TURNCHAT_FAULTS` and `TURNCHAT_GAMES` make the runs longer (`scripts/prove`);
//! `TURNCHAT_READER` plays one round of readers again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise, and tells its figures"
)]

mod cuts;
mod faults;
mod games;
mod kills;
mod peer;
mod readers;
mod relay;
mod side;

use std::time::Duration;

use side::{Side, words};

/// Only to fail rather than hang.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}

/// Both have heard everything that the other said in turns 1 to `last`, and
/// agree about the end.
fn assert_whole(server: &Side, client: &Side, last: u64) {
    for side in [server, client] {
        let other = side.who.other();
        let parity = u64::from(other == side::Who::Server);
        let expected: Vec<_> = (1..=last)
            .filter(|turn| turn % 2 == parity)
            .map(|turn| (turn, words(other, turn)))
            .collect();
        let heard: Vec<_> = side.heard.clone().into_iter().collect();
        assert_eq!(heard, expected, "{:?}", side.who);
    }
}
