//! [`Keys`]: from the bytes of a terminal to keys. Pure: who reads the bytes, and how long
//! it waits, is the editor's thread's.

use std::time::Duration;

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
    /// One grapheme to the left, or to the right.
    Left,
    /// See [`Left`](Self::Left).
    Right,
    /// One word to the left, or to the right.
    WordLeft,
    /// See [`WordLeft`](Self::WordLeft).
    WordRight,
    /// A line up, or the message before.
    Up,
    /// A line down, or the message after.
    Down,
    /// To the line's start.
    Home,
    /// To the line's end.
    End,
    /// Deletes the grapheme before the cursor.
    Backspace,
    /// Deletes the grapheme behind it.
    Delete,
    /// Deletes the word before it.
    DeleteWord,
    /// Deletes the line before it.
    DeleteToStart,
    /// Deletes the line behind it.
    DeleteToEnd,
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
const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// How long the rest of a key's bytes may take, and of a paste. A terminal sends them at once;
/// a key that is Esc alone has no rest.
const KEY_TIME: Duration = Duration::from_millis(50);
const PASTE_TIME: Duration = Duration::from_secs(1);

/// The bytes of no known key are dropped up to this length; more is not one sequence.
const LONGEST_SEQUENCE: usize = 32;

/// Reads keys from bytes, however they are delivered.
#[derive(Debug, Default)]
pub struct Keys {
    /// The beginning of a key, or all of a paste so far.
    rest: Vec<u8>,
    is_pasting: bool,
}

/// What stands at the start of the bytes.
enum Read {
    /// A key, if it is one that is known, of so many bytes.
    Key(Option<Key>, usize),
    /// A paste begins behind so many bytes.
    Paste(usize),
    /// It is not all there.
    Part,
}

impl Keys {
    /// Takes what was read, and gives the keys that are complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.rest.extend_from_slice(bytes);
        let mut keys = Vec::new();
        while !self.rest.is_empty() {
            if self.is_pasting {
                let Some(end) = find(&self.rest, PASTE_ENDS) else {
                    break;
                };
                let pasted = self.take(end);
                self.take(PASTE_ENDS.len());
                self.is_pasting = false;
                push(&mut keys, Some(paste(&pasted)));
                continue;
            }
            match read(&self.rest) {
                Read::Key(key, length) => {
                    self.take(length);
                    push(&mut keys, key);
                }
                Read::Paste(length) => {
                    self.take(length);
                    self.is_pasting = true;
                }
                Read::Part => break,
            }
        }
        keys
    }

    /// How long to wait for the rest of what has begun; then [`expire`](Self::expire).
    pub fn patience(&self) -> Option<Duration> {
        match (self.is_pasting, self.rest.is_empty()) {
            (true, _) => Some(PASTE_TIME),
            (false, false) => Some(KEY_TIME),
            (false, true) => None,
        }
    }

    /// No more has come: what there is counts as it stands. Of a paste without an end, Ctrl-C
    /// is a key: whoever pressed it waited for an answer.
    pub fn expire(&mut self) -> Vec<Key> {
        let rest = std::mem::take(&mut self.rest);
        if std::mem::take(&mut self.is_pasting) {
            let interrupts = rest.iter().filter(|byte| **byte == 0x03).count();
            let text: Vec<_> = rest.into_iter().filter(|byte| *byte != 0x03).collect();
            let mut keys = Vec::new();
            push(&mut keys, Some(paste(&text)));
            keys.extend(std::iter::repeat_n(Key::Interrupt, interrupts));
            return keys;
        }
        // A lone Esc, or half a character.
        let text = String::from_utf8_lossy(rest.strip_prefix(&[ESC]).unwrap_or(&rest));
        match rest.first() {
            Some(&ESC) | None => Vec::new(),
            Some(_) => vec![Key::Text(text.into_owned())],
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.rest.drain(..length.min(self.rest.len())).collect()
    }
}

/// Text that comes in pieces is one text.
fn push(keys: &mut Vec<Key>, key: Option<Key>) {
    match (keys.last_mut(), key) {
        (_, None) => {}
        (_, Some(Key::Text(more))) if more.is_empty() => {}
        (Some(Key::Text(text)), Some(Key::Text(more))) => text.push_str(&more),
        (_, Some(key)) => keys.push(key),
    }
}

/// A pasted line's end is CR at most terminals, CR LF or LF at others.
fn paste(bytes: &[u8]) -> Key {
    let text = String::from_utf8_lossy(bytes);
    Key::Paste(text.replace("\r\n", "\n").replace('\r', "\n"))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

fn read(bytes: &[u8]) -> Read {
    let Some((&first, behind)) = bytes.split_first() else {
        return Read::Part;
    };
    let known = |key| Read::Key(Some(key), 1);
    match first {
        ESC => read_escape(bytes),
        b'\r' | b'\n' => known(Key::Enter {
            has_more: !behind.is_empty(),
        }),
        0x01 => known(Key::Home),
        0x02 => known(Key::Left),
        0x03 => known(Key::Interrupt),
        0x04 => known(Key::EndOfInput),
        0x05 => known(Key::End),
        0x06 => known(Key::Right),
        0x08 | 0x7f => known(Key::Backspace),
        b'\t' => known(Key::Tab),
        0x0b => known(Key::DeleteToEnd),
        0x0c => known(Key::Redraw),
        0x0e => known(Key::Down),
        0x10 => known(Key::Up),
        0x15 => known(Key::DeleteToStart),
        0x17 => known(Key::DeleteWord),
        0x19 => known(Key::PutBack),
        0x1a => known(Key::Suspend),
        0x00..0x20 => Read::Key(None, 1),
        _ => read_text(bytes),
    }
}

/// All text up to the next key; half a character at the end waits for its rest.
fn read_text(bytes: &[u8]) -> Read {
    let end = bytes.iter().position(|byte| *byte < 0x20 || *byte == 0x7f);
    let bytes = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes);
    let (text, length) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), bytes.len()),
        Err(error) => {
            let valid = error.valid_up_to();
            match (valid, error.error_len()) {
                (0, None) if end.is_none() => return Read::Part,
                (0, wrong) => {
                    let length = wrong.unwrap_or(bytes.len());
                    (char::REPLACEMENT_CHARACTER.to_string(), length)
                }
                _ => {
                    let text = String::from_utf8_lossy(bytes.get(..valid).unwrap_or_default());
                    (text.into_owned(), valid)
                }
            }
        }
    };
    Read::Key(Some(Key::Text(text)), length)
}

/// ECMA-48 control sequences, and Alt, which is Esc before a key.
fn read_escape(bytes: &[u8]) -> Read {
    match bytes.get(1) {
        None => Read::Part,
        Some(b'[') => read_sequence(bytes, 2),
        Some(b'O') => match bytes.get(2) {
            None => Read::Part,
            Some(last) => Read::Key(cursor_key(*last, false), 3),
        },
        Some(b'\r' | b'\n') => Read::Key(Some(Key::LineFeed), 2),
        Some(b'b') => Read::Key(Some(Key::WordLeft), 2),
        Some(b'f') => Read::Key(Some(Key::WordRight), 2),
        Some(0x08 | 0x7f) => Read::Key(Some(Key::DeleteWord), 2),
        // Esc, and then another sequence.
        Some(&ESC) => Read::Key(None, 1),
        Some(0x00..0x20) => Read::Key(None, 1),
        // Alt and a character.
        Some(_) => Read::Key(None, 2),
    }
}

fn read_sequence(bytes: &[u8], at: usize) -> Read {
    let parameters = bytes.get(at..).unwrap_or_default();
    let Some(length) = parameters
        .iter()
        .position(|byte| !(0x20..0x40).contains(byte))
    else {
        return match bytes.len() > LONGEST_SEQUENCE {
            true => Read::Key(None, bytes.len()),
            false => Read::Part,
        };
    };
    let whole = at + length + 1;
    let last = parameters.get(length).copied().unwrap_or_default();
    if last < 0x20 || last == 0x7f {
        // No sequence: a key was pressed in the midst of one.
        return Read::Key(None, at + length);
    }
    if bytes.starts_with(PASTE_BEGINS) {
        return Read::Paste(PASTE_BEGINS.len());
    }
    let parameters = parameters.get(..length).unwrap_or_default();
    // The second number is the modifiers; plain is 1.
    let is_modified = parameters.contains(&b';');
    let key = match (last, parameters.split(|byte| *byte == b';').next()) {
        (b'~', Some(b"1" | b"7")) => Some(Key::Home),
        (b'~', Some(b"4" | b"8")) => Some(Key::End),
        (b'~', Some(b"3")) => Some(Key::Delete),
        // Enter with Alt or Shift, where the terminal tells them apart.
        (b'u', Some(b"13")) if is_modified => Some(Key::LineFeed),
        (b'~', Some(b"27")) if parameters.ends_with(b";13") => Some(Key::LineFeed),
        _ => cursor_key(last, is_modified),
    };
    Read::Key(key, whole)
}

fn cursor_key(last: u8, is_modified: bool) -> Option<Key> {
    Some(match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' if is_modified => Key::WordRight,
        b'D' if is_modified => Key::WordLeft,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Key, Keys};
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
            (b"\x1b[1;5C", Key::WordRight),
            (b"\x1bf", Key::WordRight),
            (b"\x1b[3~", Key::Delete),
            (b"\x1b[1~", Key::Home),
            (b"\x1bOH", Key::Home),
            (b"\x1b[F", Key::End),
            (b"\x7f", Key::Backspace),
            (b"\x17", Key::DeleteWord),
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
