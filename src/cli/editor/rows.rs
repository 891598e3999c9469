//! [`Painter`]: the rows of what is being written, at the bottom of a terminal. Pure: it gives
//! the bytes that paint them and that take them away again.

use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation as _;

use crate::cli::layout::{INDENT, MIN_COLUMNS, TAB, cells};
use crate::cli::locale::Letters;
use crate::cli::screen;

/// Where a prompt leaves less room than this many cells, a short one stands for it.
const NARROW: usize = 6;
const NARROW_PROMPT: &str = "> ";

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Cells in a row; the last one stays free.
    pub columns: usize,
    /// Rows; the last of them stays free too where there are more.
    pub rows: usize,
    /// What the terminal makes of letters.
    pub letters: Letters,
}

/// What is to be painted.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Before the text, our own words.
    pub prompt: &'a str,
    /// What the prompt's words begin and end with, as colours.
    pub style: (&'a str, &'a str),
    /// The text, foreign or not: it goes through the door of [`screen`].
    pub text: &'a str,
    /// Where the cursor is in it, in bytes.
    pub cursor: usize,
}

/// One row, and how many cells it takes.
#[derive(Debug, Default)]
struct Row {
    shown: String,
    cells: usize,
}

/// What stands there now.
#[derive(Debug, Default)]
pub struct Painter {
    /// The cells of each row.
    painted: Vec<usize>,
    /// Where the cursor is among them: row and column.
    cursor: (usize, usize),
}

impl Painter {
    /// Whether nothing stands there.
    pub fn is_empty(&self) -> bool {
        self.painted.is_empty()
    }

    /// Takes away what stands there. The cursor is then where its first row began.
    pub fn erase(&mut self, out: &mut String) {
        if self.painted.is_empty() {
            return;
        }
        out.push('\r');
        up(out, self.cursor.0);
        // Erasing the whole screen below from its corner makes tmux keep it.
        out.push_str("\x1b[K");
        if self.painted.len() > 1 {
            out.push_str("\x1b[B\x1b[J\x1b[A");
        }
        *self = Self::default();
    }

    /// Paints this in the place of what stands there.
    pub fn paint(&mut self, view: &View<'_>, size: Size, out: &mut String) {
        self.erase(out);
        let columns = size.columns.max(MIN_COLUMNS);
        let letters = size.letters;
        let prompt = letters.show(view.prompt.to_owned());
        let is_narrow = cells(&prompt, letters) + NARROW > columns;
        let prompt = if is_narrow { NARROW_PROMPT } else { &prompt };
        let (rows, cursor) = lay_out(prompt, view, columns, letters);
        // As many as the screen holds, with the cursor among them.
        let height = size.rows.saturating_sub(1).max(1);
        let first = (cursor.0 + 1).saturating_sub(height);
        let rows: Vec<_> = rows.into_iter().skip(first).take(height).collect();
        let cursor = (cursor.0 - first, cursor.1);
        // No row is long enough to be wrapped; terminals disagree about widths.
        out.push_str("\x1b[?7l");
        for (number, row) in rows.iter().enumerate() {
            if number > 0 {
                out.push_str("\r\n");
            }
            match row.shown.strip_prefix(prompt) {
                Some(text) if number + first == 0 => {
                    let (begin, end) = view.style;
                    let _ = write!(out, "{begin}{prompt}{end}{text}");
                }
                _ => out.push_str(&row.shown),
            }
        }
        out.push_str("\x1b[?7h");
        up(out, rows.len().saturating_sub(1) - cursor.0);
        let _ = write!(out, "\x1b[{}G", cursor.1 + 1);
        self.painted = rows.into_iter().map(|row| row.cells).collect();
        self.cursor = cursor;
    }

    /// The terminal has another width now, and has laid out anew what stood there.
    pub fn reflow(&mut self, columns: usize) {
        let columns = columns.max(1);
        let rows_of = |cells: &usize| cells.div_ceil(columns).max(1);
        let before = self.painted.iter().take(self.cursor.0);
        let row = before.map(rows_of).sum::<usize>() + self.cursor.1 / columns;
        let rows = self.painted.iter().map(rows_of).sum();
        self.cursor = (row, self.cursor.1 % columns);
        self.painted = vec![0; rows];
    }
}

fn up(out: &mut String, rows: usize) {
    if rows > 0 {
        let _ = write!(out, "\x1b[{rows}A");
    }
}

/// The rows of this, and the row and column of the cursor.
fn lay_out(
    prompt: &str,
    view: &View<'_>,
    columns: usize,
    letters: Letters,
) -> (Vec<Row>, (usize, usize)) {
    let mut rows = Vec::new();
    let mut row = Row {
        shown: prompt.to_owned(),
        cells: cells(prompt, letters),
    };
    let indented = || Row {
        shown: INDENT.to_owned(),
        cells: INDENT.len(),
    };
    let mut cursor = None;
    for (at, cluster) in view.text.grapheme_indices(true) {
        if cluster == "\n" {
            if at >= view.cursor {
                cursor.get_or_insert((rows.len(), row.cells));
            }
            rows.push(std::mem::replace(&mut row, indented()));
            continue;
        }
        let shown = match cluster {
            "\t" => " ".repeat(TAB - row.cells % TAB),
            _ => letters.show(screen::line(cluster)),
        };
        let width = cells(&shown, letters);
        if row.cells + width >= columns && row.cells > INDENT.len() {
            rows.push(std::mem::replace(&mut row, indented()));
        }
        if at >= view.cursor {
            cursor.get_or_insert((rows.len(), row.cells));
        }
        if row.cells + width >= columns {
            // A number that no row could hold.
            for c in shown.chars() {
                let width = cells(c.encode_utf8(&mut [0; 4]), letters);
                if row.cells + width >= columns {
                    rows.push(std::mem::replace(&mut row, indented()));
                }
                row.shown.push(c);
                row.cells += width;
            }
            continue;
        }
        row.shown.push_str(&shown);
        row.cells += width;
        if shown.chars().count() > 1 {
            // Whatever the terminal has made of it, here it goes on.
            let _ = write!(row.shown, "\x1b[{}G", row.cells + 1);
        }
    }
    let end = (rows.len(), row.cells);
    rows.push(row);
    (rows, cursor.unwrap_or(end))
}

#[cfg(test)]
mod tests {
    use super::{Letters, Painter, Size, View};
    use crate::cli::screen::tests::hostile;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    const PROMPT: &str = "Your message: ";

    /// What a terminal shows.
    struct Screen {
        terminal: vt100::Parser,
        painter: Painter,
        size: Size,
    }

    impl Screen {
        fn new(columns: u16, rows: u16) -> Self {
            Self {
                terminal: vt100::Parser::new(
                    rows.try_into().unwrap(),
                    columns.try_into().unwrap(),
                    100,
                ),
                painter: Painter::default(),
                size: Size {
                    columns: columns.into(),
                    rows: rows.into(),
                    letters: Letters::default(),
                },
            }
        }

        fn prints(&mut self, text: &str) {
            let mut out = String::new();
            self.painter.erase(&mut out);
            out.push_str(text);
            self.terminal.process(out.as_bytes());
        }

        fn paints(&mut self, text: &str, cursor: usize) {
            let mut out = String::new();
            let view = View {
                prompt: PROMPT,
                style: ("\x1b[1m", "\x1b[0m"),
                text,
                cursor,
            };
            self.painter.paint(&view, self.size, &mut out);
            self.terminal.process(out.as_bytes());
        }

        fn rows(&self) -> Vec<String> {
            let columns = self.size.columns.try_into().unwrap();
            let rows = self.terminal.screen().rows(0, columns);
            let mut rows: Vec<_> = rows.map(|row| row.trim_end().to_owned()).collect();
            while rows.last().is_some_and(String::is_empty) {
                rows.pop();
            }
            rows
        }

        fn cursor(&self) -> (u16, u16) {
            self.terminal.screen().cursor_position()
        }
    }

    #[test]
    fn a_text_stands_behind_its_prompt_with_the_cursor_in_it() {
        let mut screen = Screen::new(20, 10);
        screen.paints("", 0);
        assert_eq!(
            (screen.rows(), screen.cursor()),
            (vec!["Your message:".into()], (0, 14))
        );
        screen.paints("abcdefgh", 3);
        assert_eq!(screen.rows(), ["Your message: abcde", "    fgh"]);
        assert_eq!(screen.cursor(), (0, 17));
        screen.paints("abcdefgh", 8);
        assert_eq!(screen.cursor(), (1, 7));
        screen.paints("a\nb日本", 3);
        assert_eq!(screen.rows(), ["Your message: a", "    b日本"]);
        assert_eq!(screen.cursor(), (1, 5));
        screen.paints("x", 1);
        assert_eq!(screen.rows(), ["Your message: x"]);
    }

    #[test]
    fn what_is_printed_stands_above_and_stays() {
        let mut screen = Screen::new(30, 10);
        screen.paints("two rows of a draft, all in all", 31);
        assert_eq!(screen.rows().len(), 2);
        screen.prints("They say: Hello\r\n");
        screen.paints("a draft", 7);
        assert_eq!(screen.rows(), ["They say: Hello", "Your message: a draft"]);
    }

    #[test]
    fn what_would_drive_the_terminal_is_shown_as_its_number() {
        let mut screen = Screen::new(60, 10);
        screen.paints("a\u{1b}[2J\u{9b}\u{202e}b", 0);
        assert_eq!(
            screen.rows(),
            ["Your message: a\\u{1b}[2J\\u{9b}\\u{202e}b"]
        );
    }

    #[test]
    fn of_a_text_taller_than_the_screen_the_part_around_the_cursor_is_shown() {
        let mut screen = Screen::new(30, 5);
        screen.prints("They say: Hello\r\n");
        let text: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        let text = text.join("\n");
        screen.paints(&text, text.len());
        assert_eq!(screen.rows()[1..], ["    16", "    17", "    18", "    19"]);
        screen.paints(&text, 0);
        assert_eq!(screen.rows()[1], "Your message: 0");
        screen.prints("");
        assert_eq!(screen.rows(), ["They say: Hello"]);
    }

    #[test]
    fn a_narrower_terminal_leaves_no_old_rows() {
        let mut painter = Painter {
            painted: vec![30, 10],
            cursor: (1, 9),
        };
        painter.reflow(20);
        let mut out = String::new();
        painter.erase(&mut out);
        assert_eq!(out, "\r\x1b[2A\x1b[K\x1b[B\x1b[J\x1b[A");
    }

    proptest! {
        #[test]
        fn nothing_is_left_and_nothing_above_is_touched(
            texts in proptest::collection::vec((hostile(), 0usize..60), 1..6),
            columns in 10u16..60,
        ) {
            let mut screen = Screen::new(columns, 12);
            screen.prints("above\r\n");
            for (text, cursor) in texts {
                let cursor = text.floor_char_boundary(cursor.min(text.len()));
                screen.paints(&text, cursor);
                let first = &screen.rows()[0];
                prop_assert!(first == "above", "{first}");
                let cursor = screen.cursor();
                prop_assert!(cursor.1 < columns);
            }
            screen.prints("below\r\n");
            prop_assert_eq!(screen.rows(), ["above", "below"]);
        }
    }
}
