//! From keyboard to screen: two people at terminals of the real program, who type, paste and
//! correct themselves while links are cut, programs are killed and stopped, windows are closed
//! and screens stall, all at random.
//!
//! Each word that somebody enters is on the other's screen once, in order, or was named as not
//! sent; and whatever a screen shows as said has arrived.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::harness::{Person, Terminal};

/// A while: longer than a turn takes.
const A_WHILE: Duration = Duration::from_millis(300);

/// A link that can be cut, and is there again at once.
pub(crate) struct Link {
    pub(crate) port: u16,
    on: Arc<Mutex<Vec<TcpStream>>>,
}

impl Link {
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let on: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let all = Arc::clone(&on);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                let ends = [&client, &server].map(|end| end.try_clone().unwrap());
                all.lock().unwrap().extend(ends);
                let back = [&server, &client].map(|end| end.try_clone().unwrap());
                for [mut from, mut to] in [[client, server], back] {
                    thread::spawn(move || {
                        let mut chunk = [0; 4096];
                        while let Ok(read @ 1..) = from.read(&mut chunk) {
                            if to.write_all(&chunk[..read]).is_err() {
                                break;
                            }
                        }
                        let _ = from.shutdown(Shutdown::Both);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { port, on }
    }

    pub(crate) fn cut(&self) {
        for end in self.on.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

/// What stands on a screen: whose words, and which.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Said {
    Mine,
    Theirs,
    /// What comes next was shown before, maybe.
    Again,
    NotSent,
    Other,
}

/// The blocks of a screen: a row with its kind, and those that are indented below it.
fn blocks(rows: &[String]) -> Vec<(Said, String)> {
    let mut blocks: Vec<(Said, String)> = Vec::new();
    for row in rows {
        if let (Some(more), Some((_, text))) = (row.strip_prefix("    "), blocks.last_mut()) {
            text.push_str(more);
            continue;
        }
        let kind = match row.as_str() {
            row if row.starts_with("Your message:") => Said::Mine,
            row if row.starts_with("They say:") => Said::Theirs,
            row if row.starts_with("Not sent:") => Said::NotSent,
            row if row.contains("The last message, if you have not seen it") => Said::Again,
            _ => Said::Other,
        };
        blocks.push((kind, row.clone()));
    }
    blocks
}

/// The words in it that somebody has typed: a letter, a number and a dot.
fn words(text: &str, letter: char) -> Vec<u32> {
    let mut found = Vec::new();
    for piece in text.split(letter).skip(1) {
        let number = piece.split('.').next().filter(|_| piece.contains('.'));
        found.extend(number.and_then(|number| number.parse::<u32>().ok()));
    }
    found
}

/// One of the two.
struct Side {
    letter: char,
    person: Person,
    arguments: Vec<String>,
    terminal: Option<Terminal>,
    /// The screens of those programs that were killed, or whose window was closed.
    broken: Vec<Vec<String>>,
    /// Words typed in the program that runs, and up to where there were some.
    typed: Vec<u32>,
    next: u32,
    is_stalled: bool,
}

impl Side {
    fn start(&mut self) {
        let command = self.person.turnchat(&self.arguments);
        self.terminal = Some(Terminal::tall(command));
        self.is_stalled = false;
        self.typed.clear();
    }

    fn terminal(&self) -> &Terminal {
        self.terminal.as_ref().expect("a program")
    }

    /// Whether what is typed is for the conversation.
    fn is_greeted(rows: &[String]) -> bool {
        let joined = rows.join(" ");
        joined.contains("Connected with") || joined.contains("Going on with")
    }

    /// Whether what is written is no longer than a row, which ends with the last word that was
    /// typed.
    fn has_painted_one_row(&self) -> bool {
        let word = match self.typed.last() {
            Some(number) => format!("{}{number}.", self.letter),
            None => String::new(),
        };
        self.terminal().within(A_WHILE, |rows| {
            let last = rows.last().filter(|row| !row.starts_with("    "));
            Self::is_greeted(rows) && last.is_some_and(|row| row.trim_end().ends_with(&word))
        })
    }

    /// The draft at the prompt that stands there.
    fn at_prompt(rows: &[String]) -> Option<String> {
        match blocks(rows).pop() {
            Some((Said::Mine, text)) => Some(text.trim_start_matches("Your message:").to_owned()),
            _ => None,
        }
    }

    fn type_word(&mut self, before: &str, after: &str) {
        if !Self::is_greeted(&self.terminal().screen()) {
            return;
        }
        let word = format!("{before}{}{}.{after}", self.letter, self.next);
        self.typed.push(self.next);
        self.next += 1;
        self.terminal().types(&word);
    }

    fn stalls(&mut self, is_stalled: bool) {
        self.terminal().set_stalled(is_stalled);
        self.is_stalled = is_stalled;
    }

    /// It ends out of turn, and begins again.
    fn breaks(&mut self, is_closed: bool) {
        let terminal = self.terminal.take().expect("a program");
        let rows = match is_closed {
            true => {
                // What it writes from here on nobody would see.
                terminal.freezes();
                terminal.catches_up();
                let rows = terminal.screen();
                let code = terminal.close();
                // Before it listens for signals, one ends it.
                let is_young = code.is_none() && !Self::is_greeted(&rows);
                assert!(code == Some(129) || is_young, "{code:?}");
                rows
            }
            false => terminal.kill(),
        };
        self.broken.push(rows);
        self.start();
    }
}

struct Random(TestRng);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0.next_u32() % end
    }
}

/// What has come in it, if it fails.
struct Trace {
    seed: u64,
    since: Instant,
    steps: Vec<String>,
}

impl Trace {
    fn note(&mut self, step: String) {
        let after = self.since.elapsed().as_millis();
        self.steps.push(format!("{after} ms {step}"));
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if thread::panicking() {
            self.note("the end".to_owned());
            let (seed, steps) = (self.seed, self.steps.join("\n"));
            eprintln!("{steps}\nThis was TURNCHAT_SCREEN={seed}");
        }
    }
}

fn play(seed: u64) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = Random(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let mut trace = Trace {
        seed,
        since: Instant::now(),
        steps: Vec::new(),
    };
    let (mut sides, link) = meet();
    for _ in 0..8 + random.below(18) {
        let at = usize::try_from(random.below(2)).unwrap();
        let action = random.below(100);
        trace.note(format!("{at}: {action}"));
        act(&mut sides[at], action, &link);
    }
    for side in &sides {
        side.terminal().set_stalled(false);
        side.terminal().send(Signal::SIGCONT);
    }
    trace.note("they part".to_owned());
    let screens = part(&mut sides);
    for (at, rows) in screens.iter().enumerate() {
        trace.note(format!("{at} at the end:\n{}", rows.join("\n")));
    }
    for (speaker, listener) in [(0, 1), (1, 0)] {
        let heard = heard(&sides[listener], &screens[listener], sides[speaker].letter);
        for rows in &sides[speaker].broken {
            let rows = rows.join("\n");
            trace.note(format!("{speaker} was broken at:\n{rows}"));
        }
        trace.note(format!("heard from {speaker}: {heard:?}"));
        check(&sides[speaker], &screens[speaker], &heard);
    }
}

/// Alice's server and bob's client, connected over a link.
fn meet() -> ([Side; 2], Link) {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let (alice_key, bob_key) = (alice.key(), bob.key());
    let side = |letter, person, arguments: &[&str]| {
        let mut side = Side {
            letter,
            person,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            terminal: None,
            broken: Vec::new(),
            typed: Vec::new(),
            next: 0,
            is_stalled: false,
        };
        side.start();
        side
    };
    let serving = ["server", "--once", "--allow", &bob_key, "--listen"];
    let mut alice = side('a', alice, &[&serving[..], &["127.0.0.1:0"]].concat());
    let rows = alice.terminal().shows("Your peer runs: ");
    let listening = rows
        .iter()
        .find_map(|row| row.strip_prefix("Listening on 127.0.0.1:"));
    let port = listening.expect("where it listens").to_owned();
    let link = Link::to(port.parse().unwrap());
    *alice.arguments.last_mut().unwrap() = format!("127.0.0.1:{port}");
    let address = format!("127.0.0.1:{}", link.port);
    let bob = side('b', bob, &["client", &address, "--pin", &alice_key]);
    bob.terminal().shows("Connected with");
    alice.terminal().shows("Connected with");
    ([alice, bob], link)
}

fn act(side: &mut Side, action: u32, link: &Link) {
    match action {
        // A draft, at any time.
        0..15 => side.type_word("", " "),
        // One that is entered at once, whoever's turn it is.
        15..25 => side.type_word("", "\r"),
        // On sight.
        25..60 => {
            side.type_word("", "");
            let is_asked = |rows: &[String]| Side::at_prompt(rows).is_some();
            if side.terminal().within(A_WHILE, is_asked) {
                side.terminal().types("\r");
            }
        }
        60..66 => side.type_word("\x1b[200~two lines\r", "\x1b[201~"),
        // More than a stalled screen takes.
        66..69 => {
            let long = "long ".repeat(1_200);
            side.type_word("\x1b[200~", &format!("{long}\x1b[201~"));
        }
        // Corrected: nothing of it is lost, nothing is left of the x.
        69..73 => side.type_word("x\x7f\x1b[D\x1b[C", " "),
        73..79 => link.cut(),
        79..82 => side.breaks(false),
        82..85 => side.breaks(true),
        // Nobody stops it, and it goes on; until then what is typed is not for it.
        85..89 if !side.is_stalled && Side::is_greeted(&side.terminal().screen()) => {
            let terminal = side.terminal();
            terminal.begins_anew(|| terminal.types("\x1a"));
        }
        // Where nobody has stopped it, more than a row of a draft stands there twice then.
        89..92 if !side.is_stalled && side.has_painted_one_row() => {
            side.terminal().freezes();
            side.type_word("", " ");
            let terminal = side.terminal();
            terminal.begins_anew(|| terminal.send(Signal::SIGCONT));
        }
        92..95 => side.stalls(true),
        95..98 => side.stalls(false),
        _ => side.terminal().types("\x0c"),
    }
}

/// Both say what they have written, and end it. What stands on their screens then.
fn part(sides: &mut [Side; 2]) -> [Vec<String>; 2] {
    loop {
        let asked = sides.iter().find_map(|side| {
            let terminal = side.terminal();
            let is_asked = terminal.within(A_WHILE, |rows| {
                Side::is_greeted(rows) && Side::at_prompt(rows).is_some()
            });
            assert!(!terminal.is_overdue(), "{}", terminal.screen().join("\n"));
            let draft = Side::at_prompt(&terminal.screen()).filter(|_| is_asked)?;
            Some((terminal, draft))
        });
        match asked {
            None => {}
            Some((terminal, draft)) => {
                // A draft may be about to be painted: then this becomes a part of it.
                let quits = draft.trim().is_empty();
                terminal.types(if quits { "QUIT\r" } else { "\r" });
                terminal.within(A_WHILE, |rows| Side::at_prompt(rows).is_none());
            }
        }
        if sides.iter().any(|side| side.terminal().is_over()) {
            break;
        }
    }
    sides.each_mut().map(|side| {
        let terminal = side.terminal.take().expect("a program");
        let (code, rows) = terminal.finish();
        // Somebody has still written something; else all is well.
        let has_named = blocks(&rows).iter().any(|(kind, _)| *kind == Said::NotSent);
        assert!(
            code == Some(0) || has_named && code == Some(4),
            "{code:?} {}",
            rows.join("\n")
        );
        rows
    })
}

/// The words on this person's screens that the other has said.
fn heard(side: &Side, last: &[String], letter: char) -> Vec<u32> {
    let mut heard: Vec<u32> = Vec::new();
    let mut latest = Vec::new();
    for screen in side.broken.iter().map(Vec::as_slice).chain([last]) {
        let mut is_again = false;
        for (kind, text) in blocks(screen) {
            match kind {
                Said::Again => is_again = true,
                Said::Theirs => {
                    let message = words(&text, letter);
                    // Shown once more after a restart.
                    if !(std::mem::take(&mut is_again) && message == latest) {
                        heard.extend(&message);
                    }
                    latest = message;
                }
                _ => {}
            }
        }
    }
    heard
}

fn check(side: &Side, last: &[String], heard: &[u32]) {
    let is_in_order = heard.windows(2).all(|two| two[0] < two[1]);
    assert!(is_in_order, "lost order, or twice: {heard:?}");
    let arrived: BTreeSet<_> = heard.iter().copied().collect();
    // What was typed in the program that came to its end is accounted for.
    let mut accounted = arrived.clone();
    for (kind, text) in blocks(last) {
        if kind == Said::NotSent {
            accounted.extend(words(&text, side.letter));
        }
    }
    for word in &side.typed {
        assert!(accounted.contains(word), "{}{word} is lost", side.letter);
    }
    // And so is what any screen shows as said: on one that broke, that is what has
    // something below it.
    let mut shown = vec![blocks(last)];
    for screen in &side.broken {
        let mut blocks = blocks(screen);
        blocks.pop();
        shown.push(blocks);
    }
    for (kind, text) in shown.into_iter().flatten() {
        if kind == Said::Mine {
            for word in words(&text, side.letter) {
                assert!(arrived.contains(&word), "{}{word}: {text}", side.letter);
            }
        }
    }
}

#[test]
fn what_is_entered_is_on_the_others_screen_once_or_is_named() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|number| number.parse().unwrap())
    };
    let seeds = match number("TURNCHAT_SCREEN") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TURNCHAT_SCREENS").unwrap_or(24),
    };
    let next = Mutex::new(seeds.clone());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(seed) = next.lock().unwrap().next() else {
                        return;
                    };
                    play(seed);
                }
            });
        }
    });
    eprintln!("{} storms at two terminals", seeds.end - seeds.start);
}
