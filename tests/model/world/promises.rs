//! What is promised of every state.

use turnchat::internals::Conversation;

use super::driver::Driver;
use super::program::Program;
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
        let on = self.hub.live.values().map(|of| of.conversation());
        let mut there = on.chain(self.hub.parked.values());
        let id = client.conversation().id();
        !client.session.is_on()
            || !holds(client.conversation())
            || !there.any(|server| server.id() == id && holds(server))
    }

    /// Whoever was told that both know of the end was told the truth.
    pub(crate) fn is_end_agreed(&self) -> bool {
        self.tales.iter().all(|(id, tale)| {
            let told_so = tale.of(Side::Client).outcome == Some(Outcome::Ended);
            let forgot = tale.of(Side::Server).forgot || tale.of(Side::Client).forgot;
            let on = self.hub.live.values().map(|of| of.conversation());
            let mut there = on.chain(self.hub.parked.values());
            !told_so || forgot || !there.any(|server| server.id() == *id && !server.has_quit())
        })
    }

    /// What was acknowledged was taken, or will be handed over again.
    pub(crate) fn is_acknowledged_safe(&self) -> bool {
        self.tales.iter().all(|(id, tale)| {
            [Side::Server, Side::Client].into_iter().all(|side| {
                let Some(promised) = tale.of(side).promised else {
                    return true;
                };
                self.stored(side, *id)
                    .is_some_and(|record| record.heard == promised && record.last_heard.is_some())
            })
        })
    }

    /// In the first conversation all was said and heard.
    pub(crate) fn is_all_said(&self, config: &Config) -> bool {
        let is_all = |driver: &Driver| {
            let conversation = driver.conversation();
            conversation.id() == id(0) && conversation.next_turn() > config.size.turns
        };
        matches!(&self.program, Program::Runs(driver) if is_all(driver))
            && self.hub.live.values().any(|driver| is_all(driver))
    }

    /// A key has one open conversation.
    pub(crate) fn is_one_open(&self) -> bool {
        self.hub.parked.len() + self.hub.live.len() <= 1
    }

    /// All is said, and nobody waits for anybody.
    pub(crate) fn is_done(&self) -> bool {
        self.program == Program::Done
            && self.hub.talks.is_empty()
            && self.hub.untold.is_empty()
            && self.hub.is_seat_asked
            && self.links.keys().all(|number| self.is_late(*number))
            && self.hub.connections.len() == self.links.len()
    }
}
