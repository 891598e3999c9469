//! What turnchat costs beside bare tokio-rustls with the same TLS settings.
//! docs/BENCHMARKS.md explains the figures.
//!
//! The harness is our own because criterion and divan cannot interleave two
//! contenders, and on a shared machine only interleaved rounds compare.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and may stop at the first surprise"
)]

mod bare;
mod contender;
mod disk;
mod idle;
mod journal;
mod ours;
mod rounds;
mod short;
mod start;
mod strangers;
mod talk;

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use tokio::runtime::{Builder, Runtime};

use contender::{Contender, Sides, text};
use rounds::Table;
use strangers::Stranger;

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// A turn and its reply.
    Turns,
    /// Short conversations.
    Short,
    /// Memory of idle conversations.
    Idle,
    /// Memory of connections that say nothing.
    Strangers,
    /// A turn and its reply with journals.
    Journal,
    /// The program from its start to its first line.
    Start,
}

/// Who is asked to hold turns, or idle conversations.
#[derive(Clone, Copy, ValueEnum)]
enum Who {
    Ours,
    Bare,
}

#[derive(Parser)]
struct Arguments {
    /// What to measure [default: everything]
    measures: Vec<Measure>,
    /// How many rounds each measure takes
    #[arg(long, default_value_t = 31)]
    rounds: usize,
    /// Take exactly this many turns and replies, and measure nothing
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// With --count: bytes of each message
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    size: usize,
    /// Hold this many idle conversations, and print the KiB of each
    #[arg(long, value_name = "N")]
    idle: Option<usize>,
    /// With --idle: connections that have done this, and say nothing
    #[arg(long)]
    strangers: Option<Stranger>,
    /// Who does what --count or --idle says
    #[arg(long, default_value = "ours")]
    contender: Who,
    /// With --count: keep journals
    #[arg(long)]
    journal: bool,
    /// With --count: short conversations instead, one by one
    #[arg(long, conflicts_with = "journal")]
    short: bool,
    /// The program whose start is measured
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_turnchat"))]
    program: PathBuf,
    /// One tiny round of everything
    #[arg(long)]
    test: bool,
    /// Passed by Cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much work is done.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    is_tiny: bool,
}

impl Effort {
    /// This much, unless it is a mere test.
    fn of(self, much: usize) -> usize {
        if self.is_tiny { 2 } else { much }
    }
}

fn main() {
    // `cargo test` runs benches too, with arguments for its own harness.
    let is_bench = env::args().any(|argument| argument == "--bench");
    let arguments = match is_bench {
        true => Arguments::parse(),
        false => Arguments::parse_from(["turns", "--test"]),
    };
    let runtime = runtime();
    if let Some(count) = arguments.count {
        return hold(&runtime, &arguments, count);
    }
    if let Some(count) = arguments.idle {
        let (ours, bare) = (&ours::House::start, &bare::Host::start);
        let each = match (arguments.contender, arguments.strangers) {
            (Who::Ours, None) => idle::grown(&runtime, ours, count),
            (Who::Bare, None) => idle::grown(&runtime, bare, count),
            (Who::Ours, Some(what)) => strangers::grown(&runtime, ours, count, what),
            (Who::Bare, Some(what)) => strangers::grown(&runtime, bare, count, what),
        };
        println!("{each}");
        return;
    }
    let effort = Effort {
        rounds: if arguments.test { 1 } else { arguments.rounds },
        is_tiny: arguments.test,
    };
    let is_asked = |measure| arguments.measures.is_empty() || arguments.measures.contains(&measure);
    let mut table = Table::begin();
    for &measure in Measure::value_variants().iter().filter(|it| is_asked(**it)) {
        match measure {
            Measure::Turns => talk::measure(&runtime, effort, &mut table),
            Measure::Short => short::measure(&runtime, effort, &mut table),
            Measure::Idle => idle::measure(effort, &mut table),
            Measure::Strangers => strangers::measure(effort, &mut table),
            Measure::Journal => journal::measure(&runtime, effort, &mut table),
            Measure::Start => start::measure(&arguments.program, effort, &mut table),
        }
    }
}

/// Two workers.
fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// Runs the client's end on this thread, and says how long it took. The
/// server's is on the workers, so that each message passes between threads.
fn timed<T>(runtime: &Runtime, work: impl Future<Output = T>) -> (Duration, T) {
    let begun = Instant::now();
    let done = runtime.block_on(work);
    (begun.elapsed(), done)
}

/// Exactly so many turns and replies, or short conversations, to be counted from outside.
fn hold(runtime: &Runtime, arguments: &Arguments, count: usize) {
    async fn turns<C: Contender + Sync>(contender: C, count: usize, short: bool) {
        if short {
            // As they are measured: the client's end is on a worker too.
            let shorts = async move {
                for _ in 0..count {
                    contender.short(0).await;
                }
            };
            return tokio::spawn(shorts).await.unwrap();
        }
        let talk = contender.open(0).await;
        C::turns(talk, count).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = arguments.journal.then(|| directory.path());
    let (sides, text) = (Sides::new(), text(arguments.size));
    let _in = runtime.enter();
    let short = arguments.short;
    match arguments.contender {
        Who::Ours => {
            let contender = ours::House::start(&sides, &text, directory);
            runtime.block_on(turns(contender, count, short));
        }
        Who::Bare => {
            let contender = bare::Host::start(&sides, &text, directory);
            runtime.block_on(turns(contender, count, short));
        }
    }
}
