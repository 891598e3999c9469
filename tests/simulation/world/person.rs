//! What people do: read, speak in their turn, and quit.

use std::time::Duration;

use super::driver::{Driver, DriverNumber};
use super::{At, Event, World};
use crate::config::Side;

impl World {
    /// It is this person's move, if they have one.
    pub(super) fn ask_person(&mut self, at: At) {
        let thought = self.setup.thought;
        let Some(driver) = self.driver(at) else {
            return;
        };
        let number = driver.number;
        if driver.untaken.is_some() && !driver.takes {
            driver.takes = true;
            let time = match self.dice.below(12) {
                0 => Duration::from_secs(14),
                1 => Duration::from_secs(2),
                _ => Duration::from_millis(100),
            };
            let time = self.dice.up_to(time);
            self.queue.after(time, Event::Takes(at, number));
        } else if may_speak(at.side(), driver) && !driver.speaks {
            driver.speaks = true;
            let time = self.dice.up_to(thought);
            self.queue.after(time, Event::Speaks(at, number));
        }
    }

    /// How many a conversation has.
    fn turns(&self, at: At) -> u64 {
        let client = match at {
            At::Client(client) => client,
            At::Server(_, id) => self.owner(id),
        };
        self.setup.clients[client].turns
    }

    /// What was handed over is on the screen, and in its reader's hands; or its reader fails.
    pub(super) fn takes(&mut self, at: At, number: DriverNumber) {
        let Some(driver) = self.same_driver(at, number) else {
            return;
        };
        driver.takes = false;
        if driver.untaken.is_none() {
            return;
        }
        if !self.is_calm && self.dice.once_in(self.setup.mishaps.failing_reader) {
            self.figures.failed_readers += 1;
            let drops = self.dice.once_in(2);
            return self.stop_reading(at, drops);
        }
        self.show(at);
        if let Some(driver) = self.driver(at) {
            driver.session.taken();
        }
        self.run(at);
    }

    /// The person is gone, or cannot read.
    pub(super) fn stop_reading(&mut self, at: At, drops: bool) {
        if let Some(driver) = self.driver(at) {
            driver.untaken = None;
            driver.is_dropped = true;
            match drops {
                true => driver.session.dropped(),
                false => driver.session.reader_failed(),
            }
            self.run(at);
        }
    }

    pub(super) fn show(&mut self, at: At) {
        let Some(driver) = self.driver(at) else {
            return;
        };
        let id = driver.conversation().id();
        let untaken = driver.untaken.take();
        let shown = self.tale(id).of(at.side()).shown;
        let is_behind = |turn| shown.is_some_and(|(last, _)| last >= turn);
        if let Some((turn, text, is_again)) = untaken
            // Two may be handed the same message, where others have gone on with it.
            && (!is_behind(turn) || self.is_owner(at))
            && let Err(promise) = self.tale(id).show(at.side(), turn, &text, is_again)
        {
            self.breaks(promise);
        }
    }

    pub(super) fn speaks(&mut self, at: At, number: DriverNumber) {
        let turns = self.turns(at);
        let Some(driver) = self.same_driver(at, number) else {
            return;
        };
        driver.speaks = false;
        if !may_speak(at.side(), driver) {
            return;
        }
        let (id, turn) = (
            driver.conversation().id(),
            driver.conversation().next_turn(),
        );
        if turn > turns {
            return self.quit(at);
        }
        let is_shared = self.setup.is_shared();
        let tale = self.tale(id);
        let life = tale.say(at.side(), turn);
        if !is_shared {
            // Whoever says this turn anew has read that it was not said. Or that it may not have
            // arrived, after a put that failed: a power cut can bring that back until the next one.
            let told = tale.of_mut(at.side());
            let may_come_back = told.named == Some(turn);
            told.said
                .retain(|said| *said == (turn, life) || said.0 != turn || may_come_back);
        }
        let text = tale.text(at.side(), turn, life);
        if let At::Server(node, _) = at {
            self.sayers.insert((id, turn, life), node);
        }
        if let Some(driver) = self.driver(at)
            && driver.session.say(text).is_err()
        {
            self.breaks(crate::TURN);
        }
        self.run(at);
    }

    /// In or out of turn.
    pub(super) fn quit(&mut self, at: At) {
        if let Some(driver) = self.driver(at)
            && driver.session.is_on()
        {
            let id = driver.conversation().id();
            driver.session.quit();
            self.tale(id).is_end_wanted = true;
            self.run(at);
        }
    }
}

fn may_speak(side: Side, driver: &Driver) -> bool {
    let conversation = driver.conversation();
    driver.session.is_on()
        && (side == Side::Server || driver.session.is_welcomed())
        && !driver.is_dropped
        && driver.untaken.is_none()
        && conversation.is_my_turn()
        && !conversation.has_untaken()
        && !conversation.has_quit()
}
