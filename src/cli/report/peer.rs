//! What is wrong with a peer's key, or with the answer about it, as words.

use std::path::Path;

use super::{Exit, Report};
use crate::cli::book::{Address, Petname};
use crate::cli::proposal::{shell_quoted, theirs, yours};
use crate::trust::KeyId;

impl Report {
    /// The person does not take the server's key for the right one.
    pub fn declined(host: &str) -> Self {
        Self::new(
            Exit::Trust,
            format!("You declined the key of {host}. Nothing was said to it."),
            format!(
                "Ask your peer for the output of {}, and compare.",
                theirs("fingerprint")
            ),
        )
    }

    /// The key that the person has pasted is not the server's.
    pub fn other_than_pasted(host: &str, key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!(
                "The key that you pasted is not that of {host}, which is {key}. Nothing was said to it."
            ),
            "Somebody may stand in between. Ask your peer for the fingerprint once more, in another way.",
        )
    }

    /// The question about a server's key came to an end without an answer.
    pub fn not_answered(host: &str) -> Self {
        Self::new(
            Exit::Trust,
            format!("You have not answered about the key of {host}. Nothing was said to it."),
            "Run the same command again, or give the key with `--pin`.",
        )
    }

    /// A key that is none of those given with `--pin`.
    pub fn not_pinned(host: &str, key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!("{host} has another key than the one pinned: {key}. Nothing was said to it."),
            format!(
                "Ask your peer for the output of {}; if it is this key, pin it with `--pin`. If not, somebody else answers there.",
                theirs("fingerprint")
            ),
        )
    }

    /// The key that was accepted for a host does not answer there a moment later.
    pub fn not_accepted(host: &str, key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!(
                "{host} has another key than a moment ago, when one was accepted: {key}. Nothing was said to it."
            ),
            format!(
                "Somebody else may answer there. Ask your peer for the output of {}, and pin that key with `--pin`.",
                theirs("fingerprint")
            ),
        )
    }

    /// The key of a host is one's own.
    pub fn own_key(host: &str) -> Self {
        Self::new(
            Exit::Trust,
            format!("{host} has your own key: you have called yourself."),
            "Check the address; your peer needs a key of its own.",
        )
    }

    /// A known peer has another key than the book says.
    pub fn changed(name: &Petname, address: &Address, key: &KeyId) -> Self {
        let address = shell_quoted(Path::new(&address.to_string()));
        Self::new(
            Exit::Trust,
            format!("The key of {name} has changed: {key}. Nothing was said to it."),
            format!(
                "Somebody else may answer in the place of {name}. If your peer has a new key and tells you so, run {}, then add it anew with {}.",
                yours(&format!("peers remove {name}")),
                yours(&format!("peers add {name} KEY --address {address}"))
            ),
        )
    }

    /// What is pinned is none of the keys in the book. A warning: it is accepted.
    pub fn pin_contradicts(name: &Petname) -> Self {
        Self::new(
            Exit::Trust,
            format!("Warning: the address book has another key for {name} than the one pinned."),
            format!(
                "Only the pinned key is accepted now. If {name} has changed it, add it with {}.",
                yours(&format!("peers add {name} KEY"))
            ),
        )
    }

    /// Another key answers a redial.
    pub fn other_key(key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!("Another key than your peer's answers there: {key}. Nothing was said to it."),
            "Your network may lead elsewhere, or somebody else answers in the place of your peer. The conversation goes on only with your peer's own key.",
        )
    }

    /// A host that the book does not know, and nobody to ask; `with_accept_new` if the key was
    /// to be stored, which `--pin` excludes.
    pub fn unknown_host(
        host: &str,
        key: &KeyId,
        known_as: Option<&Petname>,
        with_accept_new: bool,
    ) -> Self {
        let instead = match with_accept_new {
            true => " in place of `--accept-new`",
            false => "",
        };
        let known = known_as.map_or(String::new(), |name| {
            format!(" You know this key as {name}, at another address.")
        });
        Self::new(
            Exit::Trust,
            format!("{host} has a key that you don't know: {key}.{known} Nothing was said to it."),
            format!(
                "Ask your peer to run {}; if it prints this key, run the same command with `--pin {key}`{instead}.",
                theirs("fingerprint")
            ),
        )
    }
}
