//! How a person types the code of a pairing.

use crate::trust::PairingCode;

/// Before the words are typed.
pub const PROMPT: &str = "Pairing code: ";

/// How Tab completes a code: the rest of a word, as far as it is clear, and the `-` behind it.
pub fn complete(before: &str) -> Option<String> {
    let before = before.to_ascii_lowercase();
    let is_between = |c: char| c == '-' || c.is_ascii_whitespace();
    let words: Vec<_> = before.split(is_between).collect();
    let (start, finished) = words.split_last().filter(|(start, _)| !start.is_empty())?;
    let (first, others) = PairingCode::words_from(start).split_first()?;
    let shared = others.iter().fold(first.len(), |shared, other| {
        let same = first.bytes().zip(other.bytes());
        shared.min(same.take_while(|(a, b)| a == b).count())
    });
    let is_whole = others.is_empty();
    let is_last = finished.iter().filter(|word| !word.is_empty()).count() >= 2;
    let rest = first.get(start.len()..shared)?;
    let behind = if is_whole && !is_last { "-" } else { "" };
    Some(format!("{rest}{behind}")).filter(|more| !more.is_empty())
}

#[cfg(test)]
mod tests {
    use super::complete;

    #[test]
    fn tab_completes_as_far_as_it_is_clear() {
        for (before, more) in [
            ("acou", Some("stic-")),
            ("acoustic-MUSE", Some("um-")),
            ("acoustic museum tid", Some("e")),
            ("acoustic", Some("-")),
            ("acoustic-museum-tide", None),
            // act, action, actor, actress, actual.
            ("ac", None),
            ("act", None),
            ("actu", Some("al-")),
            ("elepha", Some("nt-")),
            ("zzz", None),
            ("", None),
            ("acoustic-", None),
            ("ä", None),
        ] {
            assert_eq!(complete(before).as_deref(), more, "{before}");
        }
    }
}
