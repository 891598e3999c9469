//! The program and `openssl`, a TLS stack that is not ours, whose lines are
//! written by hand.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use turnchat::{Algorithm, key_of_certificate_file};

use super::program::{Home, PATIENCE, Program};
use super::raw::{ID, QUIT, heard, hello, say, welcome};

/// A running openssl, killed with the value.
struct Openssl {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    complaints: mpsc::Receiver<String>,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    command
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| {
        panic!("These tests run `openssl` ({error}): install OpenSSL 3, e.g. `apt-get install openssl`.")
    })
}

fn lines_of(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (lines, told) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    told
}

impl Openssl {
    fn start(arguments: &[&str], home: &Path) -> Self {
        let mut command = command(arguments);
        command
            .arg("-cert")
            .arg(home.join("cert.pem"))
            .arg("-key")
            .arg(home.join("key.pem"))
            .args(["-alpn", "turnchat/1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn(&mut command);
        let lines = lines_of(child.stdout.take().unwrap());
        let complaints = lines_of(child.stderr.take().unwrap());
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
            complaints,
        }
    }

    fn client(address: &str, home: &Path) -> Self {
        Self::start(&["s_client", "-quiet", "-connect", address], home)
    }

    /// A server for one client, and where it listens. It is not `-quiet`, so
    /// that it tells the free port that it took.
    fn server(home: &Path, more: &[&str]) -> (Self, String) {
        let arguments = [
            &["s_server", "-Verify", "1", "-naccept", "1"],
            &["-accept", "127.0.0.1:0"][..],
            more,
        ];
        let server = Self::start(&arguments.concat(), home);
        loop {
            if let Some(address) = server.any_line().strip_prefix("ACCEPT ") {
                return (server, address.to_owned());
            }
        }
    }

    fn types(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    #[track_caller]
    fn shows(&self, line: &str) {
        assert_eq!(self.next(), line);
    }

    /// The next line of the peer's; what openssl itself tells begins with no brace.
    #[track_caller]
    fn next(&self) -> String {
        loop {
            let line = self.any_line();
            if line.starts_with('{') {
                return line;
            }
        }
    }

    #[track_caller]
    fn any_line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let complaints: Vec<_> = self.complaints.try_iter().collect();
            panic!("nothing; {complaints:?}")
        })
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client_talks_to_us(home: &Home) {
    let ours = Home::new(Algorithm::default());
    let allowed = home.id.to_string();
    let arguments = ["--once", "--hold", "0s", "--allow", &allowed];
    let (mut server, address) = Program::server(&arguments, ours.path());
    server.types("Hello, client!\n");
    let mut client = Openssl::client(&address.to_string(), home.path());
    client.types(&hello(ID));
    client.shows(&welcome(ID));
    client.shows(&say(1, "Hello, client!"));
    client.types(&heard(1));
    client.types(&say(2, "I am openssl."));
    client.shows(&heard(2));
    server.types("And how is that?\n");
    client.shows(&say(3, "And how is that?"));
    client.types(&heard(3));
    client.types(QUIT);
    client.shows(QUIT);
    let exited = server.exited();
    assert_eq!(exited.code, 0, "{exited:?}");
    assert_eq!(
        exited.stdout,
        "Your message: Hello, client!\nThey say: I am openssl.\nYour message: And how is that?\n"
    );
}

fn server_talks_to_us(home: &Home, ours: &Home, identity: &[&str]) {
    let (mut server, address) = Openssl::server(home.path(), &[]);
    let pin = home.id.to_string();
    let arguments = ["client", &address, "--pin", &pin, "--hold", "0s"];
    let mut client = Program::start(&[&arguments, identity].concat(), ours.path());
    let greeting: serde_json::Value = serde_json::from_str(&server.next()).unwrap();
    let id = greeting["hello"]["conversation"].as_str().unwrap();
    server.types(&welcome(id));
    server.types(&say(1, "Hello, I am openssl."));
    server.shows(&heard(1));
    client.types("Are you?\n");
    server.shows(&say(2, "Are you?"));
    server.types(&heard(2));
    server.types(&say(3, "Bye!"));
    server.shows(&heard(3));
    client.types("QUIT\n");
    server.shows(QUIT);
    server.types(QUIT);
    let exited = client.exited();
    assert_eq!(exited.code, 0, "{exited:?}");
    assert_eq!(
        exited.stdout,
        "They say: Hello, I am openssl.\nYour message: Are you?\nThey say: Bye!\nYour message: QUIT\n"
    );
}

#[test]
fn an_openssl_client_holds_a_conversation_with_our_server() {
    for algorithm in Algorithm::ALL {
        client_talks_to_us(&Home::new(algorithm));
    }
}

#[test]
fn our_client_holds_a_conversation_with_an_openssl_server() {
    for algorithm in Algorithm::ALL {
        server_talks_to_us(&Home::new(algorithm), &Home::new(algorithm), &[]);
    }
}

/// An identity that openssl makes, of this kind.
fn made_by_openssl(kind: &[&str]) -> Home {
    let dir = tempfile::tempdir().unwrap();
    let mut request = command(&["req", "-x509", "-nodes", "-subj", "/CN=bob", "-days", "30"]);
    request
        .args(kind)
        .arg("-keyout")
        .arg(dir.path().join("key.pem"))
        .arg("-out")
        .arg(dir.path().join("cert.pem"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    assert!(spawn(&mut request).wait().unwrap().success());
    let id = key_of_certificate_file(&dir.path().join("cert.pem")).unwrap();
    Home { dir, id }
}

#[test]
fn an_identity_made_by_openssl_is_taken_on_both_sides() {
    let kinds: [&[&str]; 2] = [
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["-newkey", "ed25519"],
    ];
    for kind in kinds {
        let home = made_by_openssl(kind);
        client_talks_to_us(&home);
        let (cert, key) = (home.path().join("cert.pem"), home.path().join("key.pem"));
        let identity = [
            "--cert",
            cert.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ];
        let ours = Home::new(Algorithm::default());
        server_talks_to_us(&Home::new(Algorithm::default()), &ours, &identity);
    }
}

/// PROTOCOL 1.5: it may be refused, and is not here.
#[test]
fn a_client_with_an_rsa_key_is_taken() {
    client_talks_to_us(&made_by_openssl(&["-newkey", "rsa:2048"]));
}

#[test]
fn tls_1_2_is_not_spoken_in_either_direction() {
    let (home, ours) = (
        Home::new(Algorithm::default()),
        Home::new(Algorithm::default()),
    );
    let allowed = home.id.to_string();
    let (mut server, address) = Program::server(&["--allow", &allowed], ours.path());
    let address = address.to_string();
    let old = ["s_client", "-tls1_2", "-quiet", "-connect", &address];
    let mut client = Openssl::start(&old, home.path());
    assert!(!client.child.wait().unwrap().success());
    assert!(client.lines.recv_timeout(PATIENCE).is_err());
    // The next honest peer is served.
    server.types("Hello!\n");
    let mut client = Openssl::client(&address, home.path());
    client.types(&hello(ID));
    client.shows(&welcome(ID));
    client.shows(&say(1, "Hello!"));
    drop(client);

    let (_server, address) = Openssl::server(home.path(), &["-tls1_2"]);
    let pin = home.id.to_string();
    let client = Program::start(&["client", &address, "--pin", &pin], ours.path());
    let exited = client.exited();
    assert_eq!(exited.code, 5, "{exited:?}");
    assert!(
        exited.stderr.contains("does not speak TLS 1.3"),
        "{exited:?}"
    );
    assert_eq!(exited.stdout, "");
}
