//! [`Condition`]: whether etcd can be used, as its answers tell, and what a log has of it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use etcd_client::{Error, ResponseHeader};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::caution::Caution;
use super::fault::Fault;

/// What its answers have told.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// Which etcd has answered first.
    cluster: OnceLock<u64>,
    has_told_of_another: AtomicBool,
    is_down: AtomicBool,
    has_version: AtomicBool,
    /// It has just gone down.
    down: Notify,
}

impl Condition {
    /// The answer, if it is of the etcd that has answered first. Another one's records are not
    /// ours, whatever it says of them.
    pub(super) fn judge<T>(
        &self,
        answer: Result<T, Error>,
        header: impl Fn(&T) -> Option<&ResponseHeader>,
    ) -> Result<T, Fault> {
        let answer = answer?;
        let cluster = header(&answer).map_or(0, ResponseHeader::cluster_id);
        match self.is_of_ours(cluster) {
            true => Ok(answer),
            false => Err(Fault::OtherCluster),
        }
    }

    fn is_of_ours(&self, cluster: u64) -> bool {
        let first = *self.cluster.get_or_init(|| cluster);
        if first != cluster && !self.has_told_of_another.swap(true, Ordering::Relaxed) {
            warn!(
                advice = "Name the machines of one etcd only. If it was made anew, or from a snapshot, restart this server.",
                "two etcds answer at the addresses of the store, {first:x} and {cluster:x}: what the second says is not used"
            );
        }
        first == cluster
    }

    /// A read has failed. Whoever is told of it says so.
    pub(super) fn has_failed(&self) -> bool {
        let is_news = !self.is_down.swap(true, Ordering::Relaxed);
        if is_news {
            self.down.notify_one();
        }
        is_news
    }

    /// A read has failed, and nobody is told but the log.
    pub(super) fn fail(&self, fault: &Fault) {
        // That another answers is told once.
        if !matches!(fault, Fault::OtherCluster) && self.has_failed() {
            warn!(why = %fault, "etcd cannot be used: conversations wait");
        }
    }

    /// What is to be said of this version, once.
    pub(super) fn version(&self, version: &str) -> Option<Caution> {
        let is_news = !self.has_version.swap(true, Ordering::Relaxed);
        Caution::of(version).filter(|_| is_news)
    }

    /// Waits until etcd cannot be used.
    pub(super) async fn down(&self) {
        self.down.notified().await;
    }

    /// It can be used again.
    pub(super) fn is_up(&self) {
        info!("etcd can be used again");
        self.is_down.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cluster_than_the_first_is_not_ours() {
        let condition = Condition::default();
        let answers = [7, 7, 8, 7, 8].map(|cluster| condition.is_of_ours(cluster));
        assert_eq!(answers, [true, true, false, true, false]);
    }

    #[test]
    fn it_goes_down_once() {
        let condition = Condition::default();
        assert!(condition.has_failed());
        assert!(!condition.has_failed());
    }

    #[test]
    fn an_old_version_is_told_once() {
        let condition = Condition::default();
        assert!(condition.version("3.4.23").is_some());
        assert_eq!(condition.version("3.4.23"), None);
    }
}
