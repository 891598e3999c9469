//! Homes, keys, books and journals that are not to be used: what others own or can write, links,
//! what is no file. And those that two programs use at once.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};

use crate::harness::{Person, Program, contents, utf8};

/// Who owns what is not ours.
const ANOTHER: u32 = 65_534;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Runs the first command in the advice that has these words.
#[track_caller]
fn follows(told: &str, words: &str) {
    let mut commands = told.split('`').skip(1).step_by(2);
    let command = commands
        .find(|command| command.contains(words))
        .expect(told);
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    Program::start(shell).finish().exits(0);
}

/// Where the journal of this person's server is; made by a server that ran.
fn journal(alice: &Person) -> PathBuf {
    let server = alice.serve(&["--journal"]);
    server.program.send(Signal::SIGTERM);
    server.program.finish().exits(0);
    let below = fs::read_dir(alice.home().join("journal")).unwrap();
    below
        .map(|entry| entry.unwrap().path())
        .next()
        .expect("a journal")
}

const SERVER: [&str; 4] = ["server", "--listen", "127.0.0.1:0", "--journal"];

#[test]
fn what_others_can_write_or_own_is_not_used_and_the_advice_mends_it() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let below = journal(&alice);
    let book_commands: &[&[&str]] = &[&["peers", "list"], &["peers", "remove", "bob"], &SERVER];
    let cases: [(PathBuf, &[&[&str]]); 5] = [
        (
            alice.home(),
            &[
                &["peers", "list"],
                &["peers", "remove", "bob"],
                &["fingerprint"],
                &["gen-cert", "--renew"],
                &["client", "127.0.0.1:1"],
                &SERVER,
            ],
        ),
        (alice.book(), book_commands),
        (alice.home().join("journal"), &[&SERVER]),
        (below.clone(), &[&SERVER]),
        (below.join("server.lock"), &[&SERVER]),
    ];
    let before = contents(&alice.home());
    for (path, commands) in cases {
        let whole = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        for command in commands {
            for mode in [0o777, 0o720, 0o702] {
                chmod(&path, mode);
                let told = alice.run(command).fails(3, &["thers can write"]);
                assert!(told.contains(&utf8(&path)), "{told}");
                follows(&told, "chmod go-w");
                let mended = fs::metadata(&path).unwrap().permissions().mode();
                assert_eq!(mended & 0o022, 0);
            }
            chmod(&path, whole);
            // Only root can give a file away.
            if geteuid().is_root() {
                chown(&path, Some(ANOTHER), None).unwrap();
                let told = alice.run(command).fails(3, &["nother user owns"]);
                assert!(told.contains(&utf8(&path)), "{told}");
                follows(&told, "chown ");
            }
        }
    }
    assert_eq!(contents(&alice.home()), before);
    alice.run(&["peers", "list"]).succeeds();
    journal(&alice);
}

#[test]
fn a_key_of_somebody_else_is_not_used() {
    if !geteuid().is_root() {
        return;
    }
    let alice = Person::new();
    chown(alice.key_file(), Some(ANOTHER), None).unwrap();
    for command in [&["fingerprint"][..], &["gen-cert", "--renew"], &SERVER] {
        let told = alice
            .run(command)
            .fails(3, &["nother user owns", "key.pem"]);
        assert!(told.contains("chown "), "{told}");
    }
}

/// A directory that is shared on purpose is not to be closed.
#[test]
fn a_shared_directory_is_no_home() {
    let alice = Person::new();
    chmod(&alice.home(), 0o1777);
    let told = alice.run(&["fingerprint"]).fails(3, &["thers can write"]);
    assert!(!told.contains("chmod"), "{told}");
    let home = utf8(alice.home());
    let told = alice
        .run(&["gen-cert", "--out", &home])
        .fails(3, &["`--out DIR`"]);
    assert!(!told.contains("chmod"), "{told}");
}

/// Each is planted where this program would create, empty or replace a file.
#[test]
fn nothing_is_written_through_a_link() {
    let (alice, bob) = (Person::new(), Person::new());
    let (key, own) = (bob.key(), alice.home());
    let below = journal(&alice);
    let add = ["peers", "add", "bob", &key];
    let cases: [(PathBuf, &[&str]); 4] = [
        (below.join("server.lock"), &SERVER),
        (own.join("cert.pem"), &["gen-cert", "--renew"]),
        (own.join("peers.toml.lock"), &add),
        (own.join("peers.toml"), &add),
    ];
    for (link, command) in cases {
        let target = alice.path("target");
        let before = fs::read(&link).ok();
        let _ = fs::remove_file(&link);
        symlink(&target, &link).unwrap();
        for content in [None, Some(before.clone().unwrap_or_default())] {
            if let Some(content) = &content {
                fs::write(&target, content).unwrap();
            }
            let told = alice.run(command).fails(1, &["link"]);
            assert!(told.contains(&utf8(&link)), "{told}");
            assert_eq!(fs::read(&target).ok(), content);
            assert!(link.is_symlink());
            if content.is_some() {
                let words = if told.contains("`cp ") { "cp " } else { "mv " };
                follows(&told, words);
                assert!(!link.is_symlink(), "{told}");
            }
        }
        match before {
            Some(before) => fs::write(&link, before).unwrap(),
            None => drop(fs::remove_file(&link)),
        }
        fs::remove_file(&target).unwrap();
    }
    alice.run(&add).succeeds();
}

#[test]
fn what_is_no_file_of_a_bounded_size_is_refused_at_once() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let named = alice.path("named.pem");
    let cases: [(PathBuf, &[&str]); 4] = [
        (alice.book(), &["peers", "list"]),
        (alice.key_file(), &SERVER),
        (alice.certificate().into(), &SERVER),
        (named.clone(), &["fingerprint", &utf8(&named)]),
    ];
    for (path, command) in cases {
        let before = fs::read(&path).ok();
        let clear = || drop(fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)));
        for (kind, plant) in PLANTS {
            clear();
            plant(&path);
            let told = alice.run(command).fails(1, &[kind, &utf8(&path)]);
            assert!(!told.contains("chmod"), "{told}");
        }
        clear();
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
            chmod(&path, 0o600);
        }
    }
    journal(&alice);
}

type Plant = fn(&Path);

/// What may be in the place of a file, and what it is called.
const PLANTS: [(&str, Plant); 3] = [
    ("a named pipe", |path| mkfifo(path, Mode::S_IRUSR).unwrap()),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("too long", |path| {
        let file = File::create(path).unwrap();
        file.set_len(3 << 30).unwrap();
        chmod(path, 0o600);
    }),
];

#[test]
fn two_that_start_at_once_have_one_identity() {
    for _ in 0..5 {
        let alice = Person::without_identity();
        let mut server = alice.start(&["server", "--listen", "127.0.0.1:0"]);
        let client = alice.start(&["client", "127.0.0.1:1"]).without_input();
        let line = server.stderr.line_with("Your peer runs: ");
        client.finish().exits(4);
        assert!(line.ends_with(&alice.key()), "{line}");
    }
}

/// What a program of the system prints; `None` where it has no such program or forbids it.
fn system(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(printed)
}

/// A directory on a file system that ignores modes, as long as this is.
struct Modeless(PathBuf);

impl Modeless {
    fn mount(alice: &Person, perms: &str) -> Option<Self> {
        let (real, mounted) = (alice.path("real"), alice.path("mounted"));
        for dir in [&real, &mounted] {
            fs::create_dir_all(dir).unwrap();
        }
        let perms = format!("--perms={perms}");
        let arguments = [&perms, "--chmod-ignore", &utf8(real), &utf8(&mounted)];
        system("bindfs", &arguments).map(|_| Self(mounted))
    }
}

impl Drop for Modeless {
    fn drop(&mut self) {
        let mounted = utf8(&self.0);
        let user = ["fusermount3", "fusermount"].map(|it| (it, vec!["-u", &mounted]));
        let ways = user.into_iter().chain([("umount", vec![mounted.as_str()])]);
        let _ = ways
            .into_iter()
            .find_map(|(program, all)| system(program, &all));
    }
}

/// With directories that others can write, and with those that they can only read.
#[test]
fn no_key_is_made_where_it_could_not_be_kept() {
    for perms in ["0777", "0755"] {
        let alice = Person::without_identity();
        let Some(modeless) = Modeless::mount(&alice, perms) else {
            return;
        };
        let home = utf8(modeless.0.join("home"));
        for command in [&["gen-cert"][..], &SERVER, &["client", "127.0.0.1:1"]] {
            let done = alice.run(&[command, &["--home", &home]].concat());
            let told = done.fails(3, &["permissions", "`--home DIR`"]);
            assert!(!told.contains("chmod"), "{told}");
            assert!(contents(Path::new(&home)).is_empty());
        }
    }
}

/// The first is of the file itself; the second, of its directory, is not there everywhere.
#[test]
fn what_is_said_of_a_change_that_could_not_be_synced_is_true() {
    let (alice, bob) = (Person::new(), Person::new());
    let key = bob.key();
    let add = alice.turnchat(&["peers", "add", "bob", &key]);
    for (nth, error, code, words) in [
        (1, "EINVAL", 1, Some("Nothing was changed")),
        (1, "EIO", 1, Some("Nothing was changed")),
        (2, "EINVAL", 0, None),
        (2, "EIO", 1, Some("The change is made")),
    ] {
        let _ = fs::remove_file(alice.book());
        let inject = format!("inject=fsync:error={error}:when={nth}");
        let mut traced = Command::new("strace");
        traced.args(["-f", "-o", "/dev/null", "-e", "trace=fsync", "-e", &inject]);
        traced
            .arg(add.get_program())
            .args(add.get_args())
            .env_clear();
        for (name, value) in add.get_envs() {
            traced.env(name, value.expect("a value"));
        }
        traced.env("PATH", "/usr/bin:/bin");
        if system("strace", &["-o", "/dev/null", "true"]).is_none() {
            return;
        }
        let done = Program::start(traced).without_input().finish();
        match words {
            Some(words) => _ = done.fails(code, &[words]),
            None => done.exits(code),
        }
        let is_there = fs::read_to_string(alice.book()).is_ok_and(|book| book.contains(&key));
        assert_eq!(is_there, nth == 2, "{done:?}");
    }
}
