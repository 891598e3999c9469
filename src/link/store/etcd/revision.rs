//! [`revision`]: how many writes etcd has seen.

use etcd_client::{GetOptions, GetResponse, KvClient, ResponseHeader};

use super::condition::Condition;
use super::fault::Fault;

/// etcd's revision at some instant after this call, by a read that most of its machines confirm.
pub(super) async fn revision(
    kv: &mut KvClient,
    key: &str,
    condition: &Condition,
) -> Result<u64, Fault> {
    let options = GetOptions::new().with_count_only();
    let read = kv.get(key, Some(options)).await;
    let read = condition.judge(read, GetResponse::header)?;
    let revision = read.header().map_or(0, ResponseHeader::revision);
    Ok(revision.try_into().unwrap_or(0))
}
