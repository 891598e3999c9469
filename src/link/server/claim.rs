//! [`claim`]: a server that shares its store takes a conversation over before it answers a `hello`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::link::store::{Claim, Claimant, JournalError, Record, RecordName, Store, StoreError};
use crate::protocol::{Conversation, Violation};

/// How long to wait before a store is asked again that has failed.
const PAUSE: Duration = Duration::from_millis(500);
/// How often somebody else may write between our look at a record and our claim. Nobody goes on
/// writing once a newer connection has claimed it.
const TRIES: usize = 16;

/// What has become of a connection's claim.
pub(super) enum Claimed {
    /// The conversation is its own, as it stands, in this record.
    Ours(Arc<Record>, Box<Conversation>),
    /// It has ended, or nobody knows it.
    Ended,
    /// It was on here, and goes on elsewhere.
    Lost,
    /// The client's counter is impossible.
    Impossible(Violation),
    /// Its record cannot be read.
    Unreadable(JournalError),
    /// A newer connection has it, or the store did not answer in time: nothing is said.
    Nothing,
}

/// Claims a conversation, if that is done `by` then. A claim of which nothing comes does no harm:
/// the next connection has a higher ticket. What was begun goes on, so that its record, where that
/// is `held` because the conversation is on here, knows what has become of it.
pub(super) async fn claim(
    store: Arc<dyn Store>,
    name: RecordName,
    held: Option<Arc<Record>>,
    claimant: Claimant,
    by: Instant,
) -> Claimed {
    let claiming = tokio::spawn(claim_until(store, name, held, claimant, by));
    match timeout_at(by, claiming).await {
        Ok(Ok(claimed)) => claimed,
        // It panics nowhere.
        Ok(Err(_)) | Err(_) => Claimed::Nothing,
    }
}

async fn claim_until(
    store: Arc<dyn Store>,
    name: RecordName,
    held: Option<Arc<Record>>,
    claimant: Claimant,
    by: Instant,
) -> Claimed {
    let mut tries = 0;
    while tries < TRIES && Instant::now() < by {
        let fresh = || Arc::new(Record::of_new(Arc::clone(&store), name));
        let record = held.clone().unwrap_or_else(fresh);
        match record.claim(claimant, held.is_some()).await {
            Ok(Claim::Free(conversation)) => return Claimed::Ours(record, conversation),
            Ok(Claim::Ended) => return Claimed::Ended,
            Ok(Claim::Overtaken) => return Claimed::Nothing,
            Ok(Claim::Impossible(violation)) => return Claimed::Impossible(violation),
            Err(StoreError::TakenOver) if held.is_some() => return Claimed::Lost,
            Err(StoreError::TakenOver) => tries += 1,
            Err(StoreError::Failed(error)) if error.is_of_one_record() => {
                return Claimed::Unreadable(error);
            }
            Err(StoreError::Failed(_)) => sleep(PAUSE).await,
        }
    }
    Claimed::Nothing
}
