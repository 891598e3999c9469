//! What helps where the system refuses a file: found out on the disk, and said in words that
//! are true of the case at hand. Nothing whole is ever to be thrown away.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Uid, User, access, geteuid};

use super::book::BOOK_FILE;
use super::proposal::{Called, another_directory, shell_quoted};
use crate::trust::{CERTIFICATE_FILE, KEY_FILE, Unusable, durable};

/// What was to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// To read it.
    Read,
    /// To make, replace or lock it.
    Write,
}

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It lies in the directory that this program keeps, and is the person's own.
    Own,
    /// It was named in an argument, and may be anybody's.
    Named,
}

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Obstacle {
    /// A file, where a directory has to be.
    File(PathBuf),
    /// A directory, where a file has to be.
    Directory(PathBuf),
    /// A link to nowhere.
    Link(PathBuf),
    /// There is no such file.
    Absent,
    /// The permissions of this one.
    Permissions {
        path: PathBuf,
        is_dir: bool,
        owner: Owner,
    },
    /// It is forbidden, and not by permissions.
    Forbidden(PathBuf),
    /// A file system that is read-only.
    ReadOnly(PathBuf),
    /// No space, a quota, or the limit of a file's size.
    Full,
    /// This process has too many files open.
    TooManyHere,
    /// All processes together have.
    TooManyEverywhere,
    /// Something else.
    Unknown,
}

/// Who owns what stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    /// Who runs this program, by this number.
    Me,
    /// Another, by this name; and the number of who runs this program.
    Other { name: String, me: u32 },
}

/// What helps where a file of one's own cannot be read or written: one sentence or more.
pub fn for_own(wanted: Wanted, path: &Path, error: &io::Error) -> String {
    let place = if is_named(path) {
        Place::Named
    } else {
        Place::Own
    };
    words(&Obstacle::find(wanted, path, error), place)
}

/// Whether it was given with `--cert` or `--key`.
fn is_named(path: &Path) -> bool {
    Called::get().identity.iter().flatten().any(|it| it == path)
}

/// What helps where a file that was named in an argument cannot be read or written: one
/// sentence or more.
pub fn for_named(wanted: Wanted, path: &Path, error: &io::Error) -> String {
    words(&Obstacle::find(wanted, path, error), Place::Named)
}

/// What helps where a private key of one's own is open to others.
pub fn for_loose_key(path: &Path) -> String {
    if ignores_modes(path) {
        return no_modes_words(path);
    }
    let owner = fs::metadata(path).map_or(Owner::Me, |found| owner(found.uid()));
    loose_words(path, &owner)
}

/// What helps where a file or directory is not one to use: one sentence or more.
pub fn for_unusable(unusable: &Unusable) -> String {
    match unusable {
        Unusable::Foreign { path, owner: uid } => foreign_words(path, &owner(*uid)),
        Unusable::Exposed { path, .. } => match ignores_modes(path) {
            true => no_modes_words(path),
            false => exposed_words(path),
        },
        Unusable::NoModes { path } => no_modes_words(path),
        Unusable::Link { path } => link_words(path),
        Unusable::NotAFile { path, kind } => {
            let place = place_of(path);
            match *kind {
                "a directory" => words(&Obstacle::Directory(path.clone()), place),
                _ if place == Place::Own => format!(
                    "Rename {}, and restore the file that belongs there.",
                    path.display()
                ),
                _ => "Give the path of a file.".to_owned(),
            }
        }
        _ => "It cannot be what it is taken for: restore it from a backup.".to_owned(),
    }
}

fn place_of(path: &Path) -> Place {
    match path.starts_with(&Called::get().directory) && !is_named(path) {
        true => Place::Own,
        false => Place::Named,
    }
}

/// Whether the file system of this one, in a directory of one's own, ignores permissions.
fn ignores_modes(path: &Path) -> bool {
    let dir = match path.is_dir() {
        true => path,
        false => or_here(path.parent().unwrap_or(path)),
    };
    let is_mine = fs::metadata(dir).is_ok_and(|found| owner(found.uid()) == Owner::Me);
    is_mine && durable::keeps_modes(dir).is_ok_and(|keeps| !keeps)
}

fn no_modes_words(path: &Path) -> String {
    format!(
        "Its permissions cannot be closed to others there: {}, on a file system that has permissions.",
        another_directory(path)
    )
}

fn exposed_words(path: &Path) -> String {
    const STICKY: u32 = 0o1000;
    // One that is shared on purpose is not to be closed.
    let is_shared = fs::metadata(path).is_ok_and(|it| it.is_dir() && it.mode() & STICKY != 0);
    match is_shared {
        true => format!(
            "Everybody may put files there: {}.",
            another_directory(path)
        ),
        false => format!(
            "Look whether it is still as you left it, then close it with `chmod go-w {}`.",
            shell_quoted(path)
        ),
    }
}

fn foreign_words(path: &Path, owner: &Owner) -> String {
    let quoted = shell_quoted(path);
    match owner {
        // It has changed hands meanwhile.
        Owner::Me => "Run the same command again.".to_owned(),
        Owner::Other { name, me } => {
            let all = if path.is_dir() { "-R " } else { "" };
            let as_root = if *me == 0 { "run" } else { "as root, run" };
            format!(
                "The owner is {name}, who can change it: {}, or, if all of it is to be yours, {as_root} `chown {all}{me} {quoted}`.",
                another_directory(path)
            )
        }
    }
}

fn link_words(path: &Path) -> String {
    let with = |ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        shell_quoted(Path::new(&name))
    };
    let quoted = shell_quoted(path);
    let is_lock = path.extension().is_some_and(|it| it == "lock");
    match fs::canonicalize(path) {
        Ok(target) if target.is_file() && !is_lock => format!(
            "To have a file of its own there, run `cp {} {new} && mv {new} {quoted}`; nothing was changed.",
            shell_quoted(&target),
            new = with(".new"),
        ),
        _ => format!(
            "Rename the link with `mv {quoted} {}`; nothing was changed.",
            with(".old")
        ),
    }
}

/// What helps where the system has no more files to give; `None` for any other error.
pub fn for_too_many(error: &io::Error) -> Option<String> {
    let obstacle = Obstacle::without_path(error)?;
    let is_it = matches!(
        obstacle,
        Obstacle::TooManyHere | Obstacle::TooManyEverywhere
    );
    is_it.then(|| words(&obstacle, Place::Own))
}

impl Obstacle {
    fn find(wanted: Wanted, path: &Path, error: &io::Error) -> Self {
        if let Some(found) = Self::without_path(error) {
            return found;
        }
        match error.kind() {
            io::ErrorKind::NotFound if path.is_symlink() => Self::Link(path.to_owned()),
            io::ErrorKind::NotFound if wanted == Wanted::Read => Self::Absent,
            // A directory was to be made where a file is.
            io::ErrorKind::AlreadyExists => file_on_the_way(path, path),
            io::ErrorKind::NotADirectory => file_on_the_way(path.parent().unwrap_or(path), path),
            io::ErrorKind::IsADirectory => Self::Directory(path.to_owned()),
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path.to_owned()),
            io::ErrorKind::PermissionDenied => denied(wanted, path),
            _ => Self::Unknown,
        }
    }

    fn without_path(error: &io::Error) -> Option<Self> {
        match Errno::from_raw(error.raw_os_error()?) {
            Errno::EMFILE => Some(Self::TooManyHere),
            Errno::ENFILE => Some(Self::TooManyEverywhere),
            Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG => Some(Self::Full),
            _ => None,
        }
    }
}

/// The first on the way to `path` that is no directory.
fn file_on_the_way(to: &Path, path: &Path) -> Obstacle {
    let way: Vec<_> = to.ancestors().collect();
    let is_file = |it: &&&Path| fs::metadata(it).is_ok_and(|found| !found.is_dir());
    match way.iter().rev().find(is_file) {
        Some(file) => Obstacle::File(file.to_path_buf()),
        None => Obstacle::Forbidden(path.to_owned()),
    }
}

/// Whose permissions forbid it.
fn denied(wanted: Wanted, path: &Path) -> Obstacle {
    // What a link leads to is replaced, beside itself.
    let target = path.is_symlink().then(|| fs::canonicalize(path).ok());
    let path = target.flatten().unwrap_or_else(|| path.to_owned());
    let way = || path.ancestors().skip(1).map(or_here);
    let is_closed = |dir: &&Path| dir.exists() && access(*dir, AccessFlags::X_OK).is_err();
    let closed = way().collect::<Vec<_>>().into_iter().rev().find(is_closed);
    let nearest = || way().find(|dir| dir.exists());
    let is_unwritable = |it: &&Path| access(*it, AccessFlags::W_OK).is_err();
    let culprit = closed.or_else(|| match wanted {
        Wanted::Read => Some(path.as_path()).filter(|it| access(*it, AccessFlags::R_OK).is_err()),
        Wanted::Write => nearest()
            .filter(is_unwritable)
            .or(Some(path.as_path()).filter(|it| it.exists() && is_unwritable(it))),
    });
    let found = culprit.and_then(|it| Some((it, fs::metadata(it).ok()?)));
    match found {
        Some((culprit, found)) => Obstacle::Permissions {
            path: culprit.to_owned(),
            is_dir: found.is_dir(),
            owner: owner(found.uid()),
        },
        None => Obstacle::Forbidden(path.to_owned()),
    }
}

/// The directory that an empty path stands for.
fn or_here(dir: &Path) -> &Path {
    match dir.as_os_str().is_empty() {
        true => Path::new("."),
        false => dir,
    }
}

fn owner(uid: u32) -> Owner {
    let me = geteuid();
    if me.as_raw() == uid {
        return Owner::Me;
    }
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    Owner::Other {
        name: user.map_or_else(|| format!("user {uid}"), |user| user.name),
        me: me.as_raw(),
    }
}

fn words(obstacle: &Obstacle, place: Place) -> String {
    match obstacle {
        Obstacle::File(path) => {
            format!(
                "A directory is needed where the file {} is. {}.",
                path.display(),
                elsewhere(path, place)
            )
        }
        Obstacle::Directory(path) => match place {
            Place::Own => format!(
                "A file is needed where the directory {} is: rename that.",
                path.display()
            ),
            Place::Named => "It is a directory: give a file in it.".to_owned(),
        },
        Obstacle::Link(path) => format!(
            "The link {} leads to a file that is not there: restore that file, or correct the link.",
            path.display()
        ),
        Obstacle::Absent => "Check the path: there is no such file.".to_owned(),
        Obstacle::Permissions {
            path,
            is_dir,
            owner: Owner::Me,
        } => {
            let mode = if *is_dir { "u+rwx" } else { "u+rw" };
            format!(
                "You own {}: get access to it with `chmod {mode} {}`.",
                path.display(),
                shell_quoted(path)
            )
        }
        Obstacle::Permissions {
            path,
            is_dir,
            owner: Owner::Other { name, me },
        } => {
            let whose = format!("The owner of {} is {name}.", path.display());
            match place {
                Place::Named => format!("{whose} Ask for a copy that you can read."),
                // Somebody else's directory is not to be taken over.
                Place::Own if *is_dir && !is_own(path, Called::get()) => format!(
                    "{whose} Ask for access there, or {}.",
                    another_directory(path)
                ),
                Place::Own => {
                    let all = if *is_dir { "-R " } else { "" };
                    format!(
                        "{whose} Make it yours: as root, run `chown {all}{me} {}`.",
                        shell_quoted(path)
                    )
                }
            }
        }
        Obstacle::Forbidden(path) => format!(
            "Its permissions allow it: see what else forbids it for {}, such as an attribute, an access list or a sandbox.",
            path.display()
        ),
        Obstacle::ReadOnly(path) => read_only_words(path, &Called::get().directory, place),
        Obstacle::Full => {
            "Check that the disk is not full, and that no quota and no limit (`ulimit -f`) is in the way.".to_owned()
        }
        Obstacle::TooManyHere => {
            "Raise the limit of open files, for example with `ulimit -n 1024` in a new shell, and run the same command there.".to_owned()
        }
        Obstacle::TooManyEverywhere => {
            "Close other programs: all of them together have too many files open.".to_owned()
        }
        Obstacle::Unknown => "Check the path, and the disk that it is on.".to_owned(),
    }
}

fn elsewhere(path: &Path, place: Place) -> String {
    match place {
        Place::Own => capital(&another_directory(path)),
        Place::Named => "Check the path".to_owned(),
    }
}

fn read_only_words(path: &Path, home: &Path, place: Place) -> String {
    let advice = match place == Place::Own && is_in_use(home) {
        // In another directory there would be another key, and nobody in the book.
        true => "What you have is there: have it mounted for writing".to_owned(),
        false => elsewhere(path, place),
    };
    format!(
        "The file system of {} is read-only. {advice}.",
        path.display()
    )
}

/// Whether a person has a key or an address book in this home.
fn is_in_use(home: &Path) -> bool {
    let files = [CERTIFICATE_FILE, KEY_FILE, BOOK_FILE];
    files.iter().any(|file| home.join(file).exists())
}

fn loose_words(path: &Path, owner: &Owner) -> String {
    let quoted = shell_quoted(path);
    match owner {
        Owner::Me => format!("Close it with `chmod 600 {quoted}`."),
        Owner::Other { name, me } => format!(
            "Its owner is {name}. If it is to be yours, run as root `chown {me} {quoted} && chmod 600 {quoted}`."
        ),
    }
}

/// Whether it is the person's own for sure: in the home, or the home where this program has
/// named it. Any other directory may have been given by mistake.
fn is_own(path: &Path, called: &Called) -> bool {
    let whole = |path| fs::canonicalize(path).ok();
    let (Some(path), Some(home)) = (whole(path), whole(&called.directory)) else {
        return false;
    };
    let is_named_by_us = ["HOME", "XDG_CONFIG_HOME"].contains(&called.taken_from);
    path.starts_with(&home) && (path != home || is_named_by_us)
}

/// The sentence that these words of ours are.
fn capital(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

#[cfg(test)]
mod tests;
