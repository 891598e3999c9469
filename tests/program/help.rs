//! What the program says about itself, and to those who call it wrongly.

use crate::harness::{Person, Program, Server};

const EVERYWHERE: [&str; 4] = ["--home <DIR>", "-v, --verbose", "--quiet", "--color <WHEN>"];

/// Every command that has a help of its own.
const COMMANDS: [&[&str]; 12] = [
    &[],
    &["gen-cert"],
    &["server"],
    &["client"],
    &["fingerprint"],
    &["peers"],
    &["peers", "list"],
    &["peers", "add"],
    &["peers", "remove"],
    &["peers", "rename"],
    &["completions"],
    &["man"],
];

/// The help of each, in a terminal of this width if one is given.
fn helps(columns: Option<&str>) -> impl Iterator<Item = (&'static [&'static str], String)> {
    let person = Person::without_identity();
    let ways = COMMANDS
        .into_iter()
        .flat_map(|it| [(it, "--help"), (it, "-h")]);
    ways.map(move |(command, flag)| {
        let mut asked = person.turnchat(&[command, &[flag]].concat());
        asked.envs(columns.map(|columns| ("COLUMNS", columns)));
        (command, Program::start(asked).finish().succeeds())
    })
}

#[test]
fn no_line_of_the_help_is_wider_than_the_terminal() {
    for (columns, most) in [
        (None, 80),
        (Some("80"), 80),
        (Some("200"), 80),
        (Some("60"), 60),
    ] {
        for (command, help) in helps(columns) {
            for line in help.lines() {
                assert!(
                    line.chars().count() <= most,
                    "{command:?}, {columns:?}: {line}"
                );
            }
        }
    }
}

#[test]
fn what_is_for_all_commands_stands_under_one_heading() {
    for (command, help) in helps(None) {
        let (own, everywhere) = help.split_once("\nEverywhere:\n").expect(&help);
        let (everywhere, _) = everywhere.split_once("\nExample").expect(&help);
        for option in EVERYWHERE.iter().chain(&["-h, --help"]) {
            assert!(
                everywhere.contains(option),
                "no {option} in {command:?}:\n{help}"
            );
            assert!(!own.contains(option), "{option} in {command:?}:\n{help}");
        }
        let options = everywhere
            .lines()
            .filter(|line| line.trim_start().starts_with('-'));
        assert_eq!(options.count(), EVERYWHERE.len() + 1, "{help}");
    }
}

#[test]
fn an_option_with_a_value_says_its_default() {
    for (command, help) in helps(None) {
        let (options, _) = help.split_once("\nExample").expect(&help);
        // An option, and all below it up to the next one.
        let texts = options
            .split("\n      --")
            .skip(1)
            .filter(|text| text.contains('<'));
        for text in texts.filter(|text| {
            text.split_whitespace()
                .nth(1)
                .is_some_and(|it| it.starts_with('<'))
        }) {
            assert!(text.contains("[default:"), "{command:?}: --{text}");
        }
    }
}

/// The examples of a help, as words.
fn examples(help: &str) -> Vec<Vec<&str>> {
    let (_, examples) = help.split_once("\nExample").expect(help);
    let lines = examples
        .lines()
        .filter_map(|line| line.strip_prefix("  turnchat "));
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

#[test]
fn the_examples_of_the_help_work() {
    let mut run = 0;
    for command in COMMANDS {
        let (alice, bob) = (Person::new(), Person::new());
        alice.run(&["gen-cert", "--out", "certs/bob"]).succeeds();
        if matches!(command, ["peers", "remove" | "rename"]) {
            alice.knows("bob", &bob);
        }
        let help = alice.run(&[command, &["--help"]].concat()).succeeds();
        let found = examples(&help);
        assert!(!found.is_empty(), "no example in {command:?}");
        for mut words in found {
            match words[0] {
                // What needs two people is held as a conversation by the README's tests.
                _ if command.is_empty() => continue,
                "client" => continue,
                "server" => {
                    words.splice(1..1, ["--listen", "127.0.0.1:0"]);
                    Server::of(alice.start(&words));
                }
                _ => _ = alice.run(&words).succeeds(),
            }
            run += 1;
        }
    }
    assert!(run >= 9, "{run}");
}

#[test]
fn a_command_of_another_program_is_told_ours() {
    let person = Person::without_identity();
    for (word, ours) in [
        ("listen", "server"),
        ("serve", "server"),
        ("connect", "client"),
        ("keygen", "gen-cert"),
        ("gencert", "gen-cert"),
    ] {
        let refused = person.run(&[word]);
        refused.misuses(&[&format!("'{word}'"), &format!("'{ours}'")]);
    }
    person.run(&["peers", "rm"]).misuses(&["'remove'"]);
    let refused = person.run(&["peers", "listen"]);
    refused.misuses(&["'listen'"]);
    assert!(!refused.stderr.contains("'server'"), "{refused:?}");
}

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
            "completions",
            "man ",
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
        "--proxy <URL>",
        "socks5h://HOST:PORT",
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
fn the_help_of_completions_says_how_to_install_them() {
    let lines = [
        ".bashrc",
        ".zshrc",
        "config.fish",
        "$(turnchat completions bash)",
    ];
    explains(&["completions"], &lines);
}

#[test]
fn the_help_of_man_says_how_to_read_it() {
    explains(&["man"], &["turnchat man | man -l -"]);
    let person = Person::without_identity();
    let own = person.run(&["man", "--help"]).succeeds();
    assert_eq!(person.run(&["help", "man"]).succeeds(), own);
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
        &["completions", "bash"],
        &["man"],
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
