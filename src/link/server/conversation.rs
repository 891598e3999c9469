//! [`Live`]: a conversation that is on, with the task that keeps it.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::admission::ConversationName;
use super::hub_event::{HubEvent, Remains};
use crate::link::driver::Driver;
use crate::link::handshake::Tls;
use crate::link::journal::Record;
use crate::link::session::Session;
use crate::link::turn::{self, Talk};
use crate::protocol::{Conversation, Limits, Role};
use crate::trust::Peer;

/// A conversation that is on, or held.
pub(super) struct Live<S> {
    pub(super) driver: Arc<Driver<Tls<S>>>,
    record: Option<Arc<Record>>,
    keeper: Option<AbortHandle>,
}

impl<S> Live<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// It begins, or goes on, once it has a connection or is held; and its user's side.
    pub(super) fn new(
        peer: Peer,
        conversation: Conversation,
        record: Option<Arc<Record>>,
        limits: &Limits,
    ) -> (Self, Talk) {
        let has_journal = record.is_some();
        let session = Session::new(
            Role::Server,
            conversation.clone(),
            true,
            has_journal,
            limits,
        );
        let driver = Driver::new(session, peer.key(), record.clone());
        let user = Arc::clone(&driver);
        let live = Self {
            driver,
            record,
            keeper: None,
        };
        (live, turn::welcomed(peer, &conversation, user))
    }

    /// Keeps it going, to its end, in a task of these.
    pub(super) fn keep(
        &mut self,
        name: ConversationName,
        tasks: &mut JoinSet<()>,
        events: mpsc::UnboundedSender<HubEvent<S>>,
    ) {
        let (driver, record) = (Arc::clone(&self.driver), self.record.take());
        let mut end = End {
            name,
            events,
            is_said: false,
        };
        let done = move |remains| end.say(Remains::of(remains, record));
        self.keeper = Some(tasks.spawn(driver.keep(None, done)));
    }

    /// Cuts it, if it is on: its server stops.
    pub(super) fn cut(&self) {
        if let Some(keeper) = self.keeper.as_ref().filter(|_| self.driver.is_on()) {
            keeper.abort();
        }
    }
}

/// Tells the hub what is left, once, however the task ends.
struct End<S> {
    name: ConversationName,
    events: mpsc::UnboundedSender<HubEvent<S>>,
    is_said: bool,
}

impl<S> End<S> {
    fn say(&mut self, remains: Remains) {
        if !std::mem::replace(&mut self.is_said, true) {
            let _ = self.events.send(HubEvent::Over(self.name, remains));
        }
    }
}

impl<S> Drop for End<S> {
    fn drop(&mut self) {
        self.say(Remains::End);
    }
}
