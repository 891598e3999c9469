//! A turn and its reply with a journal on each side, beside bare turns that
//! sync a small file as often.

use std::path::Path;

use tokio::runtime::Runtime;

use super::contender::{Contender, Sides, text};
use super::disk::{HEARD, SAYS};
use super::rounds::{Contestant, Table, Unit, interleave};
use super::{Effort, bare, ours, timed};

const TURNS: usize = 5;

pub(crate) fn measure(runtime: &Runtime, effort: Effort, table: &mut Table) {
    let _in = runtime.enter();
    // On the disk that the build is on: where there is a tmpfs, syncs cost nothing.
    let dir = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let (sides, text, count) = (Sides::new(), text(64), effort.of(TURNS));
    let syncs_in = Some(dir.path());
    let bare = || turns(runtime, bare::Host::start(&sides, &text, syncs_in), count);
    let ours = turns(runtime, ours::House::start(&sides, &text, syncs_in), count);
    let rounds = interleave(effort.rounds, [ours, bare(), bare()]);
    let syncs = 2 * (SAYS + HEARD);
    let what = format!("journaled turn and reply, 64 B; base: {syncs} syncs");
    table.row(&what, Unit::Time, &rounds);
}

/// So many turns a round, all in one conversation: a journal goes on with it.
fn turns<C: Contender>(runtime: &Runtime, contender: C, count: usize) -> Contestant<'_> {
    let mut open = Some(runtime.block_on(contender.open(0)));
    Box::new(move || {
        let _stays = &contender;
        let talk = open.take().unwrap();
        let (time, talk) = timed(runtime, C::turns(talk, count));
        open = Some(talk);
        time.as_secs_f64() / count as f64
    })
}
