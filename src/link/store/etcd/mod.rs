//! [`EtcdStore`]: the store of many machines with one identity, in etcd: each put is on the
//! disks of most of its machines before it is acknowledged.
//!
//! ```text
//! PREFIX/OWN-KEY/server-PEER-KEY-ID   a record, as its file would hold it
//! PREFIX/OWN-KEY/upkeep               so that no removal is the last thing before a compaction
//! ```

mod address;
mod leases;
mod revision;
mod upkeep;

use std::fmt;
use std::future::pending;
use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, Error, KeyValue, KvClient, PutOptions,
    ResponseHeader, TlsOptions, Txn, TxnOp, TxnResponse,
};
use tokio::task::JoinError;
use tracing::warn;

use super::error::{JournalError, PutError};
use super::record_name::RecordName;
use super::{Later, Loaded, SharedStore, Store, Version};
use crate::trust::KeyId;

use leases::{Leases, Lifetime};
use revision::revision;

pub use address::{EtcdAddress, NoEtcdAddress};
pub use upkeep::Caution;

/// What one request may take. A new leader is elected in about 1 s.
const REQUEST_TIME: Duration = Duration::from_secs(4);
/// etcd wants no more than one ping in 5 s.
const PING_EVERY: Duration = Duration::from_secs(6);
const PING_TIME: Duration = Duration::from_secs(3);

/// gRPC's status codes (grpc.github.io, "Status codes and their use in gRPC") by which etcd refuses
/// what it will not take later either, and does not know a lease.
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;

/// How etcd is reached over TLS. All are PEM.
#[derive(Clone, Debug)]
pub struct EtcdTls {
    /// Who signs the certificates of its machines.
    pub authority: Vec<u8>,
    /// Our certificate and its key, where etcd asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Records in etcd, of the servers of one identity.
pub struct EtcdStore {
    kv: KvClient,
    client: Client,
    /// What our keys begin with.
    root: String,
    /// Where that stands, for messages.
    place: String,
    leases: Leases,
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
        let client = client.map_err(|error| unreadable(&place, error))?;
        let root = format!("{}/{}/", address.prefix(), own.file_name());
        let kv = client.kv_client();
        tokio::spawn(upkeep::compact(kv.clone(), format!("{root}upkeep")));
        Ok(Self {
            leases: Leases::new(client.lease_client()),
            kv,
            client,
            root,
            place,
        })
    }

    /// Whether etcd can be reached just now, and what is to be said about it. May be dropped at any
    /// time.
    ///
    /// # Errors
    /// [`JournalError::Unreadable`]: it cannot.
    pub async fn check(&self) -> Result<Option<Caution>, JournalError> {
        let status = self.client.maintenance_client().status().await;
        let status = status.map_err(|error| unreadable(&self.place, error))?;
        Ok(Caution::of(status.version()))
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
        match done {
            Ok(done) if done.succeeded() => Ok(revision_of(&done)),
            Ok(_) => Err(PutError::Conflict),
            Err(error) => Err(self.put_error(&name, error)),
        }
    }

    /// What etcd can never take has failed. After anything else nobody knows, or it is taken once
    /// somebody has given etcd room, or us permission: until then the conversation waits.
    fn put_error(&self, name: &RecordName, error: Error) -> PutError {
        warn!(record = %name, why = %error, "etcd has not taken it: this waits");
        match &error {
            Error::GRpcStatus(status) => match i32::from(status.code()) {
                INVALID_ARGUMENT => PutError::Failed(JournalError::Unwritable {
                    path: self.place(name),
                    source: io::Error::other(error).into(),
                }),
                // The lease: somebody has revoked it.
                NOT_FOUND => {
                    self.leases.forget();
                    PutError::Unknown
                }
                _ => PutError::Unknown,
            },
            _ => PutError::Unknown,
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
            let mut found = found.map_err(|error| JournalError::Unreadable {
                path: self.place(&name),
                source: io::Error::other(error).into(),
            })?;
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
            let seen = revision(&mut self.kv.clone(), &self.root).await;
            seen.map_err(|error| unreadable(&self.place, error))
        })
    }
}

impl EtcdTls {
    fn options(&self) -> TlsOptions {
        let options = TlsOptions::new().ca_certificate(Certificate::from_pem(&self.authority));
        match &self.identity {
            None => options,
            Some((certificate, key)) => {
                options.identity(etcd_client::Identity::from_pem(certificate, key))
            }
        }
    }
}

impl From<EtcdStore> for SharedStore {
    fn from(store: EtcdStore) -> Self {
        Self(Arc::new(store))
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

fn unreadable(place: &str, error: Error) -> JournalError {
    JournalError::Unreadable {
        path: PathBuf::from(place),
        source: io::Error::other(error).into(),
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
