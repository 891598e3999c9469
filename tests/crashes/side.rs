//! One side: the real binary with `--json`, started again whenever it was
//! killed, and everything that it told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Which side told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Server,
    Client,
}

impl Who {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}

/// One line of a side's stdout, or `None` at its end, by which of its lives.
pub(crate) type Told = (Who, u32, Option<Value>);

pub(crate) struct Side {
    pub(crate) who: Who,
    arguments: Vec<String>,
    /// What starts the program, if it is not started by itself.
    wrapper: Vec<String>,
    told: Sender<Told>,
    child: Child,
    stdin: Option<ChildStdin>,
    /// How often it was started.
    pub(crate) lives: u32,
    /// What it heard, by turn.
    pub(crate) heard: BTreeMap<u64, String>,
    /// The highest turn that it spoke in, as far as it told.
    pub(crate) said: u64,
    pub(crate) ended: Option<Value>,
}

pub(crate) fn turnchat() -> Command {
    Command::new(env!("CARGO_BIN_EXE_turnchat"))
}

/// Two homes, whose identities have each other's keys.
pub(crate) struct Homes {
    dir: TempDir,
    alice: String,
    bob: String,
}

impl Homes {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [alice, bob] = ["alice", "bob"].map(|name| identity(&dir.path().join(name)));
        Self { dir, alice, bob }
    }

    /// What starts alice's server.
    pub(crate) fn server(&self, port: u16) -> Vec<String> {
        let listen = format!("127.0.0.1:{port}");
        self.arguments(
            "alice",
            &["server", "--allow", &self.bob, "--listen", &listen],
        )
    }

    /// What starts bob's client.
    pub(crate) fn client(&self, port: u16) -> Vec<String> {
        let address = format!("127.0.0.1:{port}");
        self.arguments("bob", &["client", &address, "--pin", &self.alice])
    }

    /// A path beside the homes.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn arguments(&self, name: &str, arguments: &[&str]) -> Vec<String> {
        let home = self.path(name);
        let common = ["--json", "--home", home.to_str().unwrap()];
        let all = arguments.iter().chain(&common);
        all.map(|&argument| argument.to_owned()).collect()
    }
}

/// A new identity, and its fingerprint.
pub(crate) fn identity(home: &Path) -> String {
    let made = turnchat()
        .args(["gen-cert", "--quiet", "--out"])
        .arg(home)
        .output()
        .unwrap();
    assert!(made.status.success());
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

impl Side {
    pub(crate) fn start(who: Who, arguments: Vec<String>, told: Sender<Told>) -> Self {
        let (child, stdin) = spawn(who, &[], &arguments, 1, &told);
        Self {
            who,
            arguments,
            wrapper: Vec::new(),
            told,
            child,
            stdin,
            lives: 1,
            heard: BTreeMap::new(),
            said: 0,
            ended: None,
        }
    }

    pub(crate) fn with_arguments(&mut self, arguments: Vec<String>) {
        self.arguments = arguments;
    }

    /// From its next life on this starts the program, in its own place.
    pub(crate) fn with_wrapper(&mut self, wrapper: Vec<String>) {
        self.wrapper = wrapper;
    }

    /// kill -9, and on with the same home.
    pub(crate) fn crash(&mut self) {
        self.kill();
        self.lives += 1;
        (self.child, self.stdin) = spawn(
            self.who,
            &self.wrapper,
            &self.arguments,
            self.lives,
            &self.told,
        );
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn send(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(id, signal).unwrap();
    }

    pub(crate) fn command(&mut self, command: &Value) {
        if let Some(stdin) = &mut self.stdin {
            // A side that has just gone is started again by whoever reads that.
            let _ = writeln!(stdin, "{command}");
        }
    }

    /// Takes note of an event, and answers when it is its turn, up to `last`,
    /// after which the client quits.
    pub(crate) fn on(&mut self, event: &Value, last: u64) {
        let turn = event["turn"].as_u64().unwrap_or(0);
        let on = &event["conversation"];
        match event["event"].as_str().unwrap() {
            "your-turn" if turn > last && self.who == Who::Client => {
                self.command(&json!({"quit": {"conversation": on}}))
            }
            "your-turn" => {
                let text = words(self.who, turn);
                let say = json!({"text": text, "turn": turn, "conversation": on});
                self.command(&json!({ "say": say }));
            }
            "turn" if event["speaker"] == "peer" => {
                let text = event["text"].as_str().unwrap().to_owned();
                let before = self.heard.insert(turn, text);
                let is_again = event["again"] == true;
                assert!(
                    before.is_none() || is_again,
                    "twice on {:?}: {event}",
                    self.who
                );
            }
            "turn" => self.said = self.said.max(turn),
            "ended" => self.ended = Some(event.clone()),
            "error" => panic!("{:?}: {event}", self.who),
            _ => {}
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a side says in a turn.
pub(crate) fn words(who: Who, turn: u64) -> String {
    format!("{who:?} in turn {turn}")
}

fn spawn(
    who: Who,
    wrapper: &[String],
    arguments: &[String],
    life: u32,
    told: &Sender<Told>,
) -> (Child, Option<ChildStdin>) {
    let mut command = match wrapper {
        [] => turnchat(),
        [wrapper, its @ ..] => {
            let mut command = Command::new(wrapper);
            command.args(its).arg(turnchat().get_program());
            command
        }
    };
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let told = told.clone();
    thread::spawn(move || {
        // A line that was cut off by the kill is no event.
        for line in stdout.lines().map_while(Result::ok) {
            if let Ok(event) = serde_json::from_str(&line) {
                let _ = told.send((who, life, Some(event)));
            }
        }
        let _ = told.send((who, life, None));
    });
    let stdin = child.stdin.take();
    (child, stdin)
}

/// Waits for the server's port.
pub(crate) fn port(told: &Receiver<Told>) -> u16 {
    let (_, _, event) = told.recv().unwrap();
    let event = event.unwrap();
    assert_eq!(event["event"], "listening");
    let address = event["address"].as_str().unwrap();
    address.rsplit(':').next().unwrap().parse().unwrap()
}
