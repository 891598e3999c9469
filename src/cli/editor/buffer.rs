//! [`Buffer`]: the text that a person writes, the cursor in it, and the messages that can be
//! had again. Pure.

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation as _};

/// How many messages can be had again.
const HISTORY: usize = 200;

/// What is being written.
#[derive(Debug)]
pub struct Buffer {
    text: String,
    /// In bytes; always between two graphemes.
    cursor: usize,
    /// The most bytes.
    limit: usize,
    /// What was deleted last by more than one grapheme.
    deleted: String,
    history: Vec<String>,
    /// Which of them stands here, and what was written before.
    recalled: Option<(usize, String)>,
}

impl Buffer {
    /// For texts of at most so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            text: String::new(),
            cursor: 0,
            limit,
            deleted: String::new(),
            history: Vec::new(),
            recalled: None,
        }
    }

    /// What is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the cursor is, in bytes.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes what is written out.
    pub fn take(&mut self) -> String {
        self.recalled = None;
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Remembers a message that was said, to be had again.
    pub fn remember(&mut self, message: &str) {
        if self.history.last().is_none_or(|last| last != message) {
            self.history.push(message.to_owned());
        }
        let excess = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..excess);
    }

    /// Writes at the cursor. `false` if that were too much: then nothing is written.
    pub fn insert(&mut self, text: &str) -> bool {
        if self.text.len() + text.len() > self.limit {
            return false;
        }
        self.text.insert_str(self.cursor, text);
        self.cursor += text.len();
        // It may have joined what stands behind it.
        if !self.is_boundary(self.cursor) {
            self.cursor = self.next(self.cursor);
        }
        true
    }

    /// One grapheme to the left.
    pub fn left(&mut self) {
        self.cursor = self.previous(self.cursor);
    }

    /// One grapheme to the right.
    pub fn right(&mut self) {
        self.cursor = self.next(self.cursor);
    }

    /// To the start of the word before the cursor.
    pub fn word_left(&mut self) {
        self.cursor = self.word_start();
    }

    /// Behind the word at the cursor, or the next one.
    pub fn word_right(&mut self) {
        let behind = self.behind();
        let end = behind
            .unicode_word_indices()
            .next()
            .map(|(at, word)| at + word.len());
        self.cursor += end.unwrap_or(behind.len());
    }

    /// To the line's start.
    pub fn home(&mut self) {
        self.cursor = self.line_start();
    }

    /// To the line's end.
    pub fn end(&mut self) {
        self.cursor = self.line_end();
    }

    /// A line up, or in the first one to the message before.
    pub fn up(&mut self) {
        match self.line_start() {
            0 => self.recall_older(),
            start => {
                let column = self.column();
                self.cursor = start - 1;
                self.cursor = self.at_column(self.line_start(), column);
            }
        }
    }

    /// A line down, or in the last one to the message after.
    pub fn down(&mut self) {
        match self.line_end() {
            end if end == self.text.len() => self.recall_newer(),
            end => self.cursor = self.at_column(end + 1, self.column()),
        }
    }

    /// Deletes the grapheme before the cursor.
    pub fn backspace(&mut self) {
        let start = self.previous(self.cursor);
        self.remove(start, self.cursor);
    }

    /// Deletes the grapheme behind the cursor.
    pub fn delete(&mut self) {
        let end = self.next(self.cursor);
        self.remove(self.cursor, end);
    }

    /// Deletes the word before the cursor.
    pub fn delete_word(&mut self) {
        let start = self.word_start();
        self.deleted = self.remove(start, self.cursor);
    }

    /// Deletes the line before the cursor.
    pub fn delete_to_start(&mut self) {
        let start = self.line_start();
        self.deleted = self.remove(start, self.cursor);
    }

    /// Deletes the line behind the cursor.
    pub fn delete_to_end(&mut self) {
        let end = self.line_end();
        self.deleted = self.remove(self.cursor, end);
    }

    /// Writes what was deleted last.
    pub fn put_back(&mut self) -> bool {
        let deleted = self.deleted.clone();
        self.insert(&deleted)
    }

    fn recall_older(&mut self) {
        let at = self.recalled.as_ref().map_or(self.history.len(), |it| it.0);
        let Some(older) = at.checked_sub(1) else {
            return;
        };
        let draft = match self.recalled.take() {
            Some((_, draft)) => draft,
            None => std::mem::take(&mut self.text),
        };
        self.text = self.history.get(older).cloned().unwrap_or_default();
        self.recalled = Some((older, draft));
        self.cursor = self.text.len();
    }

    fn recall_newer(&mut self) {
        let Some((at, draft)) = self.recalled.take() else {
            return;
        };
        match self.history.get(at + 1) {
            Some(newer) => {
                self.text.clone_from(newer);
                self.recalled = Some((at + 1, draft));
            }
            None => self.text = draft,
        }
        self.cursor = self.text.len();
    }

    fn remove(&mut self, start: usize, end: usize) -> String {
        let removed = self.text.drain(start..end).collect();
        self.cursor = start;
        // What is left may have joined.
        if !self.is_boundary(start) {
            self.cursor = self.previous(start);
        }
        removed
    }

    fn before(&self) -> &str {
        self.text.get(..self.cursor).unwrap_or_default()
    }

    fn behind(&self) -> &str {
        self.text.get(self.cursor..).unwrap_or_default()
    }

    fn word_start(&self) -> usize {
        let mut words = self.before().unicode_word_indices();
        words.next_back().map_or(0, |(at, _)| at)
    }

    fn line_start(&self) -> usize {
        self.before().rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        let end = self.behind().find('\n');
        end.map_or(self.text.len(), |at| self.cursor + at)
    }

    /// How many graphemes stand before the cursor in its line.
    fn column(&self) -> usize {
        let line = self.before().get(self.line_start()..).unwrap_or_default();
        line.graphemes(true).count()
    }

    /// Behind so many graphemes of the line that begins here, or at its end.
    fn at_column(&self, start: usize, column: usize) -> usize {
        let line = self.text.get(start..).unwrap_or_default();
        let line = line.split('\n').next().unwrap_or_default();
        let before: usize = line.graphemes(true).take(column).map(str::len).sum();
        start + before
    }

    fn is_boundary(&self, at: usize) -> bool {
        let mut graphemes = GraphemeCursor::new(at, self.text.len(), true);
        graphemes.is_boundary(&self.text, 0).unwrap_or(true)
    }

    fn previous(&self, at: usize) -> usize {
        let mut graphemes = GraphemeCursor::new(at, self.text.len(), true);
        graphemes
            .prev_boundary(&self.text, 0)
            .ok()
            .flatten()
            .unwrap_or(0)
    }

    fn next(&self, at: usize) -> usize {
        let mut graphemes = GraphemeCursor::new(at, self.text.len(), true);
        let next = graphemes.next_boundary(&self.text, 0).ok().flatten();
        next.unwrap_or(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;
    use proptest::prelude::{Just, Strategy, prop_assert, prop_oneof, proptest};

    const LIMIT: usize = 60;

    /// A buffer with the cursor at the bar.
    fn at(text: &str) -> Buffer {
        let mut buffer = Buffer::new(LIMIT);
        let (before, behind) = text.split_once('|').unwrap();
        assert!(buffer.insert(&format!("{before}{behind}")));
        buffer.cursor = before.len();
        buffer
    }

    fn shown(buffer: &Buffer) -> String {
        format!("{}|{}", buffer.before(), buffer.behind())
    }

    type Act = fn(&mut Buffer);

    #[test]
    fn keys_move_and_delete() {
        for (before, act, after) in [
            ("ab|c", Buffer::left as Act, "a|bc"),
            ("|abc", Buffer::left, "|abc"),
            ("ab|c", Buffer::right, "abc|"),
            ("👩\u{200d}👧|", Buffer::left, "|👩\u{200d}👧"),
            ("e\u{301}|x", Buffer::backspace, "|x"),
            ("a|👍🏽b", Buffer::delete, "a|b"),
            ("one two|", Buffer::word_left, "one |two"),
            ("one |two", Buffer::word_left, "|one two"),
            ("|one two", Buffer::word_right, "one| two"),
            ("one| two", Buffer::word_right, "one two|"),
            ("one two |", Buffer::delete_word, "one |"),
            ("a\nbc|d", Buffer::home, "a\n|bcd"),
            ("a\nb|cd\ne", Buffer::end, "a\nbcd|\ne"),
            ("a\nbc|d\ne", Buffer::delete_to_start, "a\n|d\ne"),
            ("a\nb|cd\ne", Buffer::delete_to_end, "a\nb|\ne"),
            ("abc\nd|e", Buffer::up, "a|bc\nde"),
            ("abc|\nd", Buffer::down, "abc\nd|"),
            ("日本|\nabc", Buffer::down, "日本\nab|c"),
        ] {
            let mut buffer = at(before);
            act(&mut buffer);
            assert_eq!(shown(&buffer), after, "{before}");
        }
    }

    #[test]
    fn what_was_deleted_can_be_put_back() {
        let mut buffer = at("one two|");
        buffer.delete_word();
        buffer.home();
        assert!(buffer.put_back());
        assert_eq!(shown(&buffer), "two|one ");
    }

    #[test]
    fn what_was_said_can_be_had_again_and_the_draft_too() {
        let mut buffer = Buffer::new(LIMIT);
        for message in ["one", "two", "two"] {
            buffer.remember(message);
        }
        assert!(buffer.insert("draft"));
        let mut texts = Vec::new();
        for act in [
            Buffer::up,
            Buffer::up,
            Buffer::up,
            Buffer::down,
            Buffer::down,
        ] as [Act; 5]
        {
            act(&mut buffer);
            texts.push(buffer.text().to_owned());
        }
        assert_eq!(texts, ["two", "one", "one", "two", "draft"]);
        assert_eq!(buffer.take(), "draft");
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_too_much_is_not_written_in_part() {
        let mut buffer = at("x|");
        assert!(!buffer.insert(&"y".repeat(LIMIT)));
        assert_eq!(shown(&buffer), "x|");
        assert!(buffer.insert(&"y".repeat(LIMIT - 1)));
    }

    proptest! {
        #[test]
        fn nothing_breaks_a_grapheme_or_the_limit(acts in proptest::collection::vec(
            prop_oneof![
                "[ab \n日\u{301}\u{200d}👩🇩]{1,4}".prop_map(Ok),
                prop_oneof![
                    Just(Buffer::left as Act), Just(Buffer::right as Act),
                    Just(Buffer::word_left as Act), Just(Buffer::word_right as Act),
                    Just(Buffer::up as Act), Just(Buffer::down as Act),
                    Just(Buffer::home as Act), Just(Buffer::end as Act),
                    Just(Buffer::backspace as Act), Just(Buffer::delete as Act),
                    Just(Buffer::delete_word as Act), Just(Buffer::delete_to_start as Act),
                    Just(Buffer::delete_to_end as Act),
                ].prop_map(Err),
            ],
            0..40,
        )) {
            let mut buffer = Buffer::new(LIMIT);
            buffer.remember("a\nb");
            for act in acts {
                match act {
                    Ok(text) => _ = buffer.insert(&text),
                    Err(act) => act(&mut buffer),
                }
                prop_assert!(buffer.text.len() <= LIMIT);
                prop_assert!(buffer.is_boundary(buffer.cursor), "{}", shown(&buffer));
            }
        }
    }
}
