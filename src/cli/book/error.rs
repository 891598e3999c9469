//! Why there is no address book to go on with, or why it was not changed.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Petname;
use crate::trust::Unusable;

/// Why an edit was not done. The book and its file stay as they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another peer has this name.
    #[error("the name {0} is taken")]
    NameTaken(Petname),
    /// No peer has this name.
    #[error("nobody in the address book is called {0}")]
    NoSuchPeer(Petname),
    /// The key is in the book, under this name.
    #[error("this key is in the address book as {0}")]
    KeyKnownAs(Petname),
    /// The address is in the book, under this name.
    #[error("this address is in the address book as {0}")]
    AddressTaken(Petname),
    /// The peer has other keys.
    #[error("this is no key of the peer {0}")]
    NoSuchKey(Petname),
    /// A peer without a key is none.
    #[error("this is the only key of the peer {0}")]
    LastKey(Petname),
    /// The file has it in a form that this program cannot change.
    #[error("the file is written in a way that cannot be changed from here")]
    Unwritten,
}

/// Why there is no address book to go on with, or why it was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BookError {
    /// The file is there, but could not be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The address book's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file, its lock or its directory could not be written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// Which of them.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file, its lock or its directory is not used as it is.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The new book is in place, and could not be synced to the disk.
    #[error("cannot sync {} to the disk", path.display())]
    Unsynced {
        /// The address book's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else changes the book, and has not come to an end.
    #[error("{} is changing the address book {}, and has not finished within {} seconds", process(*holder), path.display(), waited.as_secs())]
    Held {
        /// The address book's file.
        path: PathBuf,
        /// The process, if it says so.
        holder: Option<u32>,
        /// For how long it was waited for.
        waited: Duration,
    },
    /// The file is no address book, or one of another version. It is for a
    /// person to mend.
    #[error("the address book {}{} is damaged: {damage}", path.display(), at_line(*line))]
    Damaged {
        /// The address book's file.
        path: PathBuf,
        /// The line, counted from 1, where it can be told.
        line: Option<usize>,
        /// What is wrong there.
        damage: Damage,
    },
    /// The edit contradicts what the book says.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What is wrong with an address book. Texts quoted from the file are as they
/// stand there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A byte sequence that is not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// It is not TOML; with the parser's words.
    #[error("it is not TOML: {0}")]
    Syntax(String),
    /// An entry's name is no petname.
    #[error("`{0}` is not a name")]
    Name(String),
    /// A name that is followed by something else than an entry.
    #[error("`{0}` is not an entry with `keys`")]
    NotAnEntry(Petname),
    /// A member that no entry has.
    #[error("{0} has an unknown member `{1}`")]
    UnknownMember(Petname, String),
    /// `keys` is missing, empty, or not a list of texts.
    #[error("the `keys` of {0} are not a list of one key or more")]
    Keys(Petname),
    /// One of the keys is malformed.
    #[error("{0} has a malformed key")]
    Key(Petname),
    /// `how` is none of the ways that a key can come.
    #[error("{0} has a key with an unknown `how`")]
    How(Petname),
    /// `when` is no date.
    #[error("{0} has a key whose `when` is no date")]
    When(Petname),
    /// `address` is not a text or no address.
    #[error("{0} has a malformed address")]
    Address(Petname),
    /// The second entry has a key of the first, or one of its own twice.
    #[error("{0} and {1} have the same key")]
    KeyTwice(Petname, Petname),
    /// The second entry has the address of the first.
    #[error("{0} and {1} have the same address")]
    AddressTwice(Petname, Petname),
}

fn process(holder: Option<u32>) -> String {
    holder.map_or_else(
        || "another program".to_owned(),
        |process| format!("process {process}"),
    )
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!(", line {line},"))
        .unwrap_or_default()
}
