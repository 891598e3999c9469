//! The bot of examples/agent.rs, which thinks for seconds.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Person, Program, example, say};

fn agent(directory: &Path, address: &str, seconds: u32) -> (Program, String, String) {
    let mut command = Command::new(example("agent"));
    command.arg(directory).args([address, &seconds.to_string()]);
    let mut agent = Program::start(command);
    let line = agent.stdout.line();
    let words: Vec<_> = line.split(' ').collect();
    let ["turnchat", "client", address, "--pin", key] = words[..] else {
        panic!("{line}");
    };
    let (address, key) = (address.to_owned(), key.to_owned());
    (agent, address, key)
}

#[test]
fn an_agent_that_is_killed_as_it_thinks_answers_each_message_once() {
    let bob = Person::new();
    let home = bob.path("agent");
    let (mut first, address, key) = agent(&home, "127.0.0.1:0", 0);
    let mut client = bob.start(&["client", &address, "--pin", &key, "--json"]);
    client.stdout.line_with("\"your-turn\"");
    client.say(&say("question 2"));
    first.shows("Thinking about turn 2.");
    client.stdout.line_with("question 2");
    client.stdout.line_with("\"your-turn\"");
    drop(first);

    client.say(&say("question 4"));
    // Two would think for long, and are killed over it.
    for seconds in [1_000, 1_000, 0] {
        let (mut next, ..) = agent(&home, &address, seconds);
        next.shows("Thinking about turn 4.");
        if seconds == 0 {
            let said = client.stdout.line_with("\"speaker\":\"me\"");
            assert!(said.contains("question 4"), "{said}");
            let answer = client.stdout.line_with("\"speaker\":\"peer\"");
            assert!(answer.contains("question 4"), "{answer}");
            client.say(&json!({ "quit": {} }).to_string());
            let ended = client.stdout.line_with("\"ended\"");
            assert!(ended.contains("\"turns\":5"), "{ended}");
            client.finish().exits(0);
            return;
        }
    }
}

#[test]
fn an_agent_stops_thinking_when_nobody_waits_for_it() {
    let bob = Person::new();
    let (mut agent, address, key) = agent(&bob.path("agent"), "127.0.0.1:0", 1_000);
    let mut client = bob.start(&["client", &address, "--pin", &key, "--json"]);
    client.stdout.line_with("\"your-turn\"");
    client.say(&say("question 2"));
    agent.shows("Thinking about turn 2.");
    client.say(&json!({ "quit": {} }).to_string());
    client.finish().exits(0);
    agent.shows("Never mind.");
}
