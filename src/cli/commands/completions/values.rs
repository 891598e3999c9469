//! What may stand as a value: names, files, programs.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};

use crate::cli::home::Home;
use crate::trust::Algorithm;

/// How the id of a candidate begins that is a path.
const PATH: &str = "path::";

/// Whether it names a file or a directory: a shell quotes these otherwise than words.
pub(super) fn is_path(candidate: &CompletionCandidate) -> bool {
    candidate.get_id().is_some_and(|id| id.starts_with(PATH))
}

/// The names in the address book that begin so. A book that cannot be read has none here: the
/// command itself will say why.
pub(super) fn names(home: Option<&PathBuf>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let book = Home::find(home.cloned()).and_then(|home| home.book());
    let Ok(book) = book else {
        return Vec::new();
    };
    let typed = typed.to_string_lossy();
    let known = book
        .iter()
        .filter(|(name, _)| name.as_str().starts_with(&*typed));
    let candidates = known.map(|(name, entry)| {
        let address = entry.address().map(ToString::to_string);
        let key = || {
            entry
                .known_keys()
                .first()
                .map(|known| known.key.to_string())
        };
        let whose = address.or_else(key).map(Into::into);
        CompletionCandidate::new(name.as_str()).help(whose)
    });
    candidates.collect()
}

/// Certificates, and the directories that may have some.
pub(super) fn certificates(typed: &OsStr) -> Vec<CompletionCandidate> {
    let is_wanted = |path: &Path| {
        let is_pem = path.extension().is_some_and(|it| it == "pem");
        // A private key is never wanted where a certificate is.
        is_pem && !path.ends_with("key.pem")
    };
    paths(PathCompleter::any().filter(is_wanted), typed)
}

/// Files of any kind.
pub(super) fn files(typed: &OsStr) -> Vec<CompletionCandidate> {
    paths(PathCompleter::any(), typed)
}

/// Directories alone.
pub(super) fn directories(typed: &OsStr) -> Vec<CompletionCandidate> {
    paths(PathCompleter::dir(), typed)
}

fn paths(completer: PathCompleter, typed: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = completer.complete(typed);
    // Where nothing is typed, the directory itself is among them, as it is for no other program.
    found.retain(|it| it.get_value() != ".");
    let has_visible = found.iter().any(|it| !it.is_hide_set());
    found.retain(|it| !has_visible || !it.is_hide_set());
    let marked = found.into_iter().map(|it| {
        let id = format!("{PATH}{}", it.get_value().display());
        it.id(Some(id))
    });
    marked.collect()
}

/// The kinds of keys.
pub(super) fn algorithms() -> Vec<CompletionCandidate> {
    let names = Algorithm::ALL.map(|it| CompletionCandidate::new(it.as_str()));
    names.into()
}

/// The words of another command: a program, and then files, as far as we know.
pub(super) struct OtherCommand;

impl ValueCompleter for OtherCommand {
    fn complete(&self, typed: &OsStr) -> Vec<CompletionCandidate> {
        self.complete_at(0, typed)
    }

    fn complete_at(&self, index: usize, typed: &OsStr) -> Vec<CompletionCandidate> {
        match (index, typed.to_str()) {
            (0, Some(name)) if !name.contains('/') => programs(name),
            (0, _) => paths(PathCompleter::any().filter(is_program), typed),
            _ => files(typed),
        }
    }
}

/// The programs in PATH that begin so.
fn programs(typed: &str) -> Vec<CompletionCandidate> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).filter_map(|it| fs::read_dir(it).ok());
    let entries = directories.flatten().filter_map(Result::ok);
    let names = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        (name.starts_with(typed) && is_program(&entry.path())).then_some(name)
    });
    let names: BTreeSet<_> = names.collect();
    names.into_iter().map(CompletionCandidate::new).collect()
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}
