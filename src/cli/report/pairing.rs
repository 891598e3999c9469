//! What can go wrong in a pairing, as words.

use std::path::Path;

use super::{Exit, Report};
use crate::cli::book::{BookError, Petname};
use crate::cli::proposal::{self, theirs, yours};
use crate::link::PairingError;
use crate::protocol::PairReason;
use crate::trust::{KeyId, MalformedPairingCode};

/// What to do about a wrong code.
const A_SLIP_OR_SOMEBODY: &str = "Somebody has mistyped it, or somebody is in between: compare it word by word with your peer, on the phone.";

impl Report {
    /// The words of a code would be in a log, which others read.
    pub fn code_for_a_log() -> Self {
        Self::new(
            Exit::Usage,
            "A pairing code is a secret, and stderr is a log here.",
            "Pair at a terminal first, without `--log`; or with `--json` and without `--exec`, which tells the code on standard output.",
        )
    }

    /// What was typed is no code.
    pub fn no_code(error: MalformedPairingCode) -> Self {
        let advice = match error {
            MalformedPairingCode::NotThree(_) => {
                "Type the three words that your peer reads to you, as `acoustic-museum-tide`."
            }
            _ => "Ask your peer to spell it; no guess is lost.",
        };
        Self::new(
            Exit::Usage,
            format!("That is no pairing code: {error}."),
            advice,
        )
    }

    /// The code was wanted, and the input ended.
    pub fn no_code_given() -> Self {
        Self::new(
            Exit::Usage,
            "There was no pairing code: the input ended.",
            "Give the three words on standard input, or type them when you are asked.",
        )
    }

    /// Somebody has come after the peer.
    pub fn late_for_pairing(from: &str, key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!(
                "Somebody else wants to pair with this code, after it was used{from}: {key}. Nothing was stored."
            ),
            "If that is the peer whom you have told it, somebody has overheard it: remove the key that has paired, and pair anew.",
        )
    }

    /// A client has paired, and cannot store the key; the server has.
    pub fn paired_unstored(error: &BookError) -> Self {
        let report = Self::from(error);
        let advice = report.advice.replace(" Nothing was changed.", "");
        Self {
            advice: format!(
                "{advice} Then run the same command again within 10 minutes, with the same code: your peer has stored your key already."
            ),
            ..report
        }
    }

    /// No pairing is open, and none is needed.
    pub fn paired_already(name: &Petname, host: &str) -> Self {
        Self::new(
            Exit::Busy,
            format!("No pairing is open at {host}, and you know {name} already."),
            format!(
                "Leave `--pair` and `--as` out: run {}.",
                proposal::client(&proposal::shell_quoted(Path::new(host)))
            ),
        )
    }

    /// A client has not paired.
    pub fn not_paired(error: &PairingError, host: &str) -> Self {
        match error {
            _ if error.is_not_open() => Self::new(
                Exit::Busy,
                format!("No pairing is open at {host}."),
                format!(
                    "Your peer runs {}; then run the same command again.",
                    theirs("server --pair NAME")
                ),
            ),
            PairingError::Connect(error) => Self::connect(error, host),
            PairingError::Refused(PairReason::PairingFailed) => Self::new(
                Exit::Trust,
                format!("{host} says that the code is wrong. Nothing was stored."),
                format!("{A_SLIP_OR_SOMEBODY} Or it is used or replaced already: ask whom your peer has paired with."),
            ),
            PairingError::Refused(PairReason::Busy) => Self::new(
                Exit::Busy,
                format!("Others are trying to pair at {host} just now."),
                "Run the same command again in a minute.",
            ),
            PairingError::Refused(PairReason::Declined) => Self::new(
                Exit::Trust,
                format!("{host} does not pair with your key: its user has another key under that name."),
                "Ask your peer to pair under another name, or to remove the old key first.",
            ),
            PairingError::Impostor(key) => Self::new(
                Exit::Trust,
                format!("Whoever answers at {host} does not know the code: {key}. Nothing was stored."),
                "Somebody may be in the place of your peer. Do not go on over this network before you have asked your peer.",
            ),
            PairingError::OwnKey => Self::own_key(host),
            PairingError::NoTriesLeft => Self::new(
                Exit::Trust,
                "Three codes were wrong.",
                A_SLIP_OR_SOMEBODY,
            ),
            PairingError::Link(error) => Self {
                advice: "Run the same command again, with the same code: your peer may have stored your key already.".to_owned(),
                ..Self::from(error)
            },
        }
    }

    /// Somebody has tried a wrong code here.
    pub fn wrong_guess(from: &str, key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!("Somebody has tried a wrong code{from}: {key}. Nothing was stored."),
            A_SLIP_OR_SOMEBODY,
        )
    }

    /// The code is too old, and nobody can be asked about another.
    pub fn pairing_expired() -> Self {
        Self::new(
            Exit::Trust,
            "The pairing code is too old now.",
            "Start the server again for another.",
        )
    }

    /// All guesses are used up.
    pub fn pairing_exhausted() -> Self {
        Self::new(
            Exit::Trust,
            "The pairing is over: too many wrong codes were tried.",
            "Start the server again for another. If it was not your peer, somebody who reaches this port is guessing.",
        )
    }

    /// The name that was chosen is another key's.
    pub fn pairing_declined(name: &Petname, key: &KeyId) -> Self {
        Self::new(
            Exit::Trust,
            format!(
                "A peer knew the code, but {name} has another key in the address book: {key} was not stored."
            ),
            format!(
                "Pair under another name; or add the key with {}.",
                yours(&format!("peers add {name} {key}"))
            ),
        )
    }
}
