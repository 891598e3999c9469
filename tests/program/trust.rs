//! Whom a server admits and whom a client expects, where nobody can be asked.

use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::harness::{Finished, Pair, Person, Program, Server, limited, server, utf8};

/// It talks: the server's first message arrives, and the client may leave.
#[track_caller]
fn talks(mut client: Program) {
    client.shows("They say: Hello");
    client.say("QUIT");
    client.finish().exits(0);
}

/// It does not: exit 3, nothing shown, and what to do.
#[track_caller]
fn is_turned_away(client: Program, words: &[&str]) -> Finished {
    let done = client.finish();
    done.fails(3, words);
    assert_eq!(done.stdout, "");
    done
}

const HELLO: [&str; 2] = ["--first", "Hello"];

fn allowing(alice: &Person, allowed: &[&str]) -> Server {
    let mut arguments = HELLO.to_vec();
    for allowed in allowed {
        arguments.extend(["--allow", allowed]);
    }
    alice.serve(&arguments)
}

#[test]
fn an_unknown_key_is_refused_and_the_server_says_how_to_let_it_in() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = alice.serve(&HELLO);
    let refused = bob.call(&server, &alice, &[]);
    is_turned_away(refused, &["does not know your key", "turnchat fingerprint"]);

    let line = server.program.stderr.line_with("turnchat peers add");
    let key = bob.key();
    assert_eq!(line.matches(&key).count(), 2, "{line}");
    let home = alice.home();
    let remedy = format!("turnchat peers add NAME {key} --home {}", home.display());
    assert!(line.contains(&remedy), "{line}");
    let pid = line.split("kill -HUP ").nth(1).expect("how to go on");
    assert_eq!(pid, server.program.id().to_string(), "{line}");

    // As a shell runs it, with a name and the built program.
    let remedy = remedy
        .replacen("turnchat", env!("CARGO_BIN_EXE_turnchat"), 1)
        .replacen("NAME", "bob", 1);
    let mut shell = Command::new("sh");
    shell.args(["-c", &remedy]).env("HOME", bob.path("none"));
    Program::start(shell).finish().exits(0);
    server.program.send(Signal::SIGHUP);
    server.program.stderr.line_with("address book");
    talks(bob.call(&server, &alice, &[]));
}

#[test]
fn a_home_with_odd_characters_is_quoted_for_the_shell() {
    let (alice, bob) = (Person::new(), Person::new());
    let odd = alice.path("alice's $HOME");
    fs::rename(alice.home(), &odd).unwrap();
    let home = utf8(&odd);
    let mut server = alice.serve(&["--home", &home]);
    let pin = utf8(odd.join("cert.pem"));
    let refused = bob.run(&["client", &server.address, "--pin", &pin]);
    refused.fails(3, &[]);
    let line = server.program.stderr.line_with("turnchat peers add");
    let (_, arguments) = line.split_once("peers add NAME ").unwrap();
    let mut shell = Command::new("sh");
    let script = format!(
        "{} peers add bob {arguments}",
        env!("CARGO_BIN_EXE_turnchat")
    );
    shell.args(["-c", &script]).env("HOME", bob.path("none"));
    Program::start(shell).finish().exits(0);
    assert!(
        fs::read_to_string(odd.join("peers.toml"))
            .unwrap()
            .contains(&bob.key())
    );
}

#[test]
fn the_server_goes_on_after_a_refusal() {
    let (pair, other) = (Pair::new(&HELLO), Person::new());
    is_turned_away(other.call(&pair.server, &pair.alice, &[]), &[]);
    talks(pair.client(&[]));
}

#[test]
fn refused_keys_do_not_flood_the_servers_messages() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&[]);
    for _ in 0..8 {
        is_turned_away(bob.call(&server, &alice, &[]), &[]);
    }
    server.program.send(Signal::SIGTERM);
    let told = server.program.stderr.all();
    let lines = told.matches("turnchat peers add").count();
    assert!((1..8).contains(&lines), "{told}");
}

#[test]
fn allow_takes_a_key_a_file_and_a_name() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    fs::copy(bob.certificate(), alice.path("bob.pem")).unwrap();
    for allowed in [
        &*bob.key(),
        &bob.certificate(),
        "bob.pem",
        "./bob.pem",
        "bob",
    ] {
        let server = allowing(&alice, &[allowed]);
        talks(bob.call(&server, &alice, &[]));
    }
}

#[test]
fn allow_admits_exactly_the_list_and_not_the_book() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("other", &other);
    let mut server = allowing(&alice, &[&bob.key()]);
    is_turned_away(
        other.call(&server, &alice, &[]),
        &["does not know your key"],
    );
    let line = server.program.stderr.line_with("Refused");
    assert!(line.contains(&format!("--allow {}", other.key())), "{line}");
    talks(bob.call(&server, &alice, &[]));

    let server = allowing(&alice, &[&bob.key(), "other"]);
    talks(other.call(&server, &alice, &[]));
    talks(bob.call(&server, &alice, &[]));
}

#[test]
fn the_book_admits_whom_it_names_until_they_are_removed() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut server = alice.serve(&HELLO);
    talks(bob.call(&server, &alice, &[]));
    server
        .program
        .stderr
        .line_with("bob has ended the conversation");
    alice.run(&["peers", "remove", "bob"]).succeeds();
    server.program.send(Signal::SIGHUP);
    server.program.stderr.line_with("address book");
    is_turned_away(bob.call(&server, &alice, &[]), &[]);
}

#[test]
fn the_book_is_read_again_during_a_conversation_too() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut server = alice.serve(&HELLO);
    let mut talking = bob.call(&server, &alice, &[]);
    talking.shows("They say: Hello");
    alice.knows("other", &other);
    server.program.send(Signal::SIGHUP);
    server.program.stderr.line_with("address book");
    let mut waiting = other.call(&server, &alice, &["--json"]);
    waiting.expect("waiting");
    talking.say("QUIT");
    waiting.expect("connected");
}

#[test]
fn who_is_removed_from_the_book_waits_in_vain() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    alice.knows("other", &other);
    let mut server = alice.serve(&HELLO);
    let mut talking = bob.call(&server, &alice, &[]);
    talking.shows("They say: Hello");
    let mut waiting = other.call(&server, &alice, &["--json"]);
    waiting.expect("waiting");
    alice.run(&["peers", "remove", "other"]).succeeds();
    server.program.send(Signal::SIGHUP);
    server.program.stderr.line_with("address book");
    waiting.finish().fails(3, &["does not know your key"]);
    talking.say("QUIT");
    talking.finish().exits(0);
}

/// Removes bob from the book of a server that runs, which is told.
fn removes(alice: &Person, server: &mut Server) {
    alice.run(&["peers", "remove", "bob"]).succeeds();
    server.program.send(Signal::SIGHUP);
    server
        .program
        .stderr
        .line_with("A key of bob is not let in any more");
    server.program.stderr.line_with("Read the address book");
}

const KEEPING: [&str; 6] = [
    "--listen",
    "127.0.0.1:0",
    "--json",
    "--journal",
    "--hold",
    "15m",
];

/// A server that holds what is cut, and a conversation in it that has begun.
fn keeping(alice: &Person, bob: &Person) -> (Server, Program) {
    alice.knows("bob", bob);
    let server = [&["server", "--first", "Hello"][..], &KEEPING].concat();
    let mut server = Server::of(alice.start(&server));
    let calling = ["client", &server.address, "--pin", &alice.key(), "--json"];
    let mut client = bob.start(&calling);
    client.stdout.line_with("\"your-turn\"");
    server.program.stdout.line_with("\"delivered\"");
    (server, client)
}

#[test]
fn who_is_removed_loses_the_conversation_that_is_on() {
    let (alice, bob) = (Person::new(), Person::new());
    let (mut server, mut client) = keeping(&alice, &bob);
    removes(&alice, &mut server);
    let ended = server.program.stdout.line_with("\"ended\"");
    assert!(ended.contains("\"by\":\"me\""), "{ended}");
    let ended = client.stdout.line_with("\"ended\"");
    assert!(ended.contains("\"by\":\"peer\""), "{ended}");
    client.finish().exits(0);
    is_turned_away(bob.call(&server, &alice, &[]), &["does not know your key"]);
    // Known again, it begins anew.
    alice.knows("bob", &bob);
    server.program.send(Signal::SIGHUP);
    server.program.stderr.line_with("Read the address book");
    talks(bob.call(&server, &alice, &[]));
}

#[test]
fn who_is_removed_loses_the_conversation_that_is_held() {
    let (alice, bob) = (Person::new(), Person::new());
    let (mut server, client) = keeping(&alice, &bob);
    drop(client);
    server.program.stdout.line_with("\"lost\"");
    removes(&alice, &mut server);
    server.program.stdout.line_with("\"ended\"");
    server.program.send(Signal::SIGTERM);
    server.program.finish().exits(0);
    let open = alice.run(&["conversations", "list"]);
    assert!(open.stderr.contains("No conversation is open"), "{open:?}");
}

#[test]
fn who_is_allowed_by_name_is_out_once_the_name_is_gone() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut server = alice.serve(&["--allow", "bob", "--first", "Hello"]);
    alice.run(&["peers", "remove", "bob"]).succeeds();
    server.program.send(Signal::SIGHUP);
    let told = server.program.stderr.line_with("called bob");
    assert!(told.contains("nobody is let in"), "{told}");
    server.program.stderr.line_with("Read the address book");
    is_turned_away(bob.call(&server, &alice, &[]), &["does not know your key"]);
}

#[test]
fn a_book_that_was_damaged_meanwhile_changes_nothing() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut server = alice.serve(&HELLO);
    fs::write(alice.book(), "nonsense").unwrap();
    server.program.send(Signal::SIGHUP);
    server.program.stderr.line_with("peers.toml");
    talks(bob.call(&server, &alice, &[]));
}

#[test]
fn a_book_that_is_gone_removes_nobody_and_an_empty_one_everybody() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut server = alice.serve(&HELLO);
    fs::remove_file(alice.book()).unwrap();
    server.program.send(Signal::SIGHUP);
    let told = server.program.stderr.line_with("address book");
    assert!(
        told.contains(alice.book().to_str().unwrap()) && told.ends_with(" is gone."),
        "{told}"
    );
    server.program.stderr.line_with("Put it back");
    talks(bob.call(&server, &alice, &[]));
    fs::write(alice.book(), "").unwrap();
    server.program.send(Signal::SIGHUP);
    server.program.stderr.line_with("Read the address book");
    is_turned_away(bob.call(&server, &alice, &[]), &["does not know your key"]);
}

#[test]
fn allow_anyone_admits_every_proven_key() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    talks(bob.call(&server, &alice, &[]));
    talks(Person::without_identity().call(&server, &alice, &[]));
}

#[test]
fn ones_own_key_is_declined_whatever_is_allowed() {
    let alice = Person::new();
    let key = alice.key();
    for admission in [&["--allow-anyone"][..], &["--allow", &key], &[]] {
        let server = alice.serve(admission);
        is_turned_away(alice.call(&server, &alice, &[]), &["declined", "yourself"]);
    }
}

#[test]
fn ones_own_key_is_not_stored_as_a_peers() {
    let alice = Person::new();
    let server = alice.serve(&["--allow-anyone"]);
    let calling = ["client", &server.address, "--accept-new", "--as", "bob"];
    alice.run(&calling).fails(3, &["your own key", "yourself"]);
    assert!(!alice.book().exists());
}

#[test]
fn a_key_that_another_name_has_is_pinned_without_accept_new() {
    let (alice, bob) = (Person::new(), Person::new());
    bob.knows("alice", &alice);
    let server = alice.serve(&["--allow-anyone"]);
    let calling = ["client", &server.address, "--accept-new", "--as", "other"];
    let pin = format!("`--pin {}` in place of `--accept-new`", alice.key());
    bob.run(&calling).fails(3, &["as alice", &pin]);
}

#[test]
fn an_unknown_name_in_allow_is_misuse() {
    let alice = Person::new();
    let refused = alice.run(&["server", "--listen", "127.0.0.1:0", "--allow", "bob"]);
    refused.fails(2, &["called bob", "turnchat peers list"]);
}

#[test]
fn a_file_without_a_certificate_stops_the_start() {
    let alice = Person::new();
    let key_file = utf8(alice.key_file());
    for arguments in [
        &["server", "--listen", "127.0.0.1:0", "--allow", &key_file][..],
        &["client", "127.0.0.1:1", "--pin", &key_file],
    ] {
        alice
            .run(arguments)
            .fails(1, &["No certificate", "key.pem"]);
    }
    for arguments in [
        &[
            "server",
            "--listen",
            "127.0.0.1:0",
            "--allow",
            "nowhere.pem",
        ][..],
        &["client", "127.0.0.1:1", "--pin", "./nowhere"],
    ] {
        alice.run(arguments).fails(1, &["nowhere"]);
    }
}

#[test]
fn a_pin_takes_a_key_and_a_file_and_may_be_repeated() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    for pins in [
        &["--pin", &alice.key()][..],
        &["--pin", &other.key(), "--pin", &alice.certificate()],
    ] {
        talks(bob.start(&[&["client", &server.address], pins].concat()));
    }
}

#[test]
fn another_key_than_the_pinned_one_ends_before_ours_is_shown() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    let mut server = alice.serve(&["-v", "--allow-anyone", "--first", "Hello"]);
    let refused = bob.call(&server, &other, &[]);
    is_turned_away(refused, &["another key", &alice.key(), "Nothing was said"]);
    // What the server tells of a proven key would name it.
    server.program.stderr.line_with("A connection failed");
    server.program.send(Signal::SIGTERM);
    let told = server.program.finish();
    assert!(!told.stderr.contains(&bob.key()), "{told:?}");
    assert!(!told.stderr.contains("Connected"), "{told:?}");
}

#[test]
fn with_a_pin_the_book_is_not_asked() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let address = ["--address", &server.address];
    bob.run(&[&["peers", "add", "alice", &other.key()], &address[..]].concat())
        .succeeds();
    talks(bob.call(&server, &alice, &[]));
    talks(bob.start(&["client", "alice", "--pin", &alice.key()]));
    is_turned_away(
        bob.start(&["client", "alice"]),
        &["key of alice has changed"],
    );
}

#[test]
fn a_pin_that_contradicts_the_book_is_warned_of() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let address = ["--address", &server.address];
    bob.run(&[&["peers", "add", "alice", &other.key()], &address[..]].concat())
        .succeeds();
    for whom in ["alice", &server.address] {
        let mut client = bob.start(&["client", whom, "--quiet", "--pin", &alice.key()]);
        client.shows("They say: Hello");
        let told = client.stderr.line();
        assert!(
            told.contains("another key for alice than the one pinned"),
            "{told}"
        );
        let told = client.stderr.line();
        assert!(told.contains("`turnchat peers add alice KEY"), "{told}");
    }
    // Both keys are there while she changes hers.
    bob.run(&["peers", "add", "alice", &alice.key()]).succeeds();
    let mut client = bob.start(&["client", "alice", "--pin", &alice.key()]);
    client.shows("They say: Hello");
    let told = client.stderr.line();
    assert!(told.contains("Connected with"), "{told}");
}

#[test]
fn a_host_that_nobody_knows_is_not_trusted_without_a_person() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let key = alice.key();
    let refused = bob.start(&["client", &server.address]);
    is_turned_away(
        refused,
        &[
            "don't know",
            &key,
            "turnchat fingerprint",
            &format!("--pin {key}"),
        ],
    );
    assert!(!bob.book().exists());
}

#[test]
fn a_key_that_is_known_under_another_name_is_said_and_not_trusted() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone"]);
    bob.knows("alice", &alice);
    let refused = bob.start(&["client", &server.address]);
    is_turned_away(refused, &["You know this key as alice"]);
}

#[test]
fn a_peer_is_dialled_at_the_address_in_the_book() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let certificate = alice.certificate();
    let add = [
        "peers",
        "add",
        "alice",
        &certificate,
        "--address",
        &server.address,
    ];
    bob.run(&add).succeeds();
    let mut client = bob.start(&["client", "alice"]);
    client.stderr.line_with("Connected with alice.");
    talks(client);
    // And a host is whoever has that address there.
    let mut client = bob.start(&["client", &server.address]);
    client.stderr.line_with("Connected with alice.");
    talks(client);
}

#[test]
fn a_peer_without_an_address_cannot_be_dialled() {
    let (alice, bob) = (Person::new(), Person::new());
    bob.knows("alice", &alice);
    let refused = bob.run(&["client", "alice"]);
    refused.fails(2, &["where to reach alice", "HOST:PORT"]);
}

#[test]
fn accept_new_stores_the_key_and_then_only_it_is_accepted() {
    for name in [Some("alice"), None] {
        let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
        let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
        let mut arguments = vec!["client", &server.address, "--accept-new"];
        arguments.extend(name.map(|name| ["--as", name]).into_iter().flatten());
        let mut client = bob.start(&arguments);
        let name = name.unwrap_or("127.0.0.1");
        let stored = client.stderr.line_with("Stored");
        assert!(
            stored.contains(&alice.key()) && stored.contains(name),
            "{stored}"
        );
        talks(client);
        let expected = format!("{name}\t{}\t{}\taccept-new\t", alice.key(), server.address);
        let listed = bob.run(&["peers", "list"]).succeeds();
        assert!(listed.starts_with(&expected), "{listed}");
        let book = fs::read(bob.book()).unwrap();

        // Once it is known, nothing needs to be accepted any more.
        talks(bob.start(&["client", &server.address]));
        talks(bob.start(&arguments));
        talks(bob.start(&["client", name]));

        // Somebody else at that address.
        let address = server.address.clone();
        drop(server);
        let arguments = ["server", "--listen", &address, "--allow-anyone", "-v"];
        let server = Server::of(other.start(&arguments));
        for flags in [
            &[][..],
            &["--accept-new"],
            &["--accept-new", "--as", "other"],
        ] {
            let dialled = [&["client", &address], flags].concat();
            is_turned_away(
                bob.start(&dialled),
                &["has changed", &other.key(), "peers remove", "KEY --address"],
            );
        }
        is_turned_away(bob.start(&["client", name]), &["has changed"]);
        assert_eq!(fs::read(bob.book()).unwrap(), book);
        server.program.send(Signal::SIGTERM);
        let told = server.program.finish();
        assert!(!told.stderr.contains(&bob.key()), "{told:?}");
    }
}

#[test]
fn a_name_that_is_taken_is_given_to_no_new_key() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    bob.knows("alice", &other);
    let server = alice.serve(&["--allow-anyone"]);
    let arguments = ["client", &server.address, "--accept-new", "--as", "alice"];
    let refused = bob.run(&arguments);
    refused.fails(2, &["alice", "--as NAME"]);
}

#[test]
fn accept_new_stores_no_key_that_is_known_already() {
    let (alice, bob) = (Person::new(), Person::new());
    bob.knows("alice", &alice);
    let before = fs::read(bob.book()).unwrap();
    let server = alice.serve(&["--allow-anyone", "--first", "Hello", "-v"]);
    let arguments = ["client", &server.address, "--accept-new", "--as", "other"];
    let refused = bob.run(&arguments);
    refused.fails(3, &["as alice", "another address", "--pin"]);
    assert_eq!(refused.stdout, "");
    assert_eq!(fs::read(bob.book()).unwrap(), before);
    // And nothing was begun there.
    server.program.send(Signal::SIGTERM);
    let told = server.program.finish();
    assert!(!told.stderr.contains(&bob.key()), "{told:?}");
}

#[test]
fn a_server_that_admits_nobody_says_so() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = alice.serve(&[]);
    server.program.send(Signal::SIGTERM);
    let told = server.program.finish();
    assert!(told.stderr.contains("address book is empty"), "{told:?}");
    let key = bob.key();
    alice.knows("bob", &bob);
    for arguments in [
        &[][..],
        &["--allow", &key],
        &["--allow-anyone"],
        &["--pair", "carol"],
    ] {
        server = alice.serve(arguments);
        server.program.send(Signal::SIGTERM);
        let told = server.program.finish();
        assert!(!told.stderr.contains("address book is empty"), "{told:?}");
    }
}

/// The certificate that a server shows to whoever connects, as PEM, seen by a TLS that is not ours.
fn shown(server: &Server) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "s_client",
        "-alpn",
        "turnchat/1",
        "-connect",
        &server.address,
    ]);
    let output = openssl.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = text.find("-----BEGIN").expect("a certificate");
    let end = text.find("-----END").expect("its end");
    text[begin..end].to_owned()
}

#[test]
fn a_renewed_certificate_is_shown_after_sighup_and_drops_nobody() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut server = alice.serve(&HELLO);
    let mut talking = bob.call(&server, &alice, &[]);
    talking.shows("They say: Hello");
    let old = shown(&server);
    alice.run(&["gen-cert", "--renew"]).succeeds();
    server.program.send(Signal::SIGHUP);
    server.program.stderr.line_with("the certificate again");
    let new = shown(&server);
    assert_ne!(new, old);
    assert!(
        fs::read_to_string(alice.certificate())
            .unwrap()
            .contains(&new)
    );
    talking.say("QUIT");
    talking.finish().exits(0);
    talks(bob.call(&server, &alice, &[]));
}

/// As below nohup. The terminal that is closed later must not stop it.
#[test]
fn a_server_that_was_told_to_ignore_hangups_reads_its_book_again() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let command = alice.turnchat(&server(&HELLO));
    let mut server = Server::of(limited("trap '' HUP", &command));
    alice.run(&["peers", "remove", "bob"]).succeeds();
    server.program.send(Signal::SIGHUP);
    server.program.stderr.line_with("address book");
    is_turned_away(bob.call(&server, &alice, &[]), &["does not know your key"]);
}

#[test]
fn another_key_is_not_taken_up_by_a_server_that_runs() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    let mut server = alice.serve(&HELLO);
    let old = shown(&server);
    fs::copy(other.certificate(), alice.certificate()).unwrap();
    fs::copy(other.key_file(), alice.key_file()).unwrap();
    server.program.send(Signal::SIGHUP);
    server
        .program
        .stderr
        .line_with("Read the address book again");
    let told = server.program.stderr.line_with("has another key now");
    assert!(told.contains(&other.key()), "{told}");
    for file in [alice.certificate().into(), alice.key_file()] {
        fs::remove_file(file).unwrap();
    }
    server.program.send(Signal::SIGHUP);
    server
        .program
        .stderr
        .line_with("There is no key and certificate");
    assert_eq!(shown(&server), old);
}
