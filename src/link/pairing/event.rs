//! [`PairingEvent`]: what a server's user learns of an open pairing, and is asked.

use std::fmt;
use std::net::IpAddr;

use crate::trust::{KeyId, PairingCode};

/// What happens in a pairing.
#[derive(Debug)]
#[non_exhaustive]
pub enum PairingEvent {
    /// Tell the peer these words. They replace those before, if there were any.
    Code(PairingCode),
    /// Somebody with this key has tried a wrong code. The code may have been mistyped; or it is
    /// somebody else. After five of these another [`Code`](Self::Code) comes, or the end.
    WrongGuess {
        /// The key that was proven.
        key: KeyId,
        /// Where it came from, if known.
        address: Option<IpAddr>,
    },
    /// Somebody with this key came after the code was spent by another. Whether it was the right
    /// code is not known. Told once a pairing.
    TooLate {
        /// The key that was proven.
        key: KeyId,
        /// Where it came from, if known.
        address: Option<IpAddr>,
    },
    /// A peer has proven its key, and that it knows the code: store the key, then answer.
    Confirmed(Confirmed),
    /// The code is older than 10 minutes. Nobody can pair until
    /// [`Pairing::new_code`](super::Pairing::new_code) is called.
    Expired,
    /// Too many wrong guesses, or a fourth code was asked for: the pairing is over.
    Exhausted,
}

/// A peer that knows the code, and waits until its key is stored. Dropped, it is told that this
/// side failed; the code is not spent.
pub struct Confirmed {
    /// The peer's key, which it has proven.
    pub key: KeyId,
    /// Where it came from, if known.
    pub address: Option<IpAddr>,
    answer: Option<Answer>,
}

type Answer = Box<dyn FnOnce(Storing) + Send>;

/// What became of a key that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storing {
    /// It is safe on the disk, now or since long, under whatever name. The peer is told, and the
    /// code is spent for everybody else. The peer may come once more with the same code, if it
    /// did not hear the answer: the answer is the same then.
    Stored,
    /// It could not be stored. The peer is told that this side failed; the code is not spent.
    Failed,
    /// The name is another key's: the peer is refused, and the pairing is over.
    Declined,
}

impl Confirmed {
    pub(super) fn new(
        key: KeyId,
        address: Option<IpAddr>,
        answer: impl FnOnce(Storing) + Send + 'static,
    ) -> Self {
        Self {
            key,
            address,
            answer: Some(Box::new(answer)),
        }
    }

    /// Says what became of the key. No other guess is judged before, and the peer waits for 15 s at
    /// most: a key that is stored later counts all the same.
    pub fn answer(mut self, storing: Storing) {
        if let Some(answer) = self.answer.take() {
            answer(storing);
        }
    }
}

impl Drop for Confirmed {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer(Storing::Failed);
        }
    }
}

impl fmt::Debug for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmed")
            .field("key", &self.key)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
