use std::fs;
use std::path::PathBuf;

use proptest::prelude::{any, prop_assert, proptest};
use tempfile::TempDir;

use super::*;

const NAME: &str = "record";

/// A file that does not exist yet, and its version.
struct Page {
    dir: TempDir,
    version: Version,
}

impl Page {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            version: Version::NONE,
        }
    }

    fn disk(&self) -> Directory {
        Directory::unlocked(self.dir.path())
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(NAME)
    }

    fn write(&mut self, bytes: &[u8]) {
        (self.version, _) = write(&self.disk(), NAME, None, bytes, self.version).unwrap();
    }

    fn read(&self) -> Option<Vec<u8>> {
        match read(&self.disk(), NAME).unwrap() {
            Found::Nothing => None,
            Found::Damaged(_) => panic!("damaged"),
            Found::Whole((_, bytes)) => Some(bytes),
        }
    }
}

#[test]
fn what_was_written_last_is_read() {
    let mut page = Page::new();
    assert_eq!(page.read(), None);
    for number in 0..7 {
        let bytes = vec![b'x'; 1_000 * (7 - number)];
        page.write(&bytes);
        assert_eq!(page.read(), Some(bytes));
    }
    // Whoever reads it goes on with its count.
    let Found::Whole((version, _)) = read(&page.disk(), NAME).unwrap() else {
        panic!("no slot is whole");
    };
    assert_eq!(version, page.version);
    page.write(b"from another");
    assert_eq!(page.read(), Some(b"from another".to_vec()));
}

/// A slot with these numbers, whose checksum is right.
fn slot(sequence: &str, room: &str, length: &str, bytes: &[u8]) -> Vec<u8> {
    let numbers = format!("{sequence} {room} {length}");
    let checksum = checksum(&numbers, bytes);
    let line = format!("turnchat-record {numbers} {checksum}\n");
    [line.as_bytes(), bytes].concat()
}

#[test]
fn numbers_that_nobody_wrote_are_damage() {
    let good = slot("00000000000000000001", "00004096", "00000001", b"x");
    assert!(younger(&good).is_some());
    // No version could tell the first of these from another; the others would be too long.
    for (sequence, room, length) in [
        ("01152921504606846977", "00004096", "00000001"),
        ("18446744073709551615", "00004096", "00000001"),
        ("000000000001", "4096", "18446744073709551615"),
        ("000000000001", "4096", "18446744073709551500"),
        ("00000000000000000001", "00004096", "00003980"),
    ] {
        let bytes = b"x".repeat(length.parse().unwrap_or(1).min(4_096));
        let content = slot(sequence, room, length, &bytes);
        assert_eq!(younger(&content), None, "{sequence} {room} {length}");
        assert!(
            parse(&content[..HEADER]).is_none(),
            "{sequence} {room} {length}"
        );
    }
}

#[test]
fn who_knows_another_version_changes_nothing() {
    let mut page = Page::new();
    page.write(b"one");
    let one = page.version;
    page.write(b"two");
    let two = page.version;
    for known in [Version::NONE, one] {
        let refused = write(&page.disk(), NAME, None, b"mine", known);
        assert!(matches!(refused, Err(WriteError::Conflict)), "{known:?}");
        let refused = remove_at(&page.disk(), NAME, known);
        assert!(matches!(refused, Err(WriteError::Conflict)), "{known:?}");
        assert_eq!(page.read(), Some(b"two".to_vec()));
    }
    remove_at(&page.disk(), NAME, two).unwrap();
    assert_eq!(page.read(), None);
}

/// However far others have written on: in the same slot, or in the other.
#[test]
fn who_has_missed_many_versions_changes_nothing() {
    let mut page = Page::new();
    page.write(b"1");
    let first = page.version;
    for words in ["2", "3", "4", "5", "6"] {
        page.write(words.as_bytes());
        let refused = write(&page.disk(), NAME, None, b"mine", first);
        assert!(matches!(refused, Err(WriteError::Conflict)), "{words}");
        assert_eq!(page.read(), Some(words.into()));
    }
}

/// Whoever knows the old one must not take the new one for it.
#[test]
fn a_new_file_has_another_version_than_the_one_before() {
    let mut page = Page::new();
    page.write(b"one");
    let one = page.version;
    fs::remove_file(page.path()).unwrap();
    page.write(b"again");
    assert!(page.version > one);
    let again = page.version;
    page.write(&[b'x'; 5_000]);
    assert!(Slots::of(page.version).sequence > Slots::of(again).sequence);
}

/// It counts no further than ours: nobody has gone on with what was written last.
#[test]
fn another_file_with_the_same_count_is_damage() {
    let mut ours = Page::new();
    ours.write(b"ours");
    let mut other = Page::new();
    other.write(&[b'x'; 5_000]);
    fs::copy(other.path(), ours.path()).unwrap();
    let refused = write(&ours.disk(), NAME, None, b"mine", ours.version);
    assert!(matches!(refused, Err(WriteError::Damaged)), "{refused:?}");
}

#[test]
fn what_a_killed_writer_left_is_swept_and_nothing_else() {
    let page = Page::new();
    let names = [
        ".server-1.new",
        ".client-1.new",
        "server-1.new",
        ".server-1",
    ];
    for name in names {
        fs::write(page.dir.path().join(name), "").unwrap();
    }
    sweep(&page.disk(), "server-");
    let mut left = page.disk().names().unwrap();
    left.sort();
    assert_eq!(left, [".client-1.new", ".server-1", "server-1.new"]);
}

#[test]
fn few_words_take_little_room() {
    let mut page = Page::new();
    for _ in 0..3 {
        page.write(b"few words");
    }
    let found = fs::metadata(page.path()).unwrap();
    assert!(found.len() < 2 * ROOMS[0]);
}

/// An end holds no words, and none stay beside it.
#[test]
fn what_is_written_anew_leaves_nothing_behind() {
    for before in 0..4 {
        let mut page = Page::new();
        for _ in 0..before {
            page.write(b"words");
        }
        (page.version, _) = write_anew(&page.disk(), NAME, b"over", page.version).unwrap();
        assert_eq!(page.read(), Some(b"over".to_vec()));
        let bytes = fs::read(page.path()).unwrap();
        assert!(!bytes.windows(5).any(|five| five == b"words"), "{before}");
        assert_eq!(page.disk().names().unwrap(), [NAME]);
        page.write(b"again");
        assert_eq!(page.read(), Some(b"again".to_vec()));
    }
    let mut page = Page::new();
    page.write(b"one");
    let stale = page.version;
    page.write(b"two");
    let anew = write_anew(&page.disk(), NAME, b"over", stale);
    assert!(matches!(anew, Err(WriteError::Conflict)));
    assert_eq!(page.read(), Some(b"two".to_vec()));
}

/// Longer and shorter ones, one after another.
#[test]
fn what_does_not_fit_gets_more_room() {
    let mut page = Page::new();
    for length in [10, 4_000, 70_000, 20, 30, 1_300_000, 5, 300_000, 6] {
        let bytes = vec![b'x'; length];
        page.write(&bytes);
        assert!(page.read() == Some(bytes), "{length}");
    }
}

/// The power may fail at any byte of any write.
#[test]
fn torn_at_any_byte_it_holds_what_was_written_before() {
    let mut page = Page::new();
    page.write(b"the first, which is longer than the others");
    page.write(b"the second");
    for before in [b"the third".as_slice(), b"the fourth, also long", b"5"] {
        let held = page.read().unwrap();
        let younger = Slots::of(page.version);
        let next = younger.next();
        let (slot, at) = (next.encode(before), next.offset());
        let file = page.disk().open(NAME).unwrap().unwrap();
        let mut older = vec![0; slot.len()];
        file.read_at(&mut older, at).unwrap();
        let put = |bytes: &[u8], at: u64| file.write_at(bytes, at).unwrap();
        for torn in 0..slot.len() {
            put(&slot[..torn], at);
            assert_eq!(page.read(), Some(held.clone()), "torn at {torn}");
            // Blocks can arrive in any order.
            put(&older, at);
            put(&slot[torn..], at + torn as u64);
            let is_whole = older[..torn] == slot[..torn];
            let expected = if is_whole { before } else { &held };
            assert_eq!(
                page.read().unwrap(),
                expected,
                "without the first {torn} bytes"
            );
            put(&older, at);
        }
        page.write(before);
        assert_eq!(page.read(), Some(before.to_vec()));
    }
}

#[test]
fn a_write_that_fails_changes_nothing_and_the_next_one_holds() {
    let mut page = Page::new();
    page.write(b"one");
    page.write(b"two");
    let too_long = vec![b'x'; usize::try_from(ROOMS[9]).unwrap()];
    assert!(write(&page.disk(), NAME, None, &too_long, page.version).is_err());
    assert_eq!(page.read(), Some(b"two".to_vec()));
    page.write(b"three");
    assert_eq!(page.read(), Some(b"three".to_vec()));
}

#[test]
fn one_that_was_removed_is_made_again() {
    let mut page = Page::new();
    page.write(b"one");
    page.write(b"two");
    fs::remove_file(page.path()).unwrap();
    page.write(b"three");
    assert_eq!(page.read(), Some(b"three".to_vec()));
}

/// Nobody else has written there.
#[test]
fn where_what_was_written_last_is_gone_it_is_damaged() {
    let mut page = Page::new();
    page.write(b"one");
    page.write(b"two");
    let whole = fs::read(page.path()).unwrap();
    let without_the_last = &whole[..usize::try_from(ROOMS[0]).unwrap()];
    for left in [b"".as_slice(), b"turnchat", &[0; 5_000], without_the_last] {
        fs::write(page.path(), left).unwrap();
        let refused = write(&page.disk(), NAME, None, b"three", page.version);
        assert!(matches!(refused, Err(WriteError::Damaged)), "{refused:?}");
        let refused = remove_at(&page.disk(), NAME, page.version);
        assert!(matches!(refused, Err(WriteError::Damaged)), "{refused:?}");
        assert_eq!(fs::read(page.path()).unwrap(), left);
    }
}

/// Whoever has it open learns of that.
#[test]
fn nor_is_it_written_where_it_does_not_stand_any_more() {
    let mut page = Page::new();
    let (version, file) = write(&page.disk(), NAME, None, b"one", page.version).unwrap();
    let (version, file) = write(&page.disk(), NAME, Some(file), b"two", version).unwrap();
    assert_eq!(page.read(), Some(b"two".to_vec()));
    fs::remove_file(page.path()).unwrap();
    let (version, file) = write(&page.disk(), NAME, Some(file), b"three", version).unwrap();
    assert_eq!(page.read(), Some(b"three".to_vec()));
    // Nor where another stands in its place.
    fs::copy(page.path(), page.dir.path().join("copy")).unwrap();
    fs::rename(page.dir.path().join("copy"), page.path()).unwrap();
    (page.version, _) = write(&page.disk(), NAME, Some(file), b"four", version).unwrap();
    assert_eq!(page.read(), Some(b"four".to_vec()));
}

#[test]
fn where_no_slot_is_whole_it_is_damaged() {
    let page = Page::new();
    for bytes in [b"".as_slice(), b"{\"version\":2}", &[0; 5_000]] {
        fs::write(page.path(), bytes).unwrap();
        let Found::Damaged(beginning) = read(&page.disk(), NAME).unwrap() else {
            panic!("not damaged: {bytes:?}");
        };
        assert!(bytes.starts_with(&beginning));
    }
}

proptest! {
    /// Any change of any byte of the younger slot is noticed.
    #[test]
    fn no_other_bytes_pass_for_a_slot(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        place: usize,
        change in 1..=u8::MAX,
    ) {
        let slots = Slots { sequence: 7, room: 0 };
        let mut encoded = slots.encode(&bytes);
        prop_assert!(whole(&encoded).is_some());
        let place = place % encoded.len();
        encoded[place] ^= change;
        prop_assert!(whole(&encoded).is_none());
    }
}
