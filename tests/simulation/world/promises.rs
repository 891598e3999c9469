//! What is promised of every history.

use std::time::Duration;

use turnchat::ConversationId;
use turnchat::internals::Conversation;

use super::client::Program;
use super::{At, Event, Whose, World};
use crate::config::Side;
use crate::tale::{Outcome, Told};

/// This person is told that a message may not have arrived. What was named before will not: its
/// turn has passed, with other words.
pub(super) fn name(told: &mut Told, turn: Option<u64>) {
    let Some(turn) = turn else {
        return;
    };
    if let Some(before) = told.named.replace(turn).filter(|before| *before != turn) {
        told.said.retain(|(said, _)| *said != before);
    }
}

impl World {
    /// Nobody is where it is not their turn.
    pub(super) fn check(&mut self, at: At) {
        let holds =
            |conversation: &Conversation| conversation.is_my_turn() && !conversation.has_quit();
        let Some(driver) = self.driver(at) else {
            return;
        };
        if !driver.session.is_on() || !holds(driver.conversation()) {
            return;
        }
        let id = driver.conversation().id();
        let other = match at {
            At::Client(_) => At::Server(id),
            At::Server(_) => At::Client(self.owner(id)),
        };
        let both = self.driver(other).is_some_and(|other| {
            let conversation = other.conversation();
            other.session.is_on() && conversation.id() == id && holds(conversation)
        });
        if both {
            self.breaks(crate::TURN);
        }
    }

    /// Whoever was told that both know of the end was told the truth.
    pub(super) fn check_end(&mut self, id: ConversationId) {
        let tale = self.tale(id);
        let told_so = tale.of(Side::Client).outcome == Some(Outcome::Ended);
        let forgot = tale.of(Side::Server).forgot || tale.of(Side::Client).forgot;
        if !told_so || forgot {
            return;
        }
        let live = self.hub.live.get(&id).map(|driver| driver.conversation());
        let is_open = match live.or(self.hub.parked.get(&id)) {
            Some(conversation) => !conversation.has_quit(),
            None => !self.server.is_up && self.record(Side::Server, id).is_some_and(|of| !of.quit),
        };
        if is_open {
            self.breaks(crate::AGREED);
        }
    }

    /// After a restart, what the disk says of all conversations.
    pub(super) fn check_restored(&mut self) {
        let open: Vec<_> = self
            .hub
            .parked
            .keys()
            .chain(self.hub.live.keys())
            .copied()
            .collect();
        open.into_iter().for_each(|id| self.check_end(id));
    }

    /// Once nothing goes wrong any more, and everybody is done, all is started once more: what
    /// stands on a disk then is told of.
    pub(super) fn rest_if_done(&mut self) {
        let is_done = self
            .clients
            .iter()
            .all(|client| matches!(client.program, Program::Done));
        let is_idle = self.server.is_up && self.hub.is_idle() && self.hub.untold.is_empty();
        if self.is_calm && is_done && is_idle && !self.is_last_start {
            self.is_last_start = true;
            let later = Duration::from_secs(60);
            self.queue.after(later, Event::LastStart);
        }
    }

    pub(super) fn last_start(&mut self) {
        self.check_one_open();
        self.crash(Whose::Server, super::Crash::Kill);
    }

    /// A key has one open conversation.
    fn check_one_open(&mut self) {
        if !self.setup.one_at_a_time {
            return;
        }
        let mut keys: Vec<_> = self
            .hub
            .parked
            .keys()
            .map(|id| self.key(self.owner(*id)))
            .collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() < all {
            self.breaks(crate::ONE_OPEN);
        }
    }

    /// Where nothing goes wrong, and nobody is asked or ended by another, all is said.
    fn check_complete(&mut self) {
        let is_undisturbed = self.setup.mishaps.until.is_zero() && self.figures.crashes <= 1;
        // Over a slow path a `hello` may come too late.
        let is_slow = self.setup.latency > Duration::from_secs(1);
        if !is_undisturbed || is_slow || self.setup.asks || self.setup.has_shared_key() {
            return;
        }
        for tale in self.tales.values() {
            let turns = self.setup.clients[self.owners[usize::from(tale.number)]].turns;
            let sides = [Side::Server, Side::Client].into_iter();
            let shown = sides
                .filter_map(|side| tale.of(side).shown)
                .map(|(turn, _)| turn)
                .max();
            if shown != Some(turns) {
                let tale = format!("{tale:?}");
                self.note(|| tale);
                return self.breaks(crate::COMPLETE);
            }
        }
    }

    /// Nothing more happens.
    pub(super) fn check_at_rest(&mut self) {
        let is_idle = self.hub.is_idle() && self.hub.parked.is_empty();
        if !self.is_last_start || !is_idle {
            let hub = self.hub.present();
            self.note(|| format!("hub: {hub}"));
            for client in 0..self.clients.len() {
                let stands = match &self.clients[client].program {
                    Program::Off => "off",
                    Program::Dials => "dials",
                    Program::Runs(_) => "runs",
                    Program::Done => "done",
                };
                self.note(|| format!("client {client}: {stands}"));
            }
            self.breaks(crate::STUCK);
        }
        self.check_complete();
        let tales: Vec<_> = self.tales.values().cloned().collect();
        for tale in tales {
            let promise = match (tale.is_nothing_lost(), tale.is_end_wanted()) {
                (false, _) => crate::LOST,
                (_, false) => crate::WANTED,
                (true, true) => continue,
            };
            self.note(|| format!("{tale:?}"));
            self.breaks(promise);
        }
    }
}
