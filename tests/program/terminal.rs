//! A person at a real terminal: prompts, questions, and what is typed too
//! early.

use crate::harness::{Pair, Person, Program, Server, Terminal, server};

pub(crate) const PROMPT: &str = "Your message: ";

/// Bob at a terminal, and alice's server with a pipe.
fn at_the_client(columns: u16) -> (Pair, Terminal) {
    let pair = Pair::new(&[]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let terminal = Terminal::sized(pair.bob.turnchat(&calling), columns);
    terminal.shows("Connected with");
    (pair, terminal)
}

/// Alice's server at a terminal.
pub(crate) struct AtTheServer {
    pub(crate) alice: Person,
    pub(crate) terminal: Terminal,
    pub(crate) address: String,
}

impl AtTheServer {
    /// A server that a lost link ends the conversation of.
    fn start(alice: Person, arguments: &[&str]) -> Self {
        Self::run(alice, &server(arguments))
    }

    /// A server that holds a conversation that was cut.
    pub(crate) fn holding(alice: Person) -> Self {
        Self::run(alice, &["server", "--listen", "127.0.0.1:0"])
    }

    fn run(alice: Person, arguments: &[&str]) -> Self {
        let terminal = Terminal::start(alice.turnchat(arguments));
        let address = terminal.listens();
        Self {
            alice,
            terminal,
            address,
        }
    }

    pub(crate) fn call(&self, who: &Person, arguments: &[&str]) -> Program {
        let pin = self.alice.key();
        let calling = ["client", &self.address, "--pin", &pin, "--hold", "0s"];
        who.start(&[&calling, arguments].concat())
    }
}

#[test]
fn the_prompt_appears_only_on_ones_turn() {
    let (mut pair, terminal) = at_the_client(Terminal::COLUMNS);
    assert!(
        !terminal
            .screen()
            .iter()
            .any(|row| row.contains("Your message"))
    );
    pair.server.program.say("Hello");
    let rows = terminal.ends_with(PROMPT);
    assert_eq!(rows[rows.len() - 2], "They say: Hello");

    terminal.types("Hi\r");
    pair.server.program.shows("Your message: Hello");
    pair.server.program.shows("They say: Hi");
    let rows = terminal.ends_with("Delivered. Waiting for your peer.");
    assert_eq!(rows[rows.len() - 2], "Your message: Hi");
    let said = rows.iter().filter(|row| row.ends_with(": Hi"));
    assert_eq!(said.count(), 1);

    pair.server.program.say("Bye");
    terminal.ends_with(PROMPT);
    terminal.types("QUIT\r");
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(0));
    let transcript: Vec<_> = rows.iter().filter(|row| row.contains(": ")).collect();
    let end = &transcript[transcript.len() - 4..];
    let expected = [
        "They say: Hello",
        "Your message: Hi",
        "They say: Bye",
        "Your message: QUIT",
    ];
    assert_eq!(end, expected);
}

#[test]
fn enter_alone_sends_nothing() {
    let (mut pair, terminal) = at_the_client(Terminal::COLUMNS);
    terminal.types("\r");
    pair.server.program.say("Hello");
    terminal.ends_with(PROMPT);
    terminal.types("\r  \r");
    terminal.types("Hi\r");
    pair.server.program.shows("Your message: Hello");
    pair.server.program.shows("They say:   Hi");
}

#[test]
fn what_was_typed_ahead_is_shown_at_the_prompt_and_sent_only_at_enter() {
    let (mut pair, terminal) = at_the_client(Terminal::COLUMNS);
    terminal.types("too early\r");
    terminal.ends_with("Not your turn: too early");
    pair.server.program.say("Hello");
    terminal.ends_with("Your message: too early");
    pair.server.program.shows("Your message: Hello");

    // On sight, and as it stands then.
    terminal.types(", but well\r");
    pair.server.program.shows("They say: too early, but well");
    let rows = terminal.ends_with("Delivered. Waiting for your peer.");
    assert_eq!(rows[rows.len() - 2], "Your message: too early, but well");

    terminal.types("half ");
    terminal.ends_with("Not your turn: half");
    pair.server.program.say("Go on");
    let rows = terminal.ends_with("Your message: half");
    assert_eq!(rows[rows.len() - 2], "They say: Go on");
    terminal.types("a line\u{15}whole\r");
    pair.server.program.shows("Your message: Go on");
    pair.server.program.shows("They say: whole");
}

#[test]
fn quit_typed_ahead_does_not_quit_before_enter() {
    let (pair, terminal) = at_the_client(Terminal::COLUMNS);
    terminal.types("QUIT\r");
    terminal.ends_with("Not your turn: QUIT");
    pair.server.program.say("Hello");
    terminal.ends_with("Your message: QUIT");
    terminal.types("\r");
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn the_end_of_input_at_a_terminal_is_quit() {
    let (pair, terminal) = at_the_client(Terminal::COLUMNS);
    pair.server.program.say("Hello");
    terminal.ends_with(PROMPT);
    terminal.types("\u{4}");
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(0));
    assert_eq!(rows.last().unwrap(), "They say: Hello");
    let mut server = pair.server;
    server
        .program
        .stderr
        .line_with("has ended the conversation");
}

#[test]
fn ctrl_c_typed_ends_the_conversation_in_and_out_of_turn() {
    for has_turn in [true, false] {
        let (mut pair, terminal) = at_the_client(Terminal::COLUMNS);
        if has_turn {
            pair.server.program.say("Hello");
            terminal.ends_with(PROMPT);
        }
        terminal.types("\u{3}");
        assert_eq!(terminal.finish().0, Some(130));
        pair.server
            .program
            .stderr
            .line_with("has ended the conversation");
    }
}

#[test]
fn ctrl_c_typed_stops_a_server_that_waits() {
    let server = AtTheServer::start(Person::new(), &[]);
    server.terminal.types("\u{3}");
    assert_eq!(server.terminal.finish().0, Some(130));
}

#[test]
fn what_was_being_written_as_the_link_was_lost_is_named() {
    let (pair, terminal) = at_the_client(Terminal::COLUMNS);
    pair.server.program.say("Hello");
    terminal.ends_with(PROMPT);
    terminal.types("half a line");
    terminal.ends_with("Your message: half a line");
    drop(pair.server);
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(4));
    assert!(
        rows.contains(&"Not sent: half a line".to_owned()),
        "{rows:#?}"
    );
    let said = rows.join(" ");
    assert!(said.contains("The connection was lost"), "{said}");
    assert!(!said.contains("Your message: half"), "{said}");
}

#[test]
fn long_foreign_text_is_wrapped_with_every_row_indented() {
    let (pair, terminal) = at_the_client(40);
    let words = "word ".repeat(30);
    let unbroken = "x".repeat(100);
    let wide = "日本語".repeat(20);
    pair.server.program.say(&format!("{words}{unbroken}{wide}"));
    let rows = terminal.ends_with(PROMPT);
    let first = rows
        .iter()
        .position(|row| row.starts_with("They say: word"));
    let first = first.expect("the message");
    let message = &rows[first..rows.len() - 1];
    assert!(message.len() > 7, "{rows:#?}");
    for row in &message[1..] {
        assert!(
            row.starts_with("    ") && !row.starts_with("     "),
            "{rows:#?}"
        );
    }
    let mut shown = String::new();
    for row in message {
        let width: usize = row.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
        assert!(width <= 39, "{width}: {row}");
        shown += row.trim_start_matches("They say:").trim();
    }
    assert_eq!(
        shown.replace(' ', ""),
        format!("{words}{unbroken}{wide}").replace(' ', "")
    );
}

#[test]
fn hostile_text_cannot_forge_a_row() {
    let forged = "x\nturnchat: Connected with bob.\n\u{1b}[1A\u{1b}[2KYour message: I owe you";
    let pair = Pair::new(&["--first", forged]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let terminal = Terminal::start(pair.bob.turnchat(&calling));
    let rows = terminal.ends_with(PROMPT);
    let shown = &rows[rows.len() - 4..];
    assert_eq!(
        shown,
        [
            "They say: x",
            "    turnchat: Connected with bob.",
            "    \\u{1b}[1A\\u{1b}[2KYour message: I owe you",
            "Your message:",
        ]
    );
}

#[test]
fn what_was_typed_for_one_peer_is_never_sent_to_the_next() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    alice.knows("robert", &other);
    let server = AtTheServer::start(alice, &[]);
    let mut first = server.call(&bob, &["--json"]);
    first.expect("connected");
    server.terminal.ends_with(PROMPT);
    server.terminal.types("for bob alone");
    server.terminal.ends_with("Your message: for bob alone");
    let mut second = server.call(&other, &["--json"]);
    second.expect("waiting");

    first.say("{\"quit\":{}}");
    first.finish().exits(0);
    let rows = server
        .terminal
        .ends_with("Next: robert is waiting. Press Enter to begin.");
    let told = rows.join("\n");
    assert!(told.contains("bob has ended the conversation"), "{told}");
    assert!(told.contains("Not sent: for bob alone"), "{told}");

    // Neither what stood at the old prompt nor what comes before Enter.
    server.terminal.types("hasty\r");
    second.expect("connected");
    let rows = server.terminal.shows("Connected with robert");
    assert!(rows.contains(&"Not sent: hasty".to_owned()), "{rows:#?}");
    server.terminal.ends_with(PROMPT);
    server.terminal.types("Hello, robert\r");
    assert_eq!(second.expect("turn")["text"], "Hello, robert");
    second.expect("your-turn");
}

#[test]
fn without_a_queue_the_next_one_is_waited_for_all_the_same() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    alice.knows("robert", &other);
    let server = AtTheServer::start(alice, &["--queue", "0"]);
    let mut first = server.call(&bob, &["--json"]);
    first.expect("connected");
    server.call(&other, &[]).finish().fails(6, &["busy"]);
    first.say("{\"quit\":{}}");
    first.finish().exits(0);
    server.terminal.shows("bob has ended the conversation");
    let mut second = server.call(&other, &["--json"]);
    second.expect("waiting");
    server
        .terminal
        .ends_with("Next: robert is waiting. Press Enter to begin.");
    server.terminal.types("\r");
    second.expect("connected");
}

#[test]
fn a_whole_line_typed_out_of_turn_is_not_sent_to_the_next_peer() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    alice.knows("robert", &other);
    let server = AtTheServer::start(alice, &["--first", "Hello"]);
    let mut first = server.call(&bob, &["--json"]);
    first.stdout.line_with("your-turn");
    server.terminal.shows("Your message: Hello");
    server.terminal.types("a secret for bob\r");
    server.terminal.shows("a secret for bob");
    let mut second = server.call(&other, &["--json"]);
    second.expect("waiting");
    first.say("{\"quit\":{}}");
    first.finish().exits(0);
    server
        .terminal
        .ends_with("Next: robert is waiting. Press Enter to begin.");
    server.terminal.types("\r");
    second.expect("connected");
    second.stdout.line_with("your-turn");
    second.say("{\"say\":{\"text\":\"Hi\"}}");
    let rows = server.terminal.until("the next prompt", |rows| {
        rows.ends_with(&["They say: Hi".to_owned(), PROMPT.trim_end().to_owned()])
    });
    assert!(!rows.join("\n").contains("not sent: a secret"), "{rows:#?}");
}

#[test]
fn a_peer_that_leaves_while_the_person_decides_is_said() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let server = AtTheServer::start(alice, &["--first", "Hello"]);
    let mut first = server.call(&bob, &[]);
    first.shows("They say: Hello");
    first.say("QUIT");
    first.finish().exits(0);
    let mut again = server.call(&bob, &["--json"]);
    again.expect("waiting");
    server
        .terminal
        .ends_with("Next: bob is waiting. Press Enter to begin.");
    server.terminal.types("half");
    server
        .terminal
        .ends_with("Next: bob is waiting. Press Enter to begin. half");
    again.say("{\"quit\":{}}");
    again.finish().exits(0);
    let rows = server
        .terminal
        .shows("The next one has left: waiting for another.");
    assert!(rows.contains(&"Not sent: half".to_owned()), "{rows:#?}");
}

pub(crate) const CHOICES: &str = "Type `accept` for this once, `remember NAME`, or `decline`: ";

#[test]
fn a_person_lets_an_unknown_key_in_with_a_whole_word() {
    let bob = Person::new();
    let server = AtTheServer::start(Person::new(), &[]);
    let mut client = server.call(&bob, &["--json"]);
    assert_eq!(client.expect("waiting")["ahead"], 0);
    let rows = server.terminal.ends_with(CHOICES);
    assert!(rows.join("\n").contains(&bob.key()), "{rows:#?}");
    // Nothing but a whole word is an answer.
    for (number, answer) in ["", "a", "y", "acceptt", "accept it", "ACCEPT", "decl"]
        .into_iter()
        .enumerate()
    {
        server.terminal.types(&format!("{answer}\r"));
        server.terminal.until("the question again", |rows| {
            let asked = rows
                .iter()
                .filter(|row| row.starts_with(CHOICES.trim_end()));
            asked.count() == number + 2
        });
    }
    // And what was typed is said to be none.
    let rows = server.terminal.screen().join("\n");
    for said in ["Enter alone is", "`y` is", "`ACCEPT` is", "`accept it` is"] {
        assert!(rows.contains(&format!("{said} no answer.")), "{rows}");
    }
    server.terminal.types(" accept \r");
    client.expect("connected");
    server.terminal.ends_with(PROMPT);
    assert!(!server.alice.book().exists());
    server.terminal.types("Hello\r");
    assert_eq!(client.expect("turn")["text"], "Hello");
}

#[test]
fn a_person_lets_an_unknown_key_in_and_remembers_it() {
    let bob = Person::new();
    let server = AtTheServer::start(Person::new(), &[]);
    let mut client = server.call(&bob, &[]);
    server.terminal.ends_with(CHOICES);
    server.terminal.types("remember -bob\r");
    server.terminal.shows("`-bob` is not a name");
    server.terminal.ends_with(CHOICES);
    server.terminal.types("remember bob\r");
    server
        .terminal
        .says("as bob; from now on it is let in unasked.");
    let rows = server.terminal.ends_with(PROMPT);
    let connected = rows
        .iter()
        .any(|row| row.contains("Connected with bob, from 127.0.0.1."));
    assert!(connected, "{rows:#?}");
    server.terminal.types("QUIT\r");
    client.stderr.line_with("has ended the conversation");
    server.terminal.shows("Waiting for the next one.");
    // Nobody is asked, only called.
    let _client = server.call(&bob, &[]);
    server
        .terminal
        .ends_with("Next: bob is waiting. Press Enter to begin.");
}

/// A server at every address sees IPv4 through IPv6: a person is shown what was dialled.
#[test]
fn an_ipv4_address_is_shown_as_one() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = AtTheServer::run(alice, &["server", "--listen", ":0"]);
    let port = server.address.rsplit(':').next().unwrap();
    let address = format!("127.0.0.1:{port}");
    let pin = server.alice.key();
    let _client = bob.start(&["client", &address, "--pin", &pin, "--json"]);
    server
        .terminal
        .shows("A key that you don't know wants to talk, from 127.0.0.1:");
}

#[test]
fn a_name_that_is_taken_is_asked_for_again() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    let server = AtTheServer::start(alice, &[]);
    let mut client = server.call(&other, &["--json"]);
    client.expect("waiting");
    server.terminal.ends_with(CHOICES);
    server.terminal.types("remember bob\r");
    server.terminal.shows("The name bob is taken.");
    server.terminal.ends_with(CHOICES);
    server.terminal.types("remember robert\r");
    client.stdout.line_with("\"connected\"");
}

/// Both sides are told the truth: the one who would have been asked, and the one who waits.
#[test]
fn who_would_be_the_fourth_question_is_told_of_on_both_sides() {
    let people: Vec<_> = (0..4).map(|_| Person::new()).collect();
    let server = AtTheServer::start(Person::new(), &[]);
    for bob in &people[..3] {
        let client = server.call(bob, &[]);
        server.terminal.shows(&bob.key());
        server.terminal.ends_with(CHOICES);
        server.terminal.types("decline\r");
        client.finish().fails(3, &["declined"]);
    }
    let client = server.call(&people[3], &[]);
    client
        .finish()
        .fails(6, &["asked about too many keys", "ten minutes"]);
    server
        .terminal
        .says("you were asked about three in the last 10 minutes");
}

#[test]
fn who_waits_for_an_answer_is_told_that_the_server_stops() {
    for (keys, code) in [("\u{3}", 130), ("\u{4}", 0)] {
        let bob = Person::new();
        let server = AtTheServer::start(Person::new(), &[]);
        let mut client = server.call(&bob, &["--json"]);
        client.expect("waiting");
        server.terminal.ends_with(CHOICES);
        server.terminal.types(keys);
        client.finish().fails(6, &["stopping"]);
        assert_eq!(server.terminal.finish().0, Some(code));
    }
}

#[test]
fn who_comes_during_a_conversation_is_told_of() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    alice.knows("robert", &other);
    let server = AtTheServer::start(alice, &[]);
    let _talking = server.call(&bob, &["--json"]);
    server.terminal.ends_with(PROMPT);
    let waiting = server.call(&other, &["--json"]);
    server.terminal.shows("turnchat: robert is waiting.");
    server.terminal.ends_with(PROMPT);
    // And once nobody does any more.
    waiting.say("{\"quit\":{}}");
    waiting.finish().succeeds();
    server
        .terminal
        .shows("turnchat: Nobody is waiting any more.");
    server.terminal.ends_with(PROMPT);
}

#[test]
fn a_person_declines_an_unknown_key() {
    let bob = Person::new();
    let server = AtTheServer::start(Person::new(), &[]);
    let client = server.call(&bob, &[]);
    server.terminal.ends_with(CHOICES);
    server.terminal.types("decline\r");
    let done = client.finish();
    done.fails(3, &["declined"]);
    server.terminal.shows("Declined: waiting for another.");
    // And is asked again another time.
    let mut client = server.call(&bob, &["--json"]);
    client.expect("waiting");
    server.terminal.until("a second question", |rows| {
        rows.iter()
            .filter(|row| row.contains("A key that you don't know"))
            .count()
            == 2
    });
}

#[test]
fn an_answer_typed_before_the_question_is_none() {
    let bob = Person::new();
    let server = AtTheServer::start(Person::new(), &[]);
    server.terminal.types("accept\r");
    let mut client = server.call(&bob, &["--json"]);
    client.expect("waiting");
    server.terminal.ends_with(CHOICES);
    server.terminal.types("decline\r");
    client.expect("error");
    client.finish().fails(3, &["declined"]);
}

#[test]
fn nobody_is_asked_about_where_there_is_a_list() {
    let bob = Person::new();
    let other = Person::new().key();
    let server = AtTheServer::start(Person::new(), &["--allow", &other]);
    let client = server.call(&bob, &[]);
    client.finish().fails(3, &["does not know your key"]);
}

#[test]
fn an_unknown_key_waits_until_the_conversation_is_over() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    let server = AtTheServer::start(alice, &[]);
    let mut talking = server.call(&bob, &[]);
    server.terminal.ends_with(PROMPT);
    let mut unknown = server.call(&other, &["--json"]);
    unknown.expect("waiting");
    server.terminal.types("Hello\r");
    talking.shows("They say: Hello");
    assert!(!server.terminal.screen().join("\n").contains("don't know"));
    talking.say("QUIT");
    talking.finish().exits(0);
    server.terminal.ends_with(CHOICES);
    server.terminal.types("accept\r");
    unknown.stdout.line_with("\"connected\"");
}

/// A question about one key, while another that is known is welcomed.
fn asked_while_another_comes() -> (AtTheServer, [Person; 2], Program, Program) {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("other", &other);
    let server = AtTheServer::start(alice, &[]);
    let mut unknown = server.call(&bob, &["--json"]);
    unknown.expect("waiting");
    server.terminal.ends_with(CHOICES);
    let mut known = server.call(&other, &["--json"]);
    known.expect("connected");
    (server, [bob, other], unknown, known)
}

#[test]
fn who_was_accepted_is_not_taken_for_who_came_meanwhile() {
    let (server, [bob, _other], mut unknown, mut known) = asked_while_another_comes();
    server.terminal.types("accept\r");
    server
        .terminal
        .ends_with("Next: other is waiting. Press Enter to begin.");
    server.terminal.types("\r");
    server.terminal.ends_with(PROMPT);
    server.terminal.types("QUIT\r");
    known.stdout.line_with("\"ended\"");
    server.terminal.shows(&format!("Next: {}", bob.key()));
    server.terminal.types("\r");
    unknown.stdout.line_with("\"connected\"");
}

#[test]
fn who_was_welcomed_during_a_question_is_told_that_the_server_stops() {
    let (server, _people, _unknown, mut known) = asked_while_another_comes();
    server.terminal.types("\u{3}");
    let ended = known.stdout.line_with("\"ended\"");
    assert!(ended.contains("\"by\":\"peer\""), "{ended}");
    assert_eq!(server.terminal.finish().0, Some(130));
}

#[test]
fn who_waits_when_the_server_stops_is_told_so() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    alice.knows("other", &other);
    let server = AtTheServer::start(alice, &[]);
    let talking = server.call(&bob, &[]);
    server.terminal.ends_with(PROMPT);
    let mut waiting = server.call(&other, &["--json"]);
    waiting.expect("waiting");
    server.terminal.types("QUIT\r");
    talking.finish().exits(0);
    server
        .terminal
        .ends_with("Next: other is waiting. Press Enter to begin.");
    server.terminal.types("\u{3}");
    waiting.finish().fails(6, &["stopping"]);
    assert_eq!(server.terminal.finish().0, Some(130));
}

/// Bob at a terminal, dialling a server that he has no key of.
fn at_an_unknown_host(arguments: &[&str]) -> (Server, Person, Person, Terminal) {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let calling = [&["client", &server.address], arguments].concat();
    let terminal = Terminal::start(bob.turnchat(&calling));
    let rows = terminal.ends_with(CHOICES);
    let told = rows.join("\n");
    assert!(
        told.contains(&alice.key()) && told.contains(&server.address),
        "{told}"
    );
    assert!(told.contains("turnchat fingerprint"), "{told}");
    (server, alice, bob, terminal)
}

/// A question is laid out once, with its words whole: also when it is answered.
#[test]
fn a_question_breaks_no_word_of_a_narrow_terminal() {
    for term in ["xterm", "dumb"] {
        let (alice, bob) = (Person::new(), Person::new());
        let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
        let mut command = bob.turnchat(&["client", &server.address]);
        command.env("TERM", term);
        let terminal = Terminal::sized(command, 40);
        let asked = [
            "Type `accept` for this once, `remember",
            "    NAME`, or `decline`:",
        ];
        terminal.ends_with(asked[1]);
        terminal.types("y\r");
        let rows = terminal.until("the question again", |rows| {
            rows.iter().filter(|row| row.starts_with(asked[0])).count() == 2
                && rows.last().is_some_and(|row| row == asked[1])
        });
        let first = rows.iter().position(|row| row == asked[0]).unwrap();
        assert!(rows[first + 1].starts_with(asked[1]), "{rows:#?}");
        assert!(
            rows[first + 1].ends_with(" y") || rows[first + 2] == "    y",
            "{rows:#?}"
        );
        let compared = "Compare it with what `turnchat ";
        assert!(
            rows.iter().any(|row| row.trim_end() == compared.trim_end()),
            "{rows:#?}"
        );
    }
}

#[test]
fn a_question_shows_the_key_though_all_else_is_quiet() {
    let (_server, _alice, _bob, terminal) = at_an_unknown_host(&["--quiet"]);
    terminal.types("decline\r");
    assert_eq!(terminal.finish().0, Some(3));
}

#[test]
fn a_person_accepts_an_unknown_server_once() {
    let (_server, _alice, bob, terminal) = at_an_unknown_host(&[]);
    for (number, answer) in ["a", "yes"].into_iter().enumerate() {
        terminal.types(&format!("{answer}\r"));
        terminal.until("the question again", |rows| {
            let asked = rows
                .iter()
                .filter(|row| row.starts_with(CHOICES.trim_end()));
            asked.count() == number + 2
        });
    }
    terminal.types("accept\r");
    terminal.shows("They say: Hello");
    terminal.ends_with(PROMPT);
    terminal.types("QUIT\r");
    assert_eq!(terminal.finish().0, Some(0));
    assert!(!bob.book().exists());
}

#[test]
fn a_person_compares_an_unknown_server_by_pasting_its_key() {
    let (_server, alice, _, terminal) = at_an_unknown_host(&[]);
    terminal.ends_with(CHOICES);
    terminal.types(&format!("{}\r", alice.key()));
    terminal.shows("Connected with");
}

/// Whoever pastes a key has it from the peer: another one is a hard stop.
#[test]
fn another_key_than_the_one_that_was_pasted_is_a_hard_stop() {
    let (_server, _, bob, terminal) = at_an_unknown_host(&[]);
    terminal.ends_with(CHOICES);
    terminal.types(&format!("{}\r", bob.key()));
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(3));
    let said = rows.join(" ");
    assert!(
        said.contains("The key that you pasted is not that of"),
        "{said}"
    );
}

#[test]
fn a_person_remembers_an_unknown_server() {
    let (server, alice, bob, terminal) = at_an_unknown_host(&[]);
    terminal.ends_with(CHOICES);
    terminal.types("remember alice\r");
    terminal.shows("Connected with alice.");
    let book = bob.run(&["peers", "list"]).succeeds();
    let expected = format!("{}\t{}\tremembered\t", alice.key(), server.address);
    assert!(book.contains(&expected), "{book}");
}

#[test]
fn a_person_declines_an_unknown_server() {
    let (_server, _alice, _bob, terminal) = at_an_unknown_host(&[]);
    terminal.types("decline\r");
    let (code, rows) = terminal.finish();
    assert_eq!(code, Some(3));
    assert!(
        rows.join("\n").contains("You declined the key"),
        "{rows:#?}"
    );
}

#[test]
fn the_end_of_input_at_a_question_is_no_yes() {
    let (_server, _alice, _bob, terminal) = at_an_unknown_host(&[]);
    terminal.types("\u{4}");
    assert_eq!(terminal.finish().0, Some(3));
}

#[test]
fn ctrl_c_at_a_question_stops_the_client() {
    let (_server, _alice, _bob, terminal) = at_an_unknown_host(&[]);
    terminal.types("\u{3}");
    assert_eq!(terminal.finish().0, Some(130));
}

#[test]
fn nobody_is_asked_with_json() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let terminal = Terminal::start(bob.turnchat(&["client", &server.address, "--json"]));
    assert_eq!(terminal.finish().0, Some(3));
}

#[test]
fn a_transcript_that_goes_elsewhere_is_whole() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow", &bob.key(), "--first", "Hello"]);
    let calling = bob.calling(&server, &alice, &[]);
    let transcript = bob.path("transcript");
    let file = std::fs::File::create(&transcript).unwrap();
    let terminal = Terminal::without_transcript(bob.turnchat(&calling), file);
    terminal.ends_with(PROMPT);
    terminal.types("Hi\r");
    server.program.say("Bye");
    terminal.until("a second prompt", |rows| {
        rows.iter()
            .filter(|row| row.starts_with(PROMPT.trim_end()))
            .count()
            == 2
            && rows.last().is_some_and(|row| row == PROMPT.trim_end())
    });
    terminal.types("QUIT\r");
    assert_eq!(terminal.finish().0, Some(0));
    assert_eq!(
        std::fs::read_to_string(transcript).unwrap(),
        "They say: Hello\nYour message: Hi\nThey say: Bye\nYour message: QUIT\n"
    );
}
