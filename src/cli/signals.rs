//! [`Signals`]: Ctrl-C once and twice, SIGTERM, and SIGHUP.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::display;
use super::editor;
use super::report::Exit;
use super::speaker::exec;

/// What the person or the system wants of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C: end the conversation politely, then the program.
    Interrupt,
    /// SIGTERM: let go of everything; conversations go on later.
    Terminate,
    /// The terminal was closed: the same.
    HangUp,
}

impl Stop {
    /// The program leaves after this, whatever goes on.
    pub fn grace(self) -> Duration {
        match self {
            Self::Interrupt => GOODBYE,
            Self::Terminate | Self::HangUp => GRACE,
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Interrupt => Signal::SIGINT,
            Self::Terminate => Signal::SIGTERM,
            Self::HangUp => Signal::SIGHUP,
        }
    }
}

/// Which side this is, as far as signals go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// SIGTERM is how it is stopped. SIGHUP has the address book read again, unless the
    /// terminal has been closed.
    Server,
    /// SIGTERM and SIGHUP stop it.
    Client,
}

/// How long letting go may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// And ending all after Ctrl-C: a message may be taken for 10 s, an end told for 10 s, and a program of
/// `--exec` has its own time. More is needed only where nobody reads standard output.
const GOODBYE: Duration = Duration::from_secs(40);

/// When the program leaves, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Now(Exit),
    Within(Duration, Exit),
}

impl Leave {
    /// `is_first`: no signal has come before.
    fn at(stop: Stop, program: Program, is_first: bool) -> Self {
        let exit = match (stop, program) {
            (Stop::Interrupt, _) => Exit::Interrupted,
            (Stop::HangUp, _) => Exit::HungUp,
            (Stop::Terminate, Program::Server) => Exit::Success,
            (Stop::Terminate, Program::Client) => Exit::Terminated,
        };
        match stop == Stop::Interrupt && !is_first {
            true => Self::Now(exit),
            false => Self::Within(stop.grace(), exit),
        }
    }
}

/// The first wish to stop. A second Ctrl-C leaves at once, whatever goes on.
#[derive(Clone, Debug)]
pub struct Signals {
    wished: watch::Receiver<Option<Stop>>,
    reread: Arc<Notify>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// As the system has it.
    pub fn listen(program: Program) -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // Ignored at the start, as by nohup, it stops nothing.
        let survives = is_ignored(SignalKind::hangup());
        let mut hangup = match program {
            Program::Client if survives => None,
            Program::Client | Program::Server => Some(signal(SignalKind::hangup())?),
        };
        // Past a limit of the size of a file, a write is to fail: by default it would end us.
        let past_limit = signal(SignalKind::from_raw(Signal::SIGXFSZ as i32))?;
        let had_terminal = has_terminal();
        let (wish, wished) = watch::channel(None);
        let reread = Arc::new(Notify::new());
        let rereads = Arc::clone(&reread);
        tokio::spawn(async move {
            let _past_limit = past_limit;
            let mut leaves: Option<(Instant, Duration, Exit)> = None;
            loop {
                let hung_up = async {
                    match &mut hangup {
                        Some(hangup) => hangup.recv().await,
                        None => std::future::pending().await,
                    }
                };
                let left = async {
                    match leaves {
                        Some((by, grace, exit)) => {
                            sleep_until(by).await;
                            (grace.as_secs(), exit)
                        }
                        None => std::future::pending().await,
                    }
                };
                let stop = tokio::select! {
                    (seconds, exit) = left => {
                        // Any peer can bring this about; what could not be stored is told where it
                        // was tried.
                        info!("left after {seconds} s: not every end was answered or stored");
                        exit_now(exit);
                    }
                    _ = interrupt.recv() => Stop::Interrupt,
                    _ = terminate.recv() => Stop::Terminate,
                    _ = hung_up => {
                        let lives = survives || !had_terminal || has_terminal();
                        if program == Program::Server && lives {
                            rereads.notify_one();
                            continue;
                        }
                        Stop::HangUp
                    }
                };
                let signal = stop.signal().as_str();
                info!(signal, "stopping");
                let _ = wish.send(Some(stop));
                match Leave::at(stop, program, leaves.is_none()) {
                    Leave::Now(exit) => exit_now(exit),
                    Leave::Within(grace, exit) => {
                        let by = Instant::now() + grace;
                        if leaves.is_none_or(|(before, ..)| by < before) {
                            leaves = Some((by, grace, exit));
                        }
                    }
                }
            }
        });
        Ok(Self { wished, reread })
    }

    /// Signals that a test plays.
    #[cfg(test)]
    pub(super) fn played() -> (Self, watch::Sender<Option<Stop>>) {
        let (wish, wished) = watch::channel(None);
        let reread = Arc::default();
        (Self { wished, reread }, wish)
    }

    /// The wish, once there is one. May be dropped at any time.
    pub async fn stop(&mut self) -> Stop {
        let wished = self.wished.wait_for(Option::is_some).await;
        match wished.map(|wish| *wish) {
            Ok(wish) => wish.unwrap_or(Stop::Interrupt),
            // Whoever sends them lives as long as the program.
            Err(_) => std::future::pending().await,
        }
    }

    /// SIGHUP, at which the address book is read again.
    pub fn reread(&self) -> Arc<Notify> {
        Arc::clone(&self.reread)
    }
}

/// Whether there is a controlling terminal that still answers.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// As far as this system tells.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

fn exit_now(exit: Exit) -> ! {
    exec::kill_all();
    display::finish();
    if !editor::restore() {
        editor::end_row();
    }
    std::process::exit(exit.code().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_signal_leaves_time_and_a_second_ctrl_c_none() {
        let interrupted = Exit::Interrupted;
        for program in [Program::Server, Program::Client] {
            let first = Leave::at(Stop::Interrupt, program, true);
            assert_eq!(first, Leave::Within(GOODBYE, interrupted));
            let second = Leave::at(Stop::Interrupt, program, false);
            assert_eq!(second, Leave::Now(interrupted));
        }
        for is_first in [true, false] {
            let terminated = Leave::at(Stop::Terminate, Program::Server, is_first);
            assert_eq!(terminated, Leave::Within(GRACE, Exit::Success));
        }
    }
}
