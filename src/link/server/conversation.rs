//! [`Live`]: a conversation that is on, or held.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::Remains;
use crate::link::crowding::Crowding;
use crate::link::driver::Driver;
use crate::link::driver::keeper::Keeper;
use crate::link::handshake::Tls;
use crate::link::session::Session;
use crate::link::store::Record;
use crate::link::turn::{self, Talk};
use crate::protocol::{Conversation, Limits, Role};
use crate::trust::Peer;

/// A conversation that is on, or held.
pub(super) struct Live<S> {
    pub(super) driver: Arc<Driver<Tls<S>>>,
    record: Option<Arc<Record>>,
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
        crowding: Arc<Crowding>,
    ) -> (Self, Talk) {
        let has_journal = record.is_some();
        let session = Session::new(
            Role::Server,
            conversation.clone(),
            true,
            has_journal,
            limits,
        );
        let driver = Driver::new(session, peer.key(), record.clone(), Some(crowding));
        let user = Arc::clone(&driver);
        let live = Self { driver, record };
        (live, turn::welcomed(peer, &conversation, user))
    }

    /// Where it is kept.
    pub(super) fn record(&self) -> Option<Arc<Record>> {
        self.record.clone()
    }

    /// What keeps it going, to its end. `tell` learns what is left of it, once, however that ends.
    pub(super) fn keeper<F>(&self, tell: F) -> Keeper<Tls<S>>
    where
        F: FnOnce(Remains) + Send + 'static,
    {
        let record = self.record();
        let mut end = End(Some(tell));
        let done = move |remains| end.say(Remains::of(remains, record));
        Arc::clone(&self.driver).keeper(done)
    }
}

/// Whom to tell what is left.
struct End<F: FnOnce(Remains)>(Option<F>);

impl<F: FnOnce(Remains)> End<F> {
    fn say(&mut self, remains: Remains) {
        if let Some(tell) = self.0.take() {
            tell(remains);
        }
    }
}

impl<F: FnOnce(Remains)> Drop for End<F> {
    fn drop(&mut self) {
        self.say(Remains::End(None));
    }
}
