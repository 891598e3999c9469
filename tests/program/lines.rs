//! A person at a terminal where the line editor cannot run: the terminal gives whole lines.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{JSON_SERVER, Pair, Person, Server, Terminal, behind_a_shell, piped, say};
use crate::storm::Link;
use crate::terminal::{CHOICES, PROMPT};

/// Bob at a terminal without cursor keys, and alice's server with a pipe.
fn at_the_client() -> (Pair, Terminal) {
    let pair = Pair::new(&[]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let mut command = pair.bob.turnchat(&calling);
    command.env("TERM", "dumb");
    let terminal = Terminal::start(command);
    terminal.shows("Connected with");
    (pair, terminal)
}

/// How many prompts begin a row.
fn prompts(rows: &[String]) -> usize {
    let rows = rows.iter().filter(|row| row.starts_with(PROMPT.trim_end()));
    rows.count()
}

#[test]
fn an_empty_line_is_asked_again() {
    let (mut pair, terminal) = at_the_client();
    pair.server.program.say("Hello");
    terminal.ends_with(PROMPT);
    terminal.types("\r");
    terminal.until("a second prompt", |rows| {
        rows.ends_with(&[PROMPT.trim_end().to_owned(), PROMPT.trim_end().to_owned()])
    });
    terminal.types("Hi\r");
    pair.server.program.shows("Your message: Hello");
    pair.server.program.shows("They say: Hi");
}

#[test]
fn what_was_typed_ahead_is_shown_at_the_prompt_and_sent_only_at_enter() {
    let (mut pair, terminal) = at_the_client();
    terminal.types("too early\r");
    terminal.shows("too early");
    pair.server.program.say("Hello");
    terminal.shows("not sent: too early");
    terminal.ends_with(PROMPT);
    pair.server.program.shows("Your message: Hello");

    // Enter alone sends it.
    terminal.types("\r");
    pair.server.program.shows("They say: too early");
    terminal.shows("Your message: too early");

    // Anything else is sent in its place.
    terminal.types("early again\r");
    terminal.shows("early again");
    pair.server.program.say("Go on");
    terminal.shows("not sent: early again");
    terminal.ends_with(PROMPT);
    terminal.types("in its place\r");
    pair.server.program.shows("Your message: Go on");
    pair.server.program.shows("They say: in its place");
}

#[test]
fn quit_typed_ahead_does_not_quit_before_enter() {
    let (pair, terminal) = at_the_client();
    terminal.types("QUIT\r");
    terminal.shows("QUIT");
    pair.server.program.say("Hello");
    terminal.shows("not sent: QUIT");
    terminal.ends_with(PROMPT);
    terminal.types("\r");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn the_end_of_input_at_a_terminal_is_quit() {
    let (pair, terminal) = at_the_client();
    pair.server.program.say("Hello");
    terminal.ends_with(PROMPT);
    terminal.types("\u{4}");
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(0));
    assert_eq!(rows.last().unwrap(), PROMPT.trim_end());
    let mut server = pair.server;
    server
        .program
        .stderr
        .line_with("has ended the conversation");
}

#[test]
fn a_message_arriving_leaves_the_prompt_alone_and_other_words_do_not() {
    let (pair, terminal) = at_the_client();
    pair.server.program.say("Hello");
    terminal.ends_with(PROMPT);
    terminal.types("half a line");
    terminal.ends_with("Your message: half a line");
    drop(pair.server);
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(4));
    let prompt = rows
        .iter()
        .position(|row| row == "Your message: half a line");
    let prompt = prompt.expect("the prompt stands on a row of its own");
    let said = rows[prompt + 1..].join(" ");
    assert!(said.starts_with("Not sent: half a line"), "{said}");
    assert!(said.contains("The connection was lost"), "{said}");
}

/// The terminal itself cuts a line at 4,095 bytes, and tells nobody.
#[test]
fn a_line_that_the_terminal_has_cut_is_not_sent() {
    let (mut pair, terminal) = at_the_client();
    pair.server.program.say("Hello");
    terminal.ends_with(PROMPT);
    terminal.types(&"x".repeat(4_200));
    terminal.types("\r");
    terminal.shows("was not sent. Say it in several turns.");
    terminal.ends_with(PROMPT);
    terminal.types("Hi\r");
    pair.server.program.shows("Your message: Hello");
    pair.server.program.shows("They say: Hi");
}

#[test]
fn a_line_that_is_refused_is_asked_for_again_behind_a_pipe_too() {
    let pair = Pair::new(&["--first", "Hello"]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let terminal = Terminal::start(piped("| cat", &pair.bob.turnchat(&calling)));
    terminal.until("a prompt", |rows| prompts(rows) == 1);
    // What comes through the pipe may come later.
    terminal.shows("They say: Hello");
    terminal.types(&"x".repeat(4_200));
    terminal.types("\r");
    // The first is far above by now.
    terminal.shows("Say it in several turns.");
    terminal.ends_with(PROMPT);
}

/// The terminal echoes what is typed at any time: behind that, a row would be wrapped where the
/// peer's words would begin the next one.
#[test]
fn what_is_typed_ahead_does_not_shift_the_peers_rows() {
    for how in ["", "2>&1 | cat"] {
        let pair = Pair::new(&[]);
        let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
        let mut command = pair.bob.turnchat(&calling);
        command.env("TERM", "dumb");
        let terminal = Terminal::start(piped(how, &command));
        terminal.shows("Connected with");
        terminal.types("half");
        terminal.ends_with("half");
        let forged = format!("{}Your message: yes", "x".repeat(89));
        pair.server.program.say(&forged);
        let rows = terminal.ends_with(PROMPT);
        assert!(
            rows.contains(&format!("They say: {}", "x".repeat(89))),
            "{how} {rows:#?}"
        );
        let first = rows.iter().position(|row| row.starts_with("They say"));
        assert_eq!(rows[first.unwrap() + 1], "    Your message: yes");
    }
}

#[test]
fn a_notice_begins_a_row_whatever_is_half_typed() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = Server::of(alice.start(&JSON_SERVER));
    let link = Link::to(server.address.rsplit(':').next().unwrap().parse().unwrap());
    let address = format!("127.0.0.1:{}", link.port);
    let mut command = bob.turnchat(&["client", &address, "--pin", &alice.key()]);
    command.env("TERM", "dumb");
    let terminal = Terminal::start(command);
    terminal.shows("Ctrl-C at any time.");
    terminal.types("half");
    terminal.ends_with("half");
    link.cut();
    let rows = terminal.shows("The link is back.");
    for words in ["The link is lost.", "The link is back."] {
        let begins = |row: &String| row.starts_with(&format!("turnchat: {words}"));
        assert!(rows.iter().any(begins), "{rows:#?}");
    }
}

#[test]
fn the_end_of_input_stops_a_server_and_says_so() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut command = alice.turnchat(&["server", "--listen", "127.0.0.1:0"]);
    command.env("TERM", "dumb");
    let terminal = Terminal::start(command);
    let address = terminal.listens();
    let mut client = bob.start(&["client", &address, "--pin", &alice.key(), "--json"]);
    client.expect("connected");
    terminal.ends_with(PROMPT);
    terminal.types("\u{4}");
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(0));
    let said = rows.join(" ");
    assert!(said.contains("Standard input has ended (Ctrl-D"), "{said}");
    assert!(!said.contains("Waiting for the next one"), "{said}");
}

/// The terminal itself cuts such a line; what is left is not JSON.
#[test]
fn a_command_that_the_terminal_has_cut_is_called_too_long() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = Server::of(alice.start(&JSON_SERVER));
    let calling = ["client", &server.address, "--pin", &alice.key(), "--json"];
    let terminal = Terminal::start(bob.turnchat(&calling));
    terminal.shows("\"connected\"");
    terminal.types(&"x".repeat(4_200));
    terminal.types("\r");
    let rows = terminal.shows("\"error\"");
    let said = rows.join("");
    assert!(said.contains("too-long") && said.contains("4094"), "{said}");
    assert!(!said.contains("not JSON"), "{said}");
}

#[test]
fn words_at_a_prompt_for_enter_are_named() {
    for is_withdrawn in [false, true] {
        let (alice, bob) = (Person::new(), Person::new());
        alice.knows("bob", &bob);
        let mut command = alice.turnchat(&["server", "--listen", "127.0.0.1:0"]);
        command.env("TERM", "dumb");
        let terminal = Terminal::start(command);
        let address = terminal.listens();
        let calling = ["client", &address, "--pin", &alice.key(), "--json"];
        let mut first = bob.start(&calling);
        first.expect("connected");
        first.say("{\"quit\":{}}");
        first.finish().exits(0);
        terminal.shows("has ended the conversation");
        let mut second = bob.start(&calling);
        second.expect("waiting");
        let question = "Next: bob is waiting. Press Enter to begin. ";
        terminal.ends_with(question);
        terminal.types("hasty");
        terminal.ends_with(&format!("{question}hasty"));
        match is_withdrawn {
            true => second.say("{\"quit\":{}}"),
            false => terminal.types("\r"),
        }
        terminal.until("it named", |rows| {
            rows.contains(&"Not sent: hasty".to_owned())
        });
    }
}

/// The terminal holds a half line back until Enter: then it would be sent with what was typed
/// at the prompt, and nobody has seen it there.
#[test]
fn half_a_line_typed_ahead_is_shown_at_the_prompt_too() {
    for end in ["", "\u{4}"] {
        let (mut pair, terminal) = at_the_client();
        terminal.types(&format!("half{end}"));
        terminal.ends_with("half");
        pair.server.program.say("Hello");
        terminal.shows("not sent: half");
        terminal.ends_with(PROMPT);
        terminal.types("\r");
        pair.server.program.shows("Your message: Hello");
        // Of Ctrl-D nothing is left in it.
        pair.server.program.shows("They say: half");
    }
}

#[test]
fn lines_typed_ahead_are_shown_as_lines() {
    let (pair, terminal) = at_the_client();
    terminal.types("one\rtwo\r");
    terminal.ends_with("two");
    pair.server.program.say("Hello");
    let rows = terminal.ends_with(PROMPT);
    let quoted = rows.iter().position(|row| row.ends_with("not sent: one"));
    assert_eq!(rows[quoted.unwrap() + 1], "    two", "{rows:#?}");
}

#[test]
fn what_was_half_typed_at_the_end_is_named_and_nothing_else() {
    for typed in ["half", ""] {
        let (pair, terminal) = at_the_client();
        pair.server.program.say("Hello");
        terminal.ends_with(PROMPT);
        terminal.types(typed);
        terminal.ends_with(&format!("{PROMPT}{typed}"));
        pair.server.program.send(Signal::SIGINT);
        let (_, rows) = terminal.finish();
        let named: Vec<_> = rows.iter().filter(|row| row.contains("ot sent")).collect();
        match typed {
            "" => assert!(named.is_empty(), "{rows:#?}"),
            _ => assert_eq!(named, ["Not sent: half"], "{rows:#?}"),
        }
    }
}

#[test]
fn a_prompt_that_goes_through_a_pipe_is_there_again_after_ctrl_z() {
    let pair = Pair::new(&["--first", "Hello"]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let piped = piped("| cat", &pair.bob.turnchat(&calling));
    let terminal = Terminal::with_jobs(&piped, false);
    terminal.until("a prompt", |rows| prompts(rows) == 1);
    terminal.types("\u{1a}");
    terminal.shows("[stopped]");
    terminal.types("\r");
    terminal.until("a second one", |rows| prompts(rows) == 2);
}

#[test]
fn the_prompt_is_there_again_after_ctrl_z() {
    let pair = Pair::new(&["--first", "Hello"]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let mut command = pair.bob.turnchat(&calling);
    command.env("TERM", "dumb");
    let terminal = Terminal::with_jobs(&command, false);
    terminal.ends_with(PROMPT);
    terminal.types("half\u{1a}");
    terminal.shows("[stopped]");
    terminal.types("\r");
    // The terminal forgets the line that it holds.
    terminal.shows("turnchat: Continued. Ctrl-Z throws away a line that is half typed.");
    terminal.ends_with(PROMPT);
}

/// The terminal has echoed it, and it has no end.
#[test]
fn what_was_half_typed_for_nobody_is_named_and_ends_its_row() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut command = alice.turnchat(&["server", "--listen", "127.0.0.1:0", "--allow", &bob.key()]);
    command.env("TERM", "dumb");
    let terminal = Terminal::start(command);
    let address = terminal.listens();
    terminal.types("half");
    terminal.shows("half");
    let _client = bob.start(&["client", &address, "--pin", &alice.key(), "--json"]);
    let rows = terminal.ends_with(PROMPT);
    for row in ["half", "Not sent: half"] {
        assert!(rows.contains(&row.to_owned()), "{rows:#?}");
    }
    let connected = |row: &String| row.starts_with("turnchat: Connected");
    assert!(rows.iter().any(connected), "{rows:#?}");
}

/// Somebody else has the terminal: to change it, or to read there, would stop the program.
/// At Ctrl-Z the terminal forgets what nobody has read, whole lines too.
#[test]
fn whole_lines_typed_ahead_outlive_ctrl_z() {
    let mut pair = Pair::new(&[]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let mut command = pair.bob.turnchat(&calling);
    command.env("TERM", "dumb");
    let terminal = Terminal::with_jobs(&command, false);
    terminal.shows("Connected with");
    terminal.types("a whole line\r");
    terminal.shows("a whole line");
    terminal.is_read();
    terminal.types("half\u{1a}");
    terminal.shows("[stopped]");
    terminal.types("\r");
    terminal.shows("Continued.");
    pair.server.program.say("Hello");
    terminal.shows("not sent: a whole line");
    terminal.ends_with(PROMPT);
    terminal.types("\r");
    pair.server.program.shows("Your message: Hello");
    pair.server.program.shows("They say: a whole line");
}

/// At Ctrl-C too.
#[test]
fn whole_lines_typed_ahead_are_named_at_ctrl_c() {
    let (_pair, terminal) = at_the_client();
    terminal.types("a whole line\r");
    terminal.shows("a whole line");
    terminal.is_read();
    terminal.types("\u{3}");
    let (_, rows) = terminal.finish();
    assert!(
        rows.contains(&"Not sent: a whole line".to_owned()),
        "{rows:#?}"
    );
}

/// A terminal that does not say how many columns it has: 80 are assumed.
#[test]
fn a_message_at_a_terminal_of_no_size_is_wrapped_and_escaped() {
    let pair = Pair::new(&[]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let mut command = pair.bob.turnchat(&calling);
    command.env("LC_ALL", "C");
    let script = r#"stty cols 0 rows 0; exec "$0" "$@""#;
    let terminal = Terminal::start(behind_a_shell(script, &command));
    terminal.shows("Connected with");
    let forged = format!("\u{db}{}turnchat: Type your passphrase:", "z".repeat(75));
    pair.server.program.say(&forged);
    terminal.shows("passphrase:");
    let written = String::from_utf8(terminal.written()).unwrap();
    assert!(written.contains("\\u{db}zzz"), "{written}");
    assert!(!written.contains("\nturnchat: Type"), "{written}");
}

#[test]
fn what_is_half_typed_at_sigterm_with_json_is_not_left_to_the_shell() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = Server::of(alice.start(&JSON_SERVER));
    let client = bob.turnchat(&["client", &server.address, "--pin", &alice.key(), "--json"]);
    let terminal = at_a_shell(&client);
    terminal.shows("\"connected\"");
    terminal.types("echo pwned");
    terminal.shows("echo pwned");
    terminal.send_to_job(Signal::SIGTERM);
    terminal.shows("Not sent: echo pwned");
}

#[test]
fn a_server_in_the_background_serves_and_asks_once_it_is_in_front() {
    // bash sends no SIGCONT to a job that runs.
    for (shell, how) in [("sh", ""), ("bash", ""), ("bash", "| cat")] {
        let (alice, bob) = (Person::new(), Person::new());
        alice.knows("bob", &bob);
        let mut command = alice.turnchat(&["server", "--listen", "127.0.0.1:0"]);
        command.env("TERM", "dumb");
        let terminal = Terminal::with_jobs_of(shell, &piped(how, &command), true);
        let address = terminal.listens();
        let mut client = bob.start(&["client", &address, "--pin", &alice.key(), "--json"]);
        client.expect("connected");
        terminal.shows("Connected with bob");
        let prompts = |rows: &[String]| {
            let rows = rows.iter().filter(|row| row.contains(PROMPT.trim_end()));
            rows.count()
        };
        terminal.until("a prompt", |rows| prompts(rows) == 1);
        // It is not for the server, which would take it or stop.
        terminal.types("for the shell\r");
        terminal.until("a second one", |rows| prompts(rows) == 2);
        assert!(!terminal.screen().join(" ").contains("half typed"));
        terminal.types("Hello\r");
        assert_eq!(client.expect("turn")["text"], "Hello");
    }
}

/// A shell that runs the command as a job, and then reads a line itself.
fn at_a_shell(command: &Command) -> Terminal {
    let script = r#"set -m; "$0" "$@"; echo "[the shell]"; read line; echo "[it has '$line']""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(command.get_program());
    shell.args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.expect("a value"));
    }
    Terminal::start(shell)
}

#[test]
fn what_is_half_typed_at_sigterm_is_named_and_not_left_to_the_shell() {
    for has_turn in [true, false] {
        let pair = Pair::new(if has_turn { &["--first", "Hello"] } else { &[] });
        let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
        let mut command = pair.bob.turnchat(&calling);
        command.env("TERM", "dumb");
        let terminal = at_a_shell(&command);
        terminal.shows("Connected with");
        if has_turn {
            terminal.ends_with(PROMPT);
        }
        terminal.types("rm -r");
        terminal.until("it", |rows| {
            rows.last().is_some_and(|row| row.ends_with("rm -r"))
        });
        terminal.send_to_job(Signal::SIGTERM);
        terminal.until("it named", |rows| {
            rows.contains(&"Not sent: rm -r".to_owned())
        });
        // What is typed until then is thrown away with the half line.
        terminal.shows("[the shell]");
        terminal.types("\r");
        terminal.shows("[it has '']");
    }
}

/// So does a question about a key.
#[test]
fn a_question_about_a_key_begins_a_row_behind_what_is_half_typed() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut command = alice.turnchat(&["server", "--listen", "127.0.0.1:0"]);
    command.env("TERM", "dumb");
    let terminal = Terminal::start(command);
    let address = terminal.listens();
    terminal.types("half");
    terminal.shows("half");
    let _client = bob.start(&["client", &address, "--pin", &alice.key(), "--json"]);
    let rows = terminal.ends_with(CHOICES);
    assert!(rows.contains(&"half".to_owned()), "{rows:#?}");
    let question = |row: &String| row.starts_with("A key that you don't know");
    assert!(rows.iter().any(question), "{rows:#?}");
}

/// The terminal has echoed Ctrl-C, and the shell goes on below it.
#[test]
fn who_leaves_the_queue_leaves_no_half_row() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = Server::of(alice.start(&JSON_SERVER));
    let mut talking = bob.start(&["client", &server.address, "--pin", &alice.key(), "--json"]);
    talking.expect("connected");
    let other = Person::new();
    let mut command = other.turnchat(&["client", &server.address, "--pin", &alice.key()]);
    command.env("TERM", "dumb");
    let terminal = at_a_shell(&command);
    terminal.shows("Waiting: you are next");
    terminal.types("\u{3}");
    let rows = terminal.shows("[the shell]");
    assert!(rows.contains(&"[the shell]".to_owned()), "{rows:#?}");
}

/// Nothing is gone then, and Enter was pressed before the prompt could be written anew.
#[test]
fn a_line_entered_while_it_was_stopped_is_sent_from_the_prompt_that_stands_there() {
    let mut pair = Pair::new(&["--first", "Hello"]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let mut command = pair.bob.turnchat(&calling);
    command.env("TERM", "dumb");
    let terminal = Terminal::start(command);
    terminal.ends_with(PROMPT);
    terminal.freezes();
    terminal.types("too late\r");
    terminal.ends_with("Your message: too late");
    terminal.send(Signal::SIGCONT);
    pair.server.program.shows("Your message: Hello");
    pair.server.program.shows("They say: too late");
    let rows = terminal.shows("Continued.");
    assert_eq!(prompts(&rows), 1, "{rows:#?}");
    pair.server.program.say("Bye");
    let rows = terminal.ends_with(PROMPT);
    assert!(!rows.join(" ").contains("is gone"), "{rows:#?}");
}

/// Nothing of it is sent that was not seen as a whole.
#[test]
fn a_half_typed_line_that_a_notice_has_covered_is_shown_again() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let link = Link::to(server.address.rsplit(':').next().unwrap().parse().unwrap());
    let address = format!("127.0.0.1:{}", link.port);
    let mut command = bob.turnchat(&["client", &address, "--pin", &alice.key()]);
    command.env("TERM", "dumb");
    let terminal = Terminal::start(command);
    server.program.expect("listening");
    server.program.expect("connected");
    server.program.expect("your-turn");
    server.program.say(&say("Hello"));
    terminal.ends_with(PROMPT);
    terminal.types("half");
    terminal.ends_with("Your message: half");
    link.cut();
    terminal.shows("The link is back.");
    terminal.shows("Begun before this prompt, and not sent: half");
    terminal.ends_with(PROMPT);
    terminal.types(" a line\r");
    terminal.shows("Typed before this prompt, and not sent: half a line");
    terminal.ends_with(PROMPT);
    terminal.types("\r");
    while server.program.event()["text"] != "half a line" {}
}
