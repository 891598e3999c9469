//! The address book, which a person may write by hand and others may have damaged.
//!
//! Input: what is done to it, and the file.

use turnchat::KeyId;
use turnchat::cli::book::{Address, AddressBook, BOOK_FILE, BookError, Petname, Refusal};

use super::files;

pub fn run(data: &[u8]) {
    let [act, bytes @ ..] = data else {
        return;
    };
    let home = files::directory();
    let path = home.path().join(BOOK_FILE);
    files::write(&path, bytes);
    let content = || std::fs::read(&path).expect("it is there");
    let book = match AddressBook::load(&path) {
        Ok(book) => book,
        Err(BookError::Damaged { line, .. }) => {
            let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
            assert!(line.is_none_or(|line| (1..=lines).contains(&line)));
            assert_eq!(content(), bytes, "damage stays as it is");
            let edited = AddressBook::edit(&path, |book| change(book, *act));
            assert!(matches!(edited, Err(BookError::Damaged { .. })));
            return assert_eq!(content(), bytes, "damage stays as it is");
        }
        Err(error) => panic!("{error}"),
    };
    consistent(&book);
    let mut changed = book.clone();
    let done = change(&mut changed, *act);
    consistent(&changed);
    let edited = AddressBook::edit(&path, |book| change(book, *act));
    match (done, edited) {
        (Ok(()), Ok(())) => {
            let reread = AddressBook::load(&path).expect("what was written is read");
            assert_eq!(
                entries(&reread),
                entries(&changed),
                "nothing else is written"
            );
            if is_addition(*act) {
                kept(bytes, &content());
            }
        }
        (Err(refusal), Err(BookError::Refused(_))) => {
            assert_eq!(
                entries(&changed),
                entries(&book),
                "what is refused changes nothing"
            );
            assert_eq!(content(), bytes, "what is refused changes nothing");
            assert!(
                !matches!(refusal, Refusal::Unwritten),
                "all that is read can be changed"
            );
        }
        (done, edited) => panic!("{done:?}, but {edited:?}"),
    }
}

/// What it says, but for when.
fn entries(book: &AddressBook) -> Vec<(&Petname, Vec<KeyId>, Option<&Address>)> {
    let entries = book.iter();
    { entries }
        .map(|(name, entry)| (name, entry.keys(), entry.address()))
        .collect()
}

/// No key and no address has two names.
fn consistent(book: &AddressBook) {
    for (name, entry) in book.iter() {
        assert_eq!(book.get(name), Some(entry));
        assert_eq!(name.as_str().parse().as_ref(), Ok(name));
        assert!(!entry.keys().is_empty(), "a peer without a key is none");
        for key in entry.keys() {
            assert_eq!(book.name_of(&key), Some(name));
        }
        if let Some(address) = entry.address() {
            assert_eq!(book.at(address), Some((name, entry)));
            assert_eq!(address.to_string().parse().as_ref(), Ok(address));
        }
    }
}

fn is_addition(act: u8) -> bool {
    act % 6 < 2
}

/// One change, the same for the same book.
fn change(book: &mut AddressBook, act: u8) -> Result<(), Refusal> {
    let nth = usize::from(act / 6);
    let known = book.iter().nth(nth % book.iter().count().max(1));
    let known = known.map(|(name, entry)| (name.clone(), entry.keys()));
    let parsed = |name: &str| name.parse::<Petname>().expect("a name");
    let (name, keys) = known.unwrap_or((parsed("nobody"), Vec::new()));
    let address: Address = "192.0.2.77".parse().expect("an address");
    let address = Some(address).filter(|_| act >= 128);
    let key = KeyId::of_spki(b"carol");
    match act % 6 {
        0 => book.add(parsed("carol"), key, address),
        1 => book.add_to(name, key, address).map(drop),
        2 => book.remove(&name).map(drop),
        3 => book.rename(&name, parsed("robert")),
        4 => {
            let of = keys.get(nth % keys.len().max(1));
            book.remove_key(&name, of.unwrap_or(&key))
        }
        _ => {
            let of = keys.first().copied().unwrap_or(key);
            book.add_paired(parsed("carol"), of, address).map(drop)
        }
    }
}

/// What a person has written beside the entries stays: comments, and in their order.
fn kept(before: &[u8], after: &[u8]) {
    let comments = |text: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(text).replace('\r', "");
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(comments(after), comments(before), "comments stay");
}
