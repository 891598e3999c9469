//! [`Desk`]: what a person writes, for what, and what Enter means just now. Pure.
//!
//! Enter counts only where what it sends stands on the screen: the prompt of this turn, and the
//! text up to its end. A text that is written out of turn stays a draft, over messages, cuts
//! and notices, until it is sent on sight or its conversation ends.

use super::buffer::Buffer;
use super::keys::Key;

/// What may follow behind what stands before the cursor, if that is clear.
pub type Complete = fn(&str) -> Option<String>;

/// What a person is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing: no conversation is on. What is typed goes nowhere.
    Closed,
    /// Nothing: it is the peer's turn, and this is how things stand. What is typed is a draft.
    Listening(String),
    /// A message, in this turn.
    Speaking(u64),
    /// An answer to this question.
    Asking(String),
}

/// What a key has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// This is to be said, in this turn.
    Entered {
        /// Which turn.
        turn: u64,
        /// What.
        text: String,
    },
    /// This is the answer to this question.
    Answered {
        /// What was asked.
        question: String,
        /// What was typed.
        answer: String,
    },
    /// There will be no more input.
    End,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Paint everything anew.
    Redraw,
    /// It cannot be done.
    Refused,
    /// A pasted text finds no room.
    TooLong,
    /// What was typed finds no room, or Enter was pressed behind that: nothing more is taken, and
    /// nothing sent, before something is deleted.
    Overfull,
}

/// What is written, and for what.
#[derive(Debug)]
pub struct Desk {
    mode: Mode,
    draft: Buffer,
    answer: Buffer,
    /// How Tab completes the answer.
    completes: Option<Complete>,
    /// Something that was typed into the draft found no room, and nothing was deleted since.
    is_overfull: bool,
    /// The prompt stands on the screen.
    is_asked: bool,
    /// How often something has changed, and how often it had when it was painted last.
    changes: u64,
    painted: u64,
}

/// What is to stand at the bottom of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The prompt for a message.
    Message,
    /// What is written out of turn.
    Draft,
    /// Nothing is written out of turn: how things stand.
    State(&'a str),
    /// A question.
    Question(&'a str),
}

impl Desk {
    /// Messages have so many bytes at most, and so have answers.
    pub fn new(limit: usize) -> Self {
        Self {
            mode: Mode::Closed,
            draft: Buffer::new(limit),
            answer: Buffer::new(limit),
            completes: None,
            is_overfull: false,
            is_asked: false,
            changes: 0,
            painted: 0,
        }
    }

    /// It is the peer's turn, and this is how things stand.
    pub fn listen(&mut self, state: &str) {
        self.turn_to(Mode::Listening(state.to_owned()));
    }

    /// It is the person's turn, of this number.
    pub fn speak(&mut self, turn: u64) {
        self.turn_to(Mode::Speaking(turn));
    }

    /// A question is put. What was typed before it is no answer.
    pub fn ask(&mut self, question: &str, completes: Option<Complete>) {
        self.answer.take();
        self.completes = completes;
        self.turn_to(Mode::Asking(question.to_owned()));
    }

    /// The conversation is over, or the question is answered. What is left unsent; `None`:
    /// nothing.
    pub fn close(&mut self) -> Option<String> {
        self.answer.take();
        self.is_overfull = false;
        self.turn_to(Mode::Closed);
        Some(self.draft.take()).filter(|draft| !draft.trim().is_empty())
    }

    /// What is to stand at the bottom, the text, and where the cursor is in it.
    pub fn line(&self) -> Option<(Line<'_>, &str, usize)> {
        let shown = match &self.mode {
            Mode::Closed => return None,
            Mode::Listening(state) if self.draft.is_empty() && state.is_empty() => return None,
            Mode::Listening(state) if self.draft.is_empty() => Line::State(state),
            Mode::Listening(_) => Line::Draft,
            Mode::Speaking(_) => Line::Message,
            Mode::Asking(question) => Line::Question(question),
        };
        let buffer = self.buffer();
        Some((shown, buffer.text(), buffer.cursor()))
    }

    /// Whether what stands on the screen is not what it ought to be.
    pub fn is_stale(&self) -> bool {
        self.painted != self.changes
    }

    /// How often something has changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What there was after so many changes stands on the screen now.
    pub fn painted(&mut self, changes: u64) {
        self.painted = changes;
        self.is_asked |= !self.is_stale();
    }

    /// Whether a key has to wait until everything before it is painted.
    pub fn is_early(&self, key: &Key) -> bool {
        matches!(key, Key::Enter { .. }) && self.is_asked && self.is_stale()
    }

    /// A key was pressed.
    pub fn press(&mut self, key: Key) -> Option<Act> {
        match key {
            Key::Interrupt => return Some(Act::Interrupt),
            Key::Suspend => return Some(Act::Suspend),
            Key::Redraw => return Some(Act::Redraw),
            Key::Enter { has_more } => return self.enter(has_more),
            _ if self.mode == Mode::Closed => return None,
            Key::EndOfInput if self.buffer().is_empty() => {
                let counts = !matches!(self.mode, Mode::Listening(_)) && self.is_asked;
                return counts.then_some(Act::End);
            }
            _ => {}
        }
        self.changes += 1;
        let is_answer = matches!(self.mode, Mode::Asking(_));
        let buffer = match is_answer {
            true => &mut self.answer,
            false => &mut self.draft,
        };
        let refused = match key {
            Key::Paste(_) => Act::TooLong,
            _ => Act::Refused,
        };
        // What comes behind a gap would close it without a trace.
        let is_overfull = self.is_overfull && !is_answer;
        let is_typed = matches!(key, Key::Text(_) | Key::Tab | Key::LineFeed);
        let deletes = matches!(
            key,
            Key::Backspace | Key::Delete | Key::DeleteWord | Key::DeleteToStart | Key::DeleteToEnd
        );
        let is_done = match key {
            Key::Text(_) | Key::Tab | Key::LineFeed | Key::Paste(_) if is_overfull => false,
            Key::Tab if is_answer => {
                let before = buffer.text().get(..buffer.cursor()).unwrap_or_default();
                let more = self.completes.and_then(|complete| complete(before));
                more.is_some_and(|more| buffer.insert(&more))
            }
            Key::Tab => buffer.insert("\t"),
            Key::Paste(text) if is_answer => buffer.insert(&text.replace('\n', " ")),
            Key::Text(text) | Key::Paste(text) => buffer.insert(&text),
            Key::LineFeed => is_answer || buffer.insert("\n"),
            Key::PutBack => buffer.put_back(),
            other => {
                let edit = match other {
                    Key::Left => Buffer::left,
                    Key::Right => Buffer::right,
                    Key::WordLeft => Buffer::word_left,
                    Key::WordRight => Buffer::word_right,
                    Key::Up => Buffer::up,
                    Key::Down => Buffer::down,
                    Key::Home => Buffer::home,
                    Key::End => Buffer::end,
                    Key::Backspace => Buffer::backspace,
                    Key::DeleteWord => Buffer::delete_word,
                    Key::DeleteToStart => Buffer::delete_to_start,
                    Key::DeleteToEnd => Buffer::delete_to_end,
                    _ => Buffer::delete,
                };
                edit(buffer);
                true
            }
        };
        if !is_answer {
            self.is_overfull |= is_typed && !is_done;
            self.is_overfull &= !deletes;
        }
        match self.is_overfull && !is_overfull {
            true => Some(Act::Overfull),
            false => (!is_done).then_some(refused),
        }
    }

    fn enter(&mut self, has_more: bool) -> Option<Act> {
        match &self.mode {
            // A pasted line's end; Enter alone does nothing out of turn.
            Mode::Listening(_) if has_more && !self.draft.is_empty() => {
                self.changes += 1;
                if self.is_overfull || self.draft.insert("\n") {
                    return self.is_overfull.then_some(Act::Refused);
                }
                self.is_overfull = true;
                Some(Act::Overfull)
            }
            Mode::Speaking(_) if self.is_overfull => Some(Act::Overfull),
            Mode::Speaking(turn) if self.is_asked && !self.draft.text().trim().is_empty() => {
                let (turn, text) = (*turn, self.draft.take());
                self.draft.remember(&text);
                self.listen("");
                Some(Act::Entered { turn, text })
            }
            Mode::Asking(question) if self.is_asked => {
                let (question, answer) = (question.clone(), self.answer.take());
                self.turn_to(Mode::Closed);
                Some(Act::Answered { question, answer })
            }
            _ => None,
        }
    }

    fn turn_to(&mut self, mode: Mode) {
        if self.mode != mode {
            self.mode = mode;
            self.is_asked = false;
            self.changes += 1;
        }
    }

    fn buffer(&self) -> &Buffer {
        match self.mode {
            Mode::Asking(_) => &self.answer,
            _ => &self.draft,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Act, Desk, Line};
    use crate::cli::editor::keys::{Key, Keys};

    fn typed(desk: &mut Desk, keys: &str) -> Vec<Act> {
        let keys = Keys::default().feed(keys.as_bytes());
        keys.into_iter().filter_map(|key| desk.press(key)).collect()
    }

    /// The same, at the pace of a person: each key is seen before the next.
    fn seen(desk: &mut Desk, keys: &str) -> Vec<Act> {
        let keys = Keys::default().feed(keys.as_bytes());
        let mut acts = Vec::new();
        for key in keys {
            desk.painted(desk.changes());
            acts.extend(desk.press(key));
        }
        acts
    }

    fn entered(turn: u64, text: &str) -> Act {
        let text = text.to_owned();
        Act::Entered { turn, text }
    }

    const ENTER: Key = Key::Enter { has_more: false };

    #[test]
    fn what_stands_at_its_prompt_is_sent_by_enter() {
        let mut desk = Desk::new(100);
        desk.speak(1);
        assert_eq!(seen(&mut desk, "Hello\r"), [entered(1, "Hello")]);
        assert_eq!(desk.line(), None);
    }

    #[test]
    fn enter_counts_only_where_the_prompt_and_the_text_stand_on_the_screen() {
        let mut desk = Desk::new(100);
        desk.listen("");
        assert!(seen(&mut desk, "too early\r").is_empty());
        desk.speak(2);
        // Its prompt is not painted yet.
        assert_eq!(desk.press(ENTER), None);
        desk.painted(desk.changes());
        assert!(!desk.is_early(&ENTER));
        assert!(typed(&mut desk, ", but").is_empty());
        assert!(desk.is_early(&ENTER));
        desk.painted(desk.changes());
        assert_eq!(desk.press(ENTER), Some(entered(2, "too early, but")));
        assert_eq!(desk.press(ENTER), None);
    }

    #[test]
    fn a_draft_outlives_turns_and_questions() {
        let mut desk = Desk::new(100);
        desk.speak(1);
        seen(&mut desk, "half a ");
        desk.listen("");
        seen(&mut desk, "line");
        assert_eq!(desk.line(), Some((Line::Draft, "half a line", 11)));
        desk.speak(3);
        assert_eq!(desk.line(), Some((Line::Message, "half a line", 11)));
        assert_eq!(desk.close(), Some("half a line".to_owned()));
        assert_eq!(desk.close(), None);
    }

    #[test]
    fn how_things_stand_is_shown_where_nothing_is_written() {
        let mut desk = Desk::new(100);
        desk.listen("Waiting for bob.");
        assert_eq!(desk.line(), Some((Line::State("Waiting for bob."), "", 0)));
        seen(&mut desk, "x");
        assert_eq!(desk.line(), Some((Line::Draft, "x", 1)));
    }

    #[test]
    fn nothing_empty_is_sent() {
        let mut desk = Desk::new(100);
        desk.speak(1);
        assert!(seen(&mut desk, "\r  \r\t\r").is_empty());
        assert_eq!(desk.close(), None);
    }

    #[test]
    fn pasted_lines_are_one_draft_and_are_not_sent() {
        let mut desk = Desk::new(100);
        desk.listen("");
        assert!(seen(&mut desk, "one\rtwo\r").is_empty());
        assert_eq!(desk.line(), Some((Line::Draft, "one\ntwo", 7)));
        desk.close();
        desk.speak(1);
        assert!(seen(&mut desk, "\x1b[200~a\rb\r\x1b[201~").is_empty());
        assert_eq!(seen(&mut desk, "\r"), [entered(1, "a\nb\n")]);
    }

    #[test]
    fn what_was_typed_before_a_question_is_no_answer() {
        let mut desk = Desk::new(100);
        assert!(seen(&mut desk, "accept\r").is_empty());
        desk.ask("Who? ", None);
        assert_eq!(desk.line(), Some((Line::Question("Who? "), "", 0)));
        assert!(desk.press(ENTER).is_none());
        let (question, answer) = ("Who? ".to_owned(), "bob".to_owned());
        assert_eq!(
            seen(&mut desk, "bob\r"),
            [Act::Answered { question, answer }]
        );
        assert_eq!(desk.line(), None);
    }

    #[test]
    fn the_end_of_input_counts_where_nothing_is_written() {
        let mut desk = Desk::new(100);
        assert!(seen(&mut desk, "\x04").is_empty());
        desk.listen("");
        assert!(seen(&mut desk, "\x04").is_empty());
        desk.speak(1);
        assert!(seen(&mut desk, "ab\x1b[D\x04").is_empty());
        assert_eq!(desk.line(), Some((Line::Message, "a", 1)));
        assert_eq!(seen(&mut desk, "\x7f\x04"), [Act::End]);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let mut desk = Desk::new(4);
        desk.speak(1);
        assert_eq!(seen(&mut desk, "hello"), [Act::Overfull]);
        assert_eq!(
            seen(&mut desk, "\x7fhe\x1b[200~llo\x1b[201~ll\r"),
            [Act::TooLong, entered(1, "hell")]
        );
    }

    #[test]
    fn tab_completes_an_answer_and_is_a_tab_in_a_message() {
        let mut desk = Desk::new(100);
        let complete = |before: &str| (before == "ac").then(|| "orn".to_owned());
        desk.ask("Which? ", Some(complete));
        assert_eq!(seen(&mut desk, "ac\t\tx"), [Act::Refused]);
        assert_eq!(desk.line().unwrap().1, "acornx");
        desk.ask("Who? ", None);
        assert_eq!(seen(&mut desk, "ac\t"), [Act::Refused]);
        desk.speak(1);
        assert_eq!(seen(&mut desk, "ac\t"), []);
        assert_eq!(desk.line().unwrap().1, "ac\t");
    }

    #[test]
    fn what_found_no_room_is_not_sent_without_its_end() {
        let mut desk = Desk::new(5);
        desk.speak(1);
        // Nothing may close the gap either.
        assert_eq!(seen(&mut desk, "abcd"), []);
        assert_eq!(seen(&mut desk, "\u{20ac}"), [Act::Overfull]);
        assert_eq!(seen(&mut desk, "e"), [Act::Refused]);
        assert_eq!(seen(&mut desk, "\r"), [Act::Overfull]);
        assert_eq!(desk.line().unwrap().1, "abcd");
        assert_eq!(seen(&mut desk, "\x7f\r"), [entered(1, "abc")]);

        // Nor what overflowed out of turn.
        let mut desk = Desk::new(5);
        desk.listen("");
        assert_eq!(seen(&mut desk, "abcde"), []);
        assert_eq!(seen(&mut desk, "f"), [Act::Overfull]);
        desk.speak(3);
        assert_eq!(seen(&mut desk, "\r"), [Act::Overfull]);
        // The next conversation begins without it.
        desk.close();
        desk.speak(1);
        assert_eq!(seen(&mut desk, "x\r"), [entered(1, "x")]);
    }
}
