//! What shells complete, asked of the shells themselves.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Person, Program, Terminal};

/// A shell that finds the program that was built, as this person has it.
fn shell(name: &str, person: &Person) -> Command {
    let mut command = Command::new(name);
    // It has what the program would have.
    for (name, value) in person.turnchat::<&str>(&[]).get_envs() {
        command.env(name, value.expect("a value"));
    }
    let built = Path::new(env!("CARGO_BIN_EXE_turnchat"));
    let mut path = built.parent().expect("a directory").as_os_str().to_owned();
    path.push(":/usr/bin:/bin");
    command.env("PATH", path);
    command.current_dir(person.home().parent().expect("a directory"));
    command
}

/// Whether this shell is here; if not, that is said. What is not here is tested where it is.
fn is_here(name: &str) -> bool {
    let found = Command::new(name).arg("--version").output().is_ok();
    if !found {
        eprintln!("{name} is not installed: what it completes is not tested here");
    }
    found
}

/// Alice, who knows bob, whose certificate is in a directory of hers, and bertha.
fn alice() -> Person {
    let (alice, bob, bertha) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    alice.knows("bertha", &bertha);
    alice.run(&["gen-cert", "--out", "certs/bob"]).succeeds();
    alice
}

/// What bash offers in the place of the last word.
fn bash(person: &Person, words: &[&str]) -> Vec<String> {
    let script = r#"
        eval "$(turnchat completions bash)" || exit
        # As bash registered it.
        read -r -a registered <<<"$(complete -p turnchat)"
        for ((i = 0; i < ${#registered[@]}; i++)); do
            [[ ${registered[i]} == -F ]] && complete_it=${registered[i + 1]}
        done
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
        "$complete_it" turnchat "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        ((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}""#;
    let mut command = shell("bash", person);
    command.args(["--norc", "--noprofile", "-c", script, "bash", "turnchat"]);
    command.args(words);
    let done = Program::start(command).without_input().finish();
    assert_eq!(done.stderr, "", "{words:?}");
    let offered = done.succeeds();
    offered.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_names_where_a_peer_may_stand() {
    let alice = alice();
    let both = ["bertha", "bob"];
    for before in [
        &["client"][..],
        &["peers", "add"],
        &["peers", "remove"],
        &["peers", "rename"],
        &["conversations", "end"],
        &["server", "--allow"],
        &["server", "--allow", "bob", "--allow"],
        &["--quiet", "client", "--json"],
    ] {
        assert_eq!(bash(&alice, &[before, &["b"]].concat()), both, "{before:?}");
        let one = bash(&alice, &[before, &["be"]].concat());
        assert_eq!(one, ["bertha"], "{before:?}");
    }
    // A new name is nobody's yet.
    for before in [
        &["peers", "rename", "bob"][..],
        &["server", "--pair"],
        &["client", "bob", "--as"],
    ] {
        let offered = bash(&alice, &[before, &["b"]].concat());
        assert!(offered.is_empty(), "{before:?}: {offered:?}");
    }
}

#[test]
fn bash_completes_the_names_in_the_home_that_the_line_names() {
    let (alice, bob) = (alice(), Person::new());
    let carol = Person::new();
    carol.knows("dora", &bob);
    let home = carol.home();
    let home = home.to_str().expect("UTF-8");
    for words in [
        &["--home", home, "client", "d"][..],
        &["client", "--home", home, "d"],
    ] {
        assert_eq!(bash(&alice, words), ["dora"], "{words:?}");
    }
    assert!(bash(&alice, &["client", "d"]).is_empty());
}

#[test]
fn bash_completes_commands_options_and_certificates() {
    let alice = alice();
    assert_eq!(bash(&alice, &["comp"]), ["completions"]);
    assert_eq!(bash(&alice, &["peers", "re"]), ["remove", "rename"]);
    assert_eq!(bash(&alice, &["server", "--allow-"]), ["--allow-anyone"]);
    assert_eq!(bash(&alice, &["completions", "b"]), ["bash"]);
    // Not the key beside it.
    for before in [
        &["client", "bob", "--pin"][..],
        &["server", "--allow"],
        &["fingerprint"],
        &["peers", "add", "bob"],
        &["peers", "remove", "bob"],
    ] {
        let offered = bash(&alice, &[before, &["certs/bob/"]].concat());
        assert_eq!(offered, ["certs/bob/cert.pem"], "{before:?}");
    }
    assert_eq!(bash(&alice, &["--home", "ce"]), ["certs/"]);
}

/// What is typed, and what Tab makes of it: of files, what it does for `cat`.
const TABS: [(&str, &str); 26] = [
    (r"server --allow d\ ", r"server --allow d\ i\ r/"),
    ("client x --pin d", r"client x --pin d\ i\ r/"),
    ("server --transcript d", r"server --transcript d\ i\ r/"),
    ("fingerprint d", r"fingerprint d\ i\ r/"),
    (r#"fingerprint "d"#, r#"fingerprint "d i r"/"#),
    (r"fingerprint d\ i\ r/c", r"fingerprint d\ i\ r/cert.pem "),
    (r#"fingerprint "d i r"/c"#, r"fingerprint d\ i\ r/cert.pem "),
    ("fingerprint 'd i r/c", "fingerprint 'd i r/cert.pem' "),
    (
        r"server --first-file d\ i\ r/k",
        r"server --first-file d\ i\ r/k\*y ",
    ),
    // Directories behind `=`, where bash begins a word.
    ("server --home=ce", "server --home=certs/"),
    ("server --home=d\\ i", "server --home=d\\ i\\ r/"),
    (r#"server --home="d i"#, r#"server --home="d i r"/"#),
    ("server --color=al", "server --color=always "),
    ("gen-cert --algorithm=ed", "gen-cert --algorithm=ed25519 "),
    // The home, however it is written.
    ("--home h1 client z", "--home h1 client zoe "),
    (r#"--home "h1" client z"#, r#"--home "h1" client zoe "#),
    ("--home=h1 client z", "--home=h1 client zoe "),
    ("--home=~/h1 client z", "--home=~/h1 client zoe "),
    (
        r"--home d\ i\ r/h\ 2 client z",
        r"--home d\ i\ r/h\ 2 client zoe ",
    ),
    (
        "client --home 'd i r/h 2' z",
        "client --home 'd i r/h 2' zoe ",
    ),
    // Behind --exec, all is another program's.
    ("server --exec turnch", "server --exec turnchat "),
    ("server --exec cat ce", "server --exec cat certs/"),
    ("client --exec cat -- d", r"client --exec cat -- d\ i\ r/"),
    ("server --exec cat --ho", "server --exec cat --ho"),
    // Words are no files, even where there is a file of that name.
    ("client ze", "client zed "),
    ("completi", "completions "),
];

#[test]
fn tab_in_bash_completes_what_was_typed() {
    let alice = alice();
    alice.run(&["gen-cert", "--out", "d i r"]).succeeds();
    fs::rename(alice.path("d i r/key.pem"), alice.path("d i r/k*y")).unwrap();
    alice.knows("zed", &Person::new());
    for home in ["h1", "d i r/h 2"] {
        let add = ["--home", home, "peers", "add", "zoe", "d i r/cert.pem"];
        alice.run(&["gen-cert", "--out", home]).succeeds();
        alice.run(&add).succeeds();
    }
    for directory in ["zed", "completions"] {
        fs::create_dir(alice.path(directory)).unwrap();
    }
    let lines = "PS1='ready> '\neval \"$(turnchat completions bash)\"\n";
    fs::write(alice.path("rc"), lines).unwrap();
    let mut command = shell("bash", &alice);
    command.args(["--noprofile", "--rcfile", "rc", "-i"]);
    let terminal = Terminal::start(command);
    terminal.ends_with("ready>");
    for (typed, completed) in TABS {
        // What is typed next shows where the cursor is.
        terminal.types(&format!("turnchat {typed}\t|"));
        terminal.ends_with(&format!("ready> turnchat {completed}|"));
        terminal.types("\x15");
    }
}

/// Whoever presses Tab asked for no error; the command itself will tell it.
#[test]
fn a_book_that_cannot_be_read_completes_nothing_and_says_nothing() {
    let alice = alice();
    fs::write(alice.book(), "[bob").unwrap();
    assert!(bash(&alice, &["client", "b"]).is_empty());
    let nobody = Person::without_identity();
    assert!(bash(&nobody, &["client", "b"]).is_empty());
    assert!(!nobody.home().exists());
}

#[test]
fn fish_completes_names_and_says_whose_they_are() {
    if !is_here("fish") {
        return;
    }
    let alice = alice();
    for line in ["client b", "peers remove b", "server --allow b"] {
        let mut command = shell("fish", &alice);
        let script = "turnchat completions fish | source; complete -C $argv[1]";
        command.args(["--no-config", "-c", script, &format!("turnchat {line}")]);
        let offered = Program::start(command).without_input().finish().succeeds();
        let offered: Vec<_> = offered.lines().map(|it| it.split_once('\t')).collect();
        let [Some(("bertha", whose)), Some(("bob", _))] = offered[..] else {
            panic!("{line}: {offered:?}");
        };
        assert!(whose.starts_with("SHA256:"), "{whose}");
    }
}

#[test]
fn zsh_completes_names() {
    if !is_here("zsh") {
        return;
    }
    let alice = alice();
    let lines = "PS1='ready> '\nautoload -Uz compinit && compinit -u -D\n\
                 eval \"$(turnchat completions zsh)\"\n";
    fs::write(alice.path(".zshrc"), lines).unwrap();
    let mut command = shell("zsh", &alice);
    command.args(["-d", "-i"]);
    let terminal = Terminal::start(command);
    terminal.ends_with("ready>");
    terminal.types("turnchat client ber\t");
    terminal.shows("ready> turnchat client bertha");
    terminal.types("\x15turnchat server --allow bo\t");
    terminal.shows("ready> turnchat server --allow bob");
    // Quoted words too.
    alice.run(&["gen-cert", "--out", "d i r"]).succeeds();
    let add = ["--home", "h 2", "peers", "add", "zoe", "d i r/cert.pem"];
    alice.run(&["gen-cert", "--out", "h 2"]).succeeds();
    alice.run(&add).succeeds();
    terminal.types("\x15turnchat fingerprint d\\ i\\ r/c\t");
    terminal.shows(r"ready> turnchat fingerprint d\ i\ r/cert.pem");
    terminal.types("\x15turnchat --home 'h 2' client zo\t");
    terminal.shows("ready> turnchat --home 'h 2' client zoe");
}

#[test]
fn each_shell_has_its_script_and_others_are_refused() {
    let person = Person::without_identity();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = person.run(&["completions", shell]).succeeds();
        assert!(script.contains("TURNCHAT_COMPLETE"), "{shell}: {script}");
    }
    person
        .run(&["completions", "csh"])
        .misuses(&["csh", "bash"]);
    person.run(&["completions"]).misuses(&["SHELL"]);
    assert!(!person.home().exists());
}

/// As for whoever packages the program.
#[test]
fn neither_script_nor_manual_needs_a_home() {
    let person = Person::without_identity();
    for arguments in [&["completions", "bash"][..], &["man"]] {
        let mut command = person.turnchat(arguments);
        command.env_clear();
        assert_ne!(Program::start(command).finish().succeeds(), "");
    }
}

/// A variable that no script has set so.
#[test]
fn words_are_completed_for_shells_alone() {
    let person = Person::without_identity();
    for (shell, words, code) in [("csh", &["--", "turnchat", ""][..], 1), ("bash", &[], 1)] {
        let mut command = person.turnchat(words);
        command.env("TURNCHAT_COMPLETE", shell);
        let done = Program::start(command).finish();
        done.exits(code);
        assert_eq!((&*done.stdout, &*done.stderr), ("", ""));
    }
    let mut unset = person.turnchat(&["--version"]);
    unset.env("TURNCHAT_COMPLETE", OsStr::new(""));
    Program::start(unset).finish().exits(0);
}
