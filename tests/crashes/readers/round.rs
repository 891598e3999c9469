//! One round: two programs that talk, and what is done to their readers, until the
//! conversation has ended in order or cannot go on.

use std::fmt;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::json;

use super::diary::{Diary, plain};
use super::life::{FULL, Life, Told, Word};
use super::{Random, Trace};
use crate::PATIENCE;
use crate::side::{Homes, Who};

/// More lives than a round can need.
const LIVES: u32 = 40;

/// One side, over all of its lives.
struct Side {
    who: Who,
    has_journal: bool,
    is_json: bool,
    arguments: Vec<String>,
    life: Option<Life>,
    lives: u32,
    /// Its next life has no room for what it writes.
    is_full_next: bool,
    /// Its pause ends then.
    goes_on: Option<Instant>,
    /// The life before ended in order.
    is_done: bool,
    diary: Diary,
}

/// What was done.
#[derive(Default)]
pub(super) struct Figures {
    lives: u64,
    shown: u64,
    closed: u64,
    full: u64,
    paused: u64,
    slow: u64,
    killed: u64,
    quits: u64,
}

pub(super) struct Round {
    homes: Homes,
    server: Side,
    client: Side,
    /// Where the server listens, while it does.
    port: u16,
    is_listening: bool,
    /// Its life in which a client was served to its end.
    served: u32,
    /// The last turn; who is next ends the conversation.
    last: u64,
    rng: Random,
    /// Failures to come; after so many words, and so long.
    failures: u32,
    words_left: u32,
    due: Option<Instant>,
    tell: Sender<Told>,
    told: Receiver<Told>,
    figures: Figures,
    trace: Trace,
}

impl Side {
    fn new(who: Who, has_journal: bool, is_json: bool, is_full: bool) -> Self {
        Self {
            who,
            has_journal,
            is_json,
            arguments: Vec::new(),
            life: None,
            lives: 0,
            is_full_next: is_full && Path::new(FULL).exists(),
            goes_on: None,
            is_done: false,
            diary: Diary::new(who),
        }
    }

    fn with_arguments(&mut self, mut arguments: Vec<String>) {
        let journal = match self.has_journal {
            true => "--journal",
            false => "--no-journal",
        };
        arguments.extend([journal.to_owned(), "-v".to_owned()]);
        if !self.is_json {
            arguments.retain(|argument| argument != "--json");
            if self.who == Who::Server {
                arguments.push("--once".to_owned());
            }
        }
        self.arguments = arguments;
    }

    fn is_running(&self) -> bool {
        self.life.is_some()
    }
}

impl Round {
    pub(super) fn new(seed: u64, mut rng: Random, trace: Trace) -> Self {
        let mut side = |who, has_journal: bool| {
            let is_json = has_journal || rng.below(2) == 0;
            Side::new(who, has_journal, is_json, rng.below(12) == 0)
        };
        // All four ways of journals, in turn.
        let server = side(Who::Server, seed & 1 == 0);
        let client = side(Who::Client, seed & 2 == 0);
        let (tell, told) = channel();
        Self {
            homes: Homes::new(),
            server,
            client,
            port: 0,
            is_listening: false,
            served: 0,
            last: 3 + u64::from(rng.below(6)),
            failures: 1 + rng.below(4),
            words_left: rng.below(30),
            due: None,
            rng,
            tell,
            told,
            figures: Figures::default(),
            trace,
        }
    }

    pub(super) fn play(mut self) -> Figures {
        self.trace.note(format!(
            "server: journal {}, json {}; client: journal {}, json {}",
            self.server.has_journal,
            self.server.is_json,
            self.client.has_journal,
            self.client.is_json
        ));
        while self.goes_on() {
            self.step();
        }
        // Between conversations the end of its input ends a server.
        (self.failures, self.due) = (0, None);
        if let Some(life) = &mut self.server.life {
            match self.server.is_json {
                true => life.end_input(),
                false => drop(life.kill()),
            }
        }
        while self.server.is_running() {
            self.step();
        }
        self.server.diary.check(&self.client.diary);
        self.client.diary.check(&self.server.diary);
        let shown = [&self.server, &self.client].map(|side| side.diary.shown());
        self.figures.shown = shown.iter().sum();
        self.figures
    }

    /// Starts whoever has to be there; false once there is nothing left to do.
    fn goes_on(&mut self) -> bool {
        let is_client_done = !self.client.is_running() && self.client.is_done;
        let has_open = self.server.diary.open.is_some();
        let is_server_done = match (&self.server.life, self.server.has_journal) {
            (Some(life), true) => {
                let is_served = self.served == life.number || self.server.diary.is_settled();
                !has_open && !life.is_spoiled && is_served
            }
            (Some(_), false) => !has_open,
            (None, has_journal) => !has_journal || self.server.is_done,
        };
        if is_client_done && is_server_done {
            return false;
        }
        match &mut self.server.life {
            // A reader that is gone, and nothing comes that it could miss.
            Some(life) if life.is_spoiled && is_client_done && !has_open => {
                let _ = life.kill();
            }
            Some(life) if self.is_listening && !self.client.is_running() => {
                if is_client_done {
                    // Read slowly, it would be behind by a conversation for ever.
                    life.go_on();
                }
                let arguments = self.homes.client(self.port);
                self.start(Who::Client, arguments);
            }
            Some(_) => {}
            None if !self.client.is_running() || !self.server.is_done => {
                let arguments = self.homes.server(self.port);
                self.start(Who::Server, arguments);
            }
            None => {}
        }
        true
    }

    fn side(&mut self, who: Who) -> &mut Side {
        match who {
            Who::Server => &mut self.server,
            Who::Client => &mut self.client,
        }
    }

    fn start(&mut self, who: Who, arguments: Vec<String>) {
        let tell = self.tell.clone();
        let last = self.last;
        let side = self.side(who);
        side.with_arguments(arguments);
        side.lives += 1;
        assert!(side.lives < LIVES, "{who:?} comes to no end");
        let is_full = std::mem::take(&mut side.is_full_next);
        side.diary.begin(side.lives, side.is_json);
        let mut life = Life::start(who, side.lives, &side.arguments, is_full, &tell);
        if !side.is_json {
            let first = if who == Who::Server { 1 } else { 2 };
            for turn in (first..=last).step_by(2) {
                life.enter(side.diary.compose(&plain(side.lives), turn, side.lives));
            }
            life.end_input();
        }
        side.life = Some(life);
        let lives = side.lives;
        self.figures.lives += 1;
        self.figures.full += u64::from(is_full);
        self.trace.note(format!(
            "{who:?} starts, life {lives}{}",
            if is_full { ", full" } else { "" }
        ));
    }

    /// Waits for a word, or for what is due.
    fn step(&mut self) {
        let now = Instant::now();
        if self.failures > 0 && self.words_left == 0 && self.due.is_none() {
            self.due = Some(now + Duration::from_micros(self.rng.below(3_000).into()));
        }
        let pauses = [self.server.goes_on, self.client.goes_on];
        let next = pauses.into_iter().chain([self.due]).flatten().min();
        let wait = next.map_or(PATIENCE, |next| next.saturating_duration_since(now));
        match self.told.recv_timeout(wait) {
            Ok((who, life, word)) => self.hear(who, life, word),
            Err(RecvTimeoutError::Timeout) if next.is_some() => self.pass(),
            Err(error) => panic!("nothing goes on: {error}"),
        }
    }

    /// Does what is due.
    fn pass(&mut self) {
        let now = Instant::now();
        for who in [Who::Server, Who::Client] {
            let side = self.side(who);
            if side.goes_on.is_some_and(|at| at <= now) {
                side.goes_on = None;
                if let Some(life) = &mut side.life {
                    life.go_on();
                }
                self.trace.note(format!("{who:?} is read again"));
            }
        }
        if self.due.is_some_and(|at| at <= now) {
            self.due = None;
            self.failures -= 1;
            self.words_left = self.rng.below(12);
            self.fail();
        }
    }

    fn fail(&mut self) {
        let (who, side) = match self.rng.below(2) {
            0 => (Who::Server, &mut self.server),
            _ => (Who::Client, &mut self.client),
        };
        let what = self.rng.below(12);
        let pause = Duration::from_micros(self.rng.below(40_000).into());
        let figures = &mut self.figures;
        let Some(life) = &mut side.life else {
            return;
        };
        let told = match what {
            0..=3 => {
                figures.closed += u64::from(life.close());
                "is closed"
            }
            4..=6 => {
                life.pause();
                side.goes_on = Some(Instant::now() + pause);
                figures.paused += 1;
                "is paused"
            }
            7 => {
                life.slow_down();
                figures.slow += 1;
                "is slow"
            }
            8..=10 => {
                figures.killed += u64::from(life.kill());
                side.is_full_next = what == 10 && Path::new(FULL).exists();
                "is killed"
            }
            _ if side.is_json => {
                let conversation = side.diary.open.as_deref();
                life.enter(json!({"quit": {"conversation": conversation}}).to_string());
                figures.quits += 1;
                "quits"
            }
            _ => return,
        };
        self.trace.note(format!("{who:?} {told}"));
    }

    fn hear(&mut self, who: Who, life: u32, word: Word) {
        self.words_left = self.words_left.saturating_sub(1);
        let last = self.last;
        match word {
            Word::Line(line) => {
                self.trace.note(format!("{who:?} > {line:.200}"));
                let side = self.side(who);
                let is_json = side.is_json;
                let Some(event) = side.diary.line(&line, life, is_json) else {
                    return;
                };
                if event["event"] == "your-turn" {
                    let turn = event["turn"].as_u64().unwrap();
                    let conversation = event["conversation"].as_str().unwrap();
                    let command = match turn > last {
                        true => json!({"quit": {"conversation": conversation}}),
                        false => {
                            let text = side.diary.compose(conversation, turn, life);
                            json!({"say": {
                                "text": text, "turn": turn, "conversation": conversation
                            }})
                        }
                    };
                    if let Some(life) = &side.life {
                        life.enter(command.to_string());
                    }
                } else if event["event"] == "ended" {
                    side.is_done = ["me", "peer"].contains(&event["by"].as_str().unwrap());
                }
            }
            Word::Aside(line) => {
                self.trace.note(format!("{who:?} : {line}"));
                if let Some(address) = line.strip_prefix("Listening on ") {
                    self.port = address.rsplit(':').next().unwrap().parse().unwrap();
                    self.is_listening = true;
                }
                self.side(who).diary.aside(&line);
            }
            Word::End => self.end(who),
        }
    }

    fn end(&mut self, who: Who) {
        let side = self.side(who);
        let mut life = side.life.take().unwrap();
        side.goes_on = None;
        let code = life.exit_code();
        side.diary.end(life.number, code, side.is_json);
        let is_alright = match code {
            Some(0 | 4) => true,
            Some(1) | None => life.is_spoiled,
            Some(6) => who == Who::Client,
            Some(_) => false,
        };
        if code.is_none() && !side.has_journal {
            side.diary.forgotten.insert(life.number);
        }
        // Without a journal a client does not go on.
        side.is_done = match who {
            Who::Server => !life.is_spoiled,
            Who::Client => !side.has_journal || (side.is_done && !life.is_spoiled),
        };
        let is_done = side.is_done;
        self.trace
            .note(format!("{who:?} ends: {code:?}, done: {is_done}"));
        assert!(is_alright, "{who:?} ends: {code:?}");
        match (who, &self.server.life) {
            (Who::Server, _) => self.is_listening = false,
            (Who::Client, Some(server)) if code == Some(0) => self.served = server.number,
            (Who::Client, _) => {}
        }
    }
}

impl Figures {
    pub(super) fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.shown += other.shown;
        self.closed += other.closed;
        self.full += other.full;
        self.paused += other.paused;
        self.slow += other.slow;
        self.killed += other.killed;
        self.quits += other.quits;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lives, {} messages shown; readers {} times closed, {} full, {} paused, {} slow; {} kills, {} quits",
            self.lives,
            self.shown,
            self.closed,
            self.full,
            self.paused,
            self.slow,
            self.killed,
            self.quits
        )
    }
}
