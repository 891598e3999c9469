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
/// the next connection has a higher ticket. Only where its record is `held`, because the
/// conversation is on here, what was begun goes on: that has to know what has become of it.
pub(super) async fn claim(
    store: Arc<dyn Store>,
    name: RecordName,
    held: Option<Arc<Record>>,
    claimant: Claimant,
    by: Instant,
) -> Claimed {
    let is_held = held.is_some();
    let claiming = claim_until(store, name, held, claimant, by);
    let claimed = match is_held {
        true => match timeout_at(by, tokio::spawn(claiming)).await {
            Ok(Ok(claimed)) => Some(claimed),
            // It panics nowhere.
            Ok(Err(_)) | Err(_) => None,
        },
        false => timeout_at(by, claiming).await.ok(),
    };
    claimed.unwrap_or(Claimed::Nothing)
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
        match record.claim(claimant, held.is_some(), by).await {
            Ok(Some(Claim::Free(conversation))) => return Claimed::Ours(record, conversation),
            Ok(Some(Claim::Ended)) => return Claimed::Ended,
            Ok(Some(Claim::Overtaken) | None) => return Claimed::Nothing,
            Ok(Some(Claim::Impossible(violation))) => return Claimed::Impossible(violation),
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

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::path::PathBuf;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

    use super::*;
    use crate::link::store::{Later, Loaded, MemoryStore, PutError, Version, next_ticket};
    use crate::protocol::{ConversationId, HeardWhen, Role};
    use crate::trust::KeyId;

    /// A store that cannot be reached at times; and somebody else who writes in it.
    #[derive(Debug)]
    struct Far {
        store: Arc<MemoryStore>,
        back_at: Mutex<Instant>,
        /// Before so many puts somebody else writes.
        rivals: AtomicUsize,
        /// For so many seconds it goes away with the next put.
        leaves: AtomicU64,
        /// It is read, and takes no puts; how many it was asked for.
        is_full: AtomicBool,
        refused: AtomicUsize,
    }

    impl Far {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                store: Arc::default(),
                back_at: Mutex::new(Instant::now()),
                rivals: AtomicUsize::new(0),
                leaves: AtomicU64::new(0),
                is_full: AtomicBool::new(false),
                refused: AtomicUsize::new(0),
            })
        }

        fn leave_for(&self, seconds: u64) {
            *self.back_at.lock().unwrap() = Instant::now() + Duration::from_secs(seconds);
        }

        fn is_away(&self) -> bool {
            *self.back_at.lock().unwrap() > Instant::now()
        }

        /// As it stands, with another version.
        fn write_as_another(&self) {
            let (version, bytes) = self.store.get(&name()).unwrap();
            self.store.write(name(), Some(bytes), version).unwrap();
        }
    }

    impl Store for Far {
        fn is_shared(&self) -> bool {
            true
        }

        fn place(&self, _: &RecordName) -> PathBuf {
            "record".into()
        }

        fn load(self: Arc<Self>, name: RecordName) -> Later<Result<Option<Loaded>, JournalError>> {
            let path = "record".into();
            let source = std::io::Error::other("away").into();
            Box::pin(ready(match self.is_away() {
                true => Err(JournalError::Unreadable { path, source }),
                false => Ok(self.store.get(&name)),
            }))
        }

        fn put(
            self: Arc<Self>,
            name: RecordName,
            bytes: Vec<u8>,
            expected: Version,
        ) -> Later<Result<Version, PutError>> {
            if self.is_full.load(Ordering::Relaxed) {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Box::pin(ready(Err(PutError::Unknown)));
            }
            let rivals = self.rivals.load(Ordering::Relaxed);
            if rivals > 0 {
                self.rivals.store(rivals - 1, Ordering::Relaxed);
                self.write_as_another();
            }
            // Done all the same.
            let put = self.store.write(name, Some(bytes), expected);
            match self.leaves.swap(0, Ordering::Relaxed) {
                0 => {}
                seconds => self.leave_for(seconds),
            }
            Box::pin(ready(match self.is_away() {
                true => Err(PutError::Unknown),
                false => put,
            }))
        }

        fn remove(self: Arc<Self>, _: RecordName, _: Version) -> Later<Result<(), PutError>> {
            Box::pin(ready(Err(PutError::Unknown)))
        }

        fn ticket(self: Arc<Self>) -> Later<Result<u64, JournalError>> {
            Box::pin(ready(Ok(self.store.writes())))
        }
    }

    fn id() -> ConversationId {
        ConversationId::from_bits([7; 16])
    }

    fn name() -> RecordName {
        RecordName::Server(KeyId::of_spki(b"bob"), id())
    }

    /// For ten seconds.
    async fn claims(far: &Arc<Far>, held: Option<&Arc<Record>>, heard: u64) -> Claimed {
        let claimant = Claimant {
            conversation: id(),
            heard,
            clienthello: next_ticket(0, far.store.writes()),
            has_claimed: false,
        };
        let by = Instant::now() + Duration::from_secs(10);
        let store: Arc<dyn Store> = far.clone();
        claim(store, name(), held.cloned(), claimant, by).await
    }

    async fn claimed(far: &Arc<Far>) -> Arc<Record> {
        match claims(far, None, 0).await {
            Claimed::Ours(record, _) => record,
            _ => panic!("not claimed"),
        }
    }

    async fn put(record: &Record) -> Result<(), StoreError> {
        let conversation = Conversation::new(Role::Server, id(), HeardWhen::Stored);
        record.put(&conversation.snapshot(), true, 0).await
    }

    /// Its client is not told that it has ended: nobody knows.
    #[tokio::test(start_paused = true)]
    async fn a_hello_that_cannot_be_looked_up_is_not_answered() {
        let far = Far::new();
        far.leave_for(11);
        for heard in [0, 1] {
            assert!(matches!(claims(&far, None, heard).await, Claimed::Nothing));
            far.leave_for(11);
        }
        far.leave_for(3);
        assert!(matches!(claims(&far, None, 1).await, Claimed::Ended));
        far.leave_for(3);
        assert!(matches!(claims(&far, None, 0).await, Claimed::Ours(..)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_on_elsewhere_is_lost_here() {
        let far = Far::new();
        let record = claimed(&far).await;
        assert!(matches!(
            claims(&far, Some(&record), 0).await,
            Claimed::Ours(..)
        ));
        let _theirs = claimed(&far).await;
        assert!(matches!(
            claims(&far, Some(&record), 0).await,
            Claimed::Lost
        ));
    }

    /// A claim that came too late for its connection may be done, and is known as one's own.
    #[tokio::test(start_paused = true)]
    async fn a_claim_that_was_given_up_takes_nothing_from_its_conversation() {
        let far = Far::new();
        let record = claimed(&far).await;
        let writes = far.store.writes();
        far.leaves.store(15, Ordering::Relaxed);
        assert!(matches!(
            claims(&far, Some(&record), 0).await,
            Claimed::Nothing
        ));
        assert_eq!(far.store.writes(), writes + 1);
        assert_eq!(put(&record).await, Ok(()));
    }

    /// As an etcd that is full. Whoever comes again and again leaves nothing behind that writes.
    #[tokio::test(start_paused = true)]
    async fn where_nothing_can_be_written_a_claim_ends_with_its_connection() {
        let far = Far::new();
        let record = claimed(&far).await;
        far.is_full.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            assert!(matches!(claims(&far, None, 0).await, Claimed::Nothing));
        }
        let refused = || far.refused.load(Ordering::Relaxed);
        let before = refused();
        assert!(before > 3);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(refused(), before);

        // Of those that a conversation has held up, one goes on.
        let writes = far.store.writes();
        for _ in 0..3 {
            let claimed = claims(&far, Some(&record), 0).await;
            assert!(matches!(claimed, Claimed::Nothing));
        }
        far.is_full.store(false, Ordering::Relaxed);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(far.store.writes(), writes + 1);
        assert_eq!(put(&record).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_else_may_write_first_and_not_for_ever() {
        let far = Far::new();
        claimed(&far).await;
        far.rivals.store(TRIES - 1, Ordering::Relaxed);
        claimed(&far).await;
        far.rivals.store(usize::MAX, Ordering::Relaxed);
        assert!(matches!(claims(&far, None, 0).await, Claimed::Nothing));
    }
}
