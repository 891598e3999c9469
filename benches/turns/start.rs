//! The program from its start to the first line from the other side, beside
//! `socat` with the same certificates.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use super::Effort;
use super::rounds::{Contestant, Table, Unit, interleave};

const WHAT: &str = "start of a client to its first line; base: `socat`";

pub(crate) fn measure(program: &Path, effort: Effort, table: &mut Table) {
    if Command::new("socat").arg("-V").output().is_err() {
        return table.skip(WHAT, "`socat` is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let homes = ["alice", "bob"].map(|name| dir.path().join(name));
    for home in &homes {
        let mut making = Command::new(program);
        let made = making.args(["gen-cert", "--quiet", "--out"]).arg(home);
        assert!(made.output().unwrap().status.success());
    }
    let socat = || socat(&homes);
    let rounds = interleave(effort.rounds, [turnchat(program, &homes), socat(), socat()]);
    table.row(WHAT, Unit::Time, &rounds);
}

/// One server for all rounds; its pipe has a line for each client.
fn turnchat<'a>(program: &'a Path, [alice, bob]: &'a [PathBuf; 2]) -> Contestant<'a> {
    let mut server = Command::new(program);
    server.args(["server", "--listen", "127.0.0.1:0"]);
    server.arg("--home").arg(alice);
    server.arg("--allow").arg(bob.join("cert.pem"));
    let mut server = Program::start(&mut server);
    let listening = server.told("Listening on ");
    let address = listening.replace("Listening on ", "");
    Box::new(move || {
        server.say("Hello, client!");
        let mut client = Command::new(program);
        client.args(["client", address.trim_end(), "--quiet"]);
        client.arg("--home").arg(bob);
        client.arg("--pin").arg(alice.join("cert.pem"));
        let begun = Instant::now();
        let mut client = Program::start(&mut client);
        client.expects("They say: Hello, client!\n");
        let took = begun.elapsed().as_secs_f64();
        client.end();
        took
    })
}

/// A server for each round, which listens before the time begins: with `fork`
/// it would start another process within it.
fn socat([alice, bob]: &[PathBuf; 2]) -> Contestant<'_> {
    let options = |own: &Path, other: &Path| {
        let file = |home: &Path, name| home.join(name).display().to_string();
        format!(
            "cert={},key={},cafile={},verify=1,openssl-min-proto-version=TLS1.3",
            file(own, "cert.pem"),
            file(own, "key.pem"),
            file(other, "cert.pem"),
        )
    };
    Box::new(move || {
        let port = free_port();
        let mut server = Command::new("socat");
        let listen = format!("OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,");
        server.args(["-d", "-d", "STDIO", &(listen + &options(alice, bob))]);
        let mut server = Program::start(&mut server);
        server.told("listening on");
        server.say("Hello, client!");
        let mut client = Command::new("socat");
        let dial = format!("OPENSSL:127.0.0.1:{port},commonname=,nosni,");
        client.args(["STDIO", &(dial + &options(bob, alice))]);
        let begun = Instant::now();
        let mut client = Program::start(&mut client);
        client.expects("Hello, client!\n");
        begun.elapsed().as_secs_f64()
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A program with pipes, which ends with this.
struct Program(Child);

impl Program {
    fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(piped.stderr(Stdio::piped()).spawn().unwrap())
    }

    fn say(&mut self, line: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The first such line of its stderr, of which nothing is read later.
    fn told(&mut self, with: &str) -> String {
        let mut lines = BufReader::new(self.0.stderr.take().unwrap());
        let mut told = String::new();
        loop {
            let before = told.len();
            assert!(lines.read_line(&mut told).unwrap() > 0, "{told}");
            let line = told.get(before..).unwrap();
            if line.contains(with) {
                let line = line.to_owned();
                // Or it would wait for a reader, once the pipe is full.
                thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
                return line;
            }
        }
    }

    fn expects(&mut self, line: &str) {
        let mut read = vec![0; line.len()];
        let read_all = self.0.stdout.as_mut().unwrap().read_exact(&mut read);
        assert_eq!((read_all.is_ok(), read.as_slice()), (true, line.as_bytes()));
    }

    /// The end of its input, and its own.
    fn end(&mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
