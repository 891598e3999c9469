//! The one door for foreign text, and the rows that it is laid out in.
//!
//! Input: how many columns, what the terminal makes of letters, and the text.

use serde_json::Value;
use turnchat::cli::layout::{INDENT, OURS, Page, THEIRS, transcript};
use turnchat::cli::locale::Letters;
use turnchat::cli::screen;

use super::forbidden::{check_row, check_width, is_forbidden, is_harmless};

/// From here on the longest prefix leaves room for a character.
const ENOUGH: usize = 20;

pub fn run(data: &[u8]) {
    let [columns, kind, bytes @ ..] = data else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    door(&text);
    let locale = ["C.UTF-8", "ja_JP.UTF-8", "C"][usize::from(*kind) % 3];
    let page = Page {
        columns: usize::from(*columns),
        letters: Letters::named(locale),
    };
    let prefix = [THEIRS, OURS][usize::from(*kind / 3) % 2];
    rows(prefix, &text, page);
    piped(prefix, &text);
}

fn door(text: &str) {
    let message = screen::message(text);
    let line = screen::line(text);
    check_row(&line);
    check_row(&message.replace(['\n', '\t'], ""));
    assert_eq!(
        screen::message(&message),
        message,
        "the door is passed once"
    );
    assert_eq!(screen::line(&line), line, "the door is passed once");
    let breaks = |text: &str| text.matches(['\n', '\t']).count();
    assert_eq!(
        breaks(&message),
        breaks(text),
        "no row is made or lost here"
    );
    if text
        .chars()
        .all(|c| is_harmless(c) || matches!(c, '\n' | '\t'))
    {
        assert_eq!(message, text, "harmless text is unchanged");
    }
    if text.chars().all(is_harmless) {
        assert_eq!(line, text, "harmless text is unchanged");
    }
    let value = Value::from(text);
    for is_ascii in [false, true] {
        let json = screen::json(&value, is_ascii);
        check_row(&json);
        assert!(json.is_ascii() || !is_ascii);
        let read: Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(read, value, "JSON says the same");
    }
}

fn rows(prefix: &str, text: &str, page: Page) {
    let shown = transcript(prefix, text, Some(page));
    let rows = shown.strip_suffix('\n').expect("the last row is ended");
    assert!(
        page.columns < ENOUGH || rows.starts_with(prefix),
        "{rows:?}"
    );
    for (number, row) in rows.split('\n').enumerate() {
        check_row(row);
        assert!(
            number == 0 || row.starts_with(INDENT),
            "at column 0: {row:?}"
        );
        assert!(!page.letters.are_ascii() || row.is_ascii(), "{row:?}");
        match page.columns {
            0 => check_width(row, 80),
            1..ENOUGH => {}
            columns => check_width(row, columns),
        }
    }
    // Only blanks are lost at the ends of rows, and only at these and at the left margin are there more.
    let letters = |shown: &str| shown.replace([' ', '\n', '\t'], "");
    let whole = page.letters.show(transcript(prefix, text, None));
    assert_eq!(letters(&shown), letters(&whole), "nothing is lost");
}

fn piped(prefix: &str, text: &str) {
    let shown = transcript(prefix, text, None);
    let lines: Vec<_> = shown
        .strip_suffix('\n')
        .expect("ended")
        .split('\n')
        .collect();
    assert_eq!(lines.len(), text.split('\n').count());
    assert!(lines[0].starts_with(prefix));
    assert!(lines[1..].iter().all(|line| line.starts_with(INDENT)));
    assert!(
        !shown
            .chars()
            .any(|c| is_forbidden(c) && !matches!(c, '\n' | '\t'))
    );
}
