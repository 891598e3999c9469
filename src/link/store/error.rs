//! What can go wrong with a store: [`JournalError`], [`PutError`], [`StoreError`].

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::link::io_error::IoError;
use crate::trust::Unusable;
use crate::trust::own_file::FileError;

/// Why a conversation cannot be stored or continued. Its file is unchanged; only if the last
/// sync failed, it may be the new one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: IoError,
    },
    /// A file or directory cannot be written: the disk is full, or read-only.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: IoError,
    },
    /// A file or directory is not used as it is: another user owns it or others can write it,
    /// or it is a link, no file, or too long.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// A file's content is not what this program writes. To begin anew, move it away.
    #[error("the record {} is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// A file was written by another version of this program.
    #[error("the record {} has the form of version {version}", path.display())]
    OtherVersion {
        /// Which.
        path: PathBuf,
        /// The version of its form.
        version: u32,
    },
    /// Another client or server, in this process or another, has this conversation open or
    /// serves this journal, and did not let go within 3 s.
    #[error("somebody else holds {}", path.display())]
    InUse {
        /// What it holds.
        path: PathBuf,
    },
}

impl JournalError {
    /// Whether it stops one conversation, and other records can still be used.
    pub(crate) fn is_of_one_record(&self) -> bool {
        match self {
            Self::Unusable(_) | Self::Damaged { .. } | Self::OtherVersion { .. } => true,
            Self::Unreadable { .. } | Self::Unwritable { .. } | Self::InUse { .. } => false,
        }
    }

    /// Whether it is that file alone which cannot be had, and not the disk.
    pub(super) fn is_of_one_file(&self) -> bool {
        let is_closed = |source: &IoError| source.kind() == ErrorKind::PermissionDenied;
        matches!(self, Self::Unwritable { source, .. } if is_closed(source))
            || matches!(self, Self::Unusable(_))
    }

    pub(in crate::link) fn unreadable(path: &Path, error: impl Into<FileError>) -> Self {
        match error.into() {
            FileError::Unusable(unusable) => unusable.into(),
            FileError::Io(source) => Self::Unreadable {
                path: path.to_owned(),
                source: source.into(),
            },
        }
    }

    pub(in crate::link) fn unwritable(path: &Path, error: impl Into<FileError>) -> Self {
        match error.into() {
            FileError::Unusable(unusable) => unusable.into(),
            FileError::Io(source) => Self::Unwritable {
                path: path.to_owned(),
                source: source.into(),
            },
        }
    }
}

/// What became of a put or a removal, if it is not known to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutError {
    /// The record has another version: somebody else has taken over.
    Conflict,
    /// It was not done, and will not be.
    Failed(JournalError),
    /// It may have been done, or be done yet.
    Unknown,
}

/// Why a conversation is not kept any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreError {
    /// Somebody else goes on with it, and alone says and keeps what belongs to it.
    TakenOver,
    /// It cannot be stored.
    Failed(JournalError),
}

impl StoreError {
    /// The same, of the record that stands there, for whoever had its lock.
    pub(in crate::link) fn at(self, path: PathBuf) -> JournalError {
        match self {
            Self::TakenOver => JournalError::InUse { path },
            Self::Failed(error) => error,
        }
    }
}

impl From<JournalError> for StoreError {
    fn from(error: JournalError) -> Self {
        Self::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A user who may read it and not write it; and what no file has to do with.
    #[test]
    fn a_closed_file_is_told_from_a_disk_that_fails() {
        for (kind, is_it) in [
            (ErrorKind::PermissionDenied, true),
            (ErrorKind::ReadOnlyFilesystem, false),
            (ErrorKind::StorageFull, false),
            (ErrorKind::Other, false),
        ] {
            let error = JournalError::unwritable(Path::new("a"), io::Error::from(kind));
            assert_eq!(error.is_of_one_file(), is_it, "{kind:?}");
        }
    }
}
