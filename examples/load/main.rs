//! Holds many conversations open, and prints what they cost beside as many bare TLS connections:
//! `cargo run --release --example load`. docs/BENCHMARKS.md explains the figures.
//!
//! Each figure is that of two processes of their own, one for each end, over loopback: this
//! program starts itself again for them. Linux only, since it reads /proc.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement prints, and may stop at the first surprise"
)]

mod bare;
mod ours;
mod process;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;
use turnchat::KeyId;

use process::Process;

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Who {
    Ours,
    Bare,
}

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    end: Option<End>,
    /// How many conversations are open
    #[arg(long, value_delimiter = ',', default_value = "10,500,5000")]
    conversations: Vec<usize>,
    /// How many rounds
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many turns, each with its reply, all conversations of a round take together
    #[arg(long, default_value_t = 20_000)]
    turns: usize,
    /// For how many seconds nobody speaks, and pings go once a second
    #[arg(long, default_value_t = 10)]
    idle: u64,
    /// Write the medians to this file, as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// One end of what is measured: started by this program itself.
#[derive(Subcommand)]
enum End {
    /// The server's, until its input ends.
    Serve { who: Who },
    /// The clients', with a server of its own.
    Talk {
        who: Who,
        conversations: usize,
        turns: usize,
        idle: u64,
    },
}

/// After this much silence a side pings. So often only to have something to measure.
const PING_AFTER: Duration = Duration::from_secs(1);
/// Bytes of a message.
const MESSAGE: usize = 64;
/// These come first, for what a process needs once.
const WARM_UP: usize = 10;
/// Until both ends have done what follows a turn.
const SETTLE: Duration = Duration::from_millis(300);
/// How many conversations take a turn at the same time.
const AT_ONCE: usize = 8;
/// Conversations of each key.
const OF_A_KEY: usize = 100;

/// A client's end of something that can be measured.
trait Talk: Sized + Send + 'static {
    type Clients: Send + Sync + 'static;

    /// With this many keys, for a server with this key at this port.
    fn clients(keys: usize, server: KeyId, port: u16) -> Self::Clients;

    /// Connects as this client, and takes a turn and its reply.
    fn open(clients: &Self::Clients, client: usize) -> impl Future<Output = Self> + Send;

    /// A turn and its reply.
    fn turn(self) -> impl Future<Output = Self> + Send;

    /// Says nothing for so long, and answers and sends pings.
    fn idle(self, time: Duration) -> impl Future<Output = Self> + Send;
}

/// What one conversation costs, both ends together.
#[derive(Clone, Copy)]
struct Costs {
    /// Resident memory, KiB.
    memory: f64,
    /// CPU time of a turn and its reply, µs.
    turn: f64,
    /// CPU time of an idle second, µs.
    idle: f64,
}

impl Costs {
    fn read(line: &str) -> Self {
        let mut figures = line
            .split_whitespace()
            .map(|figure| figure.parse().unwrap());
        let mut next = || figures.next().unwrap();
        Self {
            memory: next(),
            turn: next(),
            idle: next(),
        }
    }

    fn medians(of: &[Self]) -> Self {
        let median = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<_> = of.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            *figures.get(figures.len() / 2).unwrap()
        };
        Self {
            memory: median(|of| of.memory),
            turn: median(|of| of.turn),
            idle: median(|of| of.idle),
        }
    }
}

fn main() {
    let arguments = Arguments::parse();
    match arguments.end {
        None => measure(&arguments),
        Some(End::Serve { who }) => runtime().block_on(async {
            match who {
                Who::Ours => ours::serve().await,
                Who::Bare => bare::serve().await,
            }
        }),
        Some(End::Talk {
            who,
            conversations,
            turns,
            idle,
        }) => {
            let costs = match who {
                Who::Ours => talk::<ours::Talk>(who, conversations, turns, idle),
                Who::Bare => talk::<bare::Talk>(who, conversations, turns, idle),
            };
            println!("{} {} {}", costs.memory, costs.turn, costs.idle);
        }
    }
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// Ours, bare and bare again by turns, and the table of what they came to.
fn measure(arguments: &Arguments) {
    let most = arguments.conversations.iter().max().copied().unwrap_or(0);
    process::allow_descriptors(most + 100);
    let contestants = [Who::Ours, Who::Bare, Who::Bare];
    let mut csv =
        String::from("contender,conversations,memory_kib,turn_cpu_us,idle_cpu_us_a_second\n");
    println!(
        "| conversations | KiB of each | CPU of a turn, µs | CPU of an idle second of each, µs |"
    );
    println!("|---|---|---|---|");
    for &count in &arguments.conversations {
        let mut rounds = contestants.map(|_| Vec::new());
        for round in 0..arguments.rounds {
            for place in 0..contestants.len() {
                let place = (place + round) % contestants.len();
                if let (Some(who), Some(of)) = (contestants.get(place), rounds.get_mut(place)) {
                    of.push(elsewhere(*who, count, arguments));
                }
            }
        }
        let medians = rounds.map(|of| Costs::medians(&of));
        for (name, of) in ["ours", "bare", "bare again"].iter().zip(medians) {
            let Costs { memory, turn, idle } = of;
            println!("| {count}, {name} | {memory:.1} | {turn:.1} | {idle:.1} |");
            writeln!(csv, "{name},{count},{memory:.2},{turn:.2},{idle:.2}").unwrap();
        }
        let [ours, bare, again] = medians;
        let ratios = |of: Costs| {
            let (memory, turn) = (of.memory / bare.memory, of.turn / bare.turn);
            format!("{memory:.2} | {turn:.2} | {:.2}", of.idle / bare.idle)
        };
        println!("| {count}, ours ÷ bare | {} |", ratios(ours));
        println!("| {count}, bare again ÷ bare | {} |", ratios(again));
    }
    if let Some(file) = &arguments.csv {
        std::fs::write(file, csv).unwrap();
    }
}

/// One measurement, in processes of its own.
fn elsewhere(who: Who, count: usize, arguments: &Arguments) -> Costs {
    let told = Command::new(std::env::current_exe().unwrap())
        .args(["talk", word(who), &count.to_string()])
        .args([arguments.turns.to_string(), arguments.idle.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        told.status.success(),
        "{} {count}: {}",
        word(who),
        told.status
    );
    Costs::read(&String::from_utf8_lossy(&told.stdout))
}

fn word(who: Who) -> &'static str {
    match who {
        Who::Ours => "ours",
        Who::Bare => "bare",
    }
}

/// A server in a process of its own. It ends with its standard input.
fn server(who: Who) -> (Child, KeyId, u16) {
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["serve", word(who)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let told = server.stdout.take().unwrap();
    BufReader::new(told).read_line(&mut line).unwrap();
    let (key, port) = line.trim().split_once(' ').unwrap();
    (server, key.parse().unwrap(), port.parse().unwrap())
}

fn talk<T: Talk>(who: Who, count: usize, turns: usize, idle: u64) -> Costs {
    let (mut server, key, port) = server(who);
    let ends = [Process::this(), Process::of(&server)];
    let memory = || ends.iter().map(Process::resident).sum::<f64>();
    let cpu = || ends.iter().map(Process::cpu).sum::<Duration>();
    let costs = runtime().block_on(async {
        let keys = (WARM_UP + count).div_ceil(OF_A_KEY);
        let clients = T::clients(keys, key, port);
        let mut talks = VecDeque::with_capacity(WARM_UP + count);
        for _ in 0..WARM_UP {
            talks.push_back(T::open(&clients, 0).await);
        }
        sleep(SETTLE).await;
        let before = memory();
        for number in 0..count {
            talks.push_back(T::open(&clients, number % keys).await);
        }
        sleep(SETTLE).await;
        let memory = memory() - before;

        let before = cpu();
        let (mut talks, taken) = take_turns(talks, turns).await;
        let turn = cpu() - before;

        sleep(SETTLE).await;
        // From then on each pings once a second.
        let time = Duration::from_secs(idle);
        let idling: Vec<_> = talks
            .drain(..)
            .map(|talk| tokio::spawn(talk.idle(time + 2 * PING_AFTER)))
            .collect();
        sleep(PING_AFTER).await;
        let before = cpu();
        sleep(time).await;
        let idle = cpu() - before;
        for talk in idling {
            talks.push_back(talk.await.unwrap());
        }
        // All are still there.
        let all = talks.len();
        take_turns(talks, all).await;
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Costs {
            memory: memory / count as f64,
            turn: micros(turn) / taken as f64,
            idle: micros(idle) / time.as_secs_f64() / all as f64,
        }
    });
    drop(server.stdin.take());
    server.wait().unwrap();
    costs
}

/// At least so many turns, one conversation after the other; and how many.
async fn take_turns<T: Talk>(mut talks: VecDeque<T>, turns: usize) -> (VecDeque<T>, usize) {
    let of_each = talks.len().div_ceil(AT_ONCE);
    let mut drivers = Vec::new();
    while !talks.is_empty() {
        let mut some: VecDeque<_> = talks.drain(..of_each.min(talks.len())).collect();
        drivers.push(tokio::spawn(async move {
            let turns = turns.div_ceil(AT_ONCE);
            for _ in 0..turns {
                if let Some(talk) = some.pop_front() {
                    some.push_back(talk.turn().await);
                }
            }
            (some, turns)
        }));
    }
    let mut taken = 0;
    for driver in drivers {
        let (some, turns) = driver.await.unwrap();
        talks.extend(some);
        taken += turns;
    }
    (talks, taken)
}
