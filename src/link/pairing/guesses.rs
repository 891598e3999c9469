//! [`Guesses`]: who may try at a pairing's code, and how often (PAIRING 5.1 to 5.7). A value: it
//! knows no words and no connections, and time comes in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::link::origin::Origin;
use crate::protocol::PairReason;
use crate::trust::KeyId;

/// Wrong guesses that end a code.
const WRONG: u32 = 5;
/// Codes in a pairing.
const CODES: u32 = 3;
/// From a wrong guess to the next that is judged.
const REST: Duration = Duration::from_secs(2);
/// How long a code is good, and then how long the key that has spent it may come again.
const CODE_TIME: Duration = Duration::from_secs(600);
/// Exchanges at once.
const AT_ONCE: usize = 4;

/// An exchange, numbered as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ExchangeId(u64);

/// The budget of a pairing:
///
/// ```text
///            5 wrong, at most 3 codes
///              ┌──┐
///              ▼  │          right, and stored
///           Guessing ──────────────────────────▶ Spent ───▶ Over
///              │  ▲                                first hello,
///   10 minutes ▼  │ the user asks                   10 minutes, or 5 wrong
///           Expired
/// ```
///
/// Exchanges that were judged are not among its own any more: nobody closes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guesses {
    phase: Phase,
    /// This one included.
    codes: u32,
    /// At this code.
    wrong: u32,
    /// Those that were not judged yet.
    exchanges: BTreeMap<ExchangeId, Option<Origin>>,
    next: u64,
    /// A right confirmation is being stored: it has one of the places.
    is_storing: bool,
    /// Somebody has come too late, and it was told.
    has_told_late: bool,
    judged_from: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Guessing { until: Instant },
    Expired,
    Spent { by: KeyId, until: Instant },
    Over,
}

/// What a confirmation is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing: its exchange was closed before.
    Closed,
    /// The client knows the code. Its key is to be stored: then [`Guesses::stored`], else
    /// [`Guesses::not_stored`].
    Right,
    /// It does not.
    Wrong(Then),
}

/// What is left behind a wrong guess, or behind time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The code is still good.
    GoesOn,
    /// The user has to be shown another code; these exchanges are refused.
    NewCode(Vec<ExchangeId>),
    /// The code is too old; these exchanges are refused.
    Expired(Vec<ExchangeId>),
    /// All guesses and codes are used up: the pairing is over, and these exchanges are refused.
    Exhausted(Vec<ExchangeId>),
    /// The pairing has done what it was for, and is over; these exchanges are refused.
    Over(Vec<ExchangeId>),
}

impl Guesses {
    /// A pairing whose first code is shown now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: guessing(now),
            codes: 1,
            wrong: 0,
            exchanges: BTreeMap::new(),
            next: 0,
            is_storing: false,
            has_told_late: false,
            judged_from: None,
        }
    }

    /// Whether a pairing is open, as clients see it.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.until().is_some_and(|until| now < until)
    }

    /// When [`tick`](Self::tick) has something to say.
    pub(super) fn until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Guessing { until } | Phase::Spent { until, .. } => Some(until),
            Phase::Expired | Phase::Over => None,
        }
    }

    /// What time has changed.
    pub(super) fn tick(&mut self, now: Instant) -> Then {
        match self.phase {
            Phase::Guessing { until } if now >= until => {
                self.phase = Phase::Expired;
                Then::Expired(self.close_all())
            }
            Phase::Spent { until, .. } if now >= until => Then::Over(self.end()),
            _ => Then::GoesOn,
        }
    }

    /// Whether this is the first key that comes after another has spent the code.
    pub(super) fn is_too_late(&mut self, key: &KeyId) -> bool {
        let is_spent = matches!(&self.phase, Phase::Spent { by, .. } if by != key);
        is_spent && !std::mem::replace(&mut self.has_told_late, true)
    }

    /// An exchange begins, from there and with this key proven. Comes back with the one that has
    /// to make room for it.
    ///
    /// # Errors
    /// Why it may not. Nothing has changed then.
    pub(super) fn arrive(
        &mut self,
        from: Option<IpAddr>,
        key: &KeyId,
        now: Instant,
    ) -> Result<(ExchangeId, Option<ExchangeId>), PairReason> {
        let is_spent = matches!(&self.phase, Phase::Spent { by, .. } if by != key);
        if is_spent || !self.is_open(now) {
            return Err(PairReason::PairingFailed);
        }
        let origin = from.map(Origin::from);
        let has_one = !matches!(origin, None | Some(Origin::Loopback));
        let mut same = self.exchanges.iter().filter(|(_, it)| **it == origin);
        let earlier = match (has_one, same.next()) {
            (true, Some((id, _))) => Some(*id),
            _ if self.exchanges.len() + usize::from(self.is_storing) < AT_ONCE => None,
            _ => self.exchanges.keys().next().copied(),
        };
        if let Some(earlier) = earlier {
            self.exchanges.remove(&earlier);
        }
        let id = ExchangeId(self.next);
        self.next += 1;
        self.exchanges.insert(id, origin);
        Ok((id, earlier))
    }

    /// An exchange is over, however.
    pub(super) fn leave(&mut self, id: ExchangeId) {
        self.exchanges.remove(&id);
    }

    /// Before this moment no confirmation is judged. `None`: now.
    pub(super) fn judged_from(&self) -> Option<Instant> {
        self.judged_from
    }

    /// A confirmation has come. To be called for one at a time: not before what a right one
    /// before it led to is known.
    pub(super) fn judge(&mut self, id: ExchangeId, is_right: bool, now: Instant) -> Judgement {
        if self.exchanges.remove(&id).is_none() {
            return Judgement::Closed;
        }
        if is_right {
            self.is_storing = true;
            return Judgement::Right;
        }
        self.judged_from = Some(now + REST);
        self.wrong += 1;
        Judgement::Wrong(match self.phase {
            _ if self.wrong < WRONG => Then::GoesOn,
            Phase::Guessing { .. } if self.codes < CODES => Then::NewCode(self.new_code(now)),
            Phase::Spent { .. } => Then::Over(self.end()),
            Phase::Guessing { .. } | Phase::Expired | Phase::Over => Then::Exhausted(self.end()),
        })
    }

    /// The key with the right confirmation is stored: the code is spent for every other. Comes
    /// back with the exchanges that are refused.
    pub(super) fn stored(&mut self, by: KeyId, now: Instant) -> Vec<ExchangeId> {
        self.is_storing = false;
        if self.phase == Phase::Over {
            return Vec::new();
        }
        let is_again = matches!(self.phase, Phase::Spent { .. });
        if !is_again {
            let until = now + CODE_TIME;
            self.phase = Phase::Spent { by, until };
        }
        self.close_all()
    }

    /// It could not be stored. The code is as good as before.
    pub(super) fn not_stored(&mut self) {
        self.is_storing = false;
    }

    /// A peer has said an ordinary `hello`: if it has spent the code, it has all that it needs,
    /// and the pairing is over.
    pub(super) fn hello(&mut self, key: &KeyId) -> Then {
        match &self.phase {
            Phase::Spent { by, .. } if by == key => Then::Over(self.end()),
            _ => Then::GoesOn,
        }
    }

    /// The user asks for another code in place of one that has expired.
    pub(super) fn renew(&mut self, now: Instant) -> Then {
        match self.phase {
            Phase::Expired if self.codes < CODES => Then::NewCode(self.new_code(now)),
            Phase::Expired => Then::Exhausted(self.end()),
            _ => Then::GoesOn,
        }
    }

    /// The pairing is over. Comes back with the exchanges that are refused.
    pub(super) fn end(&mut self) -> Vec<ExchangeId> {
        self.phase = Phase::Over;
        self.close_all()
    }

    fn new_code(&mut self, now: Instant) -> Vec<ExchangeId> {
        self.phase = guessing(now);
        self.codes += 1;
        self.wrong = 0;
        self.close_all()
    }

    fn close_all(&mut self) -> Vec<ExchangeId> {
        std::mem::take(&mut self.exchanges).into_keys().collect()
    }
}

fn guessing(now: Instant) -> Phase {
    Phase::Guessing {
        until: now + CODE_TIME,
    }
}

#[cfg(test)]
mod tests;
