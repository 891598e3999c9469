//! Tells of a conversation that nobody goes on with.

use super::console::Console;
use super::report::Report;
use super::speaker::Speaker;
use crate::link::Abandoned;
use crate::protocol::Message;

/// Of one that was ended here, and its end told only after a restart.
pub fn ended_before(name: &str) -> String {
    format!("You had ended the conversation with {name}, before the program was stopped.")
}

/// Tells what became of it, and what is not known to have arrived.
///
/// # Errors
/// stdout cannot be written.
pub fn tell(
    mut what: String,
    abandoned: &Abandoned,
    console: &Console,
    speaker: &mut impl Speaker,
) -> Result<(), Report> {
    if let Some(Message { turn, .. }) = &abandoned.unacknowledged {
        what += &format!(
            " Your message of turn {turn} in it was not acknowledged: \
             say it again, your peer may not have it."
        );
    }
    console.say(&what);
    speaker.abandoned(&what, abandoned)
}
