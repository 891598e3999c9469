//! [`revision`]: how many writes etcd has seen.

use etcd_client::{Error, GetOptions, KvClient, ResponseHeader};

/// etcd's revision at some instant after this call, by a read that most of its machines confirm.
pub(super) async fn revision(kv: &mut KvClient, key: &str) -> Result<u64, Error> {
    let options = GetOptions::new().with_count_only();
    let read = kv.get(key, Some(options)).await?;
    let revision = read.header().map_or(0, ResponseHeader::revision);
    Ok(revision.try_into().unwrap_or(0))
}
