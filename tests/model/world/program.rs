//! The client's program, as src/link/client.rs and src/link/redial.rs have it.

use turnchat::protocol::{By, Conversation, Role};

use super::session::{Ending, Session};
use super::{Number, World};
use crate::config::{Config, Side};
use crate::rules::Broken;
use crate::tale::{Outcome, Tale};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Program {
    Off,
    Runs(Box<Session>),
    Done,
}

impl World {
    pub(super) fn dial(&mut self, config: &Config) {
        self.dials += 1;
        let number = self.connect();
        if let Program::Runs(session) = &mut self.program {
            // src/link/redial.rs
            session.tries = session.tries.map(|tries| tries - 1);
            session.link = Some(number);
            session.conversation.connect();
            return self.process_outputs(config, Side::Client, 0);
        }
        // `Client::connect`.
        let stored = self.page.clone();
        let restored = stored.map(|page| Conversation::restore(Role::Client, page).unwrap());
        let is_stored = restored.is_some();
        let conversation = restored.unwrap_or_else(|| {
            let id = self.new_id();
            self.tales.insert(id, Tale::default());
            Conversation::new(Role::Client, id)
        });
        let has_begun = is_stored;
        let mut session = Session::held(conversation);
        session.tries = session.is_quitting.then_some(3);
        session.link = Some(number);
        session.has_begun = has_begun;
        session.is_resumed = has_begun;
        session.is_lost = false;
        session.is_talking = false;
        session.conversation.connect();
        self.program = Program::Runs(Box::new(session));
        if !config.breaks(Broken::ShownFirst) {
            self.show_again(Side::Client, 0);
        }
        self.process_outputs(config, Side::Client, 0);
    }

    /// After a restart the last message heard is shown, if it has no answer.
    pub(super) fn show_again(&mut self, side: Side, number: Number) {
        let conversation = &self.session(side, number).conversation;
        let unanswered = conversation
            .last_heard()
            .filter(|_| conversation.is_my_turn());
        let unanswered = unanswered.map(|(turn, text)| (turn, text.clone()));
        let id = conversation.id();
        if let Some((turn, text)) = unanswered {
            let tale = self.tales.entry(id).or_default();
            if let Err(promise) = tale.show(side, turn, &text, true) {
                self.breaks(promise);
            }
        }
    }

    /// `Session::finish`, and what the program does then.
    pub(super) fn put_away_client(&mut self, config: &Config) {
        let Program::Runs(session) = std::mem::replace(&mut self.program, Program::Off) else {
            return;
        };
        let conversation = &session.conversation;
        let id = conversation.id();
        // Left over from before a crash, it only wanted its end to be told.
        let is_leftover = session.is_quitting && !session.is_talking && session.is_resumed;
        match session.ending {
            Some(Ending::Ended(end)) => {
                self.page = None;
                let is_over_at_start =
                    session.is_resumed && !session.is_talking && end.by == By::Peer;
                self.tell(Side::Client, id, &end, Outcome::Ended);
                if !is_leftover && !is_over_at_start {
                    self.program = Program::Done;
                }
            }
            _ => {
                let is_parked = !conversation.has_quit();
                if !is_parked {
                    self.page = None;
                }
                let is_kept = is_parked && config.keeps_journal(Side::Client);
                let end = conversation.end(By::Me);
                if is_kept {
                    // Its user starts the program again.
                    return;
                }
                self.tell(Side::Client, id, &end, Outcome::GivenUp);
                if session.is_quitting && !is_leftover {
                    self.program = Program::Done;
                }
            }
        }
    }
}
