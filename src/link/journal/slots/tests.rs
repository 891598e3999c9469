use std::fs;
use std::path::PathBuf;

use proptest::prelude::{any, prop_assert_eq, proptest};
use tempfile::TempDir;

use super::*;

/// A file that does not exist yet, and its slots.
struct Page {
    _dir: TempDir,
    path: PathBuf,
    slots: Slots,
}

impl Page {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("record");
        let slots = Slots::default();
        Self {
            _dir: dir,
            path,
            slots,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.slots.write(&self.path, bytes).unwrap();
    }

    fn read(&self) -> Option<Vec<u8>> {
        match Slots::read(&self.path).unwrap() {
            Found::Nothing => None,
            Found::Damaged(_) => panic!("damaged"),
            Found::Whole(_, bytes) => Some(bytes),
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
    let Found::Whole(mut slots, _) = Slots::read(&page.path).unwrap() else {
        panic!("no slot is whole");
    };
    assert_eq!(slots, page.slots);
    slots.write(&page.path, b"from another").unwrap();
    assert_eq!(page.read(), Some(b"from another".to_vec()));
}

#[test]
fn few_words_take_little_room() {
    let mut page = Page::new();
    for _ in 0..3 {
        page.write(b"few words");
    }
    let found = fs::metadata(&page.path).unwrap();
    assert!(found.len() < 2 * ROOMS[0]);
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
        let next = Slot {
            sequence: page.slots.sequence + 1,
            room: page.slots.room,
            bytes: before.to_vec(),
        };
        let (slot, at) = (next.encode(), next.offset());
        let mut file = File::options()
            .read(true)
            .write(true)
            .open(&page.path)
            .unwrap();
        let mut older = vec![0; slot.len()];
        read_at(&file, &mut older, at).unwrap();
        let mut put = |bytes: &[u8], at: u64| {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(bytes).unwrap();
        };
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
    assert!(page.slots.write(&page.path, &too_long).is_err());
    assert_eq!(page.read(), Some(b"two".to_vec()));
    page.write(b"three");
    assert_eq!(page.read(), Some(b"three".to_vec()));
}

#[test]
fn one_that_was_removed_is_made_again() {
    let mut page = Page::new();
    page.write(b"one");
    page.write(b"two");
    fs::remove_file(&page.path).unwrap();
    page.write(b"three");
    assert_eq!(page.read(), Some(b"three".to_vec()));
}

#[test]
fn where_no_slot_is_whole_it_is_damaged() {
    let page = Page::new();
    for bytes in [b"".as_slice(), b"{\"version\":2}", &[0; 5_000]] {
        fs::write(&page.path, bytes).unwrap();
        let Found::Damaged(beginning) = Slots::read(&page.path).unwrap() else {
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
        let slot = Slot { sequence: 7, room: ROOMS[0], bytes };
        let mut encoded = slot.encode();
        let place = place % encoded.len();
        encoded[place] ^= change;
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("record");
        fs::write(&path, &encoded).unwrap();
        let file = File::open(&path).unwrap();
        prop_assert_eq!(Slot::read(&file, 0).unwrap(), None);
    }
}
