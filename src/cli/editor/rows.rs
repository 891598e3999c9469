//! [`Painter`]: the rows of what is being written, at the bottom of a terminal. Pure: it gives
//! the bytes that paint them and that take them away again.

use std::fmt::Write as _;

use anstyle::Style;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::cli::layout::{INDENT, MIN_COLUMNS, Page, TAB, cells, cells_of};
use crate::cli::locale::Letters;
use crate::cli::screen;

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Cells in a row; the last one stays free.
    pub columns: usize,
    /// Rows, of which half are painted at most.
    pub rows: usize,
    /// What the terminal makes of letters.
    pub letters: Letters,
}

impl Size {
    /// What the transcript is laid out for there.
    pub fn page(self) -> Page {
        let Self {
            columns, letters, ..
        } = self;
        Page { columns, letters }
    }
}

/// What is to be painted.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Before the text, our own words.
    pub prompt: &'a str,
    /// How the prompt looks.
    pub style: Style,
    /// The text, foreign or not: it goes through the door of [`screen`].
    pub text: &'a str,
    /// Where the cursor is in it, in bytes.
    pub cursor: usize,
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
    /// Takes away what stands there. The cursor is then where its first row began.
    pub fn erase(&mut self) -> String {
        let mut out = String::new();
        if !self.painted.is_empty() {
            out.push('\r');
            up(&mut out, self.cursor.0);
            // Erasing the whole screen below from its corner makes tmux keep it.
            out.push_str("\x1b[K");
        }
        if self.painted.len() > 1 {
            out.push_str("\x1b[B\x1b[J\x1b[A");
        }
        *self = Self::default();
        out
    }

    /// Paints this in the place of what stands there.
    pub fn paint(&mut self, view: &View<'_>, size: Size) -> String {
        let mut out = self.erase();
        let (rows, (row, column)) = lay_out(view, size);
        // What is painted has room on half the screen too: made narrower or lower, a terminal
        // pushes what it has no room for out of our reach, and a copy of it would stay there.
        let height = (size.rows.saturating_sub(1) / 2).max(1);
        let first = (row + 1).saturating_sub(height);
        let mut rows: Vec<_> = rows.into_iter().skip(first).take(height).collect();
        // What the peer has said stands right above, and has rows like these.
        if let (Some(top), true) = (rows.first_mut().filter(|_| first > 0), height > 1) {
            *top = Row::of_prompt(view, &format!("({} rows above)", first + 1), size);
        }
        let shown: Vec<_> = rows.iter().map(|row| row.shown.as_str()).collect();
        // No row is long enough to be wrapped; terminals disagree about widths.
        let _ = write!(out, "\x1b[?7l{}\x1b[?7h", shown.join("\r\n"));
        self.cursor = (row - first, column);
        self.painted = rows.iter().map(|row| row.cells).collect();
        up(&mut out, rows.len().saturating_sub(1) - self.cursor.0);
        let _ = write!(out, "\x1b[{}G", column + 1);
        out
    }

    /// The terminal has another width now, and has laid out anew what stood there.
    pub fn reflow(&mut self, columns: usize) {
        let columns = columns.max(1);
        let rows_of = |cells: &usize| cells.div_ceil(columns).max(1);
        let before = self.painted.iter().take(self.cursor.0);
        let row = before.map(rows_of).sum::<usize>() + self.cursor.1 / columns;
        self.cursor = (row, self.cursor.1 % columns);
        self.painted = vec![0; self.painted.iter().map(rows_of).sum()];
    }
}

fn up(out: &mut String, rows: usize) {
    if rows > 0 {
        let _ = write!(out, "\x1b[{rows}A");
    }
}

/// One row, and how many cells it takes.
struct Row {
    shown: String,
    cells: usize,
}

impl Row {
    /// The prompt, and this in the place of the text, as far as there is room.
    fn of_prompt(view: &View<'_>, words: &str, size: Size) -> Self {
        let View { prompt, style, .. } = view;
        let (columns, letters) = (size.columns.max(MIN_COLUMNS), size.letters);
        let mut end = 0;
        let mut fits = |c: &char| {
            end += cells_of(*c, letters);
            end < columns
        };
        let prompt: String = prompt.chars().take_while(&mut fits).collect();
        let words: String = words.chars().take_while(&mut fits).collect();
        let shown = format!("{style}{prompt}{style:#}{words}");
        let cells = cells(&prompt, letters) + cells(&words, letters);
        Self { shown, cells }
    }

    /// Ends it, and begins the next one.
    fn end(&mut self) -> Self {
        let shown = INDENT.to_owned();
        let cells = INDENT.len();
        std::mem::replace(self, Self { shown, cells })
    }
}

/// The rows of this, and the row and column of the cursor.
fn lay_out(view: &View<'_>, size: Size) -> (Vec<Row>, (usize, usize)) {
    let (columns, letters) = (size.columns.max(MIN_COLUMNS), size.letters);
    // Of our own words none is divided that a row can hold.
    let prompt = view.prompt.split_inclusive(' ').flat_map(|word| {
        let whole = cells(&letters.show(screen::line(word.trim_end())), letters);
        let whole = if INDENT.len() + whole < columns {
            whole
        } else {
            0
        };
        let clusters = word.graphemes(true).enumerate();
        clusters.map(move |(at, cluster)| (None, cluster, if at == 0 { whole } else { 0 }))
    });
    let text = view.text.grapheme_indices(true);
    let text = text.chain([(view.text.len(), "")]);
    let text = text.map(|(at, cluster)| (Some(at), cluster, 0));
    let mut rows = Vec::new();
    let mut row = Row {
        shown: view.style.to_string(),
        cells: 0,
    };
    let mut cursor = None;
    for (at, cluster, word) in prompt.chain(text) {
        if at == Some(0) {
            let _ = write!(row.shown, "{:#}", view.style);
        }
        let shown = match cluster {
            "\n" => String::new(),
            "\t" => " ".repeat(TAB - row.cells % TAB),
            _ => letters.show(screen::line(cluster)),
        };
        let wanted = cells(&shown, letters).max(word);
        if row.cells + wanted >= columns && row.cells > INDENT.len() {
            if at.is_none() && cluster == " " {
                continue;
            }
            rows.push(row.end());
        }
        if at >= Some(view.cursor) {
            cursor.get_or_insert((rows.len(), row.cells));
        }
        for c in shown.chars() {
            // No row could hold all of it.
            if row.cells + cells_of(c, letters) >= columns {
                rows.push(row.end());
            }
            row.shown.push(c);
            row.cells += cells_of(c, letters);
        }
        if shown.chars().count() > 1 {
            // Whatever the terminal has made of it, here it goes on.
            let _ = write!(row.shown, "\x1b[{}G", row.cells + 1);
        }
        if cluster == "\n" {
            rows.push(row.end());
        }
    }
    rows.push(row);
    (rows, cursor.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Letters, Painter, Size, Style, View};
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
            let out = self.painter.erase() + text;
            self.terminal.process(out.as_bytes());
        }

        fn paints(&mut self, text: &str, cursor: usize) {
            let view = View {
                prompt: PROMPT,
                style: Style::new().bold(),
                text,
                cursor,
            };
            let out = self.painter.paint(&view, self.size);
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

        /// What has left the screen, too.
        fn all(&mut self) -> Vec<String> {
            let columns = self.size.columns.try_into().unwrap();
            let mut all = Vec::new();
            self.terminal.screen_mut().set_scrollback(usize::MAX);
            for above in (1..=self.terminal.screen().scrollback()).rev() {
                self.terminal.screen_mut().set_scrollback(above);
                all.extend(self.terminal.screen().rows(0, columns).next());
            }
            self.terminal.screen_mut().set_scrollback(0);
            all.extend(self.rows());
            all
        }

        /// Most terminals lay all rows out anew, and keep the cursor on the screen. It stands
        /// at the end here.
        fn resizes(&mut self, columns: u16, rows: u16) {
            let all = self.all();
            *self = Self {
                painter: std::mem::take(&mut self.painter),
                ..Self::new(columns, rows)
            };
            self.terminal.process(all.join("\r\n").as_bytes());
            self.painter.reflow(columns.into());
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
    fn a_prompt_that_finds_no_room_goes_on_in_the_next_row() {
        let mut screen = Screen::new(12, 10);
        screen.paints("x", 1);
        assert_eq!(screen.rows(), ["Your messag", "    e: x"]);
        assert_eq!(screen.cursor(), (1, 8));
    }

    #[test]
    fn a_word_of_a_question_is_not_divided() {
        let mut screen = Screen::new(20, 10);
        let view = View {
            prompt: "Which one is it of the two? ",
            style: Style::new(),
            text: "this",
            cursor: 4,
        };
        let out = screen.painter.paint(&view, screen.size);
        screen.terminal.process(out.as_bytes());
        assert_eq!(screen.rows(), ["Which one is it of", "    the two? this"]);
        assert_eq!(screen.cursor(), (1, 17));
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
        let mut screen = Screen::new(30, 9);
        screen.prints("They say: Hello\r\n");
        let text: Vec<_> = (0..20).map(|n| n.to_string()).collect();
        let text = text.join("\n");
        screen.paints(&text, text.len());
        let shown = [
            "Your message: (17 rows above)",
            "    17",
            "    18",
            "    19",
        ];
        assert_eq!(screen.rows()[1..], shown);
        screen.paints(&text, 0);
        assert_eq!(screen.rows()[1], "Your message: 0");
        screen.prints("");
        assert_eq!(screen.rows(), ["They say: Hello"]);
    }

    #[test]
    fn of_a_screen_without_room_the_cursors_row_is_shown() {
        let mut screen = Screen::new(7, 2);
        screen.paints("one\ntwo", 7);
        assert_eq!(screen.rows(), ["    o"]);
    }

    #[test]
    fn a_tall_draft_leaves_no_copies_in_a_terminal_of_another_size() {
        let mut screen = Screen::new(80, 24);
        let said: Vec<_> = (0..30).map(|n| format!("They say: {n}")).collect();
        screen.prints(&format!("{}\r\n", said.join("\r\n")));
        let text = vec!["word ".repeat(30); 40].join("\n");
        screen.paints(&text, text.len());
        for (columns, rows) in [(40, 24), (39, 24), (60, 13), (60, 24), (30, 24), (80, 40)] {
            screen.resizes(columns, rows);
            screen.paints(&text, text.len());
            let all = screen.all();
            let is_prompt = |row: &&String| row.starts_with(PROMPT);
            assert_eq!(
                all.iter().filter(is_prompt).count(),
                1,
                "{columns} {all:#?}"
            );
            assert_eq!(all[..30], said, "{columns} {all:#?}");
        }
        screen.prints("");
        assert_eq!(screen.all(), said);
    }

    #[test]
    fn a_narrower_terminal_leaves_no_old_rows() {
        let mut painter = Painter {
            painted: vec![30, 10],
            cursor: (1, 9),
        };
        painter.reflow(20);
        assert_eq!(painter.erase(), "\r\x1b[2A\x1b[K\x1b[B\x1b[J\x1b[A");
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
