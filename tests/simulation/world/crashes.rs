//! Crashes of a machine or a program, and what its person remembers of them.

use std::time::Duration;

use turnchat::ConversationId;
use turnchat::internals::{Snapshot, StoreError};

use super::machine::{Crash, Put, Trouble};
use super::network::Link;
use super::{At, Event, Node, Server, Whose, World};
use crate::config::Side;
use crate::rules::Broken;

impl World {
    /// Everything but the disk is gone. It is started again later.
    pub(super) fn crash(&mut self, whose: Whose, crash: Crash) {
        self.note(|| format!("CRASH of {whose:?}: {crash:?}"));
        self.figures.crashes += 1;
        self.fuse = None;
        let side = whose.side();
        self.break_links(whose, side, crash);
        let mut ending = self.break_puts(whose, crash);
        ending.extend(self.ended_after_all(whose));
        let machine = match whose {
            Whose::Server(node) => &mut self.nodes[node].machine,
            Whose::Client(client) => &mut self.clients[client].machine,
        };
        let is_torn = machine.crash(crash, &mut self.dice);
        self.figures.torn_writes += usize::from(is_torn);
        let has_journal = machine.has_journal;
        if let Whose::Server(node) = whose
            && self.setup.is_shared()
        {
            for at in self.live_at(node) {
                self.find_unsaid(at);
            }
            self.forget_records(node);
            (
                self.nodes[node].paused_until,
                self.nodes[node].cut_off_until,
            ) = Default::default();
        }
        let ids: Vec<_> = self.tales.keys().copied().collect();
        for id in ids {
            let is_its = match whose {
                Whose::Server(node) if self.setup.is_shared() => {
                    self.nodes[node].hub.live.contains_key(&id)
                }
                Whose::Server(_) => true,
                Whose::Client(client) => client == self.owner(id),
            };
            if is_its {
                self.remember(side, id, has_journal, ending.contains(&id));
            }
        }
        match whose {
            Whose::Server(node) => {
                let hub = &mut self.nodes[node].hub;
                hub.live.clear();
                hub.parked.clear();
                hub.untold.clear();
            }
            Whose::Client(client) => self.clients[client].stop(),
        }
        let pause = match self.is_calm {
            true => Duration::ZERO,
            false => self.dice.up_to(Duration::from_secs(90)),
        };
        self.queue.after(pause, Event::Starts(whose));
    }

    pub(super) fn live_at(&self, node: Node) -> Vec<At> {
        let live = self.nodes[node].hub.live.keys();
        live.map(|id| At::Server(node, *id)).collect()
    }

    /// Its peers see that at once, or only by its silence.
    fn break_links(&mut self, whose: Whose, side: Side, crash: Crash) {
        let is_its = |link: &Link| match whose {
            Whose::Server(node) => link.accepted.is_some() && link.node == node,
            Whose::Client(of) => link.client == Some(of),
        };
        let links = self.links.iter().filter(|(_, link)| is_its(link));
        let links: Vec<_> = links.map(|(link, _)| *link).collect();
        for link in links {
            if crash == Crash::Power && self.dice.once_in(2) {
                self.cut(link);
            }
            self.hang_up(side, link, crash != Crash::Stop);
        }
    }

    /// What is on its way to the disk is done, or in part, or not at all. Which conversations
    /// were ending.
    fn break_puts(&mut self, whose: Whose, crash: Crash) -> Vec<ConversationId> {
        let mut ending = Vec::new();
        let ats: Vec<_> = match whose {
            Whose::Server(node) => self.live_at(node),
            Whose::Client(client) => vec![At::Client(client)],
        };
        for at in ats {
            let Some(driver) = self.driver(at) else {
                continue;
            };
            let (id, is_ending) = (
                driver.conversation().id(),
                !driver.session.is_on() && driver.was_stored,
            );
            let put = driver.put.take();
            if is_ending {
                ending.push(id);
                // It may have been the cut that ended it.
                self.tale(id).is_end_wanted |= self.setup.limits.hold.is_zero();
            }
            if let Some(put) = put {
                let steps = self.dice.below(8);
                if crash != Crash::Stop {
                    self.machine(at).disk.stop_after(steps);
                }
                let _ = self.put(at.whose(), id, &put);
            }
        }
        ending
    }

    /// What was parked, since its removal had failed: where only the last flush did, it is gone.
    fn ended_after_all(&mut self, whose: Whose) -> Vec<ConversationId> {
        let Whose::Server(node) = whose else {
            return Vec::new();
        };
        let Server { machine, hub, .. } = &self.nodes[node];
        if self.setup.is_shared() || !machine.has_journal {
            return Vec::new();
        }
        let parked: Vec<_> = hub.parked.keys().copied().collect();
        let is_gone = |id: &ConversationId| self.record(Side::Server, *id).is_none();
        let gone: Vec<_> = parked.into_iter().filter(is_gone).collect();
        for id in &gone {
            self.tale(*id).is_end_wanted |= self.setup.limits.hold.is_zero();
        }
        gone
    }

    /// What its person knows of a conversation, now that only its record is left.
    fn remember(&mut self, side: Side, id: ConversationId, has_journal: bool, is_ending: bool) {
        let (record, is_shared) = (self.record(side, id), self.setup.is_shared());
        let tale = self.tale(id);
        if !has_journal {
            return tale.forget(side);
        }
        let told = tale.of_mut(side);
        if told.outcome.is_some() || told.is_final {
            return;
        }
        // Of an end that has nothing to name no more is told.
        let is_named =
            |record: &Snapshot| record.last_said.is_some() && record.said > record.acknowledged;
        let is_over = |record: &Snapshot| record.quit && !is_named(record);
        // Its end may be on its way yet.
        let ends_late = side == Side::Server && is_shared && is_ending;
        if record.as_ref().map_or(is_ending, is_over) || ends_late {
            told.is_final = true;
            return;
        }
        // What was entered and not yet stored was not said; but it may be on its way to others.
        if side == Side::Client || !is_shared {
            // What was named may be: a power cut can bring back a put that was undone.
            let highest = record.as_ref().map_or(0, |record| record.said);
            let named = told.named;
            told.said
                .retain(|(turn, _)| *turn <= highest || Some(*turn) == named);
        }
        // What was acknowledged and not taken will be handed over again.
        let promised = told.promised;
        let stands =
            |record: &Snapshot| Some(record.heard) == promised && record.last_heard.is_some();
        if promised.is_some() && !record.as_ref().is_some_and(stands) {
            self.breaks(crate::SAFE);
        }
    }

    /// Somebody else has taken over, and goes on: as the next life of the machine. Until then its
    /// program does what it can without that record.
    fn give_way(&mut self, whose: Whose) {
        let life = self.machine_of(whose).life;
        let later = self.dice.up_to(Duration::from_secs(60));
        self.queue.after(later, Event::GivesWay(whose, life));
    }

    pub(super) fn gives_way(&mut self, whose: Whose, life: u32) {
        let machine = self.machine_of(whose);
        if machine.is_up && machine.life == life {
            self.crash(whose, Crash::Kill);
        }
    }

    /// Of a disk that was told to stop.
    pub(super) fn crash_where_disks_have_stopped(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].machine.disk.has_stopped() {
                self.crash(Whose::Server(node), Crash::Power);
            }
        }
        for client in 0..self.clients.len() {
            if self.clients[client].machine.disk.has_stopped() {
                self.crash(Whose::Client(client), Crash::Power);
            }
        }
    }

    /// `Record::store` and `Record::remove`.
    pub(super) fn put(
        &mut self,
        whose: Whose,
        id: ConversationId,
        put: &Put,
    ) -> Result<(), StoreError> {
        let name = self.record_name(whose.side(), id);
        let forgets_quit = self.setup.breaks(Broken::QuitOutlivesCrash);
        let is_quit = matches!(put, Put::Record(contents) if contents.conversation.quit);
        if forgets_quit && is_quit {
            return Ok(());
        }
        let machine = match whose {
            Whose::Server(node) => &mut self.nodes[node].machine,
            Whose::Client(client) => &mut self.clients[client].machine,
        };
        let (dice, mishaps) = (&mut self.dice, &self.setup.mishaps);
        if !self.is_calm && dice.once_in(mishaps.failing_store) {
            self.figures.failed_stores += 1;
            machine.disk.fail_after(Some(dice.below(3)));
        }
        if !self.is_calm && dice.once_in(mishaps.crash_in_store) {
            machine.disk.stop_after(1 + dice.below(6));
        }
        let trouble = match self.is_calm || !dice.once_in(mishaps.troubled_store) {
            true => None,
            false => Some(dice.pick(&[Trouble::Unknown, Trouble::Unknown, Trouble::Conflict])),
        };
        let result = machine.put(name, put, trouble, dice);
        machine.disk.fail_after(None);
        if result == Err(StoreError::TakenOver) && !machine.disk.has_stopped() {
            self.figures.taken_over += 1;
            match self.machine_of(whose).is_taken_over(&name) {
                true => self.give_way(whose),
                false => self.breaks(crate::OWN),
            }
        }
        self.note(|| format!("    {name} is put: {result:?}, {trouble:?}"));
        result
    }
}
