//! What the address book, `--pin` and `--allow` lead to: whom a client
//! expects and what an unexpected key means; whom a server admits. Pure
//! values; nothing is asked, shown or stored here.

use super::address::MalformedAddress;
use super::{Address, AddressBook, Petname};
use crate::trust::KeyId;

/// Where a client dials, and whom it expects there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What is dialled.
    pub address: Address,
    /// Whose keys are accepted there.
    pub expected: Expected,
    /// The peer of whose keys in the book none is pinned, if that is so.
    pub contradicts: Option<Petname>,
}

impl Target {
    /// What a person meant by `PEER|HOST[:PORT]`. A petname in the book wins
    /// over a host of the same name; `HOST:PORT` is always a host. Where
    /// there are `pins`, they alone are accepted: the book only tells where a
    /// petname is dialled.
    ///
    /// # Errors
    ///
    /// - [`TargetError::Malformed`], where it is neither.
    /// - [`TargetError::NoAddress`], where the petname's entry does not tell
    ///   where to dial.
    pub fn resolve(
        argument: &str,
        pins: Vec<KeyId>,
        book: &AddressBook,
    ) -> Result<Self, TargetError> {
        let peer = argument
            .parse::<Petname>()
            .ok()
            .and_then(|name| book.get(&name).map(|entry| (name, entry)));
        let (address, expected) = match peer {
            Some((name, entry)) => {
                let Some(address) = entry.address() else {
                    return Err(TargetError::NoAddress(name));
                };
                let keys = entry.keys();
                (address.clone(), Expected::Peer { name, keys })
            }
            None => {
                let address: Address = argument.parse()?;
                let expected = match book.at(&address) {
                    Some((name, entry)) => Expected::Host {
                        name: name.clone(),
                        keys: entry.keys(),
                    },
                    None => Expected::Unknown,
                };
                (address, expected)
            }
        };
        if pins.is_empty() {
            return Ok(Self::new(address, expected));
        }
        let contradicts = match expected {
            Expected::Peer { name, keys } | Expected::Host { name, keys }
                if !pins.iter().any(|pin| keys.contains(pin)) =>
            {
                Some(name)
            }
            _ => None,
        };
        Ok(Self {
            address,
            expected: Expected::Pins(pins),
            contradicts,
        })
    }

    /// What is dialled, and whose keys are accepted there.
    pub fn new(address: Address, expected: Expected) -> Self {
        Self {
            address,
            expected,
            contradicts: None,
        }
    }
}

/// Whom a client expects at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// One of these keys, given with `--pin`; the book is not asked.
    Pins(Vec<KeyId>),
    /// The peer that was named.
    Peer {
        /// Its petname.
        name: Petname,
        /// Its keys, at least one.
        keys: Vec<KeyId>,
    },
    /// The peer whose entry has the address that was named.
    Host {
        /// Its petname.
        name: Petname,
        /// Its keys, at least one.
        keys: Vec<KeyId>,
    },
    /// Nobody: no entry has this address. Every key is rejected, and the one
    /// that was offered can be put to the person.
    Unknown,
}

impl Expected {
    /// The keys that the handshake may end with; none where the peer is
    /// unknown.
    pub fn acceptable(&self) -> &[KeyId] {
        match self {
            Self::Pins(keys) | Self::Peer { keys, .. } | Self::Host { keys, .. } => keys,
            Self::Unknown => &[],
        }
    }

    /// What it means that the other end offered this key. It need not be
    /// proven: a rejected one never is.
    pub fn judge(&self, offered: &KeyId, book: &AddressBook) -> Offer {
        if self.acceptable().contains(offered) {
            return Offer::Expected;
        }
        match self {
            Self::Pins(_) => Offer::NotPinned,
            Self::Peer { name, .. } | Self::Host { name, .. } => Offer::Changed(name.clone()),
            Self::Unknown => Offer::Unknown {
                known_as: book.name_of(offered).cloned(),
            },
        }
    }
}

/// What a key that a server offered means to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// It is one of the keys that are expected.
    Expected,
    /// Another key than this peer's, where this peer was expected: a hard
    /// stop, which no option overrides.
    Changed(Petname),
    /// None of the keys given with `--pin`.
    NotPinned,
    /// Nobody was expected there. A person may be asked.
    Unknown {
        /// Who the key is, according to the book: somebody known, at an
        /// address that is not. To be said, and to decide nothing.
        known_as: Option<Petname>,
    },
}

/// Why there is nothing to dial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Neither a petname in the book nor an address.
    #[error(transparent)]
    Malformed(#[from] MalformedAddress),
    /// The peer is in the book, but not where it is dialled.
    #[error("the address book has no address for {0}")]
    NoAddress(Petname),
}

/// Whom a server admits.
#[derive(Debug, Clone)]
pub enum ServerTrust {
    /// The peers in the book; about others a person may be asked.
    Book(AddressBook),
    /// Exactly these keys; about others nobody is asked. An empty list
    /// admits nobody.
    Allow(Vec<KeyId>),
    /// Every proven key.
    Anyone,
}

impl ServerTrust {
    /// What becomes of a client that proved `key`, on a server whose own key
    /// is `own`.
    pub fn judge(&self, key: &KeyId, own: &KeyId) -> KeyVerdict {
        if key == own {
            return KeyVerdict::OwnKey;
        }
        match self {
            Self::Book(book) if book.name_of(key).is_some() => KeyVerdict::Admit,
            Self::Book(_) => KeyVerdict::Unknown,
            Self::Allow(keys) if keys.contains(key) => KeyVerdict::Admit,
            Self::Allow(_) => KeyVerdict::NotAllowed,
            Self::Anyone => KeyVerdict::Admit,
        }
    }
}

/// What becomes of a client's proven key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyVerdict {
    /// It is admitted.
    Admit,
    /// Nobody knows it. A person may be asked; without one it is refused.
    Unknown,
    /// It is not on the list, and nobody is asked.
    NotAllowed,
    /// It is the server's own: a copied home, or a server that was dialled
    /// by itself. It is declined, on whatever list it is.
    OwnKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(of: &str) -> KeyId {
        KeyId::of_spki(of.as_bytes())
    }

    fn name(text: &str) -> Petname {
        text.parse().unwrap()
    }

    /// Alice has an address, bob has none.
    fn book() -> AddressBook {
        let mut book = AddressBook::default();
        let address = Some("alice-laptop".parse().unwrap());
        book.add(name("alice"), key("a"), address).unwrap();
        book.add(name("bob"), key("b"), None).unwrap();
        book
    }

    fn resolve(argument: &str, pins: &[&str]) -> Target {
        let pins = pins.iter().map(|pin| key(pin)).collect();
        Target::resolve(argument, pins, &book()).unwrap()
    }

    #[test]
    fn a_petname_is_dialled_at_its_address_and_only_its_keys_are_accepted() {
        let target = resolve("alice", &[]);
        assert_eq!(target.address.to_string(), "alice-laptop:8876");
        assert_eq!(target.expected.acceptable(), [key("a")]);
        assert_eq!(target.expected.judge(&key("a"), &book()), Offer::Expected);
        for other in ["b", "x"] {
            let offer = target.expected.judge(&key(other), &book());
            assert_eq!(offer, Offer::Changed(name("alice")));
        }
    }

    #[test]
    fn a_host_in_the_book_has_the_keys_of_its_entry() {
        for argument in ["alice-laptop", "ALICE-LAPTOP:8876"] {
            let target = resolve(argument, &[]);
            assert_eq!(target.expected.acceptable(), [key("a")], "{argument}");
            let offer = target.expected.judge(&key("b"), &book());
            assert_eq!(offer, Offer::Changed(name("alice")), "{argument}");
        }
    }

    #[test]
    fn a_host_that_is_not_in_the_book_is_unknown_even_with_a_known_key() {
        for argument in ["elsewhere", "alice-laptop:1", "[::1]:8876", "192.0.2.7"] {
            let target = resolve(argument, &[]);
            assert_eq!(target.expected, Expected::Unknown, "{argument}");
            assert_eq!(target.expected.acceptable(), []);
            for (offered, known_as) in [("a", Some(name("alice"))), ("x", None)] {
                let offer = target.expected.judge(&key(offered), &book());
                assert_eq!(offer, Offer::Unknown { known_as }, "{argument}");
            }
        }
    }

    #[test]
    fn a_petname_wins_over_a_host_and_host_with_port_is_a_host() {
        let target = resolve("alice:8876", &[]);
        assert_eq!(target.address.host(), "alice");
        assert_eq!(target.expected, Expected::Unknown);
        // Petnames tell cases apart; hosts do not.
        let target = resolve("Alice", &[]);
        assert_eq!(target.address.host(), "alice");
        assert_eq!(target.expected, Expected::Unknown);
    }

    #[test]
    fn pins_are_accepted_instead_of_what_the_book_says() {
        for (argument, host) in [("alice", "alice-laptop"), ("alice-laptop", "alice-laptop")] {
            let target = resolve(argument, &["x", "y"]);
            assert_eq!(target.address.host(), host);
            assert_eq!(target.expected.acceptable(), [key("x"), key("y")]);
            assert_eq!(target.expected.judge(&key("y"), &book()), Offer::Expected);
            assert_eq!(target.expected.judge(&key("a"), &book()), Offer::NotPinned);
        }
    }

    #[test]
    fn a_petname_without_an_address_cannot_be_dialled() {
        for pins in [vec![], vec![key("b")]] {
            let refused = Target::resolve("bob", pins, &book());
            assert_eq!(refused, Err(TargetError::NoAddress(name("bob"))));
        }
        assert_eq!(resolve("bob:8876", &[]).address.host(), "bob");
    }

    #[test]
    fn what_is_neither_a_petname_nor_a_host_is_malformed() {
        for argument in ["", "a b", "host:", "-x", "http://alice"] {
            let refused = Target::resolve(argument, Vec::new(), &book());
            assert_eq!(refused, Err(TargetError::Malformed(MalformedAddress)));
        }
    }

    #[test]
    fn a_book_admits_whom_it_knows_and_leaves_others_to_a_person() {
        let trust = ServerTrust::Book(book());
        assert_eq!(trust.judge(&key("b"), &key("own")), KeyVerdict::Admit);
        assert_eq!(trust.judge(&key("x"), &key("own")), KeyVerdict::Unknown);
    }

    #[test]
    fn a_list_admits_whom_it_names_and_nobody_is_asked() {
        let trust = ServerTrust::Allow(vec![key("b")]);
        assert_eq!(trust.judge(&key("b"), &key("own")), KeyVerdict::Admit);
        assert_eq!(trust.judge(&key("x"), &key("own")), KeyVerdict::NotAllowed);
        let nobody = ServerTrust::Allow(Vec::new());
        assert_eq!(nobody.judge(&key("b"), &key("own")), KeyVerdict::NotAllowed);
    }

    #[test]
    fn anyone_means_every_key() {
        assert_eq!(
            ServerTrust::Anyone.judge(&key("x"), &key("own")),
            KeyVerdict::Admit
        );
    }

    #[test]
    fn ones_own_key_is_never_admitted() {
        for trust in [
            ServerTrust::Book(book()),
            ServerTrust::Allow(vec![key("a")]),
            ServerTrust::Anyone,
        ] {
            assert_eq!(trust.judge(&key("a"), &key("a")), KeyVerdict::OwnKey);
        }
    }
}
