//! docs/json.schema.json against the program: each line that any test here gets from it with
//! `--json` is compared, and each event and code of the schema is seen. So are the examples of
//! docs/JSON.md.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use jsonschema::Validator;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{JSON_SERVER, Pair, Person, Program, Server, json_client, say};

/// What a line may be: a definition of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Event,
    Command,
    OpenConversation,
    AddressBookEntry,
}

impl Kind {
    const ALL: [(Self, &str); 4] = [
        (Self::Event, "event"),
        (Self::Command, "command"),
        (Self::OpenConversation, "openConversation"),
        (Self::AddressBookEntry, "addressBookEntry"),
    ];

    /// What a command prints, if it is asked for JSON.
    pub(crate) fn printed_by(command: &Command) -> Option<Self> {
        let arguments: Vec<_> = command.get_args().collect();
        let has = |word: &str| arguments.iter().any(|argument| *argument == word);
        // A shell that completes a line has words of it.
        let completes = command.get_program().to_string_lossy().ends_with("bash");
        match has("--json") && !has("--help") && !completes {
            true if has("peers") => Some(Self::AddressBookEntry),
            true if has("conversations") => Some(Self::OpenConversation),
            true => Some(Self::Event),
            false => None,
        }
    }

    /// Every whole line is one.
    #[track_caller]
    pub(crate) fn check(self, lines: &str) {
        static VALIDATORS: OnceLock<Vec<Validator>> = OnceLock::new();
        let validators = VALIDATORS.get_or_init(|| {
            let schema = closed(schema());
            Self::ALL.map(|(_, name)| validator(&schema, name)).into()
        });
        let place = Self::ALL.iter().position(|(kind, _)| *kind == self);
        let validator = &validators[place.expect("a kind")];
        let whole = lines.rfind('\n').map_or(0, |end| end + 1);
        for line in lines[..whole].lines() {
            let value = serde_json::from_str(line);
            let value: Value = value.unwrap_or_else(|error| panic!("{error}: {line}"));
            if let Err(error) = validator.validate(&value) {
                panic!("docs/json.schema.json knows no such {self:?}: {line}\n{error}");
            }
        }
    }
}

fn page() -> &'static str {
    include_str!("../../docs/JSON.md")
}

fn schema() -> Value {
    serde_json::from_str(include_str!("../../docs/json.schema.json")).expect("JSON")
}

fn validator(schema: &Value, definition: &str) -> Validator {
    let schema = json!({
        "$schema": schema["$schema"],
        "$ref": format!("#/$defs/{definition}"),
        "$defs": schema["$defs"],
    });
    jsonschema::validator_for(&schema).expect("a schema")
}

/// The same without members that are not listed: what is written has to be in it.
fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(members) => {
            for (_, value) in members.iter_mut() {
                *value = closed(value.take());
            }
            // A member may be called `properties`, but here none is.
            if members.contains_key("properties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = closed(value.take());
            }
        }
        _ => {}
    }
    schema
}

/// The values that a member may have in the alternatives of a definition.
fn allowed(schema: &Value, definition: &str, member: &str) -> BTreeSet<String> {
    let branches = schema["$defs"][definition]["oneOf"].as_array().unwrap();
    let mut found = BTreeSet::new();
    for branch in branches {
        let name = branch["$ref"].as_str().unwrap();
        let name = name.trim_start_matches("#/$defs/");
        let of = &schema["$defs"][name]["properties"][member];
        let several = of["enum"].as_array().into_iter().flatten();
        let values = several.chain(of.get("const"));
        found.extend(values.map(|value| value.as_str().unwrap().to_owned()));
    }
    found
}

/// The lines of the block of the page with this behind the fence.
fn examples(fence: &str) -> Vec<&'static str> {
    let (_, rest) = page().split_once(&format!("```{fence}\n")).unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    block.lines().collect()
}

/// The first cells of the table below a heading of the page.
fn first_cells(heading: &str) -> BTreeSet<String> {
    let (_, rest) = page().split_once(&format!("\n## {heading}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let cells = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.map(str::to_owned).collect()
}

#[test]
fn the_schema_is_one_and_refuses_what_is_wrong() {
    let schema = schema();
    jsonschema::meta::validate(&schema).unwrap();
    let (open, closed) = (
        validator(&schema, "event"),
        validator(&closed(schema.clone()), "event"),
    );
    let line = |event: Value| {
        let mut line = json!({ "conversation": "MDEyMzQ1Njc4OWFiY2RlZg", "turn": 2 });
        line.as_object_mut()
            .unwrap()
            .extend(event.as_object().unwrap().clone());
        line
    };
    assert!(closed.is_valid(&line(json!({ "event": "delivered" }))));
    let newer = line(json!({ "event": "delivered", "at": 7 }));
    assert!(open.is_valid(&newer) && !closed.is_valid(&newer));
    for wrong in [
        json!({ "event": "undelivered" }),
        json!({ "event": "delivered", "turn": 0 }),
        json!({ "event": "delivered", "turn": 2.5 }),
        json!({ "event": "delivered", "conversation": "MDEyMzQ1Njc4OWFiY2RlZh" }),
        json!({ "event": "turn", "speaker": "me" }),
        json!({ "event": "turn", "speaker": "us", "text": "Hi" }),
        json!({ "event": "turn", "speaker": "me", "text": "Hi", "again": false }),
        json!({ "event": "error", "code": "not-sent", "what": "a", "advice": "b" }),
        json!({ "event": "error", "code": "bad-luck", "what": "a", "advice": "b" }),
    ] {
        assert!(!open.is_valid(&line(wrong.clone())), "{wrong}");
    }
}

#[test]
fn the_page_has_an_example_and_a_row_for_each_event_and_code() {
    let schema = schema();
    let names = allowed(&schema, "event", "event");
    let mut shown = BTreeSet::new();
    for line in examples("json events") {
        let event: Value = serde_json::from_str(line).unwrap();
        shown.insert(event["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(shown, names);
    assert_eq!(first_cells("Events"), names);
    assert_eq!(
        first_cells("Error codes"),
        allowed(&schema, "event", "code")
    );
    for reason in schema["$defs"]["refused"]["properties"]["reason"]["enum"]
        .as_array()
        .unwrap()
    {
        assert!(page().contains(&format!("`{}`", reason.as_str().unwrap())));
    }
}

#[test]
fn the_examples_of_the_page_fit_the_schema() {
    for (kind, fence) in Kind::ALL {
        let fence = match kind {
            Kind::Event => "json events",
            Kind::Command => "json commands",
            _ => &format!("json {fence}"),
        };
        let lines = examples(fence);
        assert!(!lines.is_empty());
        kind.check(&(lines.join("\n") + "\n"));
    }
}

/// Programs that hold a conversation, and all that they wrote.
#[derive(Default)]
struct Seen(Vec<Value>);

impl Seen {
    /// The next event of this name; those before it are passed over.
    #[track_caller]
    fn until(&mut self, program: &mut Program, name: &str) -> Value {
        loop {
            let event = program.event();
            self.0.push(event.clone());
            if event["event"] == name {
                return event;
            }
        }
    }

    fn run(&mut self, program: Program) {
        let written = program.finish().stdout;
        let events = written.lines();
        self.0
            .extend(events.map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }

    fn values(&self, name: &str) -> BTreeSet<String> {
        // The code of a pairing is another thing than that of an error.
        let events = self
            .0
            .iter()
            .filter(|it| name != "code" || it["event"] == "error");
        let values = events.filter_map(|event| event[name].as_str());
        values.map(str::to_owned).collect()
    }
}

/// Each command of the page, with the conversation and the turn that are on.
fn command(line: &str, conversation: &Value, turn: u64) -> String {
    Kind::Command.check(&format!("{line}\n"));
    let mut command: Value = serde_json::from_str(line).unwrap();
    for members in command.as_object_mut().unwrap().values_mut() {
        for (name, value) in members.as_object_mut().unwrap() {
            match name.as_str() {
                "conversation" => *value = conversation.clone(),
                "turn" => *value = turn.into(),
                _ => {}
            }
        }
    }
    command.to_string()
}

/// Pairs and talks, with each command of the page; somebody waits, and somebody is refused.
fn pair_and_talk(seen: &mut Seen) {
    let (alice, bob, carol) = (Person::new(), Person::new(), Person::new());
    let lines = examples("json commands");
    let of = |name: &str| {
        let start = format!("{{\"{name}\"");
        let lines = lines.iter().filter(move |line| line.starts_with(&start));
        lines.copied().collect::<Vec<_>>()
    };
    let mut server = alice.serve(&["--pair", "bob", "--json"]);
    let server = &mut server.program;
    let address = seen.until(server, "listening")["address"].clone();
    let address = address.as_str().unwrap();
    let code = seen.until(server, "pairing")["code"].clone();
    seen.run(carol.start(&["client", address, "--pin", &alice.key(), "--json"]));
    seen.until(server, "refused");

    let pairing = ["client", address, "--pair", "--as", "alice", "--json"];
    let guess = |code: &str| {
        let mut client = bob.start(&pairing);
        client.expect("code-wanted");
        let [line] = of("pair")[..] else {
            panic!("one example");
        };
        let mut command: Value = serde_json::from_str(line).unwrap();
        command["pair"]["code"] = code.into();
        Kind::Command.check(&format!("{command}\n"));
        client.say(&command.to_string());
        client
    };
    seen.run(guess("acoustic-museum-tide"));
    let mut client = guess(code.as_str().unwrap());
    seen.until(server, "paired");
    seen.until(&mut client, "connected");
    let id = seen.until(server, "connected")["conversation"].clone();

    let mut turn = 1;
    for line in of("say") {
        let (one, other) = match turn % 2 {
            1 => (&mut *server, &mut client),
            _ => (&mut client, &mut *server),
        };
        seen.until(one, "your-turn");
        one.say(&command(line, &id, turn));
        assert_eq!(seen.until(one, "turn")["turn"], turn);
        assert_eq!(seen.until(other, "turn")["speaker"], "peer");
        turn += 1;
    }
    let mut on = id;
    let quits = of("quit");
    for (number, line) in quits.iter().enumerate() {
        if number > 0 {
            client = bob.start(&["client", "alice", "--json"]);
            on = seen.until(&mut client, "connected")["conversation"].clone();
        }
        client.say(&command(line, &on, turn));
        assert_eq!(seen.until(&mut client, "ended")["by"], "me");
        assert_eq!(seen.until(server, "ended")["by"], "peer");
    }
}

/// Somebody has to queue; all that a command can be refused for.
fn queue_and_refuse(seen: &mut Seen) {
    let (alice, bob, carol) = (Person::new(), Person::new(), Person::new());
    let mut server = alice.serve(&["--allow-anyone", "--json"]);
    let mut client = bob.call(&server, &alice, &["--json"]);
    seen.until(&mut client, "connected");
    let mut queued = carol.call(&server, &alice, &["--json"]);
    seen.until(&mut queued, "waiting");
    for command in [
        "Hello",
        &say("Hello"),
        &say(&"x".repeat(65_537)),
        r#"{"say":{"text":"Hello","conversation":"MDEyMzQ1Njc4OWFiY2RlZg"}}"#,
    ] {
        client.say(command);
        seen.until(&mut client, "error");
    }
    queued.say("{\"quit\":{}}");
    seen.until(&mut queued, "ended");
    seen.until(&mut server.program, "your-turn");
}

/// The server is killed and started again, and then for good.
fn lose_and_go_on(seen: &mut Seen) {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let mut client = Program::start(json_client(&bob, &server, &alice));
    seen.until(&mut server.program, "your-turn");
    server.program.say(&say("Hello"));
    seen.until(&mut client, "your-turn");
    client.say(&say("Hi"));
    seen.until(&mut client, "delivered");
    server.program.send(Signal::SIGKILL);
    server.program.finish();
    seen.until(&mut client, "lost");
    let mut again = JSON_SERVER;
    again[2] = &server.address;
    let mut server = Server::of(alice.start(&again));
    let connected = seen.until(&mut server.program, "connected");
    assert_eq!(connected["resumed"], true);
    assert_eq!(seen.until(&mut server.program, "turn")["again"], true);
    seen.until(&mut client, "resumed");
}

/// A message that the end overtakes. If it was on its way first, it is tried again.
fn say_too_late(seen: &mut Seen) {
    for _ in 0..20 {
        let pair = Pair::new(&["--first", "Hello"]);
        let mut client = pair.client(&["--json"]);
        seen.until(&mut client, "your-turn");
        client.freezes();
        let mut server = pair.server.program;
        server.send(Signal::SIGINT);
        client.say(&say("Are you there?"));
        server.stderr.line_with("Saying goodbye");
        client.send(Signal::SIGCONT);
        seen.run(client);
        if seen.values("code").contains("not-sent") {
            return;
        }
    }
    panic!("twenty messages were all on their way");
}

/// A program that cannot connect, or listen, or go on.
fn fail(seen: &mut Seen) {
    let (alice, bob) = (Person::new(), Person::new());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    seen.run(alice.start(&["server", "--listen", &address, "--json"]));
    let talks = thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let mut hello = [0; 64];
        let _ = stream.read(&mut hello);
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
    });
    let pin = alice.key();
    seen.run(bob.start(&["client", &address, "--pin", &pin, "--json"]));
    talks.join().unwrap();
    seen.run(bob.start(&["client", &address, "--pin", &pin, "--json"]));

    let pair = Pair::new(&["--first", "Hello"]);
    let mut client = pair.client(&["--json"]);
    seen.until(&mut client, "your-turn");
    drop(pair.server);
    assert_eq!(seen.until(&mut client, "ended")["by"], "lost");
}

/// Not in these scenarios, since it takes 30 s: values are compared, in the program's own tests.
const NOT_SEEN: [&str; 1] = ["silence"];
/// By another server, over a store that this build may not have: src/cli/events.rs has a test.
const NOT_BY: &str = "elsewhere";

#[test]
fn each_event_and_code_of_the_schema_is_seen() {
    let mut seen = Seen::default();
    pair_and_talk(&mut seen);
    queue_and_refuse(&mut seen);
    lose_and_go_on(&mut seen);
    say_too_late(&mut seen);
    fail(&mut seen);
    let schema = schema();
    let mut names = allowed(&schema, "event", "event");
    for name in NOT_SEEN {
        assert!(names.remove(name));
    }
    assert_eq!(seen.values("event"), names);
    for member in ["code", "by", "speaker", "role"] {
        let mut expected = allowed(&schema, "event", member);
        if member == "role" {
            let of = schema["$defs"]["role"]["enum"].as_array().unwrap();
            expected = of
                .iter()
                .map(|it| it.as_str().unwrap().to_owned())
                .collect();
        }
        if member == "by" {
            assert!(expected.remove(NOT_BY));
        }
        let values = seen.values(member);
        assert_eq!(values, expected, "{member}");
    }
}
