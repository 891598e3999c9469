//! A small file that is synced as often as a journal of ours syncs.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// Syncs before a message is said, as `strace` counts them.
pub(crate) const SAYS: usize = 1;
/// Syncs after one was heard.
pub(crate) const HEARD: usize = 1;

/// About as much as a journal's page holds.
const BYTES: [u8; 512] = [b'x'; 512];

/// One side's file, deleted when it is closed.
pub(crate) struct Disk(Arc<File>);

impl Disk {
    pub(crate) fn new(dir: &Path) -> Self {
        Self(Arc::new(tempfile::tempfile_in(dir).unwrap()))
    }

    pub(crate) async fn says(&self) {
        self.sync(SAYS).await;
    }

    pub(crate) async fn heard(&self) {
        self.sync(HEARD).await;
    }

    /// On a thread for blocking work, where the journal's syncs are too.
    async fn sync(&self, times: usize) {
        let file = Arc::clone(&self.0);
        let syncing = tokio::task::spawn_blocking(move || {
            for _ in 0..times {
                file.write_all_at(&BYTES, 0).unwrap();
                file.sync_data().unwrap();
            }
        });
        syncing.await.unwrap();
    }
}
