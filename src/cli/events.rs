//! The events that both `--json` and a transcript have, without their names: docs/JSON.md.

use serde_json::{Value, json};

use super::speaker::partner::Partner;
use crate::link::{Cause, Ended, LinkError};
use crate::protocol::{Message, Text};

/// A conversation is on.
pub fn connected(partner: &Partner) -> Value {
    let mut peer = json!({ "key": partner.key.to_string() });
    if let (Some(petname), Some(peer)) = (&partner.petname, peer.as_object_mut()) {
        peer.insert("petname".to_owned(), petname.clone().into());
    }
    let role = partner.role.word();
    json!({ "peer": peer, "role": role, "resumed": partner.is_resumed })
}

/// A message, by `me` or `peer`.
pub fn turn(turn: u64, speaker: &str, text: &Text) -> Value {
    json!({ "turn": turn, "speaker": speaker, "text": text.as_str() })
}

/// The conversation is over.
pub fn ended(over: &Ended) -> Value {
    let (by, detail) = match &over.cause {
        Cause::Me => ("me", None),
        Cause::Peer => ("peer", None),
        Cause::Refused(reason) => ("refused", Some(reason.word().to_owned())),
        Cause::Link(error) => (
            match error {
                LinkError::Cut
                | LinkError::Io(_)
                | LinkError::Overdue(_)
                | LinkError::OtherKey(_)
                | LinkError::NotNow(_) => "lost",
                LinkError::TakenOver => "elsewhere",
                _ => "error",
            },
            Some(error.to_string()),
        ),
    };
    let mut ended = json!({ "by": by, "turns": over.turns });
    insert_message(&mut ended, "unacknowledged", over.unacknowledged.as_ref());
    if let (Some(ended), Some(detail)) = (ended.as_object_mut(), detail) {
        ended.insert("detail".to_owned(), detail.into());
    }
    ended
}

/// A message, where there is one.
pub fn insert_message(event: &mut Value, name: &str, message: Option<&Message>) {
    if let (Some(event), Some(Message { turn, text, .. })) = (event.as_object_mut(), message) {
        let message = json!({ "turn": turn, "text": text.as_str() });
        event.insert(name.to_owned(), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_says_by_whom() {
        for (cause, by) in [
            (Cause::Me, "me"),
            (Cause::Peer, "peer"),
            (Cause::Link(LinkError::Cut), "lost"),
            (Cause::Link(LinkError::TakenOver), "elsewhere"),
            (Cause::Link(LinkError::ReaderFailed), "error"),
        ] {
            let over = Ended::new(cause, 3, None);
            assert_eq!(ended(&over)["by"], by);
        }
    }
}
