//! A server as a service: with a socket that is handed over, and a manager that is told.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Person, Program, Server, limited};

/// Hands sockets over as systemd does (sd_listen_fds(3)): from 3 on, and the process is named.
const HAND_OVER: &str = "
import os, socket, sys
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]
sockets.append(socket.create_connection(sockets[0].getsockname()))
kept = [os.dup2(sockets[int(which)].fileno(), 10 + at) for at, which in enumerate(sys.argv[1])]
for at, kept in enumerate(kept):
    os.dup2(kept, 3 + at)
os.environ.update(LISTEN_FDS=str(len(sys.argv[1])), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
";

/// The command, with these sockets: 0 and 1 listen, 2 is connected.
fn handed(sockets: &str, command: &Command) -> Program {
    let mut python = Command::new("python3");
    python.args(["-c", HAND_OVER, sockets]);
    python.arg(command.get_program()).args(command.get_args());
    python
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap());
    for (name, value) in command.get_envs() {
        python.env(name, value.unwrap());
    }
    Program::start(python)
}

fn server<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["server", "--allow-anyone"], more].concat()
}

#[test]
fn a_server_takes_the_socket_that_is_handed_over_and_keeps_it_to_itself() {
    let (alice, bob) = (Person::new(), Person::new());
    let environment = "echo its $LISTEN_FDS$LISTEN_PID$NOTIFY_SOCKET end; read line";
    let arguments = server(&["--exec", "sh", "-c", environment]);
    let mut command = alice.turnchat(&arguments);
    command.env("NOTIFY_SOCKET", "/nowhere");
    let server = Server::of(handed("0", &command));
    assert_ne!(server.address, "[::]:8876");
    let mut client = bob.call(&server, &alice, &[]);
    client.shows("They say: its end");
    client.say("QUIT");
    client.finish().exits(0);
}

#[test]
fn a_socket_that_cannot_serve_is_refused_with_what_to_give() {
    let alice = Person::new();
    for (sockets, words) in [("01", "2 sockets"), ("2", "does not listen for TCP")] {
        let refused = handed(sockets, &alice.turnchat(&server(&[]))).without_input();
        refused.finish().fails(2, &[words, "ListenStream="]);
    }
}

#[test]
fn a_manager_is_told_when_a_server_is_ready_reads_again_and_stops() {
    let alice = Person::new();
    let path = alice.path("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let told = || {
        let mut told = [0; 256];
        let length = manager.recv(&mut told).unwrap();
        String::from_utf8_lossy(&told[..length]).into_owned()
    };
    let mut command = alice.turnchat(&server(&["--listen", "127.0.0.1:0"]));
    command.env("NOTIFY_SOCKET", &path);
    let server = Server::of(Program::start(command));
    assert_eq!(told().trim_end(), "READY=1");
    server.program.send(Signal::SIGHUP);
    let reloading = told();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(told().trim_end(), "READY=1");
    server.program.send(Signal::SIGTERM);
    assert_eq!(told().trim_end(), "STOPPING=1");
    server.program.finish().exits(0);
}

#[test]
fn no_memory_of_a_program_is_dumped() {
    let alice = Person::new();
    let command = alice.turnchat(&server(&["--listen", "127.0.0.1:0"]));
    let server = Server::of(limited("ulimit -S -c unlimited 2>/dev/null", &command));
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.program.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let mut core = core.unwrap().split_whitespace().skip(4);
    let [soft, hard] = [(); 2].map(|()| core.next().unwrap());
    // One byte, if it may: where dumps go to a program, Linux makes none with just that.
    assert_eq!(soft, if hard == "0" { "0" } else { "1" }, "{limits}");
}

/// The command of the unit that comes with the program, in this home.
fn of_the_unit(person: &Person) -> Command {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/systemd/turnchat.service");
    let unit = fs::read_to_string(unit).unwrap();
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let home = person.home().display().to_string();
    let start = start.unwrap().replace("${STATE_DIRECTORY}", &home);
    let words: Vec<_> = start.split_whitespace().skip(1).collect();
    person.turnchat(&words)
}

#[test]
fn the_unit_that_comes_with_the_program_serves_whom_its_book_names() {
    let (alice, bob) = (Person::new(), Person::new());
    alice.knows("bob", &bob);
    let server = Server::of(handed("0", &of_the_unit(&alice)));
    let mut client = bob.call(&server, &alice, &[]);
    client.shows("They say: Hello.");
    client.say("one");
    client.shows("Your message: one");
    client.shows("They say: one");
    client.say("QUIT");
    client.finish().exits(0);
    server.program.send(Signal::SIGTERM);
    server.program.finish().exits(0);
}
