//! The network: connections that delay, stall and are cut, each way on its own.

use std::collections::VecDeque;
use std::time::Duration;

use turnchat::internals::Frame;
use turnchat::internals::admission::ConnectionId;

use super::{Event, Node, Time, World};
use crate::config::Side;

/// A connection, as they were dialled.
pub(crate) type LinkId = u64;

pub(super) struct Link {
    /// Who dialled; `None`: a stranger.
    pub(super) client: Option<usize>,
    /// To which server.
    pub(super) node: Node,
    /// What the server calls it, once it was accepted, and in which life of its machine.
    pub(super) accepted: Option<(ConnectionId, u32)>,
    /// Toward the server, and toward the client.
    ways: [Way; 2],
    /// Who has their end of it.
    open: [bool; 2],
}

/// One direction. What it delivers is in order.
#[derive(Default)]
struct Way {
    on_its_way: VecDeque<(Time, Parcel)>,
    arrived: VecDeque<Parcel>,
    last: Time,
    stalled_until: Time,
    /// What is sent now does not arrive.
    is_dead: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Parcel {
    Frame(Frame),
    /// The other side has closed, or is gone.
    End,
}

impl Link {
    pub(super) fn new(client: Option<usize>, node: Node) -> Self {
        Self {
            client,
            node,
            accepted: None,
            ways: Default::default(),
            open: [true, true],
        }
    }

    fn way(&mut self, to: Side) -> &mut Way {
        &mut self.ways[to as usize]
    }

    pub(super) fn is_open(&self, side: Side) -> bool {
        self.open[side as usize]
    }

    /// Whether something may still come to this side.
    pub(super) fn leads(&self, to: Side) -> bool {
        !self.ways[to as usize].is_dead
    }
}

impl World {
    pub(super) fn send(&mut self, from: Side, link: LinkId, frame: Frame) {
        let times = match frame {
            Frame::Hello { .. } => self.setup.mishaps.held_back,
            _ => 6 * self.setup.mishaps.held_back,
        };
        let is_held_back = from == Side::Client && !self.is_calm && self.dice.once_in(times);
        self.carry(from, link, Parcel::Frame(frame));
        if is_held_back {
            self.hold_back(link);
        }
    }

    /// What a client has sent is late, and it gives up the connection before that.
    fn hold_back(&mut self, link: LinkId) {
        self.note(|| format!("HELD BACK: {link}"));
        self.figures.cuts += 1;
        let now = self.queue.now();
        let late = self.dice.evenly(Duration::from_secs(8));
        let noticed = now + self.dice.evenly(Duration::from_secs(1));
        let Some(of) = self.links.get_mut(&link) else {
            return;
        };
        let way = of.way(Side::Server);
        if let Some((at, _)) = way.on_its_way.back_mut() {
            *at += late;
            (way.last, way.is_dead) = (*at, true);
            way.on_its_way.push_back((way.last, Parcel::End));
            self.queue.at(way.last, Event::Arrives(link, Side::Server));
        }
        let way = of.way(Side::Client);
        way.on_its_way.push_back((noticed, Parcel::End));
        way.is_dead = true;
        self.queue.at(noticed, Event::Arrives(link, Side::Client));
    }

    fn carry(&mut self, from: Side, link: LinkId, parcel: Parcel) {
        if self.is_blown() {
            return;
        }
        let (now, delay, to) = (self.queue.now(), self.latency(), from.other());
        if let Some(of) = self.links.get_mut(&link)
            && of.is_open(to)
            && of.leads(to)
        {
            let way = of.way(to);
            let at = (now + delay).max(way.last).max(way.stalled_until);
            way.last = at;
            way.on_its_way.push_back((at, parcel));
            self.queue.at(at, Event::Arrives(link, to));
        }
    }

    /// This side lets go of the connection: in order, or so that what it has sent may be lost.
    pub(super) fn hang_up(&mut self, side: Side, link: LinkId, cuts: bool) {
        if self.is_blown() {
            return;
        }
        let loses = cuts && self.dice.once_in(3);
        let Some(of) = self.links.get_mut(&link).filter(|of| of.is_open(side)) else {
            return;
        };
        of.open[side as usize] = false;
        *of.way(side) = Way {
            is_dead: true,
            ..Way::default()
        };
        let other = side.other();
        // One that was cut ends already.
        if loses && of.leads(other) {
            let way = of.way(other);
            let kept = self.dice.below(way.on_its_way.len() + 1);
            way.on_its_way.truncate(kept);
        }
        self.carry(side, link, Parcel::End);
        if let Some(of) = self.links.get_mut(&link) {
            of.way(other).is_dead = true;
            if of.open == [false, false] {
                self.links.remove(&link);
            }
        }
    }

    /// It is cut between the two: each notices in its own time, and of what is on its way some
    /// may arrive, perhaps late.
    pub(super) fn cut(&mut self, link: LinkId) {
        self.figures.cuts += 1;
        let now = self.queue.now();
        for to in [Side::Server, Side::Client] {
            let Some(of) = self.links.get_mut(&link) else {
                return;
            };
            if !of.is_open(to) || !of.leads(to) {
                continue;
            }
            let dice = &mut self.dice;
            let is_late = dice.once_in(3);
            let late = dice.pick(&[1, 9, 50]);
            let late = dice.evenly(Duration::from_secs(late));
            let unnoticed = dice.pick(&[100, 2_000, 59_000]);
            let unnoticed = dice.evenly(Duration::from_millis(unnoticed));
            let way = of.way(to);
            let kept = dice.below(way.on_its_way.len() + 1);
            way.on_its_way.truncate(kept);
            for (at, _) in way.on_its_way.iter_mut().filter(|_| is_late) {
                *at += late;
                self.queue.at(*at, Event::Arrives(link, to));
            }
            let last = way.on_its_way.back().map_or(now, |(at, _)| *at);
            let at = last.max(now + unnoticed);
            way.on_its_way.push_back((at, Parcel::End));
            way.is_dead = true;
            self.queue.at(at, Event::Arrives(link, to));
        }
    }

    /// For so long nothing arrives at this side.
    pub(super) fn stall(&mut self, link: LinkId, to: Side, time: Duration) {
        self.figures.stalls += 1;
        let until = self.queue.now() + time;
        let silence = self.setup.limits.silence;
        if let Some(of) = self.links.get_mut(&link) {
            let way = of.way(to);
            way.stalled_until = way.stalled_until.max(until);
            for (at, _) in &mut way.on_its_way {
                *at = until.max(*at);
                self.queue.at(*at, Event::Arrives(link, to));
            }
            if time > silence {
                self.queue.after(silence, Event::Silent(link, to));
            }
        }
    }

    /// Whether this side has heard nothing for too long.
    pub(super) fn is_silent(&self, link: LinkId, to: Side) -> bool {
        let now = self.queue.now();
        self.links
            .get(&link)
            .is_some_and(|of| of.ways[to as usize].stalled_until > now)
    }

    /// What is there by now.
    pub(super) fn arrive(&mut self, link: LinkId, to: Side) {
        let now = self.queue.now();
        if let Some(of) = self.links.get_mut(&link) {
            let way = of.way(to);
            while way.on_its_way.front().is_some_and(|(at, _)| *at <= now) {
                way.arrived
                    .extend(way.on_its_way.pop_front().map(|(_, parcel)| parcel));
            }
        }
    }

    /// What this side reads next.
    pub(super) fn read(&mut self, link: LinkId, side: Side) -> Option<Parcel> {
        let of = self.links.get_mut(&link).filter(|of| of.is_open(side))?;
        of.way(side).arrived.pop_front()
    }

    fn latency(&mut self) -> Duration {
        match self.dice.once_in(4) {
            true => self.dice.evenly(self.setup.latency),
            false => self.dice.up_to(self.setup.latency),
        }
    }
}
