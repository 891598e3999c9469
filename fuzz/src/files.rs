//! Files of one's own, in memory where there is such a file system.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use tempfile::TempDir;

/// A new directory for one input.
pub fn directory() -> TempDir {
    let in_memory = Path::new("/dev/shm");
    let beside = match in_memory.is_dir() {
        true => in_memory.to_owned(),
        false => std::env::temp_dir(),
    };
    let mut named = tempfile::Builder::new();
    named
        .prefix("turnchat-fuzz-")
        .tempdir_in(beside)
        .expect("a directory")
}

/// Puts this into a file that nobody else may read.
pub fn write(path: &Path, bytes: &[u8]) {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file: File = options.open(path).expect("a file");
    file.write_all(bytes).expect("room");
}
