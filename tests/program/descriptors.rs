//! A server with few descriptors, and one that has to say that they are too few.

use std::net::TcpStream;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit};

use crate::harness::{JSON_SERVER, Person, Program, Server, json_client, limited, say};

/// The command, with so many descriptors.
fn with_descriptors(command: &Command, many: u32) -> Program {
    limited(&format!("ulimit -n {many}"), command)
}

#[test]
fn idle_strangers_take_no_descriptor_from_the_journal() {
    let (alice, bob) = (Person::new(), Person::new());
    let mut server = Server::of(with_descriptors(&alice.turnchat(&JSON_SERVER), 32));
    let idle = |_| TcpStream::connect(&server.address).unwrap();
    let before: Vec<_> = (0..60).map(idle).collect();
    let mut client = Program::start(json_client(&bob, &server, &alice));
    server.program.stdout.line_with("\"your-turn\"");
    let after: Vec<_> = (0..60).map(idle).collect();
    for turn in 1..=3 {
        server.program.say(&say("Hello"));
        client.stdout.line_with("\"your-turn\"");
        client.say(&say("Hi"));
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

/// Six for each conversation: here more than 10,240, which is all that macOS allows.
#[test]
#[cfg(target_os = "linux")]
fn a_server_takes_as_many_descriptors_as_it_may() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let hard = hard.min(1 << 20);
    let alice = Person::new();
    let many = (hard / 7).to_string();
    let arguments = ["server", "--listen", "127.0.0.1:0", "--conversations"];
    let arguments = [&arguments[..], &[&many, "--exec", "cat"]].concat();
    let few = limited("ulimit -S -n 256", &alice.turnchat(&arguments));
    let server = Server::of(few);
    let limits = format!("/proc/{}/limits", server.program.id());
    let limits = std::fs::read_to_string(limits).unwrap();
    let files = limits.lines().find(|it| it.starts_with("Max open files"));
    let soft = files.and_then(|it| it.split_whitespace().nth(3)).unwrap();
    assert_eq!(soft, hard.to_string());
}

#[test]
fn whoever_has_too_few_descriptors_says_so() {
    let alice = Person::new();
    let client = ["client", "127.0.0.1:1", "--accept-new", "--as", "bob"];
    let commands = [
        (&JSON_SERVER[..], vec![8, 16, 24]),
        (&client, vec![7, 8, 11, 16]),
    ];
    for (arguments, limits) in commands {
        for many in limits {
            with_descriptors(&alice.turnchat(arguments), many)
                .finish()
                .fails(1, &[&format!("open {many} files"), "ulimit -n"]);
        }
    }
}
