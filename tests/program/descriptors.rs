//! A server with few descriptors, and one that has to say that they are too few.

use std::net::TcpStream;
use std::process::Command;

use crate::harness::{Person, Program, Server};

const SERVING: [&str; 5] = [
    "server",
    "--listen",
    "127.0.0.1:0",
    "--allow-anyone",
    "--json",
];

/// The command, with so many descriptors.
fn with_descriptors(command: &Command, many: u32) -> Program {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!(r#"ulimit -n {many}; exec "$0" "$@""#)]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.expect("a value"));
    }
    Program::start(shell)
}

#[test]
fn idle_strangers_take_no_descriptor_from_the_journal() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(with_descriptors(&alice.turnchat(&SERVING), 32));
    let idle = |_| TcpStream::connect(&server.address).unwrap();
    let before: Vec<_> = (0..60).map(idle).collect();
    let mut client = bob.start(&["client", &server.address, "--pin", &alice.key(), "--json"]);
    server.program.stdout.line_with("\"your-turn\"");
    let after: Vec<_> = (0..60).map(idle).collect();
    for turn in 1..=3 {
        server.program.say("{\"say\":{\"text\":\"Hello\"}}");
        client.stdout.line_with("\"your-turn\"");
        client.say("{\"say\":{\"text\":\"Hi\"}}");
        let yours = server.program.stdout.line_with("\"your-turn\"");
        assert!(
            yours.contains(&format!("\"turn\":{}", 2 * turn + 1)),
            "{yours}"
        );
    }
    client.say("{\"quit\":{}}");
    client.finish().exits(0);
    drop((before, after));
    server.program.end_input();
    server.program.finish().exits(0);
}

#[test]
fn a_server_with_too_few_descriptors_says_so() {
    let alice = Person::new();
    for many in [16, 24] {
        with_descriptors(&alice.turnchat(&SERVING), many)
            .finish()
            .fails(1, &[&format!("open {many} files"), "ulimit -n"]);
    }
}
