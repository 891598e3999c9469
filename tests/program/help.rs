//! What the program says about itself, and to those who call it wrongly.

use crate::harness::Person;

const EVERYWHERE: [&str; 4] = ["--home <DIR>", "-v, --verbose", "--quiet", "--color <WHEN>"];

#[track_caller]
fn explains(command: &[&str], words: &[&str]) {
    let person = Person::without_identity();
    for flag in ["--help", "-h"] {
        let arguments = [command, &[flag]].concat();
        let help = person.run(&arguments).succeeds();
        for word in words.iter().chain(&EVERYWHERE) {
            assert!(help.contains(word), "no {word:?} in {arguments:?}:\n{help}");
        }
        // An example is a command that can be typed.
        let example = help.split("Example").nth(1).unwrap_or_default();
        let typed = command.first().copied().unwrap_or("server");
        assert!(
            example.contains(&format!("\n  turnchat {typed}")),
            "no example in {arguments:?}:\n{help}"
        );
    }
    assert!(!person.home().exists());
}

#[test]
fn the_help_names_every_subcommand_and_exit_code() {
    explains(
        &[],
        &[
            "gen-cert",
            "server",
            "client",
            "fingerprint",
            "peers",
            "conversations",
            "--version",
            "130",
            "143",
        ],
    );
}

#[test]
fn the_help_of_gen_cert_names_its_options() {
    explains(
        &["gen-cert"],
        &[
            "--out <DIR>",
            "--algorithm",
            "ecdsa-p256",
            "ed25519",
            "--renew",
        ],
    );
}

const TALK: [&str; 4] = [
    "--hold <DURATION>",
    "--json",
    "--cert <FILE>",
    "--key <FILE>",
];

#[test]
fn the_help_of_server_names_its_options() {
    let own = [
        "--listen <[HOST:]PORT>",
        "[::]:8876",
        "--allow <KEY|CERT.pem|PEER>",
        "--allow-anyone",
        "--queue <N>",
        "--once",
        "--first <TEXT>",
    ];
    explains(&["server"], &[&own[..], &TALK].concat());
}

#[test]
fn the_help_of_client_names_its_options() {
    let own = [
        "<PEER|HOST[:PORT]>",
        "--pin <KEY|CERT.pem>",
        "--accept-new",
        "--as <NAME>",
    ];
    explains(&["client"], &[&own[..], &TALK].concat());
}

#[test]
fn the_help_of_fingerprint_names_its_options() {
    explains(
        &["fingerprint"],
        &["[CERT.pem]", "--cert <FILE>", "--key <FILE>"],
    );
}

#[test]
fn the_help_of_peers_names_its_commands() {
    explains(&["peers"], &["list", "add", "remove", "rename"]);
    explains(&["peers", "list"], &[]);
    explains(
        &["peers", "add"],
        &["<NAME>", "<KEY|CERT.pem>", "--address <HOST[:PORT]>"],
    );
    explains(&["peers", "remove"], &["<NAME>"]);
    explains(&["peers", "rename"], &["<OLD>", "<NEW>"]);
}

#[test]
fn the_help_of_conversations_names_its_commands() {
    explains(&["conversations"], &["list", "end"]);
    explains(&["conversations", "list"], &["--json"]);
    explains(&["conversations", "end"], &["<PEER>"]);
}

#[test]
fn the_version_is_the_crate_version() {
    let printed = Person::without_identity().run(&["--version"]).succeeds();
    assert_eq!(printed, format!("turnchat {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_unknown_option_is_misuse() {
    let person = Person::without_identity();
    for command in [
        &[][..],
        &["gen-cert"],
        &["server"],
        &["client", "localhost"],
        &["fingerprint"],
        &["peers", "list"],
        &["conversations", "list"],
    ] {
        person
            .run(&[command, &["--bogus"]].concat())
            .misuses(&["--bogus"]);
    }
    person.run(&["bogus"]).misuses(&["bogus"]);
    assert!(!person.home().exists());
}

#[test]
fn options_that_exclude_each_other_are_misuse() {
    let (person, other) = (Person::without_identity(), Person::new().key());
    for arguments in [
        &["server", "--allow", &other, "--allow-anyone"][..],
        &["client", "localhost", "--pin", &other, "--accept-new"],
        &["client", "localhost", "--as", "bob"],
        &["gen-cert", "--renew", "--algorithm", "ed25519"],
        &["client"],
    ] {
        person.run(arguments).misuses(&[]);
    }
    assert!(!person.home().exists());
}

#[test]
fn values_that_are_malformed_are_misuse() {
    let person = Person::without_identity();
    let short = "SHA256:short";
    for (arguments, words) in [
        (&["server", "--allow", short][..], "not a key"),
        (&["server", "--allow", "a b"], "neither a key"),
        (&["client", "localhost", "--pin", short], "not a key"),
        (&["client", "localhost", "--pin", "bob"], "neither a key"),
        (&["server", "--listen", "nonsense"], "--listen"),
        (&["server", "--queue=-1"], "--queue"),
        (&["server", "--hold", "soon"], "--hold"),
        (
            &["client", "localhost", "--accept-new", "--as", "a b"],
            "not a name",
        ),
    ] {
        let refused = person.run(arguments);
        refused.exits(2);
        assert!(refused.stderr.contains(words), "{arguments:?}: {refused:?}");
    }
    assert!(!person.home().exists());
}
