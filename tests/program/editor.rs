//! The line editor in a real terminal: what is written survives everything that happens
//! there, and nothing is sent that could not be seen.

use std::io::{BufRead as _, BufReader};

use nix::sys::signal::Signal;

use crate::harness::{JSON_SERVER, Pair, Person, Server, Terminal, json_client, piped, say};
use crate::storm::Link;
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
    // bash sends no SIGCONT to a job that runs; the gate itself needs it.
    for shell in ["sh", "bash"] {
        in_the_background_of(shell);
    }
}

fn in_the_background_of(shell: &str) {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let serving = alice.turnchat(&["server", "--listen", "127.0.0.1:0"]);
    let terminal = Terminal::with_jobs_of(shell, &serving, true);
    let address = terminal.listens();
    let mut client = bob.start(&["client", &address, "--pin", &alice.key(), "--json"]);
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

/// The rows of a long message are told from what the peer says, which stays in sight.
#[test]
fn a_draft_taller_than_the_screen_says_whose_it_is() {
    let (_pair, terminal) = in_turn();
    let lines: Vec<_> = (0..60).map(|line| format!("line {line}")).collect();
    terminal.types(&pasted(&lines.join("\n")));
    let rows = terminal.ends_with("    line 59");
    let theirs = rows.iter().position(|row| row == "They say: Hello");
    let ours = &rows[theirs.expect("what the peer says") + 1];
    let above = ours.strip_prefix("Your message: (").expect("whose it is");
    let above = above.strip_suffix(" rows above)").expect("how many rows");
    let first = &rows[theirs.unwrap() + 2];
    assert_eq!(*first, format!("    line {above}"), "{rows:#?}");
}

/// What is pasted is the line; Enter sends it, or does what it says.
#[test]
fn a_pasted_line_has_no_end() {
    let (mut pair, terminal) = in_turn();
    terminal.types(&pasted("Hi\n"));
    terminal.ends_with("Your message: Hi");
    terminal.types("\r");
    pair.server.program.shows("They say: Hi");
    pair.server.program.say("Bye");
    terminal.shows("They say: Bye");
    terminal.ends_with(PROMPT);
    terminal.types(&pasted("QUIT\n"));
    terminal.ends_with("Your message: QUIT");
    terminal.types("\r");
    assert_eq!(terminal.finish().0, Some(0));
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
    terminal.freezes();
    pair.server.program.send(Signal::SIGINT);
    terminal.types(" there?\r");
    // The quit is as good as in the client's socket.
    pair.server.program.stderr.line_with("Saying goodbye");
    terminal.send(Signal::SIGCONT);
    let (code, rows) = terminal.finish();
    // Unless it was on its way already.
    let said = rows.join(" ");
    let is_named = said.contains("Not sent: Are you there?")
        || said.contains("Your message of turn 2 was not acknowledged");
    match code {
        Some(4) => assert!(is_named, "{rows:#?}"),
        // Or there first.
        _ => {
            assert!(!is_named, "{rows:#?}");
            let shown = &mut pair.server.program.stdout;
            shown.line_with("They say: Are you there?");
        }
    }
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

#[test]
fn a_quiet_program_shows_what_was_typed_ahead_all_the_same() {
    let mut pair = Pair::new(&[]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &["--quiet"]);
    let terminal = Terminal::start(pair.bob.turnchat(&calling));
    // Not before it reads keys: until then the terminal echoes them.
    terminal.ends_with("Waiting for your peer.");
    terminal.types("too early\r");
    terminal.ends_with("Not your turn: too early");
    pair.server.program.say("Hello");
    terminal.ends_with("Your message: too early");
    terminal.types(", but in time\r");
    pair.server.program.shows("Your message: Hello");
    pair.server
        .program
        .shows("They say: too early, but in time");
}

#[test]
fn ctrl_c_says_what_it_does_and_the_second_one_leaves() {
    let (pair, terminal) = in_turn();
    pair.server.program.freezes();
    terminal.types("\x03");
    terminal.ends_with("Saying goodbye. Ctrl-C once more leaves at once.");
    terminal.types("\x03");
    assert_eq!(terminal.finish().0, Some(130));
}

/// What the shell writes next begins a row.
#[test]
fn every_way_out_leaves_the_cursor_on_a_row_of_its_own() {
    for term in ["xterm", "dumb"] {
        for way in ["\x03", "\x04", "QUIT\r", "SIGTERM", "\x03\x03"] {
            let pair = Pair::new(&["--first", "Hello"]);
            let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
            let mut command = pair.bob.turnchat(&calling);
            command.env("TERM", term);
            let terminal = Terminal::with_jobs(&command, false);
            terminal.ends_with(PROMPT);
            match way {
                "SIGTERM" => terminal.send_to_job(Signal::SIGTERM),
                "\x03\x03" => {
                    // Nobody answers the first.
                    pair.server.program.freezes();
                    terminal.types("\x03");
                    terminal.shows("Saying goodbye");
                    terminal.types("\x03");
                }
                keys => terminal.types(keys),
            }
            terminal.shows("[stopped]");
            let rows = terminal.screen();
            assert_eq!(
                rows.last().unwrap(),
                "[stopped]",
                "{term} {way:?} {rows:#?}"
            );
        }
    }
}

/// What others have named stands on stderr, which is wrapped by us.
#[test]
fn no_foreign_text_begins_a_row_on_stderr() {
    let bob = Person::new();
    // As long as 80 columns hold before it: the next row would begin with our own words.
    let forged = "turnchat: Connected with alice.";
    let name = format!("{}{forged}", "x".repeat(44));
    let terminal = Terminal::sized(bob.turnchat(&["fingerprint", &name]), 80);
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(1), "{rows:#?}");
    assert!(
        rows.iter().any(|row| row.contains("Connected")),
        "{rows:#?}"
    );
    let ours = |row: &String| row.starts_with("turnchat: ") || row.starts_with("    ");
    assert!(rows.iter().all(ours), "{rows:#?}");
    assert!(!rows.iter().any(|row| row.starts_with(forged)), "{rows:#?}");
}

/// `turnchat … 2>&1 | tee log`: through the pipe it still reaches the terminal.
#[test]
fn nor_where_stderr_goes_through_a_pipe() {
    let bob = Person::new();
    let forged = "turnchat: Connected with alice.";
    let name = format!("{}{forged}", "x".repeat(44));
    let command = bob.turnchat(&["fingerprint", &name]);
    let terminal = Terminal::sized(piped("2>&1 | cat", &command), 80);
    let (_, rows) = terminal.finish();
    let said = rows.join("");
    assert!(said.contains("Connected"), "{rows:#?}");
    let ours = |row: &String| row.starts_with("turnchat: ") || row.starts_with("    ");
    assert!(rows.iter().all(ours), "{rows:#?}");
    assert!(!rows.iter().any(|row| row.starts_with(forged)), "{rows:#?}");
}

/// `turnchat client … | tee log`: through the pipe it still reaches the terminal.
#[test]
fn a_transcript_that_goes_through_a_pipe_is_wrapped_for_the_terminal() {
    let pair = Pair::new(&["--first", &format!("{}Your message: yes", "x".repeat(90))]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let (reader, writer) = std::io::pipe().unwrap();
    let terminal = Terminal::without_transcript(pair.bob.turnchat(&calling), writer);
    terminal.ends_with(PROMPT);
    let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
    assert_eq!(
        lines.next().unwrap(),
        format!("They say: {}", "x".repeat(89))
    );
    assert_eq!(lines.next().unwrap(), "    xYour message: yes");
}

/// Of such a terminal 9B is a control character, and `Û` is C3 9B.
#[test]
fn a_terminal_that_is_not_utf8_gets_ascii_alone() {
    let mut pair = Pair::new(&[]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let mut command = pair.bob.turnchat(&calling);
    command.env("LC_ALL", "C");
    let terminal = Terminal::start(command);
    terminal.shows("The locale is not UTF-8");
    pair.server.program.say("\u{db}31m, Zo\u{eb}");
    terminal.shows(r"They say: \u{db}31m, Zo\u{eb}");
    terminal.ends_with(PROMPT);
    terminal.types("\u{fc}");
    terminal.ends_with(r"Your message: \u{fc}");
    terminal.types("\r");
    pair.server
        .program
        .shows("Your message: \u{db}31m, Zo\u{eb}");
    pair.server.program.shows("They say: \u{fc}");
    terminal.types("\u{3}");
    let (_, rows) = terminal.finish();
    assert!(rows.iter().all(|row| row.is_ascii()), "{rows:#?}");
}

/// Also where JSON comes there through a pipe.
#[test]
fn such_a_terminal_gets_json_in_ascii_through_a_pipe_too() {
    for how in ["", "| cat"] {
        let pair = Pair::new(&["--first", "\u{db}31m"]);
        let calling = pair.bob.calling(&pair.server, &pair.alice, &["--json"]);
        let mut command = piped(how, &pair.bob.turnchat(&calling));
        command.env("LC_ALL", "C");
        let terminal = Terminal::start(command);
        terminal.shows(r"\u00db31m");
    }
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
        let address = terminal.listens();
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

#[test]
fn a_draft_outlives_a_cut() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let link = Link::to(server.address.rsplit(':').next().unwrap().parse().unwrap());
    let address = format!("127.0.0.1:{}", link.port);
    let terminal = Terminal::start(bob.turnchat(&["client", &address, "--pin", &alice.key()]));
    terminal.shows("Connected with");
    server.program.say(&say("Hello"));
    terminal.ends_with(PROMPT);
    terminal.types("half a line");
    terminal.ends_with("Your message: half a line");
    link.cut();
    terminal.shows("The link is lost.");
    terminal.shows("The link is back.");
    terminal.ends_with("Your message: half a line");
    terminal.types(", and the rest\r");
    server
        .program
        .stdout
        .line_with("\"text\":\"half a line, and the rest\"");
}

/// A terminal that is told `--color never` gets no colours; what paints the last row is none.
#[test]
fn without_colour_no_style_is_written() {
    for (color, has_style) in [("never", false), ("auto", true)] {
        let pair = Pair::new(&["--first", "Hello"]);
        let calling = pair
            .bob
            .calling(&pair.server, &pair.alice, &["--color", color]);
        let terminal = Terminal::start(pair.bob.turnchat(&calling));
        terminal.ends_with(PROMPT);
        let written = String::from_utf8(terminal.written()).unwrap();
        let styles = written.split("\x1b[").skip(1);
        let mut styles = styles.filter(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';');
            end.is_some_and(|end| rest[end..].starts_with('m'))
        });
        assert_eq!(styles.next().is_some(), has_style, "{written:?}");
    }
}

#[test]
fn without_a_terminal_there_is_no_esc_and_no_cr() {
    let mut pair = Pair::new(&["--first", "Hello"]);
    let client = pair.client(&["--color", "auto"]);
    client.say("one\nQUIT");
    pair.server.program.shows("Your message: Hello");
    pair.server.program.shows("They say: one");
    pair.server.program.say("two");
    let client = client.finish();
    client.exits(0);
    let written = client.stdout + &client.stderr;
    assert!(!written.contains(['\x1b', '\r']), "{written:?}");
}

#[test]
fn an_unsent_draft_is_shown_once_more_at_every_end() {
    for has_turn in [true, false] {
        for way in ["\x03", "SIGTERM"] {
            let (_pair, terminal) = if has_turn { in_turn() } else { out_of_turn() };
            terminal.types("half a line");
            terminal.until("the draft", |rows| {
                rows.last()
                    .is_some_and(|row| row.ends_with(": half a line"))
            });
            match way {
                "SIGTERM" => terminal.send(Signal::SIGTERM),
                keys => terminal.types(keys),
            }
            let (_, rows) = terminal.finish();
            let named = rows.iter().any(|row| row == "Not sent: half a line");
            assert!(named, "{has_turn} {way:?} {rows:#?}");
        }
    }
}

/// It is more than a terminal takes at once.
#[test]
fn a_long_draft_is_shown_to_its_last_word_at_the_end() {
    const LAST: &str = "the last words";
    let text = "word\n".repeat(8_000) + LAST;
    let (_pair, terminal) = in_turn();
    terminal.types(&pasted(&text));
    terminal.until("the draft", |rows| {
        rows.last().is_some_and(|row| row.ends_with(LAST))
    });
    terminal.slows_down();
    terminal.send(Signal::SIGTERM);
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(143));
    let last = rows.iter().rfind(|row| !row.is_empty());
    assert!(last.is_some_and(|row| row.ends_with(LAST)), "{rows:#?}");
}

#[test]
fn what_is_written_in_the_queue_is_a_draft_for_the_conversation() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let first = crate::harness::Program::start(json_client(&other, &server, &alice));
    server.program.stdout.line_with("\"your-turn\"");
    let calling = ["client", &server.address, "--pin", &alice.key()];
    let terminal = Terminal::start(bob.turnchat(&calling));
    terminal.ends_with("Waiting: you are next, once your peer is ready.");
    terminal.types("half a line");
    terminal.ends_with("Not your turn: half a line");
    first.send(Signal::SIGTERM);
    server.program.say(r#"{"quit":{}}"#);
    let connected = server.program.stdout.line_with("\"connected\"");
    let connected: serde_json::Value = serde_json::from_str(&connected).unwrap();
    let on = &connected["conversation"];
    let hello = serde_json::json!({ "say": { "text": "Hello", "conversation": on } });
    server.program.say(&hello.to_string());
    terminal.ends_with("Your message: half a line");
}
