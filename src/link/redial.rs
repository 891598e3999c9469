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

    /// The conversation is on again: the next try, if one is needed, comes at once.
    pub(crate) fn connected(&mut self) {
        self.delays = delays();
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{DuplexStream, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::protocol::Limits;

    type Pauses = Arc<Mutex<Vec<Duration>>>;

    /// Dials of which only the `lucky` ones come to a connection, and how long
    /// each was put off.
    fn redial(lucky: &'static [usize]) -> (Redial<DuplexStream>, Pauses) {
        let pauses = Pauses::default();
        let noted = Arc::clone(&pauses);
        let redial = Redial::new(move || {
            let (noted, asked) = (Arc::clone(&noted), Instant::now());
            Box::pin(async move {
                let mut noted = noted.lock().unwrap();
                noted.push(asked.elapsed());
                let is_lucky = lucky.contains(&noted.len());
                is_lucky.then(|| Wire::new(duplex(1).0, &Limits::default(), Instant::now()))
            })
        });
        (redial, pauses)
    }

    fn millis(pauses: &Pauses) -> Vec<u128> {
        let pauses = pauses.lock().unwrap();
        pauses.iter().map(Duration::as_millis).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_try_comes_at_once_and_later_ones_ever_more_slowly() {
        let (mut redial, pauses) = redial(&[]);
        let hour = Duration::from_secs(3600);
        assert!(timeout(hour, redial.next()).await.is_err());

        let pauses = millis(&pauses);
        assert!(pauses[0] <= 100, "{pauses:?}");
        for (pause, least) in pauses.iter().zip([50, 100, 200, 400, 800, 1600, 3000]) {
            assert!((least..=2 * least + 1).contains(pause), "{pauses:?}");
        }
        // As long as it takes, and never further apart than a person waits.
        assert!(pauses.len() > 600);
        assert!(pauses.iter().all(|pause| *pause <= 6_001), "{pauses:?}");
        // Not everyone at the same instant.
        assert!(pauses[7..].windows(2).any(|two| two[0] != two[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_comes_to_nothing_is_no_reason_to_hurry() {
        let (mut redial, pauses) = redial(&[3, 4]);
        redial.next().await;
        redial.next().await;
        assert!(millis(&pauses)[3] >= 400);

        redial.connected();
        let minute = Duration::from_secs(60);
        assert!(timeout(minute, redial.next()).await.is_err());
        assert!(millis(&pauses)[4] <= 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quit_is_tried_three_times() {
        let (mut redial, pauses) = redial(&[]);
        redial.quitting();
        let minute = Duration::from_secs(60);
        assert!(timeout(minute, redial.next()).await.is_err());
        assert_eq!(millis(&pauses).len(), 3);
    }
}
