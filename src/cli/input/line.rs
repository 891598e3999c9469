//! From bytes to lines of the person's input, and what a line means.
//!
//! Pure: who reads the bytes, and when, is [`input`](crate::cli::input)'s.

use std::collections::VecDeque;

/// One line as it was typed, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A whole line of UTF-8; it may be empty.
    Text(String),
    /// A line of more bytes than this limit; they are gone.
    TooLong(usize),
    /// A line that is not UTF-8; its bytes, of which there were so many, are gone.
    NotUtf8(usize),
}

/// Cuts bytes into lines, however they are delivered.
///
/// A line ends at LF; one CR before that is removed. Or it ends at NUL, and is
/// left as it is. No line outlives its limit: as soon as one is over it, [`Line::TooLong`] is reported, once, and
/// the rest of the line is dropped as it comes.
///
/// It holds one unfinished line, of at most the limit, and the lines that
/// were fed and not yet taken: whoever feeds it stops while
/// [`has_line`](Self::has_line), if that is to be bounded too.
#[derive(Debug, Clone)]
pub struct LineReader {
    limit: usize,
    end: u8,
    lines: VecDeque<Line>,
    unfinished: Vec<u8>,
    /// The line was reported as too long; drop up to its LF.
    dropping: bool,
}

impl LineReader {
    /// A reader of lines of at most `limit` bytes, the end not counted.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            end: b'\n',
            lines: VecDeque::new(),
            unfinished: Vec::new(),
            dropping: false,
        }
    }

    /// The same of lines that end at NUL, and may hold LF.
    pub fn nul_ended(limit: usize) -> Self {
        Self {
            end: 0,
            ..Self::new(limit)
        }
    }

    /// Takes what was read, any number of bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        let end = self.end;
        for piece in bytes.split_inclusive(|byte| *byte == end) {
            match piece.strip_suffix(&[end]) {
                Some(last) => {
                    self.extend(last);
                    self.end_line();
                }
                None => self.extend(piece),
            }
        }
    }

    /// The next complete line; `None` until one has been fed.
    pub fn next_line(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// Whether [`next_line`](Self::next_line) would give one.
    pub fn has_line(&self) -> bool {
        !self.lines.is_empty()
    }

    /// The input has ended: a last line without LF counts as one. Returns the
    /// next line as [`next_line`](Self::next_line) does; `None` means that
    /// nothing is left.
    pub fn finish(&mut self) -> Option<Line> {
        if !self.unfinished.is_empty() {
            self.end_line();
        }
        self.next_line()
    }

    /// The line that is begun, as far as it is text: the beginning of a character stays for what
    /// follows.
    pub fn take_begun(&mut self) -> Option<Line> {
        let mut bytes = std::mem::take(&mut self.unfinished);
        if let Err(error) = std::str::from_utf8(&bytes)
            && error.error_len().is_none()
        {
            self.unfinished = bytes.split_off(error.valid_up_to());
        }
        let length = bytes.len();
        (length > 0).then(|| String::from_utf8(bytes).map_or(Line::NotUtf8(length), Line::Text))
    }

    /// Whether a line is begun.
    pub fn has_begun(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// How many lines were fed and not yet taken.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// Forgets every line, taken or begun.
    pub fn clear(&mut self) {
        *self = Self {
            end: self.end,
            ..Self::new(self.limit)
        };
    }

    fn extend(&mut self, piece: &[u8]) {
        if self.dropping {
            return;
        }
        // One byte above the limit may yet turn out to be the CR of the end.
        let length = self.unfinished.len() + piece.len();
        let ends_in_cr = self.ends_in_cr(piece);
        if length > self.limit + usize::from(ends_in_cr) {
            self.unfinished = Vec::new();
            self.dropping = true;
            self.lines.push_back(Line::TooLong(self.limit));
        } else {
            self.unfinished.extend_from_slice(piece);
        }
    }

    /// Whether there is a CR that may belong to the end.
    fn ends_in_cr(&self, piece: &[u8]) -> bool {
        self.end == b'\n' && piece.last().or(self.unfinished.last()) == Some(&b'\r')
    }

    fn end_line(&mut self) {
        let mut bytes = std::mem::take(&mut self.unfinished);
        if std::mem::take(&mut self.dropping) {
            return;
        }
        if self.ends_in_cr(&bytes) {
            bytes.pop();
        }
        let length = bytes.len();
        let line = String::from_utf8(bytes).map_or(Line::NotUtf8(length), Line::Text);
        self.lines.push_back(line);
    }
}

/// What the person means by what was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// The conversation is to end.
    Quit,
    /// This is to be said.
    Message(String),
}

impl Typed {
    /// Understands one line, or a pasted block of several.
    ///
    /// `QUIT` alone, spaces and tabs aside, ends the conversation. With
    /// backslashes before it, it is the word: one of them is removed, and
    /// nothing else. A block of several lines is always a message, as it is.
    pub fn parse(text: &str) -> Self {
        let word = text.trim_matches([' ', '\t']);
        let bare = word.trim_start_matches('\\');
        if bare != "QUIT" {
            Self::Message(text.to_owned())
        } else if bare == word {
            Self::Quit
        } else {
            Self::Message(text.replacen('\\', "", 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, LineReader, Typed};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn text(text: &str) -> Line {
        Line::Text(text.to_owned())
    }

    /// All lines of `bytes`, delivered `size` at a time.
    fn lines(bytes: &[u8], limit: usize, size: usize) -> Vec<Line> {
        let mut reader = LineReader::new(limit);
        let mut lines = Vec::new();
        for chunk in bytes.chunks(size) {
            reader.feed(chunk);
            lines.extend(std::iter::from_fn(|| reader.next_line()));
        }
        lines.extend(std::iter::from_fn(|| reader.finish()));
        lines
    }

    #[track_caller]
    fn gives(bytes: &[u8], expected: &[Line]) {
        for size in [1, 2, 3, 1000] {
            assert_eq!(lines(bytes, 8, size), expected, "{size} at a time");
        }
    }

    #[test]
    fn a_line_ends_at_lf() {
        gives(b"one\n\ntwo\n", &[text("one"), text(""), text("two")]);
        gives(b"", &[]);
        gives("日本\né\n".as_bytes(), &[text("日本"), text("é")]);
    }

    #[test]
    fn no_line_comes_before_its_end() {
        let mut reader = LineReader::new(8);
        reader.feed(b"hal");
        assert!(!reader.has_line());
        assert_eq!(reader.next_line(), None);
        reader.feed(b"f\n");
        assert!(reader.has_line());
        assert_eq!(reader.next_line(), Some(text("half")));
        assert!(!reader.has_line());
    }

    #[test]
    fn exactly_one_trailing_cr_is_removed() {
        gives(
            b"a\r\nb\r\r\n\r\nc\rd\n",
            &[text("a"), text("b\r"), text(""), text("c\rd")],
        );
        gives(b"a\r", &[text("a")]);
    }

    #[test]
    fn a_last_line_without_lf_counts() {
        gives(b"one\ntwo", &[text("one"), text("two")]);
        let mut reader = LineReader::new(8);
        reader.feed(b"one\ntwo");
        assert_eq!(reader.finish(), Some(text("one")));
        assert_eq!(reader.finish(), Some(text("two")));
        assert_eq!(reader.finish(), None);
    }

    #[test]
    fn the_limit_counts_the_line_without_its_end() {
        gives(b"12345678\n", &[text("12345678")]);
        gives(b"12345678\r\n", &[text("12345678")]);
        gives(b"12345678", &[text("12345678")]);
        gives(b"12345678\rx\n", &[Line::TooLong(8)]);
        gives(b"12345678\r\r\n", &[Line::TooLong(8)]);
    }

    #[test]
    fn a_line_too_long_is_reported_once_and_the_next_is_whole() {
        gives(b"123456789\nok\n", &[Line::TooLong(8), text("ok")]);
        gives(
            &[b"x".repeat(1000).as_slice(), b"\nok"].concat(),
            &[Line::TooLong(8), text("ok")],
        );
        gives(b"123456789", &[Line::TooLong(8)]);
    }

    #[test]
    fn a_line_too_long_is_reported_before_its_end_and_takes_no_room() {
        let mut reader = LineReader::new(8);
        for _ in 0..1000 {
            reader.feed(b"123456");
            assert!(reader.unfinished.capacity() <= 16);
        }
        assert_eq!(reader.next_line(), Some(Line::TooLong(8)));
        assert_eq!(reader.next_line(), None);
        reader.feed(b"\nok\n");
        assert_eq!(reader.next_line(), Some(text("ok")));
    }

    #[test]
    fn a_line_that_is_not_utf8_is_reported_and_the_next_is_whole() {
        gives(b"a\xffb\nok\n", &[Line::NotUtf8(3), text("ok")]);
        gives(b"\xe6\x97", &[Line::NotUtf8(2)]);
    }

    #[test]
    fn a_line_that_ends_at_nul_is_left_as_it_is() {
        for size in [1, 2, 100] {
            let mut reader = LineReader::nul_ended(8);
            let mut lines = Vec::new();
            for chunk in b"one\ntwo\0\r\0too long!\0\n\0last\r".chunks(size) {
                reader.feed(chunk);
                lines.extend(std::iter::from_fn(|| reader.next_line()));
            }
            lines.extend(std::iter::from_fn(|| reader.finish()));
            let whole = [
                text("one\ntwo"),
                text("\r"),
                Line::TooLong(8),
                text("\n"),
                text("last\r"),
            ];
            assert_eq!(lines, whole, "{size} at a time");
        }
        let mut reader = LineReader::nul_ended(8);
        reader.clear();
        reader.feed(b"a\nb\0");
        assert_eq!(reader.next_line(), Some(text("a\nb")));
    }

    #[test]
    fn a_cleared_reader_has_forgotten_everything() {
        let mut reader = LineReader::new(8);
        reader.feed(b"one\nhal");
        reader.clear();
        reader.feed(b"two\n");
        assert_eq!(reader.next_line(), Some(text("two")));
        reader.feed(b"much too long");
        reader.clear();
        reader.feed(b"ok\n");
        assert_eq!(reader.next_line(), Some(text("ok")));
        assert_eq!(reader.finish(), None);
    }

    #[test]
    fn quit_alone_ends_the_conversation() {
        for line in ["QUIT", " QUIT", "QUIT\t", " \t QUIT  "] {
            assert_eq!(Typed::parse(line), Typed::Quit, "{line:?}");
        }
    }

    #[test]
    fn quit_with_a_backslash_is_the_word() {
        for (line, said) in [
            ("\\QUIT", "QUIT"),
            ("\\\\QUIT", "\\QUIT"),
            ("\\\\\\QUIT", "\\\\QUIT"),
            (" \\QUIT\t", " QUIT\t"),
        ] {
            assert_eq!(Typed::parse(line), Typed::Message(said.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_said_as_it_is() {
        for line in [
            "",
            " ",
            "quit",
            "QUIT.",
            "QUIT QUIT",
            "I QUIT",
            "\\",
            "\\ QUIT",
            "\\quit",
            "/QUIT",
            "\u{a0}QUIT",
            "QUIT\r",
        ] {
            assert_eq!(Typed::parse(line), Typed::Message(line.to_owned()));
        }
    }

    #[test]
    fn a_pasted_block_is_a_message() {
        for block in [
            "QUIT\n",
            "a\nQUIT\nb",
            "\nQUIT",
            "QUIT\nQUIT",
            "\\QUIT\n",
            "a\n\\QUIT",
        ] {
            assert_eq!(Typed::parse(block), Typed::Message(block.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn how_bytes_are_delivered_does_not_matter(
            bytes in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::sample::select(b"\n\r\xe9a".to_vec()),
                    any::<u8>(),
                ],
                0..80,
            ),
            size in 1usize..20,
        ) {
            let whole = lines(&bytes, 8, 1000);
            prop_assert_eq!(&lines(&bytes, 8, size), &whole);
            prop_assert!(whole.iter().all(|line| !matches!(line, Line::Text(t) if t.len() > 8)));
        }

        /// Every text of one line can be said: there is something to type for it.
        #[test]
        fn every_text_can_be_said(word in "[ \t]{0,2}\\\\{0,3}(QUIT|quit|a)?[ \t]{0,2}") {
            let typed = match Typed::parse(&word) {
                Typed::Message(said) if said == word => word.clone(),
                _ => word.replacen("QUIT", "\\QUIT", 1),
            };
            prop_assert_eq!(Typed::parse(&typed), Typed::Message(word));
        }
    }
}
