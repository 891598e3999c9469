//! `--json`: a program speaks on one side, in events and commands.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Pair, Person, Program};

/// A client with `--json` and a server that has said one message.
fn client_on_its_turn() -> (Pair, Program) {
    let pair = Pair::new(&["--first", "Hello"]);
    let mut client = pair.client(&["--json"]);
    for name in ["connected", "turn", "your-turn"] {
        client.expect(name);
    }
    (pair, client)
}

fn say(text: &str) -> String {
    json!({ "say": { "text": text } }).to_string()
}

/// The event without the members that differ from run to run.
#[track_caller]
fn plain(mut event: Value) -> Value {
    let members = event.as_object_mut().unwrap();
    if members["event"] != "listening" {
        let id = members.remove("conversation").expect("a conversation");
        assert_eq!(id.as_str().unwrap().len(), 22);
    }
    event
}

#[test]
fn a_short_conversation_is_told_in_order_on_both_sides() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut server = alice.serve(&["--json"]);
    let listening = server.program.expect("listening");
    assert_eq!(listening["address"], server.address);
    assert_eq!(listening["key"], alice.key());

    let mut client = bob.call(&server, &alice, &["--json"]);
    let connected = server.program.event();
    let id = connected["conversation"].clone();
    assert_eq!(
        plain(connected),
        json!({
            "event": "connected", "role": "server", "resumed": false,
            "peer": { "key": bob.key(), "petname": "bob" },
        })
    );
    let connected = client.event();
    assert_eq!(connected["conversation"], id);
    assert_eq!(
        plain(connected),
        json!({
            "event": "connected", "role": "client", "resumed": false,
            "peer": { "key": alice.key() },
        })
    );

    let your_turn = |turn: u64| json!({ "event": "your-turn", "turn": turn });
    let delivered = |turn: u64| json!({ "event": "delivered", "turn": turn });
    let turn = |turn: u64, speaker: &str, text: &str| json!({ "event": "turn", "turn": turn, "speaker": speaker, "text": text });
    assert_eq!(plain(server.program.event()), your_turn(1));
    server.program.say(&say("Hello"));
    assert_eq!(plain(server.program.event()), turn(1, "me", "Hello"));
    assert_eq!(plain(server.program.event()), delivered(1));
    assert_eq!(plain(client.event()), turn(1, "peer", "Hello"));
    assert_eq!(plain(client.event()), your_turn(2));
    client.say(r#" { "say" : { "turn" : 2, "text" : "Hi" } } "#);
    assert_eq!(plain(client.event()), turn(2, "me", "Hi"));
    assert_eq!(plain(client.event()), delivered(2));
    assert_eq!(plain(server.program.event()), turn(2, "peer", "Hi"));
    assert_eq!(plain(server.program.event()), your_turn(3));
    server.program.say("{\"quit\":{}}");
    let ended = |by: &str| json!({ "event": "ended", "by": by, "turns": 2 });
    assert_eq!(plain(server.program.event()), ended("me"));
    assert_eq!(plain(client.event()), ended("peer"));

    let told = client.finish();
    told.exits(0);
    assert_eq!(told.stdout.matches("\"ended\"").count(), 1);
    assert_eq!(told.stdout.lines().count(), 6);
    let done = server.program.without_input().finish();
    assert_eq!(done.succeeds().lines().count(), 8);
}

#[test]
fn a_server_tells_of_each_conversation_and_goes_on() {
    let mut pair = Pair::new(&["--json"]);
    pair.server.program.expect("listening");
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut client = pair.client(&[]);
        let id = pair.server.program.expect("connected")["conversation"].clone();
        pair.server.program.expect("your-turn");
        let hello = json!({ "say": { "text": "Hello", "conversation": id } });
        pair.server.program.say(&hello.to_string());
        ids.push(id);
        client.shows("They say: Hello");
        client.say("QUIT");
        client.finish().exits(0);
        for name in ["turn", "delivered", "ended"] {
            assert_eq!(
                &pair.server.program.expect(name)["conversation"],
                ids.last().unwrap()
            );
        }
    }
    assert_ne!(ids[0], ids[1]);
}

#[track_caller]
fn is_error(event: &Value, code: &str) {
    assert_eq!(event["event"], "error", "{event}");
    assert_eq!(event["code"], code, "{event}");
    for part in ["what", "advice"] {
        assert!(!event[part].as_str().unwrap().is_empty(), "{event}");
    }
}

#[test]
fn what_cannot_be_done_is_an_error_and_changes_nothing() {
    let (mut pair, mut client) = client_on_its_turn();
    let long = say(&"x".repeat(65_537));
    let longer = format!("{{\"say\":{{\"text\":\"{}\"}}}}", "x".repeat(600_000));
    for (command, code) in [
        (r#"{"say":{"text":"Hi","turn":1}}"#, "not-your-turn"),
        (r#"{"say":{"text":"Hi","turn":4}}"#, "not-your-turn"),
        ("", "bad-input"),
        ("Hi", "bad-input"),
        ("{}", "bad-input"),
        ("[]", "bad-input"),
        ("null", "bad-input"),
        (r#"{"say":{}}"#, "bad-input"),
        (r#"{"say":{"text":7}}"#, "bad-input"),
        (r#"{"say":{"text":"Hi","to":"bob"}}"#, "bad-input"),
        (r#"{"say":{"text":"Hi","turn":-2}}"#, "bad-input"),
        (r#"{"say":{"text":"Hi"},"quit":{}}"#, "bad-input"),
        (r#"{"say":{"text":"Hi"}} {"quit":{}}"#, "bad-input"),
        (r#"{"quit":null}"#, "bad-input"),
        (r#"{"shout":{"text":"Hi"}}"#, "bad-input"),
        (r#"{"say":{"text":"\ud800"}}"#, "bad-input"),
        (&long, "too-long"),
        (&longer, "too-long"),
    ] {
        client.say(command);
        let event = client.event();
        is_error(&event, code);
        // Nothing of how the program reads it.
        let what = event["what"].as_str().unwrap();
        let leaks = [
            "variant",
            "expected",
            "JsonCommand",
            "unknown field",
            "invalid type",
        ];
        assert!(leaks.iter().all(|word| !what.contains(word)), "{what}");
    }
    client.write(b"{\"say\":{\"text\":\"caf\xe9\"}}\n");
    is_error(&client.event(), "bad-input");

    client.say(&say("At last"));
    assert_eq!(client.expect("turn")["text"], "At last");
    pair.server.program.shows("Your message: Hello");
    pair.server.program.shows("They say: At last");
}

#[test]
fn a_say_out_of_turn_is_an_error_and_is_not_sent_later() {
    let (mut pair, mut client) = client_on_its_turn();
    client.say(&say("Hi"));
    client.expect("turn");
    client.say(&say("And another thing"));
    client.say(r#"{"say":{"text":"And another thing","turn":4}}"#);
    let mut errors = 0;
    while errors < 2 {
        let event = client.event();
        if event["event"] != "delivered" {
            is_error(&event, "not-your-turn");
            errors += 1;
        }
    }
    pair.server.program.say("Go on");
    client.stdout.line_with("your-turn");
    client.say(&say("Now"));
    for line in [
        "Your message: Hello",
        "They say: Hi",
        "Your message: Go on",
        "They say: Now",
    ] {
        pair.server.program.shows(line);
    }
}

#[test]
fn quit_works_out_of_turn() {
    let pair = Pair::new(&["--once"]);
    let mut client = pair.client(&["--json"]);
    client.expect("connected");
    client.say("{\"quit\":{}}");
    assert_eq!(client.expect("ended")["by"], "me");
    client.finish().exits(0);
    assert_eq!(pair.server.program.finish().succeeds(), "");
}

#[test]
fn quit_works_in_the_queue() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let mut talking = bob.call(&server, &alice, &[]);
    talking.shows("They say: Hello");
    let mut client = other.call(&server, &alice, &["--json"]);
    let waiting = client.expect("waiting");
    assert_eq!(waiting.get("conversation"), None);
    client.say("{\"quit\":{}}");
    let ended = client.expect("ended");
    assert_eq!((&ended["by"], &ended["turns"]), (&json!("me"), &json!(0)));
    client.finish().exits(0);
}

#[test]
fn the_end_of_input_acts_as_quit_at_the_next_turn() {
    let pair = Pair::new(&["--once"]);
    let mut client = pair.client(&["--json"]);
    client.end_input();
    client.expect("connected");
    pair.server.program.say("Hello");
    assert_eq!(client.expect("turn")["text"], "Hello");
    client.expect("your-turn");
    assert_eq!(client.expect("ended")["by"], "me");
    client.finish().exits(0);
    let done = pair.server.program.finish();
    assert_eq!(done.succeeds(), "Your message: Hello\n");
}

#[test]
fn a_last_command_without_line_feed_counts() {
    let (mut pair, mut client) = client_on_its_turn();
    client.write(say("Bye").as_bytes());
    client.end_input();
    assert_eq!(client.expect("turn")["text"], "Bye");
    pair.server.program.shows("Your message: Hello");
    pair.server.program.shows("They say: Bye");
    pair.server.program.say("Bye");
    client.stdout.line_with("\"ended\"");
    client.finish().exits(0);
}

#[test]
fn a_command_between_conversations_is_an_error() {
    let alice = Person::new();
    let mut server = alice.serve(&["--json"]);
    server.program.expect("listening");
    for command in [&say("Hello"), "{\"quit\":{}}"] {
        server.program.say(command);
        is_error(&server.program.event(), "not-your-turn");
    }
    server.program.say("Hello");
    is_error(&server.program.event(), "bad-input");
    server.program.without_input().finish().exits(0);
}

/// It was in the pipe when the peer quit.
#[test]
fn a_say_that_meets_the_peers_quit_is_told_of_once() {
    let (mut pair, mut client) = client_on_its_turn();
    client.freezes();
    pair.server.program.send(Signal::SIGINT);
    client.say(&say("Are you there?"));
    pair.server.program.stderr.line_with("Saying goodbye");
    client.send(Signal::SIGCONT);
    let mut told = Vec::new();
    let ended = loop {
        let event = client.event();
        match event["event"].as_str().unwrap() {
            "ended" => break event,
            "error" => told.push(event),
            _ => {}
        }
    };
    // Unless it was on its way already, or there before the quit was on its own.
    let code = match (ended.get("unacknowledged"), &told[..]) {
        (Some(message), [error]) => {
            assert_eq!(message["text"], "Are you there?");
            assert_eq!(error["code"], "link");
            4
        }
        (None, [error]) => {
            assert_eq!(error["code"], "not-sent");
            assert_eq!(error["text"], "Are you there?");
            4
        }
        (None, []) => {
            let shown = &mut pair.server.program.stdout;
            shown.line_with("They say: Are you there?");
            0
        }
        both => panic!("{both:?}"),
    };
    client.finish().exits(code);
}

/// Written for the first, when that was just over.
#[test]
fn a_command_for_one_conversation_never_reaches_the_next() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = alice.serve(&["--allow-anyone", "--json"]);
    server.program.expect("listening");
    let client = bob.call(&server, &alice, &["--json"]);
    let first = server.program.expect("connected")["conversation"].clone();
    server.program.expect("your-turn");
    client.say("{\"quit\":{}}");
    server.program.expect("ended");
    client.finish().exits(0);

    let mut client = bob.call(&server, &alice, &["--json"]);
    let second = server.program.expect("connected")["conversation"].clone();
    server.program.expect("your-turn");
    let say = |text: &str| json!({ "text": text, "turn": 1 });
    for conversation in [Value::Null, first.clone()] {
        let mut command = json!({ "say": say("for the first") });
        command["say"]["conversation"] = conversation.clone();
        server.program.say(&command.to_string());
        is_error(&server.program.event(), "other-conversation");
        let quit = json!({ "quit": { "conversation": conversation } });
        server.program.say(&quit.to_string());
        is_error(&server.program.event(), "other-conversation");
    }
    let mut command = json!({ "say": say("for the second") });
    command["say"]["conversation"] = second.clone();
    server.program.say(&command.to_string());
    assert_eq!(server.program.expect("turn")["text"], "for the second");
    client.expect("connected");
    assert_eq!(client.expect("turn")["text"], "for the second");
    let quit = json!({ "quit": { "conversation": second } });
    server.program.say(&quit.to_string());
    client.stdout.line_with("\"ended\"");
}

#[test]
fn a_refused_key_is_an_event_of_the_server() {
    let mut pair = Pair::new(&["--json"]);
    let other = Person::new();
    pair.server.program.expect("listening");
    let refused = other.call(&pair.server, &pair.alice, &["--json"]).finish();
    let event = pair.server.program.expect("refused");
    assert_eq!(event["key"], other.key());
    assert_eq!(event["reason"], "unknown-peer");
    assert_eq!(event.get("conversation"), None);

    refused.fails(3, &["does not know your key"]);
    let events: Vec<Value> = refused
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [error, ended] = &events[..] else {
        panic!("{events:?}");
    };
    is_error(error, "trust");
    assert_eq!(ended["event"], "ended");
    assert_eq!(ended["by"], "refused");
    assert_eq!(ended["turns"], 0);
}

#[test]
fn a_lost_link_is_an_error_and_the_end() {
    let (pair, mut client) = client_on_its_turn();
    drop(pair.server);
    is_error(&client.event(), "link");
    let ended = client.expect("ended");
    assert_eq!(ended["by"], "lost");
    assert_eq!(ended["turns"], 1);
    let done = client.finish();
    done.fails(4, &["lost"]);
    assert!(done.stdout.ends_with('\n') && done.stdout.lines().count() == 5);
}

#[test]
fn a_message_that_was_not_acknowledged_is_named_at_the_end() {
    let (pair, mut client) = client_on_its_turn();
    pair.server.program.freezes();
    client.say(&say("Did you get this?"));
    client.expect("turn");
    drop(pair.server);
    is_error(&client.event(), "link");
    let ended = client.expect("ended");
    let message = json!({ "turn": 2, "text": "Did you get this?" });
    assert_eq!(ended["unacknowledged"], message);
    client.finish().fails(4, &["not acknowledged"]);
}

#[test]
fn all_but_printable_characters_are_escaped_in_events() {
    let text = "\u{1b}[2J\r\n\t\u{7f}\u{9b}\u{200b}\u{202e}\u{2028}\u{e0041}\u{e000} é 日本語 \"\\";
    let pair = Pair::new(&["--first", text]);
    let mut client = pair.client(&["--json"]);
    client.expect("connected");
    let line = client.stdout.line();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["text"], text);
    for escaped in [
        "\\u001b[2J",
        "\\u007f",
        "\\u009b",
        "\\u200b",
        "\\u202e",
        "\\u2028",
    ] {
        assert!(line.contains(escaped), "no {escaped} in {line}");
    }
    assert!(line.contains("\\udb40\\udc41\\ue000 é 日本語"), "{line}");
}

#[test]
fn a_server_gives_its_first_message_as_turn_1() {
    let mut pair = Pair::new(&["--json", "--first", "Hello"]);
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.say("Hi");
    pair.server.program.expect("listening");
    pair.server.program.expect("connected");
    assert_eq!(pair.server.program.expect("turn")["speaker"], "me");
    pair.server.program.stdout.line_with("\"speaker\":\"peer\"");
    assert_eq!(pair.server.program.expect("your-turn")["turn"], 3);
}

#[test]
fn a_failure_before_the_conversation_is_an_error_event_too() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone"]);
    let pin = bob.key();
    for (address, code, exit) in [(&*server.address, "trust", 3), ("127.0.0.1:1", "link", 4)] {
        let done = bob.run(&["client", address, "--pin", &pin, "--json"]);
        done.fails(exit, &[]);
        let events: Vec<Value> = done
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [error, ended] = &events[..] else {
            panic!("{events:?}");
        };
        is_error(error, code);
        assert_eq!(
            (&ended["event"], &ended["by"]),
            (&json!("ended"), &json!("error"))
        );
        assert_eq!(ended["turns"], 0);
    }
}

#[test]
fn a_server_that_cannot_listen_tells_an_error_event() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let done = Person::new().run(&["server", "--listen", &address, "--json"]);
    done.fails(1, &["in use"]);
    is_error(&serde_json::from_str(&done.stdout).unwrap(), "internal");
}
