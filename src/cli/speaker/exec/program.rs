//! [`Program`]: a program that talks in one conversation: its streams, its processes, its end.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::command_line::CommandLine;
use super::group::Group;
use super::lines::Lines;
use super::stdin::Stdin;
use crate::cli::input::line::Line;
use crate::cli::report::Report;
use crate::cli::speaker::partner::Partner;

/// After the conversation it has so long to end by itself, and then once more after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);
/// So many bytes may wait for it to read them. More come only where it reads nothing at all
/// while the link comes and goes.
const UNREAD: usize = 1 << 20;
/// As many lines that nobody heard are counted at most.
const COUNTED: usize = 1_000;

/// A program that runs.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    group: Group,
    stdin: Stdin,
    stdout: Lines,
    exit: Option<ExitStatus>,
    /// The one task that passes its stderr on.
    relaying: JoinSet<()>,
}

impl Program {
    /// Starts it for a conversation with `partner`. It may say lines of `limit` bytes.
    ///
    /// # Errors
    /// As the system has it.
    pub fn start(command: &CommandLine, partner: &Partner, limit: usize) -> Result<Self, Report> {
        let not_started = |error| command.not_started(&error);
        let mut child = command.spawn(partner).map_err(not_started)?;
        let id = child.id().unwrap_or_default();
        let group = Group::of(id);
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(not_started(std::io::ErrorKind::BrokenPipe.into()));
        };
        let stdin = Stdin::new(stdin).map_err(not_started)?;
        let stdout = stdout.into_owned_fd();
        let stdout = stdout.and_then(|pipe| Lines::new(pipe, limit));
        let stdout = stdout.map_err(not_started)?;
        let stderr = stderr.into_owned_fd().map_err(not_started)?;
        let name = format!("{}[{id}]", command.name());
        let mut relaying = JoinSet::new();
        relaying.spawn(command.relay().pass_on(stderr, name));
        Ok(Self {
            name: command.name(),
            child,
            group,
            stdin,
            stdout,
            exit: None,
            relaying,
        })
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Why the line that came was not sent.
    pub(super) fn said_too_much(&self) -> Report {
        Report::program_said_too_much(&self.name)
    }

    /// The same for one that is not UTF-8.
    pub(super) fn said_no_text(&self) -> Report {
        Report::program_said_no_text(&self.name)
    }

    /// Gives it this to read.
    ///
    /// # Errors
    /// It has not read for long.
    pub fn give(&mut self, bytes: &[u8]) -> Result<(), Report> {
        if self.stdin.unread() + bytes.len() > UNREAD {
            return Err(Report::program_does_not_read(&self.name));
        }
        self.stdin.give(bytes);
        Ok(())
    }

    /// Returns once all that it was given is in its stdin. May be dropped at any time.
    ///
    /// # Errors
    /// It reads no more.
    pub async fn taken(&mut self) -> Result<(), Report> {
        let status = tokio::select! {
            biased;
            written = self.stdin.write() => match written {
                Ok(()) => return Ok(()),
                Err(_) => self.exits_soon().await?,
            },
            status = exited(&mut self.child, &mut self.exit, &mut self.group) => status,
        };
        Err(Report::program_left_unread(&self.name, status))
    }

    /// It reads no more: because it ends, or else it has failed.
    async fn exits_soon(&mut self) -> Result<ExitStatus, Report> {
        let exited = exited(&mut self.child, &mut self.exit, &mut self.group);
        let in_time = timeout(GRACE, exited).await;
        in_time.map_err(|_| Report::program_closed_stdin(&self.name))
    }

    /// The next line that it says; `None` if there are no more. What it was given is
    /// written meanwhile. May be dropped at any time.
    ///
    /// # Errors
    /// It reads no more.
    pub async fn next(&mut self) -> Result<Option<Line>, Report> {
        loop {
            tokio::select! {
                biased;
                line = self.stdout.next() => return Ok(line),
                _ = exited(&mut self.child, &mut self.exit, &mut self.group) => {}
                () = self.stdin.closed() => drop(self.exits_soon().await?),
            }
            self.stdout.end();
        }
    }

    /// Returns once it has ended. May be dropped at any time.
    ///
    /// # Errors
    /// It has failed.
    pub(super) async fn ended(&mut self) -> Result<(), Report> {
        let status = tokio::select! {
            status = exited(&mut self.child, &mut self.exit, &mut self.group) => status,
            () = self.stdin.closed() => self.exits_soon().await?,
        };
        match status.success() {
            true => Ok(()),
            false => Err(Report::program_failed(&self.name, status)),
        }
    }

    /// The same where it can say no more: it has to end soon.
    ///
    /// # Errors
    /// It has failed, or goes on.
    pub async fn ends(&mut self) -> Result<(), Report> {
        let ended = timeout(GRACE, self.ended()).await;
        ended.unwrap_or_else(|_| Err(Report::program_closed_stdout(&self.name)))
    }

    /// Lets it end after the conversation, and sees to it that it does. How many lines it has
    /// said that nobody heard; `Err`: more than so many.
    pub async fn finish(self) -> Result<usize, usize> {
        let (mut child, mut exit, mut group) = (self.child, self.exit, self.group);
        let mut stdin = self.stdin;
        let _ = timeout(GRACE, async {
            let _ = stdin.write().await;
            drop(stdin);
            exited(&mut child, &mut exit, &mut group).await;
        })
        .await;
        if exit.is_none() {
            group.terminate();
            let _ = timeout(GRACE, exited(&mut child, &mut exit, &mut group)).await;
        }
        group.kill();
        // It may have left its group.
        let _ = child.start_kill();
        let _ = child.wait().await;
        // Whoever has left its group may hold its stderr for ever.
        let mut relaying = self.relaying;
        let _ = timeout(GRACE, relaying.join_next()).await;
        let mut stdout = self.stdout;
        stdout.end();
        match stdout.count() {
            left @ ..=COUNTED => Ok(left),
            _ => Err(COUNTED),
        }
    }
}

/// Waits for its end; what it has started ends with it.
async fn exited(child: &mut Child, exit: &mut Option<ExitStatus>, group: &mut Group) -> ExitStatus {
    if let Some(status) = exit {
        return *status;
    }
    // It fails only where somebody else has waited for our child.
    let status = child.wait().await.unwrap_or_default();
    group.kill();
    *exit = Some(status);
    status
}
