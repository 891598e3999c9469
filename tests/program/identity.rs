//! `gen-cert` and `fingerprint`, and identities that cannot be used.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::{Pair, Person, Program, contents, utf8};

#[track_caller]
fn has_mode(path: &Path, mode: u32) {
    let permissions = fs::metadata(path).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, mode, "{}", path.display());
}

#[track_caller]
fn is_fingerprint(printed: &str) {
    let key = printed.strip_prefix("SHA256:").expect(printed);
    let (key, end) = key.split_at(43);
    assert!(!key.contains('='));
    assert_eq!(end, "\n");
}

#[test]
fn gen_cert_prints_the_fingerprint_alone() {
    let alice = Person::without_identity();
    let made = alice.run(&["gen-cert"]);
    is_fingerprint(&made.stdout);
    assert!(made.stderr.starts_with("turnchat: "), "{made:?}");
    assert_eq!(alice.run(&["fingerprint"]).succeeds(), made.stdout);
    assert_eq!(made.code, Some(0));
}

#[test]
fn only_its_owner_can_read_what_gen_cert_makes() {
    let alice = Person::without_identity();
    alice.run(&["gen-cert"]).succeeds();
    has_mode(&alice.home(), 0o700);
    has_mode(&alice.key_file(), 0o600);
    assert_eq!(contents(&alice.home()).len(), 2);
}

#[test]
fn gen_cert_makes_a_directory_that_is_a_home() {
    let alice = Person::without_identity();
    let out = utf8(alice.path("certs/alice"));
    let made = alice.run(&["gen-cert", "--out", &out]).succeeds();
    let printed = alice.run(&["fingerprint", "--home", &out]);
    assert_eq!(printed.succeeds(), made);
    assert!(!alice.home().exists());
}

#[test]
fn gen_cert_overwrites_nothing() {
    let alice = Person::new();
    let before = contents(&alice.home());
    alice.run(&["gen-cert"]).fails(1, &["exists", "--renew"]);
    for missing in ["cert.pem", "key.pem"] {
        let gone = alice.home().join(missing);
        fs::remove_file(&gone).unwrap();
        alice.run(&["gen-cert"]).fails(1, &["without", missing]);
        assert!(!gone.exists());
        fs::write(&gone, &before[&gone]).unwrap();
    }
    assert_eq!(contents(&alice.home()), before);
}

#[test]
fn renew_makes_another_certificate_and_keeps_the_key() {
    let alice = Person::new();
    let before = contents(&alice.home());
    let key = alice.key();
    let renewed = alice.run(&["gen-cert", "--renew"]).succeeds();
    assert_eq!(renewed.trim_end(), key);
    let after = contents(&alice.home());
    assert_eq!(after[&alice.key_file()], before[&alice.key_file()]);
    let certificate = alice.home().join("cert.pem");
    assert_ne!(after[&certificate], before[&certificate]);
    assert_eq!(alice.key(), key);
}

#[test]
fn renew_needs_a_key() {
    let alice = Person::without_identity();
    alice
        .run(&["gen-cert", "--renew"])
        .fails(1, &["Cannot read"]);
    assert!(!alice.home().exists());
}

#[test]
fn a_pin_outlives_a_renewed_certificate() {
    let mut pair = Pair::new(&["--first", "Hello"]);
    let old = utf8(pair.alice.path("old.pem"));
    fs::copy(pair.alice.certificate(), &old).unwrap();
    pair.alice.run(&["gen-cert", "--renew"]).succeeds();
    pair.server = pair
        .alice
        .serve(&["--allow", &pair.bob.key(), "--first", "Renewed"]);
    let mut client = pair
        .bob
        .start(&["client", &pair.server.address, "--pin", &old]);
    client.shows("They say: Renewed");
}

#[test]
fn ed25519_keys_hold_a_conversation() {
    let people = || {
        let person = Person::without_identity();
        person
            .run(&["gen-cert", "--algorithm", "ed25519"])
            .succeeds();
        person
    };
    let (alice, bob) = (people(), people());
    let server = alice.serve(&["--allow", &bob.certificate(), "--first", "Hello"]);
    let mut client = bob.call(&server, &alice, &[]);
    client.shows("They say: Hello");
    client.say("QUIT");
    client.finish().exits(0);
}

#[test]
fn an_algorithm_that_is_none_is_misuse() {
    let alice = Person::without_identity();
    let refused = alice.run(&["gen-cert", "--algorithm", "rsa"]);
    refused.misuses(&["ecdsa-p256", "ed25519"]);
    assert!(!alice.home().exists());
}

#[test]
fn the_fingerprint_of_a_file_is_that_of_its_key() {
    let (alice, bob) = (Person::new(), Person::new());
    let printed = bob.run(&["fingerprint", &alice.certificate()]).succeeds();
    assert_eq!(printed.trim_end(), alice.key());
    let (certificate, key) = (alice.certificate(), utf8(alice.key_file()));
    let files = ["fingerprint", "--cert", &certificate, "--key", &key];
    assert_eq!(bob.run(&files).succeeds(), printed);
}

#[test]
fn there_is_no_fingerprint_of_nothing() {
    let nobody = Person::without_identity();
    nobody
        .run(&["fingerprint"])
        .fails(1, &["no key", "turnchat gen-cert"]);
    assert!(!nobody.home().exists());
    let nowhere = utf8(nobody.path("nowhere.pem"));
    nobody
        .run(&["fingerprint", &nowhere])
        .fails(1, &["nowhere.pem"]);
    let alice = Person::new();
    let key = utf8(alice.key_file());
    let refused = alice.run(&["fingerprint", &key]);
    refused.fails(1, &["No certificate"]);
    assert_eq!(refused.stdout, "");
}

#[test]
fn a_home_that_is_missing_gets_an_identity_and_that_is_said() {
    let (alice, bob) = (Person::without_identity(), Person::new());
    let mut server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    has_mode(&alice.home(), 0o700);
    has_mode(&alice.key_file(), 0o600);
    let told = String::from_utf8(server.program.stderr.so_far()).unwrap();
    assert!(told.contains(&alice.key()), "{told}");
    assert!(told.contains(&utf8(alice.home())), "{told}");
    let mut client = bob.call(&server, &alice, &[]);
    client.shows("They say: Hello");

    let newcomer = Person::without_identity();
    let mut waiting = newcomer.call(&server, &alice, &[]);
    let said = waiting.stderr.line_with("made one");
    assert!(said.contains(&newcomer.key()), "{said}");
    server.program.shows("Your message: Hello");
}

/// Every command that uses the own key refuses it with this code and words,
/// and leaves the home as it is.
#[track_caller]
fn is_refused(alice: &Person, code: i32, words: &[&str]) {
    let before = contents(&alice.home());
    for command in [
        &["server", "--listen", "127.0.0.1:0"][..],
        &["client", "127.0.0.1:1"],
        &["fingerprint"],
    ] {
        let refused = alice.run(command);
        refused.fails(code, words);
        assert_eq!(refused.stdout, "");
    }
    assert_eq!(contents(&alice.home()), before);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    for mode in [0o644, 0o640, 0o620, 0o604, 0o601] {
        let alice = Person::new();
        fs::set_permissions(alice.key_file(), Permissions::from_mode(mode)).unwrap();
        let remedy = format!("chmod 600 {}", alice.key_file().display());
        is_refused(&alice, 3, &[&remedy]);
        alice.run(&["gen-cert", "--renew"]).fails(3, &[&remedy]);
    }
}

#[test]
fn a_damaged_key_is_refused() {
    for damaged in ["", "nonsense", PKCS8_OF_NOTHING] {
        let alice = Person::new();
        fs::write(alice.key_file(), damaged).unwrap();
        is_refused(&alice, 1, &["key.pem"]);
    }
}

const PKCS8_OF_NOTHING: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

#[test]
fn a_damaged_certificate_is_refused() {
    for damaged in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let alice = Person::new();
        fs::write(alice.certificate(), damaged).unwrap();
        is_refused(&alice, 1, &["cert.pem"]);
    }
}

#[test]
fn the_certificate_of_another_key_is_refused() {
    let (alice, bob) = (Person::new(), Person::new());
    fs::copy(bob.certificate(), alice.certificate()).unwrap();
    is_refused(&alice, 1, &["cert.pem", "key.pem", "--renew"]);
}

/// Runs what is between backticks in the advice, with the built program.
#[track_caller]
fn follows(alice: &Person, told: &str) {
    let (_, advice) = told.split_once('`').expect(told);
    let (remedy, _) = advice.split_once('`').expect(told);
    let remedy = remedy.replacen("turnchat", env!("CARGO_BIN_EXE_turnchat"), 1);
    let mut shell = Command::new("sh");
    shell.args(["-c", &remedy]).env("HOME", alice.path("none"));
    Program::start(shell).finish().exits(0);
}

#[test]
fn a_key_without_its_certificate_is_helped_by_the_advice_and_stays() {
    let alice = Person::new();
    let odd = alice.path("alice's $HOME");
    fs::rename(alice.home(), &odd).unwrap();
    let home = utf8(&odd);
    let key = alice.run(&["fingerprint", "--home", &home]).succeeds();
    let before = contents(&odd);
    for command in [
        &["server", "--listen", "127.0.0.1:0"][..],
        &["client", "127.0.0.1:1"],
        &["fingerprint"],
        &["gen-cert"],
    ] {
        fs::remove_file(odd.join("cert.pem")).unwrap();
        let refused = alice.run(&[command, &["--home", &home]].concat());
        let told = refused.fails(1, &["cert.pem", "gen-cert --renew"]);
        follows(&alice, &told);
        let printed = alice.run(&["fingerprint", "--home", &home]);
        assert_eq!(printed.succeeds(), key);
        let key_file = odd.join("key.pem");
        assert_eq!(fs::read(&key_file).unwrap(), before[&key_file]);
    }
}

#[test]
fn a_certificate_without_its_key_is_helped_by_the_advice() {
    let alice = Person::new();
    let home = utf8(alice.home());
    let key = alice.home().join("key.pem");
    fs::remove_file(&key).unwrap();
    is_refused(&alice, 1, &["without", "Restore", &utf8(&key)]);
    for command in [&["gen-cert"][..], &["gen-cert", "--renew"]] {
        let told = alice.run(command).fails(1, &["without", &utf8(&key)]);
        assert!(told.contains("backup"), "{told}");
    }
    // Where there is no backup, it says how to go on without one.
    let lost = fs::read(alice.certificate()).unwrap();
    let told = alice.run(&["fingerprint"]).fails(1, &[]);
    follows(&alice, &told);
    assert!(contents(Path::new(&home)).values().any(|old| *old == lost));
    alice.run(&["gen-cert"]).succeeds();
    alice.key();
}

#[test]
fn half_of_cert_and_key_is_misuse() {
    let alice = Person::new();
    let file = alice.certificate();
    for command in [
        &["server"][..],
        &["client", "127.0.0.1:1"],
        &["fingerprint"],
    ] {
        for (given, missing) in [("--cert", "--key"), ("--key", "--cert")] {
            let arguments = [command, &[given, &file]].concat();
            alice.run(&arguments).misuses(&[missing]);
        }
    }
}

#[test]
fn a_home_is_named_by_argument_environment_or_custom() {
    let alice = Person::new();
    let elsewhere = Person::new();
    let home = utf8(alice.home());
    for arguments in [
        ["--home", &home, "fingerprint"],
        ["fingerprint", "--home", &home],
    ] {
        assert_eq!(elsewhere.run(&arguments).succeeds().trim_end(), alice.key());
    }
    let mut command = alice.turnchat(&["gen-cert"]);
    command.env_remove("TURNCHAT_HOME");
    Program::start(command).finish().exits(0);
    assert!(alice.path(".config/turnchat/key.pem").exists());

    let mut command = alice.turnchat(&["gen-cert"]);
    command.env_remove("TURNCHAT_HOME");
    command.env("XDG_CONFIG_HOME", alice.path("xdg"));
    Program::start(command).finish().exits(0);
    assert!(alice.path("xdg/turnchat/key.pem").exists());
}
