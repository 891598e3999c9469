//! A quit over a lost link, which is tried for a while: a person at a terminal
//! sees that.

use nix::sys::signal::Signal;

use crate::harness::{Pair, Person, Terminal};
use crate::terminal::{AtTheServer, PROMPT};

const GOODBYE: &str = "Saying goodbye";

/// Bob at a terminal on his turn, with a conversation that outlives a cut.
fn at_the_client() -> (Pair, Terminal) {
    holding("15m")
}

fn holding(hold: &str) -> (Pair, Terminal) {
    let pair = Pair::new(&["--first", "Hello"]);
    let pin = pair.alice.key();
    let calling = [
        "client",
        &pair.server.address,
        "--pin",
        &pin,
        "--hold",
        hold,
    ];
    let terminal = Terminal::start(pair.bob.turnchat(&calling));
    terminal.ends_with(PROMPT);
    (pair, terminal)
}

#[test]
fn lines_that_are_left_when_the_peer_quits_are_counted() {
    let many = format!("one\n{}", "more\n".repeat(3_000));
    let few = "one\ntwo\nthree\nthe last, without an end";
    for (lines, how, told) in [
        (few, "--bell", "3 lines of standard input were not sent."),
        (few, "--quiet", "3 lines of standard input were not sent."),
        (
            &many,
            "--bell",
            "1000 lines of standard input, and maybe more, were not sent.",
        ),
    ] {
        let mut pair = Pair::new(&[]);
        let mut client = pair.client(&[how]);
        client.write(lines.as_bytes());
        client.end_input();
        pair.server.program.say("Hello");
        pair.server.program.stdout.line_with("They say: one");
        pair.server.program.say("QUIT");
        let client = client.finish();
        client.exits(0);
        assert_eq!(client.stderr.matches(told).count(), 1, "{client:?}");
    }
}

/// A server keeps them for the next.
#[test]
fn a_server_keeps_them_for_the_next() {
    let pair = Pair::new(&[]);
    let mut client = pair.client(&[]);
    pair.server.program.write(b"one\ntwo\n");
    client.shows("They say: one");
    client.say("QUIT");
    client.finish().exits(0);
    let mut client = pair.client(&[]);
    client.shows("They say: two");
}

#[test]
fn a_quit_over_a_lost_link_is_seen_to_be_tried() {
    for quit in ["QUIT\r", "\u{3}"] {
        let (pair, terminal) = at_the_client();
        drop(pair.server);
        terminal.shows("The link is lost.");
        terminal.ends_with(PROMPT);
        terminal.types(quit);
        terminal.shows(GOODBYE);
    }
}

#[test]
fn a_quit_whose_link_is_lost_meanwhile_is_seen_to_be_tried() {
    let (pair, terminal) = at_the_client();
    pair.server.program.freezes();
    terminal.types("QUIT\r");
    terminal.shows("Your message: QUIT");
    drop(pair.server);
    terminal.shows(GOODBYE);
}

#[test]
fn a_quit_out_of_turn_over_a_lost_link_is_seen_to_be_tried() {
    let (pair, terminal) = at_the_client();
    terminal.types("Hi\r");
    let mut server = pair.server;
    server.program.stdout.line_with("They say: Hi");
    drop(server);
    terminal.shows("The link is lost.");
    terminal.types("\u{3}");
    terminal.shows(GOODBYE);
}

#[test]
fn a_restarted_client_whose_server_is_away_is_seen_to_quit() {
    let (pair, terminal) = at_the_client();
    terminal.types("Hi\r");
    let mut server = pair.server;
    server.program.stdout.line_with("They say: Hi");
    let address = server.address.clone();
    drop((server, terminal));
    let pin = pair.alice.key();
    let calling = ["client", &address, "--pin", &pin];
    let terminal = Terminal::start(pair.bob.turnchat(&calling));
    terminal.shows("The link is lost.");
    terminal.types("\u{3}");
    terminal.shows(GOODBYE);
}

#[test]
fn a_server_that_quits_over_a_lost_link_is_seen_to_try() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let server = AtTheServer::holding(alice);
    let client = server.call(&bob, &[]);
    server.terminal.ends_with(PROMPT);
    drop(client);
    server.terminal.shows("The link is lost.");
    server.terminal.ends_with(PROMPT);
    server.terminal.types("QUIT\r");
    server.terminal.shows(GOODBYE);
}

#[test]
fn a_conversation_that_is_held_no_longer_takes_no_goodbye() {
    let (pair, terminal) = holding("1ms");
    drop(pair.server);
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(4));
    assert!(!rows.join("\n").contains(GOODBYE), "{rows:#?}");
}

#[test]
fn a_quit_over_a_link_that_holds_is_not_spoken_of() {
    for quit in ["QUIT\r", "\u{3}"] {
        let (_pair, terminal) = at_the_client();
        terminal.types(quit);
        let (_, rows) = terminal.finish();
        assert!(!rows.join("\n").contains(GOODBYE), "{rows:#?}");
    }
}

/// What a server has in its pipe as it stops is counted, a line without its end included.
#[test]
fn a_server_counts_the_lines_that_are_left_as_it_stops() {
    for how in ["--once", "SIGTERM", "SIGINT"] {
        let once = ["--once"];
        let mut pair = Pair::new(if how == "--once" { &once } else { &[] });
        let client = pair.client(&[]);
        pair.server.program.stderr.line_with("Connected with");
        pair.server.program.write(b"one\nthree\nfive\nno end yet");
        pair.server.program.shows("Your message: one");
        match how {
            "SIGTERM" => pair.server.program.send(Signal::SIGTERM),
            "SIGINT" => pair.server.program.send(Signal::SIGINT),
            _ => client.say("QUIT"),
        }
        let told = "turnchat: 3 lines of standard input were not sent.";
        assert_eq!(pair.server.program.stderr.line_with("not sent"), told);
        pair.server.program.finish();
    }
}

/// A conversation has taken none of it: whoever reads on has all of it.
#[test]
fn a_client_that_gets_no_conversation_leaves_its_input_alone() {
    let bob = Person::new();
    let pin = bob.key();
    let client = bob.start(&["client", "127.0.0.1:1", "--pin", &pin]);
    client.say("one");
    let said = client.finish().fails(4, &[]);
    assert!(!said.contains("standard input"), "{said}");
}
