//! `turnchat conversations`: what stands in the journal, seen and given up.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use turnchat::KeyId;
use turnchat::internals::{read_record, write_record};

use crate::harness::{Finished, JSON_SERVER, Person, Program, Server, contents, json_client, say};

const LIST: [&str; 2] = ["conversations", "list"];

/// A conversation that is on: alice, whose server it is, has said "Hello", and bob has it.
struct Talking {
    server: Server,
    client: Program,
    id: Value,
}

impl Talking {
    fn between(alice: &Person, bob: &Person) -> Self {
        let mut server = Server::of(alice.start(&JSON_SERVER));
        let mut client = Program::start(json_client(bob, &server, alice));
        let connected = event(&mut client, "connected");
        let id = connected["conversation"].clone();
        server.program.stdout.line_with("\"your-turn\"");
        server.program.say(&say("Hello"));
        client.stdout.line_with("\"your-turn\"");
        server.program.stdout.line_with("\"delivered\"");
        Self { server, client, id }
    }

    /// Both are stopped. Bob has said something that alice's program never got.
    fn stops(mut self) -> Value {
        self.server.program.send(Signal::SIGTERM);
        self.server.program.finish().exits(0);
        self.client.expect("lost");
        self.client.say(&say("Hi"));
        self.client.expect("turn");
        self.client.send(Signal::SIGTERM);
        self.client.finish().exits(143);
        self.id
    }

    /// Alice's server has bob's answer on the disk; nobody can have read it there.
    fn stops_with_an_answer(mut self, answer: &str) {
        self.client.say(&say(answer));
        self.client.stdout.line_with("\"delivered\"");
        self.server.program.send(Signal::SIGKILL);
    }
}

/// Two who know each other, and their conversation, which nobody has open.
fn parked() -> (Person, Person, Value) {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    bob.knows("alice", &alice);
    let id = Talking::between(&alice, &bob).stops();
    (alice, bob, id)
}

/// The next event of this name; those before it are passed over.
fn event(program: &mut Program, name: &str) -> Value {
    let event = program.stdout.line_with(&format!("\"event\":\"{name}\""));
    serde_json::from_str(&event).unwrap()
}

fn list(person: &Person) -> Finished {
    person.run(&LIST)
}

fn end(person: &Person, peer: &str) -> Finished {
    person.run(&["conversations", "end", peer])
}

/// The only line, but for its age.
#[track_caller]
fn lists(person: &Person, before_age: &str, after_age: &str) {
    let listed = list(person);
    assert_eq!(listed.stderr, "");
    let listed = listed.succeeds();
    let line = listed.strip_suffix('\n').unwrap();
    let age = line.strip_prefix(before_age).expect(line);
    let age = age.strip_suffix(after_age).expect(line);
    let is_age = age.ends_with(['s', 'm']) && age.len() <= 3;
    assert!(is_age, "{line}");
}

#[track_caller]
fn lists_nothing(person: &Person) {
    let listed = list(person);
    assert!(listed.stderr.contains("No conversation"), "{listed:?}");
    assert_eq!(listed.succeeds(), "");
}

/// The pages of somebody's journal.
fn pages(person: &Person) -> Vec<(PathBuf, Value)> {
    let journal = contents(&person.home().join("journal")).into_iter();
    let pages = journal.filter(|(path, _)| path.extension().is_some_and(|end| end == "record"));
    pages
        .map(|(path, _)| {
            let page = read_record(&path).expect("a whole record");
            (path, serde_json::from_str(&page).unwrap())
        })
        .collect()
}

#[test]
fn each_side_lists_what_can_go_on() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let (alice_s, bob_s) = (alice.key(), bob.key());
    let talking = Talking::between(&alice, &bob);
    lists(
        &alice,
        &format!("bob  {bob_s}  as server  1 turn  "),
        " ago  in use",
    );
    // Whom the book does not know has no name.
    lists(
        &bob,
        &format!("-  {alice_s}  as client  1 turn  "),
        " ago  in use",
    );
    talking.stops();
    lists(
        &alice,
        &format!("bob  {bob_s}  as server  1 turn  "),
        " ago",
    );
    lists(&bob, &format!("-  {alice_s}  as client  2 turns  "), " ago");
}

#[test]
fn the_columns_stand_below_each_other() {
    let (alice, bob, id) = parked();
    let other = Person::new();
    alice.knows("somebody-else", &other);
    let (path, mut page) = pages(&alice).remove(0);
    let newer = id.as_str().unwrap().replace(|_: char| true, "A");
    page["peer"] = json!(other.key());
    page["conversation"]["id"] = json!(newer);
    page["written"] = json!(page["written"].as_u64().unwrap() + 1);
    let name = format!("server-{}-{newer}.record", file_name(&other.key()));
    assert!(write_record(&path.with_file_name(name), &page.to_string()));

    let listed = list(&alice).succeeds();
    let [first, second] = listed.lines().collect::<Vec<_>>()[..] else {
        panic!("{listed}");
    };
    // The last written comes first.
    let begin = format!("somebody-else  {}  as server  1 turn  ", other.key());
    assert!(first.starts_with(&begin), "{listed}");
    let begin = format!("bob            {}  as server  1 turn  ", bob.key());
    assert!(second.starts_with(&begin), "{listed}");
}

#[test]
fn programs_get_an_object_a_line() {
    let (alice, bob, id) = parked();
    let objects = |person: &Person| -> Vec<Value> {
        let listed = person.run(&["conversations", "list", "--json"]).succeeds();
        let lines = listed.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let [listed] = &objects(&alice)[..] else {
        panic!("not one");
    };
    let expected = json!({
        "key": bob.key(),
        "name": "bob",
        "role": "server",
        "conversation": id,
        "turns": 1,
        "written": pages(&alice)[0].1["written"],
        "held": false,
    });
    assert_eq!(*listed, expected);

    bob.run(&["peers", "remove", "alice"]).succeeds();
    let listed = &objects(&bob)[0];
    assert_eq!(listed["name"], Value::Null);
    let told = (&listed["role"], &listed["turns"], &listed["conversation"]);
    assert_eq!(told, (&json!("client"), &json!(2), &id));

    let nothing = Person::new().run(&["conversations", "list", "--json"]);
    assert_eq!(nothing.succeeds(), "");
}

#[test]
fn a_list_makes_and_changes_nothing() {
    let nobody = Person::without_identity();
    lists_nothing(&nobody);
    end(&nobody, "bob").fails(1, &["bob"]);
    assert!(!nobody.home().exists());

    let (alice, bob) = (Person::new(), Person::new());
    lists_nothing(&alice);
    assert!(!alice.home().join("journal").exists());
    let mut talking = Talking::between(&alice, &bob);
    let before = (contents(&alice.home()), contents(&bob.home()));
    list(&alice).succeeds();
    list(&bob).succeeds();
    assert_eq!((contents(&alice.home()), contents(&bob.home())), before);
    // The programs have not noticed.
    talking.client.say(&say("Hi"));
    talking.client.stdout.line_with("\"delivered\"");
}

#[test]
fn whose_conversation_a_server_gave_up_is_told() {
    let (alice, bob, id) = parked();
    let ended = end(&alice, "bob");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    for words in ["with bob", "as server, 1 turn", "told when it comes back"] {
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
    // That hers has arrived is not on the disk before she hears the answer.
    let words = "turn 1 in it was not acknowledged, as far as is known here";
    assert!(ended.stderr.contains(words), "{ended:?}");
    assert_eq!(ended.succeeds(), "");
    lists_nothing(&alice);
    let (_, page) = &pages(&alice)[0];
    let kept = &page["conversation"];
    assert_eq!((&kept["id"], &kept["quit"]), (&id, &json!(true)));
    assert_eq!(kept["last_said"], Value::Null);

    // It was told, and is told no more.
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let mut client = Program::start(json_client(&bob, &server, &alice));
    server.program.expect("listening");
    assert_eq!(server.program.expect("refused")["reason"], "ended");
    server.program.expect("connected");
    let told = event(&mut client, "error");
    assert_eq!(told["conversation"], id);
    assert_eq!(told["unacknowledged"], json!({ "turn": 2, "text": "Hi" }));
    client.stderr.line_with("was ended meanwhile");
    let connected = event(&mut client, "connected");
    assert_ne!(connected["conversation"], id);
    server.program.stdout.line_with("\"your-turn\"");
    server.program.say("{\"quit\":{}}");
    client.finish().exits(0);
}

/// One that dials a lost link is no other.
#[test]
fn a_client_that_still_waits_is_told_of_the_end() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let Talking {
        server,
        mut client,
        id,
    } = Talking::between(&alice, &bob);
    let address = server.address.clone();
    server.program.send(Signal::SIGTERM);
    server.program.finish().exits(0);
    client.expect("lost");
    end(&alice, "bob").succeeds();
    let again = ["server", "--listen", &address, "--json"];
    let _server = Server::of(alice.start(&again));
    let ended = event(&mut client, "ended");
    assert_eq!(
        (&ended["conversation"], &ended["by"]),
        (&id, &json!("peer"))
    );
    client.finish().exits(0);
}

#[test]
fn whose_conversation_a_client_gave_up_is_told() {
    let (alice, bob, id) = parked();
    // By the key too.
    let ended = end(&bob, &alice.key());
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    for words in [
        "with alice",
        "as client, 2 turns",
        "told when you call again",
        "turn 2 in it was not acknowledged",
    ] {
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
    assert_eq!(ended.succeeds(), "");
    lists_nothing(&bob);
    assert!(pages(&bob).is_empty());

    let mut server = Server::of(alice.start(&JSON_SERVER));
    let mut client = Program::start(json_client(&bob, &server, &alice));
    let told = event(&mut server.program, "ended");
    assert_eq!((&told["conversation"], &told["by"]), (&id, &json!("peer")));
    let connected = event(&mut client, "connected");
    assert_ne!(connected["conversation"], id);
    server.program.stdout.line_with("\"your-turn\"");
    let quit = json!({ "quit": { "conversation": connected["conversation"] } });
    server.program.say(&quit.to_string());
    client.finish().exits(0);
}

#[test]
fn a_message_that_nobody_may_have_seen_is_shown_at_the_end() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    Talking::between(&alice, &bob).stops_with_an_answer("Hi\u{1b}[2J\nYour message: no");
    let ended = end(&alice, "bob");
    assert!(ended.stderr.contains("last message"), "{ended:?}");
    let shown = "They say: Hi\\u{1b}[2J\n    Your message: no\n";
    assert_eq!(ended.succeeds(), shown);
    assert!(pages(&alice).is_empty());

    // Whom nothing is kept for learns of the end all the same.
    let server = Server::of(alice.start(&JSON_SERVER));
    let mut client = Program::start(json_client(&bob, &server, &alice));
    client.stderr.line_with("was ended meanwhile");
    client.stdout.line_with("\"connected\"");
}

#[test]
fn what_a_running_program_holds_is_not_given_up() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    bob.knows("alice", &alice);
    let mut talking = Talking::between(&alice, &bob);
    for (person, peer, lock) in [(&alice, "bob", "server.lock"), (&bob, "alice", "client-")] {
        let before = contents(&person.home());
        let refused = end(person, peer);
        refused.fails(1, &[lock, "Stop", "again"]);
        assert_eq!(refused.stdout, "");
        assert_eq!(contents(&person.home()), before);
    }
    talking.client.say(&say("Hi"));
    talking.client.stdout.line_with("\"delivered\"");
}

#[test]
fn with_whom_no_conversation_is_open_none_is_given_up() {
    let (alice, _, _) = parked();
    let other = Person::new();
    let before = contents(&alice.home().join("journal"));
    let unknown = end(&alice, "robert");
    unknown.fails(1, &["called robert", "turnchat conversations list"]);
    let key = other.key();
    let unknown = end(&alice, &key);
    unknown.fails(1, &[&key, "turnchat conversations list"]);
    alice.knows("robert", &other);
    end(&alice, "robert").fails(1, &["with robert"]);
    end(&alice, "SHA256:short").misuses(&["not a key"]);
    alice.run(&["conversations", "end"]).misuses(&["PEER"]);
    assert_eq!(contents(&alice.home().join("journal")), before);
}

#[test]
fn a_damaged_record_hides_no_other() {
    let (alice, bob, _) = parked();
    let (path, mut page) = pages(&alice).remove(0);
    let damaged = path.with_file_name("server-damaged.record");
    fs::write(&damaged, "{").unwrap();
    page["version"] = json!(1);
    let old = page.to_string().replacen('{', "{\"version\":1,", 1);
    let other_version = path.with_file_name("client-old.json");
    fs::write(&other_version, old).unwrap();

    let listed = list(&alice);
    listed.fails(1, &[]);
    assert!(listed.stdout.starts_with("bob  "), "{listed:?}");
    assert_eq!(listed.stdout.lines().count(), 1, "{listed:?}");
    assert_eq!(listed.stderr.lines().count(), 4, "{listed:?}");
    for words in [
        "server-damaged.record is damaged",
        "client-old.json has the form of version 1",
    ] {
        assert!(listed.stderr.contains(words), "{listed:?}");
    }

    end(&alice, "bob").succeeds();
    end(&alice, &bob.key()).fails(1, &["with bob"]);
    assert_eq!(fs::read(&damaged).unwrap(), b"{");
    assert!(other_version.exists());
}

#[test]
fn every_identity_that_used_the_home_is_listed() {
    let (alice, bob) = (Person::new(), Person::new());
    let talking = Talking::between(&alice, &bob);
    talking.stops();
    // Whatever else lies there is no journal.
    fs::create_dir(alice.home().join("journal/old")).unwrap();
    alice
        .run(&["gen-cert", "--out", "other", "--quiet"])
        .succeeds();
    for file in ["cert.pem", "key.pem"] {
        fs::rename(alice.path("other").join(file), alice.home().join(file)).unwrap();
    }
    let listed = list(&alice).succeeds();
    assert!(listed.contains(&bob.key()), "{listed}");
    end(&alice, &bob.key()).succeeds();
    lists_nothing(&alice);
}

/// A key as part of a file's name.
fn file_name(key: &str) -> String {
    let key: KeyId = key.parse().unwrap();
    key.file_name()
}
