//! Who may come back into an open conversation, at a server with a terminal.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Person, Program};
use crate::terminal::{AtTheServer, CHOICES, PROMPT};

/// A client that goes on after a cut, and after a crash of its own.
fn call(server: &AtTheServer, who: &Person) -> Program {
    let pin = server.alice.key();
    who.start(&["client", &server.address, "--pin", &pin, "--json"])
}

/// Alice has said a message, and the client has it.
fn says_hello(server: &AtTheServer, client: &mut Program) {
    server.terminal.ends_with(PROMPT);
    server.terminal.types("Hello\r");
    client.stdout.line_with("\"your-turn\"");
}

fn is_lost(server: &AtTheServer, client: Program) {
    drop(client);
    server.terminal.shows("The link is lost.");
}

fn edits_the_book(server: &AtTheServer, arguments: &[&str], times: usize) {
    let alice = &server.alice;
    alice.run(&[&["peers"], arguments].concat()).succeeds();
    server.terminal.send(Signal::SIGHUP);
    server.terminal.until("the book is read again", |rows| {
        let told = rows
            .iter()
            .filter(|row| row.contains("Read the address book"));
        told.count() == times
    });
}

/// How often the person was asked about a key.
fn questions(server: &AtTheServer) -> usize {
    let rows = server.terminal.screen();
    let is_question = |row: &&String| row.contains("A key that you don't know");
    rows.iter().filter(is_question).count()
}

#[test]
fn a_peer_that_was_removed_does_not_come_back_unasked() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let server = AtTheServer::holding(alice);
    let mut client = call(&server, &bob);
    says_hello(&server, &mut client);
    is_lost(&server, client);
    edits_the_book(&server, &["remove", "bob"], 1);
    call(&server, &bob).expect("waiting");
}

#[test]
fn a_book_read_again_leaves_a_prompt_and_a_question_standing() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    let server = AtTheServer::holding(alice);
    let mut client = call(&server, &bob);
    server.terminal.ends_with(PROMPT);
    server.terminal.types("Hel");
    server.terminal.ends_with("Your message: Hel");
    edits_the_book(&server, &["rename", "bob", "robert"], 1);
    // It is painted anew below what was said.
    server.terminal.ends_with("Your message: Hel");
    // What was typed is where it was: the rest of the line goes with it.
    server.terminal.types("lo\r");
    let turn = client.stdout.line_with("\"turn\"");
    assert!(turn.contains("\"Hello\""), "{turn}");

    let mut unknown = call(&server, &other);
    unknown.expect("waiting");
    client.say("{\"quit\":{}}");
    client.stdout.line_with("\"ended\"");
    server.terminal.ends_with(CHOICES);
    edits_the_book(&server, &["rename", "robert", "bob"], 2);
    server.terminal.ends_with(CHOICES);
    server.terminal.types("decline\r");
    unknown.expect("error");

    let mut client = call(&server, &bob);
    client.expect("waiting");
    let next = "Next: bob is waiting. Press Enter to begin.";
    server.terminal.ends_with(next);
    edits_the_book(&server, &["add", "other", &other.key()], 3);
    server.terminal.ends_with(next);
    server.terminal.types("\r");
    client.expect("connected");
}

#[test]
fn a_key_that_was_accepted_comes_back_unasked() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = AtTheServer::holding(alice);
    let mut client = call(&server, &bob);
    server.terminal.ends_with(CHOICES);
    server.terminal.types("accept\r");
    says_hello(&server, &mut client);
    is_lost(&server, client);

    let mut client = call(&server, &bob);
    assert_eq!(client.expect("connected")["resumed"], true);
    server.terminal.shows("The link is back");
    assert_eq!(questions(&server), 1);

    // That was the word for this conversation, and not for the next.
    client.say("{\"quit\":{}}");
    client.stdout.line_with("\"ended\"");
    client = call(&server, &bob);
    client.expect("waiting");
    server.terminal.ends_with(CHOICES);
    assert_eq!(questions(&server), 2);
}

#[test]
fn a_key_that_was_accepted_and_then_added_and_removed_is_out() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = AtTheServer::holding(alice);
    let mut client = call(&server, &bob);
    server.terminal.ends_with(CHOICES);
    server.terminal.types("accept\r");
    says_hello(&server, &mut client);
    edits_the_book(&server, &["add", "bob", &bob.key()], 1);
    edits_the_book(&server, &["remove", "bob"], 2);
    client.stdout.line_with("\"ended\"");
    call(&server, &bob).expect("waiting");
}

#[test]
fn after_a_restart_an_accepted_key_is_asked_about_and_goes_on() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = AtTheServer::holding(alice);
    let mut client = call(&server, &bob);
    server.terminal.ends_with(CHOICES);
    server.terminal.types("accept\r");
    let id = client.stdout.line_with("\"connected\"");
    let id: serde_json::Value = serde_json::from_str(&id).unwrap();
    says_hello(&server, &mut client);
    client.say("{\"say\":{\"text\":\"Hi\"}}");
    client.stdout.line_with("\"delivered\"");
    client.send(Signal::SIGTERM);
    client.finish().exits(143);

    let AtTheServer {
        alice, terminal, ..
    } = server;
    terminal.send(Signal::SIGKILL);
    terminal.finish();
    let server = AtTheServer::holding(alice);
    let mut client = call(&server, &bob);
    assert_eq!(client.expect("waiting")["ahead"], 0);
    server.terminal.ends_with(CHOICES);
    server.terminal.types("accept\r");
    let connected = client.stdout.line_with("\"connected\"");
    let connected: serde_json::Value = serde_json::from_str(&connected).unwrap();
    assert_eq!(connected["conversation"], id["conversation"]);
    assert_eq!(connected["resumed"], json!(true));
    let rows = server.terminal.ends_with(PROMPT);
    assert_eq!(rows[rows.len() - 2], "They say: Hi");
    server.terminal.types("Welcome back\r");
    let turn = client.stdout.line_with("\"peer\"");
    assert!(turn.contains("Welcome back"), "{turn}");
}

#[test]
fn who_is_asked_about_and_then_added_is_let_in_without_an_answer() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = AtTheServer::holding(alice);
    let mut client = call(&server, &bob);
    client.expect("waiting");
    server.terminal.ends_with(CHOICES);
    edits_the_book(&server, &["add", "bob", &bob.key()], 1);
    client.expect("connected");
    says_hello(&server, &mut client);
}
