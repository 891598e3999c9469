//! What a terminal sends, to what is written and painted; and the lines of a pipe.
//!
//! Input: how the bytes are cut, the width, and the bytes. Some bytes that no terminal sends, F8 to
//! FF, are what happens besides: another turn, a screen that is ready, a pause.

use turnchat::cli::editor::Event;
use turnchat::cli::editor::Mode;
use turnchat::cli::editor::desk::{Act, Desk};
use turnchat::cli::editor::keys::{Key, Keys};
use turnchat::cli::editor::rows::{Painter, Size};
use turnchat::cli::input::line::{Line, LineReader, Typed};
use turnchat::cli::layout::INDENT;
use turnchat::cli::locale::Letters;
use unicode_segmentation::GraphemeCursor;

use super::forbidden::{check_row, is_forbidden};
use super::pieces::cut;

/// The most bytes of a message here.
const LIMIT: usize = 200;

pub fn run(data: &[u8]) {
    let [seed, columns, bytes @ ..] = data else {
        return;
    };
    let typed: Vec<u8> = bytes.iter().copied().filter(|byte| *byte < 0xF8).collect();
    assert_eq!(
        keys(cut(&typed, *seed)),
        keys([&*typed]),
        "however it is cut"
    );
    written(bytes, *seed, usize::from(*columns));
    lines(&typed, *seed);
}

/// The keys, but for the pieces that text comes in, and whether more stood behind an Enter.
fn keys<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Key> {
    let (mut reader, mut keys) = (Keys::default(), Vec::<Key>::new());
    let mut push = |key| match (keys.last_mut(), key) {
        (Some(Key::Text(text)), Key::Text(more)) => text.push_str(&more),
        (_, Key::Enter { .. }) => keys.push(Key::Enter { has_more: false }),
        (_, key) => keys.push(key),
    };
    for piece in pieces {
        reader.feed(piece).into_iter().for_each(&mut push);
    }
    reader.expire().into_iter().for_each(&mut push);
    assert_eq!(reader.patience(), None, "nothing is left behind a pause");
    keys
}

/// A person at a desk, and what the terminal is sent.
struct Screen {
    desk: Desk,
    painter: Painter,
    size: Size,
    turn: u64,
    /// The turn that may be entered now.
    due: Option<u64>,
}

fn written(bytes: &[u8], seed: u8, columns: usize) {
    let mut reader = Keys::default();
    let mut screen = Screen {
        desk: Desk::new(LIMIT),
        painter: Painter::default(),
        size: Size {
            columns,
            rows: usize::from(seed) % 12,
            letters: Letters::named(["C.UTF-8", "ja_JP.UTF-8", "C"][usize::from(seed) % 3]),
        },
        turn: 0,
        due: None,
    };
    for piece in bytes.chunk_by(|a, b| *a < 0xF8 && *b < 0xF8) {
        match piece {
            [besides @ 0xF8..=0xFF] => screen.besides(*besides, &mut reader),
            typed => {
                for piece in cut(typed, seed) {
                    screen.press(reader.feed(piece));
                }
            }
        }
        screen.check();
    }
    screen.press(reader.expire());
    screen.check();
    if let Some(left) = screen.desk.close() {
        assert!(!left.trim().is_empty() && left.len() <= LIMIT);
    }
    assert!(screen.desk.close().is_none(), "it is given out once");
}

impl Screen {
    fn besides(&mut self, what: u8, reader: &mut Keys) {
        let desk = &mut self.desk;
        match what {
            0xF8 => {
                self.turn += 2;
                self.due = Some(self.turn);
                let (turn, rings) = (self.turn, false);
                desk.turn_to(Mode::Speaking { turn, rings });
            }
            0xF9 => {
                self.due = None;
                desk.turn_to(Mode::Listening(String::new()));
            }
            0xFA => {
                self.due = None;
                desk.turn_to(Mode::Listening("Waiting.".to_owned()));
            }
            0xFB => {
                self.due = None;
                let complete = turnchat::cli::pairing_code::complete;
                desk.turn_to(Mode::Asking("Pairing code: ".to_owned(), Some(complete)));
            }
            0xFC => {
                self.due = None;
                let draft = desk.close();
                assert!(draft.is_none_or(|draft| draft.len() <= LIMIT));
            }
            0xFD => {
                self.paint();
                self.desk.painted();
                self.desk.seen();
            }
            0xFE => {
                self.size.columns = self.size.columns * 7 % 150;
                self.painter.reflow(self.size.columns);
                self.desk.repaint();
            }
            _ => {
                let keys = reader.expire();
                self.press(keys);
            }
        }
    }

    fn press(&mut self, keys: Vec<Key>) {
        for key in keys {
            if self.desk.is_early(&key) {
                // It waits until all before it is on the screen.
                self.paint();
                self.desk.seen();
                assert!(!self.desk.is_early(&key), "it is on the screen");
            }
            match self.desk.press(key) {
                Some(Act::Tell(Event::Entered { turn, text })) => {
                    assert_eq!(self.due.take(), Some(turn), "in its turn, and once");
                    assert!(text.len() <= LIMIT && !text.trim().is_empty());
                    match Typed::parse(&text) {
                        Typed::Quit => assert_eq!(text.trim_matches([' ', '\t']), "QUIT"),
                        Typed::Message(said) => {
                            assert!(text.ends_with(&said) || text.replacen('\\', "", 1) == said)
                        }
                    }
                }
                Some(Act::Answered(_, answer)) => {
                    assert!(answer.len() <= LIMIT);
                    assert!(!answer.contains('\n'), "an answer is one line");
                }
                Some(Act::Tell(_) | Act::Refused) | None => {}
            }
        }
    }

    /// The buffer's rules, as far as it is shown.
    fn check(&mut self) {
        if let Some(view) = self.desk.view() {
            assert!(view.text.len() <= LIMIT);
            let mut graphemes = GraphemeCursor::new(view.cursor, view.text.len(), true);
            assert_eq!(
                graphemes.is_boundary(view.text, 0),
                Ok(true),
                "between graphemes"
            );
        }
        if self.desk.is_stale() {
            self.paint();
        }
    }

    /// The painter's rules: our own sequences and nothing foreign, and nothing at column 0.
    fn paint(&mut self) {
        let out = match self.desk.view() {
            Some(view) => self.painter.paint(&view, self.size),
            None => self.painter.erase(),
        };
        let mut rest = out.as_str();
        let mut plain = String::new();
        while let Some((before, behind)) = rest.split_once('\u{1b}') {
            plain.push_str(before);
            let end = behind
                .find(|c: char| c.is_ascii_alphabetic())
                .expect("a sequence ends");
            let (sequence, behind) = behind.split_at(end + 1);
            let parameters = sequence.strip_prefix('[').expect("a control sequence");
            let (parameters, last) = parameters.split_at(parameters.len() - 1);
            assert!("ABGJKhlm".contains(last), "{sequence:?}");
            assert!(
                parameters
                    .chars()
                    .all(|c| c.is_ascii_digit() || "?;".contains(c))
            );
            rest = behind;
        }
        plain.push_str(rest);
        let plain = plain.strip_prefix('\r').unwrap_or(&plain);
        for (number, row) in plain.split("\r\n").enumerate() {
            check_row(row);
            let is_ours = number == 0 || row.is_empty() || row.starts_with(INDENT);
            assert!(is_ours, "at column 0: {row:?}");
        }
        let rows = plain.split("\r\n").count();
        assert!(
            rows <= self.size.rows.saturating_sub(1).max(1),
            "{rows} rows"
        );
        assert!(!plain.replace("\r\n", "").chars().any(is_forbidden));
        self.desk.painted();
    }
}

/// Lines come out the same however the bytes are cut, and none is over its limit.
fn lines(bytes: &[u8], seed: u8) {
    const LIMIT: usize = 8;
    for new in [LineReader::new, LineReader::nul_ended] {
        let all = |pieces: Vec<&[u8]>| {
            let (mut reader, mut lines) = (new(LIMIT), Vec::new());
            for piece in pieces {
                reader.feed(piece);
                while reader.has_line() {
                    lines.extend(reader.next_line());
                }
            }
            lines.extend(std::iter::from_fn(|| reader.finish()));
            lines
        };
        let lines = all(vec![bytes]);
        assert_eq!(all(cut(bytes, seed)), lines, "however it is cut");
        for line in lines {
            match line {
                Line::Text(text) => {
                    assert!(text.len() <= LIMIT);
                    let _ = Typed::parse(&text);
                }
                Line::NotUtf8(length) => assert!(length <= LIMIT),
                Line::TooLong(_) => {}
            }
        }
    }
}
