//! What a person is told of a conversation, at a terminal and with a pipe.

use std::time::Duration;

use crate::cli::display::Display;
use crate::cli::locale::Letters;
use crate::cli::report::Report;
use crate::link::{Cause, Ended, Notice};

/// A notice, as words.
pub(super) fn show_notice(display: &Display, notice: Notice) {
    match notice {
        Notice::Waiting { ahead } => display.say(&waiting(ahead)),
        Notice::Lost => display.say(
            "The link is lost. Nothing is delivered until it is back; then all goes on where it was.",
        ),
        Notice::Resumed => display.say("The link is back."),
        Notice::Silence { is_over: false } => display.say(SILENCE),
        Notice::Silence { is_over: true } => display.say("Your peer is there again."),
        Notice::OtherKey { key } => display.fail(&Report::other_key(&key)),
        Notice::NotNow { reason } => {
            let Report { what, advice, .. } = Report::not_now(reason);
            display.say(&format!("{what} {advice}"));
        }
        Notice::Delivered { turn } => display.detail(&format!("Turn {turn} is delivered.")),
    }
}

/// Why letters are shown as numbers, where they are.
pub(super) fn show_letters(display: &Display) {
    if Letters::of_locale().are_ascii() {
        display.say(
            "The locale is not UTF-8: letters other than ASCII are shown as their numbers. \
             LANG=C.UTF-8, for example, shows them.",
        );
    }
}

/// What comes next was heard before a restart.
pub(super) fn show_heard_again(display: &Display) {
    display.say("The last message, if you have not seen it:");
}

/// The place in the queue.
pub(super) fn waiting(ahead: u64) -> String {
    match ahead {
        0 => "Waiting: you are next, once your peer is ready.".to_owned(),
        1 => "Waiting: one is before you.".to_owned(),
        _ => format!("Waiting: {ahead} are before you."),
    }
}

/// It may be the link, or the peer's program.
pub(super) const SILENCE: &str =
    "Nothing has come from your peer for 30 seconds: the link may be gone.";

/// What Ctrl-C does.
pub(super) const INTERRUPTED: &str = "Saying goodbye. Ctrl-C once more leaves at once.";

/// The end cannot be told at once.
pub(super) fn show_leaving(display: &Display, within: Duration) {
    display.say(&format!(
        "Saying goodbye: the link is lost, so this takes up to {} seconds.",
        within.as_secs()
    ));
}

/// A peer whose name was not told yet: there was no conversation.
pub(super) const SOMEBODY: &str = "Your peer";

/// An orderly end, as words; what went wrong is told as a report.
pub(super) fn show_end(display: &Display, peer: &str, over: &Ended) {
    if matches!(over.cause, Cause::Peer) {
        display.say(&format!("{peer} has ended the conversation."));
    }
}
