//! Programs that talk, with `--exec`: on either side, well-behaved or not.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Finished, Pair, Person, Program, Server, say, utf8};
use crate::parked::stands;

/// A server whose conversations are this script's, after a first message.
fn serving(options: &[&str], script: &str) -> Pair {
    let mut arguments = options.to_vec();
    arguments.extend(["--exec", "/bin/sh", "-c", script]);
    Pair::new(&arguments)
}

/// The same that says `Hello` first.
fn greeting(script: &str) -> Pair {
    serving(&["--first", "Hello"], script)
}

/// One that says `Hello` first, and what the program sees.
fn calls_once(script: &str) -> (Finished, Finished) {
    let mut pair = serving(&["--first", "Hello", "--once"], script);
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.say("one");
    pair.server.program.end_input();
    (pair.server.program.finish(), client.finish())
}

/// The number that a script has printed as `pid NUMBER`.
fn pid(program: &mut Program) -> Pid {
    let line = program.stderr.line_with("]: pid ");
    let number = line.rsplit(' ').next().unwrap();
    Pid::from_raw(number.parse().unwrap())
}

/// Waits until there is no such process.
#[track_caller]
fn ends(pid: Pid, of: &Program) {
    while kill(pid, None) != Err(Errno::ESRCH) && !is_zombie(pid) {
        assert!(!of.stderr.is_overdue(), "{pid} is left behind");
        thread::yield_now();
    }
}

/// Whether it has ended, and nobody has asked how: not all systems have somebody for orphans.
fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| rest.starts_with('Z'))
}

#[test]
fn a_program_gets_each_message_as_a_line_and_answers_with_a_line() {
    let pair = greeting("cat");
    let mut client = pair.client(&["--null"]);
    client.shows("They say: Hello");
    for (said, heard) in [
        ("one", "one"),
        ("é 漢 \u{1b}", "é 漢 \\u{1b}"),
        ("two\nlines", "two lines"),
        // A program may take more than a line feed for the end of a line.
        ("two\u{2028}lines\u{b}or three", "two lines or three"),
        ("\\QUIT", "QUIT"),
        ("", ""),
    ] {
        client.write(format!("{said}\0").as_bytes());
        client.stdout.line_with("Your message: ");
        if said.contains('\n') {
            client.shows("    lines");
        }
        client.shows(&format!("They say: {heard}"));
    }
    client.end_input();
    client.finish().exits(0);
    pair.server.program.send(Signal::SIGTERM);
    let done = pair.server.program.finish();
    assert_eq!(done.succeeds(), "", "stdout is the transcript's");
}

#[test]
fn it_knows_with_whom_it_talks() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let script =
        r#"echo "$TURNCHAT_PEER $TURNCHAT_KEY $TURNCHAT_ROLE $TURNCHAT_CONVERSATION"; cat"#;
    let server = alice.serve(&["--exec", "/bin/sh", "-c", script]);
    let mut client = bob.call(&server, &alice, &["--json"]);
    let conversation = client.expect("connected")["conversation"].clone();
    let said = client.expect("turn");
    let conversation = conversation.as_str().unwrap();
    let expected = format!("bob {} server {conversation}", bob.key());
    assert_eq!(said["text"], expected);
}

#[test]
fn each_of_many_conversations_has_a_program_of_its_own() {
    let (alice, bob, carol) = (Person::new(), Person::new(), Person::new());
    let mut server = alice.serve(&[
        "--allow-anyone",
        "--first",
        "Hello",
        "--exec",
        "/bin/sh",
        "-c",
        r#"while read -r line; do echo "$$ $line"; done"#,
    ]);
    // As under systemd, nothing is to be read.
    server.program.end_input();
    let mut clients: Vec<_> = [&bob, &carol, &bob]
        .map(|person| person.call(&server, &alice, &[]))
        .into();
    let mut programs = BTreeSet::new();
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.stdout.line_with("They say: ");
            client.say(&format!("{number} {round}"));
            client.shows(&format!("Your message: {number} {round}"));
        }
    }
    for (number, mut client) in clients.into_iter().enumerate() {
        let last = client.stdout.line_with("They say: ");
        let [.., program, of, round] = last.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{last}");
        };
        assert_eq!((of, round), (number.to_string().as_str(), "2"));
        programs.insert(program.to_owned());
        client.say("QUIT");
        client.finish().exits(0);
    }
    assert_eq!(programs.len(), 3);
}

#[test]
fn both_sides_may_be_programs() {
    let script = r#"
        [ $TURNCHAT_ROLE = client ] || echo 0
        while read -r n; do [ "$n" -lt 50 ] || exit 0; echo $((n + 1)); done"#;
    let pair = serving(&["--once"], script);
    let mut client = pair.client(&["--exec", "/bin/sh", "-c", script]);
    client.end_input();
    let done = client.finish();
    assert_eq!(done.stdout, "");
    done.exits(0);
    pair.server.program.finish().exits(0);
}

#[test]
fn a_program_that_ends_well_quits() {
    let (server, client) = calls_once("read -r line; echo \"$line, bye\"");
    assert_eq!(
        client.stdout,
        "They say: Hello\nYour message: one\nThey say: one, bye\n"
    );
    client.exits(0);
    server.exits(0);
}

#[test]
fn what_it_says_beforehand_is_said_in_its_turns() {
    let mut pair = serving(&[], "echo a; echo b; echo c; cat >/dev/null");
    let mut client = pair.client(&[]);
    for said in ["a", "b", "c"] {
        client.shows(&format!("They say: {said}"));
        client.say("next");
        client.shows("Your message: next");
    }
    client.send(Signal::SIGINT);
    client.finish().exits(130);
    assert!(pair.server.program.is_running());
}

#[test]
fn a_program_that_fails_is_a_reader_that_fails() {
    for (script, words) in [
        (
            "read -r line; exit 3",
            ["sh has ended with status 3", "standard error"],
        ),
        (
            "read -r line; kill -9 $$",
            ["sh was ended by SIGKILL", "standard error"],
        ),
        (
            "exec <&-; while kill -0 $PPID; do sleep 0.01; done",
            ["closed its standard input", "read each message"],
        ),
        (
            "read -r line; exec >&-; while kill -0 $PPID; do sleep 0.01; done",
            ["closed its standard output", "status 0"],
        ),
    ] {
        let (server, client) = calls_once(script);
        server.fails(1, &words);
        client.fails(4, &["failed"]);
    }
}

#[test]
fn a_line_that_cannot_be_sent_ends_the_conversation_and_is_named() {
    for (script, words) in [
        (
            "head -c 65537 /dev/zero | tr '\\0' x; echo; cat",
            "more than 65536 bytes",
        ),
        ("printf '\\377\\n'; cat", "not UTF-8"),
    ] {
        let pair = serving(&["--once"], script);
        let client = pair.client(&[]);
        pair.server.program.finish().fails(1, &[words]);
        client.finish().exits(0);
    }
}

#[test]
fn a_program_that_never_answers_is_ended_by_the_time_of_a_turn() {
    let mut pair = serving(
        &["--once", "--first", "Hello", "--turn-timeout", "300ms"],
        "echo \"pid $$\" >&2; while read -r line; do :; done",
    );
    let client = pair.client(&[]);
    client.say("one");
    let program = pid(&mut pair.server.program);
    client.finish().exits(0);
    ends(program, &pair.server.program);
    pair.server
        .program
        .finish()
        .fails(1, &["your turn took too long", "--turn-timeout"]);
}

#[test]
fn who_never_answers_a_program_is_ended_too_and_the_server_goes_on() {
    let mut pair = serving(&["--first", "Hello", "--turn-timeout", "300ms"], "cat");
    for _ in 0..2 {
        let mut client = pair.client(&[]);
        client.shows("They say: Hello");
        client.finish().exits(0);
        pair.server.program.stderr.line_with("took too long");
    }
    assert!(pair.server.program.is_running());
}

/// Its program does not learn it from the end of its input.
#[test]
fn a_message_that_may_not_have_arrived_is_named_by_a_server_of_many() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let go = alice.path("go");
    let script = format!(
        "read line; until test -e '{}'; do sleep 0.01; done; echo answer; cat > /dev/null",
        utf8(&go)
    );
    let exec = ["--exec", "/bin/sh", "-c", &script];
    let mut server = alice.serve(&[&["--first", "Hello", "--journal"][..], &exec].concat());
    let mut client = bob.call(&server, &alice, &["--json"]);
    client.stdout.line_with("\"your-turn\"");
    client.say(&say("go"));
    client.expect("turn");
    client.expect("delivered");
    client.freezes();
    fs::write(&go, "").unwrap();
    stands(&mut server.program, &alice, "last_said", &"answer".into());
    drop(client);
    let line = server.program.stderr.line_with("With bob: ");
    assert!(line.contains("turn 3 was not acknowledged"), "{line}");
}

#[test]
fn a_program_that_writes_without_end_is_ended_with_the_conversation() {
    let mut pair = serving(&["--first", "Hello"], "echo \"pid $$\" >&2; exec yes");
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    let program = pid(&mut pair.server.program);
    client.say("one");
    client.shows("Your message: one");
    client.shows("They say: y");
    client.say("QUIT");
    client.finish().exits(0);
    ends(program, &pair.server.program);
}

#[test]
fn what_it_has_started_ends_with_it() {
    let script = r#"sleep 1000 & echo "pid $!" >&2; cat"#;
    // At the end of the conversation, by the peer.
    let mut pair = greeting(script);
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    let child = pid(&mut pair.server.program);
    client.say("QUIT");
    client.finish().exits(0);
    ends(child, &pair.server.program);
    // At SIGTERM, at Ctrl-C and at a second one.
    for (signals, code) in [(&[Signal::SIGTERM][..], 0), (&[Signal::SIGINT], 130)] {
        let mut pair = greeting(script);
        let _client = pair.client(&[]);
        let child = pid(&mut pair.server.program);
        for signal in signals {
            pair.server.program.send(*signal);
        }
        let server = pair.server.program;
        ends(child, &server);
        server.finish().exits(code);
    }
}

#[test]
fn leaving_at_once_leaves_nobody_behind() {
    let mut pair = greeting(r#"trap "" TERM; sleep 1000 & echo "pid $!" >&2; cat"#);
    let client = pair.client(&[]);
    let child = pid(&mut pair.server.program);
    // It does not hear the goodbye, which is waited for.
    client.freezes();
    pair.server.program.send(Signal::SIGINT);
    pair.server.program.stderr.line_with("Saying goodbye");
    pair.server.program.send(Signal::SIGINT);
    ends(child, &client);
    pair.server.program.finish().exits(130);
}

#[test]
fn a_program_that_ends_leaves_nobody_behind() {
    let mut pair = greeting(r#"sleep 1000 & echo "pid $!" >&2; read -r line; exit 3"#);
    let client = pair.client(&[]);
    client.say("one");
    let child = pid(&mut pair.server.program);
    client.finish().exits(4);
    ends(child, &pair.server.program);
}

#[test]
fn if_we_are_killed_the_program_sees_the_end_of_its_input() {
    let mut pair = greeting(r#"echo "pid $$" >&2; exec cat"#);
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    let program = pid(&mut pair.server.program);
    pair.server.program.send(Signal::SIGKILL);
    ends(program, &client);
}

#[test]
fn a_program_that_cannot_be_started_is_told_before_anybody_is_called() {
    let alice = Person::new();
    fs::write(alice.path("plain"), "echo").unwrap();
    for (program, words) in [
        (
            "no-such-program",
            ["no-such-program cannot be started", "$PATH"],
        ),
        (
            "./plain",
            [
                "program ./plain cannot be started: Permission denied",
                "chmod +x",
            ],
        ),
        ("/", ["cannot be started", "--exec"]),
    ] {
        for command in [
            &["client", "127.0.0.1:1", "--exec"][..],
            &["server", "--exec"],
        ] {
            let mut arguments = command.to_vec();
            arguments.push(program);
            alice.run(&arguments).fails(1, &words);
        }
    }
}

#[test]
fn a_program_that_does_not_start_costs_one_conversation() {
    let (alice, bob) = (Person::new(), Person::new());
    let script = alice.path("script");
    let write = |words: &str| {
        fs::write(&script, words).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("no interpreter\n");
    let mut server = alice.serve(&["--allow", &bob.key(), "--exec", "./script"]);
    bob.call(&server, &alice, &[])
        .finish()
        .fails(4, &["failed"]);
    server.program.stderr.line_with("script cannot be started");
    let advice = server.program.stderr.line();
    assert!(advice.contains("#!/bin/sh"), "{advice}");
    write("#!/bin/sh\necho mended; cat\n");
    let mut client = bob.call(&server, &alice, &[]);
    client.shows("They say: mended");
}

#[test]
fn what_it_says_on_stderr_is_passed_on_and_harms_nobody() {
    let mut pair = greeting(r"printf '\033[2Jone\ntwo\n\377' >&2; cat");
    let _client = pair.client(&[]);
    let one = pair.server.program.stderr.line_with("one");
    assert!(one.starts_with("turnchat: sh["), "{one}");
    assert!(one.ends_with(r"]: \u{1b}[2Jone"), "{one}");
    let two = pair.server.program.stderr.line();
    assert!(two.ends_with("]: two"), "{two}");
}

#[test]
fn a_program_that_says_much_on_stderr_holds_up_nobody() {
    let script = "[ $TURNCHAT_PEER = bob ] || yes 'what a day' >&2 & exec cat";
    let (alice, bob, carol) = (Person::new(), Person::new(), Person::new());
    alice.knows("bob", &bob);
    alice.knows("carol", &carol);
    let mut arguments = vec!["server", "--listen", "127.0.0.1:0"];
    arguments.extend(["--first", "Hello", "--exec", "/bin/sh", "-c", script]);
    let (mut stderr, unread) = std::io::pipe().unwrap();
    let full = unread.try_clone().unwrap();
    let mut command = alice.turnchat(&arguments);
    command.stderr(unread).stdin(std::process::Stdio::null());
    let mut server = command.spawn().unwrap();
    drop(command);
    // Up to its address; then nobody reads any more.
    let mut told = Vec::new();
    let address = loop {
        let mut byte = [0];
        stderr.read_exact(&mut byte).unwrap();
        told.extend(byte);
        let told = String::from_utf8_lossy(&told);
        let line = told.strip_suffix('\n').and_then(|it| it.lines().last());
        if let Some(address) = line.and_then(|it| it.strip_prefix("Listening on ")) {
            break address.to_owned();
        }
    };
    let call = |person: &Person| {
        let pin = alice.key();
        let mut client = person.start(&["client", &address, "--pin", &pin]);
        client.shows("They say: Hello");
        for words in ["one", "two"] {
            client.say(words);
            client.shows(&format!("Your message: {words}"));
            client.shows(&format!("They say: {words}"));
        }
        client
    };
    let _flooding = call(&carol);
    let _quiet = call(&bob);
    let has_room = || {
        let mut polled = [PollFd::new(full.as_fd(), PollFlags::POLLOUT)];
        poll(&mut polled, PollTimeout::ZERO).unwrap() > 0
    };
    while has_room() {
        thread::yield_now();
    }
    // That a stranger was refused finds no reader, and neither does the goodbye.
    let pin = alice.key();
    let stranger = Person::new().start(&["client", &address, "--pin", &pin]);
    stranger.finish().fails(3, &["does not know your key"]);
    let _again = call(&bob);
    let id = Pid::from_raw(server.id().try_into().unwrap());
    kill(id, Signal::SIGTERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn who_is_stopped_and_keeps_no_journal_says_goodbye() {
    for (options, ends) in [(&[][..], true), (&["--journal"], false)] {
        let (alice, bob) = (Person::new(), Person::new());
        let certificate = bob.certificate();
        let mut arguments = vec!["server", "--listen", "127.0.0.1:0", "--allow", &certificate];
        arguments.extend(options);
        arguments.extend(["--first", "Hello", "--exec", "/bin/cat"]);
        let server = Server::of(alice.start(&arguments));
        let mut client = bob.call(&server, &alice, &[]);
        client.shows("They say: Hello");
        server.program.send(Signal::SIGTERM);
        server.program.finish().exits(0);
        let done = client.finish();
        match ends {
            true => done.exits(0),
            // Without a hold it does not wait for the next start.
            false => done.exits(4),
        }
    }
}

#[test]
fn a_key_has_a_quarter_of_the_conversations() {
    let mut pair = serving(&["--conversations", "4", "--first", "Hello"], "cat");
    let mut first = pair.client(&[]);
    first.shows("They say: Hello");
    pair.client(&[]).finish().fails(6, &["busy"]);
    first.say("QUIT");
    first.finish().exits(0);
    let mut second = pair.client(&[]);
    second.shows("They say: Hello");
    assert!(pair.server.program.is_running());
}

#[test]
fn who_finds_no_place_waits_in_the_queue() {
    let (alice, bob, carol) = (Person::new(), Person::new(), Person::new());
    let mut server = alice.serve(&[
        "--allow-anyone",
        "--conversations",
        "1",
        "--first",
        "Hello",
        "--exec",
        "/bin/cat",
    ]);
    server.program.end_input();
    let mut first = bob.call(&server, &alice, &[]);
    first.shows("They say: Hello");
    let mut second = carol.call(&server, &alice, &[]);
    second
        .stderr
        .line_with("you are next, once your peer is ready");
    first.say("QUIT");
    second.shows("They say: Hello");
}

#[test]
fn whoever_was_cut_makes_room() {
    let (alice, bob, carol) = (Person::new(), Person::new(), Person::new());
    let arguments = [
        "server",
        "--listen",
        "127.0.0.1:0",
        "--allow-anyone",
        "--conversations",
        "1",
        "--first",
        "Hello",
        "--exec",
        "/bin/cat",
    ];
    let mut server = Server::of(alice.start(&arguments));
    server.program.end_input();
    let mut first = bob.call(&server, &alice, &[]);
    first.shows("They say: Hello");
    first.send(Signal::SIGKILL);
    drop(first);
    let mut second = carol.call(&server, &alice, &[]);
    second.shows("They say: Hello");
    second.say("one");
    second.shows("Your message: one");
    second.shows("They say: one");
}

#[test]
fn with_json_it_gets_events_and_gives_commands() {
    let (alice, bob) = (Person::new(), Person::new());
    let bot = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/bot.py");
    let log = alice.path("log");
    let script = format!("tee -a {} | /usr/bin/python3 {bot}", log.display());
    let server = alice.serve(&[
        "--allow",
        &bob.key(),
        "--json",
        "--exec",
        "/bin/sh",
        "-c",
        &script,
    ]);
    let mut client = bob.call(&server, &alice, &[]);
    client.shows("They say: Speak, and I repeat it.");
    client.say("two");
    client.shows("Your message: two");
    client.shows("They say: You said: two");
    client.say("QUIT");
    client.finish().exits(0);
    let events = || -> Vec<String> {
        let log = fs::read_to_string(&log).unwrap_or_default();
        let events = log.lines().filter_map(|line| {
            let event: Value = serde_json::from_str(line).ok()?;
            Some(event["event"].as_str()?.to_owned())
        });
        events.collect()
    };
    while events().last().map(String::as_str) != Some("ended") {
        assert!(!server.program.stderr.is_overdue(), "{:?}", events());
        thread::yield_now();
    }
    let events = events();
    let told: BTreeSet<_> = events.iter().map(String::as_str).collect();
    assert_eq!(
        told,
        BTreeSet::from(["connected", "delivered", "ended", "turn", "your-turn"])
    );
    assert_eq!(events[0], "connected");
    assert!(!events.contains(&"listening".to_owned()));
}

#[test]
fn with_json_the_end_of_the_program_is_quit_at_once() {
    let script = r#"read -r connected; read -r yours
        echo '{"say":{"text":"Hello"}}'; read -r turn; exit 0"#;
    let pair = serving(&["--once", "--json"], script);
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.finish().exits(0);
    pair.server.program.finish().exits(0);
}

#[test]
fn nothing_is_left_after_many_conversations() {
    let mut pair = greeting("cat");
    let open = |id: u32| {
        let dir = format!("/proc/{id}/fd");
        Path::new(&dir)
            .is_dir()
            .then(|| fs::read_dir(&dir).unwrap().count())
    };
    let mut before = None;
    for round in 0..12 {
        let mut client = pair.client(&[]);
        client.shows("They say: Hello");
        client.say("one");
        client.shows("Your message: one");
        client.shows("They say: one");
        client.say("QUIT");
        client.finish().exits(0);
        if round == 1 {
            before = open(pair.server.program.id());
        }
    }
    let is_back = |now: Option<usize>| now <= before.map(|before| before + 8);
    while !is_back(open(pair.server.program.id())) {
        assert!(pair.server.program.is_running());
        thread::yield_now();
    }
}

#[test]
fn what_does_not_go_together_is_misuse() {
    let alice = Person::new();
    for (arguments, words) in [
        (&["server", "--conversations", "2"][..], "--exec"),
        (
            &["server", "--conversations", "0", "--exec", "cat"],
            "no conversation",
        ),
        (
            &["server", "--once", "--conversations", "2", "--exec", "cat"],
            "--once",
        ),
        (&["server", "--null", "--exec", "cat"], "--null"),
        (&["client", "alice", "--pair", "--exec", "cat"], "--pair"),
        (&["client", "alice", "--turn-timeout", "0s"], "no limit"),
        (&["client", "alice", "--bell", "--exec", "cat"], "--bell"),
        (&["client", "alice", "--exec"], "--exec"),
        (&["client", "--exec", "cat", "alice"], "PEER"),
    ] {
        alice.run(arguments).misuses(&[words]);
    }
}
