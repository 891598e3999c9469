//! What can go wrong around a conversation: each a message in two parts, and
//! an exit code.

use std::net::TcpListener;

use crate::harness::{Finished, Person, Server, server};

#[test]
fn a_port_in_use_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = Person::new().run(&["server", "--listen", &address]);
    refused.fails(1, &[&address, "--listen", "in use"]);
    assert_eq!(refused.stdout, "");
}

#[test]
fn an_address_of_another_machine_cannot_be_listened_at() {
    // A documentation address (RFC 5737).
    let refused = Person::new().run(&["server", "--listen", "192.0.2.1:0"]);
    refused.fails(1, &["192.0.2.1", "address of this machine"]);
}

#[test]
fn a_server_listens_where_it_is_told_in_every_way_to_say_it() {
    let alice = Person::new();
    for (listen, shown) in [
        ("0", "]:"),
        (":0", "]:"),
        ("localhost:0", "1:"),
        ("127.0.0.1:0", "127.0.0.1:"),
    ] {
        let server = Server::of(alice.start(&["server", "--listen", listen]));
        // Where there is no IPv6, all addresses are those of IPv4.
        let found = &server.address;
        let is_there = found.contains(shown) || found.starts_with("0.0.0.0:");
        assert!(is_there, "{listen}: {found}");
        let (_, port) = found.rsplit_once(':').unwrap();
        std::net::TcpStream::connect(format!("localhost:{port}")).unwrap();
    }
}

#[test]
fn a_name_to_listen_at_that_does_not_resolve_is_said() {
    // A name that never resolves (RFC 6761, section 6.4).
    let refused = Person::new().run(&["server", "--listen", "nobody.invalid:0"]);
    refused.fails(1, &["nobody.invalid:0", "Check the name"]);
}

#[test]
fn a_host_that_does_not_resolve_is_said() {
    // A name that never resolves (RFC 6761, section 6.4).
    let refused = Person::new().run(&["client", "nobody.invalid"]);
    refused.fails(4, &["nobody.invalid:8876", "turnchat server"]);
}

#[test]
fn a_host_that_refuses_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    drop(taken);
    let refused = Person::new().run(&["client", &address]);
    refused.fails(4, &[&address, "refused"]);
}

#[test]
fn what_is_neither_a_name_nor_a_host_is_misuse() {
    let alice = Person::new();
    for argument in ["a b", "", "host:", "host:0", "http://host", "[::1", "a:1:2"] {
        let refused = alice.run(&["client", "--", argument]);
        refused.fails(2, &["neither", "HOST:PORT"]);
    }
}

#[test]
fn a_home_that_cannot_be_made_is_said() {
    let alice = Person::without_identity();
    std::fs::write(alice.home(), "a file in its place").unwrap();
    for arguments in [&server(&[])[..], &["client", "127.0.0.1:1"], &["gen-cert"]] {
        alice.run(arguments).fails(1, &["home"]);
    }
}

#[test]
fn without_any_home_that_is_said() {
    let alice = Person::new();
    let mut command = alice.turnchat(&["fingerprint"]);
    // Without any, the home that the system has for this account is taken.
    command.env("HOME", "relative");
    command
        .env_remove("TURNCHAT_HOME")
        .env_remove("XDG_CONFIG_HOME");
    let done = crate::harness::Program::start(command).finish();
    done.fails(1, &["There is no home directory", "--home DIR"]);
}

#[test]
fn quiet_says_nothing_but_both_parts_of_a_failure() {
    let (alice, bob) = (Person::new(), Person::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let running = alice.serve(&["--allow", &alice.key()]);
    let (address, pin, wrong) = (&*running.address, alice.key(), bob.key());
    let walk: [(i32, &[&str]); 13] = [
        (1, &["gen-cert"]),
        (1, &["fingerprint", "nowhere.pem"]),
        (1, &["peers", "remove", "bob"]),
        (
            1,
            &[
                "server",
                "--listen",
                "127.0.0.1:0",
                "--allow",
                "nowhere.pem",
            ],
        ),
        (1, &["client", address, "--pin", "nowhere.pem"]),
        (1, &["server", "--listen", &taken]),
        (2, &["server", "--allow", "bob"]),
        (2, &["client", "a b"]),
        (3, &["client", address]),
        (3, &["client", address, "--pin", &wrong]),
        (3, &["client", address, "--pin", &pin]),
        (4, &["client", "nobody.invalid"]),
        (4, &["client", "127.0.0.1:1"]),
    ];
    for (code, arguments) in walk {
        let done: Finished = bob.run(&[&["--quiet"], arguments].concat());
        done.fails(code, &[]);
        assert_eq!(done.stderr.lines().count(), 2, "{arguments:?}: {done:#?}");
    }
}

#[test]
fn quiet_hides_what_is_no_failure() {
    let alice = Person::without_identity();
    let made = alice.run(&["gen-cert", "--quiet"]);
    assert_eq!(made.stderr, "");
    assert!(made.succeeds().starts_with("SHA256:"));
}

#[test]
fn words_of_others_are_escaped_in_messages() {
    let alice = Person::new();
    let refused = alice.run(&["client", "\u{1b}[2Jhost\u{202e}"]);
    let told = refused.fails(2, &["\\u{1b}[2Jhost\\u{202e}"]);
    assert!(!told.contains('\u{1b}'));
}

#[test]
fn a_hold_may_be_as_long_as_it_can_be_written() {
    let hold = ["--hold", "10000000000000000000s"];
    let (alice, bob) = (Person::new(), Person::new());
    let serving = ["server", "--listen", "127.0.0.1:0", "--allow-anyone"];
    let server = Server::of(alice.start(&[&serving[..], &["--first", "Hello"], &hold].concat()));
    let calling = ["client", &server.address, "--pin", &alice.key()];
    let mut client = bob.start(&[&calling[..], &hold].concat());
    client.shows("They say: Hello");
    client.say("QUIT");
    client.finish().exits(0);
}

#[test]
fn nothing_is_coloured_for_a_pipe_unless_asked() {
    let alice = Person::new();
    let plain = alice.run(&["fingerprint", "nowhere.pem"]);
    assert!(!plain.stderr.contains('\u{1b}'), "{plain:?}");
    let coloured = alice.run(&["fingerprint", "nowhere.pem", "--color", "always"]);
    assert!(coloured.stderr.contains('\u{1b}'), "{coloured:?}");
}
