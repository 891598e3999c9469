//! [`Buffer`]: the text that a person writes, the cursor in it, and the messages that can be
//! had again. Pure.

use std::collections::BTreeMap;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation as _};

/// How many messages can be had again.
const HISTORY: usize = 200;

/// How far a key reaches from the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Over one grapheme to the left.
    Left,
    /// Over one to the right.
    Right,
    /// To the start of the word before the cursor.
    WordLeft,
    /// Behind the word at the cursor, or the next one.
    WordRight,
    /// To the line's start.
    Start,
    /// To the line's end.
    End,
}

/// What is being written.
#[derive(Debug, Default)]
pub struct Buffer {
    text: String,
    /// In bytes; always between two graphemes.
    cursor: usize,
    /// The most bytes.
    limit: usize,
    /// Something that was typed found no room, and nothing was deleted since.
    is_overfull: bool,
    /// What was deleted last by more than one grapheme.
    deleted: String,
    history: Vec<String>,
    /// Which of them stands here; behind the last: the draft.
    recalled: usize,
    /// What was made of the others, and of the draft, while they stood here.
    left: BTreeMap<usize, String>,
}

impl Buffer {
    /// For texts of at most so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
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

    /// Whether something that was typed found no room. What comes behind such a gap would close it
    /// without a trace: nothing does before something is deleted.
    pub fn is_overfull(&self) -> bool {
        self.is_overfull
    }

    /// Takes what is written out. A draft that was left for an earlier message is back then.
    pub fn take(&mut self) -> String {
        let draft = self.left.remove(&self.history.len());
        let text = std::mem::replace(&mut self.text, draft.unwrap_or_default());
        self.left.clear();
        self.is_overfull = false;
        self.recalled = self.history.len();
        self.cursor = self.text.len();
        text
    }

    /// Takes out all that was written and not taken: the draft, and what was made of earlier
    /// messages.
    pub fn take_all(&mut self) -> Vec<String> {
        let mut written = std::mem::take(&mut self.left);
        written.insert(self.recalled, self.take());
        let is_new = |(at, text): &(usize, String)| self.history.get(*at) != Some(text);
        written.into_iter().filter(is_new).map(|it| it.1).collect()
    }

    /// Remembers a message that was said, to be had again.
    pub fn remember(&mut self, message: &str) {
        if self.history.last().is_none_or(|last| last != message) {
            self.history.push(message.to_owned());
        }
        let excess = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..excess);
        self.recalled = self.history.len();
    }

    /// Writes at the cursor. `false` if that were too much: then nothing is written.
    pub fn insert(&mut self, text: &str) -> bool {
        let has_room = !self.is_overfull && self.text.len() + text.len() <= self.limit;
        if has_room {
            self.text.insert_str(self.cursor, text);
            self.put_cursor(self.cursor + text.len());
        }
        has_room
    }

    /// The same, as it is typed: where it finds no room, what follows finds none either.
    pub fn type_in(&mut self, text: &str) -> bool {
        self.is_overfull = !self.insert(text);
        !self.is_overfull
    }

    /// Moves the cursor.
    pub fn go(&mut self, to: To) {
        self.put_cursor(self.reach(to));
    }

    /// Deletes what is between here and there.
    pub fn delete(&mut self, to: To) {
        self.is_overfull = false;
        let there = self.reach(to);
        let start = there.min(self.cursor);
        let deleted = self.text.drain(start..there.max(self.cursor)).collect();
        if !matches!(to, To::Left | To::Right) {
            self.deleted = deleted;
        }
        self.put_cursor(start);
    }

    /// Writes what was deleted last.
    pub fn put_back(&mut self) -> bool {
        let deleted = self.deleted.clone();
        self.insert(&deleted)
    }

    /// A line up, or in the first one to the message before.
    pub fn up(&mut self) {
        match (self.reach(To::Start), self.recalled.checked_sub(1)) {
            (0, None) => {}
            (0, Some(older)) => self.recall(older),
            (start, _) => {
                let above = self.text.get(..start - 1).unwrap_or_default();
                self.go_to_line(line_start(above));
            }
        }
    }

    /// A line down, or in the last one to the message after.
    pub fn down(&mut self) {
        match self.reach(To::End) {
            end if end == self.text.len() => self.recall(self.recalled + 1),
            end => self.go_to_line(end + 1),
        }
    }

    /// To as many graphemes as stand before the cursor now, or to that line's end.
    fn go_to_line(&mut self, start: usize) {
        let before = self.text.get(self.reach(To::Start)..self.cursor);
        let column = before.unwrap_or_default().graphemes(true).count();
        let line = self.text.get(start..).unwrap_or_default().graphemes(true);
        let line = line.take_while(|next| *next != "\n").take(column);
        self.cursor = start + line.map(str::len).sum::<usize>();
    }

    fn recall(&mut self, at: usize) {
        let said = || self.history.get(at).cloned();
        if let Some(text) = self.left.remove(&at).or_else(said) {
            self.cursor = text.len();
            let left = std::mem::replace(&mut self.text, text);
            self.left.insert(self.recalled, left);
            self.recalled = at;
        }
    }

    fn reach(&self, to: To) -> usize {
        let (before, behind) = self.text.split_at(self.cursor);
        let start = |part: Option<(usize, &str)>| part.map_or(0, |(at, _)| at);
        let end =
            |part: Option<(usize, &str)>| part.map_or(behind.len(), |(at, part)| at + part.len());
        match to {
            To::Left => start(before.grapheme_indices(true).next_back()),
            To::Right => self.cursor + end(behind.grapheme_indices(true).next()),
            To::WordLeft => start(before.unicode_word_indices().next_back()),
            To::WordRight => self.cursor + end(behind.unicode_word_indices().next()),
            To::Start => line_start(before),
            To::End => self.cursor + behind.find('\n').unwrap_or(behind.len()),
        }
    }

    /// Behind the grapheme, if that is in one: what an edit has brought together may have joined.
    fn put_cursor(&mut self, at: usize) {
        let mut graphemes = GraphemeCursor::new(at, self.text.len(), true);
        self.cursor = match graphemes.is_boundary(&self.text, 0) {
            Ok(false) => graphemes.next_boundary(&self.text, 0).ok().flatten(),
            _ => Some(at),
        }
        .unwrap_or(self.text.len());
    }
}

/// Where the last line of this begins.
fn line_start(text: &str) -> usize {
    text.rfind('\n').map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::{Buffer, GraphemeCursor, To};
    use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use proptest::sample::select;

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
        let (before, behind) = buffer.text.split_at(buffer.cursor);
        format!("{before}|{behind}")
    }

    type Act = fn(&mut Buffer);

    #[test]
    fn keys_move_and_delete() {
        for (before, to, after) in [
            ("ab|c", To::Left, "a|bc"),
            ("|abc", To::Left, "|abc"),
            ("ab|c", To::Right, "abc|"),
            ("👩\u{200d}👧|", To::Left, "|👩\u{200d}👧"),
            ("one two|", To::WordLeft, "one |two"),
            ("one |two", To::WordLeft, "|one two"),
            ("|one two", To::WordRight, "one| two"),
            ("one| two", To::WordRight, "one two|"),
            ("a\nbc|d", To::Start, "a\n|bcd"),
            ("a\nb|cd\ne", To::End, "a\nbcd|\ne"),
        ] {
            let mut buffer = at(before);
            buffer.go(to);
            assert_eq!(shown(&buffer), after, "{before}");
        }
        for (before, to, after) in [
            ("e\u{301}|x", To::Left, "|x"),
            ("a|👍🏽b", To::Right, "a|b"),
            ("one two |", To::WordLeft, "one |"),
            ("a\nbc|d\ne", To::Start, "a\n|d\ne"),
            ("a\nb|cd\ne", To::End, "a\nb|\ne"),
        ] {
            let mut buffer = at(before);
            buffer.delete(to);
            assert_eq!(shown(&buffer), after, "{before}");
        }
        for (before, act, after) in [
            ("abc\nd|e", Buffer::up as Act, "a|bc\nde"),
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
        buffer.delete(To::WordLeft);
        buffer.go(To::Start);
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
            |buffer| assert!(buffer.insert("!")),
            Buffer::up,
            Buffer::up,
            Buffer::down,
            Buffer::down,
            Buffer::down,
        ] as [Act; 7]
        {
            act(&mut buffer);
            texts.push(buffer.text().to_owned());
        }
        let expected = ["two", "two!", "one", "one", "two!", "draft", "draft"];
        assert_eq!(texts, expected);
        assert_eq!(buffer.take_all(), ["two!", "draft"]);
        assert!(buffer.take_all().iter().all(String::is_empty));
    }

    #[test]
    fn a_draft_is_back_once_an_earlier_message_is_sent_again() {
        let mut buffer = Buffer::new(LIMIT);
        buffer.remember("one");
        assert!(buffer.insert("draft"));
        buffer.up();
        assert_eq!(buffer.take(), "one");
        assert_eq!(shown(&buffer), "draft|");
        buffer.up();
        buffer.down();
        assert_eq!(buffer.take(), "draft");
        assert!(buffer.text().is_empty());
    }

    #[test]
    fn what_is_too_much_is_not_written_in_part() {
        let mut buffer = at("x|");
        assert!(!buffer.insert(&"y".repeat(LIMIT)));
        assert_eq!(shown(&buffer), "x|");
        assert!(buffer.insert(&"y".repeat(LIMIT - 1)));
    }

    #[derive(Clone, Debug)]
    enum Does {
        Writes(String),
        Goes(To),
        Deletes(To),
        Up,
        Down,
    }

    fn does() -> impl Strategy<Value = Does> {
        let to = select(vec![
            To::Left,
            To::Right,
            To::WordLeft,
            To::WordRight,
            To::Start,
            To::End,
        ]);
        prop_oneof![
            3 => "[ab \n日\u{301}\u{200d}👩🇩]{1,4}".prop_map(Does::Writes),
            1 => to.clone().prop_map(Does::Goes),
            1 => to.prop_map(Does::Deletes),
            1 => prop_oneof![Just(Does::Up), Just(Does::Down)],
        ]
    }

    proptest! {
        #[test]
        fn nothing_breaks_a_grapheme_or_the_limit(acts in proptest::collection::vec(does(), 0..40)) {
            let mut buffer = Buffer::new(LIMIT);
            buffer.remember("a\nb");
            for act in acts {
                match act {
                    Does::Writes(text) => _ = buffer.insert(&text),
                    Does::Goes(to) => buffer.go(to),
                    Does::Deletes(to) => buffer.delete(to),
                    Does::Up => buffer.up(),
                    Does::Down => buffer.down(),
                }
                prop_assert!(buffer.text.len() <= LIMIT);
                let mut graphemes = GraphemeCursor::new(buffer.cursor, buffer.text.len(), true);
                let is_boundary = graphemes.is_boundary(&buffer.text, 0);
                prop_assert_eq!(is_boundary, Ok(true), "{}", shown(&buffer));
            }
        }
    }
}
