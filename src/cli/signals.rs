//! [`Signals`]: Ctrl-C once and twice, SIGTERM, and SIGHUP.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::report::Exit;

/// What the person or the system wants of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C: end the conversation politely, then the program.
    Interrupt,
    /// SIGTERM: let go of everything.
    Terminate,
}

/// How long letting go may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// The first wish to stop. A second Ctrl-C leaves at once, whatever goes on.
#[derive(Clone, Debug)]
pub struct Signals(watch::Receiver<Option<Stop>>);

impl Signals {
    /// Listens from now on. `terminated` is how the program ends when SIGTERM
    /// has come and the grace is over.
    ///
    /// # Errors
    /// As the system has it.
    pub fn listen(terminated: Exit) -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (wish, wished) = watch::channel(None);
        tokio::spawn(async move {
            let mut interrupts = 0;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => interrupts += 1,
                    _ = terminate.recv() => {
                        let _ = wish.send(Some(Stop::Terminate));
                        tokio::time::sleep(GRACE).await;
                        exit_now(terminated);
                    }
                }
                if interrupts > 1 {
                    exit_now(Exit::Interrupted);
                }
                let _ = wish.send(Some(Stop::Interrupt));
            }
        });
        Ok(Self(wished))
    }

    /// The wish, once there is one. May be dropped at any time.
    pub async fn stop(&mut self) -> Stop {
        match self.0.wait_for(Option::is_some).await {
            Ok(wish) => wish.unwrap_or(Stop::Interrupt),
            // Whoever sends them lives as long as the program.
            Err(_) => std::future::pending().await,
        }
    }
}

/// SIGHUP, at which the address book is read again.
///
/// # Errors
/// As the system has it.
pub fn hangup() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

fn exit_now(exit: Exit) -> ! {
    std::process::exit(exit.code().into())
}
