//! A fast path for the frames of every conversation and every turn, in the form that this
//! implementation writes: no blanks, and nothing escaped. A JSON parser would cost a turn more
//! than TLS does. Any other line goes to the strict reader, by frame.rs.

use memchr::memchr2;
use simdutf8::basic::from_utf8;

use super::conversation_id::ConversationId;
use super::text::Text;

const SAY: &[u8] = b"{\"say\":{\"turn\":";
const TEXT: &[u8] = b",\"text\":\"";
const SAY_END: &[u8] = b"\"}}";
/// What stands behind the text of a `say`, LF included.
pub(super) const BEHIND_TEXT: &[u8] = b"\"}}\n";
const HEARD: &[u8] = b"{\"heard\":{\"turn\":";
const HEARD_END: &[u8] = b"}}";
const HELLO: &[u8] = b"{\"hello\":";
const WELCOME: &[u8] = b"{\"welcome\":";
const ID: &[u8] = b"{\"conversation\":\"";
const COUNTER: &[u8] = b"\",\"heard\":";
const QUIT: &[u8] = b"{\"quit\":{}}";

/// The most digits read here. 2^53 - 1 has 16, so longer integers go to the strict reader.
const DIGITS: usize = 15;

/// So much of a long text is looked at in one go, and stays in the processor's first cache from one
/// look to the next.
const PIECE: usize = 4_096;

/// A frame in that form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<T> {
    Say {
        turn: u64,
        text: T,
    },
    Heard {
        turn: u64,
    },
    Hello {
        conversation: ConversationId,
        heard: u64,
    },
    Welcome {
        conversation: ConversationId,
        heard: u64,
    },
    Quit,
}

impl Line<String> {
    /// Reads a line, given without its LF. `None`: the strict reader decides.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        if let Some(rest) = line.strip_prefix(HEARD) {
            let (turn, rest) = read_integer(rest)?;
            return (rest == HEARD_END).then_some(Self::Heard { turn });
        }
        if let Some(rest) = line.strip_prefix(HELLO) {
            let (conversation, heard) = read_counter(rest)?;
            return Some(Self::Hello {
                conversation,
                heard,
            });
        }
        if let Some(rest) = line.strip_prefix(WELCOME) {
            let (conversation, heard) = read_counter(rest)?;
            return Some(Self::Welcome {
                conversation,
                heard,
            });
        }
        if line == QUIT {
            return Some(Self::Quit);
        }
        let (turn, rest) = read_integer(line.strip_prefix(SAY)?)?;
        let text = rest.strip_prefix(TEXT)?.strip_suffix(SAY_END)?;
        let text = read_text(text)?;
        Some(Self::Say { turn, text })
    }
}

impl Line<&str> {
    /// Appends the line, without LF. If the text needs escaping, appends nothing and returns
    /// `false`.
    pub(super) fn write(&self, to: &mut Vec<u8>) -> bool {
        match self {
            Self::Say { text, .. } if !is_plain(text) => return false,
            Self::Say { turn, text } => {
                to.reserve(SAY.len() + DIGITS + TEXT.len() + text.len() + SAY_END.len() + 1);
                write_to_text(*turn, to);
                to.extend_from_slice(text.as_bytes());
                to.extend_from_slice(SAY_END);
            }
            Self::Heard { turn } => {
                to.extend_from_slice(HEARD);
                write_integer(*turn, to);
                to.extend_from_slice(HEARD_END);
            }
            Self::Hello {
                conversation,
                heard,
            } => {
                to.extend_from_slice(HELLO);
                write_counter(conversation, *heard, to);
            }
            Self::Welcome {
                conversation,
                heard,
            } => {
                to.extend_from_slice(WELCOME);
                write_counter(conversation, *heard, to);
            }
            Self::Quit => to.extend_from_slice(QUIT),
        }
        true
    }
}

/// Appends a `say` up to its text.
pub(super) fn write_to_text(turn: u64, to: &mut Vec<u8>) {
    to.extend_from_slice(SAY);
    write_integer(turn, to);
    to.extend_from_slice(TEXT);
}

/// Which conversation, and how much of it was heard.
fn read_counter(bytes: &[u8]) -> Option<(ConversationId, u64)> {
    let bytes = bytes.strip_prefix(ID)?;
    let (id, rest) = bytes.split_at_checked(ConversationId::LENGTH)?;
    let (heard, rest) = read_integer(rest.strip_prefix(COUNTER)?)?;
    let id = std::str::from_utf8(id).ok()?.parse().ok()?;
    (rest == HEARD_END).then_some((id, heard))
}

fn write_counter(id: &ConversationId, heard: u64, to: &mut Vec<u8>) {
    to.extend_from_slice(ID);
    id.write(to);
    to.extend_from_slice(COUNTER);
    write_integer(heard, to);
    to.extend_from_slice(HEARD_END);
}

/// A text that is no longer than it may be, and in which nothing is escaped.
fn read_text(mut bytes: &[u8]) -> Option<String> {
    if bytes.len() > Text::MAX {
        return None;
    }
    let mut text = String::with_capacity(bytes.len());
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(piece(bytes)?);
        text.push_str(from_utf8(piece).ok().filter(|piece| is_plain(piece))?);
        bytes = rest;
    }
    Some(text)
}

/// Where the next piece ends: before a character. `None`: it is no UTF-8.
fn piece(bytes: &[u8]) -> Option<usize> {
    if bytes.len() <= PIECE {
        return Some(bytes.len());
    }
    let begins = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xC0 != 0x80);
    (PIECE - 3..=PIECE).rev().find(begins)
}

/// Whether JSON needs no escape in it (RFC 8259, section 7).
pub(super) fn is_plain(text: &str) -> bool {
    // No early exit within a piece: the compiler can then check many bytes at once.
    let least = |piece: &[u8]| piece.iter().fold(u8::MAX, |least, byte| least.min(*byte));
    let mut pieces = text.as_bytes().chunks(PIECE);
    pieces.all(|piece| memchr2(b'"', b'\\', piece).is_none() && least(piece) >= 0x20)
}

fn write_integer(mut integer: u64, to: &mut Vec<u8>) {
    let start = to.len();
    loop {
        // A digit is below 10.
        to.push(b'0' + u8::try_from(integer % 10).unwrap_or(0));
        integer /= 10;
        if integer == 0 {
            break;
        }
    }
    if let Some(digits) = to.get_mut(start..) {
        digits.reverse();
    }
}

/// Reads a JSON integer; returns it and the bytes after it.
fn read_integer(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let digits = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, rest) = bytes.split_at_checked(digits)?;
    let has_zero_before = digits.len() > 1 && digits.first() == Some(&b'0');
    if digits.is_empty() || digits.len() > DIGITS || has_zero_before {
        return None;
    }
    let integer = digits
        .iter()
        .fold(0, |integer, digit| integer * 10 + u64::from(digit - b'0'));
    Some((integer, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Frame, Text};

    fn say(turn: u64, words: &str) -> Frame {
        let text = Text::new(words).unwrap();
        Frame::Say { turn, text }
    }

    /// One of each that is written here.
    fn frames(integer: u64, words: &str, bits: [u8; 16]) -> [Frame; 5] {
        let (conversation, heard) = (ConversationId::from_bits(bits), integer);
        [
            say(integer, words),
            Frame::Heard { turn: integer },
            Frame::Hello {
                conversation,
                heard,
            },
            Frame::Welcome {
                conversation,
                heard,
            },
            Frame::Quit {},
        ]
    }

    /// As a frame, if it is read here.
    fn read(line: &[u8]) -> Option<Frame> {
        Some(match Line::read(line)? {
            Line::Say { turn, text } => say(turn, &text),
            Line::Heard { turn } => Frame::Heard { turn },
            Line::Hello {
                conversation,
                heard,
            } => Frame::Hello {
                conversation,
                heard,
            },
            Line::Welcome {
                conversation,
                heard,
            } => Frame::Welcome {
                conversation,
                heard,
            },
            Line::Quit => Frame::Quit {},
        })
    }

    fn read_strictly(line: &[u8]) -> Option<Frame> {
        Frame::read_strictly(line).ok()
    }

    proptest! {
        #[test]
        fn a_line_is_written_and_read_as_json_is(
            turn in 0..=Frame::MAX_INTEGER,
            words in ".{0,40}",
            bits: [u8; 16],
        ) {
            for frame in frames(turn, &words, bits) {
                let json = serde_json::to_vec(&frame).unwrap();
                let line = frame.to_line();
                prop_assert_eq!(line.strip_suffix(b"\n"), Some(&json[..]));
                prop_assert_eq!(Frame::from_line(&json), Ok(frame.clone()));
                prop_assert_eq!(read_strictly(&json), Some(frame));
            }
        }

        #[test]
        fn a_line_that_is_spoilt_is_never_read_otherwise(
            turn in 0..=Frame::MAX_INTEGER,
            words in "[a-z\"\\\\\u{0}\u{7f}\u{e9}]{0,8}",
            at in 0..64usize,
            byte: u8,
            is_inserted: bool,
            bits: [u8; 16],
        ) {
            for frame in frames(turn, &words, bits) {
                let mut line = frame.to_line();
                line.pop();
                let at = at % line.len();
                match is_inserted {
                    true => line.insert(at, byte),
                    false => line[at] = byte,
                }
                if let Some(read) = read(&line) {
                    prop_assert_eq!(Some(read), read_strictly(&line));
                }
            }
        }
    }

    /// Wherever a piece ends, it does so between two characters.
    #[test]
    fn a_long_text_is_read_in_pieces() {
        for before in 0..8 {
            for of in ["a", "\u{e9}", "\u{20ac}", "\u{1f600}"] {
                let words = "a".repeat(PIECE - before) + &of.repeat(PIECE);
                let frame = say(3, &words);
                let mut line = frame.to_line();
                line.pop();
                assert_eq!(read(&line), Some(frame));
                // In the middle of a character, or none at all.
                for byte in [0x80, 0xff, b'"', 0x1f] {
                    let mut spoilt = line.clone();
                    spoilt[PIECE + 30] = byte;
                    assert_eq!(read(&spoilt), read_strictly(&spoilt));
                }
            }
        }
    }

    #[test]
    fn what_is_not_canonical_is_left_to_the_strict_reader() {
        for line in [
            &b"{\"say\":{\"turn\":01,\"text\":\"\"}}"[..],
            b"{\"say\":{\"turn\":-1,\"text\":\"\"}}",
            b"{\"say\":{\"turn\":,\"text\":\"\"}}",
            b"{\"say\":{\"turn\":9007199254740992,\"text\":\"\"}}",
            b"{\"say\":{\"turn\":1,\"text\":\"\"}} ",
            b"{\"say\":{\"turn\":1,\"text\":\"\xff\"}}",
            b"{\"say\":{\"turn\":1,\"text\":\"a\",\"text\":\"b\"}}",
            b"{\"say\":{\"turn\":1,\"text\":\"}}",
            b"{\"heard\":{\"turn\":1}}}",
            b"{\"heard\":{\"turn\":1 }}",
            b"{\"hello\":{\"conversation\":\"MDEyMzQ1Njc4OWFiY2RlZh\",\"heard\":0}}",
            b"{\"hello\":{\"conversation\":\"MDEyMzQ1Njc4OWFiY2RlZg\",\"heard\":0},}",
            b"{\"welcome\":{\"heard\":0,\"conversation\":\"MDEyMzQ1Njc4OWFiY2RlZg\"}}",
            b"{\"quit\":{}} ",
            b"",
        ] {
            assert_eq!(Line::read(line), None, "{}", String::from_utf8_lossy(line));
        }
        assert!(Line::read(b"{\"heard\":{\"turn\":0}}").is_some());
        assert_eq!(Line::read(b"{\"quit\":{}}"), Some(Line::Quit));
        for kind in ["hello", "welcome"] {
            let id = "MDEyMzQ1Njc4OWFiY2RlZg";
            let line = format!("{{\"{kind}\":{{\"conversation\":\"{id}\",\"heard\":0}}}}");
            assert!(Line::read(line.as_bytes()).is_some());
        }
        assert!(Line::read(b"{\"say\":{\"turn\":10,\"text\":\"\xc3\xa9\"}}").is_some());
    }

    /// What it does not take costs a turn more than TLS does.
    #[test]
    fn ordinary_lines_do_not_take_the_slow_path() {
        let mut line = Vec::new();
        for text in ["", " ", "Tea at five?", "\u{7f}", "\u{e9}"] {
            assert!(Line::Say { turn: 1, text }.write(&mut line), "{text:?}");
            line.clear();
        }
        for text in ["\u{0}", "\u{1f}", "\"", "\\"] {
            assert!(!Line::Say { turn: 1, text }.write(&mut line), "{text:?}");
            assert_eq!(line, b"");
        }
        let longest = 999_999_999_999_999;
        assert!(Line::Heard { turn: longest }.write(&mut line));
        assert_eq!(Line::read(&line), Some(Line::Heard { turn: longest }));
        line.clear();
        assert!(Line::Heard { turn: longest + 1 }.write(&mut line));
        assert_eq!(Line::read(&line), None);
    }
}
