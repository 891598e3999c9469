//! [`Keys`]: from the bytes of a terminal to keys. Pure: who reads the bytes, and how long
//! it waits, is the editor's thread's.

use super::buffer::To;

/// What a person has pressed, or pasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Typed text.
    Text(String),
    /// A pasted text, whole; it may have several lines.
    Paste(String),
    /// A tab in a text; it completes an answer that can be completed.
    Tab,
    /// Enter; whether more had come right behind it, as in a paste.
    Enter {
        /// More had come.
        has_more: bool,
    },
    /// Alt-Enter: a line feed in the text.
    LineFeed,
    /// Moves the cursor there.
    Move(To),
    /// Deletes up to there.
    Delete(To),
    /// A line up, or the message before.
    Up,
    /// A line down, or the message after.
    Down,
    /// Puts back what was deleted last by more than one grapheme.
    PutBack,
    /// Paints everything anew.
    Redraw,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    EndOfInput,
    /// Ctrl-Z.
    Suspend,
}

const ESC: u8 = 0x1b;
const CTRL_C: u8 = 0x03;
const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// How many milliseconds the rest of a key's bytes may take, and of a paste. A terminal sends
/// them at once; a key that is Esc alone has no rest.
const KEY_TIME: u16 = 50;
const PASTE_TIME: u16 = 1_000;

/// The bytes of no known key are dropped up to this length; more is not one sequence.
const LONGEST_SEQUENCE: usize = 32;

/// Reads keys from bytes, however they are delivered.
#[derive(Debug, Default)]
pub struct Keys {
    /// The beginning of a key, or of a paste.
    rest: Vec<u8>,
}

impl Keys {
    /// Takes what was read, and gives the keys that are complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.rest.extend_from_slice(bytes);
        let mut keys = Vec::new();
        while let Some((key, length)) = read(&self.rest) {
            self.rest.drain(..length);
            push(&mut keys, key);
        }
        keys
    }

    /// How many milliseconds to wait for the rest of what has begun; then
    /// [`expire`](Self::expire).
    pub fn patience(&self) -> Option<u16> {
        match self.rest.starts_with(PASTE_BEGINS) {
            true => Some(PASTE_TIME),
            false => (!self.rest.is_empty()).then_some(KEY_TIME),
        }
    }

    /// No more has come: what there is counts as it stands. Of a paste without an end, Ctrl-C
    /// is a key: whoever pressed it waited for an answer.
    pub fn expire(&mut self) -> Vec<Key> {
        let before = self.rest.len();
        self.rest.retain(|byte| *byte != CTRL_C);
        let interrupts = before - self.rest.len();
        // NUL is no key, and ends whatever has begun but a paste.
        let mut keys = match self.rest.starts_with(PASTE_BEGINS) {
            true => self.feed(PASTE_ENDS),
            false => self.feed(b"\0"),
        };
        keys.extend(std::iter::repeat_n(Key::Interrupt, interrupts));
        keys
    }
}

/// Text that comes in pieces is one text.
fn push(keys: &mut Vec<Key>, key: Option<Key>) {
    match (keys.last_mut(), key) {
        (Some(Key::Text(text)), Some(Key::Text(more))) => text.push_str(&more),
        (_, key) => keys.extend(key),
    }
}

/// A pasted line's end is CR at most terminals, CR LF or LF at others.
fn paste(bytes: &[u8]) -> Key {
    let text = String::from_utf8_lossy(bytes);
    Key::Paste(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// The key at the start of the bytes, if it is one that is known, and its length. `None`: it is
/// not all there.
fn read(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    if let Some(pasted) = bytes.strip_prefix(PASTE_BEGINS) {
        let (pasted, _) = pasted.split_at(memchr::memmem::find(pasted, PASTE_ENDS)?);
        let length = PASTE_BEGINS.len() + pasted.len() + PASTE_ENDS.len();
        return Some((Some(paste(pasted)), length));
    }
    let (key, length) = match bytes {
        [] | [ESC] | [ESC, b'O'] => return None,
        [ESC, b'[', ..] => return read_sequence(bytes),
        // Of cursor keys there is a second form, without numbers.
        [ESC, b'O', last, ..] => return Some((key_of(&[], *last), 3)),
        // Alt, which is Esc before a key.
        [ESC, b'\r' | b'\n', ..] => (Key::LineFeed, 2),
        [ESC, b'b', ..] => (Key::Move(To::WordLeft), 2),
        [ESC, b'f', ..] => (Key::Move(To::WordRight), 2),
        [ESC, 0x08 | 0x7f, ..] => (Key::Delete(To::WordLeft), 2),
        // Esc, and then a key of its own.
        [ESC, 0x00..0x20, ..] => return Some((None, 1)),
        [ESC, ..] => return Some((None, 2)),
        [b'\r' | b'\n', behind @ ..] => {
            let has_more = !behind.is_empty();
            (Key::Enter { has_more }, 1)
        }
        [b'\t', ..] => (Key::Tab, 1),
        [0x01, ..] => (Key::Move(To::Start), 1),
        [0x02, ..] => (Key::Move(To::Left), 1),
        [CTRL_C, ..] => (Key::Interrupt, 1),
        [0x04, ..] => (Key::EndOfInput, 1),
        [0x05, ..] => (Key::Move(To::End), 1),
        [0x06, ..] => (Key::Move(To::Right), 1),
        [0x08 | 0x7f, ..] => (Key::Delete(To::Left), 1),
        [0x0b, ..] => (Key::Delete(To::End), 1),
        [0x0c, ..] => (Key::Redraw, 1),
        [0x0e, ..] => (Key::Down, 1),
        [0x10, ..] => (Key::Up, 1),
        [0x15, ..] => (Key::Delete(To::Start), 1),
        [0x17, ..] => (Key::Delete(To::WordLeft), 1),
        [0x19, ..] => (Key::PutBack, 1),
        [0x1a, ..] => (Key::Suspend, 1),
        [0x00..0x20, ..] => return Some((None, 1)),
        _ => return read_text(bytes),
    };
    Some((Some(key), length))
}

/// All text up to the next key; half a character at the end waits for its rest.
fn read_text(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let is_key = |byte: &u8| *byte < 0x20 || *byte == 0x7f;
    let end = bytes.iter().position(is_key).unwrap_or(bytes.len());
    let (text, behind) = bytes.split_at(end);
    let is_half = |error: std::str::Utf8Error| error.error_len().is_none();
    let half = text.utf8_chunks().last().map(|last| last.invalid());
    let half = half.filter(|half| std::str::from_utf8(half).is_err_and(is_half));
    let half = half.filter(|_| behind.is_empty()).unwrap_or_default();
    let (text, _) = text.split_at(end - half.len());
    let key = || Key::Text(String::from_utf8_lossy(text).into_owned());
    (!text.is_empty()).then(|| (Some(key()), text.len()))
}

/// A control sequence (ECMA-48 5.4): Esc and `[`, parameters, and the byte that ends it.
fn read_sequence(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let parameters = bytes.iter().take(LONGEST_SEQUENCE).skip(2);
    let parameters = parameters.take_while(|byte| (0x20..0x40).contains(*byte));
    let end = 2 + parameters.count();
    match bytes.get(end) {
        None => None,
        // No sequence is so long; or a key was pressed in the midst of one.
        Some(0x00..0x40 | 0x7f) => Some((None, end)),
        Some(last) => {
            let parameters = bytes.get(2..end).unwrap_or_default();
            Some((key_of(parameters, *last), end + 1))
        }
    }
}

fn key_of(parameters: &[u8], last: u8) -> Option<Key> {
    let mut numbers = parameters.split(|byte| *byte == b';');
    let first = numbers.next().unwrap_or_default();
    // The second number is the modifiers; plain is 1.
    let is_modified = numbers.next().is_some();
    Some(match (first, last) {
        (_, b'A') => Key::Up,
        (_, b'B') => Key::Down,
        (_, b'C') if is_modified => Key::Move(To::WordRight),
        (_, b'D') if is_modified => Key::Move(To::WordLeft),
        (_, b'C') => Key::Move(To::Right),
        (_, b'D') => Key::Move(To::Left),
        (_, b'H') | (b"1" | b"7", b'~') => Key::Move(To::Start),
        (_, b'F') | (b"4" | b"8", b'~') => Key::Move(To::End),
        (b"3", b'~') => Key::Delete(To::Right),
        // Enter with Alt or Shift, where the terminal tells them apart.
        (b"13", b'u') if is_modified => Key::LineFeed,
        (b"27", b'~') if parameters.ends_with(b";13") => Key::LineFeed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Key, Keys, To};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    const ENTER: Key = Key::Enter { has_more: false };

    fn text(text: &str) -> Key {
        Key::Text(text.to_owned())
    }

    fn keys(bytes: &[u8]) -> Vec<Key> {
        Keys::default().feed(bytes)
    }

    #[test]
    fn what_is_typed_is_text_and_enter_ends_it() {
        assert_eq!(keys("Hi, Zoë\r".as_bytes()), [text("Hi, Zoë"), ENTER]);
        assert_eq!(
            keys(b"a\rb\r"),
            [text("a"), Key::Enter { has_more: true }, text("b"), ENTER]
        );
    }

    #[test]
    fn keys_are_known_in_each_of_their_forms() {
        for (bytes, key) in [
            (&b"\x1b[A"[..], Key::Up),
            (b"\x1bOA", Key::Up),
            (b"\x10", Key::Up),
            (b"\x1b[1;5C", Key::Move(To::WordRight)),
            (b"\x1bf", Key::Move(To::WordRight)),
            (b"\x1b[3~", Key::Delete(To::Right)),
            (b"\x1b[1~", Key::Move(To::Start)),
            (b"\x1bOH", Key::Move(To::Start)),
            (b"\x1b[F", Key::Move(To::End)),
            (b"\x7f", Key::Delete(To::Left)),
            (b"\x17", Key::Delete(To::WordLeft)),
            (b"\x1b\r", Key::LineFeed),
            (b"\x1b[13;3u", Key::LineFeed),
            (b"\x03", Key::Interrupt),
            (b"\x04", Key::EndOfInput),
            (b"\x1a", Key::Suspend),
        ] {
            assert_eq!(keys(bytes), [key], "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_dropped_and_nothing_else() {
        for bytes in [
            &b"\x1b[1;2P"[..],
            b"\x1b[I",
            b"\x1bx",
            b"\x1b\x1b[5~",
            b"\0",
            b"\x1b[<0;1;1M",
        ] {
            let all = [b"a", bytes, b"b"].concat();
            assert_eq!(keys(&all), [text("ab")], "{bytes:?}");
        }
    }

    #[test]
    fn a_paste_is_one_text_with_its_lines_and_not_what_is_typed_beside_it() {
        let keys = keys(b"a\x1b[200~one\rtwo\r\nthree\n\x1b[31m\x03\x1b[201~b\r");
        let pasted = Key::Paste("one\ntwo\nthree\n\u{1b}[31m\u{3}".to_owned());
        assert_eq!(keys, [text("a"), pasted, text("b"), ENTER]);
    }

    #[test]
    fn a_paste_that_never_ends_gives_back_what_came_and_ctrl_c() {
        let mut reader = Keys::default();
        assert!(reader.feed(b"\x1b[200~half\x03").is_empty());
        assert!(reader.patience().is_some());
        let half = Key::Paste("half".to_owned());
        assert_eq!(reader.expire(), [half, Key::Interrupt]);
        assert_eq!(reader.patience(), None);
        assert_eq!(reader.feed(b"x"), [text("x")]);
    }

    #[test]
    fn a_sequence_that_is_too_long_ends_at_the_same_byte_however_it_is_delivered() {
        for numbers in 20..50 {
            let bytes = format!("\x1b[{}~", "1".repeat(numbers)).into_bytes();
            let mut reader = Keys::default();
            let in_bytes: Vec<_> = bytes.chunks(1).flat_map(|byte| reader.feed(byte)).collect();
            let shown = |keys: Vec<Key>| -> String {
                let texts = keys.into_iter().map(|key| match key {
                    Key::Text(text) => text,
                    key => format!("{key:?}"),
                });
                texts.collect()
            };
            assert_eq!(shown(in_bytes), shown(keys(&bytes)), "{numbers} digits");
        }
    }

    #[test]
    fn esc_alone_is_nothing_once_its_time_is_over() {
        let mut reader = Keys::default();
        assert!(reader.feed(b"\x1b").is_empty());
        assert!(reader.patience().is_some());
        assert!(reader.expire().is_empty());
        assert_eq!(reader.feed(b"[A"), [text("[A")]);
    }

    #[test]
    fn what_is_not_utf8_is_replaced_and_the_rest_stays() {
        assert_eq!(keys(b"a\xffb"), [text("a\u{fffd}b")]);
        let mut reader = Keys::default();
        assert!(reader.feed(b"\xe6\x97").is_empty());
        assert_eq!(reader.feed(b"\xa5"), [text("日")]);
    }

    proptest! {
        /// But for the pieces that text comes in, and whether more stood behind an Enter.
        #[test]
        fn how_bytes_are_delivered_does_not_matter(
            bytes in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::sample::select(b"\x1b[O~;0123ABr\r\x03\x7f\xe6\x97\xa5".to_vec()),
                    any::<u8>(),
                ],
                0..80,
            ),
            size in 1usize..20,
        ) {
            let joined = |chunks: &mut dyn Iterator<Item = &[u8]>| {
                let (mut reader, mut all) = (Keys::default(), Vec::new());
                for chunk in chunks {
                    for key in reader.feed(chunk) {
                        super::push(&mut all, Some(match key {
                            Key::Enter { .. } => ENTER,
                            key => key,
                        }));
                    }
                }
                for key in reader.expire() {
                    super::push(&mut all, Some(key));
                }
                all
            };
            let whole = joined(&mut std::iter::once(&bytes[..]));
            prop_assert_eq!(joined(&mut bytes.chunks(size)), whole);
        }
    }
}
