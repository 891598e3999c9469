//! What a person is told of a conversation, at a terminal and with a pipe.

use crate::cli::console::Console;
use crate::cli::locale::Letters;
use crate::cli::report::Report;
use crate::link::{Cause, Ended, Notice};

/// A notice, as words.
pub(super) fn show_notice(console: &Console, notice: Notice) {
    match notice {
        Notice::Waiting { ahead: 0 } => console.say("Waiting: nobody is before you."),
        Notice::Waiting { ahead: 1 } => console.say("Waiting: one is before you."),
        Notice::Waiting { ahead } => console.say(&format!("Waiting: {ahead} are before you.")),
        Notice::Lost => console.say(
            "The link is lost. Nothing is delivered until it is back; then all goes on where it was.",
        ),
        Notice::Resumed => console.say("The link is back."),
        Notice::Silence { is_over: false } => console.say(SILENCE),
        Notice::Silence { is_over: true } => console.say("Your peer is there again."),
        Notice::OtherKey { key } => console.fail(&Report::other_key(&key)),
        Notice::Delivered { turn } => console.detail(&format!("Turn {turn} is delivered.")),
    }
}

/// Why letters are shown as numbers, where they are.
pub(super) fn show_letters(console: &Console) {
    if Letters::of_locale().are_ascii() {
        console.say(
            "The locale is not UTF-8: letters other than ASCII are shown as their numbers. \
             LANG=C.UTF-8, for example, shows them.",
        );
    }
}

/// What comes next was heard before a restart.
pub(super) fn show_heard_again(console: &Console) {
    console.say("The last message, if you have not seen it:");
}

/// It may be the link, or the peer's program.
pub(super) const SILENCE: &str =
    "Nothing has come from your peer for 30 seconds: the link may be gone.";

/// What Ctrl-C does.
pub(super) const INTERRUPTED: &str = "Saying goodbye. Ctrl-C once more leaves at once.";

/// The end cannot be told at once.
pub(super) fn show_leaving(console: &Console) {
    console.say("Saying goodbye: the link is lost, so this takes up to 10 seconds.");
}

/// An orderly end, as words; what went wrong is told as a report.
pub(super) fn show_end(console: &Console, peer: &str, over: &Ended) {
    if matches!(over.cause, Cause::Peer) {
        console.say(&format!("{peer} has ended the conversation."));
    }
}
