//! [`Leases`]: for how long etcd keeps a record. One lease serves all that is put in an hour.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{LeaseClient, LeaseGrantResponse};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::condition::Condition;
use super::fault::Fault;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// A conversation that goes on: 30 days and the hour that the lease has served before.
    Open,
    /// An end: 24 hours (PROTOCOL 4.24), and that hour.
    End,
}

impl Lifetime {
    fn time(self) -> Duration {
        HOUR + match self {
            Self::Open => 30 * DAY,
            Self::End => DAY,
        }
    }
}

/// The leases of this hour.
pub(super) struct Leases {
    client: LeaseClient,
    condition: Arc<Condition>,
    open: Mutex<Option<(Instant, i64)>>,
    end: Mutex<Option<(Instant, i64)>>,
}

impl Leases {
    pub(super) fn new(client: LeaseClient, condition: Arc<Condition>) -> Self {
        Self {
            client,
            condition,
            open: Mutex::default(),
            end: Mutex::default(),
        }
    }

    /// The lease for what is put now.
    pub(super) async fn current(&self, lifetime: Lifetime) -> Result<i64, Fault> {
        let mut lease = match lifetime {
            Lifetime::Open => &self.open,
            Lifetime::End => &self.end,
        }
        .lock()
        .await;
        match *lease {
            Some((since, id)) if since.elapsed() < HOUR => Ok(id),
            _ => {
                let asked = Instant::now();
                let seconds = lifetime.time().as_secs().try_into().unwrap_or(i64::MAX);
                let granted = self.client.clone().grant(seconds, None).await;
                let granted = self.condition.judge(granted, LeaseGrantResponse::header)?;
                let id = granted.id();
                *lease = Some((asked, id));
                Ok(id)
            }
        }
    }

    /// The next ones are new: etcd does not know one of these.
    pub(super) fn forget(&self) {
        for lease in [&self.open, &self.end] {
            // Whoever has it is just getting a new one.
            if let Ok(mut lease) = lease.try_lock() {
                *lease = None;
            }
        }
    }
}
