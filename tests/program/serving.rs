//! A server between conversations: reading ahead, the queue, `--once` and
//! `--first`.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Pair, Person, Program};

#[test]
fn the_end_of_input_after_a_conversation_stops_the_server() {
    let mut pair = Pair::new(&[]);
    pair.server.program.say("Hello");
    pair.server.program.end_input();
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.say("QUIT");
    client.finish().exits(0);
    assert_eq!(
        pair.server.program.finish().succeeds(),
        "Your message: Hello\n"
    );
}

#[test]
fn a_line_found_after_a_conversation_is_the_first_message_of_the_next() {
    let mut pair = Pair::new(&[]);
    pair.server
        .program
        .write(b"For the first\nFor the second\n");
    for words in ["For the first", "For the second"] {
        let mut client = pair.client(&[]);
        client.shows(&format!("They say: {words}"));
        client.say("QUIT");
        client.finish().exits(0);
        // Shown when it is said, not when it is read.
        pair.server.program.shows(&format!("Your message: {words}"));
        pair.server.program.stderr.line_with("has ended");
    }
}

#[test]
fn a_quit_left_over_from_a_conversation_is_not_the_end_of_input() {
    let mut pair = Pair::new(&[]);
    pair.server.program.write(b"Hello\nQUIT\nHello again\n");
    for words in ["Hello", "Hello again"] {
        let mut client = pair.client(&[]);
        client.shows(&format!("They say: {words}"));
        client.say("QUIT");
        client.finish().exits(0);
        pair.server.program.shows(&format!("Your message: {words}"));
    }
}

#[test]
fn a_server_without_input_still_serves_its_first_client() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = alice.serve(&["--allow", &bob.key(), "--first", "Hello"]);
    server.program.end_input();
    let mut client = bob.call(&server, &alice, &[]);
    client.shows("They say: Hello");
    client.say("Anybody?");
    client.finish().exits(0);
    assert_eq!(
        server.program.finish().succeeds(),
        "Your message: Hello\nThey say: Anybody?\n"
    );
}

#[test]
fn a_server_that_stops_for_the_end_of_its_input_says_so() {
    for arguments in [&["--json"][..], &["--json", "--first", "Hello"]] {
        let alice = Person::new();
        let done = alice.serve(arguments).program.without_input().finish();
        assert!(done.stderr.contains("Standard input has ended"), "{done:?}");
        assert_eq!(done.succeeds().lines().count(), 1);
    }

    let mut pair = Pair::new(&["--first", "Hello"]);
    pair.server.program.end_input();
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.say("QUIT");
    pair.server
        .program
        .stderr
        .line_with("Standard input has ended");
    pair.server.program.finish().exits(0);
}

#[test]
fn the_first_message_is_said_before_the_pipe_is_asked() {
    let mut pair = Pair::new(&["--first", "Welcome"]);
    pair.server.program.say("From the pipe");
    let mut client = pair.client(&[]);
    client.shows("They say: Welcome");
    client.say("Thanks");
    client.shows("Your message: Thanks");
    client.shows("They say: From the pipe");
    client.say("QUIT");
    client.finish().exits(0);
    // In every conversation.
    let mut next = pair.client(&[]);
    next.shows("They say: Welcome");
    for line in [
        "Your message: Welcome",
        "They say: Thanks",
        "Your message: From the pipe",
        "Your message: Welcome",
    ] {
        pair.server.program.shows(line);
    }
}

#[test]
fn once_holds_one_conversation_and_exits_with_its_code() {
    for (answer, then) in [("QUIT", ""), ("Bye", "They say: Bye\nYour message: QUIT\n")] {
        let pair = Pair::new(&["--once"]);
        pair.server.program.write(b"Hello\nQUIT\n");
        let client = pair.client(&[]);
        client.say(answer);
        client.finish().exits(0);
        let done = pair.server.program.finish();
        assert_eq!(done.succeeds(), format!("Your message: Hello\n{then}"));
    }
}

#[test]
fn once_exits_with_4_where_the_link_was_lost() {
    let mut pair = Pair::new(&["--once", "--first", "Hello"]);
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.send(Signal::SIGKILL);
    pair.server.program.shows("Your message: Hello");
    let words = ["lost", "The client runs the same command again"];
    pair.server.program.finish().fails(4, &words);
    assert_eq!(client.finish().code, None);
}

#[test]
fn once_does_not_count_who_was_refused() {
    let (pair, other) = (Pair::new(&["--once"]), Person::new());
    let refused = other.call(&pair.server, &pair.alice, &[]).finish();
    refused.fails(3, &["does not know your key"]);
    pair.server.program.say("Hello");
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.say("QUIT");
    client.finish().exits(0);
    pair.server.program.finish().exits(0);
}

#[test]
fn the_second_client_waits_and_then_has_its_turn() {
    let (alice, bob, other, third) = (Person::new(), Person::new(), Person::new(), Person::new());
    let mut server = alice.serve(&["--allow-anyone"]);
    let mut talking = bob.call(&server, &alice, &[]);
    server.program.say("Hello, first");
    talking.shows("They say: Hello, first");

    let mut second = other.call(&server, &alice, &["--json"]);
    assert_eq!(second.expect("waiting")["ahead"], 0);
    let mut third = third.call(&server, &alice, &["--json"]);
    assert_eq!(third.expect("waiting")["ahead"], 1);

    talking.say("QUIT");
    talking.finish().exits(0);
    second.expect("connected");
    assert_eq!(third.expect("waiting")["ahead"], 0);
    server.program.say("Hello, second");
    assert_eq!(second.expect("turn")["text"], "Hello, second");
    assert_eq!(second.expect("your-turn")["turn"], 2);
    second.say("{\"quit\":{}}");
    second.expect("ended");
    second.finish().exits(0);

    third.expect("connected");
    server.program.say("Hello, third");
    assert_eq!(third.expect("turn")["text"], "Hello, third");
    for words in ["Hello, first", "Hello, second", "Hello, third"] {
        server.program.shows(&format!("Your message: {words}"));
    }
}

#[test]
fn a_client_that_waits_is_told_so_in_words_and_may_leave() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    let mut server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let mut talking = bob.call(&server, &alice, &[]);
    talking.shows("They say: Hello");
    let mut waiting = other.call(&server, &alice, &[]);
    waiting
        .stderr
        .line_with("you are next, once your peer is ready");
    waiting.send(Signal::SIGINT);
    waiting.finish().exits(130);
    // Nobody else has noticed.
    talking.say("Hi");
    server.program.shows("Your message: Hello");
    server.program.shows("They say: Hi");
}

#[test]
fn where_the_queue_is_full_the_server_is_busy() {
    let (alice, bob, other, third) = (Person::new(), Person::new(), Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--queue", "1", "--first", "Hello"]);
    let mut talking = bob.call(&server, &alice, &[]);
    talking.shows("They say: Hello");
    let mut queued = other.call(&server, &alice, &["--json"]);
    queued.expect("waiting");
    let refused = third.call(&server, &alice, &[]).finish();
    refused.fails(6, &["busy", "later"]);
    assert_eq!(refused.stdout, "");
    talking.say("QUIT");
    queued.expect("connected");
}

#[test]
fn a_client_that_was_sent_a_message_and_left_is_told_of_once() {
    let mut pair = Pair::new(&["--first", "Hello"]);
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.send(Signal::SIGKILL);
    pair.server.program.stderr.line_with("connection was lost");
    // The server goes on.
    let mut next = pair.client(&[]);
    next.shows("They say: Hello");
    next.say("QUIT");
    next.finish().exits(0);
}

#[test]
fn the_same_key_again_takes_the_place_of_its_older_conversation() {
    let mut pair = Pair::new(&["--first", "Hello"]);
    let mut older = pair.client(&["--json"]);
    older.stdout.line_with("your-turn");
    let mut newer = pair.client(&[]);
    newer.shows("They say: Hello");
    let ended: serde_json::Value =
        serde_json::from_str(&older.stdout.line_with("\"ended\"")).unwrap();
    assert_eq!(ended["by"], "peer");
    older.finish().exits(0);
    pair.server.program.shows("Your message: Hello");
}

#[test]
fn a_line_read_ahead_that_cannot_be_said_stops_the_server() {
    let mut pair = Pair::new(&[]);
    pair.server.program.write(b"Hello\n\xff\n");
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.say("QUIT");
    client.finish().exits(0);
    pair.server.program.shows("Your message: Hello");
    pair.server.program.finish().fails(1, &["UTF-8"]);
}

#[test]
fn the_message_of_a_server_says_what_its_peer_runs() {
    let alice = Person::new();
    let mut server = alice.serve(&[]);
    let line = server.program.stderr.line();
    let expected = format!(
        "Your peer runs: turnchat client {} --pin {}",
        server.address,
        alice.key()
    );
    assert_eq!(line, expected);
}

/// In a network of its own, where the system allows that: it has no way out.
fn in_own_network(alice: &Person, addresses: &str, arguments: &[&str]) -> Option<Program> {
    let may = Command::new("unshare").args(["-n", "true"]).output();
    if !may.is_ok_and(|done| done.status.success()) {
        return None;
    }
    let command = alice.turnchat(arguments);
    let script = format!("ip link set lo up; {addresses} exec \"$0\" \"$@\"");
    let mut apart = Command::new("unshare");
    apart
        .args(["-n", "sh", "-c", &script])
        .arg(command.get_program());
    apart.args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        apart.env(name, value.expect("a value"));
    }
    apart.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Some(Program::start(apart))
}

#[test]
fn a_peer_is_told_the_addresses_of_the_machine() {
    let alice = Person::new();
    let listening = ["server", "--listen", "0.0.0.0:8876"];
    let lo = "ip addr add 192.0.2.7/32 dev lo; ip addr add 192.0.2.8/32 dev lo;";
    let Some(mut server) = in_own_network(&alice, lo, &listening) else {
        return;
    };
    let told = server.stderr.line_with("Your peer runs: ");
    assert_eq!(
        told,
        format!(
            "Your peer runs: turnchat client 192.0.2.7 --pin {}",
            alice.key()
        )
    );
    let others = server.stderr.line_with("may also dial");
    assert!(
        others.contains("192.0.2.8, ") && !others.contains("127."),
        "{others}"
    );
}

#[test]
fn an_address_on_one_link_needs_that_link() {
    let alice = Person::new();
    let key = alice.key();
    for arguments in [
        &["client", "fe80::1", "--pin", &key][..],
        &["client", "[fe80::1]:9000", "--pin", &key],
        &["server", "--listen", "[fe80::1]:0"],
    ] {
        alice
            .run(arguments)
            .fails(2, &["The address fe80::1", "on which", "fe80::1%"]);
    }
}
