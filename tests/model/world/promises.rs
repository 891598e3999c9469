//! What is promised of every state.

use turnchat::protocol::Conversation;

use super::program::Program;
use super::session::Session;
use super::{World, id};
use crate::config::{Config, Side};
use crate::tale::Outcome;

impl World {
    /// Nobody is where it is not their turn.
    pub(crate) fn is_one_holder(&self) -> bool {
        let holds =
            |conversation: &Conversation| conversation.is_my_turn() && !conversation.has_quit();
        let Program::Runs(client) = &self.program else {
            return true;
        };
        let on = self.house.talking().map(|(_, of)| &of.conversation);
        let mut there = on.chain(self.house.parked.values());
        let id = client.conversation.id();
        client.ending.is_some()
            || !holds(&client.conversation)
            || !there.any(|server| server.id() == id && holds(server))
    }

    /// Whoever was told that both know of the end was told the truth.
    pub(crate) fn is_end_agreed(&self) -> bool {
        self.tales.iter().all(|(id, tale)| {
            let told_so = tale.of(Side::Client).outcome == Some(Outcome::Ended);
            let forgot = tale.of(Side::Server).forgot || tale.of(Side::Client).forgot;
            let on = self.house.talking().map(|(_, of)| &of.conversation);
            let mut there = on.chain(self.house.parked.values());
            !told_so || forgot || !there.any(|server| server.id() == *id && !server.has_quit())
        })
    }

    /// In the first conversation all was said and heard.
    pub(crate) fn is_all_said(&self, config: &Config) -> bool {
        let is_all = |session: &Session| {
            let conversation = &session.conversation;
            conversation.id() == id(0) && conversation.next_turn() > config.size.turns
        };
        matches!(&self.program, Program::Runs(session) if is_all(session))
            && self.house.talking().any(|(_, session)| is_all(session))
    }

    /// All is said, and nobody waits for anybody.
    pub(crate) fn is_done(&self) -> bool {
        self.program == Program::Done
            && self.house.talks.is_empty()
            && self.house.is_seat_asked
            && self.links.keys().all(|number| self.is_late(*number))
            && self.house.guests.len() == self.links.len()
    }
}
