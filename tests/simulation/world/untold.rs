//! Ends that the server's user has still to read of, as src/link/untold.rs has them.

use std::time::Duration;

use turnchat::ConversationId;
use turnchat::internals::{By, Contents, Conversation, Role, Snapshot, StoreError};

use super::machine::Put;
use super::store::{Of, RecordNumber, What};
use super::{Event, Node, Whose, World};
use crate::config::Side;
use crate::rules::Broken;
use crate::tale::Outcome;

/// A conversation that is over, as its record has it.
pub(super) struct Untold {
    pub(super) conversation: Conversation,
}

impl Untold {
    pub(super) fn of(conversation: &Conversation) -> Self {
        Self {
            conversation: conversation.clone(),
        }
    }

    /// `Abandoned::of`: a message that was not acknowledged, or not taken.
    pub(super) fn has_something(&self) -> bool {
        let conversation = &self.conversation;
        let is_untaken = conversation.last_heard().is_some() && conversation.has_untaken();
        conversation.end(By::Peer).unacknowledged.is_some() || is_untaken
    }
}

impl World {
    /// `Untold::end`: ends a parked conversation on the disk. Whether that could be stored.
    pub(super) fn end_parked(
        &mut self,
        node: Node,
        id: ConversationId,
        mut conversation: Conversation,
    ) -> Result<(), StoreError> {
        conversation.quit();
        let untold = Untold::of(&conversation);
        if !self.nodes[node].machine.has_journal {
            self.tell_end(&untold);
            return Ok(());
        }
        let forgets = self.setup.breaks(Broken::ToldFirst);
        let put = match untold.has_something() && !forgets {
            true => self.end_record(conversation.snapshot()),
            false => self.remains_of(&conversation),
        };
        self.put(Whose::Server(node), id, &put)?;
        match untold.has_something() {
            true => self.tell_later(node, untold),
            false => self.tell_end(&untold),
        }
        Ok(())
    }

    /// `Hub::give_up_anywhere`.
    pub(super) fn give_up_anywhere(&mut self, record: RecordNumber, mut parked: Conversation) {
        parked.quit();
        let put = match Untold::of(&parked).has_something() {
            true => self.end_record(parked.snapshot()),
            false => self.remains_of(&parked),
        };
        let what = match put {
            Put::Record(contents) => What::Put(contents),
            Put::Nothing => What::End,
        };
        self.call(record, Of::GivenUp(Box::new(parked)), what);
    }

    /// `Order::Forget`: nobody asks any more whether it has ended.
    pub(super) fn forget_end(&mut self, node: Node, id: ConversationId) {
        let record = self.record(Side::Server, id);
        let ended = record.and_then(|record| Conversation::restore(Role::Server, record));
        let is_tombstone =
            |ended: &Conversation| ended.has_quit() && !Untold::of(ended).has_something();
        if ended.as_ref().is_some_and(is_tombstone) {
            // What cannot be removed is so at the next start, when it is too old.
            let _ = self.put(Whose::Server(node), id, &Put::Nothing);
        }
    }

    /// `LastPut::of`.
    fn remains_of(&self, conversation: &Conversation) -> Put {
        match conversation.is_acknowledged() {
            true => Put::Nothing,
            false => self.end_record(conversation.tombstone()),
        }
    }

    fn end_record(&self, snapshot: Snapshot) -> Put {
        let peer = self.key(self.owner(snapshot.id));
        Put::Record(Box::new(Contents::new(peer, snapshot)))
    }

    pub(super) fn tell_later(&mut self, node: Node, untold: Untold) {
        self.nodes[node].hub.untold.push_back(untold);
        let later = self.dice.up_to(Duration::from_secs(20));
        self.queue.after(later, Event::ReadsEnd(self.life(node)));
    }

    /// The server's user reads an event, and it is told (`Untold::told`).
    pub(super) fn read_end(&mut self, node: Node) {
        let Some(untold) = self.nodes[node].hub.untold.pop_front() else {
            return;
        };
        self.tell_end(&untold);
        if self.burns() {
            // It is told again.
            return;
        }
        // Its peer can have begun it anew if that took very long.
        let id = untold.conversation.id();
        if self.record(Side::Server, id) == Some(untold.conversation.snapshot()) {
            let put = self.remains_of(&untold.conversation);
            let _ = self.put(Whose::Server(node), id, &put);
        }
    }

    /// The server's user reads of it.
    pub(super) fn tell_end(&mut self, untold: &Untold) {
        let conversation = &untold.conversation;
        let tale = self.tale(conversation.id());
        let unacknowledged = conversation.end(By::Peer).unacknowledged;
        let told = tale.of_mut(Side::Server);
        super::promises::name(told, unacknowledged.map(|message| message.turn));
        let last = conversation.last_heard();
        if let Some(message) = last.filter(|_| conversation.has_untaken())
            && let Err(promise) = tale.show(Side::Server, message.turn, &message.text, true)
        {
            self.breaks(promise);
        }
        let told = self.tale(conversation.id()).of_mut(Side::Server);
        told.outcome = Some(Outcome::Ended);
    }
}
