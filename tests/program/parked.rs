//! Conversations that are kept for later, and those that a server gives up.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use turnchat::internals::{read_record, write_record};

use crate::harness::{Person, Program, Server, say, utf8};

const HOLDING: [&str; 4] = ["server", "--listen", "127.0.0.1:0", "--json"];

/// Alice's server was stopped with her message of turn 1 unacknowledged: its
/// only page, and what stands there.
fn stopped_at(alice: &Person, bob: &Person) -> (PathBuf, Value) {
    alice.knows("bob", bob);
    let mut server = Server::of(alice.start(&HOLDING));
    let mut client = bob.call(&server, alice, &["--json"]);
    client.expect("connected");
    client.freezes();
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
    pages_of(person).into_iter().next().expect("a page")
}

/// Also beside a program that writes there.
fn pages_of(person: &Person) -> Vec<(PathBuf, Value)> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let journals = entries(&person.home().join("journal"));
    let files = journals.flat_map(|journal| entries(&journal.path()));
    let read = |file: fs::DirEntry| {
        let path = file.path();
        let page =
            read_record(&path).filter(|_| path.extension().is_some_and(|it| it == "record"))?;
        Some((path, serde_json::from_str(&page).unwrap()))
    };
    files.filter_map(read).collect()
}

/// Waits until this stands in a conversation of somebody's whose program runs: which it is.
pub(crate) fn stands(program: &mut Program, person: &Person, member: &str, value: &Value) -> Value {
    loop {
        let pages = pages_of(person).into_iter();
        let mut conversations = pages.map(|(_, page)| page["conversation"].clone());
        if let Some(found) = conversations.find(|conversation| conversation[member] == *value) {
            return found["id"].clone();
        }
        assert!(program.is_running());
        thread::yield_now();
    }
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
    server.program.freezes();
    client.say(&json!({ "say": { "text": "Hi" } }).to_string());
    client.expect("turn");
    client.send(Signal::SIGTERM);
    client.finish().exits(143);
    let (_, page) = page_of(&bob);
    assert_eq!(page["conversation"]["last_said"], "Hi");
}

/// The next start tells of the end of this conversation, and the one after it
/// of nothing.
fn is_told_of(alice: &Person, page: &Path, id: &Value) {
    let mut server = Server::of(alice.start(&HOLDING));
    server.program.expect("listening");
    let told = server.program.expect("error");
    assert_eq!((&told["code"], &told["conversation"]), (&json!("link"), id));
    let message = json!({ "turn": 1, "text": "Are you there?" });
    assert_eq!(told["unacknowledged"], message);
    assert!(told["what"].as_str().unwrap().contains("bob"), "{told}");
    assert!(told["advice"].as_str().unwrap().contains("again"), "{told}");
    let line = server.program.stderr.line_with("given up");
    assert!(line.contains("conversation with bob"), "{line}");
    assert!(line.contains("turn 1 in it was not acknowledged"), "{line}");
    server.program.without_input().finish().exits(0);
    assert!(!page.exists());

    let told = alice.run(&HOLDING);
    assert!(!told.stderr.contains("given up"), "{told:?}");
    assert_eq!(told.succeeds().lines().count(), 1);
}

#[test]
fn a_damaged_record_stops_its_own_conversation_alone() {
    let (alice, bob, carol) = (Person::new(), Person::new(), Person::new());
    let (path, _) = stopped_at(&alice, &bob);
    alice.knows("carol", &carol);
    let damaged = b"not a record".as_slice();
    fs::write(&path, damaged).unwrap();
    let mut server = Server::of(alice.start(&HOLDING));
    server.program.expect("listening");
    let told = server.program.expect("error");
    assert_eq!(told["code"], "internal");
    let what = told["what"].as_str().unwrap();
    assert!(
        what.contains(path.to_str().unwrap()) && what.contains("is damaged"),
        "{told}"
    );
    let advice = told["advice"].as_str().unwrap();
    let moves = format!("`mv {} ", utf8(&path));
    assert!(advice.contains(&moves), "{told}");
    assert!(
        advice.ends_with("Then start this server again."),
        "{advice}"
    );
    let mut client = carol.call(&server, &alice, &["--json"]);
    client.expect("connected");
    assert_eq!(fs::read(&path).unwrap(), damaged);
}

/// It can be read there, and not be gone on with.
#[test]
fn a_record_that_is_a_link_stops_its_own_conversation_alone() {
    let (alice, bob, carol) = (Person::new(), Person::new(), Person::new());
    let (path, _) = stopped_at(&alice, &bob);
    alice.knows("carol", &carol);
    let elsewhere = alice.path("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    let mut server = Server::of(alice.start(&HOLDING));
    server.program.expect("listening");
    let told = server.program.expect("error");
    assert!(
        told["what"].as_str().unwrap().contains("is a link"),
        "{told}"
    );
    carol.call(&server, &alice, &["--json"]).expect("connected");
}

#[test]
fn a_conversation_too_old_to_go_on_is_told_of() {
    let (alice, bob) = (Person::new(), Person::new());
    let (path, mut page) = stopped_at(&alice, &bob);
    let month = 31 * 24 * 3_600;
    page["written"] = json!(page["written"].as_u64().unwrap() - month);
    assert!(write_record(&path, &page.to_string()));
    is_told_of(&alice, &path, &page["conversation"]["id"]);
}

#[test]
fn a_conversation_that_newer_ones_crowd_out_is_told_of() {
    let (alice, bob) = (Person::new(), Person::new());
    let (path, page) = stopped_at(&alice, &bob);
    for number in 0..1_000 {
        let id = format!("{number:021}A");
        let mut newer = page.clone();
        newer["conversation"]["id"] = json!(id);
        newer["live"] = json!(false);
        newer["written"] = json!(page["written"].as_u64().unwrap() + 1);
        let name = path.file_name().unwrap().to_str().unwrap();
        let name = name.replace(page["conversation"]["id"].as_str().unwrap(), &id);
        assert!(write_record(&path.with_file_name(name), &newer.to_string()));
    }
    is_told_of(&alice, &path, &page["conversation"]["id"]);
}

/// Where the server does not know of the conversation any more, what its reader may not
/// have seen is told with the conversation that it was said in.
#[test]
fn a_conversation_with_somebody_who_is_removed_is_given_up() {
    let (alice, bob) = (Person::new(), Person::new());
    let (page, mut contents) = stopped_at(&alice, &bob);
    contents["live"] = json!(false);
    assert!(write_record(&page, &contents.to_string()));
    let mut server = Server::of(alice.start(&HOLDING));
    server.program.expect("listening");
    alice.run(&["peers", "remove", "bob"]).succeeds();
    server.program.send(Signal::SIGHUP);
    let told = server.program.expect("error");
    let what = told["what"].as_str().unwrap();
    assert!(what.contains("not let in any more"), "{told}");
    assert_eq!(told["unacknowledged"]["text"], "Are you there?");
    server.program.send(Signal::SIGTERM);
    server.program.finish().exits(0);
    let open = alice.run(&["conversations", "list"]);
    assert!(open.stderr.contains("No conversation is open"), "{open:?}");
}

#[test]
fn a_message_of_a_conversation_that_is_over_says_which_it_was() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let mut client = bob.call(&server, &alice, &["--json"]);
    client.stdout.line_with("\"your-turn\"");
    server.program.freezes();
    client.send(Signal::SIGTERM);
    client.finish().exits(143);
    let (_, page) = page_of(&bob);
    drop(server);

    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let mut client = bob.call(&server, &alice, &["--json"]);
    let turn = client.stdout.line_with("\"again\":true");
    let turn: Value = serde_json::from_str(&turn).unwrap();
    assert_eq!(turn["text"], "Hello");
    assert_eq!(turn["conversation"], page["conversation"]["id"]);
    let connected = client.expect("connected");
    assert_ne!(connected["conversation"], turn["conversation"]);
}

/// Where the server has forgotten the conversation, what was said in it and not acknowledged
/// is told with it, and then a new one begins.
#[test]
fn a_message_that_was_not_acknowledged_says_which_conversation_it_was_said_in() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello", "--no-journal"]);
    let mut client = bob.call(&server, &alice, &["--json"]);
    client.stdout.line_with("\"your-turn\"");
    server.program.freezes();
    client.say(&json!({ "say": { "text": "Hi" } }).to_string());
    client.expect("turn");
    client.send(Signal::SIGTERM);
    client.finish().exits(143);
    let (_, page) = page_of(&bob);
    drop(server);

    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let mut client = bob.call(&server, &alice, &["--json"]);
    let told = client.stdout.line_with("\"error\"");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["conversation"], page["conversation"]["id"]);
    assert_eq!(told["unacknowledged"], json!({ "turn": 2, "text": "Hi" }));
    client.expect("connected");
    let line = client.stderr.line_with("ended meanwhile");
    assert!(
        line.contains("turn 2 in it was not acknowledged, as far as"),
        "{line}"
    );
}

/// Its stdout is full, so that its program can be told of nothing, and then it is killed.
#[test]
fn what_was_said_before_an_end_is_told_by_the_next_start_although_it_was_killed() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut command = alice.turnchat(&[&HOLDING[..], &["--log", "text"]].concat());
    let (_unread, stdout) = io::pipe().unwrap();
    command.stdout(stdout);
    let mut server = Server::of(Program::start_with(command));
    let mut client = bob.call(&server, &alice, &["--json"]);
    client.expect("connected");
    client.freezes();
    let text = "x".repeat(65_536);
    server.program.say(&say(&text));
    let id = stands(&mut server.program, &alice, "last_said", &json!(text));
    let _next = bob.call(&server, &alice, &["--json", "--no-journal"]);
    server.program.stderr.line_with("ended");
    server.program.send(Signal::SIGKILL);
    drop(server);

    let mut server = Server::of(alice.start(&HOLDING));
    server.program.expect("listening");
    let told = server.program.expect("error");
    assert_eq!(told["conversation"], id);
    assert_eq!(told["unacknowledged"], json!({ "turn": 1, "text": text }));
}

/// Says a message, quits, and is killed before its server has either; which conversation it was.
fn quits_unheard(server: &Server, client: &mut Program, bob: &Person) -> Value {
    server.program.freezes();
    client.say(&say("Hi"));
    client.say(r#"{"quit":{}}"#);
    let id = stands(client, bob, "quit", &json!(true));
    client.send(Signal::SIGKILL);
    id
}

/// It was killed before its server knew of the end.
#[test]
fn a_client_that_had_quit_tells_at_its_next_start_how_that_ended() {
    let (alice, bob) = (Person::new(), Person::new());
    let serve = || alice.serve(&["--allow-anyone", "--first", "Hello", "--no-journal"]);
    let server = serve();
    let mut client = bob.call(&server, &alice, &["--json"]);
    client.stdout.line_with("\"your-turn\"");
    let id = quits_unheard(&server, &mut client, &bob);
    drop((client, server));

    let server = serve();
    let (page, contents) = page_of(&bob);
    let mut client = bob.call(&server, &alice, &["--json"]);
    let told = client.expect("error");
    assert_eq!(told["conversation"], id);
    assert_eq!(told["unacknowledged"], json!({ "turn": 2, "text": "Hi" }));
    let what = told["what"].as_str().unwrap();
    assert!(what.starts_with("You had ended the conversation"), "{what}");
    assert_ne!(client.expect("connected")["conversation"], id);
    drop(client);

    // A person is shown which words it was.
    fs::remove_file(&page).unwrap();
    assert!(write_record(&page, &contents.to_string()));
    let mut client = bob.call(&server, &alice, &["--journal"]);
    client.stderr.line_with("You had ended the conversation");
    client.stderr.line_with("Not acknowledged: Hi");
    client.shows("They say: Hello");
}

/// It has arrived, so there is nothing to tell of that conversation.
#[test]
fn an_end_that_is_settled_at_the_next_start_and_lost_nothing_is_no_news() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut server = Server::of(alice.start(&HOLDING));
    let mut client = bob.call(&server, &alice, &["--json"]);
    server.program.stdout.line_with("\"your-turn\"");
    server.program.say(&say("Hello"));
    client.stdout.line_with("\"your-turn\"");
    let id = quits_unheard(&server, &mut client, &bob);
    drop(client);
    server.program.send(Signal::SIGCONT);

    let mut client = bob.call(&server, &alice, &["--json"]);
    let first = client.event();
    assert_eq!(first["event"], "connected", "{first}");
    assert_ne!(first["conversation"], id);
    server.program.stdout.line_with("\"Hi\"");
}
