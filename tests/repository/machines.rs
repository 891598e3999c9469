//! The README's two machines, on this one: two people with nothing prepared, each at a
//! terminal.

use std::fs;
use std::io::{Read, Write as _};
use std::num::NonZero;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use pty_process::blocking::{Command, Pty, open};

use super::read;
use super::readme::{PATIENCE, block, matches, shell};

const ROWS: u16 = 24;
/// The code that the README invents.
const CODE: &str = "acoustic-museum-tide";
/// So many that no row is broken.
const COLUMNS: u16 = 240;

/// A command at a terminal, killed with the value.
struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    output: mpsc::Receiver<Vec<u8>>,
    screen: vt100::Parser,
}

impl Terminal {
    fn start(command: &str, home: &Path) -> Self {
        fs::create_dir(home).unwrap();
        let mut command = shell(&format!("exec {command}"), home);
        command.env("TERM", "xterm");
        let (pty, pts) = open().unwrap();
        pty.resize(pty_process::Size::new(ROWS, COLUMNS)).unwrap();
        let child = Command::from(command).spawn(pts).unwrap();
        let pty = Arc::new(pty);
        let (sender, output) = mpsc::channel();
        let reader = Arc::clone(&pty);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = (&*reader).read(&mut bytes) {
                if length == 0 || sender.send(bytes[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let size = |cells| NonZero::new(cells).unwrap();
        let screen = vt100::Parser::new(size(ROWS), size(COLUMNS), 0);
        Self {
            child,
            pty,
            output,
            screen,
        }
    }

    /// Waits until a row is as shown, and gives it.
    fn row(&mut self, shown: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rows: Vec<_> = self.screen.screen().rows(0, COLUMNS).collect();
            let row = rows.iter().find(|row| matches(row.trim_end(), shown));
            if let Some(row) = row {
                return row.trim_end().to_owned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(_) => panic!("shown: {shown}\non the screen:\n{}", rows.join("\n")),
            }
        }
    }

    fn types(&self, line: &str) {
        (&*self.pty).write_all(line.as_bytes()).unwrap();
        (&*self.pty).write_all(b"\r").unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the README shows behind this, with what is true here in place of what it invents.
fn shown<'a>(page: &'a str, side: &str, directory: &Path) -> impl Iterator<Item = String> + 'a {
    let real = directory.join(side).display().to_string();
    // In pieces, so that no path of a machine is found here.
    let invented = ["", "home", side].join("/");
    let part = page.split("\n\n").find(|part| part.starts_with(side));
    let lines = part.unwrap().lines().skip(1);
    lines.map(move |line| {
        line.replace(&invented, &real)
            .replace("3fJ…", "…")
            .replace("9aQ…", "…")
            .replace("[::]:8876", "127.0.0.1:…")
            .replace("client 192.0.2.7", "client 127.0.0.1:…")
    })
}

#[test]
fn two_machines_meet_as_shown() {
    let page = block(&read("README.md"), "text machines");
    let command = |side: &str| {
        let mut lines = page.lines().filter_map(|line| line.strip_prefix(side));
        lines
            .find_map(|line| line.strip_prefix("$ "))
            .unwrap()
            .trim()
    };
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();

    let server = format!("{} --listen 127.0.0.1:0", command("alice"));
    let mut alice = Terminal::start(&server, &directory.join("alice"));
    let mut rows = Vec::new();
    for row in shown(&page, "alice", directory) {
        rows.push(alice.row(&row.replace(CODE, "…")));
    }
    let told = |words: &str| {
        let row = rows.iter().find_map(|row| row.strip_prefix(words));
        row.unwrap().to_owned()
    };
    let invited = told("Your peer runs: ");
    let code = told("Pairing code: ");
    // As Bob types it, with the address that Alice has told him, and his name for her.
    assert_eq!(
        command("bob"),
        "turnchat client 192.0.2.7 --pair --as alice"
    );
    let client = invited.replace("--as NAME", "--as alice");
    let mut bob = Terminal::start(&client, &directory.join("bob"));
    let prompt = format!("Pairing code: {CODE}");
    for row in shown(&page, "bob", directory) {
        if row == prompt {
            bob.row("Pairing code:");
            bob.types(&code);
            bob.row(&prompt.replace(CODE, &code));
            continue;
        }
        bob.row(&row);
    }
    alice.row("Your message:");
    bob.row("Waiting for alice.");
}
