//! What is done about etcd while it runs: its history is kept short, and it is tried while it
//! cannot be used.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, KvClient, PutResponse, ResponseHeader};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::condition::Condition;
use super::revision::revision;

/// How many revisions of the past stay.
const KEPT: u64 = 1_000;
/// How many more there are before the older ones go.
const BEFORE: u64 = 2 * KEPT;
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often it is tried while it cannot be used.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Says when etcd can be used again, and what there is to be said of it then.
pub(super) async fn watch(client: Client, key: String, condition: Arc<Condition>) {
    let mut kv = client.kv_client();
    loop {
        condition.down().await;
        while revision(&mut kv, &key, &condition).await.is_err() {
            sleep(TRY_EVERY).await;
        }
        condition.is_up();
        if let Ok(status) = client.maintenance_client().status().await
            && let Some(caution) = condition.version(status.version())
        {
            warn!("{caution}");
        }
    }
}

/// Removes the past, for ever: nobody reads it, and it would fill the disk.
pub(super) async fn compact(mut kv: KvClient, key: String, condition: Arc<Condition>) {
    let mut compacted = 0;
    loop {
        sleep(LOOK_EVERY).await;
        let Ok(now) = revision(&mut kv, &key, &condition).await else {
            continue;
        };
        if now < compacted + BEFORE {
            continue;
        }
        // etcd of some versions steps back after a crash if a removal is the last that it knows
        // (etcd's issue 17780).
        let put = kv.put(key.as_str(), "", None).await;
        let Ok(put) = condition.judge(put, PutResponse::header) else {
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
