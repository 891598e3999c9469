//! The commands that talk to nobody: `gen-cert`, `fingerprint`, `peers`.

use std::io::{self, Write as _};

use super::args::{Fingerprint, GenCert, Named, Peers};
use super::console::Console;
use super::home::{Home, certificate_key, keys};
use super::report::{Exit, Report};
use crate::trust::{AddressBook, Identity, KeyId};

/// Makes an identity, or a new certificate for its key; prints the fingerprint.
///
/// # Errors
/// There is an identity already, or it cannot be written.
pub fn gen_cert(command: &GenCert, home: &Home, console: &Console) -> Result<(), Report> {
    let dir = command.out.as_deref().unwrap_or(home.path());
    let identity = match command.renew {
        true => Identity::renew(dir),
        false => Identity::create(dir, command.algorithm),
    };
    let identity = identity.map_err(|error| Report::from(&error))?;
    console.say(&format!(
        "{} cert.pem in {}. Hand out cert.pem, or the fingerprint; key.pem stays with you.",
        if command.renew {
            "Renewed"
        } else {
            "Made key.pem and"
        },
        dir.display()
    ));
    print(&identity.key_id().to_string())
}

/// Prints a fingerprint.
///
/// # Errors
/// There is no such certificate or identity.
pub fn fingerprint(command: &Fingerprint, home: &Home) -> Result<(), Report> {
    let key = match (
        &command.certificate,
        &command.identity.cert,
        &command.identity.key,
    ) {
        (Some(path), ..) => certificate_key(path)?,
        (None, Some(cert), Some(key)) => loaded(Identity::load(cert, key).map(Some))?,
        (None, ..) => loaded(Identity::load_from(home.path()))?,
    };
    print(&key.to_string())
}

fn loaded(
    identity: Result<Option<Identity>, crate::trust::IdentityError>,
) -> Result<KeyId, Report> {
    match identity {
        Ok(Some(identity)) => Ok(identity.key_id()),
        Ok(None) => Err(Report::new(
            Exit::Failure,
            "You have no key yet.",
            "Make one with `turnchat gen-cert`.",
        )),
        Err(error) => Err(Report::from(&error)),
    }
}

/// Lists or changes the address book.
///
/// # Errors
/// It is damaged or cannot be written, or the change is refused; the file is
/// as it was then.
pub fn peers(command: &Peers, home: &Home, console: &Console) -> Result<(), Report> {
    let path = home.book_path();
    let edited = match command {
        Peers::List => return list(&home.book()?, console),
        Peers::Add { name, key, address } => {
            let key = only_key(key)?;
            AddressBook::edit(&path, |book| book.add(name.clone(), key, address.clone()))
        }
        Peers::Remove { name } => AddressBook::edit(&path, |book| book.remove(name).map(drop)),
        Peers::Rename { old, new } => {
            AddressBook::edit(&path, |book| book.rename(old, new.clone()))
        }
    };
    edited.map_err(|error| Report::from(&error))?;
    console.say(&match command {
        Peers::List => return Ok(()),
        Peers::Add { name, .. } => format!("Added {name}."),
        Peers::Remove { name } => format!("Removed {name}."),
        Peers::Rename { old, new } => format!("{old} is now called {new}."),
    });
    Ok(())
}

fn only_key(named: &Named) -> Result<KeyId, Report> {
    let nobody = || {
        Report::new(
            Exit::Usage,
            "That names no key.",
            "Give its fingerprint or certificate.",
        )
    };
    let keys = keys(std::slice::from_ref(named), &AddressBook::default())?;
    keys.first().copied().ok_or_else(nobody)
}

fn list(book: &AddressBook, console: &Console) -> Result<(), Report> {
    let width = book.iter().map(|(name, _)| name.as_str().len()).max();
    let Some(width) = width else {
        console.say("The address book is empty. Add a peer with `turnchat peers add NAME KEY`.");
        return Ok(());
    };
    for (name, entry) in book.iter() {
        for key in entry.keys() {
            let address = entry.address().map_or(String::new(), |a| format!("  {a}"));
            print(&format!("{:width$}  {key}{address}", name.as_str()))?;
        }
    }
    Ok(())
}

fn print(line: &str) -> Result<(), Report> {
    writeln!(io::stdout(), "{line}").map_err(|error| Report::stdout(&error))
}
