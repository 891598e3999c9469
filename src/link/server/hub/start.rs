//! How a [`State`] takes up what a journal holds.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::state::{Parked, State};
use crate::link::server::admission::{Orders, Verdict};
use crate::link::server::event::ServerEvent;
use crate::link::server::question::Candidate;
use crate::link::store::{Inventory, RecordName, Stored};
use crate::link::untold::Untold;
use crate::trust::Peer;

impl<S> State<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Takes up what the journal holds.
    pub(super) async fn take_up(&mut self, inventory: Inventory) {
        let mut orders = Orders::new();
        for (name, error) in inventory.unreadable {
            if let Some(RecordName::Server(key, id)) = name {
                orders.extend(self.admission.unreadable((key, id)));
            }
            self.tell(ServerEvent::Unreadable(error), None);
        }
        self.expire(&inventory.expired).await;
        self.forget_ends(&inventory.excess).await;
        orders.extend(self.restore(inventory.stored));
        self.give(orders).await;
    }

    /// Gives up what has waited too long.
    async fn expire(&mut self, expired: &[Stored]) {
        for stored in expired {
            let (record, conversation) = (&stored.record, &stored.conversation);
            let expired = Untold::expired(stored.peer, record, conversation);
            let (abandoned, untold) = expired.await;
            match (conversation.has_quit(), &untold) {
                (true, None) => {}
                (true, Some(_)) => self.tell(ServerEvent::Ended(abandoned), untold),
                (false, _) => self.tell(ServerEvent::Expired(abandoned), untold),
            }
        }
    }

    /// Tells of what nobody has asked for, once more and for the last time.
    async fn forget_ends(&mut self, excess: &[Stored]) {
        for stored in excess {
            let (record, conversation) = (&stored.record, &stored.conversation);
            let expired = Untold::expired(stored.peer, record, conversation);
            if let (abandoned, Some(untold)) = expired.await {
                self.tell(ServerEvent::Ended(abandoned), None);
                untold.told().await;
            }
        }
    }

    /// The open conversations, in the order in which the peers last came; and the ends.
    fn restore(&mut self, stored: Vec<Stored>) -> Orders {
        let mut orders = Orders::new();
        for stored in &stored {
            let (peer, conversation) = (stored.peer, &stored.conversation);
            let name = (peer, conversation.id());
            if !conversation.has_quit() {
                orders.extend(
                    self.admission
                        .restore(name, stored.clienthello, stored.age()),
                );
                continue;
            }
            orders.extend(self.end(name, Some(Arc::clone(&stored.record))));
            if let Some((abandoned, untold)) = Untold::ended(peer, &stored.record, conversation) {
                self.tell(ServerEvent::Ended(abandoned), Some(untold));
            }
        }
        let name = |s: &Stored| (s.peer, s.conversation.id());
        let is_held = |s: &Stored| s.is_live && self.admission.is_open(&name(s));
        let held = stored.iter().rposition(is_held);
        let held = held.filter(|_| self.one_at_a_time);
        // A conversation gets no seat if the user would have to be asked about its peer.
        let candidate = |s: &Stored| Candidate {
            key: s.peer,
            address: None,
            conversation: s.conversation.id(),
            is_returning: true,
            others: 0,
        };
        let candidate = held.and_then(|place| stored.get(place)).map(candidate);
        let verdict = candidate.and_then(|candidate| self.questions.ask(candidate).ok());
        let held = held.filter(|_| verdict == Some(Verdict::Admit));
        let open = |(_, stored): &(_, Stored)| !stored.conversation.has_quit();
        for (place, stored) in stored.into_iter().enumerate().filter(open) {
            let name = name(&stored);
            let Stored {
                record,
                peer,
                conversation,
                clienthello,
                ..
            } = stored;
            if held == Some(place) {
                orders.extend(self.admission.hold(name));
                let (live, talk) = self.live(Peer::remembered(peer), conversation, Some(record));
                live.driver.hold(clienthello);
                let keeper = self.keep(name, live, talk);
                self.spawn(keeper.keep(None));
            } else {
                self.parked.insert(
                    name,
                    Parked {
                        conversation,
                        record,
                    },
                );
            }
        }
        orders
    }
}
