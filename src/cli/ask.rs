//! Questions about unknown keys, put to a person. Only a whole word is an answer.

use super::console::Console;
use super::report::Report;
use super::speaker::{Answer, Speaker};
use crate::cli::book::Petname;
use crate::trust::KeyId;

/// The words that answer a question.
const CHOICES: &str = "Type `accept` for this once, or `decline`: ";

/// Puts it to the person whether a server's key is the right one.
///
/// # Errors
/// The terminal cannot be read.
pub async fn about_server(
    speaker: &mut impl Speaker,
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
    loop {
        ask_again(speaker);
        match speaker.answer().await? {
            Answer::Line(line) => {
                if let Some(answer) = parse_answer(&line) {
                    return Ok(answer);
                }
                explain(console, &line);
            }
            Answer::Left(_) => return Ok(false),
        }
    }
}

/// Begins to put it to the person whether a client may talk.
pub fn about_client(speaker: &mut impl Speaker, console: &Console, key: &KeyId) {
    console.print_always(&format!("A key that you don't know wants to talk: {key}"));
    ask_again(speaker);
}

/// Asks, or asks again where the answer was none.
pub fn ask_again(speaker: &mut impl Speaker) {
    speaker.question(CHOICES);
}

/// What was answered, if it was.
pub fn parse_answer(line: &str) -> Option<bool> {
    match line.trim() {
        "accept" => Some(true),
        "decline" => Some(false),
        _ => None,
    }
}

/// Says that this is no answer.
pub fn explain(console: &Console, line: &str) {
    if !line.trim().is_empty() {
        console.print_always(&format!("`{}` is no answer.", line.trim()));
    }
}
