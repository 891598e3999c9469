//! What the README shows is run, and its claims are compared. Its fences say
//! how, behind the language:
//!
//! - `console run`: commands behind `$ `, run one after another by one shell;
//!   what stands below each is what it prints, on either stream.
//! - `sh run`: the simplest path. What is marked as a terminal's is held as a
//!   conversation by the transcripts in `text alice` and `text bob`. Not run is
//!   `cargo install`; the port is a free one, not the default.
//! - `sh run bot`: the bot in `python bot`, by the same keys; the client's is the transcript
//!   in `text bot`.
//! - `sh run exec`, in docs/PROGRAMS.md: a program that says back what it hears.
//! - `text machines`: two people at terminals, as machines.rs does it.
//! - `text json`, in docs/JSON.md: a client with `--json`, its commands behind `> `.
//!
//! `…` stands for anything.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::{read, root};

/// How long a program may take. Reached only where something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The bodies of the fenced blocks with this behind the fence.
pub(crate) fn blocks(page: &str, info: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(bool, Vec<&str>)> = None;
    for line in page.lines() {
        open = match (open, line.trim_start().strip_prefix("```")) {
            (None, None) => None,
            (None, Some(fence)) => Some((fence == info, Vec::new())),
            (Some((is_wanted, mut lines)), None) => {
                lines.push(line);
                Some((is_wanted, lines))
            }
            (Some((is_wanted, lines)), Some(_)) => {
                if is_wanted {
                    found.push(lines.join("\n"));
                }
                None
            }
        };
    }
    found
}

/// The only such block.
pub(crate) fn block(page: &str, info: &str) -> String {
    let mut found = blocks(page, info);
    assert_eq!(found.len(), 1, "blocks of ```{info}");
    found.remove(0)
}

/// Whether a line is what is shown, `…` standing for anything.
pub(crate) fn matches(line: &str, shown: &str) -> bool {
    let mut pieces = shown.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
        last = Some(piece);
    }
    rest.is_empty() || last == Some("")
}

#[test]
fn an_ellipsis_stands_for_anything() {
    assert!(matches("bob  SHA256:x  a:1", "bob  SHA256:…  a:1"));
    assert!(matches("SHA256:x", "SHA256:…") && matches("", "") && matches("a", "a"));
    assert!(!matches("ab", "a") && !matches("b", "a…") && !matches("a b c", "a…b"));
}

/// A shell's command, in an empty home, with the built program on its path.
pub(crate) fn shell(script: &str, directory: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_turnchat"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .current_dir(directory)
        .env("PATH", path)
        .env("HOME", directory)
        .env_remove("TURNCHAT_HOME")
        .env_remove("XDG_CONFIG_HOME")
        .stdin(Stdio::null());
    command
}

#[test]
fn what_the_console_shows_is_so() {
    let shown = blocks(&read("README.md"), "console run");
    assert!(!shown.is_empty());
    let directory = tempfile::tempdir().unwrap();
    // Later blocks go on where earlier ones stopped, as a reader does.
    for block in shown {
        let mut script = String::from("exec 2>&1\n");
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                script += &format!("echo '{line}'; (exit ${{s:-0}}); {command}; s=$?\n");
            }
        }
        let ran = shell(&script, directory.path()).output().unwrap();
        let printed = String::from_utf8(ran.stdout).unwrap();
        let is_same = printed.lines().count() == block.lines().count()
            && printed
                .lines()
                .zip(block.lines())
                .all(|(line, shown)| matches(line, shown));
        assert!(is_same, "shown:\n{block}\n\nprinted:\n{printed}");
    }
}

/// A program under test, ended with the test.
struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: mpsc::Receiver<String>,
}

impl Program {
    fn start(script: &str, directory: &Path) -> (Self, BufReader<ChildStderr>) {
        let mut child = shell(&format!("exec {script}"), directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, stdout) = mpsc::channel();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        let program = Self {
            child,
            stdin,
            stdout,
        };
        (program, stderr)
    }

    fn write(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).expect("a line in time")
    }

    /// The end of the input; then the exit code, and what was not read yet.
    fn end(&mut self) -> (Option<i32>, String) {
        self.stdin = None;
        let mut rest = String::new();
        loop {
            match self.stdout.recv_timeout(PATIENCE) {
                Ok(line) => rest += &(line + "\n"),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs, after\n{rest}"),
            }
        }
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A pipeline is more than the shell that runs it.
        if let Ok(id) = self.child.id().try_into() {
            let _ = signal::killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}

/// The two commands of the simplest path, after those before them were run.
fn terminals(directory: &Path) -> (String, String) {
    let path = block(&read("README.md"), "sh run");
    let mut lines = path.lines();
    assert_eq!(lines.next(), Some("cargo install --path . --locked"));
    let mut terminals = Vec::new();
    for line in lines {
        match line.split_once("# terminal ") {
            Some((command, _)) => terminals.push(command.trim_end().to_owned()),
            None => {
                let ran = shell(line, directory).output().unwrap();
                assert!(ran.status.success(), "{line}: {ran:?}");
            }
        }
    }
    let [server, client] = <[String; 2]>::try_from(terminals).unwrap();
    (server + " --listen 127.0.0.1:0", client)
}

/// Starts the server; its address is read from what it says.
fn serve(server: &str, directory: &Path) -> (Program, String, BufReader<ChildStderr>) {
    let (program, mut stderr) = Program::start(server, directory);
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    let Some(address) = said.strip_prefix("Listening on ") else {
        stderr.read_to_string(&mut said).unwrap();
        panic!("{said}");
    };
    (program, address.trim_end().to_owned(), stderr)
}

/// What somebody types whose transcript this is.
fn typed(transcript: &str) -> impl Iterator<Item = &str> {
    transcript
        .lines()
        .filter_map(|line| line.strip_prefix("Your message: "))
}

#[test]
fn the_simplest_path_leads_to_the_conversation_that_is_shown() {
    let readme = read("README.md");
    let (alice, bob) = (
        block(&readme, "text alice") + "\n",
        block(&readme, "text bob") + "\n",
    );
    let directory = tempfile::tempdir().unwrap();
    let (server, client) = terminals(directory.path());
    let (mut server, address, _stderr) = serve(&server, directory.path());
    typed(&alice).for_each(|line| server.write(line));
    assert!(client.contains(" localhost "), "{client}");
    let client = client.replace(" localhost ", &format!(" {address} "));
    let (mut client, _stderr) = Program::start(&client, directory.path());
    typed(&bob).for_each(|line| client.write(line));
    assert_eq!(client.end(), (Some(0), bob));
    assert_eq!(server.end(), (Some(0), alice));
}

#[test]
fn the_events_shown_are_those_that_come() {
    let shown = block(&read("docs/JSON.md"), "text json");
    let directory = tempfile::tempdir().unwrap();
    let (server, client) = terminals(directory.path());
    let (mut server, address, _stderr) = serve(&server, directory.path());
    for line in shown
        .lines()
        .filter(|line| line.contains("\"speaker\":\"peer\""))
    {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        server.write(event["text"].as_str().unwrap());
    }
    let client = client.replace(" localhost ", &format!(" {address} ")) + " --json";
    let (mut client, _stderr) = Program::start(&client, directory.path());
    for line in shown.lines() {
        match line.strip_prefix("> ") {
            Some(command) => client.write(command),
            None => {
                let event = client.line();
                assert!(matches(&event, line), "shown:\n{line}\ncame:\n{event}");
            }
        }
    }
    assert_eq!(client.end(), (Some(0), String::new()));
}

#[test]
fn the_bot_answers_as_shown() {
    let readme = read("README.md");
    let bot = block(&readme, "python bot") + "\n";
    assert_eq!(bot, read("examples/bot.py"));
    let directory = tempfile::tempdir().unwrap();
    terminals(directory.path());
    symlink(root().join("examples"), directory.path().join("examples")).unwrap();

    let commands = block(&readme, "sh run bot");
    let (commands, client) = commands.rsplit_once('\n').unwrap();
    let server = commands.replace(
        "turnchat server",
        "turnchat server --listen 127.0.0.1:0 --once",
    );
    let (mut server, address, _stderr) = serve(&server, directory.path());
    let client = client.replace(" localhost ", &format!(" {address} "));
    let (mut client, _stderr) = Program::start(&client, directory.path());

    let transcript = block(&readme, "text bot") + "\n";
    typed(&transcript).for_each(|line| client.write(line));
    assert_eq!(client.end(), (Some(0), transcript));
    assert_eq!(server.end(), (Some(0), String::new()));
}

#[test]
fn a_program_talks_as_shown() {
    let commands = block(&read("docs/PROGRAMS.md"), "sh run exec");
    let directory = tempfile::tempdir().unwrap();
    terminals(directory.path());
    let (server, client) = commands.rsplit_once('\n').unwrap();
    let server = server.replace("turnchat server", "turnchat server --listen 127.0.0.1:0");
    let (_server, address, _stderr) = serve(&server, directory.path());
    let client = client.replace(" localhost ", &format!(" {address} "));
    let (mut client, _stderr) = Program::start(&client, directory.path());
    client.write("Is anybody there?");
    client.write("QUIT");
    let expected = "\
        They say: Speak.\n\
        Your message: Is anybody there?\n\
        They say: Is anybody there?\n\
        Your message: QUIT\n";
    assert_eq!(client.end(), (Some(0), expected.to_owned()));
}

/// An example's program, which cargo has built beside ours.
fn example(name: &str) -> String {
    let built = Path::new(env!("CARGO_BIN_EXE_turnchat"))
        .with_file_name("examples")
        .join(name);
    assert!(
        built.exists(),
        "run `cargo build --examples` first: cargo leaves them out with --test"
    );
    built.display().to_string()
}

/// With few conversations, so that it does not rot.
#[cfg(target_os = "linux")]
#[test]
fn the_load_example_measures() {
    let directory = tempfile::tempdir().unwrap();
    let csv = directory.path().join("load.csv");
    let few = "--conversations 10 --rounds 1 --turns 80 --idle 1 --csv";
    let ran = Command::new(example("load"))
        .args(few.split(' '))
        .arg(&csv)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let csv = std::fs::read_to_string(csv).unwrap();
    let rows: Vec<_> = csv.lines().skip(1).collect();
    assert_eq!(rows.len(), 3, "{csv}");
    for row in rows {
        let mut figures = row.split(',').skip(1).map(|it| it.parse::<f64>().unwrap());
        assert!(figures.all(f64::is_finite), "{csv}");
    }
}

#[test]
fn the_minimal_example_holds_its_conversation() {
    let source = read("examples/minimal.rs");
    assert!(source.lines().count() <= 60);
    let directory = tempfile::tempdir().unwrap();
    let (mut program, _stderr) = Program::start(&example("minimal"), directory.path());
    let expected = "\
        Bob hears \"Hello, client!\"\n\
        Alice hears \"Hi back! How does it end?\"\n\
        Bob hears \"Then say QUIT.\"\n\
        Alice: the peer ended the conversation. Bob: this side ended the conversation.\n";
    assert_eq!(program.end(), (Some(0), expected.to_owned()));
}

#[test]
fn the_echo_server_talks_with_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let (server, _stderr) = Program::start(&example("echo_server"), directory.path());
    let (mut client, _stderr) = Program::start(&server.line(), directory.path());
    client.write("Is anybody there?");
    client.write("QUIT");
    let expected = "\
        They say: Speak, and I repeat it.\n\
        Your message: Is anybody there?\n\
        They say: Is anybody there?\n\
        Your message: QUIT\n";
    assert_eq!(client.end(), (Some(0), expected.to_owned()));
}
