//! What speakers are told in tests: of alice, and of what she says.

use std::io::{Write as _, pipe};
use std::os::fd::OwnedFd;
use std::thread;

use super::Partner;
use crate::cli::input::Input;
use crate::cli::layout::Page;
use crate::cli::locale::Letters;
use crate::link::{Cause, Ended};
use crate::protocol::{ConversationId, Message, Role, Text};
use crate::trust::KeyId;

pub(super) fn text(words: &str) -> Text {
    Text::new(words).unwrap()
}

pub(super) fn conversation() -> ConversationId {
    ConversationId::from_bits([1; 16])
}

/// Alice, for a side in this role.
pub(super) fn alice(role: Role) -> Partner {
    Partner {
        key: KeyId::of_spki(b"alice"),
        petname: Some("alice".to_owned()),
        address: None,
        role,
        conversation: conversation(),
        is_resumed: false,
    }
}

pub(super) fn message(turn: u64, words: &str) -> Message {
    Message {
        turn,
        text: text(words),
    }
}

/// The end of a conversation of three turns.
pub(super) fn ended(cause: Cause) -> Ended {
    Ended::new(cause, 3, None)
}

/// An input that holds these lines, and then ends.
pub(super) fn input(lines: &str) -> Input {
    let (reader, mut writer) = pipe().unwrap();
    let lines = lines.to_owned();
    // It may be more than a pipe holds.
    thread::spawn(move || writer.write_all(lines.as_bytes()));
    Input::of(OwnedFd::from(reader), Text::MAX)
}

/// Whether this still waits, once it is looked at.
pub(super) async fn waits(asked: impl Future) -> bool {
    tokio::select! {
        biased;
        _ = asked => false,
        () = std::future::ready(()) => true,
    }
}

/// A terminal of so many columns.
pub(super) fn columns(columns: usize) -> Page {
    Page {
        columns,
        letters: Letters::named("C.UTF-8"),
    }
}
