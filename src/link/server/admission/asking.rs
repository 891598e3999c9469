//! Connections that the server's user is asked about.

use super::terms::{Hello, Instruction, Order, Orders, Timer};
use super::{Admission, Stage};
use crate::link::origin::Origin;
use crate::link::server::crowd::ConnectionId;
use crate::protocol::Reason;
use crate::trust::KeyId;

impl Admission {
    pub(super) fn ask_about(&mut self, id: ConnectionId, hello: Hello) -> Orders {
        let key = hello.peer.key();
        let mut orders = Orders::new();
        if let Some(older) = self.asking(&key) {
            let Some(replaced) = self.replace_undecided(older, &hello) else {
                return self.dismiss(id, Instruction::Close);
            };
            orders.extend(replaced);
            // The question is the key's, and its answer the younger connection's.
            orders.retain(|order| *order != Order::Disarm(Timer::Question(key)));
        } else if self.may_ask(id) {
            let time = self.limits.question_time;
            orders.push(Order::Arm(Timer::Question(key), time));
        } else {
            return self.dismiss(id, Instruction::Refuse(Reason::Busy));
        }
        self.undecided.insert(key, id);
        self.set_stage(id, Stage::Undecided(hello));
        orders.push(Order::Tell(id, Instruction::Wait { ahead: 0 }));
        orders
    }

    /// So many questions at most, and of one address one.
    fn may_ask(&self, id: ConnectionId) -> bool {
        let origin_of = |id: &ConnectionId| self.connections.get(id).and_then(|of| of.origin);
        let origin = origin_of(&id);
        let is_limited = !matches!(origin, None | Some(Origin::Loopback));
        let is_from_there = |other: &ConnectionId| origin_of(other) == origin;
        self.undecided.len() < self.limits.questions
            && !(is_limited && self.undecided.values().any(is_from_there))
    }

    /// Sends an undecided connection away for a younger one of its key; `None` if it
    /// is the younger one.
    fn replace_undecided(&mut self, older: ConnectionId, hello: &Hello) -> Option<Orders> {
        let of_older = self.stage(older).and_then(Stage::hello)?;
        let last = match of_older.conversation == hello.conversation {
            true => Instruction::Replaced,
            false => Instruction::Refuse(Reason::Busy),
        };
        (of_older.clienthello < hello.clienthello).then(|| self.dismiss(older, last))
    }

    /// Its key became known while an older connection waited for an answer.
    pub(super) fn dismiss_asking(&mut self, hello: &Hello, orders: &mut Orders) {
        if let Some(older) = self.asking(&hello.peer.key())
            && let Some(replaced) = self.replace_undecided(older, hello)
        {
            orders.extend(replaced);
        }
    }

    /// There is no question about this key any more, if it was this connection's.
    pub(super) fn answered(&mut self, key: &KeyId, id: ConnectionId, orders: &mut Orders) {
        if self.asking(key) == Some(id) {
            self.undecided.remove(key);
            orders.push(Order::Disarm(Timer::Question(*key)));
        }
    }

    pub(super) fn asking(&self, key: &KeyId) -> Option<ConnectionId> {
        self.undecided.get(key).copied()
    }

    /// The age of the connection that is asked about, of this key.
    pub(super) fn youngest_asking(&self, key: &KeyId) -> Option<u64> {
        let asking = self.stage(self.asking(key)?)?;
        asking.hello().map(|hello| hello.clienthello)
    }
}
