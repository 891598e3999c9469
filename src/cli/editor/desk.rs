//! [`Desk`]: what a person writes, for what, and what Enter means just now. Pure.
//!
//! Enter counts only where what it sends stands on the screen: the prompt of this turn, and the
//! text up to its end. A text that is written out of turn stays a draft, over messages, cuts
//! and notices, until it is sent on sight or its conversation ends.

use anstyle::{AnsiColor, Style};

use super::buffer::{Buffer, To};
use super::keys::Key;
use super::order::{Event, Mode};
use super::rows::View;
use crate::cli::layout::OURS;

/// What a draft out of turn stands behind.
const DRAFT: &str = "Not your turn: ";
const PROMPT: Style = AnsiColor::Cyan.on_default().bold();
const QUIET: Style = Style::new().dimmed();

/// What a key has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The person has done this.
    Tell(Event),
    /// To this question, this is the answer.
    Answered(String, String),
    /// It cannot be done.
    Refused,
}

/// How far the screen is with what is to stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Stale,
    Painted,
    Seen,
}

/// What is written, and for what.
#[derive(Debug)]
pub struct Desk {
    mode: Mode,
    draft: Buffer,
    answer: Buffer,
    shown: Shown,
    /// The prompt stands on the screen.
    is_asked: bool,
}

impl Desk {
    /// Messages have so many bytes at most, and so have answers.
    pub fn new(limit: usize) -> Self {
        Self {
            mode: Mode::Closed,
            draft: Buffer::new(limit),
            answer: Buffer::new(limit),
            shown: Shown::Stale,
            is_asked: false,
        }
    }

    /// Asks for something else. What was typed before a question is no answer.
    pub fn turn_to(&mut self, mode: Mode) {
        self.mode = mode;
        self.answer.take();
        self.is_asked = false;
        self.repaint();
    }

    /// No Enter counts any more. What is half answered is left unsent like a draft.
    pub fn disregard_enter(&mut self) {
        let answer = self.answer.take();
        self.draft.insert(&answer);
        self.turn_to(Mode::Listening(String::new()));
    }

    /// The conversation is over, or the question is withdrawn. What is left unsent; `None`:
    /// nothing.
    pub fn close(&mut self) -> Option<String> {
        self.turn_to(Mode::Closed);
        let mut left = self.draft.take_all();
        left.retain(|draft| !draft.trim().is_empty());
        (!left.is_empty()).then(|| left.join("\n"))
    }

    /// What is to stand at the bottom of the screen.
    pub fn view(&self) -> Option<View<'_>> {
        let (prompt, style, of) = match &self.mode {
            Mode::Closed => return None,
            Mode::Listening(_) if !self.draft.text().is_empty() => (DRAFT, QUIET, &self.draft),
            Mode::Listening(state) if state.is_empty() => return None,
            Mode::Listening(state) => (state.as_str(), QUIET, &self.draft),
            Mode::Speaking { .. } => (OURS, PROMPT, &self.draft),
            Mode::Asking(question, _) => (question.as_str(), Style::new(), &self.answer),
        };
        let (text, cursor) = (of.text(), of.cursor());
        Some(View {
            prompt,
            style,
            text,
            cursor,
        })
    }

    /// Whether that is to be painted.
    pub fn is_stale(&self) -> bool {
        self.shown == Shown::Stale
    }

    /// It is to be painted anew.
    pub fn repaint(&mut self) {
        self.shown = Shown::Stale;
    }

    /// It is painted, and on its way to the screen.
    pub fn painted(&mut self) {
        self.shown = Shown::Painted;
    }

    /// All that is painted has arrived there.
    pub fn seen(&mut self) {
        if self.shown == Shown::Painted {
            self.shown = Shown::Seen;
            self.is_asked = true;
        }
    }

    /// Whether a key has to wait until everything before it is on the screen.
    pub fn is_early(&self, key: &Key) -> bool {
        matches!(key, Key::Enter { .. }) && self.is_asked && self.shown != Shown::Seen
    }

    /// A key was pressed.
    pub fn press(&mut self, key: Key) -> Option<Act> {
        let is_listening = matches!(self.mode, Mode::Listening(_));
        let (buffer, question) = match &self.mode {
            Mode::Closed => return is_text(&key).then_some(Act::Refused),
            Mode::Asking(_, completes) => (&mut self.answer, Some(completes)),
            _ => (&mut self.draft, None),
        };
        self.shown = Shown::Stale;
        match (key, question) {
            // A pasted line's end; Enter alone does nothing out of turn.
            (Key::Enter { has_more }, _) if is_listening => {
                let ends_line = has_more && !buffer.text().is_empty();
                return ends_line.then(|| typed(buffer, "\n")).flatten();
            }
            (Key::Enter { .. }, _) if buffer.is_overfull() => {
                return Some(Act::Tell(Event::Overfull));
            }
            (Key::Enter { .. }, _) => return self.enter(),
            (Key::EndOfInput, _) if buffer.text().is_empty() => {
                let counts = self.is_asked && !is_listening;
                return counts.then_some(Act::Tell(Event::End));
            }
            (Key::Text(text), _) => return typed(buffer, &text),
            (Key::Tab, None) => return typed(buffer, "\t"),
            (Key::Tab, Some(completes)) => {
                let (before, _) = buffer.text().split_at(buffer.cursor());
                let more = completes.and_then(|complete| complete(before));
                let is_done = more.is_some_and(|more| buffer.insert(&more));
                return (!is_done).then_some(Act::Refused);
            }
            (Key::LineFeed, None) => return typed(buffer, "\n"),
            (Key::Paste(text), question) => {
                // Of lines that were copied whole, the last end is not part.
                let text = match question {
                    None => text.strip_suffix('\n').unwrap_or(&text).to_owned(),
                    Some(_) => text.replace('\n', " "),
                };
                return (!buffer.insert(&text)).then_some(Act::Tell(Event::TooLong));
            }
            (Key::PutBack, _) => return (!buffer.put_back()).then_some(Act::Refused),
            (Key::Move(to), _) => buffer.go(to),
            (Key::Delete(to), _) => buffer.delete(to),
            (Key::EndOfInput, _) => buffer.delete(To::Right),
            (Key::Up, _) => buffer.up(),
            (Key::Down, _) => buffer.down(),
            (Key::LineFeed | Key::Redraw | Key::Interrupt | Key::Suspend, _) => {}
        }
        None
    }

    fn enter(&mut self) -> Option<Act> {
        match &self.mode {
            Mode::Speaking { turn, .. }
                if self.is_asked && !self.draft.text().trim().is_empty() =>
            {
                let (turn, text) = (*turn, self.draft.take());
                self.draft.remember(&text);
                self.turn_to(Mode::Listening(String::new()));
                Some(Act::Tell(Event::Entered { turn, text }))
            }
            Mode::Asking(question, _) if self.is_asked => {
                let (question, answer) = (question.clone(), self.answer.take());
                self.turn_to(Mode::Closed);
                Some(Act::Answered(question, answer))
            }
            _ => None,
        }
    }
}

/// Whether it is to write something.
fn is_text(key: &Key) -> bool {
    matches!(key, Key::Text(_) | Key::Paste(_) | Key::Tab | Key::PutBack)
}

/// The first time that there is no room, it is said so.
fn typed(buffer: &mut Buffer, text: &str) -> Option<Act> {
    let was_overfull = buffer.is_overfull();
    match buffer.type_in(text) {
        true => None,
        false if was_overfull => Some(Act::Refused),
        false => Some(Act::Tell(Event::Overfull)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Act, DRAFT, Desk, Event, Mode, OURS};
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
            see(desk);
            acts.extend(desk.press(key));
        }
        acts
    }

    fn entered(turn: u64, text: &str) -> Act {
        let text = text.to_owned();
        Act::Tell(Event::Entered { turn, text })
    }

    fn line(desk: &Desk) -> Option<(&str, &str, usize)> {
        let view = desk.view()?;
        Some((view.prompt, view.text, view.cursor))
    }

    fn see(desk: &mut Desk) {
        desk.painted();
        desk.seen();
    }

    fn listening(state: &str) -> Mode {
        Mode::Listening(state.to_owned())
    }

    fn speaking(turn: u64) -> Mode {
        let rings = false;
        Mode::Speaking { turn, rings }
    }

    const OVERFULL: Act = Act::Tell(Event::Overfull);

    const ENTER: Key = Key::Enter { has_more: false };

    #[test]
    fn what_stands_at_its_prompt_is_sent_by_enter() {
        let mut desk = Desk::new(100);
        desk.turn_to(speaking(1));
        assert_eq!(seen(&mut desk, "Hello\r"), [entered(1, "Hello")]);
        assert_eq!(line(&desk), None);
    }

    #[test]
    fn enter_counts_only_where_the_prompt_and_the_text_stand_on_the_screen() {
        let mut desk = Desk::new(100);
        desk.turn_to(listening(""));
        assert!(seen(&mut desk, "too early\r").is_empty());
        desk.turn_to(speaking(2));
        // Its prompt is not painted yet.
        assert_eq!(desk.press(ENTER), None);
        see(&mut desk);
        assert!(!desk.is_early(&ENTER));
        assert!(typed(&mut desk, ", but").is_empty());
        assert!(desk.is_early(&ENTER));
        see(&mut desk);
        assert_eq!(desk.press(ENTER), Some(entered(2, "too early, but")));
        assert_eq!(desk.press(ENTER), None);
    }

    #[test]
    fn a_draft_outlives_turns_and_questions() {
        let mut desk = Desk::new(100);
        desk.turn_to(speaking(1));
        seen(&mut desk, "half a ");
        desk.turn_to(listening(""));
        seen(&mut desk, "line");
        assert_eq!(line(&desk), Some((DRAFT, "half a line", 11)));
        desk.turn_to(speaking(3));
        assert_eq!(line(&desk), Some((OURS, "half a line", 11)));
        assert_eq!(desk.close(), Some("half a line".to_owned()));
        assert_eq!(desk.close(), None);
    }

    #[test]
    fn how_things_stand_is_shown_where_nothing_is_written() {
        let mut desk = Desk::new(100);
        desk.turn_to(listening("Waiting for bob."));
        assert_eq!(line(&desk), Some(("Waiting for bob.", "", 0)));
        seen(&mut desk, "x");
        assert_eq!(line(&desk), Some((DRAFT, "x", 1)));
    }

    #[test]
    fn nothing_empty_is_sent() {
        let mut desk = Desk::new(100);
        desk.turn_to(speaking(1));
        assert!(seen(&mut desk, "\r  \r\t\r").is_empty());
        assert_eq!(desk.close(), None);
    }

    #[test]
    fn pasted_lines_are_one_draft_and_are_not_sent() {
        let mut desk = Desk::new(100);
        desk.turn_to(listening(""));
        assert!(seen(&mut desk, "one\rtwo\r").is_empty());
        assert_eq!(line(&desk), Some((DRAFT, "one\ntwo", 7)));
        desk.close();
        desk.turn_to(speaking(1));
        assert!(seen(&mut desk, "\x1b[200~a\rb\r\x1b[201~").is_empty());
        assert_eq!(seen(&mut desk, "\r"), [entered(1, "a\nb")]);
    }

    #[test]
    fn what_is_typed_where_nobody_can_be_told_it_is_refused() {
        let mut desk = Desk::new(100);
        assert_eq!(seen(&mut desk, "x\r\x1b[D"), [Act::Refused]);
        assert_eq!(desk.close(), None);
    }

    #[test]
    fn a_pasted_line_has_no_end() {
        let mut desk = Desk::new(100);
        desk.turn_to(speaking(1));
        assert!(seen(&mut desk, "\x1b[200~QUIT\r\x1b[201~").is_empty());
        assert_eq!(seen(&mut desk, "\r"), [entered(1, "QUIT")]);
    }

    #[test]
    fn what_is_half_answered_is_left_over_too() {
        let mut desk = Desk::new(100);
        desk.turn_to(Mode::Asking("Press Enter to begin. ".to_owned(), None));
        assert!(seen(&mut desk, "hasty").is_empty());
        desk.disregard_enter();
        assert!(seen(&mut desk, " words\r").is_empty());
        assert_eq!(desk.close(), Some("hasty words".to_owned()));
        assert_eq!(desk.close(), None);
    }

    #[test]
    fn what_is_left_over_is_the_draft_and_not_a_message_looked_at() {
        let mut desk = Desk::new(100);
        desk.turn_to(speaking(1));
        seen(&mut desk, "said\r");
        seen(&mut desk, "draft\x1b[A");
        assert_eq!(desk.close(), Some("draft".to_owned()));
        seen(&mut desk, "\x1b[A");
        assert_eq!(desk.close(), None);
    }

    #[test]
    fn what_was_typed_before_a_question_is_no_answer() {
        let mut desk = Desk::new(100);
        seen(&mut desk, "accept\r");
        desk.turn_to(Mode::Asking("Who? ".to_owned(), None));
        assert_eq!(line(&desk), Some(("Who? ", "", 0)));
        assert!(desk.press(ENTER).is_none());
        let (question, answer) = ("Who? ".to_owned(), "bob".to_owned());
        assert_eq!(seen(&mut desk, "bob\r"), [Act::Answered(question, answer)]);
        assert_eq!(line(&desk), None);
    }

    #[test]
    fn the_end_of_input_counts_where_nothing_is_written() {
        let mut desk = Desk::new(100);
        assert!(seen(&mut desk, "\x04").is_empty());
        desk.turn_to(listening(""));
        assert!(seen(&mut desk, "\x04").is_empty());
        desk.turn_to(speaking(1));
        assert!(seen(&mut desk, "ab\x1b[D\x04").is_empty());
        assert_eq!(line(&desk), Some((OURS, "a", 1)));
        assert_eq!(seen(&mut desk, "\x7f\x04"), [Act::Tell(Event::End)]);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let mut desk = Desk::new(4);
        desk.turn_to(speaking(1));
        assert_eq!(seen(&mut desk, "hello"), [OVERFULL]);
        assert_eq!(
            seen(&mut desk, "\x7fhe\x1b[200~llo\x1b[201~ll\r"),
            [Act::Tell(Event::TooLong), entered(1, "hell")]
        );
    }

    #[test]
    fn tab_completes_an_answer_and_is_a_tab_in_a_message() {
        let mut desk = Desk::new(100);
        let complete = |before: &str| (before == "ac").then(|| "orn".to_owned());
        desk.turn_to(Mode::Asking("Which? ".to_owned(), Some(complete)));
        assert_eq!(seen(&mut desk, "ac\t\tx"), [Act::Refused]);
        assert_eq!(line(&desk).unwrap().1, "acornx");
        desk.turn_to(Mode::Asking("Who? ".to_owned(), None));
        assert_eq!(seen(&mut desk, "ac\t"), [Act::Refused]);
        desk.turn_to(speaking(1));
        assert_eq!(seen(&mut desk, "ac\t"), []);
        assert_eq!(line(&desk).unwrap().1, "ac\t");
    }

    #[test]
    fn what_found_no_room_is_not_sent_without_its_end() {
        let mut desk = Desk::new(5);
        desk.turn_to(speaking(1));
        // Nothing may close the gap either.
        assert_eq!(seen(&mut desk, "abcd"), []);
        assert_eq!(seen(&mut desk, "\u{20ac}"), [OVERFULL]);
        assert_eq!(seen(&mut desk, "e"), [Act::Refused]);
        assert_eq!(seen(&mut desk, "\r"), [OVERFULL]);
        assert_eq!(line(&desk).unwrap().1, "abcd");
        assert_eq!(seen(&mut desk, "\x7f\r"), [entered(1, "abc")]);

        // Nor what overflowed out of turn.
        let mut desk = Desk::new(5);
        desk.turn_to(listening(""));
        assert_eq!(seen(&mut desk, "abcde"), []);
        assert_eq!(seen(&mut desk, "f"), [OVERFULL]);
        desk.turn_to(speaking(3));
        assert_eq!(seen(&mut desk, "\r"), [OVERFULL]);
        // The next conversation begins without it.
        desk.close();
        desk.turn_to(speaking(1));
        assert_eq!(seen(&mut desk, "x\r"), [entered(1, "x")]);
    }

    #[test]
    fn nor_is_an_answer() {
        let mut desk = Desk::new(5);
        desk.turn_to(Mode::Asking("Who? ".to_owned(), None));
        assert_eq!(seen(&mut desk, "alice"), []);
        assert_eq!(seen(&mut desk, "s"), [OVERFULL]);
        assert_eq!(seen(&mut desk, "\r"), [OVERFULL]);
        let answered = Act::Answered("Who? ".to_owned(), "alic".to_owned());
        assert_eq!(seen(&mut desk, "\x7f\r"), [answered]);
    }
}
