//! [`MemoryStore`]: a store that servers of one process share.

use std::collections::BTreeMap;
use std::future::ready;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::{JournalError, PutError};
use super::record_name::RecordName;
use super::{Later, Loaded, Store, Version};

/// Records in memory. A record's version is the number of the write that wrote it.
///
/// ```
/// use turnchat::internals::MemoryStore;
///
/// assert_eq!(MemoryStore::default().writes(), 0);
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    writes: u64,
    records: BTreeMap<RecordName, Loaded>,
}

impl MemoryStore {
    /// What stands in a record; `None` if there is none.
    pub fn get(&self, name: &RecordName) -> Option<Loaded> {
        self.lock().records.get(name).cloned()
    }

    /// The names of all records.
    pub fn names(&self) -> Vec<RecordName> {
        self.lock().records.keys().copied().collect()
    }

    /// Writes a record, or removes it; its new version.
    ///
    /// # Errors
    /// [`PutError::Conflict`].
    pub fn write(
        &self,
        name: RecordName,
        bytes: Option<Vec<u8>>,
        expected: Version,
    ) -> Result<Version, PutError> {
        let mut store = self.lock();
        let version = store.records.get(&name).map_or(Version::NONE, |of| of.0);
        if version != expected {
            return Err(PutError::Conflict);
        }
        store.writes += 1;
        let version = Version(store.writes);
        match bytes {
            Some(bytes) => _ = store.records.insert(name, (version, bytes)),
            None => _ = store.records.remove(&name),
        }
        Ok(version)
    }

    /// How many writes there were.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn place(&self, name: &RecordName) -> PathBuf {
        name.to_string().into()
    }

    fn load(self: Arc<Self>, name: RecordName) -> Later<Result<Option<Loaded>, JournalError>> {
        Box::pin(ready(Ok(self.get(&name))))
    }

    fn put(
        self: Arc<Self>,
        name: RecordName,
        bytes: Vec<u8>,
        expected: Version,
    ) -> Later<Result<Version, PutError>> {
        Box::pin(ready(self.write(name, Some(bytes), expected)))
    }

    fn remove(self: Arc<Self>, name: RecordName, expected: Version) -> Later<Result<(), PutError>> {
        Box::pin(ready(self.write(name, None, expected).map(|_| ())))
    }

    fn ticket(self: Arc<Self>) -> Later<Result<u64, JournalError>> {
        Box::pin(ready(Ok(self.writes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ConversationId;
    use crate::trust::KeyId;

    #[test]
    fn of_two_writes_at_one_version_one_is_done() {
        let store = MemoryStore::default();
        let name = RecordName::Server(KeyId::of_spki(b"bob"), ConversationId::from_bits([7; 16]));
        let put = |byte, expected| store.write(name, Some(vec![byte]), expected);
        let first = put(1, Version::NONE).unwrap();
        assert_eq!(put(2, Version::NONE), Err(PutError::Conflict));
        let second = put(2, first).unwrap();
        assert_eq!(put(3, first), Err(PutError::Conflict));
        assert_eq!(store.get(&name), Some((second, vec![2])));
        store.write(name, None, second).unwrap();
        assert_eq!(store.get(&name), None);
        // One that comes after it has another version.
        assert!(put(1, Version::NONE).unwrap() > second);
    }
}
