//! A conversation through pipes, to the byte.

use crate::harness::{Pair, Person, Program, Server};

const LINES: [&str; 5] = [
    "Hello, client!",
    "Hi back to you server! How are you doing?",
    "I'm great. I just learned how to network program in Python!",
    "I just did too! I'm going to go program now. Bye!",
    "Bye!",
];

const SERVER: &str = "\
Your message: Hello, client!
They say: Hi back to you server! How are you doing?
Your message: I'm great. I just learned how to network program in Python!
They say: I just did too! I'm going to go program now. Bye!
Your message: Bye!
";

const CLIENT: &str = "\
They say: Hello, client!
Your message: Hi back to you server! How are you doing?
They say: I'm great. I just learned how to network program in Python!
Your message: I just did too! I'm going to go program now. Bye!
They say: Bye!
Your message: QUIT
";

/// Ends a server's input between conversations, and gives its transcript.
#[track_caller]
fn stopped(server: Server) -> String {
    let mut program = server.program;
    program.stderr.line_with("has ended the conversation");
    program.without_input().finish().succeeds()
}

/// What a conversation looks like at the client, where the server's input is
/// `said` and then open, and the client answers one message with QUIT.
#[track_caller]
fn heard(said: &[u8]) -> String {
    let pair = Pair::new(&[]);
    pair.server.program.write(said);
    let mut client = pair.client(&[]);
    let first = client.stdout.line();
    client.say("QUIT");
    client.finish().exits(0);
    first
}

#[test]
fn the_conversation_stands_on_both_sides_to_the_byte() {
    let pair = Pair::new(&[]);
    for line in [LINES[0], LINES[2], LINES[4]] {
        pair.server.program.say(line);
    }
    let client = pair.client(&[]);
    for line in [LINES[1], LINES[3], "QUIT"] {
        client.say(line);
    }
    assert_eq!(client.finish().succeeds(), CLIENT);
    assert_eq!(stopped(pair.server), SERVER);
}

#[test]
fn the_server_is_still_there_for_the_next_client() {
    let mut pair = Pair::new(&[]);
    for round in ["one", "two", "three"] {
        let mut client = pair.client(&[]);
        pair.server.program.say(round);
        client.shows(&format!("They say: {round}"));
        client.say("QUIT");
        client.finish().exits(0);
        pair.server.program.shows(&format!("Your message: {round}"));
    }
    assert_eq!(stopped(pair.server).lines().count(), 3);
}

#[test]
fn the_identity_files_need_no_home() {
    let (alice, bob) = (Person::new(), Person::new());
    let files = |of: &Person| {
        let key = of.key_file().to_str().unwrap().to_owned();
        [
            "--cert".to_owned(),
            of.certificate(),
            "--key".to_owned(),
            key,
        ]
    };
    let elsewhere = Person::without_identity();
    let hers = files(&alice);
    let server = elsewhere.serve(&[
        &hers[0],
        &hers[1],
        &hers[2],
        &hers[3],
        "--allow",
        &bob.key(),
    ]);
    server.program.say("Hello");
    let his = files(&bob);
    let mut client = elsewhere.call(&server, &alice, &[&his[0], &his[1], &his[2], &his[3]]);
    client.shows("They say: Hello");
    client.say("QUIT");
    client.finish().exits(0);
    assert!(!elsewhere.home().exists());
}

#[test]
fn the_server_may_quit_on_its_turn() {
    let mut pair = Pair::new(&[]);
    let mut client = pair.client(&[]);
    pair.server.program.say("Hello");
    client.say("Hi");
    pair.server.program.say("QUIT");
    let done = client.without_input_after("They say: Hello").finish();
    assert_eq!(done.succeeds(), "They say: Hello\nYour message: Hi\n");
    for line in ["Your message: Hello", "They say: Hi", "Your message: QUIT"] {
        pair.server.program.shows(line);
    }
    // It goes on: the next client is served.
    pair.server.program.say("Next");
    client = pair.client(&[]);
    client.shows("They say: Next");
}

#[test]
fn blanks_around_quit_are_no_matter() {
    for line in ["QUIT", "  QUIT", "QUIT \t", "\t QUIT  \r"] {
        let pair = Pair::new(&["--first", "Hello"]);
        let client = pair.client(&[]);
        client.say(line);
        assert_eq!(
            client.finish().succeeds(),
            "They say: Hello\nYour message: QUIT\n",
            "{line:?}"
        );
    }
}

#[test]
fn a_backslash_before_quit_makes_it_a_word() {
    for (typed, said) in [
        ("\\QUIT", "QUIT"),
        ("\\\\QUIT", "\\QUIT"),
        ("\\\\\\QUIT", "\\\\QUIT"),
        ("\\quit", "\\quit"),
        ("quit", "quit"),
        ("QUIT now", "QUIT now"),
    ] {
        assert_eq!(
            heard(format!("{typed}\n").as_bytes()),
            format!("They say: {said}")
        );
    }
}

#[test]
fn the_word_quit_looks_the_same_where_it_was_said() {
    let mut pair = Pair::new(&[]);
    pair.server.program.say("\\QUIT");
    let mut client = pair.client(&[]);
    client.shows("They say: QUIT");
    pair.server.program.shows("Your message: QUIT");
    client.say("It goes on");
    pair.server.program.shows("They say: It goes on");
}

#[test]
fn the_end_of_input_counts_as_quit_and_prints_nothing() {
    let pair = Pair::new(&[]);
    pair.server.program.say("Hello");
    let client = pair.client(&[]);
    client.say("Hi");
    pair.server.program.say("And?");
    let done = client.without_input().finish();
    assert_eq!(
        done.succeeds(),
        "They say: Hello\nYour message: Hi\nThey say: And?\n"
    );
    assert_eq!(
        stopped(pair.server),
        "Your message: Hello\nThey say: Hi\nYour message: And?\n"
    );
}

#[test]
fn an_empty_line_from_a_pipe_is_sent() {
    assert_eq!(heard(b"\n"), "They say: ");
    assert_eq!(heard(b"\r\n"), "They say: ");
    assert_eq!(heard(b"   \n"), "They say:    ");
}

#[test]
fn one_carriage_return_before_the_line_feed_is_removed() {
    assert_eq!(heard(b"Hello\r\n"), "They say: Hello");
    assert_eq!(heard(b"Hello\r\r\n"), "They say: Hello\\u{d}");
}

#[test]
fn a_last_line_without_line_feed_counts() {
    let mut pair = Pair::new(&[]);
    pair.server.program.write(b"Hello");
    pair.server.program.end_input();
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.write(b"Bye");
    assert_eq!(
        client.without_input().finish().succeeds(),
        "They say: Hello\nYour message: Bye\n"
    );
    let server = pair.server.program.finish();
    assert_eq!(server.succeeds(), "Your message: Hello\nThey say: Bye\n");
}

#[test]
fn a_last_line_quit_without_line_feed_counts() {
    let pair = Pair::new(&["--first", "Hello"]);
    let client = pair.client(&[]);
    client.write(b"QUIT");
    let done = client.without_input().finish();
    assert_eq!(done.succeeds(), "They say: Hello\nYour message: QUIT\n");
}

/// A client pipes this line in its turn: it is not sent, the conversation ends
/// in order, and the client says why.
#[track_caller]
fn is_not_sent(line: &[u8], words: &[&str]) {
    let pair = Pair::new(&["--first", "Hello"]);
    let client = pair.client(&[]);
    client.write(line);
    let done = client.finish();
    done.fails(1, words);
    assert_eq!(done.stdout, "They say: Hello\n");
    assert_eq!(stopped(pair.server), "Your message: Hello\n");
}

#[test]
fn a_line_over_the_limit_is_not_sent_and_ends_the_conversation() {
    let mut line = vec![b'x'; 65_537];
    line.push(b'\n');
    is_not_sent(&line, &["65536", "not sent"]);
}

#[test]
fn a_line_that_is_not_utf8_is_not_sent_and_ends_the_conversation() {
    is_not_sent(b"caf\xe9\n", &["UTF-8", "not sent"]);
}

#[test]
fn a_server_whose_pipe_cannot_be_said_ends_in_order_too() {
    let pair = Pair::new(&[]);
    let mut client = pair.client(&[]);
    pair.server.program.say("Hello");
    client.shows("They say: Hello");
    client.say("Hi");
    pair.server.program.write(b"\xff\n");
    pair.server.program.finish().fails(1, &["UTF-8"]);
    client.finish().exits(0);
}

#[test]
fn a_message_at_the_limit_passes() {
    let text = "é".repeat(65_536 / 2);
    assert_eq!(
        heard(format!("{text}\n").as_bytes()),
        format!("They say: {text}")
    );
}

#[test]
fn further_lines_of_a_message_are_indented_on_both_sides() {
    let mut pair = Pair::new(&["--first", "one\nThey say: two\n\nthree"]);
    let mut client = pair.client(&[]);
    for rest in ["one", "    They say: two", "    ", "    three"] {
        let shown = |whose: &str| match rest {
            "one" => format!("{whose}{rest}"),
            _ => rest.to_owned(),
        };
        client.shows(&shown("They say: "));
        pair.server.program.shows(&shown("Your message: "));
    }
}

#[test]
fn hostile_text_is_escaped_before_it_is_shown() {
    let hostile = [
        (
            "\u{1b}[2J\u{1b}]0;title\u{7}",
            "\\u{1b}[2J\\u{1b}]0;title\\u{7}",
        ),
        ("over\rwritten\u{8}", "over\\u{d}written\\u{8}"),
        ("a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c"),
        ("a\u{200b}b\u{feff}c\u{ad}", "a\\u{200b}b\\u{feff}c\\u{ad}"),
        ("a\u{2028}b\u{9b}31m\u{7f}", "a\\u{2028}b\\u{9b}31m\\u{7f}"),
        (
            "x\nYour message: I owe you",
            "x\n    Your message: I owe you",
        ),
        (
            "x\r\nturnchat: The key changed",
            "x\\u{d}\n    turnchat: The key changed",
        ),
        ("é 日本語 שלום 👩‍👩‍👧", "é 日本語 שלום 👩‍👩‍👧"),
    ];
    let mut pair = Pair::new(&[]);
    let mut client = pair.client(&["--json"]);
    for (turn, (sent, shown)) in hostile.into_iter().enumerate() {
        pair.server.program.say("Go on");
        pair.server.program.shows("Your message: Go on");
        client.stdout.line_with("\"your-turn\"");
        let say = serde_json::json!({ "say": { "text": sent, "turn": 2 * turn + 2 } });
        client.say(&say.to_string());
        for (number, row) in shown.split('\n').enumerate() {
            let before = if number == 0 { "They say: " } else { "" };
            pair.server.program.shows(&format!("{before}{row}"));
        }
    }
    client.say("{\"quit\":{}}");
    client.stdout.line_with("\"ended\"");
}

#[test]
fn a_pipe_is_read_only_in_its_turn() {
    let mut pair = Pair::new(&[]);
    let mut client = pair.client(&[]);
    // The end of its input does not end the conversation out of its turn.
    client.end_input();
    pair.server.program.stderr.line_with("Connected with");
    pair.server.program.say("Still there?");
    client.shows("They say: Still there?");
    client.finish().exits(0);
}

impl Program {
    /// Ends its input once it has shown this.
    fn without_input_after(mut self, line: &str) -> Self {
        self.shows(line);
        self.without_input()
    }
}
