//! `--log`: who came, was let in or refused, and why; and never what was said.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Person, Server, Terminal, alone};

const FIRST: &str = "first-of-alice";
const WORD: &str = "word-of-bob";
const ANSWER: &str = "answer-of-alice";

/// What alice's server and bob's client have logged of a conversation, while carol was refused.
struct Played {
    server: String,
    client: String,
    bob: String,
    carol: String,
}

/// A server that logs everything, and where it listens.
fn serve(alice: &Person, bob: &Person, format: &str) -> Server {
    let certificate = bob.certificate();
    let listen = ["server", "--listen", "127.0.0.1:0", "--allow", &certificate];
    let log = ["-vv", "--log", format, "--first", FIRST];
    let talk = format!("read line; echo {ANSWER}; read line");
    Server::of(alice.start(&[&listen[..], &log, &["--exec", "sh", "-c", &talk]].concat()))
}

fn play(format: &str) -> Played {
    let [alice, bob, carol] = [(); 3].map(|()| Person::new());
    let mut server = serve(&alice, &bob, format);
    let mut client = bob.call(&server, &alice, &["-vv", "--log", format, "--journal"]);
    client.say(WORD);
    client.stdout.line_with(ANSWER);
    client.say("QUIT");
    let client = client.finish();
    client.exits(0);
    carol.call(&server, &alice, &[]).finish().exits(3);
    server.program.stderr.line_with("unknown-peer");
    server.program.send(Signal::SIGTERM);
    let server = server.program.finish();
    server.exits(0);
    for person in [&alice, &bob, &carol] {
        let key = fs::read_to_string(person.key_file()).unwrap();
        for line in key.lines().filter(|line| !line.starts_with('-')) {
            let logs = [&server.stderr, &client.stderr];
            assert!(logs.iter().all(|log| !log.contains(line)), "a key");
        }
    }
    Played {
        server: server.stderr,
        client: client.stderr,
        bob: bob.key(),
        carol: carol.key(),
    }
}

#[test]
fn a_log_says_who_came_and_what_became_of_it_but_not_what_was_said() {
    let played = play("text");
    for (log, events) in [
        (
            &played.server,
            vec![
                format!("hello connection=0 key={} from=127.0.0.1", played.bob),
                format!("let in connection=0 key={}", played.bob),
                "says turn=1".to_owned(),
                format!(
                    "refused connection=1 key={} from=127.0.0.1 reason=\"unknown-peer\"",
                    played.carol
                ),
            ],
        ),
        (
            &played.client,
            vec!["proved its key".to_owned(), "heard turn=1".to_owned()],
        ),
    ] {
        for line in log.lines() {
            let (time, _) = line.split_once('Z').expect(line);
            assert_eq!(time.len(), "2026-11-29T11:31:27.875669".len(), "{line}");
        }
        for event in events {
            assert!(log.contains(&event), "no {event} in {log}");
        }
        for words in [FIRST, WORD, ANSWER] {
            assert!(!log.contains(words), "{words} in {log}");
        }
    }
}

#[test]
fn a_log_in_json_is_json_in_every_line() {
    let played = play("json");
    for log in [&played.server, &played.client] {
        for line in log.lines() {
            let event: Value = serde_json::from_str(line).expect(line);
            for member in ["timestamp", "level", "message"] {
                assert!(event[member].is_string(), "no {member} in {line}");
            }
        }
        for words in [FIRST, WORD, ANSWER] {
            assert!(!log.contains(words), "{words} in {log}");
        }
    }
    let refused = played
        .server
        .lines()
        .find(|line| line.contains("unknown-peer"));
    let refused: Value = serde_json::from_str(refused.unwrap()).unwrap();
    assert_eq!(refused["message"], "refused");
    assert_eq!(
        (&refused["key"], &refused["from"]),
        (&played.carol.into(), &"127.0.0.1".into())
    );
}

/// It would hold up the connections, and everybody's conversation.
#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let (alice, bob) = (Person::new(), Person::new());
    let noise = "yes noise | head -c 400000 >&2; echo ready; read line";
    let mut command = alice.turnchat(&[
        "server",
        "--listen",
        "127.0.0.1:0",
        "--allow",
        &bob.certificate(),
        "--log",
        "text",
        "--exec",
        "sh",
        "-c",
        noise,
    ]);
    let (read, write) = std::io::pipe().unwrap();
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(write);
    let mut server = alone(|| command.spawn()).unwrap();
    drop(command);
    let mut log = BufReader::new(read);
    let mut line = String::new();
    while !line.contains("Listening on ") {
        line.clear();
        log.read_line(&mut line).unwrap();
    }
    let (_, address) = line.trim_end().split_once("Listening on ").unwrap();
    for _ in 0..2 {
        let pin = alice.key();
        let arguments = ["client", address, "--pin", &pin];
        let mut client = bob.start(&arguments);
        client.shows("They say: ready");
        client.say("QUIT");
        client.finish().exits(0);
    }
    let id = Pid::from_raw(i32::try_from(server.id()).unwrap());
    kill(id, Signal::SIGTERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn no_pairing_code_is_logged() {
    let alice = Person::new();
    let pair = [
        "server",
        "--listen",
        "127.0.0.1:0",
        "--pair",
        "bob",
        "--log",
        "text",
    ];
    // Nor is a program that talks told of it.
    for more in [&[][..], &["--json", "--exec", "cat"]] {
        let refused = alice.run(&[&pair[..], more].concat());
        refused.exits(2);
        assert!(
            refused.stderr.contains("A pairing code is a secret"),
            "{refused:?}"
        );
    }
    let mut server = alice.start(&[&pair[..], &["--json"]].concat());
    server.expect("listening");
    let code = server.expect("pairing");
    server.send(Signal::SIGTERM);
    let done = server.finish();
    let words = code["code"].as_str().unwrap().to_owned();
    assert!(done.stderr.contains("Listening on"), "{done:?}");
    assert!(!done.stderr.contains(&words), "{done:?}");
}

/// A person at a terminal is asked, however quiet the log is, and has to see about what.
#[test]
fn what_a_question_is_about_is_in_a_quiet_log_too() {
    let (alice, bob) = (Person::new(), Person::new());
    let quiet = [
        "server",
        "--listen",
        "127.0.0.1:0",
        "--quiet",
        "--log",
        "text",
    ];
    let terminal = Terminal::start(alice.turnchat(&quiet));
    let address = terminal.listens();
    let _client = bob.start(&["client", &address, "--pin", &alice.key()]);
    terminal.shows("A key that you don't know wants to talk");
}

/// What can go on later is not over.
#[test]
fn a_conversation_that_is_parked_is_not_called_ended() {
    let (alice, bob) = (Person::new(), Person::new());
    let certificate = bob.certificate();
    let listen = ["server", "--listen", "127.0.0.1:0", "--allow", &certificate];
    let log = ["--log", "text", "--journal", "--hold", "1ms"];
    let first = ["--first", FIRST, "--exec", "cat"];
    let mut server = Server::of(alice.start(&[&listen[..], &log, &first].concat()));
    let mut client = bob.call(&server, &alice, &[]);
    client.shows(&format!("They say: {FIRST}"));
    client.send(Signal::SIGKILL);
    server.program.stderr.line_with(": parked turns=1");
    server.program.send(Signal::SIGTERM);
    let log = server.program.finish().stderr;
    assert!(!log.contains(": ended"), "{log}");
}

/// Its peer does not answer the end: nothing else tells that there was one.
#[test]
fn a_log_ends_with_why_the_program_did() {
    let (alice, bob) = (Person::new(), Person::new());
    let certificate = bob.certificate();
    let listen = ["server", "--listen", "127.0.0.1:0", "--allow", &certificate];
    let log = ["--log", "text", "--first", FIRST, "--exec", "cat"];
    let mut server = Server::of(alice.start(&[&listen[..], &log].concat()));
    let mut client = bob.call(&server, &alice, &[]);
    client.shows(&format!("They say: {FIRST}"));
    client.freezes();
    server.program.send(Signal::SIGTERM);
    let stopping = server.program.stderr.line_with("INFO stopping");
    assert!(stopping.ends_with("signal=\"SIGTERM\""), "{stopping}");
    let left = server.program.stderr.line_with("left after 5 s");
    assert!(left.contains(" INFO "), "{left}");
    server.program.finish().exits(0);
}

/// A peer that is gone is no matter for whoever reads the log.
#[test]
fn a_server_that_is_stopped_says_how_long_a_lost_peer_holds_it_up() {
    let (alice, bob) = (Person::new(), Person::new());
    let certificate = bob.certificate();
    let listen = ["server", "--listen", "127.0.0.1:0", "--allow", &certificate];
    let log = ["--log", "text", "--first", FIRST, "--exec", "cat"];
    let mut server = Server::of(alice.start(&[&listen[..], &log].concat()));
    let mut client = bob.call(&server, &alice, &[]);
    client.shows(&format!("They say: {FIRST}"));
    client.send(Signal::SIGKILL);
    server.program.stderr.line_with("lost its connection");
    server.program.send(Signal::SIGTERM);
    let goodbye = server.program.stderr.line_with("Saying goodbye");
    assert!(goodbye.contains(" INFO "), "{goodbye}");
    assert!(goodbye.contains("up to 5 seconds"), "{goodbye}");
}
