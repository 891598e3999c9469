//! The rows of the transcript: where they end and how they are indented.
//!
//! The program wraps a message itself and leaves the last column free, so that
//! no terminal does it: what a peer wrote never begins at column 0, where only
//! our own literals stand. Which characters may be shown at all is not decided
//! here; everything goes through [`screen::message`] first.

use icu_properties::props::{
    BinaryProperty, EastAsianWidth, EmojiPresentation, EnumeratedProperty as _,
};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthChar as _;

use super::locale::Letters;
use super::screen;

/// The terminal that something is laid out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its number of columns, of which all but the last are used; 0 stands for 80, and less
    /// than 7 for 7.
    pub columns: usize,
    /// What it makes of letters.
    pub letters: Letters,
}

/// Before what the peer said.
pub const THEIRS: &str = "They say: ";
/// Before what was said here, and the prompt for it.
pub const OURS: &str = "Your message: ";

/// What every row but the first begins with.
pub const INDENT: &str = "    ";

/// The least width that is laid out for: the indent, one wide character, and
/// the free column. A narrower terminal breaks the rows itself.
pub(super) const MIN_COLUMNS: usize = INDENT.len() + 3;

/// What a terminal that gives its width as 0 is taken to have.
const UNKNOWN_COLUMNS: usize = 80;

/// The distance of tab stops on a terminal.
pub(super) const TAB: usize = 8;

/// A message as it stands in the transcript: `prefix`, which must be a literal
/// of our own (`They say: `) and is not escaped, then the escaped `text`; its
/// further lines, and every row made by wrapping, begin with [`INDENT`]. Every
/// row ends with LF.
///
/// `None`, for a pipe or a file, wraps nothing and keeps TAB; on a terminal TAB becomes the
/// spaces up to the next multiple of eight, and where its letters are ASCII, all else its number.
///
/// Rows are broken behind a space or a wide character where there is one, else
/// anywhere between two grapheme clusters; a cluster that no row could hold is
/// divided. Spaces that find no room at the end of a row are dropped. A cell is
/// reckoned wherever some terminal may draw one (a joined emoji counts as its
/// parts), so a row may turn out too short, not too long.
///
/// ```
/// # use turnchat::cli::layout;
/// let shown = layout::transcript("They say: ", "one\nYour message: ", None);
/// assert_eq!(shown, "They say: one\n    Your message: \n");
/// ```
pub fn transcript(prefix: &str, text: &str, page: Option<Page>) -> String {
    let mut shown = screen::message(text);
    if let Some(page) = page {
        shown = page.letters.show(shown);
    }
    let mut out = String::with_capacity(prefix.len() + shown.len() + 1);
    out.push_str(prefix);
    for (number, line) in shown.split('\n').enumerate() {
        if number > 0 {
            out.push_str(INDENT);
        }
        match page {
            None => out.push_str(line),
            Some(Page { columns, letters }) => {
                let column = if number == 0 {
                    cells(prefix, letters)
                } else {
                    INDENT.len()
                };
                let end = match columns {
                    0 => UNKNOWN_COLUMNS - 1,
                    _ => columns.max(MIN_COLUMNS) - 1,
                };
                Row {
                    out: &mut out,
                    column,
                    end,
                    letters,
                    gap: None,
                }
                .fill(line);
            }
        }
        out.push('\n');
    }
    out
}

/// How many columns `text` takes, at the most that a terminal gives it.
pub(super) fn cells(text: &str, letters: Letters) -> usize {
    text.chars().map(|c| cells_of(c, letters)).sum()
}

/// And how many one character takes.
pub(super) fn cells_of(c: char, letters: Letters) -> usize {
    match c {
        // Makes a narrow pictograph wide.
        '\u{fe0f}' => 1,
        _ if screen::is_overlay(c) => 0,
        // Half a flag is drawn like a whole one where it finds no other half.
        _ if EmojiPresentation::for_char(c) => 2,
        // The vowels of a Korean syllable have no width beside its consonant,
        // and one each where they stand alone.
        _ if letters.are_wide() && EastAsianWidth::for_char(c) == EastAsianWidth::Ambiguous => 2,
        _ => c.width().unwrap_or(1).max(1),
    }
}

/// The row being filled, at the end of `out`.
struct Row<'a> {
    out: &'a mut String,
    /// Cells taken so far.
    column: usize,
    /// The first column that stays free.
    end: usize,
    letters: Letters,
    /// The last place in this row where it may be broken: index in `out`, column.
    gap: Option<(usize, usize)>,
}

impl Row<'_> {
    fn fill(mut self, line: &str) {
        for cluster in line.graphemes(true) {
            match cluster {
                " " => self.blank(1),
                "\t" => self.blank(TAB - self.column % TAB),
                _ => self.cluster(cluster),
            }
        }
    }

    fn blank(&mut self, wanted: usize) {
        let room = self.end.saturating_sub(self.column);
        for _ in 0..wanted.min(room) {
            self.push(' ');
        }
        self.mark_gap();
    }

    fn cluster(&mut self, cluster: &str) {
        let cells = cells(cluster, self.letters);
        // The word that does not fit goes to the next row, and if it fills
        // that one too, it is cut.
        while self.column + cells > self.end {
            match self.gap.take() {
                Some((index, column)) => {
                    self.out.insert_str(index, &format!("\n{INDENT}"));
                    self.column = self.column - column + INDENT.len();
                }
                None => {
                    self.begin();
                    break;
                }
            }
        }
        for c in cluster.chars() {
            if self.column + cells_of(c, self.letters) > self.end {
                self.begin();
            }
            self.push(c);
        }
        let first = cluster.chars().next();
        if first.is_some_and(|c| cells_of(c, self.letters) > 1) {
            self.mark_gap();
        }
    }

    /// Remembers that the row may be broken here, unless what follows would
    /// stand further right behind the indent than it does now.
    fn mark_gap(&mut self) {
        if self.column >= INDENT.len() {
            self.gap = Some((self.out.len(), self.column));
        }
    }

    fn begin(&mut self) {
        self.out.push('\n');
        self.out.push_str(INDENT);
        self.column = INDENT.len();
        self.gap = None;
    }

    fn push(&mut self, c: char) {
        self.out.push(c);
        self.column += cells_of(c, self.letters);
    }
}

#[cfg(test)]
mod tests {
    use super::{INDENT, Page};
    use crate::cli::locale::Letters;
    use crate::cli::screen::{is_hidden, tests::hostile};
    use proptest::prelude::{Just, prop_assert, prop_assert_eq, proptest};
    use proptest::prop_oneof;
    use unicode_width::UnicodeWidthStr as _;

    const THEY: &str = "They say: ";

    fn transcript(prefix: &str, text: &str, width: Option<usize>) -> String {
        let letters = Letters::default();
        let page = width.map(|columns| Page { columns, letters });
        super::transcript(prefix, text, page)
    }

    fn cells(text: &str) -> usize {
        super::cells(text, Letters::default())
    }

    #[test]
    fn ambiguous_letters_take_two_cells_where_they_may_be_drawn_so() {
        let text = "α".repeat(60);
        let page = |locale| Page {
            columns: 80,
            letters: Letters::named(locale),
        };
        let rows = |locale| super::transcript(THEY, &text, Some(page(locale)));
        assert_eq!(rows("C.UTF-8").lines().count(), 1);
        let wide = format!("They say: {}\n    {}\n", "α".repeat(34), "α".repeat(26));
        assert_eq!(rows("ja_JP.UTF-8"), wide);
        let numbers = rows("C");
        assert!(
            numbers.starts_with("They say: \\u{3b1}\\u{3b1}"),
            "{numbers}"
        );
        assert!(numbers.is_ascii(), "{numbers}");
    }

    #[test]
    fn a_message_stands_behind_its_prefix() {
        for width in [None, Some(80)] {
            assert_eq!(transcript(THEY, "hello", width), "They say: hello\n");
            assert_eq!(transcript(THEY, "", width), "They say: \n");
            assert_eq!(
                transcript(THEY, "a\n\nb\n", width),
                "They say: a\n    \n    b\n    \n"
            );
        }
    }

    #[test]
    fn a_faked_prompt_is_indented() {
        for width in [None, Some(80)] {
            let shown = transcript(THEY, "bye\nYour message: send it\r\nThey say: x", width);
            assert_eq!(
                shown,
                "They say: bye\n    Your message: send it\\u{d}\n    They say: x\n"
            );
        }
    }

    #[test]
    fn text_cannot_reach_column_0_by_filling_the_row() {
        let attack = format!("{}They say: yes", "x".repeat(69));
        assert_eq!(
            transcript(THEY, &attack, Some(80)),
            format!("They say: {}\n    They say: yes\n", "x".repeat(69))
        );
        let spaces = format!("{}They say: yes", " ".repeat(200));
        assert_eq!(
            transcript(THEY, &spaces, Some(80)),
            format!("They say: {}\n    They say: yes\n", " ".repeat(69))
        );
    }

    #[test]
    fn rows_are_broken_behind_a_space() {
        assert_eq!(
            transcript(THEY, "one two three four five", Some(21)),
            "They say: one two \n    three four five\n"
        );
    }

    #[test]
    fn a_word_longer_than_a_row_is_cut() {
        assert_eq!(
            transcript(THEY, "a abcdefghijklmnopqrstuvwxyz", Some(21)),
            "They say: a \n    abcdefghijklmnop\n    qrstuvwxyz\n"
        );
    }

    #[test]
    fn wide_characters_may_be_parted_anywhere() {
        assert_eq!(
            transcript(THEY, "a 日本語日本語日本語", Some(20)),
            "They say: a 日本語\n    日本語日本語\n"
        );
    }

    #[test]
    fn a_break_does_not_push_what_follows_over_the_edge() {
        let word = "x".repeat(17);
        assert_eq!(
            transcript("", &format!("日{word}y"), Some(20)),
            format!("日{word}\n    y\n")
        );
    }

    #[test]
    fn a_tab_reaches_the_next_stop_and_stays_one_in_a_pipe() {
        assert_eq!(
            transcript(THEY, "\ta\n\tb", Some(80)),
            "They say:       a\n        b\n"
        );
        assert_eq!(
            transcript(THEY, "\ta\n\tb", None),
            "They say: \ta\n    \tb\n"
        );
        assert_eq!(
            transcript(THEY, "abcdefg\t\t\tx", Some(20)),
            "They say: abcdefg  \n    x\n"
        );
    }

    #[test]
    fn a_pipe_is_not_wrapped() {
        let long = "word ".repeat(1000);
        assert_eq!(transcript(THEY, &long, None), format!("They say: {long}\n"));
    }

    #[test]
    fn a_joined_emoji_counts_as_its_parts_and_is_divided_if_it_must() {
        let people = ["👩"; 30].join("\u{200d}");
        let shown = transcript(THEY, &people, Some(20));
        assert_eq!(shown.replace("\n    ", ""), format!("They say: {people}\n"));
        assert!(
            shown.lines().all(|row| row.matches('👩').count() <= 7),
            "{shown}"
        );
    }

    #[test]
    fn flags_and_jamo_count_where_some_terminal_draws_them() {
        assert_eq!(cells("🇩🇪"), 4);
        assert_eq!(cells("\u{1161}\u{1161}"), 2);
        assert_eq!(cells("e\u{301}"), 1);
        assert_eq!(cells("☀\u{fe0f}"), 2);
    }

    #[test]
    fn a_terminal_of_no_known_width_has_eighty_columns() {
        let text = "x".repeat(100);
        assert_eq!(
            transcript(THEY, &text, Some(0)),
            transcript(THEY, &text, Some(80))
        );
        assert_eq!(
            transcript(THEY, &text, Some(1)),
            transcript(THEY, &text, Some(7))
        );
    }

    proptest! {
        #[test]
        fn every_row_is_indented_and_none_is_too_wide(
            text in hostile(),
            prefix in prop_oneof![Just(THEY), Just("Your message: "), Just("")],
            columns in 20usize..120,
        ) {
            let shown = transcript(prefix, &text, Some(columns));
            prop_assert!(shown.starts_with(prefix) && shown.ends_with('\n'));
            prop_assert!(!shown.replace('\n', "").chars().any(is_hidden));
            for (number, row) in shown.lines().enumerate() {
                prop_assert!(number == 0 || row.starts_with(INDENT), "{row:?}");
                prop_assert!(cells(row) < columns && row.width() < columns, "{row:?}");
            }
        }

        #[test]
        fn any_width_comes_to_an_end_and_loses_nothing_but_blanks(
            text in hostile(),
            columns in 0usize..12,
        ) {
            let all = |shown: String| shown.replace([' ', '\n', '\t'], "");
            let narrow = transcript(THEY, &text, Some(columns));
            prop_assert!(narrow.lines().skip(1).all(|row| row.starts_with(INDENT)));
            prop_assert_eq!(all(narrow), all(transcript(THEY, &text, None)));
        }

        #[test]
        fn a_pipe_gets_the_lines_as_they_are(text in hostile()) {
            let shown = transcript(THEY, &text, None);
            prop_assert!(shown.lines().skip(1).all(|row| row.starts_with(INDENT)));
        }
    }
}
