//! Readers that fail: what is acknowledged was shown, or is shown after a restart.

use std::fs;
use std::io::{self, BufRead as _, BufReader, PipeReader, PipeWriter};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{JSON_SERVER, Pair, Person, Program, Server, close, json_client, say};

/// Starts a program, and yields the end of the pipe that its stdout is read from.
fn with_reader(mut command: Command) -> (Program, BufReader<PipeReader>) {
    let (reader, writer) = io::pipe().unwrap();
    command.stdout(writer);
    (Program::start_with(command), BufReader::new(reader))
}

/// Starts a program whose stdout nobody reads.
fn without_reader(command: Command) -> Program {
    let (program, reader) = with_reader(command);
    close(reader);
    program
}

/// The next event of this name.
fn expect(reader: &mut BufReader<PipeReader>, name: &str) -> Value {
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "no {name}");
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] == name {
            return event;
        }
    }
}

/// The next event of this name, of a program that is read.
fn event(program: &mut Program, name: &str) -> Value {
    let line = program.stdout.line_with(&format!("\"event\":\"{name}\""));
    serde_json::from_str(&line).unwrap()
}

/// Without a journal nothing can go on, and the message is named.
#[test]
fn a_message_is_not_acknowledged_where_stdout_is_closed() {
    let pair = Pair::new(&["--once", "--first", "Hello"]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let done = without_reader(pair.bob.turnchat(&calling)).finish();
    done.fails(1, &["transcript", "standard output"]);
    let done = pair.server.program.finish();
    done.fails(4, &["peer's program failed", "turn 1 was not acknowledged"]);
    assert!(!done.stderr.contains("delivered"), "{done:?}");
}

#[test]
fn nor_at_the_server() {
    let (alice, bob) = (Person::new(), Person::new());
    let (server, mut reader) = with_reader(alice.turnchat(&crate::harness::server(&[
        "--allow-anyone",
        "--first",
        "Hello",
    ])));
    let server = Server::of(server);
    let mut client = bob.call(&server, &alice, &[]);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "Your message: Hello\n");
    close(reader);
    client.shows("They say: Hello");
    client.say("Hi");
    client
        .finish()
        .fails(4, &["peer's program failed", "turn 2 was not acknowledged"]);
    server.program.finish().fails(1, &["transcript"]);
}

/// As long as a message may be, which is more than a pipe holds: whoever shows it
/// waits for its reader.
fn long() -> String {
    "long ".repeat(13_108)[..65_536].to_owned()
}

/// Its owner may have made a stdout non-blocking, and a pipe holds less than a message.
#[test]
fn a_stdout_that_is_not_ready_is_waited_for() {
    let pair = Pair::new(&[]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let (reader, writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut command = pair.bob.turnchat(&calling);
    command.stdout(writer.try_clone().unwrap());
    let mut client = Program::start_with(command);
    pair.server.program.say(&long());
    fills(&mut client, &writer);
    drop(writer);
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, format!("They say: {}\n", long()));
    client.say("QUIT");
    client.finish().exits(0);
}

/// Whoever waits for it stands on the thread that sees signals and answers `ping`.
#[test]
fn nothing_else_waits_for_a_stdout_that_is_not_ready() {
    let pair = Pair::new(&[]);
    let calling = pair.bob.calling(&pair.server, &pair.alice, &[]);
    let (unread, writer) = io::pipe().unwrap();
    let mut command = pair.bob.turnchat(&calling);
    command.stdout(writer.try_clone().unwrap());
    let mut client = Program::start_with(command);
    pair.server.program.say(&long());
    fills(&mut client, &writer);
    client.send(Signal::SIGTERM);
    client.finish().exits(143);
    drop(unread);
}

/// Returns once it has filled the pipe, and has tried to write the rest before there is room.
fn fills(client: &mut Program, pipe: &PipeWriter) {
    let has_room = || {
        let mut polled = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
        poll(&mut polled, PollTimeout::ZERO).unwrap() > 0
    };
    while client.is_running() && (has_room() || is_at_work(client)) {
        thread::yield_now();
    }
}

/// Whether one of its threads does anything but wait, as far as this system tells.
fn is_at_work(program: &Program) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", program.id()));
    let stats = tasks.into_iter().flatten().flatten().map(|task| {
        let stat = fs::read_to_string(task.path().join("stat"));
        stat.unwrap_or_default()
    });
    let mut states = stats.filter_map(|stat| stat.rsplit(") ").next()?.chars().next());
    states.any(|state| state != 'S')
}

const FORGETFUL: [&str; 4] = ["--allow-anyone", "--json", "--once", "--no-journal"];

/// With `--json` it is named on stderr, where the event is read by nobody: the link
/// is lost, and that cannot be told.
#[test]
fn a_message_that_is_lost_with_the_reader_is_named_on_stderr() {
    let (alice, bob) = (Person::new(), Person::new());
    let (server, mut reader) = with_reader(alice.turnchat(&crate::harness::server(&FORGETFUL)));
    let server = Server::of(server);
    let calling = bob.calling(&server, &alice, &["--json", "--no-journal"]);
    let (client, unread) = with_reader(bob.turnchat(&calling));
    expect(&mut reader, "your-turn");
    server.program.say(&say(&long()));
    expect(&mut reader, "turn");
    close(reader);
    drop((client, unread));
    let done = server.program.finish();
    done.fails(1, &["standard output", "turn 1 was not acknowledged"]);
}

/// And where the peer's reader fails too, and the peer says so.
#[test]
fn and_so_it_is_where_both_readers_fail() {
    let (alice, bob) = (Person::new(), Person::new());
    let (server, mut reads) = with_reader(alice.turnchat(&crate::harness::server(&FORGETFUL)));
    let server = Server::of(server);
    let calling = bob.calling(&server, &alice, &["--json", "--no-journal"]);
    let (client, mut reader) = with_reader(bob.turnchat(&calling));
    expect(&mut reads, "your-turn");
    server.program.say(&say("Hello"));
    expect(&mut reader, "your-turn");
    client.say(&say(&long()));
    expect(&mut reader, "turn");
    close((reader, reads));
    let done = client.finish();
    done.fails(1, &["standard output", "turn 2 was not acknowledged"]);
}

/// And where the end of a conversation is learnt after a restart.
#[test]
fn and_where_a_conversation_was_over_before_a_restart() {
    let (alice, bob) = (Person::new(), Person::new());
    let (server, mut reads) = with_reader(alice.turnchat(&crate::harness::server(&FORGETFUL)));
    let server = Server::of(server);
    let (client, mut reader) = with_reader(json_client(&bob, &server, &alice));
    expect(&mut reads, "your-turn");
    server.program.say(&say("Hello"));
    expect(&mut reader, "your-turn");
    client.say(&say(&long()));
    expect(&mut reader, "turn");
    let address = server.address.clone();
    drop((client, server, reads));

    let mut serving = vec!["server", "--listen", &address];
    serving.extend(FORGETFUL);
    let server = Server::of(alice.start(&serving));
    let done = without_reader(json_client(&bob, &server, &alice)).finish();
    done.exits(1);
    let named = "turn 2 in it was not acknowledged";
    assert!(done.stderr.contains(named), "{done:#?}");
}

/// With one it goes on, and what was acknowledged is shown after the restart.
#[test]
fn a_message_that_no_reader_took_is_shown_after_a_restart() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let (client, mut reader) = with_reader(json_client(&bob, &server, &alice));
    expect(&mut reader, "connected");
    close(reader);
    event(&mut server.program, "your-turn");
    server.program.say(&say("Hello"));
    client.finish().fails(1, &["standard output"]);
    event(&mut server.program, "lost");
    // Not even its end is the end before it was shown.
    server.program.say("{\"quit\":{}}");
    let mut client = Program::start(json_client(&bob, &server, &alice));
    let turn = event(&mut client, "turn");
    assert_eq!((&turn["text"], &turn["turn"]), (&json!("Hello"), &json!(1)));
    event(&mut client, "ended");
    client.finish().exits(0);
    let ended = event(&mut server.program, "ended");
    assert_eq!(
        (&ended["by"], &ended["unacknowledged"]),
        (&json!("me"), &Value::Null)
    );
}

#[test]
fn and_after_a_restart_of_the_server() {
    let (alice, bob) = (Person::new(), Person::new());
    let (server, mut reader) = with_reader(alice.turnchat(&JSON_SERVER));
    let server = Server::of(server);
    let mut client = Program::start(json_client(&bob, &server, &alice));
    expect(&mut reader, "your-turn");
    server.program.say(&say("Hello"));
    event(&mut client, "your-turn");
    close(reader);
    client.say(&say("Hi"));
    server.program.finish().fails(1, &["standard output"]);
    event(&mut client, "lost");
    client.say("{\"quit\":{}}");

    let listen = [
        "server",
        "--listen",
        &server.address,
        "--allow-anyone",
        "--json",
        "--once",
    ];
    let mut server = Server::of(alice.start(&listen));
    let turn = loop {
        let turn = event(&mut server.program, "turn");
        if turn["speaker"] == "peer" {
            break turn;
        }
    };
    assert_eq!((&turn["text"], &turn["turn"]), (&json!("Hi"), &json!(2)));
    assert_eq!(event(&mut client, "ended")["by"], "me");
    client.finish().exits(0);
    server.program.finish().exits(0);
}

/// Whoever reads slowly, or not for a while, loses nothing.
#[test]
fn a_quit_waits_for_the_last_message_to_be_taken() {
    let (alice, bob) = (Person::new(), Person::new());
    let long = long();
    let mut server = alice.serve(&["--allow-anyone", "--json", "--once"]);
    let calling = bob.calling(&server, &alice, &["--no-journal"]);
    let (client, mut reader) = with_reader(bob.turnchat(&calling));
    event(&mut server.program, "your-turn");
    server.program.say(&say(&long));
    event(&mut server.program, "turn");
    server.program.say("{\"quit\":{}}");
    // The pipe is full: nothing is acknowledged while it is.
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), format!("They say: {}", long.trim_end()));
    let ended = event(&mut server.program, "ended");
    assert_eq!(
        (&ended["by"], &ended["unacknowledged"]),
        (&json!("me"), &Value::Null)
    );
    client.finish().exits(0);
}

/// Where stdout is for reading only, nothing would be shown and all taken.
#[test]
fn nobody_talks_through_a_stdout_that_cannot_be_written() {
    let alice = Person::new();
    let client = ["client", "127.0.0.1:1", "--accept-new", "--as", "bob"];
    for arguments in [&JSON_SERVER[..], &client] {
        let mut command = alice.turnchat(arguments);
        command.stdout(fs::File::open("/dev/null").unwrap());
        let done = Program::start_with(command).finish();
        done.fails(1, &["transcript", "standard output"]);
    }
}

/// What was stored and not taken is shown before it is given up.
#[test]
fn a_new_conversation_shows_what_the_last_one_left() {
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let mut client = bob.call(&server, &alice, &["--json"]);
    client.stdout.line_with("\"your-turn\"");
    client.send(Signal::SIGKILL);
    client.finish();
    drop(server);
    // As if it had been killed before anything was shown.
    rewrite_page(&bob, |page| {
        page["conversation"]["last_heard"] = "Hello".into()
    });

    // Where it cannot be shown, it is not given up either.
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let full = fs::File::options().write(true).open("/dev/full");
    let arguments = bob.calling(&server, &alice, &["--json", "--new"]);
    let mut failing = bob.turnchat(&arguments);
    failing
        .stdout(full.unwrap())
        .stderr(std::process::Stdio::null());
    assert_eq!(failing.status().unwrap().code(), Some(1));

    let mut client = bob.call(&server, &alice, &["--json", "--new"]);
    let told = event(&mut client, "error");
    assert!(told["what"].as_str().unwrap().contains("Gave up"), "{told}");
    assert_eq!(told["untaken"]["text"], "Hello", "{told}");
    event(&mut client, "connected");
}

/// Alice's server has stored a message of bob's, and was killed: nobody may have read it. Its
/// page is parked.
fn untaken_at(alice: &Person, bob: &Person) {
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let mut client = Program::start(json_client(bob, &server, alice));
    event(&mut server.program, "your-turn");
    server.program.say(&say("Hello"));
    event(&mut client, "your-turn");
    client.say(&say("Hi"));
    event(&mut client, "delivered");
    server.program.send(Signal::SIGKILL);
    server.program.finish();
    rewrite_page(alice, |page| page["live"] = false.into());
}

/// Changes the only page of somebody's journal.
fn rewrite_page(person: &Person, change: impl FnOnce(&mut Value)) {
    let pages = crate::harness::contents(&person.home().join("journal"));
    let path = (pages.into_keys())
        .find(|path| path.extension().is_some_and(|end| end == "record"))
        .expect("a page");
    let page = turnchat::internals::read_record(&path).expect("a whole record");
    let mut page: Value = serde_json::from_str(&page).unwrap();
    change(&mut page);
    assert!(turnchat::internals::write_record(&path, &page.to_string()));
}

/// A server tells once of what bob has said and nobody has read, and then no more.
fn is_told_of_once(alice: &Person) {
    let mut server = Server::of(alice.start(&JSON_SERVER));
    let told = event(&mut server.program, "error");
    assert_eq!(told["untaken"]["text"], "Hi", "{told}");
    assert!(
        told["what"].as_str().unwrap().contains("conversation"),
        "{told}"
    );
    server.program.without_input().finish().exits(0);
    let server = alice.run(&JSON_SERVER);
    assert!(!server.succeeds().contains("\"error\""));
}

/// A server whose peer has begun anew gives up the last message only once it is shown.
#[test]
fn what_a_server_cannot_show_is_not_given_up_with_its_conversation() {
    let (alice, bob) = (Person::new(), Person::new());
    untaken_at(&alice, &bob);
    let (server, mut reader) = with_reader(alice.turnchat(&JSON_SERVER));
    let server = Server::of(server);
    expect(&mut reader, "listening");
    close(reader);
    let mut anew = json_client(&bob, &server, &alice);
    anew.arg("--new");
    let client = Program::start(anew);
    server.program.finish().fails(1, &["standard output"]);
    drop(client);
    is_told_of_once(&alice);
}

/// Nor where it has become too old meanwhile.
#[test]
fn nor_with_a_conversation_that_is_too_old() {
    let (alice, bob) = (Person::new(), Person::new());
    untaken_at(&alice, &bob);
    rewrite_page(&alice, |page| {
        let written = page["written"].as_u64().unwrap();
        page["written"] = (written - 31 * 24 * 3_600).into();
    });
    let mut failing = alice.turnchat(&JSON_SERVER);
    failing.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    Program::start_with(failing).finish().exits(1);
    is_told_of_once(&alice);
}

/// Nor where the end itself is so old that it would be forgotten.
#[test]
fn nor_with_an_end_that_is_too_old() {
    let (alice, bob) = (Person::new(), Person::new());
    untaken_at(&alice, &bob);
    rewrite_page(&alice, |page| {
        page["conversation"]["quit"] = true.into();
        let written = page["written"].as_u64().unwrap();
        page["written"] = (written - 2 * 24 * 3_600).into();
    });
    is_told_of_once(&alice);
}
