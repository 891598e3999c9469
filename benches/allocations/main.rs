//! How often a turn and a conversation allocate. A bench of its own, because
//! the allocator that counts would slow the others down.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, and may stop at the first surprise"
)]

#[path = "../turns/bare.rs"]
mod bare;
#[expect(dead_code, reason = "shared with the other bench")]
#[path = "../turns/contender.rs"]
mod contender;
#[path = "../turns/disk.rs"]
mod disk;
#[path = "../turns/ours.rs"]
mod ours;

use std::alloc::System;
use std::env;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Builder;

use contender::{Contender, Sides, text};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    // `cargo test` runs benches too.
    let is_test = !env::args().any(|it| it == "--bench") || env::args().any(|it| it == "--test");
    let count = if is_test { 2 } else { 2_000 };
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let (sides, text) = (Sides::new(), text(64));
    let counted = runtime.block_on(async {
        let ours = count_of(ours::House::start(&sides, &text, None), count).await;
        (
            ours,
            count_of(bare::Host::start(&sides, &text, None), count).await,
        )
    });
    let ((ours, ours_short), (bare, bare_short)) = counted;
    println!("| allocations, both ends | ours | bare |");
    println!("|---|---|---|");
    println!("| turn and reply, 64 B | {ours:.1} | {bare:.1} |");
    println!("| short conversation | {ours_short:.0} | {bare_short:.0} |");
}

/// The allocations of a turn and its reply, and of a short conversation.
async fn count_of<C: Contender>(contender: C, count: usize) -> (f64, f64) {
    let talk = C::turns(contender.open(0).await, count).await;
    let region = Region::new(ALLOCATOR);
    let talk = C::turns(talk, count).await;
    let turn = made(&region, count);
    drop(talk);
    contender.short(0).await;
    let conversations = count.div_ceil(10);
    let region = Region::new(ALLOCATOR);
    for _ in 0..conversations {
        contender.short(0).await;
    }
    (turn, made(&region, conversations))
}

/// Memory asked for, and asked to be larger, for each of so many.
fn made(region: &Region<'_, System>, count: usize) -> f64 {
    let change = region.change();
    (change.allocations + change.reallocations) as f64 / count as f64
}
