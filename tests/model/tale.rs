//! What the two people know: what each said, what each was shown, and how it
//! ended for them. No machine reads it; the promises are kept or broken here.

use turnchat::Text;

use crate::promise::{ONCE, SAID};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Server,
    Client,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}

/// One conversation, as both people have lived through it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tale {
    /// Of many, which it is.
    pub(crate) number: u16,
    sides: [Told; 2],
    /// Somebody quit it, gave it up, or does not know of it any more.
    pub(crate) is_end_wanted: bool,
}

/// What one person knows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Told {
    /// What was said and is not heard yet, turns and texts.
    pub(crate) said: Vec<(u64, u8)>,
    /// The last message that was shown.
    pub(crate) shown: Option<(u64, u8)>,
    /// The turn that the other was told is heard, and that was not shown.
    pub(crate) promised: Option<u64>,
    /// The message that was named to them as not acknowledged.
    pub(crate) named: Option<u64>,
    /// How it ended for them.
    pub(crate) outcome: Option<Outcome>,
    /// Their machine crashed before they were told of the end, and its disk has no more to say of
    /// it: all that they said was acknowledged.
    pub(crate) is_final: bool,
    /// Their machine crashed without a journal: they see that it is lost.
    pub(crate) forgot: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Both sides are said to know.
    Ended,
    /// The link was lost for too long.
    GivenUp,
}

impl Tale {
    pub(crate) fn of(&self, side: Side) -> &Told {
        &self.sides[side as usize]
    }

    pub(crate) fn of_mut(&mut self, side: Side) -> &mut Told {
        &mut self.sides[side as usize]
    }

    /// Texts tell conversation, side, turn, and how often the like had been said before.
    /// Some are long.
    pub(crate) fn text(&self, side: Side, turn: u64, life: u8) -> Text {
        let number = self.number;
        let long = match number % 8 == 7 && turn.is_multiple_of(3) {
            true => 3_000 * usize::from(number % 5 + 1),
            false => 0,
        };
        Text::new(format!("{side:?} {turn} {life} in {number}{:long$}", "")).unwrap()
    }

    fn life(&self, side: Side, turn: u64, words: &Text) -> Option<u8> {
        (0..8).find(|life| self.text(side, turn, *life) == *words)
    }

    /// This side says something. The answer tells it from what it said in this
    /// turn before, and has forgotten.
    pub(crate) fn say(&mut self, side: Side, turn: u64) -> u8 {
        let shown = self.of(side.other()).shown;
        let known = self.of(side).said.iter().copied().chain(shown);
        let same = known.filter(|known| known.0 >= turn);
        let life = same.map(|(_, life)| life + 1).max().unwrap_or(0);
        self.of_mut(side).said.push((turn, life));
        life
    }

    /// This side crashed without a journal: ends are forgotten with the rest.
    pub(crate) fn forget(&mut self, side: Side) {
        self.of_mut(side).forgot = true;
        self.is_end_wanted = true;
    }

    /// The other is told that everything up to this turn is heard.
    pub(crate) fn promise(&mut self, side: Side, turn: u64) {
        let told = self.of_mut(side);
        if told.shown.map_or(0, |(turn, _)| turn) < turn {
            told.promised = told.promised.max(Some(turn));
        }
    }

    /// A message is on this side's screen; `again`: marked so, after a restart.
    pub(crate) fn show(
        &mut self,
        side: Side,
        turn: u64,
        words: &Text,
        again: bool,
    ) -> Result<(), &'static str> {
        let message = self
            .life(side.other(), turn, words)
            .map(|life| (turn, life));
        if again && message == self.of(side).shown {
            return Ok(());
        }
        let said = &mut self.of_mut(side.other()).said;
        let Some(place) = said.iter().position(|said| Some(*said) == message) else {
            // Said once and heard already: whoever shows it again does so a second time.
            let is_known = self.of(side).shown.is_some_and(|(last, _)| turn <= last);
            return Err(if is_known { ONCE } else { SAID });
        };
        let next = match (self.of(side).shown, side) {
            (Some((last, _)), _) => last + 2,
            (None, Side::Client) => 1,
            (None, Side::Server) => 2,
        };
        if turn != next {
            return Err(ONCE);
        }
        // What has been heard is kept no longer than it can come again.
        self.of_mut(side.other()).said.remove(place);
        let told = self.of_mut(side);
        told.shown = message;
        told.promised = told.promised.filter(|promised| *promised > turn);
        Ok(())
    }

    /// Everything that was said was heard, or its speaker was told otherwise.
    pub(crate) fn is_nothing_lost(&self) -> bool {
        let has_amnesia = self.sides.iter().any(|told| told.forgot);
        has_amnesia
            || [Side::Server, Side::Client].into_iter().all(|side| {
                let told = self.of(side);
                let mut said = told.said.iter();
                said.all(|said| told.named == Some(said.0))
            })
    }

    /// Forgets what no promise asks for any more: so, fewer states differ.
    pub(crate) fn close(&mut self) {
        let is_known_to_be_complete = self.is_end_agreed_by_both() && self.is_nothing_lost();
        let [server, client] = &mut self.sides;
        if server.forgot || client.forgot {
            // Nothing is promised but that what is shown was said.
            (server.named, server.is_final) = (None, false);
            (client.named, client.is_final, client.outcome) = (None, false, None);
            if server.forgot {
                server.outcome = None;
            }
            if client.forgot {
                // It has begun anew, and does not come back to this one.
                server.said.clear();
                client.shown = None;
            }
        } else if is_known_to_be_complete {
            for told in &mut self.sides {
                *told = Told {
                    outcome: told.outcome,
                    ..Told::default()
                };
            }
        }
    }

    /// Where one was told that both know of the end, somebody wanted it.
    pub(crate) fn is_end_wanted(&self) -> bool {
        let ended = |told: &Told| told.outcome == Some(Outcome::Ended);
        self.is_end_wanted || !self.sides.iter().any(ended)
    }

    fn is_end_agreed_by_both(&self) -> bool {
        self.is_end_wanted && self.sides.iter().all(|told| told.outcome.is_some())
    }
}
