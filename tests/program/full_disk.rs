//! A disk that is full: no file can grow over a limit that the shell has set,
//! for whoever runs this. The system's answer differs from a full disk's in its
//! number alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::{
    Finished, JSON_SERVER, Person, Program, Server, contents, json_client, limited, say,
};

/// The command, with room for a page of few words and not for one of many.
fn with_little_room(command: &Command) -> Program {
    limited("ulimit -f 24", command)
}

/// The page of somebody's journal, and whatever stands beside it.
fn journal(person: &Person) -> BTreeMap<PathBuf, Vec<u8>> {
    contents(&person.home().join("journal"))
}

/// Two messages were exchanged, and turn 3 is the server's.
fn exchange(server: &mut Program, client: &mut Program) {
    server.stdout.line_with("\"your-turn\"");
    server.say(&say("Hello"));
    client.stdout.line_with("\"your-turn\"");
    client.say(&say("Hi"));
    client.stdout.line_with("\"delivered\"");
    server.stdout.line_with("\"your-turn\"");
}

/// It says why it stopped, what to do, and which message was not sent.
#[track_caller]
fn is_clear(done: &Finished, turn: u64) {
    let unsent = format!("message of turn {turn} was not acknowledged");
    done.fails(1, &["Cannot write", "disk is not full", &unsent]);
    let is_shown = |line: &str| line.contains("\"me\"") && line.contains("long");
    assert!(!done.stdout.lines().any(is_shown), "{done:?}");
}

#[test]
fn a_server_without_room_stops_and_goes_on_once_there_is_some() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(with_little_room(&alice.turnchat(&JSON_SERVER)));
    let mut client = Program::start(json_client(&bob, &server, &alice));
    exchange(&mut server.program, &mut client);
    let before = journal(&alice);
    server.program.say(&say(&"long ".repeat(10_000)));
    is_clear(&server.program.finish(), 3);
    assert_eq!(journal(&alice), before);
    client.finish().fails(4, &["peer's program failed"]);

    let mut server = Server::of(alice.start(&JSON_SERVER));
    let mut client = Program::start(json_client(&bob, &server, &alice));
    server.program.stdout.line_with("\"again\":true");
    server.program.stdout.line_with("\"your-turn\"");
    server.program.say(&say("There is room again"));
    let turn = client.stdout.line_with("\"peer\",");
    let turn: Value = serde_json::from_str(&turn).unwrap();
    assert_eq!(turn["text"], "There is room again");
    assert_eq!(turn["turn"], 3);
}

/// Of many conversations, those that need no more room go on, and so does the server.
#[test]
fn of_many_conversations_one_without_room_ends_alone() {
    let [alice, bob, other, last] = [(); 4].map(|()| Person::new());
    let server = [
        "server",
        "--listen",
        "127.0.0.1:0",
        "--allow-anyone",
        "--journal",
        "--first",
        "Hello",
        "--exec",
        "cat",
    ];
    let mut server = Server::of(with_little_room(&alice.turnchat(&server)));
    let call = |person: &Person, server: &Server| {
        let mut client = Program::start(json_client(person, server, &alice));
        client.stdout.line_with("\"your-turn\"");
        client
    };
    let mut bobs = call(&bob, &server);
    let others = call(&other, &server);
    others.say(&say(&"long ".repeat(10_000)));
    server.program.stderr.line_with("Cannot write");
    others.finish().fails(4, &["peer's program failed"]);

    bobs.say(&say("Still there?"));
    bobs.stdout.line_with("\"your-turn\"");
    let mut third = call(&last, &server);
    third.say(&say("Is there room?"));
    third.stdout.line_with("\"your-turn\"");
    assert!(server.program.is_running());
}

#[test]
fn a_client_without_room_stops_and_goes_on_once_there_is_some() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let mut client = with_little_room(&json_client(&bob, &server, &alice));
    exchange(&mut server.program, &mut client);
    server.program.say(&say("Go on"));
    client.stdout.line_with("\"your-turn\"");
    let before = journal(&bob);
    client.say(&say(&"long ".repeat(10_000)));
    is_clear(&client.finish(), 4);
    assert_eq!(journal(&bob), before);
    server.program.stdout.line_with("\"ended\"");

    let mut client = Program::start(json_client(&bob, &server, &alice));
    client.stdout.line_with("\"again\":true");
    client.stdout.line_with("\"your-turn\"");
    client.say(&say("There is room again"));
    let turn = server.program.stdout.line_with("\"peer\",");
    let turn: Value = serde_json::from_str(&turn).unwrap();
    assert_eq!(turn["text"], "There is room again");
    assert_eq!(turn["turn"], 4);
}
