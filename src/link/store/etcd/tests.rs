//! Against a real etcd, so they are ignored where nobody asks for them: `scripts/prove cluster` does, and installs it.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::time::sleep;

use super::*;
use crate::link::tcp;
use crate::protocol::ConversationId;

/// An etcd of one machine, which ends with this.
struct Etcd {
    process: Child,
    port: u16,
    dir: TempDir,
}

impl Etcd {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let free = tcp::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self {
            process: run(&dir, port),
            port,
            dir,
        }
    }

    fn restart(&mut self) {
        self.process = run(&self.dir, self.port);
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn control(&self, command: &[&str]) {
        let done = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints=127.0.0.1:{}", self.port))
            .args(command)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    async fn store(&self, own: &str) -> Arc<EtcdStore> {
        let address = format!("etcd://127.0.0.1:{}/talks", self.port);
        let own = KeyId::of_spki(own.as_bytes());
        let store = EtcdStore::new(&address.parse().unwrap(), None, &own).await;
        let store = Arc::new(store.unwrap());
        while store.check().await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
        store
    }
}

fn run(dir: &TempDir, port: u16) -> Child {
    let at = format!("http://127.0.0.1:{port}");
    Command::new("etcd")
        .arg("--data-dir")
        .arg(dir.path())
        .args(["--listen-client-urls", &at, "--advertise-client-urls", &at])
        .args(["--listen-peer-urls", "http://127.0.0.1:0"])
        // Of this, among others, is made what tells it from another.
        .args(["--initial-cluster-token", &at])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

fn name(byte: u8) -> RecordName {
    let id = ConversationId::from_bits([byte; 16]);
    RecordName::Server(KeyId::of_spki(b"bob"), id)
}

fn open(byte: u8) -> Vec<u8> {
    vec![byte; 8]
}

fn put(store: &Arc<EtcdStore>, byte: u8, is_end: bool) -> Later<Result<Version, PutError>> {
    let store = Arc::clone(store);
    match is_end {
        true => store.put_end(name(byte), open(byte), Version::NONE),
        false => store.put(name(byte), open(byte), Version::NONE),
    }
}

#[tokio::test]
#[ignore = "needs etcd and etcdctl: scripts/prove cluster"]
async fn of_two_machines_one_takes_over() {
    let etcd = Etcd::start();
    let (here, there) = (etcd.store("alice").await, etcd.store("alice").await);
    let here = || Arc::clone(&here);
    let there = || Arc::clone(&there);
    let begun = here().put(name(1), open(1), Version::NONE).await.unwrap();
    let again = there().put(name(1), open(1), Version::NONE).await;
    assert_eq!(again, Err(PutError::Conflict));
    let loaded = there().load(name(1)).await.unwrap();
    assert_eq!(loaded, Some((begun, open(1))));
    let claimed = there().put(name(1), open(1), begun).await.unwrap();
    assert!(claimed > begun);
    assert_eq!(
        here().put(name(1), open(1), begun).await,
        Err(PutError::Conflict)
    );
    assert_eq!(here().remove(name(1), begun).await, Err(PutError::Conflict));
    there().remove(name(1), claimed).await.unwrap();
    assert_eq!(here().load(name(1)).await, Ok(None));
    // One that is gone does not come back.
    assert_eq!(
        there().put(name(1), open(1), claimed).await,
        Err(PutError::Conflict)
    );
}

#[tokio::test]
#[ignore = "needs etcd and etcdctl: scripts/prove cluster"]
async fn another_identitys_records_are_not_ours() {
    let etcd = Etcd::start();
    let (ours, theirs) = (etcd.store("alice").await, etcd.store("carol").await);
    theirs.put(name(0), open(0), Version::NONE).await.unwrap();
    assert_eq!(ours.load(name(0)).await, Ok(None));
}

#[tokio::test]
#[ignore = "needs etcd and etcdctl: scripts/prove cluster"]
async fn a_later_ticket_counts_what_was_put_and_no_ticket_is_a_write() {
    let etcd = Etcd::start();
    let (here, there) = (etcd.store("alice").await, etcd.store("alice").await);
    let first = Arc::clone(&here).ticket().await.unwrap();
    assert_eq!(Arc::clone(&there).ticket().await, Ok(first));
    let put = here.put(name(1), open(1), Version::NONE).await;
    assert_eq!(put, Ok(Version(first + 1)));
    assert_eq!(there.ticket().await, Ok(first + 1));
}

#[tokio::test]
#[ignore = "needs etcd and etcdctl: scripts/prove cluster"]
async fn while_etcd_is_away_nobody_knows() {
    let mut etcd = Etcd::start();
    let store = etcd.store("alice").await;
    let begun = Arc::clone(&store).put(name(1), open(1), Version::NONE);
    let begun = begun.await.unwrap();
    etcd.kill();
    assert!(store.check().await.is_err());
    assert!(Arc::clone(&store).load(name(1)).await.is_err());
    assert!(Arc::clone(&store).ticket().await.is_err());
    let put = Arc::clone(&store).put(name(1), open(1), begun).await;
    assert_eq!(put, Err(PutError::Unknown));
    etcd.restart();
    while store.check().await.is_err() {
        sleep(Duration::from_millis(50)).await;
    }
    // What was acknowledged is there.
    let loaded = Arc::clone(&store).load(name(1)).await.unwrap();
    assert_eq!(loaded, Some((begun, open(1))));
    store.put(name(1), open(1), begun).await.unwrap();
}

/// etcd tells its version to anybody, so that alone says nothing.
#[tokio::test]
#[ignore = "needs etcd and etcdctl: scripts/prove cluster"]
async fn who_may_not_read_there_is_told_so() {
    let etcd = Etcd::start();
    let store = etcd.store("alice").await;
    etcd.control(&["user", "add", "root:pw"]);
    etcd.control(&["user", "grant-role", "root", "root"]);
    etcd.control(&["auth", "enable"]);
    let Err(JournalError::Unreadable { source, .. }) = store.check().await else {
        panic!("it may");
    };
    assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
    assert!(source.to_string().contains("no permission"), "{source}");
    // Once it is given, this goes on.
    assert_eq!(put(&store, 1, false).await, Err(PutError::Unknown));
    etcd.control(&["--user", "root:pw", "auth", "disable"]);
    store.check().await.unwrap();
    put(&store, 1, false).await.unwrap();
}

/// Each has its own records, and what one does not have says nothing of the other's.
#[tokio::test]
#[ignore = "needs etcd and etcdctl: scripts/prove cluster"]
async fn two_etcds_are_not_one() {
    let (first, second) = (Etcd::start(), Etcd::start());
    for etcd in [&first, &second] {
        etcd.store("carol").await;
    }
    let address = format!(
        "etcd://127.0.0.1:{},127.0.0.1:{}/talks",
        first.port, second.port
    );
    let own = KeyId::of_spki(b"alice");
    let store = EtcdStore::new(&address.parse().unwrap(), None, &own).await;
    let store = Arc::new(store.unwrap());
    let (mut version, mut is_known, mut unknown) = (Version::NONE, true, 0);
    for _ in 0..64 {
        if is_known {
            let put = Arc::clone(&store).put(name(1), open(1), version).await;
            match put {
                Ok(put) => version = put,
                Err(PutError::Unknown) => (is_known, unknown) = (false, unknown + 1),
                Err(other) => panic!("{other:?}"),
            }
        }
        if !is_known && let Ok(loaded) = Arc::clone(&store).load(name(1)).await {
            let loaded = loaded.map_or(Version::NONE, |(version, _)| version);
            assert_eq!(loaded, version);
            is_known = true;
        }
    }
    assert!(version > Version::NONE && unknown > 0);
}

#[tokio::test]
#[ignore = "needs etcd and etcdctl: scripts/prove cluster"]
async fn an_end_is_kept_for_a_day_and_the_rest_for_a_month() {
    let etcd = Etcd::start();
    let store = etcd.store("alice").await;
    for (byte, is_end, least, most) in [(1, true, 24, 25), (2, false, 720, 721)] {
        let put = || put(&store, byte, is_end);
        put().await.unwrap();
        let found = store.kv.clone().get(store.key(&name(byte)), None).await;
        let lease = found.unwrap().kvs()[0].lease();
        let mut leases = store.client.lease_client();
        let left = leases.time_to_live(lease, None).await.unwrap().ttl();
        assert!((least * 3_600..=most * 3_600).contains(&left), "{left}");
        // Somebody revokes it: what it was for is gone, and the next put gets another.
        leases.revoke(lease).await.unwrap();
        assert_eq!(put().await, Err(PutError::Unknown));
        put().await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs etcd and etcdctl: scripts/prove cluster"]
async fn what_etcd_refuses_has_failed() {
    let etcd = Etcd::start();
    let store = etcd.store("alice").await;
    // More than a request may have, and less than etcd's connections take.
    let too_large = vec![0; 1_700_000];
    let put = Arc::clone(&store)
        .put(name(1), too_large, Version::NONE)
        .await;
    assert!(matches!(put, Err(PutError::Failed(_))), "{put:?}");
    assert_eq!(store.load(name(1)).await, Ok(None));
}
