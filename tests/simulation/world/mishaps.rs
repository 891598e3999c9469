//! What goes wrong, until it is calm.

use std::time::Duration;

use super::machine::Crash;
use super::network::Link;
use super::{At, Event, Node, Whose, World};
use crate::config::Side;

impl World {
    pub(super) fn plan_mishap(&mut self) {
        let pause = self.dice.evenly(self.setup.mishaps.pause);
        let at = self.queue.now() + pause;
        let until = self.setup.mishaps.until;
        self.queue.at(at.min(until), Event::Mishap);
    }

    pub(super) fn mishap(&mut self) {
        if self.queue.now() >= self.setup.mishaps.until {
            self.is_calm = true;
            return;
        }
        if self.setup.is_shared() && self.dice.once_in(3) {
            self.trouble_node();
            return self.plan_mishap();
        }
        match self.dice.below(25) / 2 {
            0..=3 => self.cut_any(),
            4..=5 => self.stall_any(),
            6 => self.crash_any_client(),
            7 => self.crash_server(),
            8..=9 => self.quit_any(),
            10 => self.stop_any(),
            11 => self.stranger(),
            _ => self.expel_any(),
        }
        self.plan_mishap();
    }

    fn any_node(&mut self) -> Node {
        match self.nodes.len() {
            1 => 0,
            nodes => self.dice.below(nodes),
        }
    }

    /// One of several servers does nothing for a while, or cannot reach the store.
    fn trouble_node(&mut self) {
        let node = self.any_node();
        let time = self.dice.up_to(Duration::from_secs(40));
        let until = self.queue.now() + time;
        let is_paused = self.dice.once_in(2);
        self.note(|| format!("NODE {node}: paused {is_paused}, for {time:?}"));
        let of = &mut self.nodes[node];
        match is_paused {
            true => of.paused_until = until,
            false => of.cut_off_until = until,
        }
    }

    /// One that both still have.
    fn any_link(&mut self) -> Option<u64> {
        let is_whole = |side: Side, link: &Link| link.is_open(side) && link.leads(side);
        let whole = self
            .links
            .iter()
            .filter(|(_, link)| is_whole(Side::Server, link) && is_whole(Side::Client, link));
        let links: Vec<_> = whole.map(|(link, _)| *link).collect();
        (!links.is_empty()).then(|| self.dice.pick(&links))
    }

    fn cut_any(&mut self) {
        if let Some(link) = self.any_link() {
            self.note(|| format!("CUT of {link}"));
            self.cut(link);
        }
    }

    fn stall_any(&mut self) {
        if let Some(link) = self.any_link() {
            let to = self.dice.pick(&[Side::Server, Side::Client]);
            let time = self.dice.up_to(Duration::from_secs(100));
            self.note(|| format!("STALL of {link} to {to:?} for {time:?}"));
            self.stall(link, to, time);
        }
    }

    fn crash_any_client(&mut self) {
        let client = self.dice.below(self.clients.len());
        if self.clients[client].driver().is_some() {
            let crash = self.dice.pick(&[Crash::Power, Crash::Kill]);
            self.crash(Whose::Client(client), crash);
        }
    }

    fn crash_server(&mut self) {
        let node = self.any_node();
        if self.nodes[node].machine.is_up {
            let crash = self.dice.pick(&[Crash::Power, Crash::Kill]);
            self.crash(Whose::Server(node), crash);
        }
    }

    fn any_driver(&mut self) -> Option<At> {
        let nodes = 0..self.nodes.len();
        let mut all: Vec<_> = nodes.flat_map(|node| self.live_at(node)).collect();
        for client in 0..self.clients.len() {
            all.extend(self.clients[client].driver().map(|_| At::Client(client)));
        }
        (!all.is_empty()).then(|| self.dice.pick(&all))
    }

    fn quit_any(&mut self) {
        if self.setup.mishaps.quits
            && let Some(at) = self.any_driver()
        {
            self.note(|| format!("QUIT of {at:?}"));
            self.quit(at);
        }
    }

    /// Somebody lets go: a turn is dropped, or the whole server stops in order.
    fn stop_any(&mut self) {
        let node = self.any_node();
        if self.dice.once_in(4) && self.nodes[node].machine.is_up {
            // `Hub::close` and `Hub::stop`.
            let orders = self.nodes[node].hub.admission.close();
            self.give(node, orders);
            self.crash(Whose::Server(node), Crash::Stop);
        } else if let Some(at) = self.any_driver() {
            self.note(|| format!("DROP of {at:?}"));
            self.stop_reading(at, true);
        }
    }

    /// The server's user takes a key out of the book, and lets it in again when it asks.
    fn expel_any(&mut self) {
        let node = self.any_node();
        if !self.nodes[node].machine.is_up {
            return;
        }
        let client = self.dice.below(self.clients.len());
        let key = self.key(client);
        self.note(|| format!("EXPELLED: {key:?}"));
        let hub = &mut self.nodes[node].hub;
        hub.book.remove(&key);
        for (id, tale) in &mut self.tales {
            let owner = self.owners[usize::from(tale.number)];
            let is_here = hub.live.contains_key(id) || hub.parked.contains_key(id);
            tale.is_end_wanted |=
                is_here && self.setup.clients[owner].key == self.setup.clients[client].key;
        }
        let orders = hub.admission.expel(&key);
        self.give(node, orders);
    }

    /// Somebody else comes, who is not let in.
    fn stranger(&mut self) {
        let node = self.balance();
        let link = self.new_link(None, node);
        self.queue.after(Duration::ZERO, Event::Accepted(link));
    }
}
