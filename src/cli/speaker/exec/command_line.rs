//! [`CommandLine`]: what `--exec` starts for each conversation. There is no shell in between,
//! and nothing of the peer's is in its arguments.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use tokio::process::{Child, Command};

use super::relay::Relay;
use crate::cli::display::Display;
use crate::cli::report::Report;
use crate::cli::screen;
use crate::cli::service_manager::NOTIFY_SOCKET;
use crate::cli::speaker::partner::Partner;

/// A program and its arguments, and where what it says on stderr goes.
#[derive(Debug)]
pub struct CommandLine {
    program: OsString,
    arguments: Vec<OsString>,
    relay: Relay,
}

impl CommandLine {
    /// `words` are the program, and what it is given. Before anybody is called, this looks
    /// whether there is such a program.
    ///
    /// # Errors
    /// There is none, or none that may be run.
    pub fn new(words: &[OsString], display: &Display) -> Result<Self, Report> {
        let (program, arguments) = match words {
            // As behind `--` elsewhere.
            [dashes, program, arguments @ ..] if dashes == "--" => (program, arguments),
            [program, arguments @ ..] => (program, arguments),
            [] => (&OsString::new(), [].as_slice()),
        };
        let found = find(program).and_then(|_| Relay::start(display.clone()));
        let not_started = |error| Report::program_not_started(&given(program), &error);
        Ok(Self {
            relay: found.map_err(not_started)?,
            program: program.clone(),
            arguments: arguments.to_vec(),
        })
    }

    /// Where its stderr goes.
    pub(super) fn relay(&self) -> Relay {
        self.relay.clone()
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> String {
        name(&self.program)
    }

    /// It is there, and cannot be started for this reason.
    pub(super) fn not_started(&self, error: &io::Error) -> Report {
        let is_there = find(&self.program).is_ok();
        match error.kind() {
            io::ErrorKind::NotFound if is_there => Report::no_interpreter(&given(&self.program)),
            _ => Report::program_not_started(&given(&self.program), error),
        }
    }

    /// Starts it for a conversation with `partner`, as the leader of a process group of its own.
    ///
    /// # Errors
    /// As the system has it.
    pub(super) fn spawn(&self, partner: &Partner) -> io::Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            .env("TURNCHAT_PEER", partner.petname.as_deref().unwrap_or(""))
            .env("TURNCHAT_KEY", partner.key.to_string())
            .env("TURNCHAT_CONVERSATION", partner.conversation.to_string())
            .env("TURNCHAT_ROLE", partner.role.word())
            .env_remove(NOTIFY_SOCKET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    }
}

/// As it was given.
fn given(program: &OsStr) -> String {
    screen::line(&program.to_string_lossy())
}

fn name(program: &OsStr) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    screen::line(&name.to_string_lossy())
}

/// Where the system will find it.
fn find(program: &OsStr) -> io::Result<PathBuf> {
    let path = Path::new(program);
    if program.to_string_lossy().contains('/') {
        return runnable(path.to_owned());
    }
    let mut first_error = None;
    let dirs = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    for dir in env::split_paths(&dirs) {
        match runnable(dir.join(path)) {
            Ok(found) => return Ok(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => _ = first_error.get_or_insert(error),
        }
    }
    Err(first_error.unwrap_or_else(|| Errno::ENOENT.into()))
}

fn runnable(path: PathBuf) -> io::Result<PathBuf> {
    match path.metadata()?.is_dir() {
        true => Err(Errno::EISDIR.into()),
        false => {
            access(&path, AccessFlags::X_OK)?;
            Ok(path)
        }
    }
}
