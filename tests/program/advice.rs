//! What is advised is true of the case at hand: paths as they are, the home that was given, the
//! file that is at fault. Nothing whole is to be thrown away.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use nix::unistd::geteuid;

use crate::harness::{Finished, Person, Program, alone, close, limited, utf8};

/// Advice that throws away what may be whole.
const WASTE: [&str; 3] = ["makes a new identity", "begin with an empty", "removing"];

/// It failed for its own reasons, with these words, and has nothing thrown away.
#[track_caller]
fn advises(done: &Finished, words: &[&str]) {
    let told = done.fails(1, words);
    for waste in WASTE {
        assert!(!told.contains(waste), "{told}");
    }
}

#[test]
fn a_path_is_told_as_it_was_given() {
    let alice = Person::without_identity();
    let making = ["gen-cert", "--out", "certs/alice"];
    alice.run(&making).succeeds();
    let told = alice.run(&making).fails(1, &[" certs/alice/key.pem "]);
    assert!(!told.contains("Certs"), "{told}");
    let book = alice.path("certs/alice/peers.toml");
    fs::write(&book, "[bob\n").unwrap();
    let listing = ["peers", "list", "--home", "certs/alice"];
    let told = alice.run(&listing).fails(1, &["certs/alice/peers.toml"]);
    assert!(!told.contains("Certs"), "{told}");
}

/// The commands in the backticks of a text.
fn proposed(told: &str) -> impl Iterator<Item = &str> {
    let quoted = told.split('`').skip(1).step_by(2);
    quoted.filter(|words| words.starts_with("turnchat ") && *words != "turnchat server")
}

#[test]
fn a_proposed_command_has_the_home_that_was_given() {
    let (alice, bob) = (Person::new(), Person::new());
    let home = "another home";
    let quoted = "--home 'another home'";
    let key = bob.key();
    let arguments: [&[&str]; 6] = [
        &["fingerprint"],
        &["peers", "remove", "bob"],
        &["peers", "list"],
        &["server", "--listen", "127.0.0.1:0", "--allow", "bob"],
        &["client", "a b"],
        &["client", "localhost:1", "--accept-new", "--as", "known"],
    ];
    let add = ["peers", "add", "known", &key, "--address", "localhost:1"];
    alice
        .run(&[&add[..], &["--home", home]].concat())
        .succeeds();
    alice
        .run(&["peers", "remove", "known", "--home", home])
        .succeeds();
    let mut proposals = 0;
    for arguments in arguments {
        let given = ["--home", home];
        for whole in [[&given, arguments].concat(), [arguments, &given].concat()] {
            let done = alice.run(&whole);
            for command in proposed(&done.stderr) {
                assert!(command.contains(quoted), "{whole:?}: {command}");
                proposals += 1;
            }
            assert!(
                !done.stderr.is_empty() || whole.contains(&"client"),
                "{whole:?}"
            );
        }
    }
    assert!(proposals >= 10, "{proposals}");
    // One that is not given stays away.
    let told = alice.run(&["peers", "remove", "bob"]).fails(1, &[]);
    assert!(!told.contains("--home"), "{told}");
}

/// What is proposed is run as it stands, and does it.
#[test]
fn a_proposed_gen_cert_makes_the_key_that_was_missing() {
    let alice = Person::without_identity();
    let home = utf8(alice.path("alice's home"));
    let asking = ["fingerprint", "--home", &home];
    let told = alice.run(&asking).fails(1, &[&home]);
    let command = proposed(&told).next().expect("a command");
    let command = command.replacen("turnchat", env!("CARGO_BIN_EXE_turnchat"), 1);
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).env("HOME", alice.path("none"));
    Program::start(shell).finish().exits(0);
    alice.run(&asking).succeeds();
    assert!(!alice.home().exists());
}

#[test]
fn the_peer_is_asked_for_the_key_that_is_used() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow", &alice.key()]);
    let (cert, key) = (bob.certificate(), utf8(bob.key_file()));
    let other = Person::new();
    let refused = other.call(&server, &alice, &["--cert", &cert, "--key", &key]);
    let command = format!("`turnchat fingerprint --cert {cert} --key {key}`");
    refused.finish().fails(3, &[&command]);
}

/// Starts it with this standard output.
fn with_stdout(mut command: Command, stdout: impl Into<std::process::Stdio>) -> Finished {
    command.stdout(stdout);
    Program::start_with(command).without_input().finish()
}

#[test]
fn a_reader_that_has_left_is_nothing_to_tell() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    for arguments in [
        &["peers", "list"][..],
        &["fingerprint"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
        &["help"],
    ] {
        let (reader, writer) = io::pipe().unwrap();
        close(reader);
        let done = with_stdout(alice.turnchat(arguments), writer);
        done.exits(0);
        assert_eq!(done.stderr, "", "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    for (arguments, what) in [
        (&["peers", "list"][..], "The list cannot"),
        (&["fingerprint"], "The fingerprint cannot"),
        (&["completions", "zsh"], "The script cannot"),
        (&["man"], "The manual page cannot"),
        (&["server", "--help"], "The help cannot"),
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let done = with_stdout(alice.turnchat(arguments), full);
        let told = done.fails(1, &[what, "free space"]);
        assert!(!told.contains("transcript"), "{told}");
    }
}

#[test]
fn a_file_in_the_place_of_a_home_is_named() {
    let alice = Person::without_identity();
    let file = alice.path("a-file");
    fs::write(&file, "whole").unwrap();
    let named = file.display().to_string();
    let commands: [&[&str]; 5] = [
        &["fingerprint"],
        &["gen-cert"],
        &["peers", "list"],
        &["peers", "remove", "bob"],
        &["server", "--listen", "127.0.0.1:0"],
    ];
    for command in commands {
        let mut home = alice.turnchat(command);
        home.env_remove("TURNCHAT_HOME").env("HOME", &file);
        let done = Program::start(home).finish();
        advises(&done, &[&format!("the file {named} is"), "Correct `HOME`"]);

        let done = alice.run(&[command, &["--home", "a-file"]].concat());
        advises(&done, &["the file a-file is", "`--home DIR`"]);
    }
    let done = alice.run(&["gen-cert", "--out", "a-file/certs"]);
    advises(&done, &["the file a-file is", "`--out DIR`"]);
    let done = alice.run(&["fingerprint", "a-file/cert.pem"]);
    advises(&done, &["the file a-file is", "Check the path"]);
    assert_eq!(fs::read(&file).unwrap(), b"whole");
}

#[test]
fn a_directory_in_the_place_of_a_file_is_named() {
    let alice = Person::new();
    fs::create_dir(alice.book()).unwrap();
    let done = alice.run(&["peers", "list"]);
    advises(&done, &["a directory", "peers.toml", "rename"]);
}

/// With room for one file, its lock is opened and the book is not.
#[test]
fn too_many_open_files_are_no_fault_of_a_file() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let command = alice.turnchat(&["peers", "remove", "bob"]);
    let done = limited("ulimit -n 4", &command).finish();
    advises(&done, &["Too many open files", "ulimit -n"]);
    let command = alice.turnchat(&["gen-cert", "--out", "new"]);
    let done = limited("ulimit -n 4", &command).finish();
    advises(&done, &["Too many open files", "ulimit -n"]);
    alice.run(&["peers", "remove", "bob"]).succeeds();
}

/// Who binds nobody with permissions is root; anybody else will do.
const NOBODY: u32 = 65_534;

/// Runs it as somebody whom permissions bind: this user, or nobody if this is root. The files
/// of the person become theirs but for `others`.
fn run_bound(person: &Person, others: &[&Path], arguments: &[&str]) -> Finished {
    let mut command = person.turnchat(arguments);
    if geteuid().is_root() {
        let program = person.path("turnchat");
        if !program.exists() {
            // What another test starts meanwhile would keep it open for writing.
            alone(|| fs::copy(env!("CARGO_BIN_EXE_turnchat"), &program)).unwrap();
        }
        give(&person.path(""), others);
        let mut copy = Command::new(program);
        copy.args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            copy.env(name, value.expect("a value"));
        }
        copy.current_dir(person.path("")).uid(NOBODY).gid(NOBODY);
        command = copy;
    }
    Program::start(command).without_input().finish()
}

fn give(path: &Path, others: &[&Path]) {
    let owner = if others.contains(&path) { 0 } else { NOBODY };
    chown(path, Some(owner), None).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), others);
        }
    }
}

#[test]
fn what_may_not_be_read_or_written_is_helped_by_its_permissions() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let (home, book, key) = (alice.home(), alice.book(), alice.key_file());
    let lock = alice.home().join("peers.toml.lock");
    let cases: [(&Path, u32, &[&str], &str); 6] = [
        (&key, 0o000, &["fingerprint"], "chmod u+rw "),
        (&book, 0o000, &["peers", "list"], "chmod u+rw "),
        (&book, 0o200, &["client", "bob"], "chmod u+rw "),
        (&lock, 0o400, &["peers", "remove", "bob"], "chmod u+rw "),
        (&home, 0o500, &["peers", "remove", "bob"], "chmod u+rwx "),
        (&home, 0o000, &["gen-cert"], "chmod u+rwx "),
    ];
    for (path, mode, arguments, remedy) in cases {
        let before = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let done = run_bound(&alice, &[], arguments);
        fs::set_permissions(path, before).unwrap();
        let remedy = format!("`{remedy}{}`", path.display());
        advises(&done, &["Permission denied", &remedy]);
    }
}

/// Only root can give a file to somebody else.
#[test]
fn what_belongs_to_somebody_else_is_said_to() {
    if !geteuid().is_root() {
        return;
    }
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let (home, book, key) = (alice.home(), alice.book(), alice.key_file());
    let lock = alice.home().join("peers.toml.lock");
    let cases: [(&Path, &[&str]); 3] = [
        (&key, &["fingerprint"]),
        (&book, &["peers", "list"]),
        (&lock, &["peers", "remove", "bob"]),
    ];
    for (path, arguments) in cases {
        let done = run_bound(&alice, &[path], arguments);
        let remedy = format!("as root, run `chown {NOBODY} {}`", path.display());
        let told = done.fails(3, &["is root", &remedy]);
        assert!(WASTE.iter().all(|waste| !told.contains(waste)), "{told}");
    }
    // A directory of somebody else's is only to be taken over on purpose.
    let done = run_bound(&alice, &[&home], &["gen-cert"]);
    done.fails(3, &["is root", "correct `TURNCHAT_HOME`", "if all of it"]);
    let other = utf8(bob.certificate());
    let done = run_bound(&alice, &[], &["fingerprint", &other]);
    let told = done.fails(1, &["is root", "Ask for a copy"]);
    assert!(!told.contains("chown"), "{told}");
}
