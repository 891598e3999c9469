//! [`AddressBook`], the peers that a person knows: petname, keys, address.
//! A TOML file that a person may edit too, comments and all:
//!
//! ```toml
//! [alice]
//! keys = ["SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"]
//! address = "alice-laptop:8876"
//! ```
//!
//! What being known leads to is decided in [`super::verdict`].

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::path::Path;

use toml_edit::{Array, Document, DocumentMut, Item, Key, Table, value};

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
/// changed for good with [`edit`](Self::edit) alone. It remembers how its
/// file was written, so that an edit changes nothing else there.
#[derive(Debug, Clone, Default)]
pub struct AddressBook {
    entries: BTreeMap<Petname, Entry>,
    document: DocumentMut,
}

/// What is known of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    keys: Vec<KeyId>,
    address: Option<Address>,
}

impl Entry {
    /// The keys that are this peer's, at least one.
    pub fn keys(&self) -> &[KeyId] {
        &self.keys
    }

    /// Where the peer is dialled, if that is known.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }
}

impl AddressBook {
    /// Reads the book at `path`. An absent or empty file is an empty book.
    ///
    /// # Errors
    ///
    /// [`BookError::Unreadable`] and [`BookError::Damaged`]: never taken for
    /// an empty book, and the file stays as it was.
    pub fn load(path: &Path) -> Result<Self, BookError> {
        if let Some(home) = path.parent() {
            own_file::check_directory(home)?;
        }
        let bytes = match own_file::read(path, Whose::Own, MAX_BOOK) {
            // A link to nowhere is no empty book: what it led to may come back.
            Err(error) if error.is_absent() && !path.is_symlink() => return Ok(Self::default()),
            Err(FileError::Unusable(unusable)) => return Err(unusable.into()),
            Err(FileError::Io(source)) => {
                return Err(BookError::Unreadable {
                    path: path.to_owned(),
                    source,
                });
            }
            Ok(bytes) => bytes,
        };
        Self::parse(&bytes).map_err(|(line, damage)| BookError::Damaged {
            path: path.to_owned(),
            line,
            damage,
        })
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
            .find(|(_, entry)| entry.keys.contains(key))
            .map(|(name, _)| name)
    }

    /// The entry with this address.
    pub fn at(&self, address: &Address) -> Option<(&Petname, &Entry)> {
        self.iter()
            .find(|(_, entry)| entry.address.as_ref() == Some(address))
    }

    /// Adds a peer with one key. A further key of a known peer is added in
    /// an editor, not here: a changed key is to be noticed.
    ///
    /// # Errors
    ///
    /// [`Refusal::NameTaken`], [`Refusal::KeyKnownAs`],
    /// [`Refusal::AddressTaken`]; the book stays as it was.
    pub fn add(
        &mut self,
        name: Petname,
        key: KeyId,
        address: Option<Address>,
    ) -> Result<(), Refusal> {
        if self.entries.contains_key(&name) {
            return Err(Refusal::NameTaken(name));
        }
        if let Some(known) = self.name_of(&key) {
            return Err(Refusal::KeyKnownAs(known.clone()));
        }
        if let Some((taken, _)) = address.as_ref().and_then(|address| self.at(address)) {
            return Err(Refusal::AddressTaken(taken.clone()));
        }

        let mut table = Table::new();
        table.insert(KEYS, value(Array::from_iter([key.to_string()])));
        if let Some(address) = &address {
            table.insert(ADDRESS, value(address.to_string()));
        }
        // What stands at the end of the file stays above what is new.
        if let Some(end) = self
            .document
            .trailing()
            .as_str()
            .filter(|end| !end.is_empty())
        {
            let gap = if end.ends_with('\n') { "\n" } else { "\n\n" };
            table.decor_mut().set_prefix(format!("{end}{gap}"));
            self.document.set_trailing("");
        }
        self.document.insert(name.as_str(), Item::Table(table));
        let keys = vec![key];
        self.entries.insert(name, Entry { keys, address });
        Ok(())
    }

    /// Removes a peer, with the comment right above its entry.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchPeer`]; the book stays as it was.
    pub fn remove(&mut self, name: &Petname) -> Result<Entry, Refusal> {
        let entry = self
            .entries
            .remove(name)
            .ok_or_else(|| Refusal::NoSuchPeer(name.clone()))?;
        if let Some(Item::Table(table)) = self.document.remove(name.as_str()) {
            self.keep_comments_of_others(&table);
        }
        Ok(entry)
    }

    /// Gives a peer another name; its entry stays where it is in the file.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSuchPeer`], [`Refusal::NameTaken`] (its present name
    /// too); the book stays as it was.
    pub fn rename(&mut self, old: &Petname, new: Petname) -> Result<(), Refusal> {
        if !self.entries.contains_key(old) {
            return Err(Refusal::NoSuchPeer(old.clone()));
        }
        if self.entries.contains_key(&new) {
            return Err(Refusal::NameTaken(new));
        }
        if let Some((key, item)) = self.document.remove_entry(old.as_str()) {
            let key = Key::new(new.as_str())
                .with_leaf_decor(key.leaf_decor().clone())
                .with_dotted_decor(key.dotted_decor().clone());
            self.document.insert_formatted(&key, item);
        }
        if let Some(entry) = self.entries.remove(old) {
            self.entries.insert(new, entry);
        }
        Ok(())
    }

    /// What stands above a removed entry, up to the last empty line, is not
    /// about it: it moves to the entry below, or to the end of the file.
    fn keep_comments_of_others(&mut self, removed: &Table) {
        let above = removed.decor().prefix().and_then(|prefix| prefix.as_str());
        let kept = match above.and_then(|above| above.rfind("\n\n").map(|end| (above, end))) {
            Some((above, end)) => above.get(..end + 1).unwrap_or(above),
            None => return,
        };
        if kept.trim().is_empty() {
            return;
        }
        let below = self
            .document
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
                let end = self.document.trailing().as_str().unwrap_or_default();
                let trailing = format!("{kept}{end}");
                self.document.set_trailing(trailing);
            }
        }
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
            let (name, entry) =
                entry(name, item).map_err(|(at, damage)| (line(at.or(span.clone())), damage))?;
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
        for key in &entry.keys {
            if let Some(first) = self.name_of(key) {
                return Err(Damage::KeyTwice(first.clone(), name.clone()));
            }
        }
        if let Some((first, _)) = entry.address.as_ref().and_then(|address| self.at(address)) {
            return Err(Damage::AddressTwice(first.clone(), name.clone()));
        }
        Ok(())
    }
}

/// The longest book that is read, in bytes: thousands of peers.
const MAX_BOOK: u64 = 4 * 1024 * 1024;

const KEYS: &str = "keys";
const ADDRESS: &str = "address";

/// Where in the file something stands, in bytes, if that is known.
type Span = Option<Range<usize>>;

/// One entry of the file, or what is wrong with it and where.
fn entry(name: &str, item: &Item) -> Result<(Petname, Entry), (Span, Damage)> {
    let name: Petname = name
        .parse()
        .map_err(|_| (None, Damage::Name(name.to_owned())))?;
    let members = item
        .as_table_like()
        .ok_or_else(|| (None, Damage::NotAnEntry(name.clone())))?;

    let mut keys = Vec::new();
    let mut address = None;
    for (member, item) in members.iter() {
        match member {
            KEYS => {
                let listed = item
                    .as_array()
                    .ok_or_else(|| (item.span(), Damage::Keys(name.clone())))?;
                for value in listed {
                    let text = value
                        .as_str()
                        .ok_or_else(|| (value.span(), Damage::Keys(name.clone())))?;
                    let key = text
                        .parse()
                        .map_err(|_| (value.span(), Damage::Key(name.clone())))?;
                    if keys.contains(&key) {
                        let twice = Damage::KeyTwice(name.clone(), name.clone());
                        return Err((value.span(), twice));
                    }
                    keys.push(key);
                }
            }
            ADDRESS => {
                let malformed = || (item.span(), Damage::Address(name.clone()));
                let text = item.as_str().ok_or_else(malformed)?;
                address = Some(text.parse().map_err(|_| malformed())?);
            }
            other => {
                let span = members.key(other).and_then(Key::span);
                return Err((span, Damage::UnknownMember(name, other.to_owned())));
            }
        }
    }
    if keys.is_empty() {
        return Err((None, Damage::Keys(name)));
    }
    Ok((name, Entry { keys, address }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use tempfile::tempdir;

    use super::*;
    use crate::trust::Unusable;

    fn key(of: &str) -> KeyId {
        KeyId::of_spki(of.as_bytes())
    }

    fn name(text: &str) -> Petname {
        text.parse().unwrap()
    }

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    /// A home whose book has this text.
    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempdir().unwrap();
        let path = dir.path().join(BOOK_FILE);
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn two_peers() -> String {
        format!(
            "# My peers.\n# Ask before adding.\n\n\
             # From the office.\n[alice] # met in May\nkeys = [\n    \"{}\", # laptop\n    \"{}\",\n]\n\
             address = \"Alice-Laptop\"\n\n\
             # A friend.\n[bob]\nkeys = ['{}']\n# The end.\n",
            key("a1"),
            key("a2"),
            key("b")
        )
    }

    #[test]
    fn an_absent_or_empty_file_is_an_empty_book() {
        let (dir, path) = written("");
        assert_eq!(AddressBook::load(&path).unwrap().iter().count(), 0);
        let absent = dir.path().join("absent/peers.toml");
        assert_eq!(AddressBook::load(&absent).unwrap().iter().count(), 0);
    }

    #[test]
    fn what_a_person_wrote_is_read() {
        let (_dir, path) = written(&two_peers());
        let book = AddressBook::load(&path).unwrap();
        let names: Vec<_> = book.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["alice", "bob"]);
        let alice = book.get(&name("alice")).unwrap();
        assert_eq!(alice.keys(), [key("a1"), key("a2")]);
        assert_eq!(alice.address(), Some(&address("alice-laptop:8876")));
        assert_eq!(book.get(&name("bob")).unwrap().address(), None);
        assert_eq!(book.get(&name("Bob")), None);
        assert_eq!(book.name_of(&key("a2")), Some(&name("alice")));
        assert_eq!(book.name_of(&key("other")), None);
        let at = book.at(&address("ALICE-laptop:8876")).map(|(name, _)| name);
        assert_eq!(at, Some(&name("alice")));
        assert_eq!(book.at(&address("alice-laptop:1")), None);
    }

    #[test]
    fn every_shape_that_toml_has_for_an_entry_is_read_and_edited() {
        let (_dir, path) = written(&format!(
            "# Here.\nalice = {{ keys = [\"{}\"] }}\nbob.keys = [\"{}\"]\n[\"c.d\"]\nkeys = [\"{}\"]\n",
            key("a"),
            key("b"),
            key("c")
        ));
        AddressBook::edit(&path, |book| {
            book.rename(&name("alice"), name("a.b"))?;
            book.rename(&name("bob"), name("b"))?;
            book.rename(&name("c.d"), name("c"))?;
            book.add(name("d"), key("d"), None)
        })
        .unwrap();
        let renamed = fs::read_to_string(&path).unwrap();
        assert!(renamed.starts_with("# Here.\n\"a.b\" = {"), "{renamed}");
        let book = AddressBook::load(&path).unwrap();
        for (peer, of) in [("a.b", "a"), ("b", "b"), ("c", "c"), ("d", "d")] {
            assert_eq!(book.name_of(&key(of)), Some(&name(peer)));
            AddressBook::edit(&path, |book| book.remove(&name(peer))).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap().trim(), "");
    }

    #[test]
    fn damage_is_named_with_its_line_and_the_file_is_left() {
        let (a, b) = (key("a"), key("b"));
        let (alice, bob) = (|| name("alice"), || name("bob"));
        for (text, line, damage) in [
            (
                format!("\n[-a]\nkeys = [\"{a}\"]"),
                2,
                Damage::Name("-a".into()),
            ),
            ("\nalice = 1\n".into(), 2, Damage::NotAnEntry(alice())),
            (
                format!("[[alice]]\nkeys = [\"{a}\"]"),
                1,
                Damage::NotAnEntry(alice()),
            ),
            ("[alice]\n".into(), 1, Damage::Keys(alice())),
            ("[alice]\nkeys = []".into(), 1, Damage::Keys(alice())),
            (format!("[alice]\nkeys = \"{a}\""), 2, Damage::Keys(alice())),
            (
                format!("[alice]\nkeys = [\n\"{a}\",\n1]"),
                4,
                Damage::Keys(alice()),
            ),
            (
                "[alice]\nkeys = [\"SHA256:a\"]".into(),
                2,
                Damage::Key(alice()),
            ),
            (
                format!("[alice]\nkeys = [\"{a}\"]\naddress = 1"),
                3,
                Damage::Address(alice()),
            ),
            (
                format!("[alice]\nkeys = [\"{a}\"]\naddress = \"a b\""),
                3,
                Damage::Address(alice()),
            ),
            (
                format!("[alice]\nkeys = [\"{a}\"]\n\nkey = 1"),
                4,
                Damage::UnknownMember(alice(), "key".into()),
            ),
            (
                format!("[alice]\nkeys = [\"{a}\"]\n[alice.b]\nkeys = [\"{b}\"]"),
                3,
                Damage::UnknownMember(alice(), "b".into()),
            ),
            (
                format!("[alice]\nkeys = [\"{a}\"]\n[bob]\nkeys = [\"{b}\", \"{a}\"]"),
                3,
                Damage::KeyTwice(alice(), bob()),
            ),
            (
                format!("[bob]\nkeys = [\"{b}\", \"{b}\"]"),
                2,
                Damage::KeyTwice(bob(), bob()),
            ),
            (
                format!(
                    "[alice]\nkeys = [\"{a}\"]\naddress = \"h\"\n\
                     [bob]\nkeys = [\"{b}\"]\naddress = \"H:8876\""
                ),
                4,
                Damage::AddressTwice(alice(), bob()),
            ),
        ] {
            let (_dir, path) = written(&text);
            for refused in [
                AddressBook::load(&path).map(|_| ()),
                AddressBook::edit(&path, |book| book.add(name("desk"), key("c"), None)),
            ] {
                match refused {
                    Err(BookError::Damaged {
                        path: named,
                        line: at,
                        damage: what,
                    }) => {
                        assert_eq!(
                            (named, at, what),
                            (path.clone(), Some(line), damage.clone()),
                            "{text}"
                        );
                    }
                    other => panic!("{text}: {other:?}"),
                }
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn what_is_not_toml_or_not_text_is_damage() {
        for (bytes, line) in [
            (&b"\n[alice\n"[..], 2),
            (b"[alice]\nkeys = []\nkeys = []\n", 3),
            (b"[alice]\n[alice]\n", 2),
            (b"\n\xff\n", 2),
        ] {
            let dir = tempdir().unwrap();
            let path = dir.path().join(BOOK_FILE);
            fs::write(&path, bytes).unwrap();
            let refused = AddressBook::load(&path).unwrap_err();
            assert!(
                matches!(refused, BookError::Damaged { line: Some(at), .. } if at == line),
                "{refused:?}"
            );
            let said = refused.to_string();
            assert!(said.contains(BOOK_FILE) && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn an_unreadable_book_is_not_an_empty_one() {
        let dir = tempdir().unwrap();
        let path = dir.path().join(BOOK_FILE);
        fs::create_dir(&path).unwrap();
        assert!(matches!(
            AddressBook::load(&path),
            Err(BookError::Unusable(Unusable::NotAFile { .. }))
        ));
    }

    #[test]
    fn an_edit_adds_at_the_end_and_changes_no_other_byte() {
        let (_dir, path) = written(&two_peers());
        AddressBook::edit(&path, |book| {
            book.add(name("desk"), key("c"), Some(address("[::1]:443")))
        })
        .unwrap();
        let expected = format!(
            "{}\n[desk]\nkeys = [\"{}\"]\naddress = \"[::1]:443\"\n",
            two_peers(),
            key("c")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        let book = AddressBook::load(&path).unwrap();
        assert_eq!(book.name_of(&key("c")), Some(&name("desk")));
    }

    #[test]
    fn a_first_peer_makes_the_home_and_a_private_file() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("home").join(BOOK_FILE);
        AddressBook::edit(&path, |book| book.add(name("bob"), key("b"), None)).unwrap();
        AddressBook::edit(&path, |book| book.add(name("alice"), key("a"), None)).unwrap();
        let expected = format!(
            "[bob]\nkeys = [\"{}\"]\n\n[alice]\nkeys = [\"{}\"]\n",
            key("b"),
            key("a")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_rename_changes_the_name_alone() {
        let (_dir, path) = written(&two_peers());
        AddressBook::edit(&path, |book| book.rename(&name("alice"), name("al.2"))).unwrap();
        let expected = two_peers().replace("[alice]", "[\"al.2\"]");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn a_removed_entry_takes_its_own_comment_and_leaves_the_others() {
        let (_dir, path) = written(&two_peers());
        let removed = AddressBook::edit(&path, |book| book.remove(&name("alice"))).unwrap();
        assert_eq!(removed.keys(), [key("a1"), key("a2")]);
        let expected = format!(
            "# My peers.\n# Ask before adding.\n\n# A friend.\n[bob]\nkeys = ['{}']\n# The end.\n",
            key("b")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);

        AddressBook::edit(&path, |book| book.remove(&name("bob"))).unwrap();
        let expected = "# My peers.\n# Ask before adding.\n# The end.\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn a_refused_edit_names_its_reason_and_leaves_the_file_byte_for_byte() {
        type Edit = fn(&mut AddressBook) -> Result<(), Refusal>;
        let refused: [(Edit, Refusal); 7] = [
            (
                |book| book.add(name("bob"), key("new"), None),
                Refusal::NameTaken(name("bob")),
            ),
            (
                |book| book.add(name("desk"), key("a2"), None),
                Refusal::KeyKnownAs(name("alice")),
            ),
            (
                |book| book.add(name("desk"), key("c"), Some(address("ALICE-LAPTOP"))),
                Refusal::AddressTaken(name("alice")),
            ),
            (
                |book| book.remove(&name("desk")).map(|_| ()),
                Refusal::NoSuchPeer(name("desk")),
            ),
            (
                |book| book.rename(&name("desk"), name("shed")),
                Refusal::NoSuchPeer(name("desk")),
            ),
            (
                |book| book.rename(&name("alice"), name("bob")),
                Refusal::NameTaken(name("bob")),
            ),
            (
                // The first half is not kept either.
                |book| {
                    book.remove(&name("alice"))?;
                    book.remove(&name("alice")).map(|_| ())
                },
                Refusal::NoSuchPeer(name("alice")),
            ),
        ];
        for (edit, expected) in refused {
            let (_dir, path) = written(&two_peers());
            match AddressBook::edit(&path, edit) {
                Err(BookError::Refused(refusal)) => assert_eq!(refusal, expected),
                other => panic!("{expected:?}: {other:?}"),
            }
            assert_eq!(
                fs::read_to_string(&path).unwrap(),
                two_peers(),
                "{expected:?}"
            );
        }
    }

    #[test]
    fn a_refused_change_leaves_the_book_in_memory_as_it_was() {
        let mut book = AddressBook::default();
        book.add(name("alice"), key("a"), None).unwrap();
        let before = (book.entries.clone(), book.document.to_string());
        assert!(book.add(name("alice"), key("b"), None).is_err());
        assert!(book.rename(&name("alice"), name("alice")).is_err());
        assert!(book.remove(&name("bob")).is_err());
        assert_eq!((book.entries.clone(), book.document.to_string()), before);
    }

    #[test]
    fn writers_at_once_lose_nothing() {
        let dir = tempdir().unwrap();
        let path = dir.path().join(BOOK_FILE);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..8 {
                        let peer = format!("peer-{writer}-{number}");
                        AddressBook::edit(path, |book| book.add(name(&peer), key(&peer), None))
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(AddressBook::load(&path).unwrap().iter().count(), 32);
        // The book and its lock, and nothing that was on the way.
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
