//! What is promised of every history.

use std::time::Duration;

use turnchat::ConversationId;
use turnchat::internals::{Conversation, Role, Snapshot};

use super::client::Program;
use super::untold::Untold;
use super::{At, Event, Node, Server, Whose, World};
use crate::config::Side;
use crate::tale::{Outcome, Tale, Told};

/// This person is told that a message may not have arrived. Of two that are named so, the one of
/// the earlier turn will not: that has passed, with other words. It is named last by a server that
/// knows of no later turn, as others have gone on.
pub(super) fn name(told: &mut Told, turn: Option<u64>) {
    let (earlier, latest) = (told.named.min(turn), told.named.max(turn));
    told.named = latest;
    if let Some(earlier) = earlier.filter(|_| earlier < latest) {
        told.said.retain(|(said, _)| *said != earlier);
    }
}

/// This is what is stored. Nothing else was said in its turn.
pub(super) fn stands(tale: &mut Tale, side: Side, record: &Snapshot) {
    let Some(words) = &record.last_said else {
        return;
    };
    let mut said = tale.of(side).said.clone();
    said.retain(|(turn, life)| *turn != record.said || tale.text(side, *turn, *life) == *words);
    tale.of_mut(side).said = said;
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
        // Where others have gone on, nobody hears what is said there.
        if !self.is_owner(at) {
            return;
        }
        let mut nodes = 0..self.nodes.len();
        let owner = nodes.find(|node| {
            let at = At::Server(*node, id);
            self.driver(at).is_some() && self.is_owner(at)
        });
        let other = match at {
            At::Client(_) => At::Server(owner.unwrap_or(0), id),
            At::Server(..) => At::Client(self.owner(id)),
        };
        let both = self.is_owner(other)
            && self.driver(other).is_some_and(|other| {
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
        if self.setup.is_shared() {
            let record = self.record(Side::Server, id);
            if record.is_some_and(|record| !record.quit) {
                self.breaks(crate::AGREED);
            }
            return;
        }
        let Server { machine, hub, .. } = &self.nodes[0];
        let live = hub.live.get(&id).map(|driver| driver.conversation());
        let is_open = match live.or(hub.parked.get(&id)) {
            Some(conversation) => !conversation.has_quit(),
            None => !machine.is_up && self.record(Side::Server, id).is_some_and(|of| !of.quit),
        };
        if is_open {
            self.breaks(crate::AGREED);
        }
    }

    /// After a restart, what the disk says of all conversations.
    pub(super) fn check_restored(&mut self, node: Node) {
        let hub = &self.nodes[node].hub;
        let open: Vec<_> = hub.parked.keys().chain(hub.live.keys()).copied().collect();
        open.into_iter().for_each(|id| self.check_end(id));
    }

    /// Once nothing goes wrong any more, and everybody is done, all is started once more: what
    /// stands on a disk then is told of.
    pub(super) fn rest_if_done(&mut self) {
        let is_done = self
            .clients
            .iter()
            .all(|client| matches!(client.program, Program::Done));
        let is_idle = self.nodes.iter().all(|Server { machine, hub, .. }| {
            machine.is_up && hub.is_idle() && hub.untold.is_empty()
        });
        if self.is_calm && is_done && is_idle && !self.is_last_start {
            self.is_last_start = true;
            let later = Duration::from_secs(60);
            self.queue.after(later, Event::LastStart);
        }
    }

    pub(super) fn last_start(&mut self) {
        self.check_one_open();
        for node in 0..self.nodes.len() {
            self.crash(Whose::Server(node), super::Crash::Kill);
        }
    }

    /// A key has one open conversation.
    fn check_one_open(&mut self) {
        if !self.setup.one_at_a_time {
            return;
        }
        let mut keys: Vec<_> = self.nodes[0]
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
        let is_undisturbed =
            self.setup.mishaps.until.is_zero() && self.figures.crashes <= self.nodes.len();
        // Over a slow path a `hello` may come too late.
        let is_slow = self.setup.latency > Duration::from_secs(1);
        if !is_undisturbed || is_slow || self.setup.asks || self.setup.has_shared_key() {
            return;
        }
        // Whoever gives up in a queue has a place in it for a while: there, what it begins next is
        // refused (PROTOCOL 4.28, 4.33).
        let owner = |tale: &Tale| self.owners[usize::from(tale.number)];
        let comes_after_a_loss = |tale: &Tale| {
            let mut earlier = self.tales.values().filter(|of| of.number < tale.number);
            earlier.any(|of| {
                owner(of) == owner(tale) && of.of(Side::Client).outcome == Some(Outcome::GivenUp)
            })
        };
        for tale in self.tales.values() {
            if comes_after_a_loss(tale) {
                continue;
            }
            let turns = self.setup.clients[owner(tale)].turns;
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

    /// What somebody has said at this server who goes on there no more, and what is neither stored
    /// nor on its way to be: it was not said.
    pub(super) fn find_unsaid(&mut self, at: At) {
        let At::Server(node, id) = at else {
            return;
        };
        let record = self.record(Side::Server, id);
        let said = self.tale(id).of(Side::Server).said.clone();
        for (turn, life) in said {
            let text = self.tale(id).text(Side::Server, turn, life);
            let is_kept = record.as_ref().is_some_and(|record| {
                record.said == turn && record.last_said.as_ref() == Some(&text)
            });
            if self.sayers.get(&(id, turn, life)) == Some(&node) && !is_kept {
                self.unsaid.insert((id, turn, life));
            }
        }
    }

    /// What stands in the store, and nobody goes on with, is read there.
    fn read_what_is_left(&mut self) {
        for (id, turn, life) in std::mem::take(&mut self.unsaid) {
            let said = &mut self.tale(id).of_mut(Side::Server).said;
            said.retain(|said| *said != (turn, life));
        }
        let ids: Vec<_> = self.tales.keys().copied().collect();
        for id in ids {
            let Some(record) = self.record(Side::Server, id) else {
                continue;
            };
            match Conversation::restore(Role::Server, record) {
                Some(conversation) => {
                    let left = Untold::of(&conversation);
                    if left.has_something() {
                        self.tell_end(&left);
                    }
                }
                None => self.breaks(crate::READABLE),
            }
        }
    }

    /// Nothing more happens.
    pub(super) fn check_at_rest(&mut self) {
        let hubs = self.nodes.iter().map(|node| &node.hub);
        let is_idle = hubs.fold(true, |is_idle, hub| {
            is_idle && hub.is_idle() && hub.parked.is_empty()
        });
        if !self.is_last_start || !is_idle {
            for node in 0..self.nodes.len() {
                let hub = self.nodes[node].hub.present();
                self.note(|| format!("hub {node}: {hub}"));
            }
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
        if self.setup.is_shared() {
            self.read_what_is_left();
        }
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
