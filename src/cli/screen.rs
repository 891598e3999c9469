//! The one door for foreign text: which characters of it may reach a terminal.
//!
//! A peer's message, the detail of an error, a field of a certificate: whatever
//! we did not write ourselves goes through [`message`] or [`line`] before it is
//! printed or logged. A character that could move the cursor, change the order
//! of what is read, or not be seen at all comes out as its number, `\u{1b}`.
//!
//! A backslash stays a backslash: a peer who writes `\u{1b}` in letters gets
//! the look of an escaped ESC, which harms nobody.
//!
//! Not here: where rows end and how they are indented
//! ([`layout`](crate::cli::layout)).

use icu_properties::props::{
    BinaryProperty, DefaultIgnorableCodePoint, EmojiModifier, EnumeratedProperty,
    ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, PrependedConcatenationMark,
};
use serde_json::Value;

/// The most combining marks shown on one base; Vietnamese, Hebrew and Tibetan
/// stay below it, and a stack of this height stays near its own row.
pub const MARKS_PER_BASE: usize = 8;

const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';
const TEXT_STYLE: char = '\u{fe0e}';
const EMOJI_STYLE: char = '\u{fe0f}';
const KEYCAP: char = '\u{20e3}';
const DOTTED_CIRCLE: char = '\u{25cc}';

/// Foreign text that may have several lines: LF and TAB stay, all else that is
/// not plainly visible is escaped (a CR too: `\u{d}`).
///
/// What comes out is fit for a terminal, but the terminal would begin its
/// second line at column 0; [`layout::transcript`](crate::cli::layout::transcript) indents it.
///
/// ```
/// # use turnchat::cli::screen;
/// assert_eq!(screen::message("\u{1b}[2Jtea?\n\u{202e}oh"), "\\u{1b}[2Jtea?\n\\u{202e}oh");
/// ```
pub fn message(text: &str) -> String {
    screened(text, &['\n', '\t'])
}

/// Foreign text that must not leave its line, in an error or a log: as
/// [`message`], with LF and TAB escaped too (`\u{a}`, `\u{9}`).
pub fn line(text: &str) -> String {
    screened(text, &[])
}

/// JSON on one line, in which all but printable characters are escaped, or all but ASCII: a
/// terminal may see it.
pub fn json(value: &Value, is_ascii: bool) -> String {
    written_json(&value.to_string(), is_ascii)
}

/// The same of JSON that is written already, with its members in their order.
pub fn written_json(json: &str, is_ascii: bool) -> String {
    let mut shown = String::new();
    for c in json.chars() {
        if !is_hidden(c) && (c.is_ascii() || !is_ascii) {
            shown.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    }
    shown
}

/// Whether `c` is never shown as itself, whatever stands beside it.
///
/// False for the joiners, the variation selectors 15 and 16 and combining
/// marks, which depend on their neighbours, and true for LF and TAB, which
/// only [`message`] lets through.
pub fn is_hidden(c: char) -> bool {
    match GeneralCategory::for_char(c) {
        // C0, DEL, C1; U+2028 and U+2029; private use; unassigned and noncharacters.
        GeneralCategory::Control
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator
        | GeneralCategory::PrivateUse
        | GeneralCategory::Surrogate
        | GeneralCategory::Unassigned => true,
        // Bidi controls, tags and everything else that formats and has no
        // width. Of its category only signs such as U+0600 are seen.
        GeneralCategory::Format => {
            !matches!(c, ZWNJ | ZWJ) && !PrependedConcatenationMark::for_char(c)
        }
        // Fillers among the letters, selectors among the marks.
        _ => !matches!(c, TEXT_STYLE | EMOJI_STYLE) && DefaultIgnorableCodePoint::for_char(c),
    }
}

/// Whether `c` is drawn over its neighbours rather than in a cell of its own:
/// a mark without width, a joiner, a variation selector.
pub(super) fn is_overlay(c: char) -> bool {
    matches!(c, ZWNJ | ZWJ)
        || matches!(
            GeneralCategory::for_char(c),
            GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
        )
}

fn screened(text: &str, layout: &[char]) -> String {
    // Most texts are printable ASCII, all of which is shown as it is.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut shown = Shown {
        out: String::with_capacity(text.len()),
        before: None,
        marks: None,
    };
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek().copied();
        match c {
            ZWNJ | ZWJ if shown.may_join(next) => shown.over(c),
            TEXT_STYLE | EMOJI_STYLE if shown.may_style(c, next) => shown.over(c),
            ZWNJ | ZWJ | TEXT_STYLE | EMOJI_STYLE => shown.escape(c),
            _ if layout.contains(&c) => shown.apart(c),
            _ if is_hidden(c) => shown.escape(c),
            _ if is_mark(c) => shown.mark(c),
            _ => shown.base(c),
        }
    }
    shown.out
}

/// What has been let through so far, and what the next character would join.
struct Shown {
    out: String,
    /// The character just shown as itself; `None` behind an escape and at the start.
    before: Option<char>,
    /// How many marks the last base has; `None` where there is no base.
    marks: Option<usize>,
}

impl Shown {
    /// A character that marks may be put on (a space too: Unicode, D51).
    fn base(&mut self, c: char) {
        self.out.push(c);
        self.before = Some(c);
        self.marks = Some(0);
    }

    /// LF and TAB: shown, and no base for anything.
    fn apart(&mut self, c: char) {
        self.out.push(c);
        self.before = None;
        self.marks = None;
    }

    /// A joiner or selector that belongs to the base it stands behind.
    fn over(&mut self, c: char) {
        self.out.push(c);
        self.before = Some(c);
    }

    /// A mark. One too many is escaped and does not count as a new start, or
    /// every ninth would begin another stack.
    fn mark(&mut self, c: char) {
        if self.marks.is_none() {
            self.base(DOTTED_CIRCLE);
        }
        let marks = self.marks.unwrap_or(0);
        if marks < MARKS_PER_BASE {
            self.over(c);
            self.marks = Some(marks + 1);
        } else {
            self.escape(c);
            self.marks = Some(marks);
        }
    }

    fn escape(&mut self, c: char) {
        self.out.extend(c.escape_unicode());
        self.before = None;
        self.marks = None;
    }

    /// A joiner stays between two characters that scripts and emoji join, if
    /// both are shown: the one behind it must not be a mark too many.
    fn may_join(&self, next: Option<char>) -> bool {
        let full = self.marks.is_some_and(|marks| marks >= MARKS_PER_BASE);
        self.before.is_some_and(|c| c == EMOJI_STYLE || joins(c))
            && next.is_some_and(|c| joins(c) && !(full && is_mark(c)))
    }

    /// A selector stays behind a pictograph, and as the middle of a keycap:
    /// digit, `#` or `*`, U+FE0F, U+20E3.
    fn may_style(&self, selector: char, next: Option<char>) -> bool {
        self.before.is_some_and(|c| match c {
            '0'..='9' | '#' | '*' => selector == EMOJI_STYLE && next == Some(KEYCAP),
            _ => ExtendedPictographic::for_char(c),
        })
    }
}

/// Whether a joiner has a use beside `c`: a letter that is not ASCII, a mark,
/// an emoji modifier, a pictograph.
fn joins(c: char) -> bool {
    let letter = GeneralCategoryGroup::Letter.contains(GeneralCategory::for_char(c));
    // Pictographs and letters have reserved and invisible ones among them.
    !is_hidden(c)
        && (letter && !c.is_ascii()
            || is_mark(c)
            || EmojiModifier::for_char(c)
            || ExtendedPictographic::for_char(c))
}

/// Whether `c` combines with what stands before it. The two selectors are
/// marks by category and ruled on their own.
fn is_mark(c: char) -> bool {
    !matches!(c, TEXT_STYLE | EMOJI_STYLE)
        && GeneralCategoryGroup::Mark.contains(GeneralCategory::for_char(c))
}

#[cfg(test)]
pub(super) mod tests {
    use super::{is_hidden, json, line, message};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use proptest::strategy::{Strategy, Union};

    fn escaped(c: char) -> String {
        format!("\\u{{{:x}}}", u32::from(c))
    }

    #[track_caller]
    fn stays(text: &str) {
        assert_eq!(message(text), text);
        assert_eq!(line(text), text);
    }

    #[test]
    fn ordinary_text_of_many_scripts_stays_what_it_is() {
        for text in [
            "",
            "Tea at five?",
            "a \\ backslash, and \\u{1b} in letters",
            "caf\u{e9}",
            "cafe\u{301}",
            "日本語",
            "가나다 \u{1112}\u{1161}\u{11ab}",
            "שָׁלוֹם",
            "שלום",
            "مرحبا",
            "می\u{200c}خواهم",
            "क्षत्रिय",
            "क\u{94d}\u{200d}ष",
            "ක\u{dca}\u{200d}\u{dbb}",
            "བོད་ཡིག",
            "Việt e\u{323}\u{302}",
            "a\u{a0}b\u{3000}c",
            "\u{600}١٢",
        ] {
            stays(text);
        }
    }

    #[test]
    fn emoji_stay_what_they_are() {
        for text in [
            "👩\u{200d}👩\u{200d}👧",
            "👍🏽",
            "👩🏽\u{200d}🚀",
            "🏳\u{fe0f}\u{200d}🌈",
            "❤\u{fe0f}",
            "☺\u{fe0e}",
            "🇩🇪",
            "1\u{fe0f}\u{20e3} #\u{fe0f}\u{20e3} *\u{fe0f}\u{20e3}",
        ] {
            stays(text);
        }
    }

    #[test]
    fn a_message_keeps_its_lines_and_a_line_does_not() {
        assert_eq!(message("a\n\tb\r\n"), "a\n\tb\\u{d}\n");
        assert_eq!(line("a\n\tb\r\n"), "a\\u{a}\\u{9}b\\u{d}\\u{a}");
    }

    #[test]
    fn a_terminal_sequence_comes_out_as_letters() {
        for (attack, shown) in [
            ("\u{1b}[2J\u{1b}[H", "\\u{1b}[2J\\u{1b}[H"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{1b}]52;c;cm0=\u{1b}\\", "\\u{1b}]52;c;cm0=\\u{1b}\\"),
            (
                "\u{1b}]8;;http://a\u{1b}\\b",
                "\\u{1b}]8;;http://a\\u{1b}\\b",
            ),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{90}q\u{9c}", "\\u{90}q\\u{9c}"),
            ("no\u{8}\u{8}ok\ryes", "no\\u{8}\\u{8}ok\\u{d}yes"),
            (
                "\0\u{b}\u{c}\u{85}\u{7f}",
                "\\u{0}\\u{b}\\u{c}\\u{85}\\u{7f}",
            ),
        ] {
            assert_eq!(message(attack), shown);
            assert_eq!(line(attack), shown);
        }
    }

    #[test]
    fn every_c0_del_and_c1_is_escaped() {
        for c in ('\0'..=' ').chain('\u{7f}'..='\u{9f}') {
            if c != ' ' {
                assert_eq!(line(&format!("a{c}b")), format!("a{}b", escaped(c)));
            }
        }
    }

    #[test]
    fn what_reorders_hides_or_has_no_meaning_is_escaped() {
        let ranges = [
            '\u{61c}'..='\u{61c}',   // Arabic letter mark
            '\u{200b}'..='\u{200b}', // zero-width space
            '\u{200e}'..='\u{200f}', // left-to-right and right-to-left mark
            '\u{2028}'..='\u{202e}', // separators, embeddings, overrides
            '\u{2060}'..='\u{206f}', // word joiner, isolates, deprecated controls
            '\u{ad}'..='\u{ad}',     // soft hyphen
            '\u{34f}'..='\u{34f}',   // combining grapheme joiner
            '\u{115f}'..='\u{1160}', // Hangul fillers
            '\u{3164}'..='\u{3164}',
            '\u{ffa0}'..='\u{ffa0}',
            '\u{180b}'..='\u{180f}', // Mongolian selectors and vowel separator
            '\u{fe00}'..='\u{fe0d}', // variation selectors 1 to 14
            '\u{e0100}'..='\u{e01ef}', // and their supplement
            '\u{feff}'..='\u{feff}', // byte order mark
            '\u{fff9}'..='\u{fffb}', // interlinear annotation
            '\u{1d173}'..='\u{1d17a}', // musical formatting
            '\u{e0001}'..='\u{e007f}', // tags
            '\u{e000}'..='\u{e00f}', // private use
            '\u{f0000}'..='\u{f000f}',
            '\u{100000}'..='\u{10000f}',
            '\u{378}'..='\u{379}',     // unassigned
            '\u{1fc00}'..='\u{1fc0f}', // reserved for pictographs
            '\u{fdd0}'..='\u{fdef}',   // noncharacters
            '\u{fffe}'..='\u{ffff}',
            '\u{10fffe}'..='\u{10ffff}',
        ];
        for c in ranges.into_iter().flatten() {
            // Between letters and between pictographs: no neighbour excuses it.
            for (left, right) in [("a", "b"), ("ש", "ל"), ("👩", "👧")] {
                let attack = format!("{left}{c}{right}");
                let shown = format!("{left}{}{right}", escaped(c));
                assert_eq!(message(&attack), shown, "U+{:04X}", u32::from(c));
            }
        }
    }

    #[test]
    fn an_override_cannot_turn_the_sense_of_a_line() {
        assert_eq!(
            message("pay \u{202e}001\u{2066}\u{2069}\u{202c} now"),
            "pay \\u{202e}001\\u{2066}\\u{2069}\\u{202c} now"
        );
    }

    #[test]
    fn a_joiner_without_two_joinable_neighbours_is_escaped() {
        for (attack, shown) in [
            ("pay\u{200d}pal", "pay\\u{200d}pal"),
            ("pay\u{200c}pal", "pay\\u{200c}pal"),
            ("é\u{200d}a", "é\\u{200d}a"),
            ("\u{200d}é", "\\u{200d}é"),
            ("é\u{200c}", "é\\u{200c}"),
            ("é\u{200c}\né", "é\\u{200c}\né"),
            ("é\u{200d}\u{200d}é", "é\\u{200d}\\u{200d}é"),
            ("é\u{200c}\u{200b}é", "é\\u{200c}\\u{200b}é"),
            ("é\u{200d}\u{fe0f}", "é\\u{200d}\\u{fe0f}"),
            ("☺\u{fe0e}\u{200d}👧", "☺\u{fe0e}\\u{200d}👧"),
            ("👩\u{200d}\u{3164}", "👩\\u{200d}\\u{3164}"),
            ("👩\u{200d}\u{1fc00}", "👩\\u{200d}\\u{1fc00}"),
        ] {
            assert_eq!(message(attack), shown);
        }
    }

    #[test]
    fn a_selector_stays_only_behind_a_pictograph_or_in_a_keycap() {
        for (attack, shown) in [
            ("a\u{fe0f}", "a\\u{fe0f}"),
            ("\u{fe0f}", "\\u{fe0f}"),
            ("日\u{fe0e}", "日\\u{fe0e}"),
            ("❤\u{fe0f}\u{fe0f}", "❤\u{fe0f}\\u{fe0f}"),
            ("1\u{fe0f}2", "1\\u{fe0f}2"),
            ("1\u{fe0e}\u{20e3}", "1\\u{fe0e}◌\u{20e3}"),
        ] {
            assert_eq!(message(attack), shown);
        }
    }

    #[test]
    fn a_tower_of_marks_ends_at_the_eighth() {
        let tower = format!("a{}b", "\u{301}".repeat(100));
        let shown = format!("a{}{}b", "\u{301}".repeat(8), "\\u{301}".repeat(92));
        assert_eq!(message(&tower), shown);
    }

    #[test]
    fn a_joiner_does_not_begin_a_new_tower() {
        let full = format!("é{}", "\u{301}".repeat(8));
        let attack = format!("{full}\u{200d}\u{301}");
        assert_eq!(message(&attack), format!("{full}\\u{{200d}}◌\u{301}"));
        let under = format!("é{}\u{200d}\u{301}", "\u{301}".repeat(7));
        assert_eq!(message(&under), under);
    }

    #[test]
    fn a_mark_without_a_base_gets_a_circle() {
        assert_eq!(message("\u{301}a"), "◌\u{301}a");
        assert_eq!(message("a\n\u{301}"), "a\n◌\u{301}");
        assert_eq!(message("a\t\u{301}\u{302}"), "a\t◌\u{301}\u{302}");
        assert_eq!(message("\u{1b}\u{301}"), "\\u{1b}◌\u{301}");
        assert_eq!(message("a \u{301}"), "a \u{301}");
    }

    #[test]
    fn json_shows_what_can_be_seen_and_is_the_same_json() {
        let event = serde_json::json!({ "text": "é\u{202e}👧\u{7f}\n" });
        let shown = [
            (false, r#"{"text":"é\u202e👧\u007f\n"}"#),
            (true, r#"{"text":"\u00e9\u202e\ud83d\udc67\u007f\n"}"#),
        ];
        for (is_ascii, text) in shown {
            assert_eq!(json(&event, is_ascii), text);
            assert_eq!(text.parse().ok(), Some(event.clone()));
        }
    }

    /// Text in which the characters that decide something meet often.
    pub(crate) fn hostile() -> impl Strategy<Value = String> {
        let piece = Union::new([
            any::<char>().prop_map(String::from).boxed(),
            "[ -~]{1,12}".boxed(),
            proptest::sample::select(vec![
                "\n",
                "\t",
                "\r",
                " ",
                "\u{1b}[",
                "\u{200c}",
                "\u{200d}",
                "\u{fe0e}",
                "\u{fe0f}",
                "\u{20e3}",
                "1",
                "\u{301}",
                "\u{301}\u{302}\u{303}",
                "\u{903}",
                "é",
                "日",
                "👩",
                "❤",
                "🏽",
                "🇩",
                "\u{202e}",
                "\u{1112}",
                "\u{1161}",
                "क\u{94d}",
                "\u{600}",
                "◌",
            ])
            .prop_map(String::from)
            .boxed(),
        ]);
        proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_text_gets_a_hidden_character_through(text in hostile()) {
            prop_assert!(!line(&text).chars().any(is_hidden));
            prop_assert!(!message(&text).replace(['\n', '\t'], "").chars().any(is_hidden));
        }

        /// Whatever comes out would be let through again as it is: no rule is
        /// satisfied by a neighbour that is not shown.
        #[test]
        fn what_has_passed_the_door_passes_it_unchanged(text in hostile()) {
            let once = message(&text);
            prop_assert_eq!(message(&once), once);
        }

        #[test]
        fn text_of_letters_is_never_changed(text in "[ -~à-öא-ת一-龥\n\t]{0,40}") {
            prop_assert_eq!(message(&text), text);
        }
    }
}
