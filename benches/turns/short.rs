//! Conversations of one turn each, from the dial to the end.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::contender::{CLIENTS, Contender, Sides, text};
use super::rounds::{Contestant, Table, Unit, interleave};
use super::{Effort, bare, ours, timed};

/// How many talk at once, and how many each of them holds in a round.
const CROWDS: [(usize, usize); 2] = [(1, 30), (CLIENTS, 3)];

pub(crate) fn measure(runtime: &Runtime, effort: Effort, table: &mut Table) {
    let _in = runtime.enter();
    let (sides, text) = (Sides::new(), text(64));
    for (at_once, each) in CROWDS {
        let each = effort.of(each);
        let bare = || {
            short(
                runtime,
                bare::Host::start(&sides, &text, None),
                at_once,
                each,
            )
        };
        let ours = ours::House::start(&sides, &text, None);
        let ours = short(runtime, ours, at_once, each);
        let rounds = interleave(effort.rounds, [ours, bare(), bare()]);
        let crowd = match at_once {
            1 => "one by one".to_owned(),
            _ => format!("{at_once} at once"),
        };
        let what = format!("short conversation, {crowd}");
        table.row(&what, Unit::Rate, &rounds);
    }
}

fn short<C: Contender + Sync>(
    runtime: &Runtime,
    contender: C,
    at_once: usize,
    each: usize,
) -> Contestant<'_> {
    let contender = Arc::new(contender);
    Box::new(move || {
        let contender = Arc::clone(&contender);
        let (time, ()) = timed(runtime, async move {
            let mut crowd = JoinSet::new();
            for who in 0..at_once {
                let contender = Arc::clone(&contender);
                crowd.spawn(async move {
                    for _ in 0..each {
                        contender.short(who).await;
                    }
                });
            }
            while let Some(done) = crowd.join_next().await {
                done.unwrap();
            }
        });
        time.as_secs_f64() / (at_once * each) as f64
    })
}
