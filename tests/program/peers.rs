//! The address book from the command line.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::harness::{Person, Terminal, utf8};

#[test]
fn the_book_is_listed_as_it_was_made() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    let empty = alice.run(&["peers", "list"]);
    assert_eq!(empty.stdout, "");
    assert!(empty.stderr.contains("turnchat peers add"), "{empty:?}");

    alice.knows("bob", &bob);
    let key = other.key();
    let added = [
        "peers",
        "add",
        "bob-laptop",
        &key,
        "--address",
        "Laptop.example",
    ];
    assert_eq!(alice.run(&added).succeeds(), "");
    let listed = alice.run(&["peers", "list"]).succeeds();
    let (bob, key) = (bob.key(), other.key());
    let rows: Vec<Vec<_>> = listed
        .lines()
        .map(|row| row.split('\t').collect())
        .collect();
    let [first, second] = &rows[..] else {
        panic!("{listed}");
    };
    assert_eq!(first[..4], ["bob", &bob, "", "added"]);
    assert_eq!(
        second[..4],
        ["bob-laptop", &key, "laptop.example:8876", "added"]
    );
    assert!(
        rows.iter()
            .all(|row| row.len() == 5 && row[4].ends_with('Z')),
        "{listed}"
    );
    let objects = alice.run(&["peers", "list", "--json"]).succeeds();
    let objects = objects
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let objects: Vec<_> = objects.collect();
    assert_eq!(objects[1]["name"], "bob-laptop");
    assert_eq!(objects[1]["address"], "laptop.example:8876");
    assert_eq!(objects[0]["address"], Value::Null);
    assert_eq!(objects[0]["keys"][0]["key"], *bob);
    assert_eq!(objects[0]["keys"][0]["how"], "added");
    assert_eq!(objects[0]["keys"][0]["when"], rows[0][4]);

    alice.run(&["peers", "rename", "bob", "old"]).succeeds();
    alice.run(&["peers", "remove", "bob-laptop"]).succeeds();
    let listed = alice.run(&["peers", "list"]).succeeds();
    assert!(
        listed.starts_with(&format!("old\t{bob}\t\tadded\t")),
        "{listed}"
    );
    alice.run(&["peers", "remove", "old"]).succeeds();
    assert_eq!(alice.run(&["peers", "list"]).succeeds(), "");
}

#[test]
fn an_edit_that_contradicts_the_book_changes_nothing() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    let (key, another) = (bob.key(), other.key());
    let add = |name, key| ["peers", "add", name, key, "--address", "host:1"];
    alice.run(&add("bob", &key)).succeeds();
    let third = Person::new();
    alice.knows("other", &third);
    let before = fs::read(alice.book()).unwrap();
    for (arguments, words) in [
        (&["peers", "add", "robert", &key][..], "as bob"),
        (
            &["peers", "remove", "bob", &another],
            "no key of the peer bob",
        ),
        (
            &["peers", "remove", "bob", &key],
            "only key of the peer bob",
        ),
        (
            &add("robert", &another),
            "address is in the address book as bob",
        ),
        (&["peers", "remove", "robert"], "called robert"),
        (&["peers", "rename", "robert", "rob"], "called robert"),
        (&["peers", "rename", "bob", "other"], "name other is taken"),
    ] {
        let refused = alice.run(arguments);
        refused.fails(1, &[words]);
        assert_eq!(refused.stdout, "");
        assert_eq!(fs::read(alice.book()).unwrap(), before, "{arguments:?}");
    }
}

#[test]
fn a_peer_that_changes_its_key_has_both_for_a_while() {
    let (alice, old, new) = (Person::new(), Person::new(), Person::new());
    let (old_key, new_key) = (old.key(), new.key());
    alice.knows("bob", &old);
    let added = alice.run(&["peers", "add", "bob", &new_key]);
    added.exits(0);
    assert!(added.stderr.contains("Both are accepted"), "{added:?}");
    let again = alice.run(&["peers", "add", "bob", &new_key]);
    assert!(again.stderr.contains("nothing was changed"), "{again:?}");
    let server = alice.serve(&["--first", "Hello"]);
    for bob in [&old, &new] {
        let mut client = bob.call(&server, &alice, &[]);
        client.shows("They say: Hello");
        client.say("QUIT");
        client.finish().exits(0);
    }
    alice.run(&["peers", "remove", "bob", &old_key]).succeeds();
    let listed = alice.run(&["peers", "list"]).succeeds();
    assert!(listed.starts_with(&format!("bob\t{new_key}\t")), "{listed}");
    assert_eq!(listed.lines().count(), 1);
}

#[test]
fn a_terminal_gets_the_book_as_a_table() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let terminal = Terminal::start(alice.turnchat(&["peers", "list"]));
    terminal.says(&format!("bob  {}  added  2", bob.key()));
    assert_eq!(terminal.finish().0, Some(0));
}

#[test]
fn ones_own_key_is_no_peer() {
    let alice = Person::new();
    for own in [alice.key(), alice.certificate()] {
        let refused = alice.run(&["peers", "add", "alice", &own]);
        refused.fails(1, &["your own key", "`turnchat fingerprint`"]);
    }
    assert!(!alice.book().exists());
    // Nobody has one yet in a home without an identity.
    let new = Person::without_identity();
    new.knows("alice", &alice);
}

#[test]
fn malformed_names_keys_and_addresses_are_misuse() {
    let (alice, bob) = (Person::new(), Person::new());
    let key = bob.key();
    for (arguments, words) in [
        (&["peers", "add", "-bob", &key][..], "-b"),
        (&["peers", "add", "bob.pem", &key], "not a name"),
        (&["peers", "add", "a b", &key], "not a name"),
        (&["peers", "add", "bob", "SHA256:short"], "not a key"),
        (&["peers", "add", "bob", "robert"], "neither a key"),
        (
            &["peers", "add", "bob", &key, "--address", "a:b:c"],
            "not an address",
        ),
        (&["peers", "add", "bob"], "required"),
        (&["peers", "remove", "a b"], "not a name"),
        (&["peers", "rename", "bob", ""], "not a name"),
        (&["peers"], "Usage"),
    ] {
        let refused = alice.run(arguments);
        refused.exits(2);
        assert!(refused.stderr.contains(words), "{arguments:?}: {refused:?}");
    }
    assert!(!alice.book().exists());
}

#[test]
fn a_file_without_a_certificate_is_added_to_no_book() {
    let alice = Person::new();
    let key_file = utf8(alice.key_file());
    let refused = alice.run(&["peers", "add", "bob", &key_file]);
    refused.fails(1, &["No certificate"]);
    let refused = alice.run(&["peers", "add", "bob", "./nowhere.pem"]);
    refused.fails(1, &["nowhere.pem"]);
    assert!(!alice.book().exists());
}

#[test]
fn a_damaged_book_stops_everything_and_stays_as_it_is() {
    let (alice, bob) = (Person::new(), Person::new());
    let certificate = bob.certificate();
    for damaged in [
        &b"[bob\nkeys = []\n"[..],
        b"[bob]\nkeys = [\"SHA256:short\"]\n",
        b"[bob]\nkeys = []\n",
        b"[bob]\nkey = \"x\"\n",
        b"\xff\xfe",
        b"<<<<<<< HEAD\n",
    ] {
        fs::write(alice.book(), damaged).unwrap();
        for arguments in [
            &["peers", "list"][..],
            &["peers", "add", "bob", &certificate],
            &["peers", "remove", "bob"],
            &["peers", "rename", "bob", "robert"],
            &["server", "--listen", "127.0.0.1:0"],
            &["client", "127.0.0.1:1"],
            &["client", "127.0.0.1:1", "--accept-new", "--as", "bob"],
        ] {
            let refused = alice.run(arguments);
            refused.fails(1, &["peers.toml"]);
            assert_eq!(refused.stdout, "", "{arguments:?}");
        }
        assert_eq!(fs::read(alice.book()).unwrap(), damaged);
    }
}

#[test]
fn what_a_person_wrote_into_the_book_survives_an_edit() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut book = fs::read_to_string(alice.book()).unwrap();
    book.push_str("# bob's key was compared on the phone\n");
    fs::write(alice.book(), &book).unwrap();
    alice.knows("other", &Person::new());
    let edited = fs::read_to_string(alice.book()).unwrap();
    assert!(
        edited.contains("# bob's key was compared on the phone"),
        "{edited}"
    );
}

#[test]
fn a_book_keeps_its_mode_and_loses_what_a_killed_writer_left() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let left = alice.home().join(".peers.toml.0123456789abcdef.new");
    for mode in [0o640, 0o400] {
        fs::set_permissions(alice.book(), Permissions::from_mode(mode)).unwrap();
        fs::write(&left, "half").unwrap();
        alice.run(&["peers", "rename", "bob", "robert"]).succeeds();
        alice.run(&["peers", "rename", "robert", "bob"]).succeeds();
        let kept = fs::metadata(alice.book()).unwrap().permissions().mode();
        assert_eq!(kept & 0o777, mode);
        assert!(!left.exists());
    }
}

#[test]
fn whoever_changes_the_book_is_named_and_not_waited_for_for_ever() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let lock = alice.home().join("peers.toml.lock");
    let held = File::open(&lock).unwrap();
    held.lock().unwrap();
    let before = fs::read(alice.book()).unwrap();
    let remove = ["peers", "remove", "bob"];
    let started = [b"".as_slice(), std::process::id().to_string().as_bytes()].map(|holder| {
        fs::write(&lock, holder).unwrap();
        alice.run(&remove)
    });
    let [unknown, known] = started;
    unknown.fails(1, &["Another program is changing", "nothing was changed"]);
    let process = format!("Process {} is changing", std::process::id());
    known.fails(1, &[&process, "nothing was changed"]);
    assert_eq!(fs::read(alice.book()).unwrap(), before);
    drop(held);
    alice.run(&remove).succeeds();
    // Nobody is named who has let go.
    assert_eq!(fs::read(&lock).unwrap(), b"");
}
