//! What etcd is to be kept from: a history without end, and a [`Caution`] about its version.

use std::time::Duration;

use etcd_client::{KvClient, ResponseHeader};
use tokio::time::sleep;
use tracing::debug;

use super::revision::revision;

/// How many revisions of the past stay.
const KEPT: u64 = 1_000;
/// How many more there are before the older ones go.
const BEFORE: u64 = 2 * KEPT;
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Removes the past, for ever: nobody reads it, and it would fill the disk.
pub(super) async fn compact(mut kv: KvClient, key: String) {
    let mut compacted = 0;
    loop {
        sleep(LOOK_EVERY).await;
        let Ok(now) = revision(&mut kv, &key).await else {
            continue;
        };
        if now < compacted + BEFORE {
            continue;
        }
        // etcd of some versions steps back after a crash if a removal is the last that it knows
        // (etcd's issue 17780).
        let Ok(put) = kv.put(key.as_str(), "", None).await else {
            continue;
        };
        let last = put.header().map_or(0, ResponseHeader::revision);
        let upto = u64::try_from(last).unwrap_or(0).saturating_sub(KEPT);
        let done = kv.compact(i64::try_from(upto).unwrap_or(0), None).await;
        // Another machine may have been quicker.
        debug!(upto, "compacted: {}", done.is_ok());
        compacted = upto;
    }
}

/// What is to be said about an etcd.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("etcd {version} can lose its last revision in a crash; 3.4.32 and 3.5.14 cannot")]
pub struct Caution {
    version: String,
}

impl Caution {
    /// Its version is older than 3.4.32, or than 3.5.14 of 3.5 (etcd's issue 17780).
    pub(super) fn of(version: &str) -> Option<Self> {
        let mut parts = version.split(['.', '-']).map(|part| part.parse().ok());
        let mut next = || parts.next().flatten();
        let (major, minor, patch): (u32, u32, u32) = (next()?, next()?, next()?);
        let is_old = match (major, minor) {
            (3, 4) => patch < 32,
            (3, 5) => patch < 14,
            known => known < (3, 4),
        };
        is_old.then(|| Self {
            version: version.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_step_back_are_named() {
        for (version, is_old) in [
            ("3.3.25", true),
            ("3.4.23", true),
            ("3.4.31-rc.1", true),
            ("3.4.32", false),
            ("3.5.13", true),
            ("3.5.14", false),
            ("3.6.0", false),
            ("4.0.0", false),
            ("unknown", false),
        ] {
            assert_eq!(Caution::of(version).is_some(), is_old, "{version}");
        }
    }
}
