//! Signals, and a stdout that is closed.

use nix::sys::signal::Signal;

use crate::harness::{Pair, Person, Program, Server, limited};

#[test]
fn sigterm_stops_a_server_that_waits_with_0() {
    let alice = Person::new();
    let server = alice.serve(&[]);
    server.program.send(Signal::SIGTERM);
    server.program.finish().exits(0);
}

#[test]
fn sigterm_stops_a_server_with_0_and_its_peer_sees_a_lost_link() {
    let mut pair = Pair::new(&["--first", "Hello"]);
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.stderr.line_with("Connected with");
    pair.server.program.shows("Your message: Hello");
    pair.server.program.send(Signal::SIGTERM);
    pair.server.program.finish().exits(0);
    client.say("Are you there?");
    client.finish().fails(4, &["lost"]);
}

#[test]
fn sigterm_stops_a_client_with_143_and_its_peer_sees_a_lost_link() {
    let mut pair = Pair::new(&["--once", "--first", "Hello"]);
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    client.send(Signal::SIGTERM);
    client.finish().exits(143);
    pair.server.program.shows("Your message: Hello");
    pair.server.program.finish().fails(4, &["lost"]);
}

#[test]
fn sigterm_while_waiting_stops_a_client_with_143() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let mut talking = bob.call(&server, &alice, &[]);
    talking.shows("They say: Hello");
    let mut waiting = other.call(&server, &alice, &["--json"]);
    waiting.expect("waiting");
    waiting.send(Signal::SIGTERM);
    waiting.finish().exits(143);
}

/// It neither runs dry nor has lines.
#[test]
fn an_input_without_an_end_holds_up_neither_a_signal_nor_the_end() {
    const ENDLESS: &str = "exec </dev/zero";
    let (alice, bob) = (Person::new(), Person::new());
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let call = bob.turnchat(&bob.calling(&server, &alice, &["--json"]));
    // It is a line that is too long.
    let until = |client: &mut Program, name| while client.event()["event"] != name {};
    let mut client = limited(ENDLESS, &call);
    until(&mut client, "your-turn");
    client.send(Signal::SIGTERM);
    client.finish().exits(143);

    // The server ends it.
    let mut client = limited(ENDLESS, &call);
    until(&mut client, "your-turn");
    server.program.send(Signal::SIGINT);
    until(&mut client, "ended");
    client.finish().exits(0);

    // At the end what is left is counted.
    let server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let call = bob.turnchat(&bob.calling(&server, &alice, &[]));
    let mut client = limited(ENDLESS, &call);
    client.shows("They say: Hello");
    client.finish().fails(1, &["65536"]);
    server.program.send(Signal::SIGTERM);
}

/// While its peer does not answer its `quit`.
#[test]
fn after_ctrl_c_a_server_sends_away_who_waits_and_who_comes() {
    let (alice, bob, other) = (Person::new(), Person::new(), Person::new());
    let mut server = alice.serve(&["--allow-anyone", "--first", "Hello"]);
    let mut talking = bob.call(&server, &alice, &[]);
    talking.shows("They say: Hello");
    let mut waiting = other.call(&server, &alice, &["--json"]);
    waiting.expect("waiting");
    talking.freezes();
    server.program.send(Signal::SIGINT);
    assert_eq!(waiting.expect("error")["what"], "The server is stopping.");
    let mut late = other.call(&server, &alice, &["--json"]);
    assert_eq!(late.expect("error")["what"], "The server is stopping.");
    assert!(server.program.is_running());
    talking.send(Signal::SIGCONT);
    server.program.finish().exits(130);
}

#[test]
fn ctrl_c_ends_the_conversation_politely_whoever_has_the_turn() {
    for is_server in [true, false] {
        for has_turn in [true, false] {
            let mut pair = Pair::new(&["--once"]);
            let mut client = pair.client(&[]);
            pair.server.program.say("Hello");
            client.shows("They say: Hello");
            pair.server.program.shows("Your message: Hello");
            if is_server == has_turn {
                client.say("Hi");
                client.shows("Your message: Hi");
                pair.server.program.shows("They say: Hi");
            }
            let Server { program, .. } = pair.server;
            let (stops, stays) = match is_server {
                true => (program, client),
                false => (client, program),
            };
            stops.send(Signal::SIGINT);
            stops.finish().exits(130);
            stays.finish().exits(0);
        }
    }
}

#[test]
fn ctrl_c_stops_a_server_that_waits_with_130() {
    let alice = Person::new();
    let server = alice.serve(&[]);
    server.program.send(Signal::SIGINT);
    server.program.finish().exits(130);
}

#[test]
fn ctrl_c_stops_a_server_also_without_once() {
    let mut pair = Pair::new(&["--first", "Hello"]);
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    pair.server.program.shows("Your message: Hello");
    pair.server.program.send(Signal::SIGINT);
    pair.server.program.finish().exits(130);
    client.finish().exits(0);
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let mut pair = Pair::new(&["--first", "Hello"]);
    let mut client = pair.client(&[]);
    client.shows("They say: Hello");
    pair.server.program.shows("Your message: Hello");
    pair.server.program.freezes();
    // Two that come together count as one, so there are more; the program ends
    // long before its `quit` is given up.
    while client.is_running() {
        client.send(Signal::SIGINT);
        std::thread::yield_now();
    }
    let done = client.finish();
    done.exits(130);
    assert!(!done.stderr.contains("did not acknowledge"), "{done:?}");
}
