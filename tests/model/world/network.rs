//! The network: connections that delay, that are cut, and that deliver late
//! what their client has given up.

use std::collections::VecDeque;

use turnchat::internals::Frame;

use super::hub::Connection;
use super::{Number, World, connection_id};
use crate::config::{Config, Side};

/// A connection: two queues, and who still has their end of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub(super) up: VecDeque<Frame>,
    pub(super) down: VecDeque<Frame>,
    /// Server, client.
    pub(super) open: [bool; 2],
    /// What is on its way may be lost from any point on.
    pub(super) is_cut: bool,
}

impl Link {
    pub(super) fn toward(&mut self, side: Side) -> &mut VecDeque<Frame> {
        match side {
            Side::Server => &mut self.up,
            Side::Client => &mut self.down,
        }
    }
}

impl World {
    /// TCP and TLS are up: the server has numbered the ClientHello.
    pub(super) fn connect(&mut self) -> Number {
        let number = self.number();
        self.links.insert(
            number,
            Link {
                up: VecDeque::new(),
                down: VecDeque::new(),
                open: [true, true],
                is_cut: false,
            },
        );
        self.hub.connections.insert(number, Connection::Stranger);
        let id = connection_id(number);
        assert!(self.hub.admission.arrive(id, None).is_empty());
        number
    }

    /// Above all that anybody still knows.
    pub(super) fn number(&self) -> Number {
        let newest = self.hub.admission.newest();
        let newest = newest.map(|number| Number::try_from(number).unwrap());
        let records = (self.hub.records.iter()).map(|r| Number::try_from(r.clienthello).unwrap());
        let known = self
            .links
            .keys()
            .chain(self.hub.connections.keys())
            .copied();
        known.chain(newest).chain(records).max().unwrap_or(0) + 1
    }

    pub(super) fn send(&mut self, side: Side, number: Number, frame: Frame) {
        if let Some(link) = self.links.get_mut(&number)
            && link.open[side.other() as usize]
        {
            link.toward(side.other()).push_back(frame);
        }
    }

    /// This side lets go of the connection: in order, or so that what it has
    /// sent may be lost.
    pub(super) fn hang_up(&mut self, side: Side, number: Number, cuts: bool) {
        if let Some(link) = self.links.get_mut(&number) {
            link.open[side as usize] = false;
            link.is_cut |= cuts;
            link.toward(side).clear();
            if link.open == [false, false] {
                self.links.remove(&number);
            }
        }
    }

    pub(super) fn gone(&mut self, config: &Config, side: Side, number: Number) {
        if !self.can_see_end(side, number) {
            self.cuts += 1;
            self.dials = 0;
        }
        self.hang_up(side, number, true);
        match side {
            Side::Client => self.lose(config, Side::Client, 0),
            Side::Server => match self.hub.connections.get(&number) {
                // src/link/server/connection.rs, `greet`: the task ends, and says so.
                Some(Connection::Greeted { conversation, .. }) => {
                    let gone = Connection::Gone(*conversation);
                    self.hub.connections.insert(number, gone);
                }
                // For a stranger the hub has no instructions that could cross its report.
                Some(Connection::Stranger) => self.left(config, number),
                _ => {
                    if let Some(at) = self.session_on(number) {
                        let driver = self.driver(Side::Server, at);
                        match driver.link == Some(number) {
                            true => self.lose(config, Side::Server, at),
                            false => driver.old = None,
                        }
                    }
                }
            },
        }
    }
}
