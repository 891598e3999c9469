//! [`Rules`]: who is let in, from the address book and `--allow`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cli::args::{KeyArg, ServerArgs};
use crate::cli::book::{AddressBook, KeyVerdict, ServerTrust};
use crate::cli::display::Display;
use crate::cli::home::{Home, resolve_keys};
use crate::cli::report::Report;
use crate::link::Verdict;
use crate::protocol::Reason;
use crate::trust::KeyId;

/// Who is let in, and what they are called.
pub(super) struct Rules {
    trust: ServerTrust,
    book: AddressBook,
}

impl Rules {
    pub(super) fn read(command: &ServerArgs, home: &Home) -> Result<Self, Report> {
        let book = home.book()?;
        let allowed = resolve_keys(&command.allow, &book)?;
        Ok(Self::new(command, book, allowed))
    }

    /// The same later on, when a name may be gone from the book.
    fn reread(command: &ServerArgs, book: AddressBook, display: &Display) -> Result<Self, Report> {
        let mut allowed = Vec::new();
        for named in &command.allow {
            match named {
                KeyArg::Peer(name) if book.get(name).is_none() => display.say(&format!(
                    "Nobody in the address book is called {name} now: nobody is let in for it."
                )),
                named => allowed.extend(resolve_keys(std::slice::from_ref(named), &book)?),
            }
        }
        Ok(Self::new(command, book, allowed))
    }

    fn new(command: &ServerArgs, book: AddressBook, allowed: Vec<KeyId>) -> Self {
        let trust = if command.allow_anyone {
            ServerTrust::Anyone
        } else if command.allow.is_empty() {
            ServerTrust::Book(book.clone())
        } else {
            ServerTrust::Allow(allowed)
        };
        Self { trust, book }
    }

    /// Whether there is nobody whom they let in.
    pub(super) fn admit_nobody(&self) -> bool {
        matches!(&self.trust, ServerTrust::Book(book) if book.iter().next().is_none())
    }

    /// Whether somebody is in the address book.
    fn know_peers(&self) -> bool {
        self.book.iter().next().is_some()
    }

    /// What the address book calls the peer.
    pub(super) fn petname(&self, key: &KeyId) -> Option<String> {
        self.book.name_of(key).map(ToString::to_string)
    }

    /// Whom these rules know.
    pub(super) fn keys(&self) -> impl Iterator<Item = KeyId> {
        let allowed = match &self.trust {
            ServerTrust::Allow(keys) => keys.as_slice(),
            ServerTrust::Book(_) | ServerTrust::Anyone => &[],
        };
        let known = self.book.iter().flat_map(|(_, entry)| entry.keys());
        known.chain(allowed.iter().copied())
    }
}

/// The rules in force, shared with the library, which asks about every key.
#[derive(Clone)]
pub(super) struct SharedRules(Arc<Mutex<Rules>>, KeyId);

impl SharedRules {
    /// The rules of a server whose own key this is.
    pub(super) fn new(rules: Rules, own: KeyId) -> Self {
        Self(Arc::new(Mutex::new(rules)), own)
    }

    /// What becomes of a client that proved `key`. `None`: a person has to say.
    pub(super) fn judge(&self, key: &KeyId) -> Option<Verdict> {
        match self.lock().trust.judge(key, &self.1) {
            KeyVerdict::Admit => Some(Verdict::Admit),
            KeyVerdict::NotAllowed => Some(Verdict::Refuse(Reason::UnknownPeer)),
            KeyVerdict::OwnKey => Some(Verdict::Refuse(Reason::Declined)),
            KeyVerdict::Unknown => None,
        }
    }

    /// What they would be now, by the address book as it is.
    ///
    /// # Errors
    /// The book is damaged or gone, or cannot be read.
    pub(super) fn reread(
        &self,
        command: &ServerArgs,
        home: &Home,
        display: &Display,
    ) -> Result<Rules, Report> {
        let book = match home.book_there()? {
            Some(book) => book,
            // By a slip, or with its disk: that removes nobody.
            None if self.lock().know_peers() => return Err(Report::book_gone(&home.book_path())),
            None => AddressBook::default(),
        };
        Rules::reread(command, book, display)
    }

    /// Puts these rules in force; returns those before.
    pub(super) fn replace(&self, rules: Rules) -> Rules {
        std::mem::replace(&mut *self.lock(), rules)
    }

    /// What the address book calls the peer.
    pub(super) fn petname(&self, key: &KeyId) -> Option<String> {
        self.lock().petname(key)
    }

    /// The petname, or else the key.
    pub(super) fn name(&self, key: &KeyId) -> String {
        self.petname(key).unwrap_or_else(|| key.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
