//! The line editor in a real terminal: what is written survives everything that happens
//! there, and nothing is sent that could not be seen.

use nix::sys::signal::Signal;

use crate::harness::{JSON_SERVER, Pair, Person, Server, Terminal, json_client, say};
use crate::terminal::PROMPT;

/// Bob at a terminal, whose turn it is, and alice's server with a pipe.
fn in_turn() -> (Pair, Terminal) {
    let (mut pair, terminal) = out_of_turn();
    pair.server.program.say("Hello");
    pair.server.program.shows("Your message: Hello");
    terminal.ends_with(PROMPT);
    (pair, terminal)
}

/// The same, before alice has spoken.
fn out_of_turn() -> (Pair, Terminal) {
    let pair = Pair::new(&[]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let terminal = Terminal::start(pair.bob.turnchat(&calling));
    terminal.shows("Connected with");
    (pair, terminal)
}

/// What a terminal makes of a text from the clipboard.
fn pasted(text: &str) -> String {
    format!("\x1b[200~{}\x1b[201~", text.replace('\n', "\r"))
}

#[test]
fn pasted_lines_are_one_message_and_are_shown_as_lines() {
    let (mut pair, terminal) = in_turn();
    terminal.types(&pasted("one\ntwo\nthree"));
    terminal.until("three rows", |rows| {
        rows.ends_with(&["Your message: one", "    two", "    three"].map(String::from))
    });
    terminal.types("\r");
    pair.server.program.shows("They say: one");
    pair.server.program.shows("    two");
    pair.server.program.shows("    three");
    terminal.until("it in the transcript", |rows| {
        let last = rows.len().saturating_sub(1);
        rows[..last].ends_with(&["Your message: one", "    two", "    three"].map(String::from))
    });
}

#[test]
fn alt_enter_makes_a_line_and_arrows_bring_back_what_was_said() {
    let (mut pair, terminal) = in_turn();
    terminal.types("one\x1b\rtwo");
    terminal.ends_with("    two");
    terminal.types("\r");
    pair.server.program.shows("They say: one");
    pair.server.program.shows("    two");
    pair.server.program.say("Again, please");
    terminal.ends_with(PROMPT);
    terminal.types("\x1b[A");
    terminal.ends_with("    two");
    terminal.types("!\r");
    pair.server.program.shows("Your message: Again, please");
    pair.server.program.shows("They say: one");
    pair.server.program.shows("    two!");
}

/// The most that a message may have, and more than a terminal's own line.
#[test]
fn a_long_message_arrives_whole_and_a_longer_one_is_refused_whole() {
    let (mut pair, terminal) = in_turn();
    let text = "0123456789abcdef".repeat(4_096);
    terminal.types(&pasted(&text));
    // A pasted text that finds no room is refused, and leaves what stands there.
    terminal.types(&pasted("more"));
    terminal.shows("What you pasted is not taken");
    terminal.types("\r");
    let line = pair.server.program.stdout.line();
    assert_eq!(line, format!("They say: {text}"));
    pair.server.program.say("Thanks");
    terminal.ends_with(PROMPT);
    terminal.types(&pasted(&"x".repeat(65_537)));
    terminal.types("too much\r");
    pair.server.program.shows("Your message: Thanks");
    pair.server.program.shows("They say: too much");
}

#[test]
fn what_is_written_outlives_ctrl_z() {
    let pair = Pair::new(&[]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let mut program = pair.server.program;
    let terminal = Terminal::with_jobs(&pair.bob.turnchat(&calling), false);
    terminal.shows("Connected with");
    program.say("Hello");
    terminal.ends_with(PROMPT);
    terminal.types("half a line");
    terminal.ends_with("Your message: half a line");
    terminal.types("\x1a");
    let rows = terminal.shows("[stopped]");
    assert!(!rows.iter().any(|row| row.contains("half")), "{rows:#?}");
    // The terminal is the shell's: it echoes.
    terminal.types("as typed at a shell\r");
    terminal.shows("as typed at a shell");
    terminal.ends_with("Your message: half a line");
    terminal.types(", and the rest\r");
    program.shows("Your message: Hello");
    program.shows("They say: half a line, and the rest");
    program.say("QUIT");
    terminal.ends_with("[ended with 0]");
}

#[test]
fn a_server_in_the_background_serves_and_asks_once_it_is_in_front() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let serving = alice.turnchat(&["server", "--listen", "127.0.0.1:0"]);
    let terminal = Terminal::with_jobs(&serving, true);
    let rows = terminal.shows("Your peer runs: ");
    let listening = rows
        .iter()
        .find_map(|row| row.split("Listening on ").nth(1));
    let address = listening.expect("where it listens");
    let mut client = bob.start(&["client", address, "--pin", &alice.key(), "--json"]);
    client.expect("connected");
    terminal.shows("Connected with bob");
    terminal.types("fg\r");
    terminal.ends_with(PROMPT);
    terminal.types("Hello\r");
    assert_eq!(client.expect("turn")["text"], "Hello");
    client.say(r#"{"quit":{}}"#);
    terminal.shows("bob has ended the conversation");
    terminal.types("\x03");
    terminal.ends_with("[ended with 130]");
}

#[test]
fn a_narrower_window_redraws_prompt_and_draft() {
    let (mut pair, mut terminal) = in_turn();
    let words = "so many words that they fill more than one row of forty cells";
    terminal.types(words);
    terminal.ends_with(&format!("Your message: {words}"));
    terminal.resize(40);
    terminal.until("rows of forty", |rows| {
        rows.ends_with(&[
            "Your message: so many words that they f".to_owned(),
            "    ill more than one row of forty cell".to_owned(),
            "    s".to_owned(),
        ])
    });
    terminal.types("!\r");
    pair.server.program.shows(&format!("They say: {words}!"));
}

/// A message entered just as the peer's quit is on its way is named.
#[test]
fn what_was_entered_as_the_peer_quit_is_named() {
    let (mut pair, terminal) = in_turn();
    terminal.types("Are you");
    terminal.ends_with("Your message: Are you");
    terminal.send(Signal::SIGSTOP);
    pair.server.program.send(Signal::SIGINT);
    terminal.types(" there?\r");
    // The quit is in the client's socket once the server waits for its answer.
    pair.server.program.stderr.line_with("Saying goodbye");
    terminal.send(Signal::SIGCONT);
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(4), "{rows:#?}");
    let named = rows.iter().any(|row| row == "Not sent: Are you there?");
    assert!(named, "{rows:#?}");
}

#[test]
fn an_empty_prompt_leaves_no_word_behind() {
    let (pair, terminal) = in_turn();
    pair.server.program.send(Signal::SIGINT);
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(0));
    let said = rows.join(" ");
    assert!(!said.contains("sent"), "{rows:#?}");
    assert!(!said.contains("Your message:"), "{rows:#?}");
}

/// Where a conversation stands when the window is closed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    MyTurn,
    TheirTurn,
    Between,
}

#[test]
fn a_server_whose_window_is_closed_parks_its_conversation() {
    for moment in [Moment::MyTurn, Moment::TheirTurn, Moment::Between] {
        let (alice, bob) = (Person::new(), Person::new());
        alice.knows("bob", &bob);
        let terminal = Terminal::start(alice.turnchat(&["server", "--listen", "127.0.0.1:0"]));
        let rows = terminal.shows("Your peer runs: ");
        let listening = rows
            .iter()
            .find_map(|row| row.strip_prefix("Listening on "));
        let address = listening.expect("where it listens").to_owned();
        let client = ["client", &address, "--pin", &alice.key(), "--json"];
        let mut client = (moment != Moment::Between).then(|| bob.start(&client));
        if let Some(client) = &mut client {
            client.expect("connected");
            terminal.ends_with(PROMPT);
        }
        if let Some(client) = &mut client {
            terminal.types("Hello\r");
            client.stdout.line_with("\"your-turn\"");
            if moment == Moment::MyTurn {
                client.say(&say("Hi"));
                terminal.shows("They say: Hi");
                terminal.ends_with(PROMPT);
            }
        }
        assert_eq!(terminal.close(), Some(129), "{moment:?}");
        let Some(client) = &mut client else { continue };

        // It goes on at the next start, where it was.
        let again = Terminal::start(alice.turnchat(&["server", "--listen", &address]));
        again.shows("Going on with your conversation with bob");
        client.stdout.line_with("\"resumed\"");
        match moment {
            Moment::MyTurn => {
                again.ends_with(PROMPT);
                again.types("Hello again\r");
                client.stdout.line_with("Hello again");
            }
            _ => {
                client.say(&say("Hi"));
                again.shows("They say: Hi");
            }
        }
    }
}

#[test]
fn a_client_whose_window_is_closed_parks_its_conversation() {
    for has_turn in [true, false] {
        let (alice, bob) = (Person::new(), Person::new());
        let mut server = Server::of(alice.start(&JSON_SERVER));
        let at_terminal = ["client", &server.address, "--pin", &alice.key()];
        let terminal = Terminal::start(bob.turnchat(&at_terminal));
        terminal.shows("Connected with");
        if has_turn {
            server.program.say(&say("Hello"));
            terminal.ends_with(PROMPT);
            terminal.types("a draft");
            terminal.ends_with("Your message: a draft");
        }
        assert_eq!(terminal.close(), Some(129), "in turn: {has_turn}");
        server.program.stdout.line_with("\"lost\"");

        let again = crate::harness::Program::start(json_client(&bob, &server, &alice));
        server.program.stdout.line_with("\"resumed\"");
        drop(again);
    }
}
