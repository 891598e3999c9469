//! [`AddressBook`], the peers that a person knows: petname, keys, address.
//! A TOML file that a person may edit too, comments and all:
//!
//! ```toml
//! [alice]
//! keys = [{ key = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", how = "added", when = 2026-11-29T09:00:00Z }]
//! address = "alice-laptop:8876"
//! ```
//!
//! A key may stand there alone, without `how` and `when` it came.
//! What being known leads to is decided in [`super::verdict`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use toml_edit::{Document, DocumentMut, Item, Key, Table};

use super::entry::{self, Entry, KnownKey, Origin, Span};
use super::error::{BookError, Damage, Refusal};
use super::lock::BookLock;
use super::{Address, Petname};
use crate::trust::durable::ReplaceError;
use crate::trust::lock::PATIENCE;
use crate::trust::own_file::{FileError, Whose};
use crate::trust::{KeyId, durable, own_file};

/// The address book's file in a home.
pub const BOOK_FILE: &str = "peers.toml";

/// The peers that a person knows, each under one petname. No key and no
/// address stands in it twice, so that a key has one name and a host one
/// expected peer.
///
/// A value in memory: read with [`load`](Self::load), asked with
/// [`get`](Self::get), [`name_of`](Self::name_of) and [`at`](Self::at),
/// changed for good with [`edit`](Self::edit) alone. What is edited is the
/// text of its file, so that nothing else changes there; the entries are read
/// from that anew.
#[derive(Debug, Clone, Default)]
pub struct AddressBook {
    entries: BTreeMap<Petname, Entry>,
    document: DocumentMut,
}

impl AddressBook {
    /// Reads the book at `path`. An absent or empty file is an empty book.
    ///
    /// # Errors
    ///
    /// [`BookError::Unreadable`] and [`BookError::Damaged`]: never taken for
    /// an empty book, and the file stays as it was.
    pub fn load(path: &Path) -> Result<Self, BookError> {
        Self::load_there(path).map(Option::unwrap_or_default)
    }

    /// The same; `None` where there is no file.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn load_there(path: &Path) -> Result<Option<Self>, BookError> {
        if let Some(home) = path.parent() {
            own_file::check_directory(home)?;
        }
        let bytes = match own_file::read(path, Whose::Own, MAX_BOOK) {
            // A link to nowhere is no empty book: what it led to may come back.
            Err(error) if error.is_absent() && !path.is_symlink() => return Ok(None),
            Err(FileError::Unusable(unusable)) => return Err(unusable.into()),
            Err(FileError::Io(source)) => {
                return Err(BookError::Unreadable {
                    path: path.to_owned(),
                    source,
                });
            }
            Ok(bytes) => bytes,
        };
        let book = Self::parse(&bytes).map_err(|(line, damage)| BookError::Damaged {
            path: path.to_owned(),
            line,
            damage,
        })?;
        Ok(Some(book))
    }

    /// Changes the book at `path`: under a lock that keeps other writers
    /// out (`peers.toml.lock` beside it, waited for a few seconds), the book is read anew,
    /// changed, and put in place whole, with the mode that it has. It is on the disk when this returns
    /// what `change` did.
    ///
    /// A missing home is made. `change` may do several things; none of them
    /// comes to pass where one is refused.
    ///
    /// # Errors
    ///
    /// - Those of [`load`](Self::load).
    /// - [`BookError::Refused`], what `change` returned.
    /// - [`BookError::Unwritable`], [`BookError::Held`].
    /// - [`BookError::Unsynced`]: the new book is in place.
    ///
    /// Else the file stays as it was, byte for byte.
    pub fn edit<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, BookError> {
        let unwritable = |path: &Path, source| BookError::Unwritable {
            path: path.to_owned(),
            source,
        };
        if let Some(home) = path.parent() {
            own_file::check_directory(home)?;
            durable::create_private_dir(home).map_err(|error| unwritable(home, error))?;
            own_file::check_directory(home)?;
        }
        let _lock = BookLock::take(path, PATIENCE)?;
        if let (Some(home), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str))
        {
            durable::sweep(home, name);
        }
        let mut book = Self::load(path)?;
        let done = change(&mut book)?;
        durable::replace(path, book.document.to_string().as_bytes(), durable::PRIVATE).map_err(
            |error| match error {
                ReplaceError::Unusable(unusable) => unusable.into(),
                ReplaceError::Io(source) => unwritable(path, source),
                ReplaceError::Unsynced(source) => BookError::Unsynced {
                    path: path.to_owned(),
                    source,
                },
            },
        )?;
        Ok(done)
    }

    /// The entry under this petname.
    pub fn get(&self, name: &Petname) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// All entries, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Petname, &Entry)> {
        self.entries.iter()
    }

    /// What the peer with this key is called.
    pub fn name_of(&self, key: &KeyId) -> Option<&Petname> {
        self.iter()
            .find(|(_, entry)| entry.keys().contains(key))
            .map(|(name, _)| name)
    }

    /// The entry with this address.
    pub fn at(&self, address: &Address) -> Option<(&Petname, &Entry)> {
        self.iter()
            .find(|(_, entry)| entry.address() == Some(address))
    }

    /// Adds a peer with one key.
    ///
    /// # Errors
    ///
    /// [`Refusal::NameTaken`], [`Refusal::KeyKnownAs`],
    /// [`Refusal::AddressTaken`]; the book stays as it was.
    pub fn add(
        &mut self,
        name: Petname,
        key: impl Into<KnownKey>,
        address: Option<Address>,
    ) -> Result<(), Refusal> {
        let key = key.into();
        if self.entries.contains_key(&name) {
            return Err(Refusal::NameTaken(name));
        }
        self.check_free(&name, &key, address.as_ref())?;
        self.change(|document| {
            let mut table = entry::new_table(&key, address.as_ref());
            // What stands at the end of the file stays above what is new.
            if let Some(end) = document.trailing().as_str().filter(|end| !end.is_empty()) {
                let gap = if end.ends_with('\n') { "\n" } else { "\n\n" };
                table.decor_mut().set_prefix(format!("{end}{gap}"));
                document.set_trailing("");
            }
            document.insert(name.as_str(), Item::Table(table));
            Ok(())
        })
    }

    /// Adds a peer that has proven its key in a pairing under this name. Gives the name that the
    /// key is known by from now on: where it was known before, nothing but an address is added.
    ///
    /// # Errors
    ///
    /// [`Refusal::NameTaken`], [`Refusal::AddressTaken`]; the book stays as it was.
    pub fn add_paired(
        &mut self,
        name: Petname,
        key: KeyId,
        address: Option<Address>,
    ) -> Result<Petname, Refusal> {
        if let Some(known) = self.name_of(&key).cloned() {
            let has_one = self.get(&known).is_some_and(|it| it.address().is_some());
            let address = address.filter(|address| !has_one && self.at(address).is_none());
            if address.is_some() {
                self.add_to(known.clone(), key, address)?;
            }
            return Ok(known);
        }
        self.add(name.clone(), KnownKey::now(key, Origin::Pairing), address)?;
        Ok(name)
    }

    /// Adds a peer; or a further key to a known one, that both are accepted while it changes
    /// its key; or an address, in place of an older one. Only for a person who means just
    /// that: elsewhere a changed key is to be noticed.
    ///
    /// # Errors
    ///
    /// [`Refusal::KeyKnownAs`] and [`Refusal::AddressTaken`], for another name; the book stays
    /// as it was.
    pub fn add_to(
        &mut self,
        name: Petname,
        key: impl Into<KnownKey>,
        address: Option<Address>,
    ) -> Result<Added, Refusal> {
        let key = key.into();
        let Some(known) = self.entries.get(&name) else {
            self.add(name, key, address)?;
            return Ok(Added::Peer);
        };
        self.check_free(&name, &key, address.as_ref())?;
        let is_known = known.keys().contains(&key.key);
        let address = address.filter(|address| known.address() != Some(address));
        let added = match (is_known, &address) {
            (false, _) => Added::Key,
            (true, Some(_)) => Added::Address,
            (true, None) => return Ok(Added::Nothing),
        };
        self.change(|document| {
            let item = document.get_mut(name.as_str()).ok_or(Refusal::Unwritten)?;
            if !is_known {
                entry::write_key(item, &key)?;
            }
            address.map_or(Ok(()), |address| entry::write_address(item, &address))
        })?;
        Ok(added)
    }

    /// That neither the key nor the address is somebody else's.
    fn check_free(
        &self,
        name: &Petname,
        key: &KnownKey,
        address: Option<&Address>,
    ) -> Result<(), Refusal> {
        if let Some(known) = self.name_of(&key.key).filter(|known| *known != name) {
            return Err(Refusal::KeyKnownAs(known.clone()));
        }
        let taken = address.and_then(|address| self.at(address));
        match taken.filter(|(taken, _)| *taken != name) {
            Some((taken, _)) => Err(Refusal::AddressTaken(taken.clone())),
            None => Ok(()),
        }
    }

    /// Removes a peer, with the comment right above its entry.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchPeer`]; the book stays as it was.
    pub fn remove(&mut self, name: &Petname) -> Result<Entry, Refusal> {
        let entry = self.known(name)?.clone();
        self.change(|document| {
            if let Some(Item::Table(table)) = document.remove(name.as_str()) {
                keep_comments_of_others(document, &table);
            }
            Ok(())
        })?;
        Ok(entry)
    }

    /// Removes one of a peer's keys.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchPeer`], [`Refusal::NoSuchKey`], [`Refusal::LastKey`]; the book stays as
    /// it was.
    pub fn remove_key(&mut self, name: &Petname, key: &KeyId) -> Result<(), Refusal> {
        let keys = self.known(name)?.keys();
        let nth = keys.iter().position(|known| known == key);
        let nth = nth.ok_or_else(|| Refusal::NoSuchKey(name.clone()))?;
        if keys.len() == 1 {
            return Err(Refusal::LastKey(name.clone()));
        }
        self.change(|document| {
            let item = document.get_mut(name.as_str()).ok_or(Refusal::Unwritten)?;
            entry::strike_key(item, nth)
        })
    }

    /// Gives a peer another name; its entry stays where it is in the file.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchPeer`], [`Refusal::NameTaken`] (its present name
    /// too); the book stays as it was.
    pub fn rename(&mut self, old: &Petname, new: Petname) -> Result<(), Refusal> {
        self.known(old)?;
        if self.entries.contains_key(&new) {
            return Err(Refusal::NameTaken(new));
        }
        self.change(|document| {
            let (key, item) = document
                .remove_entry(old.as_str())
                .ok_or(Refusal::Unwritten)?;
            let key = Key::new(new.as_str())
                .with_leaf_decor(key.leaf_decor().clone())
                .with_dotted_decor(key.dotted_decor().clone());
            document.insert_formatted(&key, item);
            Ok(())
        })
    }

    fn known(&self, name: &Petname) -> Result<&Entry, Refusal> {
        let nobody = || Refusal::NoSuchPeer(name.clone());
        self.entries.get(name).ok_or_else(nobody)
    }

    /// Edits the text, and reads it anew. The book stays as it was where that is refused, or is
    /// no address book any more.
    fn change(
        &mut self,
        edit: impl FnOnce(&mut DocumentMut) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut document = self.document.clone();
        edit(&mut document)?;
        *self = Self::parse(document.to_string().as_bytes()).map_err(|_| Refusal::Unwritten)?;
        Ok(())
    }

    /// The book that these bytes are, or the line where they are none.
    fn parse(bytes: &[u8]) -> Result<Self, (Option<usize>, Damage)> {
        let line = |span: Span| {
            let before = bytes.get(..span?.start)?;
            Some(1 + before.iter().filter(|byte| **byte == b'\n').count())
        };
        let text = str::from_utf8(bytes).map_err(|error| {
            let start = error.valid_up_to();
            (line(Some(start..start)), Damage::NotUtf8)
        })?;
        let document = Document::parse(text).map_err(|error| {
            let what = error.message().trim().replace('\n', ", ");
            (line(error.span()), Damage::Syntax(what))
        })?;

        let mut book = Self::default();
        for (name, item) in document.iter() {
            let key = document.as_table().key(name);
            let span = key.and_then(Key::span).or_else(|| item.span());
            let (name, entry) = Entry::read(name, item)
                .map_err(|(at, damage)| (line(at.or(span.clone())), damage))?;
            book.check_new(&name, &entry)
                .map_err(|damage| (line(span), damage))?;
            book.entries.insert(name, entry);
        }
        book.document = Document::parse(text.to_owned())
            .map_err(|error| (None, Damage::Syntax(error.message().to_owned())))?
            .into_mut();
        Ok(book)
    }

    /// Whether an entry may join those read before it.
    fn check_new(&self, name: &Petname, entry: &Entry) -> Result<(), Damage> {
        for key in &entry.keys() {
            if let Some(first) = self.name_of(key) {
                return Err(Damage::KeyTwice(first.clone(), name.clone()));
            }
        }
        if let Some((first, _)) = entry.address().and_then(|address| self.at(address)) {
            return Err(Damage::AddressTwice(first.clone(), name.clone()));
        }
        Ok(())
    }
}

/// What came of adding something to the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// A peer.
    Peer,
    /// A further key of a known peer, maybe with an address.
    Key,
    /// The address of a known key.
    Address,
    /// All of it was known.
    Nothing,
}

/// What stands above a removed entry, up to the last empty line, is not
/// about it: it moves to the entry below, or to the end of the file.
fn keep_comments_of_others(document: &mut DocumentMut, removed: &Table) {
    let above = removed.decor().prefix().and_then(|prefix| prefix.as_str());
    let kept = match above.and_then(|above| above.rfind("\n\n").map(|end| (above, end))) {
        Some((above, end)) => above.get(..end + 1).unwrap_or(above),
        None => return,
    };
    if kept.trim().is_empty() {
        return;
    }
    let below = document
        .iter_mut()
        .filter_map(|(_, item)| item.as_table_mut())
        .filter(|table| table.position() > removed.position())
        .min_by_key(|table| table.position());
    match below {
        Some(table) => {
            let own = table.decor().prefix().and_then(|prefix| prefix.as_str());
            let prefix = format!("{kept}{}", own.unwrap_or("\n"));
            table.decor_mut().set_prefix(prefix);
        }
        None => {
            let end = document.trailing().as_str().unwrap_or_default();
            let trailing = format!("{kept}{end}");
            document.set_trailing(trailing);
        }
    }
}

/// The longest book that is read, in bytes: thousands of peers.
const MAX_BOOK: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
