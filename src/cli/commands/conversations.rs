//! `turnchat conversations`: lists and gives up what stands in the home's journal.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::stdout::print;
use crate::cli::abandoned;
use crate::cli::args::{ConversationsCommand, KeyArg};
use crate::cli::book::AddressBook;
use crate::cli::display::Display;
use crate::cli::home::{Home, resolve_keys};
use crate::cli::layout::THEIRS;
use crate::cli::proposal::yours;
use crate::cli::report::{Exit, Report};
use crate::link::{Abandoned, JournalError, OpenConversation};
use crate::protocol::Role;
use crate::trust::KeyId;

/// Lists open conversations, or gives one up.
///
/// # Errors
/// The address book or the journal cannot be read, there is nothing to give up, or a running
/// program holds it.
pub async fn run(
    command: &ConversationsCommand,
    home: &Home,
    display: &Display,
) -> Result<Exit, Report> {
    match command {
        ConversationsCommand::List { json } => list(*json, home, display),
        ConversationsCommand::End { peer } => end(peer, home, display).await,
    }
}

fn list(as_json: bool, home: &Home, display: &Display) -> Result<Exit, Report> {
    let book = home.book()?;
    let (mut open, mut unreadable) = (Vec::new(), Vec::new());
    for journal in home.journals()? {
        for found in journal.open_conversations() {
            match found {
                Ok(conversation) => open.push(conversation),
                Err(error) => unreadable.push(error),
            }
        }
    }
    open.sort_by_key(|of| (Reverse(of.written), of.key, of.conversation));
    let lines: Vec<_> = match as_json {
        true => open
            .iter()
            .map(|of| object(of, &book).to_string())
            .collect(),
        false => rows(&open, &book, SystemTime::now()),
    };
    if !lines.is_empty() {
        print("The list", &lines.join("\n"))?;
    }
    let has_failed = !unreadable.is_empty();
    for error in unreadable {
        let Unended(report) = error.into();
        display.fail(&report);
    }
    if has_failed {
        return Ok(Exit::Failure);
    }
    if open.is_empty() {
        display.say("No conversation is open.");
    }
    Ok(Exit::Success)
}

/// What the address book calls the peer, or else the key.
fn name_of(key: &KeyId, book: &AddressBook) -> String {
    let name = book.name_of(key);
    name.map_or_else(|| key.to_string(), ToString::to_string)
}

fn object(of: &OpenConversation, book: &AddressBook) -> Value {
    let written = of.written.duration_since(UNIX_EPOCH);
    json!({
        "key": of.key.to_string(),
        "name": book.name_of(&of.key).map(ToString::to_string),
        "role": of.role.word(),
        "conversation": of.conversation.to_string(),
        "turns": of.turns,
        "written": written.map_or(0, |since| since.as_secs()),
        "held": of.is_held,
    })
}

/// A row for each, in columns.
fn rows(open: &[OpenConversation], book: &AddressBook, now: SystemTime) -> Vec<String> {
    let cells = open.iter().map(|of| {
        // After a clock was set back there is no age to tell.
        let age = now.duration_since(of.written).unwrap_or_default();
        let name = book.name_of(&of.key);
        [
            name.map_or_else(|| "-".to_owned(), ToString::to_string),
            of.key.to_string(),
            format!("as {}", of.role.word()),
            counted(of.turns),
            format!("{} ago", short(age)),
            if of.is_held { "in use" } else { "" }.to_owned(),
        ]
    });
    let cells: Vec<_> = cells.collect();
    let mut widths = [0; 6];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let row = |cells: &[String; 6]| {
        let padded = cells.iter().zip(widths);
        let padded = padded.map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(row).collect()
}

fn counted(turns: u64) -> String {
    match turns {
        1 => "1 turn".to_owned(),
        _ => format!("{turns} turns"),
    }
}

/// In whole units of the largest that fits.
fn short(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

async fn end(peer: &KeyArg, home: &Home, display: &Display) -> Result<Exit, Report> {
    let book = home.book()?;
    let (name, keys) = match peer {
        KeyArg::Peer(name) => match book.get(name) {
            Some(entry) => (name.to_string(), entry.keys()),
            None => {
                let nobody = format!("Nobody in the address book is called {name}.");
                return Err(nothing(nobody));
            }
        },
        KeyArg::Key(_) | KeyArg::File(_) => {
            let keys = resolve_keys(std::slice::from_ref(peer), &book)?;
            let names = keys.iter().map(|key| name_of(key, &book));
            (names.collect(), keys)
        }
    };
    let mut has_ended = false;
    for journal in home.journals()? {
        let given_up = journal.give_up(&keys, |open, left| {
            has_ended = true;
            tell(open, left, &name, display)
        });
        given_up.await.map_err(|Unended(report)| report)?;
    }
    match has_ended {
        true => Ok(Exit::Success),
        false => Err(nothing(format!(
            "No conversation with {name} is open in {}.",
            home.path().display()
        ))),
    }
}

fn nothing(what: String) -> Report {
    let advice = format!("See {}; nothing was changed.", yours("conversations list"));
    Report::new(Exit::Failure, what, advice)
}

/// One was given up. The peer's last message counts as delivered: its reader may not have seen
/// it, and this is the last time that it is there.
fn tell(
    open: &OpenConversation,
    left: &Abandoned,
    name: &str,
    display: &Display,
) -> Result<(), Unended> {
    let learns = match open.role {
        Role::Server => "your peer is told when it comes back",
        Role::Client => "your peer is told when you call again",
    };
    let what = format!(
        "Gave up the conversation with {name} (as {}, {}): {learns}.",
        open.role.word(),
        counted(open.turns)
    );
    let mut what = abandoned::told(what, left);
    if left.untaken.is_some() {
        what += " Its last message, if you have not seen it:";
    }
    display.say(&what);
    match &left.untaken {
        Some(message) => Ok(display.message(THEIRS, message.text.as_str())?),
        None => Ok(()),
    }
}

/// Why one cannot be given up, with the advice that is true of this command.
struct Unended(Report);

impl From<Report> for Unended {
    fn from(report: Report) -> Self {
        Self(report)
    }
}

impl From<JournalError> for Unended {
    fn from(error: JournalError) -> Self {
        Self(Report::journal(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        for (seconds, told) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (3_600, "1h"),
            (86_399, "23h"),
            (86_400, "1d"),
            (30 * 86_400, "30d"),
        ] {
            assert_eq!(short(Duration::from_secs(seconds)), told);
        }
    }
}
