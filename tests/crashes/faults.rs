//! A system that fails: calls return errors, are interrupted, slow, or the last thing that the
//! program does. `strace` injects it; where that is missing, nothing is shown here. A side that
//! stops is started again, and in the end both have the whole conversation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Value, json};

use crate::side::{Homes, Side, Told, Who, port};
use crate::{PATIENCE, assert_whole, number};

/// The turns of a conversation.
const TURNS: u64 = 16;
/// Lives of each side that something fails in.
const FAULTY_LIVES: u32 = 3;
/// More are a sign that nothing goes on.
const LIVES: u32 = 60;
/// The link counts as lost after 60 s of silence (PROTOCOL 5.1).
const STOPPED: Duration = Duration::from_secs(75);

/// What fails, in which calls, and how; `N` and `K` are drawn: from the N-th call of a thread on,
/// and each K-th after it.
const FAULTS: [(&str, &str, &str); 12] = [
    ("the disk fails", "fdatasync,fsync", "error=EIO:when=N+"),
    ("the disk fails once", "fdatasync", "error=EIO:when=N"),
    ("the disk is full", "pwrite64", "error=ENOSPC:when=N+"),
    (
        "the disk is full at times",
        "pwrite64",
        "error=ENOSPC:when=N+K",
    ),
    (
        "the disk is slow",
        "fdatasync",
        "delay_exit=300000:when=N+K",
    ),
    ("killed before it writes", "pwrite64", "signal=KILL:when=N"),
    ("killed before it syncs", "fdatasync", "signal=KILL:when=N"),
    (
        "calls are interrupted",
        "read,write,recvfrom,sendto,writev,epoll_wait,accept4,fdatasync,pwrite64",
        "error=EINTR:when=N+K",
    ),
    (
        "there are no descriptors",
        "accept4,socket",
        "error=EMFILE:when=N+K",
    ),
    (
        "the link fails",
        "recvfrom,sendto,writev",
        "error=ECONNRESET:when=N+K",
    ),
    (
        "the network is slow",
        "recvfrom,sendto,writev",
        "delay_enter=50000:when=N+K",
    ),
    ("a write is torn, and the rest of it fails", TORN, ""),
];

/// Where no file may be longer, so much of a write is done as there is room for, and no more
/// (setrlimit(2), `RLIMIT_FSIZE`).
const TORN: &str = "prlimit";
/// Where a record's two slots begin, and more than a short message takes of one, in bytes.
const SLOTS: [u32; 2] = [0, 4_096];
const SLOT: u32 = 600;

fn strace(calls: &str, how: &str) -> Vec<String> {
    // -D: the program stays our child, and its signals its own.
    let quiet = ["strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e"];
    let quiet = quiet.map(str::to_owned).into_iter();
    let trace = format!("trace={calls}");
    quiet
        .chain([trace, "-e".to_owned(), format!("inject={calls}:{how}")])
        .collect()
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

struct Round {
    rng: TestRng,
    server: Side,
    client: Side,
    told: Receiver<Told>,
    conversation: Option<Value>,
    /// Whether the server listens in its present life.
    is_listening: bool,
    /// The client has stopped, and waits for the server.
    is_client_down: bool,
    counted: BTreeMap<&'static str, u32>,
    progress: Instant,
    /// What starts a side where nothing is to fail.
    wrapper: Vec<String>,
    /// In so many lives of each side something fails.
    faulty_lives: u32,
}

impl Round {
    fn new(seed: u64, homes: &Homes) -> Self {
        let (tell, told) = channel();
        let mut server = Side::start(Who::Server, homes.server(0), tell.clone());
        let port = port(&told);
        server.with_arguments(homes.server(port));
        let client = Side::start(Who::Client, homes.client(port), tell);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            rng: TestRng::from_seed(RngAlgorithm::ChaCha, &bytes),
            server,
            client,
            told,
            conversation: None,
            is_listening: true,
            is_client_down: false,
            counted: BTreeMap::new(),
            progress: Instant::now(),
            wrapper: Vec::new(),
            faulty_lives: 0,
        }
    }

    fn below(&mut self, end: u32) -> u32 {
        self.rng.next_u32() % end
    }

    fn is_over(&self) -> bool {
        self.server.ended.is_some() && self.client.ended.is_some()
    }

    /// The next life of this side, in which something may fail.
    fn restart(&mut self, who: Who) {
        let fault = FAULTS[self.below(FAULTS.len() as u32) as usize];
        let (from, each) = (1 + self.below(12), 2 + self.below(12));
        let longest = SLOTS[self.below(2) as usize] + self.below(SLOT);
        let side = match who {
            Who::Server => &mut self.server,
            Who::Client => &mut self.client,
        };
        let is_faulty = side.lives <= self.faulty_lives;
        side.with_wrapper(match is_faulty {
            true => {
                let (name, calls, how) = fault;
                *self.counted.entry(name).or_default() += 1;
                match calls {
                    TORN => vec![TORN.to_owned(), format!("--fsize={longest}")],
                    _ => {
                        let how = how.replace('N', &from.to_string());
                        strace(
                            calls,
                            &how.replace("KILL", "9").replace('K', &each.to_string()),
                        )
                    }
                }
            }
            false => self.wrapper.clone(),
        });
        side.crash();
        assert!(side.lives < LIVES, "{who:?} does not get on");
        if who == Who::Server {
            self.is_listening = false;
        }
    }

    /// Once the conversation is on, both sides are started again.
    fn begin_anew(&mut self) {
        while self.client.heard.is_empty() {
            self.step(PATIENCE);
        }
        self.restart(Who::Server);
        self.restart(Who::Client);
    }

    /// What was told next, if anything was within this time.
    fn step(&mut self, within: Duration) {
        let (who, life, event) = match self.told.recv_timeout(within) {
            Ok(told) => told,
            Err(RecvTimeoutError::Timeout) => return,
            Err(error) => panic!("{error}"),
        };
        let side = match who {
            Who::Server => &mut self.server,
            Who::Client => &mut self.client,
        };
        if std::env::var_os("TURNCHAT_FAULT").is_some() {
            let event = event.as_ref().map(Value::to_string);
            eprintln!("{who:?} {life}: {}", event.as_deref().unwrap_or("gone"));
        }
        if life != side.lives {
            return;
        }
        match event {
            Some(event) => {
                if self.note(who, &event) {
                    self.progress = Instant::now();
                }
            }
            None if side.ended.is_some() => {}
            None if who == Who::Server => self.restart(who),
            // Before turn 1 has come, a client that cannot dial gives up.
            None if self.is_listening => self.restart(who),
            None => self.is_client_down = true,
        }
        if self.is_listening && std::mem::take(&mut self.is_client_down) {
            self.restart(Who::Client);
        }
    }

    /// Whether it is something that the conversation gets on by.
    fn note(&mut self, who: Who, event: &Value) -> bool {
        if event["event"] == "connected" {
            let conversation = self
                .conversation
                .get_or_insert_with(|| event["conversation"].clone());
            if event["conversation"] != *conversation {
                self.end_untold(who);
                return true;
            }
        }
        let is_final = ["me", "peer"].iter().any(|by| event["by"] == *by);
        match event["event"].as_str().unwrap() {
            "listening" => {
                self.is_listening = true;
                false
            }
            // Its store has the end.
            "refused" if event["reason"] == "ended" => {
                self.end_untold(who);
                true
            }
            // It says what has failed, and stops; a restart goes on.
            "error" => false,
            "ended" if !is_final => false,
            _ => {
                let side = match who {
                    Who::Server => &mut self.server,
                    Who::Client => &mut self.client,
                };
                let before = (side.heard.len(), side.said);
                side.on(event, TURNS);
                (side.heard.len(), side.said) != before || side.ended.is_some()
            }
        }
    }

    /// Where the client's quit is the last thing that a side could do, nobody may have told it
    /// that all is over.
    fn end_untold(&mut self, who: Who) {
        let last = self.client.heard.keys().last().copied().unwrap_or(0);
        assert!(last > TURNS, "{who:?} has given it up");
        let ended = Some(json!({ "turns": last }));
        (self.server.ended, self.client.ended) = (ended.clone(), ended);
    }

    fn play_to_the_end(&mut self) {
        while !self.is_over() {
            self.step(PATIENCE);
            self.assert_progress();
        }
        self.assert_whole();
    }

    fn assert_progress(&self) {
        assert!(
            self.progress.elapsed() < 2 * PATIENCE,
            "nothing goes on: {:?}, {:?}",
            self.counted,
            [&self.server, &self.client].map(|side| (side.lives, side.said, &side.heard))
        );
    }

    fn assert_whole(&self) {
        let turns = |side: &Side| side.ended.as_ref().unwrap()["turns"].as_u64().unwrap();
        assert_eq!(turns(&self.server), turns(&self.client));
        assert_whole(&self.server, &self.client, turns(&self.server));
    }
}

/// Says which round it was that failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("This was TURNCHAT_FAULT={}", self.0);
        }
    }
}

fn play(seed: u64) -> BTreeMap<&'static str, u32> {
    let _seed = Seed(seed);
    let homes = Homes::new();
    let mut round = Round::new(seed, &homes);
    round.faulty_lives = FAULTY_LIVES;
    round.begin_anew();
    round.play_to_the_end();
    round.counted
}

#[test]
fn a_conversation_survives_a_system_that_fails() {
    if !is_there("strace") {
        return eprintln!("not shown: strace is not installed");
    }
    if let Ok(seed) = std::env::var("TURNCHAT_FAULT") {
        let counted = play(seed.parse().unwrap());
        return eprintln!("{counted:?}");
    }
    let rounds = number("TURNCHAT_FAULTS", 8);
    let next = AtomicU64::new(0);
    let mut counted = BTreeMap::new();
    let worker = || {
        let mut all = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= rounds {
                return all;
            }
            all.extend(play(seed));
        }
    };
    thread::scope(|scope| {
        let workers = [(); 4].map(|()| scope.spawn(worker));
        for worker in workers {
            for (name, times) in worker.join().unwrap() {
                *counted.entry(name).or_insert(0) += times;
            }
        }
    });
    eprintln!("{rounds} conversations; lives in which");
    for (name, times) in counted {
        eprintln!("  {name}: {times}");
    }
}

/// Both sides in turn are stopped for longer than a link may be silent.
#[test]
fn a_conversation_survives_a_side_that_stands_still() {
    let times = number("TURNCHAT_STOPS", 0);
    let homes = Homes::new();
    let mut round = Round::new(0, &homes);
    for time in 0..times {
        while round.client.heard.len() as u64 <= time {
            round.step(PATIENCE);
        }
        let still = match time % 2 {
            0 => Who::Server,
            _ => Who::Client,
        };
        let signal = |round: &Round, signal| match still {
            Who::Server => round.server.send(signal),
            Who::Client => round.client.send(signal),
        };
        signal(&round, Signal::SIGSTOP);
        let until = Instant::now() + STOPPED;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            round.step(left);
        }
        signal(&round, Signal::SIGCONT);
        round.progress = Instant::now();
    }
    round.play_to_the_end();
}

/// The clock on the wall jumps by years, forth and back, at each turn.
#[test]
fn a_conversation_does_not_mind_the_clock() {
    let libraries = [
        "/usr/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ];
    let found = libraries
        .iter()
        .map(|dir| format!("{dir}/faketime/libfaketimeMT.so.1"));
    let Some(library) = found
        .into_iter()
        .find(|library| Path::new(library).is_file())
    else {
        return eprintln!("not shown: libfaketime is not installed");
    };
    let homes = Homes::new();
    let clock = homes.path("clock");
    fs::write(&clock, "+0d").unwrap();
    let mut round = Round::new(0, &homes);
    let environment = [
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    round.wrapper = [&["env".to_owned()][..], &environment].concat();
    round.begin_anew();
    let mut turns = 0;
    while !round.is_over() {
        round.step(PATIENCE);
        if std::mem::replace(&mut turns, round.client.heard.len()) != turns {
            let jump = ["+4000d", "-4000d", "+0d", "+1d"][turns % 4];
            fs::write(&clock, jump).unwrap();
        }
        round.assert_progress();
    }
    round.assert_whole();
}
