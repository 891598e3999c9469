//! Noughts and crosses between programs of `--exec`: to the end, and over kills and cuts, each
//! move once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::Value;

use crate::relay::relay;
use crate::side::{Homes, turnchat};
use crate::{PATIENCE, number};

/// A side that plays, and is started again whenever it was killed.
struct Player {
    arguments: Vec<String>,
    child: Child,
    /// Its addresses, where it listens.
    told: Receiver<String>,
}

impl Player {
    fn start(arguments: Vec<String>) -> Self {
        let (child, told) = spawn(&arguments);
        Self {
            arguments,
            child,
            told,
        }
    }

    /// Where it listens.
    fn port(&self) -> u16 {
        loop {
            let line = self.told.recv_timeout(PATIENCE).unwrap();
            if let Some(address) = line.strip_prefix("Listening on ") {
                return address.rsplit(':').next().unwrap().parse().unwrap();
            }
        }
    }

    fn crash(&mut self) {
        self.kill();
        (self.child, self.told) = spawn(&self.arguments);
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its exit code, once it has ended.
    fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().unwrap()?;
        Some(status.code().unwrap_or(-1))
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(arguments: &[String]) -> (Child, Receiver<String>) {
    let mut child = turnchat()
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (tell, told) = channel();
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    (child, told)
}

/// Without `--json`, which the homes' arguments have.
fn plain(arguments: Vec<String>) -> Vec<String> {
    let words = arguments.into_iter().filter(|word| word != "--json");
    words.collect()
}

fn example(name: &str) -> String {
    format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn add(arguments: &mut Vec<String>, more: &[&str]) {
    arguments.extend(more.iter().map(|&word| word.to_owned()));
}

/// The messages of each conversation in a transcript, by turn: what one side knows of them.
type Recorded = BTreeMap<String, BTreeMap<u64, String>>;

/// Adds what a transcript has. A turn may stand there again, in the same words.
fn read(transcript: &std::path::Path, into: &mut Recorded) {
    for line in fs::read_to_string(transcript).unwrap().lines() {
        // A kill may have cut it.
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if event["event"] != "turn" {
            continue;
        }
        let of = event["conversation"].as_str().unwrap().to_owned();
        let turn = event["turn"].as_u64().unwrap();
        let text = event["text"].as_str().unwrap().to_owned();
        let before = into.entry(of).or_default().insert(turn, text.clone());
        assert!(before.is_none_or(|before| before == text), "{line}");
    }
}

/// Every move follows from the one before; how many games have ended.
fn check(moves: &BTreeMap<u64, String>) -> u64 {
    let mut games = 0;
    let mut before: Option<(u64, char, String, bool)> = None;
    for (expected, (turn, text)) in (1..).zip(moves) {
        assert_eq!(*turn, expected, "a move is missing: {moves:#?}");
        let words: Vec<_> = text
            .split([' ', ',', ':'])
            .filter(|it| !it.is_empty())
            .collect();
        let ["game", game, mark, "takes", cell, board, end @ ..] = &words[..] else {
            panic!("{text}");
        };
        let (game, cell): (u64, usize) = (game.parse().unwrap(), cell.parse().unwrap());
        let mark = mark.chars().next().unwrap();
        let (empty, is_turn) = match &before {
            Some((last, other, board, false)) => (board.clone(), *last == game && *other != mark),
            Some((last, _, _, true)) => (".........".to_owned(), last + 1 == game && mark == 'X'),
            None => (".........".to_owned(), game == 1 && mark == 'X'),
        };
        let mut filled = empty.clone();
        assert_eq!(&empty[cell - 1..cell], ".", "{text} after {before:?}");
        filled.replace_range(cell - 1..cell, &mark.to_string());
        assert!(is_turn && filled == *board, "{text} after {before:?}");
        games += u64::from(!end.is_empty());
        before = Some((game, mark, filled, !end.is_empty()));
    }
    games
}

#[test]
fn a_shell_script_plays_against_python_to_the_end() {
    let homes = Homes::new();
    let transcripts = ["alice.jsonl", "bob.jsonl"].map(|name| homes.path(name));
    let [alice, bob] = transcripts.each_ref().map(|path| path.to_str().unwrap());
    let mut server = plain(homes.server(0));
    add(&mut server, &["--once", "--transcript", alice]);
    add(&mut server, &["--exec", &example("noughts.sh"), "3"]);
    let mut server = Player::start(server);
    let mut client = plain(homes.client(server.port()));
    add(&mut client, &["--transcript", bob]);
    add(
        &mut client,
        &["--exec", "python3", &example("noughts.py"), "3"],
    );
    let mut client = Player::start(client);
    let began = Instant::now();
    for side in [&mut client, &mut server] {
        while side.ended().is_none() {
            assert!(began.elapsed() < PATIENCE, "the game goes on for ever");
            thread::yield_now();
        }
        assert_eq!(side.ended(), Some(0));
    }
    let [alice, bob] = transcripts.map(|path| {
        let mut recorded = Recorded::new();
        read(&path, &mut recorded);
        recorded
    });
    assert_eq!(alice, bob);
    assert_eq!(alice.values().map(check).sum::<u64>(), 3);
}

#[test]
fn games_survive_kills_and_cuts_with_each_move_once() {
    let faults = number("TURNCHAT_GAMES", 20);
    let homes = Homes::new();
    let transcripts = ["alice.jsonl", "bob.jsonl"].map(|name| homes.path(name));
    let [alice, bob] = transcripts.each_ref().map(|path| path.to_str().unwrap());
    let game = example("noughts.py");
    let exec = ["--journal", "--exec", "python3", &game, "6", "--json"];
    let serving = |port| {
        let mut server = homes.server(port);
        add(&mut server, &["--transcript", alice]);
        add(&mut server, &exec);
        server
    };
    let mut server = Player::start(serving(0));
    let port = server.port();
    server.arguments = serving(port);
    let (relayed, carried) = relay(port, Vec::new());
    let mut calling = homes.client(relayed);
    add(&mut calling, &["--transcript", bob]);
    add(&mut calling, &exec);

    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut done = 0;
    let mut matches = 0;
    let began = Instant::now();
    while done < faults {
        let mut client = Player::start(calling.clone());
        let mut next_fault = pause(&mut rng);
        let code = loop {
            assert!(
                began.elapsed() < PATIENCE + Duration::from_secs(faults),
                "nothing goes on"
            );
            match client.ended() {
                // Only once it is connected it dials again by itself.
                Some(4) => client.crash(),
                Some(code) => break code,
                None => {}
            }
            if done < faults && Instant::now() > next_fault {
                match rng.next_u32() % 4 {
                    0 => server.crash(),
                    1 => client.crash(),
                    2 => {
                        server.kill();
                        client.crash();
                        server.crash();
                    }
                    _ => carried.cut(),
                }
                done += 1;
                next_fault = pause(&mut rng);
            }
            thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(code, 0, "{:#?}", client.told.try_iter().collect::<Vec<_>>());
        matches += 1;
    }
    let mut recorded = Recorded::new();
    for transcript in &transcripts {
        read(transcript, &mut recorded);
    }
    let games: Vec<_> = recorded.values().map(check).collect();
    let moves: usize = recorded.values().map(BTreeMap::len).sum();
    eprintln!("{faults} kills and cuts over {moves} moves in {matches} conversations");
    // A client that is killed after its last word begins anew.
    assert!(
        games.len() >= matches && games.iter().all(|&it| it == 6),
        "{games:?}"
    );
}

/// When the next fault comes.
fn pause(rng: &mut TestRng) -> Instant {
    Instant::now() + Duration::from_micros(u64::from(rng.next_u32() % 400_000))
}
