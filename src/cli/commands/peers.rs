//! `turnchat peers`: lists and changes the address book.

use std::io::{self, IsTerminal as _};

use serde_json::json;

use super::stdout::print;
use crate::cli::args::{KeyArg, PeersCommand};
use crate::cli::book::{Added, Address, AddressBook, KnownKey, Origin, Petname, Refusal};
use crate::cli::display::Display;
use crate::cli::home::{Home, resolve_keys};
use crate::cli::proposal::{theirs, yours};
use crate::cli::report::{Exit, Report};
use crate::trust::KeyId;

/// Lists or changes the address book.
///
/// # Errors
/// It is damaged or cannot be written, or the change is refused; the file is
/// as it was then.
pub fn run(command: &PeersCommand, home: &Home, display: &Display) -> Result<(), Report> {
    let done = match command {
        PeersCommand::List { json } => return list(*json, &home.book()?, display),
        PeersCommand::Add { name, key, address } => {
            let key = only_key(key)?;
            if home.own_key() == Some(key) {
                return Err(own_key());
            }
            let known = KnownKey::now(key, Origin::Added);
            let added = edit(home, |book| {
                book.add_to(name.clone(), known, address.clone())
            })?;
            words_for(added, name, address.as_ref())
        }
        PeersCommand::Remove { name, key: None } => {
            edit(home, |book| book.remove(name))?;
            format!("Removed {name}.")
        }
        PeersCommand::Remove {
            name,
            key: Some(key),
        } => {
            let key = only_key(key)?;
            edit(home, |book| book.remove_key(name, &key))?;
            format!("Removed a key of {name}.")
        }
        PeersCommand::Rename { old, new } => {
            edit(home, |book| book.rename(old, new.clone()))?;
            format!("{old} is now called {new}.")
        }
    };
    display.say(&done);
    Ok(())
}

fn edit<T>(
    home: &Home,
    change: impl FnOnce(&mut AddressBook) -> Result<T, Refusal>,
) -> Result<T, Report> {
    AddressBook::edit(&home.book_path(), change).map_err(|error| Report::from(&error))
}

fn words_for(added: Added, name: &Petname, address: Option<&Address>) -> String {
    let at = address.map_or(String::new(), |address| format!(" {address}"));
    match added {
        Added::Peer => format!("Added {name}."),
        Added::Key => format!(
            "Added another key to {name}. Both are accepted until you remove the old one with {}.",
            yours(&format!("peers remove {name} KEY"))
        ),
        Added::Address => format!("{name} is now dialled at{at}."),
        Added::Nothing => format!("{name} has this key already; nothing was changed."),
    }
}

fn only_key(named: &KeyArg) -> Result<KeyId, Report> {
    let nobody = || {
        Report::new(
            Exit::Usage,
            "That names no key.",
            "Give its fingerprint or certificate.",
        )
    };
    let keys = resolve_keys(std::slice::from_ref(named), &AddressBook::default())?;
    keys.first().copied().ok_or_else(nobody)
}

fn own_key() -> Report {
    Report::new(
        Exit::Failure,
        "This is your own key; nothing was changed.",
        format!(
            "Give your peer's: ask for the output of {} on that side.",
            theirs("fingerprint")
        ),
    )
}

fn list(as_json: bool, book: &AddressBook, display: &Display) -> Result<(), Report> {
    let lines = match (as_json, io::stdout().is_terminal()) {
        (true, _) => objects(book),
        (false, true) => table(&cells(book)),
        (false, false) => cells(book).iter().map(|row| row.join("\t")).collect(),
    };
    if lines.is_empty() {
        display.say(&format!(
            "The address book is empty. Add a peer with {}.",
            yours("peers add NAME KEY")
        ));
        return Ok(());
    }
    print("The list", &lines.join("\n"))
}

/// A row for each key: name, key, address, how and when it came; empty where that is not known.
fn cells(book: &AddressBook) -> Vec<[String; 5]> {
    let rows = book.iter().flat_map(|(name, entry)| {
        let address = entry.address().map_or(String::new(), ToString::to_string);
        entry.known_keys().iter().map(move |known| {
            [
                name.to_string(),
                known.key.to_string(),
                address.clone(),
                known.how.map_or("", Origin::word).to_owned(),
                known.when.map_or(String::new(), |when| when.to_string()),
            ]
        })
    });
    rows.collect()
}

/// The same in columns.
fn table(rows: &[[String; 5]]) -> Vec<String> {
    let mut widths = [0; 5];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let row = |row: &[String; 5]| {
        let filled = row.iter().zip(widths).filter(|(_, width)| *width > 0);
        let padded = filled.map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(row).collect()
}

fn objects(book: &AddressBook) -> Vec<String> {
    let objects = book.iter().map(|(name, entry)| {
        let keys = entry.known_keys().iter().map(|known| {
            json!({
                "key": known.key.to_string(),
                "how": known.how.map(Origin::word),
                "when": known.when.map(|when| when.to_string()),
            })
        });
        json!({
            "name": name.to_string(),
            "address": entry.address().map(ToString::to_string),
            "keys": keys.collect::<Vec<_>>(),
        })
        .to_string()
    });
    objects.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_column_that_is_empty_everywhere() {
        let row = |cells: [&str; 5]| cells.map(str::to_owned);
        let rows = [
            row(["al", "SHA256:a", "", "", ""]),
            row(["bob", "SHA256:b", "", "added", ""]),
        ];
        assert_eq!(table(&rows), ["al   SHA256:a", "bob  SHA256:b  added"]);
    }
}
