//! Questions about unknown keys, put to a person. Only whole words are an answer.

use super::book::Petname;
use super::display::Display;
use super::proposal::theirs;
use super::report::Report;
use super::speaker::{self, Left, Speaker};
use crate::trust::KeyId;

/// The words that answer a question.
const CHOICES: &str = "Type `accept` for this once, `remember NAME`, or `decline`: ";

/// How to find out whose key it is.
fn compare() -> String {
    format!(
        "Compare it with what {} prints on your peer's side.",
        theirs("fingerprint")
    )
}

/// What is not said again in full: the answer may have been a pasted text.
const LONGEST: usize = 60;

/// A question about this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The key.
    pub key: KeyId,
}

/// What a person says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is right, this once.
    Accept,
    /// It is right, and goes into the address book under this name.
    Remember(Petname),
    /// It is not.
    Decline,
    /// Another key was pasted: the two do not match.
    OtherKey,
}

impl Question {
    /// What the line means. A key may be pasted: the same one is accepted for this once.
    ///
    /// # Errors
    /// It is no answer: what to say about that.
    pub fn parse(&self, line: &str) -> Result<Answer, String> {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["accept"] => Ok(Answer::Accept),
            ["decline"] => Ok(Answer::Decline),
            ["remember"] => Err("`remember` needs a name, as in `remember bob`.".to_owned()),
            ["remember", name] => name
                .parse()
                .map(Answer::Remember)
                .map_err(|error| format!("`{}` is {error}.", shortened(name))),
            [] => Err("Enter alone is no answer.".to_owned()),
            [word] if word.starts_with("SHA256:") => match word.parse::<KeyId>() {
                Ok(key) if key == self.key => Ok(Answer::Accept),
                Ok(_) => Ok(Answer::OtherKey),
                Err(_) => Err(format!("`{}` is not a whole key.", shortened(word))),
            },
            _ => Err(format!("`{}` is no answer.", shortened(line.trim()))),
        }
    }
}

/// What came of a question about a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// This was answered.
    Answered(Answer),
    /// Nothing was, and nothing will be.
    Left(Left),
}

/// Puts it to the person whether a server's key is the right one.
///
/// # Errors
/// The terminal cannot be read.
pub async fn about_server(
    speaker: &mut impl Speaker,
    display: &Display,
    host: &str,
    key: &KeyId,
    known_as: Option<&Petname>,
) -> Result<Asked, Report> {
    display.begin_row();
    display.explain(&format!("{host} has a key that you don't know:"));
    display.print_always(&format!("    {key}"));
    if let Some(name) = known_as {
        display.explain(&format!("You know this key as {name}, at another address."));
    }
    display.explain(&compare());
    let question = Question { key: *key };
    loop {
        ask_again(speaker);
        match speaker.answer().await? {
            speaker::Answer::Line(line) => match question.parse(&line) {
                Ok(answer) => return Ok(Asked::Answered(answer)),
                Err(why) => display.explain(&why),
            },
            speaker::Answer::Left(left) => return Ok(Asked::Left(left)),
        }
    }
}

/// Begins to put it to the person whether a client may talk.
pub fn about_client(speaker: &mut impl Speaker, display: &Display, from: &str, key: &KeyId) {
    display.begin_row();
    display.explain(&format!("A key that you don't know wants to talk{from}:"));
    display.print_always(&format!("    {key}"));
    display.explain(&compare());
    ask_again(speaker);
}

/// Asks, or asks again where the answer was none.
pub fn ask_again(speaker: &mut impl Speaker) {
    speaker.question(CHOICES);
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Question};
    use crate::trust::KeyId;

    #[test]
    fn whole_words_are_answers_and_nothing_else_is() {
        let key = KeyId::of_spki(b"bob");
        let question = Question { key };
        let bob = || "bob".parse().unwrap();
        for (line, answer) in [
            (" accept ", Answer::Accept),
            ("decline", Answer::Decline),
            ("remember  bob", Answer::Remember(bob())),
            (&key.to_string(), Answer::Accept),
            (&KeyId::of_spki(b"mallory").to_string(), Answer::OtherKey),
        ] {
            assert_eq!(question.parse(line), Ok(answer), "{line}");
        }
        for (line, said) in [
            ("", "Enter alone"),
            ("y", "`y` is no answer"),
            ("yes", "`yes` is no answer"),
            ("ACCEPT", "`ACCEPT` is no answer"),
            ("accept it", "no answer"),
            ("remember", "needs a name"),
            ("remember -x", "`-x` is not a name"),
            ("remember bob alice", "no answer"),
            ("SHA256:abc", "not a whole key"),
            (&"x".repeat(500), "…` is no answer"),
        ] {
            let why = question.parse(line).unwrap_err();
            assert!(why.contains(said) && why.len() < 200, "{why}");
        }
    }
}
