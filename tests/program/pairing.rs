//! Two people who have no key of each other, and three words.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Person, Program, Server, Terminal, say, server};

/// What nobody is told; it is told apart from a code by its words.
const WRONG: &str = "acoustic-museum-tide";

fn code(server: &mut Server) -> String {
    let line = server.program.stderr.line_with("Pairing code: ");
    line.trim_start_matches("Pairing code: ").to_owned()
}

/// Alice's server, where bob is waited for; and the code.
fn open(alice: &Person, arguments: &[&str]) -> (Server, String) {
    let mut server = alice.serve(&[&["--pair", "bob"], arguments].concat());
    let code = code(&mut server);
    (server, code)
}

/// Bob's client, which has a line of input for the code.
fn dial(bob: &Person, address: &str, arguments: &[&str]) -> Program {
    let pairing = ["client", address, "--pair", "--as", "alice", "--hold", "0s"];
    bob.start(&[&pairing[..], arguments].concat())
}

fn book(person: &Person) -> String {
    std::fs::read_to_string(person.book()).unwrap_or_default()
}

/// Each has the other's key once, under the name that it chose.
fn know_each_other(alice: &Person, bob: &Person) {
    for (person, name, other) in [(alice, "[bob]", bob), (bob, "[alice]", alice)] {
        let book = book(person);
        assert_eq!(book.matches(&other.key()).count(), 1, "{book}");
        assert!(book.contains(name) && book.contains("pairing"), "{book}");
    }
}

fn know_nobody(people: &[&Person]) {
    for person in people {
        assert_eq!(book(person), "");
    }
}

#[test]
fn two_terminals_pair_and_the_conversation_begins_by_itself() {
    let (alice, bob) = (Person::without_identity(), Person::without_identity());
    let serving = alice.turnchat(&server(&["--pair", "bob"]));
    let serving = Terminal::start(serving);
    let rows = serving.until("a code", |rows| {
        rows.iter().any(|row| row.starts_with("Pairing code: "))
    });
    let told = |words: &str| {
        let row = rows.iter().find_map(|row| row.strip_prefix(words));
        row.unwrap_or_else(|| panic!("{rows:#?}")).to_owned()
    };
    let (address, code) = (told("Listening on "), told("Pairing code: "));
    assert!(told("Your peer runs: ").ends_with(&format!("client {address} --pair --as NAME")));

    let calling = bob.turnchat(&["client", &address, "--pair", "--as", "alice"]);
    let calling = Terminal::start(calling);
    calling.ends_with("Pairing code:");
    // Four letters and Tab, and one word in full.
    let words: Vec<_> = code.split('-').collect();
    // Three letters may begin longer words too: `act`, and `action`.
    let start = |word: &str| match word.get(..4) {
        Some(start) => format!("{start}\t"),
        None => format!("{word}-"),
    };
    let (first, last) = (start(words[0]), start(words[2]));
    let keys = format!("{first}{}-{}\r", words[1], last.trim_end_matches('-'));
    calling.types(&keys);
    calling.shows("Connected with alice.");
    serving.shows("Connected with bob");
    calling.until("the code", |rows| {
        rows.iter().any(|row| row.ends_with(&code))
    });
    serving.ends_with("Your message:");
    serving.types("Hello, bob\r");
    calling.shows("They say: Hello, bob");
    calling.ends_with("Your message:");
    calling.types("QUIT\r");
    assert_eq!(calling.finish().0, Some(0));
    know_each_other(&alice, &bob);

    // From now on a name is enough, and nothing is typed.
    serving.shows("Waiting for the next one.");
    let again = Terminal::start(bob.turnchat(&["client", "alice"]));
    serving.shows("Press Enter to begin");
    serving.types("\r");
    again.shows("Connected with alice.");
}

#[test]
fn a_code_comes_before_what_is_piped() {
    let (alice, bob) = (Person::new(), Person::new());
    let (server, code) = open(&alice, &["--first", "Hello", "--once"]);
    let client = dial(&bob, &server.address, &[]);
    client.write(format!("{code}\nHi\n").as_bytes());
    server.program.say("QUIT");
    let client = client.finish();
    client.exits(0);
    assert_eq!(client.stdout, "They say: Hello\nYour message: Hi\n");
    server.program.finish().exits(0);
    know_each_other(&alice, &bob);
}

#[test]
fn programs_pair_too() {
    let (alice, bob) = (Person::new(), Person::new());
    let (mut server, code) = open(&alice, &["--json"]);
    server.program.expect("listening");
    assert_eq!(server.program.expect("pairing")["code"], code);
    for _ in 0..2 {
        let guess = dial(&bob, &server.address, &[]);
        guess.say(WRONG);
        guess.finish().exits(3);
        let what = server.program.expect("error")["what"].to_string();
        assert!(what.contains(&bob.key()), "{what}");
    }
    let mut client = dial(&bob, &server.address, &["--json"]);
    client.expect("code-wanted");
    client.say(&json!({ "pair": { "code": code } }).to_string());
    for (program, name, other) in [
        (&mut client, "alice", &alice),
        (&mut server.program, "bob", &bob),
    ] {
        let paired = program.expect("paired");
        let peer = json!({ "key": other.key(), "petname": name });
        assert_eq!(paired["peer"], peer);
        program.expect("connected");
    }
    server.program.expect("your-turn");
    server.program.say(&say("Hello"));
    assert_eq!(client.expect("turn")["text"], "Hello");
    know_each_other(&alice, &bob);
}

#[test]
fn a_wrong_code_is_told_on_both_sides_and_stores_nothing() {
    let (alice, bob) = (Person::new(), Person::new());
    let (mut server, _) = open(&alice, &[]);
    let client = dial(&bob, &server.address, &[]);
    client.say(WRONG);
    client
        .finish()
        .fails(3, &["the code is wrong", "somebody is in between"]);
    let told = server.program.stderr.line_with("a wrong code");
    assert!(
        told.contains(&bob.key()) && told.contains("127.0.0.1"),
        "{told}"
    );
    know_nobody(&[&alice, &bob]);
}

#[test]
fn a_slip_is_asked_about_again() {
    let (alice, bob) = (Person::new(), Person::new());
    let (server, code) = open(&alice, &["--first", "Hello"]);
    let calling = ["client", &server.address, "--pair", "--as", "alice"];
    let terminal = Terminal::start(bob.turnchat(&calling));
    for (typed, told) in [
        ("acoustic museum", "has three words, not 2"),
        ("acoustic xyzzy tide", "word 2 is not in the list"),
        ("aco museum tide", "word 1 needs at least four letters"),
        (WRONG, "the code is wrong"),
    ] {
        terminal.ends_with("Pairing code:");
        terminal.types(&format!("{typed}\r"));
        terminal.shows(told);
    }
    terminal.ends_with("Pairing code:");
    terminal.types(&format!("{code}\r"));
    terminal.shows("They say: Hello");
    know_each_other(&alice, &bob);
}

#[test]
fn what_is_no_code_is_refused_in_a_pipe_before_anybody_is_dialled() {
    let bob = Person::new();
    // Nobody listens there.
    let client = dial(&bob, "127.0.0.1:1", &[]);
    client.say("acoustic museum tida");
    client.finish().fails(2, &["word 3 is not in the list"]);
    let client = dial(&bob, "127.0.0.1:1", &[]).without_input();
    client.finish().fails(2, &["no pairing code"]);
}

#[test]
fn a_code_is_never_an_argument() {
    let bob = Person::new();
    let done = bob.run(&["client", "127.0.0.1:1", "--pair", WRONG]);
    done.misuses(&["unexpected argument"]);
    let done = bob.run(&["client", "127.0.0.1:1", &format!("--pair={WRONG}")]);
    done.misuses(&["unexpected value"]);
    for arguments in [
        &["server", "--pair", "bob", "--allow-anyone"][..],
        &["server", "--pair", "bob", "--allow", "bob"],
        &["client", "host", "--pair", "--accept-new"],
        &["client", "host", "--pair", "--pin", &bob.key()],
    ] {
        bob.run(arguments).misuses(&["cannot be used with"]);
    }
}

#[test]
fn nobody_pairs_where_no_pairing_is_open() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone"]);
    let client = dial(&bob, &server.address, &[]);
    client.say(WRONG);
    client
        .finish()
        .fails(6, &["No pairing is open", "turnchat server --pair NAME"]);
}

#[test]
fn whoever_answers_in_the_servers_place_learns_nothing() {
    let (alice, bob, mallory) = (Person::new(), Person::new(), Person::new());
    let (mut honest, code) = open(&alice, &[]);
    let (mut trap, own_code) = open(&mallory, &[]);
    assert_ne!(code, own_code);
    // Bob is led to mallory, who cannot answer; nor does mallory get in with a guess.
    let client = dial(&bob, &trap.address, &[]);
    client.say(&code);
    client.finish().fails(3, &["the code is wrong"]);
    trap.program.stderr.line_with("a wrong code");
    let guess = dial(&mallory, &honest.address, &[]);
    guess.say(&own_code);
    guess.finish().fails(3, &["the code is wrong"]);
    let told = honest.program.stderr.line_with("a wrong code");
    assert!(told.contains(&mallory.key()), "{told}");
    know_nobody(&[&alice, &bob, &mallory]);
    // The code is still good.
    let client = dial(&bob, &honest.address, &[]);
    client.say(&code);
    honest.program.stderr.line_with("Paired: ");
    drop(client);
}

#[test]
fn a_spent_code_is_nobody_elses() {
    let (alice, bob, mallory) = (Person::new(), Person::new(), Person::new());
    let (server, code) = open(&alice, &["--first", "Hello"]);
    let mut client = dial(&bob, &server.address, &[]);
    client.say(&code);
    client.shows("They say: Hello");
    let late = dial(&mallory, &server.address, &[]);
    late.say(&code);
    let late = late.finish();
    assert!(matches!(late.code, Some(3 | 6)), "{late:?}");
    know_each_other(&alice, &bob);
    know_nobody(&[&mallory]);
}

#[test]
fn three_wrong_codes_end_a_client() {
    let (alice, bob) = (Person::new(), Person::new());
    let (server, _) = open(&alice, &[]);
    let calling = ["client", &server.address, "--pair", "--as", "alice"];
    let terminal = Terminal::start(bob.turnchat(&calling));
    for number in 1..=3 {
        terminal.until("the prompt", |rows| {
            let told = rows.iter().filter(|row| row.contains("the code is wrong"));
            told.count() == number - 1 && rows.last().is_some_and(|row| row == "Pairing code:")
        });
        terminal.types(&format!("{WRONG}\r"));
    }
    let (exit, rows) = terminal.finish();
    assert_eq!(exit, Some(3), "{rows:#?}");
}

#[test]
fn the_same_command_goes_on_with_a_conversation() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(alice.start(&[
        "server",
        "--listen",
        "127.0.0.1:0",
        "--json",
        "--pair",
        "bob",
    ]));
    let code = code(&mut server);
    let calling = [
        "client",
        &server.address,
        "--json",
        "--pair",
        "--as",
        "alice",
    ];
    let mut client = bob.start(&calling);
    client.expect("code-wanted");
    client.say(&json!({ "pair": { "code": code } }).to_string());
    client.expect("paired");
    client.expect("connected");
    client.send(Signal::SIGTERM);
    client.finish().exits(143);
    let mut client = bob.start(&calling);
    assert_eq!(client.expect("connected")["resumed"], true);
}

#[test]
fn a_key_that_could_not_be_stored_comes_with_the_same_code() {
    let (alice, bob) = (Person::new(), Person::new());
    let (mut server, code) = open(&alice, &["--first", "Hello"]);
    let mut client = dial(&bob, &server.address, &[]);
    client.stderr.line_with("Ask alice for the three words");
    std::fs::create_dir(bob.book()).unwrap();
    client.say(&code);
    client.finish().fails(1, &["with the same code"]);
    server.program.stderr.line_with("Paired: ");
    std::fs::remove_dir(bob.book()).unwrap();
    let mut client = dial(&bob, &server.address, &[]);
    client.say(&code);
    client.shows("They say: Hello");
    know_each_other(&alice, &bob);
}

#[test]
fn who_comes_with_a_code_that_is_used_is_told_of() {
    let (alice, bob, carol) = (Person::new(), Person::new(), Person::new());
    let (mut server, code) = open(&alice, &[]);
    // Bob does not come back for a conversation, which would end the pairing.
    let (address, is_cut) = cut_after(&server.address, 3);
    let client = dial(&bob, &address, &[]);
    client.say(&code);
    server.program.stderr.line_with("Paired: ");
    let late = dial(&carol, &server.address, &[]);
    late.say(&code);
    late.finish()
        .fails(3, &["ask whom your peer has paired with"]);
    let told = server.program.stderr.line_with("after it was used");
    assert!(told.contains(&carol.key()), "{told}");
    drop((client, is_cut));
}

#[test]
fn five_wrong_guesses_bring_another_code() {
    let (alice, mallory, bob) = (Person::new(), Person::new(), Person::new());
    let (mut server, first) = open(&alice, &["--first", "Hello"]);
    for _ in 0..5 {
        let guess = dial(&mallory, &server.address, &[]);
        guess.say(WRONG);
        guess.finish().exits(3);
    }
    let second = code(&mut server);
    assert_ne!(first, second);
    let client = dial(&bob, &server.address, &[]);
    client.say(&first);
    client.finish().exits(3);
    let mut client = dial(&bob, &server.address, &[]);
    client.say(&second);
    client.shows("They say: Hello");
    know_each_other(&alice, &bob);
}

#[test]
fn a_key_that_is_known_keeps_its_name() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("robert", &bob);
    bob.knows("alicia", &alice);
    let (mut server, code) = open(&alice, &["--first", "Hello"]);
    let mut client = dial(&bob, &server.address, &[]);
    client.say(&code);
    server.program.stderr.line_with("as robert already");
    client.stderr.line_with("as alicia already");
    client.shows("They say: Hello");
    for (person, other) in [(&alice, &bob), (&bob, &alice)] {
        assert_eq!(book(person).matches(&other.key()).count(), 1);
    }
    // Next time the name is enough.
    assert!(book(&bob).contains(&server.address));
}

#[test]
fn a_name_that_has_another_key_is_declined() {
    let (alice, bob, carol) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &carol);
    let (mut server, code) = open(&alice, &[]);
    let client = dial(&bob, &server.address, &[]);
    client.say(&code);
    client.finish().fails(3, &["another key under that name"]);
    server.program.stderr.line_with("bob has another key");
    assert!(!book(&alice).contains(&bob.key()));
    know_nobody(&[&bob]);
}

#[test]
fn a_server_whose_key_has_changed_hears_nothing() {
    let (alice, bob, carol) = (Person::new(), Person::new(), Person::new());
    let (mut server, code) = open(&alice, &[]);
    let adding = [
        "peers",
        "add",
        "alice",
        &carol.key(),
        "--address",
        &server.address,
    ];
    bob.run(&adding).succeeds();
    let client = dial(&bob, &server.address, &[]);
    client.say(&code);
    client.finish().fails(3, &["The key of alice has changed"]);
    // No guess was made: the same code still pairs, with somebody who knows nobody.
    let other = Person::new();
    let client = dial(&other, &server.address, &[]);
    client.say(&code);
    let told = server.program.stderr.line_with("Paired: ");
    assert!(told.contains(&other.key()), "{told}");
    drop(client);
}

/// A link to `address` that lets so many pieces through from the server, and is cut then. It says
/// when.
fn cut_after(address: &str, pieces: usize) -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = address.to_owned();
    let (cut, is_cut) = mpsc::channel();
    thread::spawn(move || {
        let client = listener.accept().unwrap().0;
        let server = TcpStream::connect(address).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let up = thread::spawn(move || std::io::copy(&mut from, &mut to));
        let (mut from, mut to) = (server, client);
        let mut piece = [0; 16_384];
        for _ in 0..pieces {
            let Ok(length @ 1..) = from.read(&mut piece) else {
                break;
            };
            if to.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        // What comes next is never there.
        let _ = from.read(&mut piece);
        let _ = cut.send(());
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
        let _ = up.join();
    });
    (format!("127.0.0.1:{port}"), is_cut)
}

#[test]
fn a_client_that_dies_at_any_step_comes_again_with_the_same_code() {
    for pieces in 0..6 {
        let (alice, bob) = (Person::new(), Person::new());
        let (server, code) = open(&alice, &["--first", "Hello"]);
        let (address, is_cut) = cut_after(&server.address, pieces);
        let client = dial(&bob, &address, &[]);
        client.say(&code);
        let _ = is_cut.recv();
        client.send(Signal::SIGKILL);
        client.finish();
        let mut client = dial(&bob, &server.address, &[]);
        client.say(&code);
        client.shows("They say: Hello");
        know_each_other(&alice, &bob);
    }
}

#[test]
fn a_server_that_dies_at_any_step_pairs_with_a_new_code() {
    for pieces in 0..6 {
        let (alice, bob) = (Person::new(), Person::new());
        let (server, code) = open(&alice, &[]);
        let (address, is_cut) = cut_after(&server.address, pieces);
        let client = dial(&bob, &address, &[]);
        client.say(&code);
        let _ = is_cut.recv();
        server.program.send(Signal::SIGKILL);
        server.program.finish();
        client.finish();
        let (server, code) = open(&alice, &["--first", "Hello"]);
        let mut client = dial(&bob, &server.address, &[]);
        client.say(&code);
        client.shows("They say: Hello");
        for (person, other) in [(&alice, &bob), (&bob, &alice)] {
            assert_eq!(book(person).matches(&other.key()).count(), 1);
        }
    }
}
