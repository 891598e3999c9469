//! The repository checks itself: its floors, its documents, and what it must
//! not hold. What the README shows is run with the program that was built.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "repository/advice.rs"]
mod advice;
#[path = "repository/documents.rs"]
mod documents;
#[path = "repository/face.rs"]
mod face;
#[path = "repository/floors.rs"]
mod floors;
#[path = "repository/held.rs"]
mod held;
#[path = "repository/imports.rs"]
mod imports;
#[path = "repository/machines.rs"]
mod machines;
#[path = "repository/manual.rs"]
mod manual;
#[path = "repository/picture.rs"]
mod picture;
#[path = "repository/readme.rs"]
mod readme;
#[path = "repository/recording.rs"]
mod recording;
#[path = "repository/rules.rs"]
mod rules;
#[path = "repository/rust.rs"]
mod rust;
#[path = "repository/supply.rs"]
mod supply;
#[path = "repository/wire.rs"]
mod wire;

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A text of the repository, by its path from the root.
fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All that is committed or about to be, by its path from the root.
fn tracked() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output()
        .expect("git lists what it tracks");
    assert!(listed.status.success(), "this is not a git checkout");
    let names = String::from_utf8(listed.stdout).unwrap();
    let names = names.split_terminator('\0').map(PathBuf::from);
    // One that was removed and not committed yet is listed all the same.
    names.filter(|path| root().join(path).is_file()).collect()
}

/// The tracked files below `directory` with this extension.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut files = tracked();
    files.retain(|path| {
        path.starts_with(directory) && path.extension().is_some_and(|it| it == extension)
    });
    assert!(!files.is_empty(), "no .{extension} in {directory}");
    files
}
