//! [`Entry`], what the address book knows of one peer, and how that is written in the file.

use std::ops::Range;
use std::time::SystemTime;

use toml_edit::{Array, Datetime, InlineTable, Item, Key, Table, Value, value};

use super::error::{Damage, Refusal};
use super::{Address, Petname};
use crate::trust::KeyId;

const KEYS: &str = "keys";
const ADDRESS: &str = "address";
const KEY: &str = "key";
const HOW: &str = "how";
const WHEN: &str = "when";

/// Where in the file something stands, in bytes, if that is known.
pub(super) type Span = Option<Range<usize>>;

/// What is known of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    keys: Vec<KnownKey>,
    address: Option<Address>,
}

/// A key in the book, and how it came there. What a person has written by hand may not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The key.
    pub key: KeyId,
    /// How it came.
    pub how: Option<Origin>,
    /// When it came.
    pub when: Option<Datetime>,
}

/// How a key came into the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// With `peers add`.
    Added,
    /// With the answer `remember` to a question.
    Remembered,
    /// With `--accept-new`: nobody has compared it.
    AcceptedNew,
    /// By a code that both sides have typed.
    Pairing,
}

impl Origin {
    const ALL: [Self; 4] = [
        Self::Added,
        Self::Remembered,
        Self::AcceptedNew,
        Self::Pairing,
    ];

    /// As it stands in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Remembered => "remembered",
            Self::AcceptedNew => "accept-new",
            Self::Pairing => "pairing",
        }
    }
}

impl KnownKey {
    /// A key that comes now.
    pub fn now(key: KeyId, how: Origin) -> Self {
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        Self {
            key,
            how: Some(how),
            when: now.to_string().parse().ok(),
        }
    }

    fn read(name: &Petname, value: &Value) -> Result<Self, (Span, Damage)> {
        let not_keys = |span| (span, Damage::Keys(name.clone()));
        let mut known = Self {
            key: KeyId::of_spki(&[]),
            how: None,
            when: None,
        };
        let key_of = |value: &Value| {
            let text = value.as_str().ok_or_else(|| not_keys(value.span()))?;
            let malformed = |_| (value.span(), Damage::Key(name.clone()));
            text.parse().map_err(malformed)
        };
        let Some(members) = value.as_inline_table() else {
            known.key = key_of(value)?;
            return Ok(known);
        };
        known.key = key_of(members.get(KEY).ok_or_else(|| not_keys(value.span()))?)?;
        for (member, value) in members {
            let damage = match member {
                KEY => continue,
                HOW => {
                    let is_it = |how: &Origin| value.as_str() == Some(how.word());
                    known.how = Origin::ALL.into_iter().find(is_it);
                    known.how.is_none().then(|| Damage::How(name.clone()))
                }
                WHEN => {
                    known.when = value.as_datetime().copied();
                    known.when.is_none().then(|| Damage::When(name.clone()))
                }
                other => Some(Damage::UnknownMember(name.clone(), other.to_owned())),
            };
            if let Some(damage) = damage {
                return Err((value.span(), damage));
            }
        }
        Ok(known)
    }

    fn written(&self) -> Value {
        if self.how.is_none() && self.when.is_none() {
            return self.key.to_string().into();
        }
        let mut members = InlineTable::new();
        members.insert(KEY, self.key.to_string().into());
        if let Some(how) = self.how {
            members.insert(HOW, how.word().into());
        }
        if let Some(when) = self.when {
            members.insert(WHEN, when.into());
        }
        members.into()
    }
}

/// One that nothing more is known of.
impl From<KeyId> for KnownKey {
    fn from(key: KeyId) -> Self {
        Self {
            key,
            how: None,
            when: None,
        }
    }
}

impl Entry {
    /// The keys that are this peer's, at least one.
    pub fn keys(&self) -> Vec<KeyId> {
        self.keys.iter().map(|known| known.key).collect()
    }

    /// The same with how they came.
    pub fn known_keys(&self) -> &[KnownKey] {
        &self.keys
    }

    /// Where the peer is dialled, if that is known.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// One entry of the file, or what is wrong with it and where.
    pub(super) fn read(name: &str, item: &Item) -> Result<(Petname, Self), (Span, Damage)> {
        let name: Petname = name
            .parse()
            .map_err(|_| (None, Damage::Name(name.to_owned())))?;
        let members = item
            .as_table_like()
            .ok_or_else(|| (None, Damage::NotAnEntry(name.clone())))?;

        let mut keys = Vec::<KnownKey>::new();
        let mut address = None;
        for (member, item) in members.iter() {
            match member {
                KEYS => {
                    let listed = item
                        .as_array()
                        .ok_or_else(|| (item.span(), Damage::Keys(name.clone())))?;
                    for value in listed {
                        let known = KnownKey::read(&name, value)?;
                        if keys.iter().any(|other| other.key == known.key) {
                            let twice = Damage::KeyTwice(name.clone(), name.clone());
                            return Err((value.span(), twice));
                        }
                        keys.push(known);
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
        Ok((name, Self { keys, address }))
    }
}

/// A new entry, as it is written.
pub(super) fn new_table(key: &KnownKey, address: Option<&Address>) -> Table {
    let mut table = Table::new();
    table.insert(KEYS, value(Array::from_iter([key.written()])));
    if let Some(address) = address {
        table.insert(ADDRESS, value(address.to_string()));
    }
    table
}

/// Writes one more key into an entry, in the form of those before.
pub(super) fn write_key(entry: &mut Item, key: &KnownKey) -> Result<(), Refusal> {
    let keys = keys_of(entry)?;
    let mut written = key.written();
    let last = keys.iter().last();
    let before = last.and_then(|last| last.decor().prefix()?.as_str());
    let indent = before.and_then(|before| before.rsplit_once('\n'));
    let indent = indent.map(|(_, indent)| indent.to_owned());
    let after = keys.trailing().as_str().unwrap_or_default().to_owned();
    match (indent, after.split_once('\n')) {
        // A row for each: what is said in the last one stays there.
        (Some(indent), Some((of_last, after))) => {
            written
                .decor_mut()
                .set_prefix(format!("{of_last}\n{indent}"));
            keys.push_formatted(written);
            keys.set_trailing(format!("\n{after}"));
        }
        _ => keys.push(written),
    }
    Ok(())
}

/// Strikes a key from an entry.
pub(super) fn strike_key(entry: &mut Item, nth: usize) -> Result<(), Refusal> {
    let keys = keys_of(entry)?;
    let struck = keys.remove(nth);
    let before = struck.decor().prefix().and_then(|prefix| prefix.as_str());
    let before = before.unwrap_or_default();
    let own = match keys.get(nth) {
        Some(next) => next.decor().prefix().and_then(|prefix| prefix.as_str()),
        None => keys.trailing().as_str(),
    };
    // The rest of a row is about the key before: the struck one's goes with it.
    let after = match (
        before.split_once('\n'),
        own.and_then(|own| own.split_once('\n')),
    ) {
        (Some((of_previous, _)), Some((_, rest))) => format!("{of_previous}\n{rest}"),
        _ if nth == 0 => before.to_owned(),
        _ => return Ok(()),
    };
    match keys.get_mut(nth) {
        Some(next) => next.decor_mut().set_prefix(after),
        None => keys.set_trailing(after),
    }
    Ok(())
}

/// Writes where a peer is dialled.
pub(super) fn write_address(entry: &mut Item, address: &Address) -> Result<(), Refusal> {
    let members = entry.as_table_like_mut().ok_or(Refusal::Unwritten)?;
    match members.get_mut(ADDRESS).and_then(Item::as_value_mut) {
        Some(written) => {
            let decor = written.decor().clone();
            *written = address.to_string().into();
            *written.decor_mut() = decor;
        }
        None => _ = members.insert(ADDRESS, value(address.to_string())),
    }
    Ok(())
}

fn keys_of(entry: &mut Item) -> Result<&mut Array, Refusal> {
    let members = entry.as_table_like_mut();
    let keys = members.and_then(|members| members.get_mut(KEYS)?.as_array_mut());
    keys.ok_or(Refusal::Unwritten)
}
