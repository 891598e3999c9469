//! [`SharedStore`]: where several servers with one identity keep their conversations.

use std::sync::Arc;

use super::Store;
use super::memory::MemoryStore;

/// Where several servers with one identity keep their conversations, so that one that is cut at
/// one of them goes on at another: see [`ServerBuilder::with_shared_store`].
///
/// [`ServerBuilder::with_shared_store`]: crate::ServerBuilder::with_shared_store
///
/// ```no_run
/// use turnchat::{Identity, ServerBuilder, SharedStore, Verdict};
///
/// # fn example(identity: &Identity) {
/// let store = SharedStore::in_memory();
/// let node = || ServerBuilder::new(identity, async |_candidate| Verdict::Admit);
/// let one = node().with_shared_store(store.clone());
/// let another = node().with_shared_store(store);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SharedStore(pub(in crate::link) Arc<dyn Store>);

impl SharedStore {
    /// For servers of one process, and for as long as that lives: to try and to test.
    pub fn in_memory() -> Self {
        Self(Arc::new(MemoryStore::default()))
    }
}
