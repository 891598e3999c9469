//! What somebody still knows of. The rest is forgotten: so, fewer states differ.

use std::collections::BTreeSet;

use turnchat::protocol::{ConversationId, Frame};

use super::house::Guest;
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
            if self.house.admission.forget_end(key, id) && asked_for.contains(&id) {
                self.house.admission.remember_end(key, id, config.now);
            }
        }
        let house = &mut self.house;
        house
            .pages
            .retain(|(page, _)| !page.quit || asked_for.contains(&page.id));
        let pages = house.pages.iter().map(|(page, _)| page.id);
        let mut known: BTreeSet<_> = asked_for.into_iter().chain(pages).collect();
        known.extend(house.parked.keys().chain(&house.talks));
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
        if let Program::Runs(session) = &self.program {
            ids.insert(session.conversation.id());
        }
        ids.extend(self.page.as_ref().map(|page| page.id));
        for link in self.links.values() {
            for frame in link.up.iter().chain(&link.down) {
                if let Frame::Hello { conversation, .. } | Frame::Welcome { conversation, .. } =
                    frame
                {
                    ids.insert(*conversation);
                }
            }
        }
        for guest in self.house.guests.values() {
            match guest {
                Guest::Candidates { conversation, .. } | Guest::Gone(conversation) => {
                    ids.insert(*conversation);
                }
                Guest::Talking(session) => {
                    ids.insert(session.conversation.id());
                }
                _ => {}
            }
        }
        ids
    }
}
