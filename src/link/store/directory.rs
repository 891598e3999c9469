//! [`Directory`]: a [`Disk`] that is one: a directory of one's own files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, LONGEST};
use crate::trust::durable::{PRIVATE, open_new, sync_directory};
use crate::trust::own_file::{
    FileError, Whose, check_not_link, is_same, open, open_to_write, read_open,
};

/// A directory of files that nobody else can read.
#[derive(Debug)]
pub(in crate::link) struct Directory {
    path: PathBuf,
    /// Held as long as somebody may write here.
    _lock: Option<File>,
}

impl Directory {
    /// For whoever only reads.
    pub(in crate::link) fn unlocked(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _lock: None,
        }
    }

    /// For whoever has this lock, as long as this exists.
    pub(in crate::link) fn locked(path: &Path, lock: File) -> Self {
        Self {
            path: path.to_owned(),
            _lock: Some(lock),
        }
    }
}

impl Disk for Directory {
    type File = File;

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        let names: io::Result<Vec<_>> = names.collect();
        // Whatever has such a name is not ours.
        Ok(names?.into_iter().flatten().collect())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        let path = self.path(name);
        match open(&path, Whose::Own) {
            Err(error) if error.is_absent() => match fs::symlink_metadata(&path) {
                // It leads nowhere.
                Ok(found) => Ok(check_not_link(&path, &found).map(|()| None)?),
                Err(_) => Ok(None),
            },
            opened => read_open(opened?.0, &path, LONGEST).map(Some),
        }
    }

    fn open(&self, name: &str) -> Result<Option<File>, FileError> {
        match open_to_write(&self.path(name)) {
            Err(error) if error.is_absent() => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn is_in_place(&self, file: &File, name: &str) -> bool {
        is_same(file, &self.path(name))
    }

    fn create(&self, name: &str) -> Result<File, FileError> {
        Ok(open_new(&self.path(name), PRIVATE)?)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        let to = self.path(to);
        if let Ok(found) = fs::symlink_metadata(&to) {
            check_not_link(&to, &found)?;
        }
        Ok(fs::rename(self.path(from), to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn flush(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::link::store::DiskFile;

    fn directory(dir: &TempDir) -> Directory {
        Directory::unlocked(dir.path())
    }

    #[test]
    fn where_there_is_no_directory_there_are_no_files() {
        let dir = tempdir().unwrap();
        let absent = Directory::unlocked(&dir.path().join("absent"));
        assert_eq!(absent.names().unwrap(), [""; 0]);
        assert_eq!(absent.read("file").unwrap(), None);
        assert!(absent.open("file").unwrap().is_none());
        assert!(absent.flush().is_err());
        assert!(absent.remove("file").is_ok());
        // A file in its place is none.
        fs::write(dir.path().join("absent"), "").unwrap();
        assert!(absent.names().is_err());
    }

    #[test]
    fn a_file_is_read_as_it_was_written_under_the_name_it_has_now() {
        let dir = tempdir().unwrap();
        let disk = directory(&dir);
        let file = disk.create("new").unwrap();
        assert!(disk.create("new").is_err());
        file.write_at(b"Hello, Bob!", 0).unwrap();
        file.write_at(b"Carol", 7).unwrap();
        DiskFile::flush(&file).unwrap();
        disk.rename("new", "file").unwrap();
        disk.flush().unwrap();
        assert_eq!(disk.names().unwrap(), ["file"]);
        assert_eq!(
            disk.read("file").unwrap().as_deref(),
            Some(&b"Hello, Carol"[..])
        );
        let mut part = [0; 8];
        let opened = disk.open("file").unwrap().unwrap();
        assert_eq!(opened.read_at(&mut part, 7).unwrap(), 5);
        assert_eq!(&part[..5], b"Carol");
        disk.remove("file").unwrap();
        assert_eq!(disk.names().unwrap(), [""; 0]);
        // It is not an error that it is gone, but it is one that it cannot be removed.
        disk.remove("file").unwrap();
        fs::create_dir(dir.path().join("file")).unwrap();
        assert!(disk.remove("file").is_err());
    }

    #[test]
    fn an_open_file_that_was_replaced_is_not_written_to() {
        let dir = tempdir().unwrap();
        let disk = directory(&dir);
        let file = disk.create("file").unwrap();
        assert!(disk.is_in_place(&file, "file"));
        disk.create("new").unwrap();
        disk.rename("new", "file").unwrap();
        assert!(!disk.is_in_place(&file, "file"));
        disk.remove("file").unwrap();
        assert!(!disk.is_in_place(&file, "file"));
    }

    #[test]
    fn a_link_is_read_through_and_not_written_through_or_replaced() {
        let dir = tempdir().unwrap();
        let disk = directory(&dir);
        disk.create("target").unwrap();
        for (link, to) in [("to a file", "target"), ("to nothing", "absent")] {
            symlink(dir.path().join(to), dir.path().join(link)).unwrap();
            let is_link = |error| matches!(error, FileError::Unusable(_));
            assert!(disk.open(link).is_err_and(is_link), "{link}");
            disk.create("new").unwrap();
            assert!(disk.rename("new", link).is_err_and(is_link), "{link}");
            disk.remove("new").unwrap();
        }
        assert_eq!(disk.read("to a file").unwrap(), Some(Vec::new()));
        // That is not the same as no file at all.
        let nowhere = disk.read("to nothing");
        assert!(matches!(nowhere, Err(FileError::Unusable(_))));
    }

    /// Else what was begun is begun anew.
    #[test]
    fn what_cannot_be_read_is_not_taken_for_no_file() {
        let dir = tempdir().unwrap();
        fs::create_dir(dir.path().join("file")).unwrap();
        assert!(directory(&dir).read("file").is_err());
    }
}
