//! Who is let in, and who waits for a seat.

use super::conversations::{Standing, all_of};
use super::terms::{ConversationName, Hello, Instruction, Order, Orders, Timer};
use super::{Admission, Candidate, Stage};
use crate::link::server::crowd::ConnectionId;
use crate::protocol::Reason;
use crate::trust::KeyId;

impl Admission {
    pub(super) fn admit(&mut self, id: ConnectionId, hello: Hello) -> Orders {
        let (name, key) = (hello.name(), hello.peer.key());
        let mut orders = Orders::new();
        if self.youngest_asking(&key) >= Some(hello.clienthello) {
            return self.dismiss(id, Instruction::Close);
        }
        // The newest connection wins: this one was delayed and overtaken (PROTOCOL 4.25).
        if self.youngest_rival(&name) > Some(hello.clienthello) {
            return self.dismiss(id, Instruction::Close);
        }
        match self.conversations.get(&name) {
            Some(Standing::Live { .. }) => {
                self.dismiss_asking(&hello, &mut orders);
                self.conversations.come_again(&name, hello.clienthello);
                self.send_away(&name, Instruction::Replaced, &mut orders);
                self.enter(id, hello, false, &mut orders);
                return orders;
            }
            Some(Standing::Ended) => {
                // Refused, it changes nothing (PROTOCOL 4.20).
                return self.dismiss(id, Instruction::Refuse(Reason::Ended));
            }
            // A temporary refusal: its client keeps the conversation (PROTOCOL 4.12).
            Some(Standing::OutOfReach) => {
                return self.dismiss(id, Instruction::Refuse(Reason::Busy));
            }
            // PROTOCOL 4.23.
            None if hello.heard > 0 && !self.is_shared => {
                return self.dismiss(id, Instruction::Refuse(Reason::Ended));
            }
            // It was asked about, or entering, while its conversation was on.
            Some(Standing::Parked { .. }) | None if self.is_closing => {
                return self.dismiss(id, Instruction::Refuse(Reason::Closing));
            }
            Some(Standing::Parked { .. }) | None => {}
        }
        let of_key = self.candidates_of(&key);
        let is_rival = |of: &ConversationName| self.one_at_a_time || *of == name;
        let rivals: Vec<_> = of_key.iter().filter(|(of, _)| is_rival(of)).collect();
        let place = rivals.iter().find_map(|(of, _)| self.place(of));
        let has_place = of_key.iter().any(|(_, of)| of.is_queued);
        if rivals.is_empty()
            && (self.seats <= 0 || self.is_crowded())
            && (has_place || self.queue.len() >= self.places())
        {
            return self.dismiss(id, Instruction::Refuse(Reason::Busy));
        }
        self.dismiss_asking(&hello, &mut orders);
        let seats = self.seats;
        let rivals = rivals.into_iter().map(|(of, _)| (*of, self.is_open(of)));
        let rivals: Vec<_> = rivals.collect();
        // Before anybody is told (PROTOCOL 4.7).
        if self.one_at_a_time {
            self.conversations.give_up_others(name, &mut orders);
        }
        for (rival, was_open) in rivals {
            let last = match rival == name {
                true => Instruction::Replaced,
                false => {
                    if !was_open {
                        orders.extend(self.ended(rival));
                    }
                    Instruction::Refuse(Reason::Ended)
                }
            };
            self.send_away(&rival, last, &mut orders);
        }
        // It had its turn already, or nobody is before it.
        if self.seats > seats || (self.seats > 0 && !self.is_crowded()) {
            self.seats -= 1;
            self.enter(id, hello, true, &mut orders);
            return orders;
        }
        let place = place.unwrap_or(self.queue.len()).min(self.queue.len());
        self.queue.insert(place, name);
        let candidate = Candidate {
            connection: Some(id),
            clienthello: hello.clienthello,
            is_queued: true,
        };
        self.candidates.insert(name, candidate);
        self.set_stage(id, Stage::Queued { hello, told: None });
        orders.extend(self.fill_seats());
        orders
    }

    fn enter(&mut self, id: ConnectionId, hello: Hello, has_seat: bool, orders: &mut Orders) {
        let candidate = Candidate {
            connection: Some(id),
            clienthello: hello.clienthello,
            is_queued: false,
        };
        self.candidates.insert(hello.name(), candidate);
        self.set_stage(id, Stage::Entering { hello, has_seat });
        orders.push(Order::Tell(id, Instruction::Enter));
    }

    pub(super) fn fill_seats(&mut self) -> Orders {
        let mut orders = Orders::new();
        while self.seats > 0 {
            let Some((name, id)) = self.present().next() else {
                break;
            };
            let Some(Stage::Queued { hello, .. }) = self.stage(id) else {
                break;
            };
            let hello = hello.clone();
            self.seats -= 1;
            self.drop_candidate(&name, Some(id), &mut orders);
            self.enter(id, hello, true, &mut orders);
        }
        orders.extend(self.tell_places());
        orders
    }

    /// `wait` to everyone in the queue whose place has changed.
    pub(super) fn tell_places(&mut self) -> Orders {
        let mut orders = Orders::new();
        let present: Vec<_> = self.present().map(|(_, id)| id).collect();
        for (ahead, id) in (0..).zip(present) {
            if let Some(Stage::Queued { told, .. }) = self.stage_mut(id)
                && *told != Some(ahead)
            {
                *told = Some(ahead);
                orders.push(Order::Tell(id, Instruction::Wait { ahead }));
            }
        }
        orders
    }

    /// This candidate is none any more, if it is this connection's.
    pub(super) fn drop_candidate(
        &mut self,
        name: &ConversationName,
        id: Option<ConnectionId>,
        orders: &mut Orders,
    ) {
        let Some(candidate) = self.candidates.get(name) else {
            return;
        };
        if id.is_some() && candidate.connection != id {
            return;
        }
        if candidate.connection.is_none() {
            orders.push(Order::Disarm(Timer::Place(name.0, name.1)));
        }
        if candidate.is_queued {
            self.queue.retain(|queued| queued != name);
        }
        self.candidates.remove(name);
    }

    /// Those of the queue who are there, in the order of their turns.
    pub(super) fn present(&self) -> impl Iterator<Item = (ConversationName, ConnectionId)> {
        self.queue.iter().filter_map(|name| {
            let connection = self.candidates.get(name)?.connection?;
            Some((*name, connection))
        })
    }

    fn place(&self, name: &ConversationName) -> Option<usize> {
        self.queue.iter().position(|queued| queued == name)
    }

    /// How many may queue. Without a queue nobody waits behind a conversation, but the
    /// first to come waits for a server that has nothing on and is not ready yet.
    fn places(&self) -> usize {
        let is_entering = self.candidates.len() > self.queue.len();
        let has_nothing_on = !is_entering && !self.conversations.has_live();
        self.limits.queue.max(usize::from(has_nothing_on))
    }

    pub(super) fn candidates_of(&self, key: &KeyId) -> Vec<(ConversationName, Candidate)> {
        let all = self.candidates.range(all_of(key));
        all.map(|(name, of)| (*name, of.clone())).collect()
    }

    /// How many conversations the key of this one has besides it, that are on or about to begin.
    pub fn others(&self, name: &ConversationName) -> usize {
        let is_live = |of| self.conversations.is_live(of);
        let live = self.conversations.live_of(&name.0) - usize::from(is_live(name));
        let candidates = self.candidates.range(all_of(&name.0));
        let begins = candidates.filter(|(of, _)| !is_live(of) && *of != name);
        live + begins.count()
    }

    /// The age of the youngest connection whose conversation this one would end or
    /// go on with (PROTOCOL 4.31 and 4.32).
    fn youngest_rival(&self, name: &ConversationName) -> Option<u64> {
        let range = match self.one_at_a_time {
            true => all_of(&name.0),
            false => *name..=*name,
        };
        let open = self.conversations.youngest(range.clone());
        let candidates = self.candidates.range(range).map(|(_, of)| of.clienthello);
        candidates.chain(open).max()
    }
}
