//! Small files of which a crash leaves the old or the new one, never half: created without
//! overwriting, or replaced whole, and synced with their directory. No link is followed to what
//! is created or replaced. Their content is not our concern here.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;

pub(crate) use super::own_file::PRIVATE;
use super::own_file::{Unusable, check_not_link, or_here};

/// Permissions of what anyone may read (a umask can take more away).
pub(crate) const PUBLIC: u32 = 0o644;

/// Why a file was not replaced for good.
#[derive(Debug)]
pub(crate) enum ReplaceError {
    /// It is a link. Nothing was changed.
    Unusable(Unusable),
    /// The file system refused. Nothing was changed.
    Io(io::Error),
    /// The new file is in place, and its directory could not be synced: after a power cut the
    /// old one may be back.
    Unsynced(io::Error),
}

impl From<io::Error> for ReplaceError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Makes `dir` and its missing parents, with mode 0700, and syncs each where it stands. Existing ones
/// keep their mode.
///
/// # Errors
///
/// What the file system says; directories made on the way are left.
pub(crate) fn create_private_dir(dir: &Path) -> io::Result<()> {
    if or_here(dir).is_dir() {
        return Ok(());
    }
    let missing = dir.ancestors().take_while(|dir| !or_here(dir).is_dir());
    let missing: Vec<_> = missing.collect();
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    missing.into_iter().rev().try_for_each(sync_directory_of)
}

/// Whether a private file in this directory is private: some file systems ignore permissions.
/// Found with an empty file, which is removed.
///
/// # Errors
///
/// What the file system says.
pub(crate) fn keeps_modes(dir: &Path) -> io::Result<bool> {
    let probe = beside(&dir.join("modes"))?;
    let file = open_new(&probe, PRIVATE)?;
    let found = file.metadata();
    let removed = fs::remove_file(&probe);
    let mode = found?.permissions().mode();
    removed.map(|()| is_private(mode))
}

fn is_private(mode: u32) -> bool {
    mode & 0o077 == 0
}

/// Writes a file that did not exist, and syncs it with its directory.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`], if anything has this name, even a dangling link; it is
/// left as it was. After any other error no file is left behind.
pub(crate) fn create_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_new(path, bytes, mode, None)?;
    sync_directory_of(path).inspect_err(|_| remove(path))
}

/// Replaces the file at `path`, or creates it with this mode; the old one's stays. A reader
/// finds the whole old file or the whole new one, even if the machine stops. A link is not
/// followed, and not replaced.
///
/// # Errors
///
/// [`ReplaceError`].
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ReplaceError> {
    let kept = match fs::symlink_metadata(path) {
        Ok(found) => {
            check_not_link(path, &found).map_err(ReplaceError::Unusable)?;
            found
                .is_file()
                .then_some(found.permissions().mode() & 0o777)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let beside = beside(path)?;
    write_new(&beside, bytes, mode, kept)?;
    fs::rename(&beside, path).inspect_err(|_| remove(&beside))?;
    sync_directory_of(path).map_err(ReplaceError::Unsynced)
}

/// Removes what a writer that was killed has left beside a file of this name, or one that
/// begins so. Only for whoever keeps other writers out.
#[cfg(feature = "cli")]
pub(crate) fn sweep(dir: &Path, name: &str) {
    let begin = format!(".{name}");
    let is_left = |name: &str| name.starts_with(&begin) && name.ends_with(BESIDE);
    for entry in fs::read_dir(or_here(dir)).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_left) {
            // It does no harm if it stays.
            remove(&entry.path());
        }
    }
}

/// How the name of a file ends that is not in place yet.
const BESIDE: &str = ".new";

/// A name in the same directory (a rename cannot leave its file system) that
/// no other writer has.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    rand::fill(&mut random).map_err(|_| io::Error::other("no random bytes"))?;
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{:016x}{BESIDE}", u64::from_ne_bytes(random)));
    Ok(path.with_file_name(name))
}

/// Makes a file that did not exist, to write in it.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`], and what the file system says.
pub(crate) fn open_new(path: &Path, mode: u32) -> io::Result<File> {
    // Exclusive: a link is not followed either.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

/// Writes a file that did not exist, with `mode` as far as the umask has it, or exactly
/// `kept`, and syncs it.
fn write_new(path: &Path, bytes: &[u8], mode: u32, kept: Option<u32>) -> io::Result<()> {
    let mut file = open_new(path, kept.map_or(mode, |kept| kept & mode))?;
    let kept = match kept.filter(|kept| *kept != mode) {
        Some(kept) => file.set_permissions(fs::Permissions::from_mode(kept)),
        None => Ok(()),
    };
    kept.and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .inspect_err(|_| remove(path))
}

/// After an error, which is the one to report.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Makes the names in a directory durable.
///
/// # Errors
///
/// What the file system says.
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    match File::open(or_here(dir))?.sync_all() {
        Err(error) if has_no_sync(&error) => Ok(()),
        synced => synced,
    }
}

/// Some file systems cannot sync a directory (a name there is as durable as they make it).
fn has_no_sync(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

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
    fn a_link_is_neither_replaced_nor_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        symlink(&real, &link).unwrap();
        for content in [None, Some("old")] {
            if let Some(content) = content {
                fs::write(&real, content).unwrap();
            }
            let refused = replace(&link, b"new", PRIVATE).unwrap_err();
            assert!(
                matches!(refused, ReplaceError::Unusable(Unusable::Link { .. })),
                "{refused:?}"
            );
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(fs::read_to_string(&real).ok().as_deref(), content);
        }
    }

    #[test]
    fn a_replaced_file_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for mode in [0o640, 0o400, 0o600] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            replace(&path, b"new", PRIVATE).unwrap();
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    #[cfg(feature = "cli")]
    fn what_a_killed_writer_left_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let kept = [
            "peers.toml",
            ".peers.toml",
            ".other.0123.new",
            "peers.toml.new",
        ];
        for name in kept.iter().chain(&[".peers.toml.0123456789abcdef.new"]) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        sweep(dir.path(), "peers.toml");
        let mut expected = kept.map(OsString::from);
        expected.sort();
        assert_eq!(names_in(dir.path()), expected);
    }

    #[test]
    fn a_directory_that_cannot_be_synced_is_as_durable_as_it_is() {
        use nix::errno::Errno;

        for (errno, is_tolerated) in [
            (Errno::EINVAL, true),
            (Errno::ENOTSUP, true),
            (Errno::EIO, false),
            (Errno::ENOSPC, false),
            (Errno::EROFS, false),
        ] {
            assert_eq!(has_no_sync(&errno.into()), is_tolerated, "{errno}");
        }
    }

    #[test]
    fn whether_modes_are_kept_is_found_out_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(keeps_modes(dir.path()).unwrap());
        assert!(names_in(dir.path()).is_empty());
        for (mode, expected) in [(0o600, true), (0o700, true), (0o777, false), (0o755, false)] {
            assert_eq!(is_private(mode), expected);
        }
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
