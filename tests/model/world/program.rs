//! The client's program, as src/link/client.rs has it.

use turnchat::Cause;
use turnchat::internals::session::Timer;
use turnchat::internals::{Conversation, Role};

use super::driver::Driver;
use super::{Number, World};
use crate::config::{Config, Side};
use crate::rules::Broken;
use crate::tale::Tale;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Program {
    Off,
    Runs(Box<Driver>),
    Done,
}

impl World {
    pub(super) fn dial(&mut self, config: &Config) {
        if let Program::Runs(driver) = &mut self.program {
            driver.armed.remove(&Timer::Redial);
            driver.session.fired(Timer::Redial);
            return self.process(config, Side::Client, 0, false);
        }
        // `Client::connect`.
        let stored = self.record.clone();
        let restored = stored.map(|record| Conversation::restore(Role::Client, record).unwrap());
        let is_stored = restored.is_some();
        let conversation = restored.unwrap_or_else(|| {
            let id = self.new_id();
            self.tales.insert(id, Tale::default());
            Conversation::new(Role::Client, id, config.heard_when(Side::Client))
        });
        let driver = Driver::new(config, Side::Client, conversation, is_stored);
        self.program = Program::Runs(Box::new(driver));
        match config.breaks(Broken::ShownFirst) {
            false => self.show_again(config, Side::Client, 0),
            true => self.driver(Side::Client, 0).session.taken(),
        }
        self.redial(config);
    }

    /// A connection is to be had whenever it is dialled; it may be cut at once.
    pub(super) fn redial(&mut self, config: &Config) {
        self.dials += 1;
        let number = self.connect();
        self.connected(config, number);
    }

    /// After a restart the last message heard is shown, if it has no answer.
    pub(super) fn show_again(&mut self, config: &Config, side: Side, number: Number) {
        let driver = self.driver(side, number);
        let conversation = driver.conversation();
        let unanswered = conversation
            .last_heard()
            .filter(|_| conversation.is_my_turn());
        driver.untaken = unanswered.map(|message| (message.turn, message.text, true));
        if !config.size.takes_late {
            self.take(config, side, number);
        }
    }

    /// What the program does when its conversation is done.
    pub(super) fn put_away_client(&mut self, config: &Config) {
        let Program::Runs(driver) = std::mem::replace(&mut self.program, Program::Off) else {
            return;
        };
        let (ended, _) = driver.done.as_ref().unwrap();
        let has_talk = driver.session.is_welcomed();
        // Left over from before a crash, it only wanted its end to be told.
        let is_leftover = driver.session.is_quitting() && !has_talk && driver.is_resumed;
        let is_unread = self.is_unread(Side::Client, driver.conversation().id());
        let is_over_at_start = driver.is_resumed && !has_talk && ended.cause == Cause::Peer;
        let goes_on = match ended.cause {
            // Its user starts the program again.
            Cause::Link(_) => !driver.session.is_quitting() || is_leftover || is_unread,
            _ => is_leftover || is_over_at_start,
        };
        if !goes_on {
            self.program = Program::Done;
        }
        let _ = config;
    }
}
