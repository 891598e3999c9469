//! [`Home`]: the one directory that everything is kept in.

use std::env;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use super::args::{IdentityArgs, KeyArg};
use super::display::Display;
use super::proposal::yours;
use super::remedy::{self, Wanted};
use super::report::{Exit, Report};
use crate::cli::book::{AddressBook, BOOK_FILE};
use crate::link::Journal;
use crate::trust::{
    Algorithm, CERTIFICATE_FILE, Identity, IdentityError, KeyId, Unusable, key_of_certificate_file,
};

/// Certificate, key and address book. Deleting it deletes everything.
#[derive(Debug, Clone)]
pub struct Home {
    directory: PathBuf,
    taken_from: &'static str,
}

impl Home {
    /// `--home`, else `$TURNCHAT_HOME`, else `turnchat` in the XDG
    /// configuration directory.
    ///
    /// # Errors
    /// Where none of them says anything.
    pub fn find(argument: Option<PathBuf>) -> Result<Self, Report> {
        let variable = |name| env::var_os(name).filter(|dir| !dir.is_empty());
        let found = |directory, taken_from| {
            Ok(Self {
                directory,
                taken_from,
            })
        };
        if let Some(dir) = argument {
            return found(dir, "--home");
        }
        if let Some(dir) = variable("TURNCHAT_HOME") {
            return found(dir.into(), "TURNCHAT_HOME");
        }
        let base = etcetera::base_strategy::Xdg::new().ok();
        // A relative one would be another home in each directory.
        let base = base.map(|base| base.config_dir());
        let base = base.filter(|dir| dir.is_absolute()).ok_or_else(|| {
            Report::new(
                Exit::Failure,
                "There is no home directory to keep your key in.",
                "Set HOME to its absolute path, or give a directory with `--home DIR`.",
            )
        })?;
        let is_of_xdg = variable("XDG_CONFIG_HOME").is_some_and(|dir| Path::new(&dir) == base);
        let taken_from = if is_of_xdg { "XDG_CONFIG_HOME" } else { "HOME" };
        found(base.join("turnchat"), taken_from)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// The option or variable that names the directory, or one above it.
    pub fn taken_from(&self) -> &'static str {
        self.taken_from
    }

    /// Where the address book is.
    pub fn book_path(&self) -> PathBuf {
        self.directory.join(BOOK_FILE)
    }

    /// Where open conversations are kept.
    pub fn journal(&self, own: &KeyId) -> Journal {
        Journal::new(&self.journals_path(), own)
    }

    /// The journals of all identities that have used this home.
    ///
    /// # Errors
    /// Their directory cannot be read.
    pub fn journals(&self) -> Result<Vec<Journal>, Report> {
        Ok(Journal::all(&self.journals_path())?)
    }

    fn journals_path(&self) -> PathBuf {
        self.directory.join("journal")
    }

    /// The address book; empty where there is none.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub fn book(&self) -> Result<AddressBook, Report> {
        self.book_there().map(Option::unwrap_or_default)
    }

    /// The address book, if there is one.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub fn book_there(&self) -> Result<Option<AddressBook>, Report> {
        AddressBook::load_there(&self.book_path()).map_err(|error| Report::from(&error))
    }

    /// One's own key, as far as a certificate in the home names one: it is not proven that
    /// the private key is there too.
    pub fn own_key(&self) -> Option<KeyId> {
        key_of_certificate_file(&self.directory.join(CERTIFICATE_FILE)).ok()
    }

    /// One's own identity, if there is one: from these files, or the home's.
    ///
    /// # Errors
    /// It is damaged, open to others, or cannot be read.
    pub fn identity_there(&self, files: &IdentityArgs) -> Result<Option<Identity>, Report> {
        let identity = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => Identity::load(cert, key).map(Some),
            _ => Identity::load_from(&self.directory),
        };
        identity.map_err(|error| Report::from(&error))
    }

    /// One's own identity: from these files, or the home's. Where the home has
    /// none, one is made, and that is said.
    ///
    /// # Errors
    /// It is damaged, open to others, or cannot be read or written.
    pub fn identity(&self, files: &IdentityArgs, display: &Display) -> Result<Identity, Report> {
        let made = match self.identity_there(files)? {
            Some(identity) => return Ok(identity),
            None => Identity::create(&self.directory, Algorithm::default()),
        };
        let made = match made {
            Ok(made) => made,
            // By another program, which says so.
            Err(error @ IdentityError::Exists { .. }) => {
                let others = Identity::load_from(&self.directory);
                let others = others.map_err(|error| Report::from(&error))?;
                return others.ok_or_else(|| Report::from(&error));
            }
            Err(error) => return Err(Report::from(&error)),
        };
        display.say(&format!(
            "You had no key: made one in {}, {}.",
            self.directory.display(),
            made.key_id()
        ));
        Ok(made)
    }
}

/// The keys that are named.
///
/// # Errors
/// A certificate that cannot be read, or a name that is not in the book.
pub fn resolve_keys(named: &[KeyArg], book: &AddressBook) -> Result<Vec<KeyId>, Report> {
    let mut keys = Vec::new();
    for name in named {
        match name {
            KeyArg::Key(key) => keys.push(*key),
            KeyArg::File(path) => keys.push(certificate_key(path)?),
            KeyArg::Peer(name) => match book.get(name) {
                Some(entry) => keys.extend(entry.keys()),
                None => {
                    return Err(Report::new(
                        Exit::Usage,
                        format!("Nobody in the address book is called {name}."),
                        format!(
                            "See {}; a certificate is named by a path with `/` or ending in `.pem`.",
                            yours("peers list")
                        ),
                    ));
                }
            },
        }
    }
    Ok(keys)
}

/// The key of a certificate file.
///
/// # Errors
/// It cannot be read, or holds no certificate.
pub fn certificate_key(path: &Path) -> Result<KeyId, Report> {
    key_of_certificate_file(path).map_err(|error| {
        let advice = match &error {
            IdentityError::Unreadable { source, .. } => {
                remedy::for_named(Wanted::Read, path, source)
            }
            IdentityError::Unusable(Unusable::NotAFile { .. }) | IdentityError::NotPem { .. } => {
                return Report::from(&error);
            }
            _ => "Give a certificate as PEM, such as the `cert.pem` that `gen-cert` makes."
                .to_owned(),
        };
        Report {
            advice,
            ..Report::from(&error)
        }
    })
}
