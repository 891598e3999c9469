//! How often the disk is asked, which costs more than all else.

use std::fs::File;
use std::io;
use std::sync::atomic::AtomicUsize;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::link::store::{Directory, DiskFile};
use crate::protocol::ConversationId;
use crate::trust::KeyId;
use crate::trust::own_file::FileError;

/// What the disk was asked for.
#[derive(Debug, Default)]
struct Counts {
    /// How often a file was opened that was there.
    opened: AtomicUsize,
    /// How many files are open.
    open: AtomicUsize,
    flushed: AtomicUsize,
    names_flushed: AtomicUsize,
}

impl Counts {
    fn take(count: &AtomicUsize) -> usize {
        count.swap(0, Ordering::Relaxed)
    }

    fn add(count: &AtomicUsize) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

struct Counted {
    disk: Directory,
    counts: Arc<Counts>,
}

struct CountedFile {
    file: File,
    counts: Arc<Counts>,
}

impl Counted {
    fn count(&self, file: File) -> CountedFile {
        Counts::add(&self.counts.open);
        CountedFile {
            file,
            counts: Arc::clone(&self.counts),
        }
    }
}

impl Drop for CountedFile {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl DiskFile for CountedFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_at(bytes, at)
    }

    fn flush(&self) -> io::Result<()> {
        Counts::add(&self.counts.flushed);
        DiskFile::flush(&self.file)
    }
}

impl Disk for Counted {
    type File = CountedFile;

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        self.disk.read(name)
    }

    fn open(&self, name: &str) -> Result<Option<CountedFile>, FileError> {
        let file = self.disk.open(name)?;
        if file.is_some() {
            Counts::add(&self.counts.opened);
        }
        Ok(file.map(|file| self.count(file)))
    }

    fn is_in_place(&self, file: &CountedFile, name: &str) -> bool {
        self.disk.is_in_place(&file.file, name)
    }

    fn create(&self, name: &str) -> Result<CountedFile, FileError> {
        let file = self.disk.create(name)?;
        Ok(self.count(file))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn flush(&self) -> io::Result<()> {
        Counts::add(&self.counts.names_flushed);
        Disk::flush(&self.disk)
    }
}

fn store() -> (FileStore<Counted>, Arc<Counts>, TempDir) {
    let dir = tempdir().unwrap();
    let counts = Arc::new(Counts::default());
    let disk = Counted {
        disk: Directory::unlocked(dir.path()),
        counts: Arc::clone(&counts),
    };
    (FileStore::new(disk), counts, dir)
}

fn name(byte: u8) -> RecordName {
    RecordName::Server(
        KeyId::of_spki(b"bob"),
        ConversationId::from_bits([byte; 16]),
    )
}

#[test]
fn a_record_that_is_written_again_stays_open() {
    let (store, counts, _dir) = store();
    let mut versions = [Version::NONE; 2];
    for _ in 0..4 {
        for (of, version) in [1, 2].into_iter().zip(&mut versions) {
            *version = store.write(&name(of), b"words", *version).unwrap();
        }
    }
    assert_eq!(Counts::take(&counts.opened), 0);
    assert_eq!(Counts::take(&counts.open), 2);
}

#[test]
fn so_many_files_stay_open_and_no_more() {
    let (store, counts, _dir) = store();
    for of in 1..=9 {
        store.write(&name(of), b"words", Version::NONE).unwrap();
        let open = counts.open.load(Ordering::Relaxed);
        assert_eq!(open, OPEN.min(of.into()));
    }
}

/// A writer that was killed may have left what a power cut would take back.
#[test]
fn what_is_taken_up_is_flushed_first() {
    let (store, counts, _dir) = store();
    for of in [1, 2] {
        store.write(&name(of), b"words", Version::NONE).unwrap();
    }
    let flushes = || {
        let Counts {
            flushed,
            names_flushed,
            ..
        } = &*counts;
        (Counts::take(flushed), Counts::take(names_flushed))
    };
    flushes();
    assert!(store.get(&name(1)).unwrap().is_some());
    assert_eq!(flushes(), (0, 0));
    assert!(store.take_up(&name(1)).unwrap().is_some());
    assert_eq!(flushes(), (1, 1));
    assert_eq!(store.take_up_all().unwrap().len(), 2);
    assert_eq!(flushes(), (2, 1));
}

/// Above all that its records hold (PROTOCOL 4.25).
#[tokio::test]
async fn tickets_go_on_from_where_they_are_counted_from() {
    let (store, ..) = store();
    store.count_from(7);
    store.count_from(3);
    let store = Arc::new(store);
    for ticket in [7, 8] {
        assert_eq!(Arc::clone(&store).ticket().await.unwrap(), ticket);
    }
}
