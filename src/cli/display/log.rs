//! [`LogFormat`]: how stderr looks where it is a log.

use clap::ValueEnum;

use crate::cli::layout::{self, Page};
use crate::cli::screen;

/// How a log is written: an event a line, each with its time (UTC) and level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(
    missing_docs,
    reason = "with a text for each, the help would be a table of words that say it"
)]
pub enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    /// An event as it may be seen on this page, or in a file.
    pub(super) fn rows(self, event: &str, page: Option<Page>) -> String {
        match self {
            // It begins with its time, which is ours.
            Self::Text => layout::transcript("", &screen::line(event), page),
            Self::Json => {
                let is_ascii = page.is_some_and(|page| page.letters.are_ascii());
                format!("{}\n", screen::written_json(event, is_ascii))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_event_steers_a_terminal_or_leaves_its_line() {
        for (format, event, rows) in [
            (
                LogFormat::Text,
                "now INFO a\u{1b}[2J\nb",
                "now INFO a\\u{1b}[2J\\u{a}b\n",
            ),
            (
                LogFormat::Json,
                "{\"why\":\"\u{202e}\u{9b}\\n\"}",
                "{\"why\":\"\\u202e\\u009b\\n\"}\n",
            ),
        ] {
            assert_eq!(format.rows(event, None), rows);
        }
    }
}
