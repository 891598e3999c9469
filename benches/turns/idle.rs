//! Resident memory of open conversations in which nobody speaks. Each figure
//! is that of a process of its own, so that no earlier one has left memory to use.

use std::env;
use std::process::Command;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::Effort;
use super::contender::{Contender, Sides, Start, text};
use super::rounds::{Contestant, Table, Unit, interleave};

/// Memory hardly varies, and a round takes seconds.
pub(super) const ROUNDS: usize = 5;
const CONVERSATIONS: usize = 2_000;
/// These come first, for what a process needs once.
pub(super) const WARM_UP: usize = 50;
/// Until both sides have done what follows a turn.
pub(super) const SETTLE: Duration = Duration::from_millis(300);

pub(crate) fn measure(effort: Effort, table: &mut Table) {
    let count = effort.of(CONVERSATIONS);
    let bare = || grown_elsewhere("bare", count, &[]);
    let contestants = [grown_elsewhere("ours", count, &[]), bare(), bare()];
    let rounds = interleave(effort.rounds.min(ROUNDS), contestants);
    let what = format!("idle conversation, both ends, of {count}");
    table.row(&what, Unit::Kib, &rounds);
}

pub(super) fn grown_elsewhere<'a>(
    who: &'a str,
    count: usize,
    more: &'a [&'a str],
) -> Contestant<'a> {
    Box::new(move || {
        // Two descriptors a conversation: as many as the system allows.
        let ran = Command::new("sh")
            .args(["-c", "ulimit -Sn \"$(ulimit -Hn)\"; exec \"$0\" \"$@\""])
            .arg(env::current_exe().unwrap())
            .args(["--bench", "--contender", who, "--idle", &count.to_string()])
            .args(more)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&ran.stdout);
        let told = String::from_utf8_lossy(&ran.stderr);
        printed.trim().parse().unwrap_or_else(|_| panic!("{told}"))
    })
}

/// By how many KiB this process grows with each of so many conversations.
pub(crate) fn grown<C: Contender>(runtime: &Runtime, start: &Start<C>, count: usize) -> f64 {
    let _in = runtime.enter();
    let contender = start(&Sides::new(), &text(64), None);
    let opening = runtime.spawn(async move {
        let mut talks = Vec::with_capacity(WARM_UP + count);
        for _ in 0..WARM_UP {
            talks.push(C::turns(contender.open(0).await, 1).await);
        }
        tokio::time::sleep(SETTLE).await;
        let before = resident();
        for _ in 0..count {
            talks.push(C::turns(contender.open(0).await, 1).await);
        }
        tokio::time::sleep(SETTLE).await;
        (resident() - before) / count as f64
    });
    runtime.block_on(opening).unwrap()
}

/// This process's resident memory in KiB: exact here, while `statm` lags behind.
pub(super) fn resident() -> f64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let figure = line.and_then(|line| line.trim().strip_suffix(" kB"));
    figure.unwrap().trim().parse().unwrap()
}
