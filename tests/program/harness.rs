//! The program run from outside: people with a home of their own, and programs
//! whose output is read as it comes. Every wait ends at the program's deadline,
//! so that a test fails instead of hanging; nothing here sleeps.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::num::NonZero;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{self, Signal};
use nix::unistd::{Pid, tcgetpgrp};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::schema::Kind;

/// How long a program may take from its start to its end. Generous: it only
/// makes a test fail that would hang.
const DEADLINE: Duration = Duration::from_secs(120);

/// What `gen-cert` makes.
const FILES: [&str; 2] = ["cert.pem", "key.pem"];

/// Somebody with an own home directory, deleted at the end of the test.
pub(crate) struct Person {
    dir: TempDir,
}

impl Person {
    /// Somebody with an identity that nobody else in this test has.
    ///
    /// Different tests share them: making one costs as much as a conversation.
    pub(crate) fn new() -> Self {
        thread_local!(static MET: Cell<usize> = const { Cell::new(0) });
        static MADE: Mutex<Vec<[Vec<u8>; 2]>> = Mutex::new(Vec::new());

        let person = Self::without_identity();
        let number = MET.replace(MET.get() + 1);
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() == number {
            person.run(&["gen-cert"]).succeeds();
            let read = |file| fs::read(person.home().join(file)).expect("an identity");
            made.push(FILES.map(read));
            return person;
        }
        let mut private = fs::DirBuilder::new();
        private.mode(0o700).create(person.home()).expect("a home");
        for (file, bytes) in FILES.iter().zip(&made[number]) {
            let mut private = File::options();
            private.write(true).create_new(true).mode(0o600);
            let mut file = private.open(person.home().join(file)).expect("a new file");
            file.write_all(bytes).expect("an identity is written");
        }
        person
    }

    /// Somebody whose home is still missing.
    pub(crate) fn without_identity() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { dir }
    }

    /// The directory of certificate, key and address book.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// A path beside the home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn certificate(&self) -> String {
        utf8(self.home().join("cert.pem"))
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.home().join("key.pem")
    }

    pub(crate) fn book(&self) -> PathBuf {
        self.home().join("peers.toml")
    }

    /// The fingerprint of the key.
    pub(crate) fn key(&self) -> String {
        let printed = self.run(&["fingerprint"]).succeeds();
        printed.trim_end().to_owned()
    }

    /// Adds somebody to the address book.
    pub(crate) fn knows(&self, name: &str, other: &Self) {
        self.run(&["peers", "add", name, &other.certificate()])
            .succeeds();
    }

    /// The command `turnchat` with these arguments, as this person runs it.
    pub(crate) fn turnchat<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnchat"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.dir.path())
            .env("TURNCHAT_HOME", self.home())
            .env("TERM", "xterm")
            .env("LANG", "C.UTF-8")
            .current_dir(self.dir.path());
        command
    }

    /// Runs it to its end, with nothing to read.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Finished {
        self.start(arguments).without_input().finish()
    }

    /// Starts it, with pipes.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Program {
        Program::start(self.turnchat(arguments))
    }

    /// Starts a server on a free port, and waits until it listens.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        Server::of(self.start(&server(arguments)))
    }

    /// Starts a client of this server that pins its key. A lost link ends it:
    /// what `--hold` does is not tested here.
    pub(crate) fn call(&self, server: &Server, whose: &Self, arguments: &[&str]) -> Program {
        self.start(&self.calling(server, whose, arguments))
    }

    /// The arguments of [`call`](Self::call).
    pub(crate) fn calling(&self, server: &Server, whose: &Self, arguments: &[&str]) -> Vec<String> {
        let certificate = whose.certificate();
        let mut all = vec!["client", &server.address, "--pin", &certificate];
        all.extend(["--hold", "0s"]);
        all.extend(arguments);
        all.into_iter().map(str::to_owned).collect()
    }
}

/// The arguments of a server on a free port of loopback, which a lost link
/// ends the conversation of.
pub(crate) fn server<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["server", "--listen", "127.0.0.1:0", "--hold", "0s"];
    all.extend(arguments);
    all
}

/// The arguments of a server on a free port that programs talk through, with a journal.
pub(crate) const JSON_SERVER: [&str; 5] = [
    "server",
    "--listen",
    "127.0.0.1:0",
    "--allow-anyone",
    "--json",
];

/// And a client of it.
pub(crate) fn json_client(bob: &Person, server: &Server, alice: &Person) -> Command {
    bob.turnchat(&["client", &server.address, "--pin", &alice.key(), "--json"])
}

/// The command that says this, with `--json`.
pub(crate) fn say(text: &str) -> String {
    json!({ "say": { "text": text } }).to_string()
}

/// Starts a command behind this line of the shell, which limits what it may do.
pub(crate) fn limited(limit: &str, command: &Command) -> Program {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!(r#"{limit}; exec "$0" "$@""#)]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.expect("a value"));
    }
    Program::start(shell)
}

/// The command behind a shell that sends what it writes through a pipe to the same terminal, as
/// `tee` does.
pub(crate) fn piped(how: &str, command: &Command) -> Command {
    behind_a_shell(&format!(r#""$0" "$@" {how}"#), command)
}

/// The command in a shell's script, as `"$0" "$@"`.
pub(crate) fn behind_a_shell(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.expect("a value"));
    }
    shell.env("PATH", "/usr/bin:/bin");
    shell
}

/// Two people, and a server that admits exactly the second one.
pub(crate) struct Pair {
    pub(crate) alice: Person,
    pub(crate) bob: Person,
    pub(crate) server: Server,
}

impl Pair {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let (alice, bob) = (Person::new(), Person::new());
        let certificate = bob.certificate();
        let mut all = vec!["--allow", &certificate];
        all.extend(arguments);
        let server = alice.serve(&all);
        Self { alice, bob, server }
    }

    /// A client of bob's.
    pub(crate) fn client(&self, arguments: &[&str]) -> Program {
        self.bob.call(&self.server, &self.alice, arguments)
    }
}

/// Where a server listens, if this line says so, of a log in text or JSON too.
fn listening(line: &str) -> Option<String> {
    let (_, address) = line.split_once("Listening on ")?;
    let is_of_it = |c: &char| !c.is_whitespace() && *c != '"';
    Some(address.chars().take_while(is_of_it).collect())
}

/// A server that listens.
pub(crate) struct Server {
    pub(crate) program: Program,
    /// Where a client reaches it.
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn of(mut program: Program) -> Self {
        let line = program.stderr.line_with("Listening on ");
        let address = listening(&line).expect("where it listens");
        Self { program, address }
    }
}

/// A program that runs. Dropped, it is killed.
pub(crate) struct Program {
    child: Child,
    stdin: Option<mpsc::Sender<Vec<u8>>>,
    /// What each line of its stdout has to be, with `--json`.
    kind: Option<Kind>,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        Self::start_with(command)
    }

    /// Starts it with the stdout that the command has.
    pub(crate) fn start_with(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let kind = Kind::printed_by(&command);
        let mut child = alone(|| command.spawn()).expect("turnchat starts");
        // What the command holds open would keep a pipe from its end.
        drop(command);
        let (stdin, written) = mpsc::channel::<Vec<u8>>();
        let mut pipe = child.stdin.take().expect("its stdin");
        // On a thread: a program reads a pipe only in its turn.
        thread::spawn(move || {
            for bytes in written {
                if pipe.write_all(&bytes).and_then(|()| pipe.flush()).is_err() {
                    return;
                }
            }
        });
        let stdout: Box<dyn Read + Send> = match child.stdout.take() {
            Some(stdout) => Box::new(stdout),
            None => Box::new(io::empty()),
        };
        let stdout = Output::of("stdout", stdout);
        let stderr = Output::of("stderr", child.stderr.take().expect("its stderr"));
        Self {
            child,
            stdin: Some(stdin),
            kind,
            stdout,
            stderr,
        }
    }

    /// Writes a line to its stdin.
    pub(crate) fn say(&self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        let stdin = self.stdin.as_ref().expect("its stdin is open");
        let _ = stdin.send(bytes.to_vec());
    }

    /// Ends its input.
    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn without_input(mut self) -> Self {
        self.end_input();
        self
    }

    pub(crate) fn send(&self, signal: Signal) {
        signal::kill(pid(&self.child), signal).expect("a signal is sent");
    }

    /// Stops it on the spot.
    #[track_caller]
    pub(crate) fn freezes(&self) {
        self.send(Signal::SIGSTOP);
        stops(&self.child, &self.stderr);
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    #[track_caller]
    pub(crate) fn is_running(&mut self) -> bool {
        assert!(!self.stderr.is_overdue(), "it hangs");
        self.child.try_wait().expect("its state").is_none()
    }

    /// The next line of the transcript is this one.
    #[track_caller]
    pub(crate) fn shows(&mut self, line: &str) {
        assert_eq!(self.stdout.line(), line);
    }

    /// The next event, with `--json`.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Value {
        let line = self.stdout.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The next event, which has this name.
    #[track_caller]
    pub(crate) fn expect(&mut self, name: &str) -> Value {
        let event = self.event();
        assert_eq!(event["event"], name, "{event}");
        event
    }

    /// Waits for its end, with the input as it is.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let stdout = self.stdout.all();
        let stderr = self.stderr.all();
        let status = self.child.wait().expect("its exit code");
        Finished {
            code: status.code(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let (Some(kind), false) = (self.kind, thread::panicking()) {
            kind.check(&String::from_utf8_lossy(&self.stdout.so_far()));
        }
    }
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Everything that it wrote.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// It ended with 0; what it printed.
    #[track_caller]
    pub(crate) fn succeeds(self) -> String {
        self.exits(0);
        self.stdout
    }

    #[track_caller]
    pub(crate) fn exits(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self:#?}");
    }

    /// It ended with this code, and said at its end what happened and what to
    /// do now, both in a sentence; these words are in it.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) -> String {
        self.exits(code);
        let own: Vec<_> = self
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("turnchat: "))
            .collect();
        let [.., what, advice] = own[..] else {
            panic!("not two parts: {self:#?}");
        };
        for part in [what, advice] {
            let begins_well = part.starts_with(|c: char| !c.is_lowercase());
            assert!(begins_well && part.ends_with(['.', '`']), "{self:#?}");
        }
        let told = format!("{what}\n{advice}");
        for word in words {
            assert!(told.contains(word), "no {word:?} in {self:#?}");
        }
        told
    }

    /// The arguments were refused before anything was done: exit 2, what is
    /// wrong, and where help is.
    #[track_caller]
    pub(crate) fn misuses(&self, words: &[&str]) {
        self.exits(2);
        assert_eq!(self.stdout, "");
        assert!(self.stderr.starts_with("error: "), "{self:#?}");
        assert!(self.stderr.contains("--help"), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:#?}");
        }
    }
}

/// What a program writes, as it comes.
pub(crate) struct Output {
    name: &'static str,
    written: Arc<Written>,
    /// Up to where it was taken.
    taken: usize,
    deadline: Instant,
}

#[derive(Default)]
struct Written {
    state: Mutex<WrittenState>,
    grown: Condvar,
}

#[derive(Default)]
struct WrittenState {
    bytes: Vec<u8>,
    is_closed: bool,
}

impl Output {
    fn of(name: &'static str, mut from: impl Read + Send + 'static) -> Self {
        let written = Arc::new(Written::default());
        let writing = Arc::clone(&written);
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                // A terminal that is gone is an error; here it is an end.
                let length = from.read(&mut chunk).unwrap_or(0);
                let mut state = writing.lock();
                state.bytes.extend_from_slice(&chunk[..length]);
                state.is_closed = length == 0;
                writing.grown.notify_all();
                if length == 0 {
                    return;
                }
            }
        });
        Self {
            name,
            written,
            taken: 0,
            deadline: Instant::now() + DEADLINE,
        }
    }

    /// The next line, without its end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let taken = self.taken;
        let line = self.wait("a line", |bytes, _| {
            let rest = &bytes[taken..];
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            Some(rest[..end].to_vec())
        });
        self.taken += line.len() + 1;
        String::from_utf8(line).expect("UTF-8")
    }

    /// The next line that has these words; those before it are passed over.
    #[track_caller]
    pub(crate) fn line_with(&mut self, words: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(words) {
                return line;
            }
        }
    }

    /// All of it, from the start to its end.
    #[track_caller]
    pub(crate) fn all(&self) -> String {
        let all = self.wait("the end", |bytes, is_closed| {
            is_closed.then(|| bytes.to_vec())
        });
        String::from_utf8(all).expect("UTF-8")
    }

    /// Whether the program takes longer than it may.
    pub(crate) fn is_overdue(&self) -> bool {
        Instant::now() > self.deadline
    }

    /// What came so far.
    pub(crate) fn so_far(&self) -> Vec<u8> {
        self.written.lock().bytes.clone()
    }

    /// Waits until `found` finds something in all that came.
    #[track_caller]
    pub(crate) fn wait<T>(&self, for_what: &str, found: impl FnMut(&[u8], bool) -> Option<T>) -> T {
        self.wait_until(self.deadline, found).unwrap_or_else(|why| {
            let bytes = self.so_far();
            let shown = String::from_utf8_lossy(&bytes);
            panic!("{} {why} before {for_what} came:\n{shown}", self.name)
        })
    }

    fn wait_until<T>(
        &self,
        end: Instant,
        mut found: impl FnMut(&[u8], bool) -> Option<T>,
    ) -> Result<T, &'static str> {
        let mut state = self.written.lock();
        loop {
            if let Some(value) = found(&state.bytes, state.is_closed) {
                return Ok(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.is_closed || left.is_zero() {
                return Err(if state.is_closed { "ended" } else { "hangs" });
            }
            let waited = self.written.grown.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Written {
    fn lock(&self) -> MutexGuard<'_, WrittenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A program at a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    pty: Option<Arc<pty_process::blocking::Pty>>,
    output: Output,
    /// Its widths, and after how many bytes each began.
    widths: Vec<(usize, u16)>,
    rows: u16,
    /// Whether it shows what is written to it: else it is as slow as can be.
    gate: Arc<Gate>,
    /// Dropped, the terminal is read no longer.
    reading: Option<PipeWriter>,
}

/// Closed, nothing is read behind it; slow, a moment passes before each read.
#[derive(Default)]
struct Gate {
    is_closed: Mutex<bool>,
    moved: Condvar,
    is_slow: AtomicBool,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, is_closed: bool) {
        *self.lock() = is_closed;
        self.moved.notify_all();
    }

    fn pass(&self) {
        let _open = self.moved.wait_while(self.lock(), |is_closed| *is_closed);
    }
}

impl Terminal {
    pub(crate) const ROWS: u16 = 40;
    pub(crate) const COLUMNS: u16 = 100;

    pub(crate) fn start(command: Command) -> Self {
        Self::sized(command, Self::COLUMNS)
    }

    /// A terminal with this many columns.
    pub(crate) fn sized(command: Command, columns: u16) -> Self {
        Self::with(command.into(), Self::ROWS, columns)
    }

    /// A terminal that keeps on its screen all that has ever stood there.
    pub(crate) fn tall(command: Command) -> Self {
        Self::with(command.into(), 1_000, Self::COLUMNS)
    }

    /// A terminal for all but the transcript, which goes elsewhere.
    pub(crate) fn without_transcript(command: Command, transcript: impl Into<Stdio>) -> Self {
        let command = pty_process::blocking::Command::from(command);
        Self::with(command.stdout(transcript), Self::ROWS, Self::COLUMNS)
    }

    fn with(command: pty_process::blocking::Command, rows: u16, columns: u16) -> Self {
        let (pty, pts) = pty_process::blocking::open().expect("a terminal");
        pty.resize(pty_process::Size::new(rows, columns))
            .expect("a terminal has a size");
        let child = alone(|| command.spawn(pts)).expect("turnchat starts");
        let pty = Arc::new(pty);
        let (until, reading) = io::pipe().expect("a pipe");
        let gate = Arc::new(Gate::default());
        let master = Master(Arc::clone(&pty), until, Arc::clone(&gate));
        Self {
            child,
            output: Output::of("the terminal", master),
            pty: Some(pty),
            widths: vec![(0, columns)],
            rows,
            gate,
            reading: Some(reading),
        }
    }

    /// A shell that runs the command as a job of its own: in the foreground or not, and again
    /// once it was stopped and a line is typed. Its words are in brackets.
    pub(crate) fn with_jobs(command: &Command, in_background: bool) -> Self {
        Self::with_jobs_of("sh", command, in_background)
    }

    /// The same with this shell: they differ in what signals they send.
    pub(crate) fn with_jobs_of(shell: &str, command: &Command, in_background: bool) -> Self {
        let how = if in_background { " &" } else { "" };
        let script = format!(
            r#"set -m; "$0" "$@"{how}
            echo "[stopped]"; read line; fg >/dev/null; echo "[ended with $?]""#
        );
        let mut shell = Command::new(shell);
        shell.args(["-c", &script]).arg(command.get_program());
        shell.args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            shell.env(name, value.expect("a value"));
        }
        shell.env("PATH", "/usr/bin:/bin");
        Self::start(shell)
    }

    /// To the job that is in the foreground.
    pub(crate) fn send_to_job(&self, signal: Signal) {
        let job = tcgetpgrp(self.pty()).expect("a job in the foreground");
        signal::killpg(job, signal).expect("a signal is sent");
    }

    /// Does something that makes the program take the terminal anew, and waits for that.
    #[track_caller]
    pub(crate) fn begins_anew(&self, act: impl FnOnce()) {
        let taken = |bytes: &[u8]| bytes.windows(8).filter(|at| at == b"\x1b[?2004h").count();
        let before = taken(&self.output.so_far());
        act();
        self.output
            .wait("it again", |bytes, _| (taken(bytes) > before).then_some(()));
    }

    /// Gives it another width. What came up to now was laid out for the old one.
    pub(crate) fn resize(&mut self, columns: u16) {
        self.widths.push((self.output.so_far().len(), columns));
        self.pty()
            .resize(pty_process::Size::new(self.rows, columns))
            .expect("a terminal has a size");
    }

    /// Whether it takes what is written to it.
    pub(crate) fn set_stalled(&self, is_stalled: bool) {
        self.gate.set(is_stalled);
    }

    /// From now on it takes what is written to it slower than that can be written.
    pub(crate) fn slows_down(&self) {
        self.gate.is_slow.store(true, Ordering::Relaxed);
    }

    /// Waits until the whole lines that were typed are read.
    #[track_caller]
    pub(crate) fn is_read(&self) {
        let input = File::open(format!("/proc/{}/fd/0", self.child.id())).expect("its input");
        let mut polled = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        while poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
            assert!(!self.is_overdue(), "nobody reads it");
            thread::yield_now();
        }
    }

    /// Stops the program on the spot. A window that closes lets it go on.
    #[track_caller]
    pub(crate) fn freezes(&self) {
        self.send(Signal::SIGSTOP);
        stops(&self.child, &self.output);
    }

    /// Shows all that it was sent up to now.
    pub(crate) fn catches_up(&self) {
        self.set_stalled(false);
        let mut polled = [PollFd::new(self.pty().as_fd(), PollFlags::POLLIN)];
        while poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
            thread::yield_now();
        }
    }

    /// Ends it by force. The screen at its end.
    #[track_caller]
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.set_stalled(false);
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.output.wait("its end", |bytes, is_closed| {
            is_closed.then(|| self.rows_of(bytes))
        })
    }

    /// Closes its window. The exit code.
    #[track_caller]
    pub(crate) fn close(mut self) -> Option<i32> {
        self.set_stalled(false);
        drop(self.reading.take());
        self.output
            .wait("its end", |_, is_closed| is_closed.then_some(()));
        let pty = self.pty.take().expect("a window");
        // The thread that has read it ends by now.
        while Arc::strong_count(&pty) > 1 {
            thread::yield_now();
        }
        close(pty);
        self.child.wait().expect("its exit code").code()
    }

    fn pty(&self) -> &pty_process::blocking::Pty {
        self.pty.as_ref().expect("a window")
    }

    /// Types this; Enter is `\r`.
    pub(crate) fn types(&self, keys: &str) {
        self.pty()
            .write_all(keys.as_bytes())
            .expect("a terminal takes what is typed");
    }

    pub(crate) fn send(&self, signal: Signal) {
        signal::kill(pid(&self.child), signal).expect("a signal is sent");
    }

    /// The rows that the screen shows, without blanks at their ends and empty
    /// rows at its end.
    pub(crate) fn screen(&self) -> Vec<String> {
        self.rows_of(&self.output.so_far())
    }

    /// The bytes that it was sent.
    pub(crate) fn written(&self) -> Vec<u8> {
        self.output.so_far()
    }

    fn rows_of(&self, bytes: &[u8]) -> Vec<String> {
        let size = |cells| NonZero::new(cells).expect("a terminal has a size");
        let mut widths = self.widths.iter().copied();
        let (mut from, mut columns) = widths.next().expect("a width");
        let mut parser = vt100::Parser::new(size(self.rows), size(columns), 0);
        for (at, next) in widths {
            parser.process(&bytes[from..at]);
            (from, columns) = (at, next);
            parser.screen_mut().set_size(size(self.rows), size(columns));
        }
        parser.process(&bytes[from..]);
        let rows = parser.screen().rows(0, columns);
        let mut rows: Vec<_> = rows.map(|row| row.trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// Waits until the screen is so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        self.output.wait(what, |bytes, _| {
            let rows = self.rows_of(bytes);
            is_so(&rows).then_some(rows)
        })
    }

    /// Waits until the screen is so, but no longer than this.
    pub(crate) fn within(&self, time: Duration, is_so: impl Fn(&[String]) -> bool) -> bool {
        let end = Instant::now() + time;
        let waited = self
            .output
            .wait_until(end, |bytes, _| is_so(&self.rows_of(bytes)).then_some(()));
        waited.is_ok()
    }

    /// Whether the program takes longer than it may.
    pub(crate) fn is_overdue(&self) -> bool {
        self.output.is_overdue()
    }

    /// Whether all that it has written is there.
    pub(crate) fn is_over(&self) -> bool {
        self.output.written.lock().is_closed
    }

    /// Waits until the server there listens; where.
    #[track_caller]
    pub(crate) fn listens(&self) -> String {
        let rows = self.shows("Your peer runs: ");
        let address = rows.iter().find_map(|row| listening(row));
        address.expect("where it listens")
    }

    /// Waits until these words stand somewhere on the screen.
    #[track_caller]
    pub(crate) fn shows(&self, words: &str) -> Vec<String> {
        self.until(words, |rows| rows.iter().any(|row| row.contains(words)))
    }

    /// Waits until these words stand there, in however many rows.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        let joined = |rows: &[String]| rows.join(" ").replace("     ", " ");
        self.until(words, |rows| joined(rows).contains(words));
    }

    /// Waits until the last row is this.
    #[track_caller]
    pub(crate) fn ends_with(&self, row: &str) -> Vec<String> {
        self.until(row, |rows| {
            rows.last().is_some_and(|last| last == row.trim_end())
        })
    }

    /// Its exit code, and the screen at its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (Option<i32>, Vec<String>) {
        let rows = self.output.wait("its end", |bytes, is_closed| {
            is_closed.then(|| self.rows_of(bytes))
        });
        let status = self.child.wait().expect("its exit code");
        (status.code(), rows)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The terminal's other end, to be read on a thread until the pipe is closed.
struct Master(Arc<pty_process::blocking::Pty>, PipeReader, Arc<Gate>);

impl Read for Master {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut polled = [
            PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.1.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut polled, PollTimeout::NONE)?;
        self.2.pass();
        match polled[1].any() {
            Some(true) => Ok(0),
            _ => {
                if self.2.is_slow.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(1));
                }
                (&*self.0).read(buffer)
            }
        }
    }
}

/// Closes what a program's output is read from, for everybody: a program that is
/// just starting has all that this process has open, until it runs.
pub(crate) fn close<T>(reader: T) {
    alone(|| drop(reader));
}

/// Does it while no program is being started: one that is has all open files of this process,
/// until it runs.
pub(crate) fn alone<T>(act: impl FnOnce() -> T) -> T {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    act()
}

/// Waits until it has, with all of its threads: a signal is only on its way before.
#[track_caller]
fn stops(child: &Child, output: &Output) {
    let threads = format!("/proc/{}/task", child.id());
    let is_stopped = |status: String| {
        let state = status.rsplit(") ").next();
        state.is_none_or(|state| state.starts_with(['T', 'Z']))
    };
    // Of a thread that is gone nothing can be read.
    let has_stopped = || {
        let mut threads = fs::read_dir(&threads).expect("its threads").flatten();
        threads
            .all(|thread| fs::read_to_string(thread.path().join("stat")).map_or(true, is_stopped))
    };
    while !has_stopped() {
        assert!(!output.is_overdue(), "it does not stop");
        thread::yield_now();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().expect("a process id"))
}

/// An example's program, which cargo builds beside ours.
pub(crate) fn example(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_turnchat"));
    let built = built.with_file_name("examples").join(name);
    assert!(built.exists(), "run `cargo build --examples` first");
    built
}

/// A path, as an argument.
pub(crate) fn utf8(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().expect("a path in UTF-8").to_owned()
}

/// Every file below a directory and what it holds.
pub(crate) fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("its entry").path();
        match path.is_dir() {
            true => files.extend(contents(&path)),
            false => {
                let bytes = fs::read(&path).expect("a file");
                files.insert(path, bytes);
            }
        }
    }
    files
}
