//! [`Live`]: a conversation that is on, with the task that keeps it.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::admission::ConversationName;
use super::hub_event::{HubEvent, Keeping, Remains, Task};
use crate::link::crowding::Crowding;
use crate::link::driver::Driver;
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

    /// Keeps it going, to its end: by its connection's task, if that is still there, or by
    /// another of these.
    pub(super) fn keep(
        &mut self,
        name: ConversationName,
        task: Option<Task>,
        tasks: &mut JoinSet<()>,
        events: mpsc::UnboundedSender<HubEvent<S>>,
    ) {
        let record = self.record();
        let mut end = End {
            name,
            events,
            is_said: false,
        };
        let done = move |remains| end.say(Remains::of(remains, record));
        let mut keeping: Keeping = Box::pin(Arc::clone(&self.driver).keep(None, done));
        if let Some(Task { waker, keep }) = task {
            self.driver.kept_by(waker);
            match keep.send(keeping) {
                Ok(()) => return,
                // It took too long.
                Err(back) => keeping = back,
            }
        }
        tasks.spawn(keeping);
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
        self.say(Remains::End(None));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::DuplexStream;
    use tokio::sync::oneshot;

    use super::*;
    use crate::protocol::{ConversationId, HeardWhen};

    /// Its task is gone if the hub took longer than a tick.
    #[tokio::test]
    async fn its_connections_task_keeps_a_conversation_or_another() {
        for is_there in [true, false] {
            let id = ConversationId::from_bits([7; 16]);
            let key = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
            let peer = Peer::remembered(key.parse().unwrap());
            let name = (peer.key(), id);
            let conversation = Conversation::new(Role::Server, id, HeardWhen::Taken);
            let (limits, crowding) = (Limits::default(), Arc::default());
            let (mut live, _talk) =
                Live::<DuplexStream>::new(peer, conversation, None, &limits, crowding);
            let (keep, mut keeping) = oneshot::channel();
            if !is_there {
                keeping.close();
            }
            let waker = Waker::noop().clone();
            let mut tasks = JoinSet::new();
            let (events, mut told) = mpsc::unbounded_channel();
            live.keep(name, Some(Task { waker, keep }), &mut tasks, events);
            assert_eq!(tasks.is_empty(), is_there);
            assert_eq!(keeping.try_recv().is_ok(), is_there);
            // Dropped unpolled, it says so too.
            drop(tasks);
            assert!(told.recv().await.is_some());
        }
    }
}
