use std::io;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};

use proptest::prelude::{prop_assert, proptest};

use super::output::Output;
use super::recorded::Shown;
use super::{Display, LogFormat, PREFIX};
use crate::cli::layout::{OURS, Page, THEIRS};
use crate::cli::locale::Letters;
use crate::cli::report::Report;
use crate::link::LinkError;
use crate::protocol::{Code, Detail};

/// What a peer would like to see at the left margin of somebody else's screen.
const FORGED: &str = "turnchat: Connected with bob.";

fn size(cells: u16) -> NonZeroU16 {
    NonZeroU16::new(cells).unwrap()
}

fn display(columns: u16) -> (Display, Shown) {
    Display::recorded(Some(Page {
        columns: columns.into(),
        letters: Letters::named("C.UTF-8"),
    }))
}

/// The rows of a terminal that was given this.
fn rows(shown: &Shown, columns: u16) -> Vec<String> {
    let mut terminal = vt100::Parser::new(size(500), size(columns), 0);
    let rows = shown.take();
    for row in rows.lines() {
        let row = row.strip_prefix('|').unwrap_or(row);
        terminal.process(row.as_bytes());
        terminal.process(b"\r\n");
    }
    let rows: Vec<_> = terminal.screen().rows(0, columns).collect();
    rows.into_iter().filter(|row| !row.is_empty()).collect()
}

#[test]
fn the_detail_of_an_error_begins_no_row() {
    for before in 0..120 {
        let detail = format!("{}{FORGED}", "x".repeat(before));
        let reported = LinkError::Reported {
            code: Code::Internal,
            detail: Some(Detail::new(detail).unwrap()),
        };
        let (display, shown) = display(80);
        display.fail(&Report::from(&reported));
        let rows = rows(&shown, 80);
        assert!(rows.iter().all(|row| !row.starts_with(FORGED)), "{rows:#?}");
        assert!(rows.join("").contains("bob"), "{rows:#?}");
    }
}

/// An event is written under locks, and by whoever else runs: it has no row to wait for.
#[test]
fn nothing_is_held_beside_a_log() {
    let (display, shown) = Display::recorded(None);
    display.message_soon(OURS, "one").unwrap();
    assert_eq!(shown.take(), "");
    display.settle().unwrap();
    assert_eq!(shown.take(), "Your message: one\n");
    let display = display.logging(LogFormat::Text);
    display.message_soon(OURS, "two").unwrap();
    assert_eq!(shown.take(), "Your message: two\n");
}

/// A terminal whose program is stopped, and goes on, as soon as it has written something.
#[derive(Debug, Default)]
struct StoppedAtEach(Mutex<Option<Display>>);

impl Output for StoppedAtEach {
    fn is_terminal(&self) -> bool {
        true
    }

    fn is_colourful(&self) -> bool {
        false
    }

    fn page(&self) -> Option<Page> {
        None
    }

    fn write(&self, _text: &str) -> io::Result<()> {
        if let Some(display) = &*self.0.lock().unwrap() {
            display.forget_prompt();
        }
        Ok(())
    }
}

#[test]
fn a_stop_right_behind_the_prompt_loses_it() {
    let terminal = Arc::new(StoppedAtEach::default());
    let display = Display::over(terminal.clone(), terminal.clone(), false, 0);
    *terminal.0.lock().unwrap() = Some(display.clone());
    display.prompt().unwrap();
    assert!(!display.has_prompt(), "nobody would write it again");
    display.ask("Who? ");
    assert!(!display.has_prompt(), "nobody would write it again");
}

proptest! {
    #[test]
    fn foreign_text_begins_no_row(
        text in "[ -~äα漢\u{301}\n\r\t\u{1b}\u{9b}]{0,200}",
        columns in 30_u16..120,
    ) {
        let own = [PREFIX, "Not sent: ", THEIRS];
        let (display, shown) = display(columns);
        display.say(&text);
        display.detail(&text);
        display.unsaid(&text);
        display.message(THEIRS, &text).unwrap();
        let rows = rows(&shown, columns);
        let begun = |row: &String| own.iter().any(|own| row.starts_with(own.trim_end()));
        for row in &rows {
            prop_assert!(begun(row) || row.starts_with("    "), "{rows:#?}");
        }
        prop_assert!(rows.iter().filter(|row| begun(row)).count() == 4, "{rows:#?}");
    }
}
