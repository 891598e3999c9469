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
