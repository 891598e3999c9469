//! [`Disk`]: what the file store asks of a file system. Tests have one that forgets what was not
//! flushed, and tears what was being written.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use crate::trust::own_file::FileError;

/// No file of a record has more bytes: two slots of 2 MiB.
pub(super) const LONGEST: u64 = 2 * 2_097_152;

/// A directory of small files. What is written, made, renamed or removed is there for whoever
/// reads, and survives a crash only once it is flushed.
pub trait Disk: Send + Sync + 'static {
    /// A file that is open to be written.
    type File: DiskFile + Send;

    /// Where this name stands, for messages.
    fn path(&self, name: &str) -> PathBuf;

    /// The names of all files; none where there is no directory.
    ///
    /// # Errors
    /// What the file system says.
    fn names(&self) -> io::Result<Vec<String>>;

    /// What is in a file; `None`: there is none.
    ///
    /// # Errors
    /// It is none to use, or what the file system says.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError>;

    /// Opens a file to write in it; `None`: there is none.
    ///
    /// # Errors
    /// It is none to use, or what the file system says.
    fn open(&self, name: &str) -> Result<Option<Self::File>, FileError>;

    /// Whether this file still has that name.
    fn is_in_place(&self, file: &Self::File, name: &str) -> bool;

    /// Makes a file that did not exist.
    ///
    /// # Errors
    /// What the file system says.
    fn create(&self, name: &str) -> Result<Self::File, FileError>;

    /// Gives a file another name, in place of what had that.
    ///
    /// # Errors
    /// That is a link, or what the file system says.
    fn rename(&self, from: &str, to: &str) -> Result<(), FileError>;

    /// Removes a file, if there is one.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable: which files there are.
    ///
    /// # Errors
    /// What the file system says.
    fn flush(&self) -> io::Result<()>;
}

/// A file that is open to be written.
pub trait DiskFile {
    /// Reads until `buffer` is full or the file ends; how much.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes all of this.
    ///
    /// # Errors
    /// What the file system says; some of it may be written.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the file system says; some of it may be durable.
    fn flush(&self) -> io::Result<()>;
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut file = self;
        file.seek(SeekFrom::Start(at))?;
        fill(buffer, file)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut file = self;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Reads until the buffer is full or nothing more comes; how much.
fn fill(buffer: &mut [u8], mut from: impl Read) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte at a time, and before each a signal.
    struct Interrupted<'a>(&'a [u8], bool);

    impl Read for Interrupted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            match self.1 {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => self.0.read(&mut buffer[..1]),
            }
        }
    }

    #[test]
    fn a_read_that_is_interrupted_goes_on() {
        let mut buffer = [0; 8];
        let read = fill(&mut buffer, Interrupted(b"words", false));
        assert_eq!(read.unwrap(), 5);
        assert_eq!(&buffer, b"words\0\0\0");
    }

    /// It knows no flush.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_flush_that_fails_is_told() {
        assert!(File::open("/dev/null").unwrap().flush().is_err());
    }

    /// Only where it was interrupted is it tried again.
    #[test]
    fn a_read_that_fails_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let directory = File::open(dir.path()).unwrap();
        let read = directory.read_at(&mut [0; 8], 0);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}
