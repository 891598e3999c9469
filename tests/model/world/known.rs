//! What somebody still knows of. The rest is forgotten: so, fewer states differ.

use std::collections::BTreeSet;

use turnchat::ConversationId;
use turnchat::internals::Frame;

use super::hub::Connection;
use super::program::Program;
use super::{World, id};
use crate::config::Config;

impl World {
    /// A conversation that no machine, no disk and no frame knows of cannot
    /// come back, and neither can anybody ask whether it has ended.
    pub(super) fn forget_the_unknown(&mut self, config: &Config) {
        let asked_for = self.asked_for();
        let ended: Vec<_> = self.tales.keys().copied().collect();
        let key = config.peer.key();
        for id in ended {
            // In this order again, as no limit of theirs is ever reached.
            if self.hub.admission.forget_end(&(key, id)) && asked_for.contains(&id) {
                self.hub.admission.ended((key, id));
            }
        }
        let hub = &mut self.hub;
        hub.records.retain(|record| {
            let is_end = record.snapshot.quit && !record.is_to_be_told();
            !is_end || asked_for.contains(&record.snapshot.id)
        });
        let records = hub.records.iter().map(|record| record.snapshot.id);
        let mut known: BTreeSet<_> = asked_for.into_iter().chain(records).collect();
        known.extend(hub.parked.keys().chain(&hub.talks));
        known.extend(hub.untold.iter().map(|end| end.id));
        self.tales
            .retain(|id, tale| known.contains(id) || !tale.is_nothing_lost());
    }

    /// One that nobody knows, or knows any more.
    pub(super) fn new_id(&mut self) -> ConversationId {
        if !std::mem::replace(&mut self.has_begun, true) {
            return id(0);
        }
        let mut ids = (1..).map(id);
        ids.find(|id| !self.tales.contains_key(id)).unwrap()
    }

    /// What a `hello` is on its way for, or can be said for again.
    fn asked_for(&self) -> BTreeSet<ConversationId> {
        let mut ids = BTreeSet::new();
        if let Program::Runs(driver) = &self.program {
            ids.insert(driver.conversation().id());
        }
        ids.extend(self.record.as_ref().map(|record| record.id));
        for link in self.links.values() {
            for frame in link.up.iter().chain(&link.down) {
                if let Frame::Hello { conversation, .. } | Frame::Welcome { conversation, .. } =
                    frame
                {
                    ids.insert(*conversation);
                }
            }
        }
        for connection in self.hub.connections.values() {
            match connection {
                Connection::Greeted { conversation, .. }
                | Connection::Entered { conversation, .. }
                | Connection::Gone(conversation) => _ = ids.insert(*conversation),
                Connection::Stranger => {}
            }
        }
        ids.extend(self.hub.live.values().map(|of| of.conversation().id()));
        ids
    }
}
