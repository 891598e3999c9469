//! [`Store`]: where conversations are kept, so that they survive a crash of either side at any
//! instant. Each has one record, and its next state is put there before the step that depends
//! on it (PROTOCOL 4.7).

mod claim;
mod contents;
mod directory;
mod disk;
mod error;
#[cfg(feature = "etcd")]
mod etcd;
mod file;
mod inventory;
mod memory;
mod page;
mod put;
mod record;
mod record_name;
mod shared;
mod slots;
mod stored;
mod ticket;

use std::fmt::Debug;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

pub use claim::{Claim, Claimant};
pub use contents::Contents;
pub(super) use directory::Directory;
pub use disk::{Disk, DiskFile};
pub use error::{JournalError, PutError, StoreError};
#[cfg(feature = "etcd")]
pub use etcd::{Caution, EtcdAddress, EtcdStore, EtcdTls, NoEtcdAddress, UnfitTls};
pub use file::FileStore;
pub(crate) use inventory::Inventory;
pub use memory::MemoryStore;
pub(crate) use page::Page;
pub use put::{Putting, Step};
pub use record::LastPut;
pub(crate) use record::Record;
pub use record_name::RecordName;
pub use shared::SharedStore;
#[doc(hidden)]
pub use slots::{read_record, write_record};
pub(crate) use stored::Stored;
pub use ticket::next_ticket;

/// Which write of a record it is; each store counts in its own way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// There is no record.
    pub const NONE: Self = Self(0);
}

/// What is read of a record.
pub type Loaded = (Version, Vec<u8>);

/// One of all records.
#[derive(Debug)]
pub struct Listed {
    /// Its name, as far as that can be told.
    pub name: Option<RecordName>,
    /// What stands in it.
    pub read: Result<(RecordName, Loaded), JournalError>,
}

/// What a store does in its own time.
pub(crate) type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Records of one identity: bytes by name, each with a version. Whoever puts or removes one says
/// which version it knows, so that of two who go on with one conversation only one succeeds.
///
/// A put that was begun goes on if its future is dropped.
pub(crate) trait Store: Send + Sync + Debug {
    /// Whether other servers with the same identity write in it as well. A conversation is then
    /// [claimed](Record::claim) before it goes on, and its end is put, never removed.
    fn is_shared(&self) -> bool {
        false
    }

    /// Where a record stands, for messages.
    fn place(&self, name: &RecordName) -> PathBuf;

    /// What stands in a record, durably; `None` if there is none.
    fn load(self: Arc<Self>, name: RecordName) -> Later<Result<Option<Loaded>, JournalError>>;

    /// Writes a record durably, if its version is the `expected` one.
    fn put(
        self: Arc<Self>,
        name: RecordName,
        bytes: Vec<u8>,
        expected: Version,
    ) -> Later<Result<Version, PutError>>;

    /// The same where it says nothing but that a conversation has ended: a store of files keeps
    /// nothing of what was said. A shared store keeps the end for 24 hours (PROTOCOL 4.24), and may
    /// forget it then.
    fn put_end(
        self: Arc<Self>,
        name: RecordName,
        bytes: Vec<u8>,
        expected: Version,
    ) -> Later<Result<Version, PutError>> {
        self.put(name, bytes, expected)
    }

    /// Removes a record durably, if its version is the `expected` one.
    fn remove(self: Arc<Self>, name: RecordName, expected: Version) -> Later<Result<(), PutError>>;

    /// A number above all that were given out before, and above all that its records hold: the
    /// place of a ClientHello in the order of all that have come (PROTOCOL 4.25).
    ///
    /// Of a shared store, how many writes there were when this was called, or later. It writes
    /// nothing for that, and so it can give out a number twice; [`next_ticket`] makes tickets of
    /// them.
    fn ticket(self: Arc<Self>) -> Later<Result<u64, JournalError>>;
}
