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

use crate::cli::report::Report;
use crate::cli::screen;
use crate::cli::speaker::partner::Partner;

/// A program and its arguments.
#[derive(Clone, Debug)]
pub struct CommandLine {
    program: OsString,
    arguments: Vec<OsString>,
}

impl CommandLine {
    /// `words` are the program, and what it is given. Before anybody is called, this looks
    /// whether there is such a program.
    ///
    /// # Errors
    /// There is none, or none that may be run.
    pub fn new(words: &[OsString]) -> Result<Self, Report> {
        let (program, arguments) = match words {
            [program, arguments @ ..] => (program.clone(), arguments.to_vec()),
            [] => (OsString::new(), Vec::new()),
        };
        let command = Self { program, arguments };
        match find(&command.program) {
            Ok(_) => Ok(command),
            Err(error) => Err(Report::program_not_started(&command.name(), &error)),
        }
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> String {
        let path = Path::new(&self.program);
        let name = path.file_name().unwrap_or(&self.program);
        screen::line(&name.to_string_lossy())
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
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    }
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
