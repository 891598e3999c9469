//! [`EtcdStore`]: the store of many machines with one identity, in etcd: each put is on the
//! disks of most of its machines before it is acknowledged.
//!
//! ```text
//! PREFIX/OWN-KEY/server-PEER-KEY-ID   a record, as its file would hold it
//! PREFIX/OWN-KEY/upkeep               so that no removal is the last thing before a compaction
//! ```

mod address;
mod caution;
mod condition;
mod fault;
mod leases;
mod revision;
mod tls;
mod upkeep;

use std::fmt;
use std::future::pending;
use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, GetResponse, KeyValue, KvClient, PutOptions,
    ResponseHeader, StatusResponse, Txn, TxnOp, TxnResponse,
};
use tokio::task::JoinError;
use tracing::warn;

use super::error::{JournalError, PutError};
use super::record_name::RecordName;
use super::{Later, Loaded, SharedStore, Store, Version};
use crate::trust::KeyId;

use condition::Condition;
use fault::Fault;
use leases::{Leases, Lifetime};
use revision::revision;

pub use address::{EtcdAddress, NoEtcdAddress};
pub use caution::Caution;
pub use tls::{EtcdTls, UnfitTls};

/// What one request may take. A new leader is elected in about 1 s.
const REQUEST_TIME: Duration = Duration::from_secs(4);
/// etcd wants no more than one ping in 5 s.
const PING_EVERY: Duration = Duration::from_secs(6);
const PING_TIME: Duration = Duration::from_secs(3);

/// Records in etcd, of the servers of one identity.
pub struct EtcdStore {
    kv: KvClient,
    client: Client,
    /// What our keys begin with.
    root: String,
    /// Where that stands, for messages.
    place: String,
    leases: Leases,
    condition: Arc<Condition>,
}

impl EtcdStore {
    /// The store at this address, of the servers with this key. It connects at the first use, and
    /// again whenever it has to. Needs a runtime; may be dropped at any time.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`]: the address or what TLS needs cannot be used.
    pub async fn new(
        address: &EtcdAddress,
        tls: Option<&EtcdTls>,
        own: &KeyId,
    ) -> Result<Self, JournalError> {
        let mut options = ConnectOptions::new()
            .with_timeout(REQUEST_TIME)
            .with_connect_timeout(PING_TIME)
            .with_keep_alive(PING_EVERY, PING_TIME);
        if let Some(tls) = tls {
            options = options.with_tls(tls.options());
        }
        let place = format!("{address}/{}", own.file_name());
        let client = Client::connect(address.endpoints(tls.is_some()), Some(options)).await;
        let client = client.map_err(|error| unreadable(&place, error.into()))?;
        let root = format!("{}/{}/", address.prefix(), own.file_name());
        let kv = client.kv_client();
        let condition = Arc::<Condition>::default();
        let key = format!("{root}upkeep");
        let watch = upkeep::watch(client.clone(), key.clone(), Arc::clone(&condition));
        tokio::spawn(watch);
        tokio::spawn(upkeep::compact(kv.clone(), key, Arc::clone(&condition)));
        Ok(Self {
            leases: Leases::new(client.lease_client(), Arc::clone(&condition)),
            condition,
            kv,
            client,
            root,
            place,
        })
    }

    /// Whether etcd can be used just now, which a read below our prefix tells, and what is to be said
    /// about it, if it is not said yet. May be dropped at any time.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`]: it cannot.
    pub async fn check(&self) -> Result<Option<Caution>, JournalError> {
        let checked = self.version().await;
        checked.map_err(|fault| {
            self.condition.has_failed();
            unreadable(&self.place, fault)
        })
    }

    async fn version(&self) -> Result<Option<Caution>, Fault> {
        self.revision().await?;
        let status = self.client.maintenance_client().status().await;
        let status = self.condition.judge(status, StatusResponse::header)?;
        Ok(self.condition.version(status.version()))
    }

    async fn revision(&self) -> Result<u64, Fault> {
        revision(&mut self.kv.clone(), &self.root, &self.condition).await
    }

    /// What a read that failed comes to.
    fn unread(&self, place: PathBuf, fault: Fault) -> JournalError {
        self.condition.fail(&fault);
        JournalError::Unreadable {
            path: place,
            source: io::Error::from(fault).into(),
        }
    }

    fn key(&self, name: &RecordName) -> String {
        format!("{}{name}", self.root)
    }

    async fn put_for(
        &self,
        name: RecordName,
        bytes: Vec<u8>,
        expected: Version,
        lifetime: Lifetime,
    ) -> Result<Version, PutError> {
        // Nothing is put without one.
        let lease = self.leases.current(lifetime).await;
        let lease = lease.map_err(|_| PutError::Unknown)?;
        let options = PutOptions::new().with_lease(lease);
        let put = TxnOp::put(self.key(&name), bytes, Some(options));
        self.change(name, put, expected).await
    }

    /// Does this if the record has that version. It is not given up where nobody waits any more.
    async fn change(
        &self,
        name: RecordName,
        change: TxnOp,
        expected: Version,
    ) -> Result<Version, PutError> {
        let revision = i64::try_from(expected.0).unwrap_or(i64::MAX);
        let is_expected = Compare::mod_revision(self.key(&name), CompareOp::Equal, revision);
        let txn = Txn::new().when([is_expected]).and_then([change]);
        let mut kv = self.kv.clone();
        let done = to_its_end(async move { kv.txn(txn).await }).await;
        match self.condition.judge(done, TxnResponse::header) {
            Ok(done) if done.succeeded() => Ok(revision_of(&done)),
            Ok(_) => Err(PutError::Conflict),
            Err(fault) => Err(self.put_error(&name, fault)),
        }
    }

    /// What etcd can never take has failed. After anything else nobody knows, or it is taken once
    /// somebody has given etcd room, or us permission: until then the conversation waits.
    fn put_error(&self, name: &RecordName, fault: Fault) -> PutError {
        warn!(record = %name, why = %fault, "etcd has not taken it: this waits");
        // The lease: somebody has revoked it.
        if fault.is_not_found() {
            self.leases.forget();
        }
        match fault.is_final() {
            true => PutError::Failed(JournalError::Unwritable {
                path: self.place(name),
                source: io::Error::from(fault).into(),
            }),
            false => PutError::Unknown,
        }
    }
}

impl Store for EtcdStore {
    fn is_shared(&self) -> bool {
        true
    }

    fn place(&self, name: &RecordName) -> PathBuf {
        PathBuf::from(format!("{}/{name}", self.place))
    }

    fn load(self: Arc<Self>, name: RecordName) -> Later<Result<Option<Loaded>, JournalError>> {
        Box::pin(async move {
            let found = self.kv.clone().get(self.key(&name), None).await;
            let found = self.condition.judge(found, GetResponse::header);
            let mut found = found.map_err(|fault| self.unread(self.place(&name), fault))?;
            Ok(found.take_kvs().pop().map(loaded))
        })
    }

    fn put(
        self: Arc<Self>,
        name: RecordName,
        bytes: Vec<u8>,
        expected: Version,
    ) -> Later<Result<Version, PutError>> {
        Box::pin(async move { self.put_for(name, bytes, expected, Lifetime::Open).await })
    }

    fn put_end(
        self: Arc<Self>,
        name: RecordName,
        bytes: Vec<u8>,
        expected: Version,
    ) -> Later<Result<Version, PutError>> {
        Box::pin(async move { self.put_for(name, bytes, expected, Lifetime::End).await })
    }

    fn remove(self: Arc<Self>, name: RecordName, expected: Version) -> Later<Result<(), PutError>> {
        Box::pin(async move {
            let delete = TxnOp::delete(self.key(&name), None);
            self.change(name, delete, expected).await.map(|_| ())
        })
    }

    fn ticket(self: Arc<Self>) -> Later<Result<u64, JournalError>> {
        Box::pin(async move {
            let seen = self.revision().await;
            seen.map_err(|fault| self.unread(PathBuf::from(&self.place), fault))
        })
    }
}

impl From<EtcdStore> for SharedStore {
    fn from(store: EtcdStore) -> Self {
        Arc::new(store).into()
    }
}

impl From<Arc<EtcdStore>> for SharedStore {
    fn from(store: Arc<EtcdStore>) -> Self {
        Self(store)
    }
}

fn loaded(found: KeyValue) -> Loaded {
    let version = Version(found.mod_revision().try_into().unwrap_or(0));
    (version, found.value().to_vec())
}

/// What etcd stamped it with, as it stamps what was put in it.
fn revision_of(done: &TxnResponse) -> Version {
    let revision = done.header().map_or(0, ResponseHeader::revision);
    Version(revision.try_into().unwrap_or(0))
}

fn unreadable(place: &str, fault: Fault) -> JournalError {
    JournalError::Unreadable {
        path: PathBuf::from(place),
        source: io::Error::from(fault).into(),
    }
}

/// In a task of its own, which goes on if this is dropped.
async fn to_its_end<T: Send + 'static>(doing: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(doing).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_)) => pending().await,
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
