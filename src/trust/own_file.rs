//! Files and directories that are one's own: none is used that another user owns or that others
//! can write, and none is opened that is no regular file. [`super::durable`] writes them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

/// Permissions of what only its owner may read.
pub(crate) const PRIVATE: u32 = 0o600;

/// A file or directory that is not used as it is. It was left unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// Another user owns it, and can change it at any time.
    #[error("another user owns {}", path.display())]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
    },
    /// Its group or everybody can write it.
    #[error("others can write {} (mode {mode:04o})", path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file system has no permissions, or ignores them: a private key would be open to
    /// others.
    #[error("the file system of {} keeps no permissions", path.display())]
    NoModes {
        /// The directory that a key was to be made in.
        path: PathBuf,
    },
    /// A link, where a file is to be made or replaced.
    #[error("the file {} is a link, and nothing is written through links", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// A directory, a named pipe, a device or a socket, where a file has to be.
    #[error("there is {kind} in the place of the file {}", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// It is longer than any such file can be.
    #[error("the file {} is too long: it has more than {most} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// As many are read.
        most: u64,
    },
}

/// Why a file was not read or opened.
#[derive(Debug)]
pub enum FileError {
    /// It is not one to use.
    Unusable(Unusable),
    /// What the file system says.
    Io(io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Unusable> for FileError {
    fn from(unusable: Unusable) -> Self {
        Self::Unusable(unusable)
    }
}

impl FileError {
    /// Whether there is nothing of that name.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Whose a file that is read has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// One's own, and not to be written by others.
    Own,
    /// One's own; which mode it may have is for the caller to say.
    OwnOfAnyMode,
    /// Anybody's: a certificate proves nothing by itself.
    Anybodys,
}

/// Looks at the owner and mode of a directory that holds files of one's own. A missing one,
/// and one that is none, is for whoever opens a file there to find.
///
/// # Errors
/// [`Unusable::Foreign`], [`Unusable::Exposed`].
pub(crate) fn check_directory(dir: &Path) -> Result<(), Unusable> {
    let dir = or_here(dir);
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => check_owner(dir, found.uid(), found.mode(), me()),
        _ => Ok(()),
    }
}

/// Opens a file to read it; a link to it is followed. What is no file is not opened: a named
/// pipe would have to wait for its writer.
///
/// # Errors
/// [`Unusable`] but for its length, and what the file system says.
pub(crate) fn open(path: &Path, whose: Whose) -> Result<(File, Metadata), FileError> {
    let check = |found: &Metadata| -> Result<(), Unusable> {
        check_kind(path, found)?;
        let mode = match whose {
            Whose::Own => found.mode(),
            Whose::OwnOfAnyMode => 0,
            Whose::Anybodys => return Ok(()),
        };
        check_owner(path, found.uid(), mode, me())
    };
    check(&fs::metadata(path)?)?;
    // It may be another by now: not waited for, and looked at again.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits() | OFlag::O_NOCTTY.bits())
        .open(path)?;
    let found = file.metadata()?;
    check(&found)?;
    Ok((file, found))
}

/// What is in an open file.
///
/// # Errors
/// [`Unusable::TooLong`], and what the file system says.
pub(crate) fn read_open(file: File, path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let too_long = || Unusable::TooLong {
        path: path.to_owned(),
        most,
    };
    if file.metadata()?.len() > most {
        return Err(too_long().into());
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    file.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(too_long().into()),
        false => Ok(bytes),
    }
}

/// [`open`] and [`read_open`] in one.
///
/// # Errors
/// Those of both.
pub(crate) fn read(path: &Path, whose: Whose, most: u64) -> Result<Vec<u8>, FileError> {
    let (file, _) = open(path, whose)?;
    read_open(file, path, most)
}

/// Opens a file to lock it, and makes it if need be (mode 0600). Its content stays.
///
/// # Errors
/// [`Unusable`], a link too; what the file system says.
pub(crate) fn open_lock(path: &Path) -> Result<File, FileError> {
    open_or_make(path, OpenOptions::new().write(true))
}

/// Opens a file to append to it, and makes it if need be (mode 0600).
///
/// # Errors
/// [`Unusable`], a link too; what the file system says.
#[cfg(feature = "cli")]
pub(crate) fn open_to_append(path: &Path) -> Result<File, FileError> {
    open_or_make(path, OpenOptions::new().append(true))
}

/// Opens a file that is there, to write in its place.
///
/// # Errors
/// [`Unusable`], a link too; what the file system says.
pub(crate) fn open_to_write(path: &Path) -> Result<File, FileError> {
    check_made(path, &fs::symlink_metadata(path)?)?;
    open_made(path, OpenOptions::new().write(true))
}

/// Whether what has this name, and is no link, is this open file.
///
/// Where Linux (from 6.13 on) has told a file's times, the next write has new ones, and a flush
/// takes half as long again to write these. So they are not asked for.
#[cfg(target_os = "linux")]
pub(crate) fn is_same(file: &File, path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, statx};

    let of = |found: Statx| (found.stx_dev_major, found.stx_dev_minor, found.stx_ino);
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO).map(of);
    let own = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::INO).map(of);
    // A system that has no such call (before 4.11) has the file opened anew.
    found.is_ok_and(|found| own.is_ok_and(|own| own == found))
}

/// Whether what has this name, and is no link, is this open file.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_same(file: &File, path: &Path) -> bool {
    let of = |found: Metadata| (found.dev(), found.ino());
    let found = fs::symlink_metadata(path).map(of);
    found.is_ok_and(|found| file.metadata().map(of).is_ok_and(|own| own == found))
}

fn open_or_make(path: &Path, options: &mut OpenOptions) -> Result<File, FileError> {
    match fs::symlink_metadata(path) {
        Ok(found) => check_made(path, &found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    open_made(path, options.create(true).truncate(false))
}

fn open_made(path: &Path, options: &mut OpenOptions) -> Result<File, FileError> {
    let file = options
        .read(true)
        .mode(PRIVATE)
        .custom_flags(OFlag::O_NOFOLLOW.bits() | OFlag::O_NONBLOCK.bits())
        .open(path)?;
    check_made(path, &file.metadata()?)?;
    Ok(file)
}

fn check_made(path: &Path, found: &Metadata) -> Result<(), Unusable> {
    check_not_link(path, found)?;
    check_kind(path, found)?;
    check_owner(path, found.uid(), found.mode(), me())
}

/// Refuses a link where a file is to be replaced.
///
/// # Errors
/// [`Unusable::Link`].
pub(crate) fn check_not_link(path: &Path, found: &Metadata) -> Result<(), Unusable> {
    match found.is_symlink() {
        true => Err(Unusable::Link {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}

fn check_kind(path: &Path, found: &Metadata) -> Result<(), Unusable> {
    let kind = found.file_type();
    let kind = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(Unusable::NotAFile {
        path: path.to_owned(),
        kind,
    })
}

/// Whether `me` alone decides what is in it.
fn check_owner(path: &Path, owner: u32, mode: u32, me: u32) -> Result<(), Unusable> {
    let path = path.to_owned();
    if owner != me {
        return Err(Unusable::Foreign { path, owner });
    }
    match mode & 0o022 {
        0 => Ok(()),
        _ => Err(Unusable::Exposed {
            path,
            mode: mode & 0o7777,
        }),
    }
}

fn me() -> u32 {
    geteuid().as_raw()
}

/// The directory that an empty path stands for.
pub(super) fn or_here(dir: &Path) -> &Path {
    match dir.as_os_str().is_empty() {
        true => Path::new("."),
        false => dir,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    const MOST: u64 = 16;

    #[test]
    fn what_others_own_or_can_write_is_not_used() {
        let path = || PathBuf::from("home");
        let foreign = |owner| {
            Err(Unusable::Foreign {
                path: path(),
                owner,
            })
        };
        let exposed = |mode| Err(Unusable::Exposed { path: path(), mode });
        for (owner, mode, me, expected) in [
            (1000, 0o40700, 1000, Ok(())),
            (1000, 0o40755, 1000, Ok(())),
            (0, 0o40700, 0, Ok(())),
            // root is another user too, and so is everybody to root.
            (0, 0o40755, 1000, foreign(0)),
            (1000, 0o40700, 0, foreign(1000)),
            (1001, 0o40777, 1000, foreign(1001)),
            (1000, 0o40775, 1000, exposed(0o775)),
            (1000, 0o40702, 1000, exposed(0o702)),
            (1000, 0o41777, 1000, exposed(0o1777)),
        ] {
            let told = check_owner(&path(), owner, mode, me);
            assert_eq!(told, expected, "{owner} {mode:o} {me}");
        }
    }

    #[test]
    fn only_files_of_a_bounded_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("fits"), [b'x'; MOST as usize]).unwrap();
        fs::write(path("long"), [b'x'; MOST as usize + 1]).unwrap();
        File::create(path("huge"))
            .unwrap()
            .set_len(3 << 30)
            .unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        symlink(path("fits"), path("link")).unwrap();
        for whose in [Whose::Own, Whose::Anybodys] {
            for name in ["fits", "link"] {
                assert_eq!(read(&path(name), whose, MOST).unwrap().len(), MOST as usize);
            }
            for name in ["long", "huge"] {
                let refused = read(&path(name), whose, MOST);
                let refused = refused.unwrap_err();
                assert!(
                    matches!(refused, FileError::Unusable(Unusable::TooLong { .. })),
                    "{refused:?}"
                );
            }
            for (odd, expected) in [
                (dir.path().to_owned(), "a directory"),
                (path("socket"), "a socket"),
                ("/dev/null".into(), "a device"),
            ] {
                match read(&odd, whose, MOST) {
                    Err(FileError::Unusable(Unusable::NotAFile { kind, .. })) => {
                        assert_eq!(kind, expected);
                    }
                    other => panic!("{odd:?}: {other:?}"),
                }
            }
            assert!(read(&path("absent"), whose, MOST).unwrap_err().is_absent());
        }
    }

    #[test]
    fn a_file_that_others_can_write_is_read_only_where_it_may_be_anybodys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(read(&path, Whose::Anybodys, MOST).unwrap(), b"x");
        let refused = read(&path, Whose::Own, MOST).unwrap_err();
        assert!(matches!(
            refused,
            FileError::Unusable(Unusable::Exposed { mode: 0o666, .. })
        ));
    }

    #[test]
    fn a_lock_is_made_and_kept_and_no_link_is_followed_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        drop(open_lock(&path("lock")).unwrap());
        fs::write(path("lock"), "kept").unwrap();
        drop(open_lock(&path("lock")).unwrap());
        assert_eq!(fs::read(path("lock")).unwrap(), b"kept");
        for (link, target) in [("whole", path("lock")), ("dangling", path("elsewhere"))] {
            symlink(&target, path(link)).unwrap();
            let refused = open_lock(&path(link)).unwrap_err();
            assert!(
                matches!(refused, FileError::Unusable(Unusable::Link { .. })),
                "{refused:?}"
            );
        }
        assert!(!path("elsewhere").exists());
    }
}
