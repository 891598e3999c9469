//! `turnchat peers`: lists and changes the address book.

use super::stdout::print;
use crate::cli::args::{KeyArg, PeersCommand};
use crate::cli::book::AddressBook;
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
    let path = home.book_path();
    let edited = match command {
        PeersCommand::List => return list(&home.book()?, display),
        PeersCommand::Add { name, key, address } => {
            let key = only_key(key)?;
            if home.own_key() == Some(key) {
                return Err(own_key());
            }
            AddressBook::edit(&path, |book| book.add(name.clone(), key, address.clone()))
        }
        PeersCommand::Remove { name } => {
            AddressBook::edit(&path, |book| book.remove(name).map(drop))
        }
        PeersCommand::Rename { old, new } => {
            AddressBook::edit(&path, |book| book.rename(old, new.clone()))
        }
    };
    edited.map_err(|error| Report::from(&error))?;
    display.say(&match command {
        PeersCommand::List => return Ok(()),
        PeersCommand::Add { name, .. } => format!("Added {name}."),
        PeersCommand::Remove { name } => format!("Removed {name}."),
        PeersCommand::Rename { old, new } => format!("{old} is now called {new}."),
    });
    Ok(())
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

fn list(book: &AddressBook, display: &Display) -> Result<(), Report> {
    let width = book.iter().map(|(name, _)| name.as_str().len()).max();
    let Some(width) = width else {
        display.say(&format!(
            "The address book is empty. Add a peer with {}.",
            yours("peers add NAME KEY")
        ));
        return Ok(());
    };
    let rows = book.iter().flat_map(|(name, entry)| {
        let address = entry.address().map_or(String::new(), |a| format!("  {a}"));
        let row = move |key| format!("{:width$}  {key}{address}", name.as_str());
        entry.keys().iter().map(row)
    });
    print("The list", &rows.collect::<Vec<_>>().join("\n"))
}
