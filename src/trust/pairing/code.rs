//! [`PairingCode`]: three words that one person reads to the other.
//!
//! The words are BIP-39's English list, byte for byte: `english.txt`. It is in the public domain
//! (CC0, as in the crate `bip39`, whose dependencies this crate does not want).

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use aws_lc_rs::rand;

/// 2,048 words in alphabetical order, told apart by their first four letters (PAIRING 4.1).
static WORDS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("english.txt").lines().collect());

/// From so many letters on a word may be left unfinished.
const ENOUGH: usize = 4;

/// A pairing's code: three words of a list of 2,048, 33 bits. It is good for one pairing, and
/// for minutes. `Debug` does not show it; [`spoken`](Self::spoken) does.
///
/// ```
/// use turnchat::PairingCode;
///
/// let code: PairingCode = "acoustic-museum-tide".parse()?;
/// // Four letters of a word are enough.
/// assert_eq!("ACOU museu tide".parse(), Ok(code.clone()));
/// assert_eq!(code.spoken(), "acoustic-museum-tide");
/// # Ok::<(), turnchat::MalformedPairingCode>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PairingCode([&'static str; 3]);

/// What was typed is no code. Which word is wrong is told by its place, from 1: what was typed
/// may be nearly a code, and is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedPairingCode {
    /// Not three words.
    #[error("a code has three words, not {0}")]
    NotThree(usize),
    /// No word of the list is or begins like this one.
    #[error("word {0} is not in the list")]
    Unknown(usize),
    /// It is no word of the list, and too short to tell which is meant.
    #[error("word {0} needs at least four letters")]
    TooShort(usize),
}

impl PairingCode {
    /// A new code, at random.
    pub fn generate() -> Self {
        Self([(); 3].map(|()| random_word()))
    }

    /// The code as it is said and typed: three words joined by `-`. It is a secret until it
    /// was used.
    pub fn spoken(&self) -> String {
        self.0.join("-")
    }

    /// The words that begin with these letters, for completion at a prompt; all for none.
    pub fn words_from(start: &str) -> &'static [&'static str] {
        let from = WORDS.partition_point(|word| *word < start);
        let words = WORDS.get(from..).unwrap_or_default();
        let many = words.partition_point(|word| word.starts_with(start));
        words.get(..many).unwrap_or_default()
    }
}

fn random_word() -> &'static str {
    let mut bits = [0; 2];
    #[expect(
        clippy::expect_used,
        reason = "aws-lc's generator does not fail once seeded"
    )]
    rand::fill(&mut bits).expect("random bits");
    // 2,048 divides 65,536: each word is as likely.
    let place = usize::from(u16::from_le_bytes(bits)) % WORDS.len();
    WORDS.get(place).copied().unwrap_or_default()
}

impl FromStr for PairingCode {
    type Err = MalformedPairingCode;

    /// Reads what was typed: three words, with anything between them that is no letter, in
    /// letters of any case; `Pairing code:` before them is left out. A word of the list is itself (`act`); else its first four letters are enough.
    fn from_str(typed: &str) -> Result<Self, MalformedPairingCode> {
        let typed = typed.to_ascii_lowercase();
        let typed = typed.trim_start();
        let typed = typed.strip_prefix("pairing code:").unwrap_or(typed);
        let words = typed.split(|c: char| !c.is_alphabetic());
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        let &[first, second, third] = words.as_slice() else {
            return Err(MalformedPairingCode::NotThree(words.len()));
        };
        Ok(Self([
            completed(first, 1)?,
            completed(second, 2)?,
            completed(third, 3)?,
        ]))
    }
}

fn completed(word: &str, place: usize) -> Result<&'static str, MalformedPairingCode> {
    match PairingCode::words_from(word) {
        [first, ..] if *first == word => Ok(first),
        [only] if word.len() >= ENOUGH => Ok(only),
        [_, ..] => Err(MalformedPairingCode::TooShort(place)),
        [] => Err(MalformedPairingCode::Unknown(place)),
    }
}

impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairingCode(..)")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;
    use proptest::prelude::*;

    use super::*;

    /// As every other implementation has it.
    #[test]
    fn the_list_is_bip_39s() {
        let list = include_str!("english.txt");
        let hash = digest::digest(&digest::SHA256, list.as_bytes());
        let hex: String = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let expected = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda";
        assert_eq!(hex, expected);
        assert_eq!(WORDS.len(), 2_048);
        assert!(WORDS.is_sorted());
        let mut starts: Vec<_> = WORDS.iter().map(|it| &it[..it.len().min(ENOUGH)]).collect();
        starts.dedup();
        assert_eq!(starts.len(), WORDS.len());
    }

    #[test]
    fn a_word_is_completed() {
        for (typed, spoken) in [
            ("acoustic-museum-tide", "acoustic-museum-tide"),
            ("acou muse tide", "acoustic-museum-tide"),
            (" Acoustic\tMUSEU - tide \r\n", "acoustic-museum-tide"),
            // A whole word wins over those that it begins.
            ("act-add-able", "act-add-able"),
            ("acti-addi-abou", "action-addict-about"),
        ] {
            let code: PairingCode = typed.parse().unwrap();
            assert_eq!(code.spoken(), spoken, "{typed:?}");
        }
    }

    #[test]
    fn anything_else_is_no_code() {
        use MalformedPairingCode::{NotThree, TooShort, Unknown};
        for (typed, error) in [
            ("", NotThree(0)),
            ("-", NotThree(0)),
            ("acoustic-museum", NotThree(2)),
            ("acoustic-museum-tide-act", NotThree(4)),
            ("acousticmuseumtide", NotThree(1)),
            ("acoustics-museum-tide", Unknown(1)),
            ("acoustic-xyz-tide", Unknown(2)),
            ("acoustic-museum-tidé", Unknown(3)),
            ("aco-museum-tide", TooShort(1)),
            ("acoustic-mus-tide", TooShort(2)),
            // One word alone begins so, but three letters are three letters.
            ("acoustic-museum-ZER", TooShort(3)),
        ] {
            assert_eq!(typed.parse::<PairingCode>(), Err(error), "{typed:?}");
        }
        assert_eq!(PairingCode::words_from("zer"), ["zero"]);
    }

    #[test]
    fn completion_lists_what_a_start_can_become() {
        assert_eq!(
            PairingCode::words_from("act"),
            ["act", "action", "actor", "actress", "actual"]
        );
        assert_eq!(PairingCode::words_from("zoo"), ["zoo"]);
        assert_eq!(PairingCode::words_from("").len(), 2_048);
        for nothing in ["acoustics", "zz", "Act", "é", "\u{10ffff}"] {
            assert!(PairingCode::words_from(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn debug_does_not_tell() {
        let code: PairingCode = "acoustic-museum-tide".parse().unwrap();
        assert_eq!(format!("{code:?}"), "PairingCode(..)");
    }

    #[test]
    fn codes_are_random() {
        let codes: std::collections::BTreeSet<_> =
            (0..64).map(|_| PairingCode::generate().spoken()).collect();
        assert!(codes.len() > 60);
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_makes_it_panic(typed in "\\PC{0,40}") {
            let _ = typed.parse::<PairingCode>();
            let _ = PairingCode::words_from(&typed);
        }

        #[test]
        fn four_letters_of_each_word_are_enough(places in prop::array::uniform3(0..2_048usize)) {
            let words = places.map(|place| WORDS[place]);
            let short = words.map(|word| &word[..word.len().min(ENOUGH)]);
            let code: PairingCode = short.join(" ").parse().unwrap();
            prop_assert_eq!(code.spoken(), words.join("-"));
        }
    }

    #[test]
    fn what_stands_between_the_words_does_not_matter() {
        for typed in [
            "acoustic-museum-tide",
            " Acoustic museum  tide ",
            "acoustic, museum, tide.",
            "acoustic\u{2013}museum\u{2013}tide",
            "Pairing code: acoustic-museum-tide",
        ] {
            let code: PairingCode = typed.parse().unwrap();
            assert_eq!(code.spoken(), "acoustic-museum-tide", "{typed}");
        }
        let error = "acoustic-m\u{fc}seum-tide"
            .parse::<PairingCode>()
            .unwrap_err();
        assert_eq!(error, MalformedPairingCode::Unknown(2));
    }
}
