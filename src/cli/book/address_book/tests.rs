use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::tempdir;

use super::*;
use crate::cli::book::Origin;
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
            format!("[bob]\nkeys = [{{ key = \"{b}\", how = \"magic\" }}]"),
            2,
            Damage::How(bob()),
        ),
        (
            format!("[bob]\nkeys = [{{ key = \"{b}\", when = \"May\" }}]"),
            2,
            Damage::When(bob()),
        ),
        (
            format!("[bob]\nkeys = [{{ key = \"{b}\", who = 1 }}]"),
            2,
            Damage::UnknownMember(bob(), "who".into()),
        ),
        (
            "[bob]\nkeys = [{ how = \"added\" }]".into(),
            2,
            Damage::Keys(bob()),
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
    let refused: [(Edit, Refusal); 11] = [
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
            |book| book.add_to(name("bob"), key("a2"), None).map(drop),
            Refusal::KeyKnownAs(name("alice")),
        ),
        (
            |book| {
                let taken = Some(address("alice-laptop"));
                book.add_to(name("bob"), key("b"), taken).map(drop)
            },
            Refusal::AddressTaken(name("alice")),
        ),
        (
            |book| book.remove_key(&name("bob"), &key("b")),
            Refusal::LastKey(name("bob")),
        ),
        (
            |book| book.remove_key(&name("alice"), &key("b")),
            Refusal::NoSuchKey(name("alice")),
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

#[test]
fn a_further_key_is_added_below_the_others_and_struck_again() {
    let (_dir, path) = written(&two_peers());
    let add = |peer: &str, of: &str, at: Option<&str>| {
        AddressBook::edit(&path, |book| {
            book.add_to(name(peer), key(of), at.map(address))
        })
    };
    assert_eq!(add("alice", "a3", None).unwrap(), Added::Key);
    let a2 = format!("    \"{}\",\n", key("a2"));
    let both = format!("{a2}    \"{}\",\n", key("a3"));
    let expected = two_peers().replace(&a2, &both);
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    // Again, it changes nothing.
    assert_eq!(add("alice", "a3", None).unwrap(), Added::Nothing);
    assert_eq!(
        add("alice", "a1", Some("alice-laptop")).unwrap(),
        Added::Nothing
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);

    AddressBook::edit(&path, |book| book.remove_key(&name("alice"), &key("a2"))).unwrap();
    let expected = expected.replace(&a2, "");
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);

    assert_eq!(add("alice", "a1", Some("desk")).unwrap(), Added::Address);
    let expected = expected.replace("Alice-Laptop", "desk:8876");
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(add("bob", "b2", Some("[::1]:1")).unwrap(), Added::Key);
    let one = format!("['{}']", key("b"));
    let two = format!("['{}', \"{}\"]\naddress = \"[::1]:1\"", key("b"), key("b2"));
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        expected.replace(&one, &two)
    );
}

#[test]
fn what_is_said_of_a_key_stays_with_it() {
    let of_last = format!("[bob]\nkeys = [\n  \"{}\", # old\n  # more\n]\n", key("b"));
    let (_dir, path) = written(&of_last);
    AddressBook::edit(&path, |book| book.add_to(name("bob"), key("c"), None)).unwrap();
    let (old, new) = (key("b"), key("c"));
    let expected = format!("[bob]\nkeys = [\n  \"{old}\", # old\n  \"{new}\",\n  # more\n]\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn how_and_when_a_key_came_is_kept() {
    for how in [
        Origin::Added,
        Origin::Remembered,
        Origin::AcceptedNew,
        Origin::Pairing,
    ] {
        let (_dir, path) = written("");
        let known = KnownKey::now(key("b"), how);
        assert!(known.when.is_some());
        let add = |known: KnownKey| {
            AddressBook::edit(&path, |book| book.add_to(name("bob"), known, None)).unwrap()
        };
        add(known.clone());
        add(key("c").into());
        let book = AddressBook::load(&path).unwrap();
        let bob = book.get(&name("bob")).unwrap();
        assert_eq!(bob.known_keys(), [known, key("c").into()]);
        assert_eq!(bob.keys(), [key("b"), key("c")]);
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains(&format!("how = \"{}\"", how.word())),
            "{text}"
        );
    }
}
