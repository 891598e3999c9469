//! Tells of a conversation that nobody goes on with.

use super::display::Display;
use super::report::Report;
use super::speaker::Speaker;
use crate::link::Abandoned;
use crate::protocol::Message;

/// Of one that was ended here, and its end told only after a restart.
pub fn ended_before(name: &str) -> String {
    format!("You had ended the conversation with {name}, before the program was stopped.")
}

/// What became of it, and what is not known to have arrived.
pub fn told(what: String, abandoned: &Abandoned) -> String {
    match &abandoned.unacknowledged {
        None => what,
        Some(Message { turn, .. }) => format!(
            "{what} Your message of turn {turn} in it was not acknowledged, as far as \
             is known here: your peer may have it or not. Ask, or say it again."
        ),
    }
}

/// Tells what became of it, and what is not known to have arrived.
///
/// # Errors
/// stdout cannot be written.
pub fn tell(
    what: String,
    abandoned: &Abandoned,
    display: &Display,
    speaker: &mut impl Speaker,
) -> Result<(), Report> {
    let what = told(what, abandoned);
    display.say(&what);
    speaker.abandoned(&what, abandoned)
}
