//! What a record holds when puts fail, when others write it too, and once it is over.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex as StdMutex, MutexGuard};

use super::*;
use crate::link::store::{Later, Loaded, PutError, next_ticket};
use crate::protocol::{Conversation, ConversationId, HeardWhen, Role};
use crate::trust::KeyId;

/// How a put ends that is not done as usual.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It is not there.
    Failed,
    /// It is there, and its writer is told that it failed.
    FailedLate,
    /// It is there, and its writer is told nothing.
    Unknown,
}

/// A store of one record, in memory.
#[derive(Debug, Default)]
struct OnePage {
    is_shared: bool,
    /// How often an end was put.
    ends: AtomicUsize,
    state: StdMutex<(Version, Option<Vec<u8>>)>,
    faults: StdMutex<VecDeque<Fault>>,
}

impl OnePage {
    fn state(&self) -> MutexGuard<'_, (Version, Option<Vec<u8>>)> {
        self.state.lock().unwrap()
    }

    fn fail(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    fn change(&self, bytes: Option<Vec<u8>>, expected: Version) -> Result<Version, PutError> {
        let fault = self.faults.lock().unwrap().pop_front();
        let mut state = self.state();
        let failed = || PutError::Failed(JournalError::Damaged { path: place() });
        if state.0 != expected {
            return Err(PutError::Conflict);
        }
        if matches!(fault, Some(Fault::Failed)) {
            return Err(failed());
        }
        let version = match bytes {
            Some(_) => Version(state.0.0 + 1),
            None => Version::NONE,
        };
        *state = (version, bytes);
        match fault {
            Some(Fault::FailedLate) => Err(failed()),
            Some(Fault::Unknown) => Err(PutError::Unknown),
            Some(Fault::Failed) | None => Ok(version),
        }
    }

    /// What stands in it.
    fn contents(&self) -> Option<Contents> {
        let bytes = self.state().1.clone()?;
        Some(Contents::decode(&bytes).unwrap())
    }
}

fn place() -> PathBuf {
    "record".into()
}

impl Store for OnePage {
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn put_end(
        self: Arc<Self>,
        name: RecordName,
        bytes: Vec<u8>,
        expected: Version,
    ) -> Later<Result<Version, PutError>> {
        self.ends.fetch_add(1, Ordering::Relaxed);
        self.put(name, bytes, expected)
    }

    fn place(&self, _: &RecordName) -> PathBuf {
        place()
    }

    fn load(self: Arc<Self>, _: RecordName) -> Later<Result<Option<Loaded>, JournalError>> {
        let (version, bytes) = self.state().clone();
        Box::pin(ready(Ok(bytes.map(|bytes| (version, bytes)))))
    }

    fn put(
        self: Arc<Self>,
        _: RecordName,
        bytes: Vec<u8>,
        expected: Version,
    ) -> Later<Result<Version, PutError>> {
        Box::pin(ready(self.change(Some(bytes), expected)))
    }

    fn remove(self: Arc<Self>, _: RecordName, expected: Version) -> Later<Result<(), PutError>> {
        Box::pin(ready(self.change(None, expected).map(|_| ())))
    }

    fn ticket(self: Arc<Self>) -> Later<Result<u64, JournalError>> {
        Box::pin(ready(Ok(0)))
    }
}

fn conversation() -> Conversation {
    let id = ConversationId::from_bits([7; 16]);
    Conversation::new(Role::Server, id, HeardWhen::Taken)
}

fn record(store: &Arc<OnePage>) -> Record {
    let key: KeyId = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
        .parse()
        .unwrap();
    let store: Arc<dyn Store> = store.clone();
    Record::of_new(store, RecordName::Server(key, conversation().id()))
}

async fn put(record: &Record) -> Result<(), StoreError> {
    record.put(&conversation().snapshot(), true, 3).await
}

async fn end(record: &Record) -> Result<(), StoreError> {
    record.put(&conversation().tombstone(), false, 3).await
}

#[tokio::test]
async fn a_record_says_what_was_put_and_by_whom_it_came() {
    let store = Arc::default();
    let record = record(&store);
    put(&record).await.unwrap();
    let first = store.contents().unwrap();
    assert_eq!(first.conversation, conversation().snapshot());
    assert_eq!((first.live, first.clienthello), (true, 3));
    assert!(first.written > 0);
    put(&record).await.unwrap();
    let second = store.contents().unwrap();
    assert_ne!(second.nonce, first.nonce);
    assert!(first.nonce != 0 && second.nonce != 0);
}

#[tokio::test]
async fn a_put_that_failed_and_is_there_is_known_again() {
    let store = Arc::default();
    let record = record(&store);
    put(&record).await.unwrap();
    store.fail(Fault::FailedLate);
    assert!(matches!(put(&record).await, Err(StoreError::Failed(_))));
    assert_eq!(put(&record).await, Ok(()));
}

#[tokio::test]
async fn a_put_that_failed_and_is_not_there_can_be_made_again() {
    let store = Arc::default();
    let record = record(&store);
    put(&record).await.unwrap();
    store.fail(Fault::Failed);
    assert!(matches!(put(&record).await, Err(StoreError::Failed(_))));
    assert_eq!(put(&record).await, Ok(()));
}

/// A disk that is full may have lost the name, and not have flushed that.
#[tokio::test]
async fn a_removal_that_failed_and_is_done_is_no_takeover() {
    let store = Arc::default();
    let record = record(&store);
    put(&record).await.unwrap();
    store.fail(Fault::FailedLate);
    assert!(matches!(record.remove().await, Err(StoreError::Failed(_))));
    assert_eq!(put(&record).await, Ok(()));
}

#[tokio::test]
async fn what_another_wrote_behind_a_failed_put_is_not_written_over() {
    let store = Arc::default();
    let ours = record(&store);
    put(&ours).await.unwrap();
    store.fail(Fault::Failed);
    assert!(put(&ours).await.is_err());
    let mut others = store.contents().unwrap();
    others.nonce ^= 2;
    let version = store.state().0;
    store.change(Some(others.encode()), version).unwrap();
    assert_eq!(put(&ours).await, Err(StoreError::TakenOver));
    assert_eq!(store.contents(), Some(others));
}

#[tokio::test(start_paused = true)]
async fn a_put_of_which_nothing_is_known_is_looked_for() {
    let store = Arc::default();
    let record = record(&store);
    store.fail(Fault::Unknown);
    assert_eq!(put(&record).await, Ok(()));
    assert_eq!(put(&record).await, Ok(()));
    assert_eq!(store.state().0, Version(2));
}

#[tokio::test]
async fn an_end_stays_until_nobody_asks_for_it() {
    let store = Arc::default();
    let record = record(&store);
    end(&record).await.unwrap();
    assert!(store.contents().unwrap().conversation.quit);
    record.forget().await.unwrap();
    assert_eq!(store.contents(), None);
}

/// Its user has still something to be told.
#[tokio::test]
async fn what_is_open_is_not_forgotten_before_it_is_an_end() {
    let store = Arc::default();
    let record = record(&store);
    put(&record).await.unwrap();
    record.forget().await.unwrap();
    put(&record).await.unwrap();
    assert!(store.contents().is_some());
    end(&record).await.unwrap();
    assert_eq!(store.contents(), None);
}

#[tokio::test]
async fn what_was_never_there_is_removed_without_asking_the_store() {
    let store = Arc::default();
    let record = record(&store);
    store.fail(Fault::Failed);
    assert_eq!(record.remove().await, Ok(()));
    put(&record).await.unwrap_err();
    put(&record).await.unwrap();
    record.remove().await.unwrap();
    assert_eq!(store.contents(), None);
    // And once it is gone, it can be put anew.
    put(&record).await.unwrap();
    assert!(store.contents().is_some());
}

/// A store that others have, too.
fn shared() -> Arc<OnePage> {
    Arc::new(OnePage {
        is_shared: true,
        ..OnePage::default()
    })
}

async fn claim(record: &Record, writes: u64, is_ours: bool) -> Result<Option<Claim>, StoreError> {
    let claimant = Claimant {
        conversation: conversation().id(),
        heard: 0,
        clienthello: next_ticket(0, writes),
        has_claimed: false,
    };
    let by = Instant::now() + Duration::from_secs(10);
    record.claim(claimant, is_ours, by).await
}

fn is_free(claimed: &Result<Option<Claim>, StoreError>) -> bool {
    matches!(claimed, Ok(Some(Claim::Free(_))))
}

#[tokio::test]
async fn whoever_claims_it_has_it_and_nobody_else() {
    let store = shared();
    let [one, other] = [record(&store), record(&store)];
    assert!(is_free(&claim(&one, 1, false).await));
    let stands = store.contents().unwrap();
    assert_eq!((stands.live, stands.clienthello), (true, next_ticket(0, 1)));
    assert_eq!(put(&one).await, Ok(()));

    assert!(is_free(&claim(&other, 2, false).await));
    let theirs = store.contents().unwrap();
    assert_eq!(put(&one).await, Err(StoreError::TakenOver));
    assert_eq!(claim(&one, 3, true).await, Err(StoreError::TakenOver));
    assert_eq!(store.contents(), Some(theirs));
    assert_eq!(put(&other).await, Ok(()));
}

#[tokio::test]
async fn of_two_that_begin_it_one_does() {
    let store = shared();
    let [one, other] = [record(&store), record(&store)];
    // Both have seen that there is none.
    assert!(is_free(&claim(&one, 1, false).await));
    assert_eq!(put(&other).await, Err(StoreError::TakenOver));
    // And one that came at the same time is not answered.
    assert_eq!(claim(&other, 1, false).await, Ok(Some(Claim::Overtaken)));
}

/// Until it is accepted, its conversation goes on over the connection before.
#[tokio::test]
async fn a_ticket_that_has_claimed_stays_in_the_record() {
    let store = shared();
    let record = record(&store);
    assert!(is_free(&claim(&record, 1, false).await));
    assert!(is_free(&claim(&record, 2, true).await));
    put(&record).await.unwrap();
    assert_eq!(store.contents().unwrap().clienthello, next_ticket(0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_claim_knows_its_own_put_again() {
    for fault in [Fault::Unknown, Fault::FailedLate] {
        let store = shared();
        let record = record(&store);
        assert!(is_free(&claim(&record, 1, false).await));
        store.fail(fault);
        let was_put = put(&record).await;
        assert_eq!(was_put.is_ok(), matches!(fault, Fault::Unknown));
        assert!(is_free(&claim(&record, 2, true).await), "{fault:?}");
        store.fail(Fault::Unknown);
        assert!(is_free(&claim(&record, 3, true).await), "{fault:?}");
        assert_eq!(put(&record).await, Ok(()));
    }
}

#[tokio::test]
async fn what_is_removed_from_a_shared_store_has_ended_there() {
    let store = shared();
    let one = record(&store);
    assert!(is_free(&claim(&one, 1, false).await));
    one.remove().await.unwrap();
    let stands = store.contents().unwrap();
    assert!(stands.conversation.is_tombstone());
    assert_eq!(stands.conversation.id, conversation().id());
    assert_eq!(store.ends.load(Ordering::Relaxed), 1);
    // However it asks, and whenever it came.
    for writes in [0, 9] {
        let claimed = claim(&record(&store), writes, false).await;
        assert_eq!(claimed, Ok(Some(Claim::Ended)));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_claimed_by_nobody() {
    let store = shared();
    store.change(Some(b"?".to_vec()), Version::NONE).unwrap();
    let claimed = claim(&record(&store), 1, false).await;
    let Err(StoreError::Failed(error)) = claimed else {
        panic!("{claimed:?}");
    };
    assert!(error.is_of_one_record());
    assert_eq!(store.state().0, Version(1));
}
