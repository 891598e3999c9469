//! What is recorded, with `--transcript`; and messages that come from files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{JSON_SERVER, Pair, Person, Program, Server, Terminal, limited, say, utf8};

/// What stands in a transcript, without the times.
fn rows(text: &str) -> Vec<&str> {
    let rows = text
        .lines()
        .map(|row| row.split_once("Z ").map_or(row, |(_, row)| row));
    rows.collect()
}

#[test]
fn both_sides_may_record_what_is_said() {
    let mut pair = Pair::new(&["--once", "--transcript", "talk.txt"]);
    let mut client = pair.client(&["--transcript", "talk.jsonl"]);
    pair.server.program.say("Hello \u{1b}");
    client.stdout.line();
    client.say("Hi");
    pair.server.program.shows("Your message: Hello \\u{1b}");
    pair.server.program.shows("They say: Hi");
    pair.server.program.say("QUIT");
    pair.server.program.finish().exits(0);
    client.finish().exits(0);
    let path = pair.alice.path("talk.txt");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = utf8(fs::read_to_string(path).unwrap());
    let rows = rows(&text);
    assert!(rows[0].starts_with("Connected with SHA256:"), "{rows:?}");
    assert_eq!(rows[1..3], ["Your message: Hello \\u{1b}", "They say: Hi"]);
    let recorded = fs::read_to_string(pair.bob.path("talk.jsonl")).unwrap();
    let events: Vec<Value> = recorded
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events[1]["text"], "Hello \u{1b}");
    assert_eq!(events[1]["speaker"], "peer");
    assert_eq!(events[2]["text"], "Hi");
    assert_eq!(events[3]["event"], "ended");
    assert_eq!(events[3]["by"], "peer");
}

#[test]
fn a_transcript_grows_from_run_to_run() {
    let pair = Pair::new(&["--first", "Hello"]);
    // One that was there, and that all could read, is closed to others.
    let path = pair.bob.path("talk.txt");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    for run in 1..3 {
        let mut client = pair.client(&["--transcript", "talk.txt"]);
        client.shows("They say: Hello");
        client.say("QUIT");
        client.finish().exits(0);
        let text = fs::read_to_string(pair.bob.path("talk.txt")).unwrap();
        let heard = rows(&text)
            .into_iter()
            .filter(|row| *row == "They say: Hello");
        assert_eq!(heard.count(), run);
    }
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_transcript_that_cannot_be_written_is_told_at_once() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow", &bob.key()]);
    fs::write(bob.path("open.txt"), "").unwrap();
    fs::set_permissions(bob.path("open.txt"), fs::Permissions::from_mode(0o666)).unwrap();
    for (path, code, words) in [
        (
            "missing/talk.txt",
            1,
            ["missing/talk.txt cannot be written", "missing"],
        ),
        ("/dev/full", 1, ["a device", "path of a file"]),
        ("open.txt", 3, ["Others can write", "chmod go-w"]),
    ] {
        let client = bob.call(&server, &alice, &["--transcript", path]);
        client.without_input().finish().fails(code, &words);
    }
}

#[test]
fn what_cannot_be_recorded_is_not_acknowledged() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow", &bob.key(), "--once"]);
    let path = utf8(bob.path("talk.txt"));
    let calling = bob.calling(&server, &alice, &["--transcript", &path]);
    let mut client = limited("ulimit -f 8", &bob.turnchat(&calling));
    server.program.say("Hello");
    client.shows("They say: Hello");
    client.say("Hi");
    server.program.say(&"long ".repeat(10_000));
    client.finish().fails(1, &["talk.txt cannot be written"]);
    server.program.finish().fails(4, &["not acknowledged"]);
}

#[test]
fn after_a_crash_what_is_shown_again_is_recorded_as_that() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let calling = |server: &Server| {
        bob.turnchat(&[
            "client",
            &server.address,
            "--pin",
            &alice.key(),
            "--json",
            "--transcript",
            "talk.jsonl",
        ])
    };
    let mut client = Program::start(calling(&server));
    server.program.stdout.line_with("\"your-turn\"");
    server.program.say(&say("Hello"));
    client.stdout.line_with("\"your-turn\"");
    client.send(Signal::SIGKILL);
    client.finish();
    let mut client = Program::start(calling(&server));
    client.stdout.line_with("\"your-turn\"");
    let recorded = fs::read_to_string(bob.path("talk.jsonl")).unwrap();
    let turns: Vec<Value> = recorded
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &Value| event["event"] == "turn")
        .collect();
    let [first, second] = &turns[..] else {
        panic!("{turns:?}");
    };
    assert_eq!(first["text"], "Hello");
    assert!(first.get("again").is_none());
    assert_eq!(
        (&second["text"], &second["again"]),
        (&"Hello".into(), &true.into())
    );
}

#[test]
fn with_null_a_message_may_have_several_lines() {
    let mut pair = Pair::new(&["--once"]);
    let mut client = pair.client(&["--null"]);
    pair.server.program.say("Hello");
    client.write(b"one\ntwo\r\n\0QUIT\0");
    client.shows("They say: Hello");
    client.shows("Your message: one");
    client.shows("    two\\u{d}");
    client.shows("    ");
    pair.server.program.say("Go on");
    client.shows("They say: Go on");
    client.shows("Your message: QUIT");
    client.finish().exits(0);
    pair.server.program.shows("Your message: Hello");
    pair.server.program.shows("They say: one");
    pair.server.program.shows("    two\\u{d}");
    pair.server.program.shows("    ");
    pair.server.program.finish().exits(0);
}

#[test]
fn with_null_nobody_types() {
    let pair = Pair::new(&[]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &["--null"]);
    let (code, screen) = Terminal::start(pair.bob.turnchat(&calling)).finish();
    assert_eq!(code, Some(2), "{screen:?}");
    assert!(
        screen.iter().any(|row| row.contains("Alt-Enter")),
        "{screen:?}"
    );
}

#[test]
fn the_first_message_may_come_from_a_file() {
    let (alice, bob) = (Person::new(), Person::new());
    fs::write(alice.path("first.txt"), "Hello,\nclient!\n").unwrap();
    let server = alice.serve(&["--allow", &bob.key(), "--first-file", "first.txt"]);
    let mut client = bob.call(&server, &alice, &[]);
    client.shows("They say: Hello,");
    client.shows("    client!");
    client.say("QUIT");
    client.finish().exits(0);
}

#[test]
fn a_first_message_that_is_none_is_told_before_anybody_comes() {
    let alice = Person::new();
    fs::write(alice.path("long.txt"), "x".repeat(65_537)).unwrap();
    fs::write(alice.path("longer.txt"), "x".repeat(100_000)).unwrap();
    fs::write(alice.path("bytes"), b"\xff").unwrap();
    fs::write(alice.path("most.txt"), "x".repeat(65_536) + "\r\n").unwrap();
    for (path, words) in [
        ("long.txt", "more than 65536 bytes"),
        ("longer.txt", "more than 65536 bytes"),
        ("bytes", "not UTF-8"),
        ("missing.txt", "missing.txt cannot be read"),
        ("/", "a directory"),
    ] {
        alice
            .run(&["server", "--first-file", path])
            .fails(1, &[words]);
    }
    let arguments = [
        "server",
        "--listen",
        "127.0.0.1:0",
        "--first-file",
        "most.txt",
    ];
    drop(Server::of(alice.start(&arguments)));
}
