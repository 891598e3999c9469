//! Small files of which a crash leaves the old or the new one, never half: created without
//! overwriting, or replaced whole, and synced with their directory. Their content is not our
//! concern here.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;

/// Permissions of what only its owner may read.
pub(crate) const PRIVATE: u32 = 0o600;

/// Permissions of what anyone may read (a umask can take more away).
pub(crate) const PUBLIC: u32 = 0o644;

/// Makes `dir` and its missing parents, with mode 0700. Existing ones keep their mode.
///
/// # Errors
///
/// What the file system says; directories made on the way are left.
pub(crate) fn create_private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    sync_directory_of(dir)
}

/// Writes a file that did not exist, and syncs it with its directory.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`], if anything has this name, even a dangling link; it is
/// left as it was. After any other error no file is left behind.
pub(crate) fn create_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_directory_of(path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(path);
    }
    written
}

/// Replaces the file at `path`, or creates it. A reader finds the whole old file or the whole
/// new one, even if the machine stops. A link is followed and stays a link.
///
/// # Errors
///
/// What the file system says. The old file is unchanged, unless only the last sync of the
/// directory failed: then the new one is in place.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        found => found?,
    };
    let beside = beside(&path)?;
    create_new(&beside, bytes, mode)?;
    if let Err(error) = fs::rename(&beside, &path) {
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    sync_directory_of(&path)
}

/// A name in the same directory (a rename cannot leave its file system) that
/// no other writer has.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    rand::fill(&mut random).map_err(|_| io::Error::other("no random bytes"))?;
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{:016x}.new", u64::from_ne_bytes(random)));
    Ok(path.with_file_name(name))
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn names_in(dir: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_exists_is_never_created_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create_new(&path, b"old", PRIVATE).unwrap();
        let refused = create_new(&path, b"new", PRIVATE).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_dangling_link_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        let path = dir.path().join("file");
        symlink(&elsewhere, &path).unwrap();
        assert!(create_new(&path, b"secret", PRIVATE).is_err());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_replaced_file_is_whole_private_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, b"first", PRIVATE).unwrap();
        replace(&path, b"second", PRIVATE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(names_in(dir.path()), ["file"]);
    }

    #[test]
    fn a_file_behind_a_link_is_replaced_and_the_link_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        symlink(&real, &link).unwrap();
        replace(&link, b"new", PRIVATE).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn a_replacement_that_fails_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let occupied = dir.path().join("directory");
        fs::create_dir(&occupied).unwrap();
        assert!(replace(&occupied, b"new", PRIVATE).is_err());
        assert_eq!(names_in(dir.path()), ["directory"]);
    }

    #[test]
    fn directories_are_made_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (above, below) = (dir.path().join("above"), dir.path().join("above/below"));
        create_private_dir(&below).unwrap();
        create_private_dir(&below).unwrap();
        for made in [above, below] {
            assert_eq!(
                fs::metadata(made).unwrap().permissions().mode() & 0o777,
                0o700
            );
        }
    }
}
