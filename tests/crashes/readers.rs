//! Readers that fail: closed, full, paused, slow, or killed with their program, at
//! random instants, on both sides, with a journal or none.

mod diary;
mod life;
mod round;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::number;
use round::{Figures, Round};

/// Rounds at the same time: they wait more than they compute.
const AT_ONCE: usize = 4;

struct Random(TestRng);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0.next_u32() % end
    }
}

/// Says which round it was that failed, and what came in it.
struct Trace {
    seed: u64,
    lines: Vec<String>,
}

impl Trace {
    fn note(&mut self, line: String) {
        self.lines.push(line);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if thread::panicking() {
            let lines = self.lines.join("\n");
            let seed = self.seed;
            eprintln!("{lines}\nThis was TURNCHAT_READER={seed}");
        }
    }
}

fn play(seed: u64) -> Figures {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = Random(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let trace = Trace {
        seed,
        lines: Vec::new(),
    };
    Round::new(seed, rng, trace).play()
}

#[test]
fn what_was_acknowledged_is_shown_whatever_becomes_of_its_reader() {
    let seeds = match std::env::var("TURNCHAT_READER") {
        Ok(seed) => seed.parse().map(|seed| seed..seed + 1).unwrap(),
        Err(_) => 0..number("TURNCHAT_READERS", 40),
    };
    let next = AtomicU64::new(seeds.start);
    let figures = Mutex::new(Figures::default());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let of_round = play(seed);
                    figures.lock().unwrap().add(&of_round);
                }
            });
        }
    });
    let figures = figures.into_inner().unwrap();
    eprintln!("{} rounds: {figures}", seeds.end - seeds.start);
}
