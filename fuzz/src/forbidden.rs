//! What must never reach a terminal, listed here once more: the program asks Unicode's tables.

use unicode_width::UnicodeWidthStr as _;

/// Control characters, and what reorders or hides text.
pub fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0d}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
            | '\u{f0000}'..='\u{10ffff}')
}

/// One row of a terminal, or a part of one.
#[track_caller]
pub fn check_row(row: &str) {
    let found = row.chars().find(|c| is_forbidden(*c));
    assert_eq!(found, None, "in {row:?}");
}

/// The same, with the columns that it may have.
#[track_caller]
pub fn check_width(row: &str, columns: usize) {
    check_row(row);
    assert!(row.width() < columns, "{columns} columns: {row:?}");
}

/// Letters, digits, signs and emoji that nobody has a reason to change.
pub fn is_harmless(c: char) -> bool {
    matches!(c, ' '..='~' | 'à'..='ö' | 'א'..='ת' | 'а'..='я' | '一'..='龥' | '가'..='힣' | '😀'..='🙏')
}
