//! A turn and its reply.

use tokio::runtime::Runtime;

use super::contender::{Contender, Sides, text};
use super::rounds::{Contestant, Table, Unit, interleave};
use super::{Effort, bare, ours, timed};

/// Sizes of a message, and turns of it a round.
const SIZES: [(usize, usize); 4] = [(64, 400), (1024, 400), (16 * 1024, 150), (64 * 1024, 50)];

pub(crate) fn measure(runtime: &Runtime, effort: Effort, table: &mut Table) {
    let _in = runtime.enter();
    for (bytes, count) in SIZES {
        let (sides, text, count) = (Sides::new(), text(bytes), effort.of(count));
        let bare = || turns(runtime, bare::Host::start(&sides, &text, None), count);
        let ours = turns(runtime, ours::House::start(&sides, &text, None), count);
        let rounds = interleave(effort.rounds, [ours, bare(), bare()]);
        let size = match bytes {
            1024.. => format!("{} KiB", bytes / 1024),
            _ => format!("{bytes} B"),
        };
        table.row(&format!("turn and reply, {size}"), Unit::Time, &rounds);
    }
}

/// So many turns a round in a new conversation, and the time of one: where the
/// runtime happens to run a conversation's tasks can double its time.
fn turns<C: Contender>(runtime: &Runtime, contender: C, count: usize) -> Contestant<'_> {
    Box::new(move || {
        let talk = runtime.block_on(async { C::turns(contender.open(0).await, count / 10).await });
        let (time, _) = timed(runtime, C::turns(talk, count));
        time.as_secs_f64() / count as f64
    })
}
