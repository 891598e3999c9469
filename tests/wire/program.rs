//! The real program, over TCP on a free port: started, watched, and its exit
//! code. stdin is a pipe that is kept open until its end is asked for.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use turnchat::{Algorithm, Identity, KeyId};

/// Longer than anything takes here; what hangs fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A home with an identity, gone with the value.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) id: KeyId,
}

impl Home {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let id = Identity::create(dir.path(), algorithm).unwrap().key_id();
        Self { dir, id }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// A running turnchat, killed with the value.
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<JoinHandle<String>>,
    stderr: mpsc::Receiver<String>,
    complaints: Vec<String>,
}

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Exited {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn start(arguments: &[&str], home: &Path) -> Self {
        let (command, rest) = arguments.split_first().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_turnchat"))
            .args([command, "--home"])
            .arg(home)
            .args(rest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (lines, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            stdout: Some(thread::spawn(move || {
                let mut all = String::new();
                let _ = stdout.read_to_string(&mut all);
                all
            })),
            stderr: told,
            complaints: Vec::new(),
        }
    }

    /// A server on a free port of this machine, and the port's address.
    pub(crate) fn server(arguments: &[&str], home: &Path) -> (Self, SocketAddr) {
        let all = [&["server", "--listen", "127.0.0.1:0"], arguments].concat();
        let mut server = Self::start(&all, home);
        let line = server.tells("Listening on ");
        let address = line.strip_prefix("Listening on ").unwrap();
        let address = address.parse().unwrap();
        (server, address)
    }

    /// Types these lines.
    pub(crate) fn types(&mut self, lines: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(lines.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// The next line of stderr that has these words.
    pub(crate) fn tells(&mut self, words: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no {words:?} in {:?}", self.complaints));
            self.complaints.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Its own end, while its stdin is still open.
    pub(crate) fn exited(mut self) -> Exited {
        // stderr ends with the program.
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) => self.complaints.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs: {:?}", self.complaints),
            }
        }
        let status = self.child.wait().unwrap();
        Exited {
            code: status.code().unwrap_or(-1),
            stdout: self.stdout.take().unwrap().join().unwrap(),
            stderr: self.complaints.join("\n"),
        }
    }

    /// Its end after the end of its input.
    pub(crate) fn ended(mut self) -> Exited {
        self.stdin = None;
        self.exited()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
