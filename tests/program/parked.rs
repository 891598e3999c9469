//! Conversations that are kept over a stop of the program.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Person, Server, contents};

const HOLDING: [&str; 4] = ["server", "--listen", "127.0.0.1:0", "--json"];

/// Alice's server was stopped with her message of turn 1 unacknowledged: its
/// only page, and what stands there.
fn stopped_at(alice: &Person, bob: &Person) -> (PathBuf, Value) {
    alice.knows("bob", bob);
    let mut server = Server::of(alice.start(&HOLDING));
    let mut client = bob.call(&server, alice, &["--json"]);
    client.expect("connected");
    client.send(Signal::SIGSTOP);
    server.program.stdout.line_with("\"your-turn\"");
    let hello = json!({ "say": { "text": "Are you there?" } });
    server.program.say(&hello.to_string());
    server.program.expect("turn");
    server.program.send(Signal::SIGTERM);
    server.program.finish().exits(0);
    page_of(alice)
}

/// The only page of somebody's journal, and what stands there.
fn page_of(person: &Person) -> (PathBuf, Value) {
    let journal = contents(&person.home().join("journal"));
    let is_page = |path: &Path| path.extension().is_some_and(|end| end == "json");
    let mut pages = journal.into_iter().filter(|(path, _)| is_page(path));
    let (path, page) = pages.next().expect("a page");
    (path, serde_json::from_slice(&page).unwrap())
}

#[test]
fn what_a_side_has_said_is_kept_when_it_is_stopped_at_once() {
    let (alice, bob) = (Person::new(), Person::new());
    let (_, page) = stopped_at(&alice, &bob);
    assert_eq!(page["conversation"]["last_said"], "Are you there?");

    let (alice, bob) = (Person::new(), Person::new());
    let mut server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let pin = alice.key();
    let mut client = bob.start(&["client", &server.address, "--pin", &pin, "--json"]);
    client.stdout.line_with("\"your-turn\"");
    server.program.shows("Your message: Hello");
    server.program.send(Signal::SIGSTOP);
    client.say(&json!({ "say": { "text": "Hi" } }).to_string());
    client.expect("turn");
    client.send(Signal::SIGTERM);
    client.finish().exits(143);
    let (_, page) = page_of(&bob);
    assert_eq!(page["conversation"]["last_said"], "Hi");
}
