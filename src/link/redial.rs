//! [`Redial`]: a client's next connection, after a cut. The first try comes at
//! once, the later ones ever more slowly, with jitter, so that a server that
//! comes back is not met by everyone at the same instant.

use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::sleep;

use super::wire::Wire;

/// Before the first try, as much again as jitter at most.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// Between two tries, as much again as jitter at most.
const MAX_DELAY: Duration = Duration::from_secs(3);
/// Tries for a conversation that only wants its end acknowledged (PROTOCOL §3.4).
const QUIT_TRIES: u32 = 3;

type Attempt<S> = Pin<Box<dyn Future<Output = Option<Wire<S>>> + Send>>;

/// Dials until there is a proven connection.
pub(crate) struct Redial<S> {
    dial: Box<dyn FnMut() -> Attempt<S> + Send>,
    delays: ExponentialBackoff,
    attempt: Option<Attempt<S>>,
    /// How many more tries there are, if that is limited.
    tries: Option<u32>,
}

impl<S: 'static> Redial<S> {
    /// `dial` makes one try, up to a proven connection with the same key.
    pub(crate) fn new(dial: impl FnMut() -> Attempt<S> + Send + 'static) -> Self {
        Self {
            dial: Box::new(dial),
            delays: delays(),
            attempt: None,
            tries: None,
        }
    }

    /// From now on only the end is to be told.
    pub(crate) fn quitting(&mut self) {
        self.tries.get_or_insert(QUIT_TRIES);
    }

    /// The next connection. May be dropped at any time, and the try that is on
    /// goes on when this is called again.
    pub(crate) async fn next(&mut self) -> Wire<S> {
        loop {
            let attempt = match &mut self.attempt {
                Some(attempt) => attempt,
                none => none.insert(match self.tries {
                    Some(0) => Box::pin(pending()),
                    _ => {
                        let delay = self.delays.next().unwrap_or(MAX_DELAY);
                        let dialling = (self.dial)();
                        self.tries = self.tries.map(|tries| tries - 1);
                        Box::pin(async move {
                            sleep(delay).await;
                            dialling.await
                        })
                    }
                }),
            };
            let wire = attempt.await;
            self.attempt = None;
            if let Some(wire) = wire {
                self.delays = delays();
                return wire;
            }
        }
    }
}

fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(MAX_DELAY)
        .without_max_times()
        .with_jitter()
        .build()
}
