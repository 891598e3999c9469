//! Questions about unknown keys, put to the person at a terminal. Only a whole
//! word is an answer.

use super::console::Console;
use super::report::Report;
use super::speaker::terminal::Terminal;
use crate::cli::book::Petname;
use crate::trust::KeyId;

/// The words that answer a question.
const CHOICES: &str = "Type `accept` for this once, or `decline`: ";

/// Puts it to the person whether a server's key is the right one.
///
/// # Errors
/// The terminal cannot be read.
pub async fn about_server(
    terminal: &mut Terminal,
    console: &Console,
    host: &str,
    key: &KeyId,
    known_as: Option<&Petname>,
) -> Result<bool, Report> {
    console.print_always(&format!("{host} has a key that you don't know: {key}"));
    if let Some(name) = known_as {
        console.print_always(&format!("You know this key as {name}, at another address."));
    }
    console.print_always("Compare it with what `turnchat fingerprint` prints on your peer's side.");
    terminal.discard();
    loop {
        console.ask(CHOICES);
        match terminal.answer().await?.map(|line| parse_answer(&line)) {
            Some(Some(answer)) => return Ok(answer),
            Some(None) => {}
            None => return Ok(false),
        }
    }
}

/// Begins to put it to the person whether a client may talk.
pub fn about_client(terminal: &mut Terminal, console: &Console, key: &KeyId) {
    console.print_always(&format!("A key that you don't know wants to talk: {key}"));
    terminal.discard();
    console.ask(CHOICES);
}

/// Asks again, where the answer was none.
pub fn ask_again(console: &Console) {
    console.ask(CHOICES);
}

/// What was answered, if it was.
pub fn parse_answer(line: &str) -> Option<bool> {
    match line.trim() {
        "accept" => Some(true),
        "decline" => Some(false),
        _ => None,
    }
}
