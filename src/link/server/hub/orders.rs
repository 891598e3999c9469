//! How a [`State`] carries out what [`Admission`](crate::link::server::admission::Admission) orders.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::field::display;
use tracing::info;

use super::state::{Parked, State, Way};
use crate::link::abandoned::Abandoned;
use crate::link::server::admission::{
    ConnectionId, ConversationName, Instruction, Order, Orders, Why,
};
use crate::link::server::event::ServerEvent;
use crate::link::store::StoreError;
use crate::link::untold::Untold;
use crate::trust::KeyId;

impl<S> State<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    pub(super) async fn give(&mut self, orders: Orders) {
        let mut orders = VecDeque::from(orders);
        let mut unstored = Vec::new();
        while let Some(order) = orders.pop_front() {
            let Some(giving) = self.carry_out(order, &unstored) else {
                continue;
            };
            let first = self.give_up(giving, &mut unstored).await;
            for order in first.into_iter().rev() {
                orders.push_front(order);
            }
        }
    }

    /// Carries out orders of which none gives up a conversation.
    pub(super) fn carry_out_at_once(&mut self, orders: Orders) {
        for order in orders {
            let given_up = self.carry_out(order, &[]);
            debug_assert!(given_up.is_none());
        }
    }

    /// Carries an order out, or returns what has to be given up for it in the store.
    fn carry_out(&mut self, order: Order, unstored: &[KeyId]) -> Option<GivenUp> {
        match order {
            Order::Tell(id, instruction) => self.instruct(id, instruction, unstored),
            Order::Supersede(name) => {
                if let Some(live) = self.live.get(&name) {
                    live.driver.supersede();
                }
            }
            Order::Expel(name) => {
                if let Some(live) = self.live.get(&name) {
                    live.driver.expel();
                }
            }
            Order::GiveUp {
                name,
                why,
                clienthello,
            } => {
                let parked = self.parked.remove(&name)?;
                return Some(GivenUp {
                    name,
                    why,
                    clienthello,
                    parked,
                });
            }
            Order::Forget(name) => {
                // What cannot be removed is so at the next start, when it is too old.
                if let Some(record) = self.ended.remove(&name) {
                    self.spawn(async move { _ = record.forget().await });
                }
            }
            Order::Arm(timer, delay) => self.timers.arm(timer, delay),
            Order::Disarm(timer) => self.timers.disarm(timer),
        }
        None
    }

    /// Gives a conversation up, and returns what follows. `unstored` has the keys of those whose
    /// end could not be stored.
    async fn give_up(&mut self, giving: GivenUp, unstored: &mut Vec<KeyId>) -> Orders {
        let GivenUp {
            name,
            why,
            clienthello,
            parked,
        } = giving;
        if self.is_shared {
            self.give_up_anywhere(name, parked, why);
            return Orders::new();
        }
        let conversation = parked.conversation.clone();
        match Untold::end(name.0, &parked.record, conversation).await {
            Ok((abandoned, untold)) => {
                self.tell(given_up(why, abandoned), untold);
                // Whatever the record says: a `hello` may still be held back.
                self.end(name, Some(parked.record))
            }
            Err(error) => {
                unstored.push(name.0);
                if error == StoreError::TakenOver {
                    self.admission.taken_over(name)
                } else {
                    self.parked.insert(name, parked);
                    self.admission.kept(name, clienthello)
                }
            }
        }
    }

    fn instruct(&mut self, id: ConnectionId, instruction: Instruction, unstored: &[KeyId]) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        // An end is on the disk before anybody is told of it (PROTOCOL 4.7).
        let is_unstored = connection.key.is_some_and(|key| unstored.contains(&key));
        let instruction = match is_unstored {
            true => Instruction::Close,
            false => instruction,
        };
        let (address, key) = (connection.address, connection.key);
        let is_there = match &mut connection.way {
            Way::Task(task) => {
                task.abort();
                true
            }
            Way::Answer(told) => {
                told.push(instruction);
                true
            }
            // Whoever has left says so.
            Way::Channel(sender) => sender.send(instruction).is_ok(),
        };
        if let (Instruction::Refuse(reason), Some(key)) = (instruction, key) {
            let from = address.map(display);
            info!(connection = id.0, %key, from, reason = reason.word(), "refused");
            self.mention(ServerEvent::Refused { key, reason });
        }
        if is_there && instruction == Instruction::Close {
            let from = address.map(display);
            let why = "it had to make room, or a newer one has come";
            info!(connection = id.0, from, why, "failed");
            self.going.insert(id);
        }
    }
}

/// A conversation that is to end where it is kept.
struct GivenUp {
    name: ConversationName,
    why: Why,
    clienthello: u64,
    parked: Parked,
}

/// What the server's user is told of a parked conversation that is over.
pub(super) fn given_up(why: Why, abandoned: Abandoned) -> ServerEvent {
    let (key, conversation) = (&abandoned.key, &abandoned.conversation);
    info!(%conversation, peer = %key, "given up");
    match why {
        Why::Peer => ServerEvent::GaveUp(abandoned),
        Why::Age => ServerEvent::Expired(abandoned),
        Why::Expelled => ServerEvent::Expelled(abandoned),
    }
}
