//! `--store`: where a server keeps its open conversations.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::{Person, Program, Server, json_client, server, utf8};

#[test]
fn a_conversation_goes_on_from_a_directory_of_its_own() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let kept = alice.path("kept");
    let at = format!("file:{}", utf8(&kept));
    let command = ["--json", "--store", &at];
    let mut first = alice.serve(&command);
    let mut client = Program::start(json_client(&bob, &first, &alice));
    first.program.expect("listening");
    first.program.expect("connected");
    first.program.say("{\"say\":{\"text\":\"Hello\"}}");
    client.stdout.line_with("\"your-turn\"");
    drop(first);
    drop(client);
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 1);
    assert!(!alice.home().join("journal").exists());

    let mut second = alice.serve(&command);
    let _client = Program::start(json_client(&bob, &second, &alice));
    second.program.expect("listening");
    let connected = second.program.expect("connected");
    assert_eq!(connected["resumed"], true);
}

#[test]
fn what_cannot_be_a_store_is_refused() {
    let alice = Person::new();
    for (store, words) in [
        ("there", "neither file: nor etcd://"),
        ("file:", "no directory"),
        #[cfg(not(feature = "etcd"))]
        ("etcd://localhost:2379/a", "without etcd"),
    ] {
        alice.run(&server(&["--store", store])).misuses(&[words]);
    }
    alice
        .run(&server(&["--store", "file:a", "--no-journal"]))
        .misuses(&["--no-journal"]);
    alice
        .run(&server(&["--store", "file:a", "--store-ca", "ca.pem"]))
        .fails(2, &["is for a store in etcd", "Leave it out"]);
    #[cfg(feature = "etcd")]
    alice
        .run(&server(&[
            "--store",
            "etcd://localhost:2379/a",
            "--exec",
            "cat",
        ]))
        .fails(2, &["programs that know where", "Add `--json`"]);
}

/// It is kept, so it is left to go on with, whoever talks.
#[test]
fn sigterm_ends_no_conversation_that_is_kept() {
    let (alice, bob) = (Person::new(), Person::new());
    let at = format!("file:{}", utf8(alice.path("kept")));
    let talk = ["--store", &at, "--first", "Hello", "--exec", "cat"];
    let command = ["server", "--listen", "127.0.0.1:0", "--allow-anyone"];
    let mut server = Server::of(alice.start(&[&command[..], &talk].concat()));
    let mut client = Program::start(json_client(&bob, &server, &alice));
    client.stdout.line_with("\"your-turn\"");
    server.program.send(Signal::SIGTERM);
    server.program.end_input();
    client.expect("lost");
}

#[test]
fn another_store_is_advised_where_one_cannot_be_used() {
    let alice = Person::new();
    let there = alice.path("there");
    fs::write(&there, "").unwrap();
    let at = format!("file:{}", utf8(&there));
    let told = alice.run(&server(&["--store", &at])).fails(1, &["--store"]);
    assert!(!told.contains("--no-journal") && !told.contains("--home"));
}

#[cfg(feature = "etcd")]
mod etcd {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Nothing listens there.
    const AWAY: &str = "etcd://127.0.0.1:1/a";

    fn with<'a>(options: &[&'a str]) -> Vec<&'a str> {
        let store = ["--allow-anyone", "--json", "--store", AWAY];
        server(&[&store[..], options, &["--exec", "cat"]].concat())
    }

    #[test]
    fn one_that_is_away_is_warned_of_and_no_fault_of_tls() {
        let (alice, bob) = (Person::new(), Person::new());
        let mut server = Server::of(alice.start(&with(&["--log", "text", "-v"])));
        let client = bob.call(&server, &alice, &[]);
        let failed = server.program.stderr.line_with("the store cannot be used");
        assert!(failed.contains("refused"), "{failed}");
        drop(client);
        server.program.send(Signal::SIGTERM);
        let log = server.program.finish().stderr;
        let warned = log
            .lines()
            .find(|line| line.contains("No conversation goes on"));
        let warned = warned.unwrap();
        assert!(warned.contains("WARN") && warned.contains("advice="));
        for words in ["TLS handshake", "ConnectError", "transport::"] {
            assert!(!log.contains(words), "{log}");
        }
    }

    #[test]
    fn one_that_is_away_is_warned_of_however_quiet_it_is() {
        let alice = Person::new();
        for log in [&[][..], &["--log", "text"]] {
            let mut server = alice.start(&with(&[&["--quiet"], log].concat()));
            server.stderr.line_with("No conversation goes on");
        }
    }

    #[test]
    fn files_that_do_not_fit_are_named() {
        let (alice, bob) = (Person::new(), Person::new());
        let (certificate, key) = (alice.certificate(), alice.key_file());
        let (key, other) = (utf8(key), utf8(bob.key_file()));
        let run = |files: &[&str]| alice.run(&with(files));
        let empty = utf8(alice.path("empty"));
        fs::write(&empty, "").unwrap();
        for no_authority in [&empty, &key] {
            run(&["--store-ca", no_authority])
                .fails(1, &[no_authority, "no certificate of an authority"]);
        }
        let ours = ["--store-ca", &certificate, "--store-cert", &certificate];
        run(&[&ours[..], &["--store-key", &other]].concat())
            .fails(1, &[&certificate, &other, "do not belong together"]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        run(&[
            &ours[..],
            &[
                "--cert",
                &bob.certificate(),
                "--key",
                &other,
                "--store-key",
                &key,
            ],
        ]
        .concat())
        .fails(3, &[&key, "chmod 600"]);
    }
}
