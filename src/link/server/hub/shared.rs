//! What a [`State`] does that shares its store with others.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::orders::given_up;
use super::state::{Parked, State};
use crate::link::server::admission::{ConnectionId, ConversationName, Entry, Hello, Why};
use crate::link::server::answer::{Answer, Claiming, Entering};
use crate::link::server::claim::{Claimed, claim};
use crate::link::server::conversation::Live;
use crate::link::server::event::{News, ServerEvent};
use crate::link::store::{Claimant, RecordName, Store};
use crate::link::untold::Untold;
use crate::protocol::{Frame, Reason};

impl<S> State<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Before anything is said, its conversation is claimed in the store (PROTOCOL 4.7 and 4.25).
    /// That may take long: it can be told to close meanwhile.
    pub(super) fn claim(
        &mut self,
        id: ConnectionId,
        hello: &Hello,
        entering: Entering<S>,
        store: Arc<dyn Store>,
    ) -> Answer<S> {
        let name = hello.name();
        let claimant = Claimant {
            conversation: hello.conversation,
            heard: hello.heard,
            clienthello: hello.clienthello,
            has_claimed: entering.has_claimed,
        };
        let held = self.live.get(&name).and_then(Live::record);
        let by = Instant::now() + self.limits.hello;
        let record = RecordName::Server(name.0, name.1);
        Answer::Claim(Claiming {
            entering,
            claimed: Box::pin(claim(store, record, held, claimant, by)),
            instructions: self.instruct_from_now_on(id, Some(name.0)),
        })
    }

    /// What has become of a claim. Much may have happened since.
    pub(in crate::link::server) async fn claimed(
        &mut self,
        id: ConnectionId,
        entering: Entering<S>,
        claimed: Claimed,
    ) -> Answer<S> {
        self.forget(id);
        let refuse = |reason| Frame::Refuse { reason };
        let (answer, orders) = match claimed {
            Claimed::Ours(record, conversation) => {
                self.enter(id, entering, Some((record, *conversation)))
            }
            Claimed::Ended => self.close_with(id, entering.wire, refuse(Reason::Ended), None),
            Claimed::Lost => match self.admission.entry(id) {
                Entry::GoOn(hello) => {
                    let name = hello.name();
                    if let Some(live) = self.live.get(&name) {
                        live.driver.taken_over();
                    }
                    return self.come_early(name, entering);
                }
                _ => self.enter(id, entering, None),
            },
            Claimed::Impossible(violation) => self.turn_away(id, entering.wire, violation),
            Claimed::Unreadable(error) => {
                self.mention(ServerEvent::Unreadable(error));
                self.close_with(id, entering.wire, refuse(Reason::Busy), None)
            }
            Claimed::Nothing => self.let_go(id),
        };
        self.give(orders).await;
        answer
    }

    /// A conversation that stands where others have it, too. Nobody waits for that: it may take
    /// long. If others go on with it meanwhile, it has not ended.
    pub(super) fn give_up_anywhere(&mut self, name: ConversationName, parked: Parked, why: Why) {
        let events = self.outlets.events.clone();
        self.spawn(async move {
            let Parked {
                conversation,
                record,
            } = parked;
            if let Ok((abandoned, untold)) = Untold::end(name.0, &record, conversation).await {
                let event = given_up(why, abandoned);
                let _ = events.try_send(News { event, untold });
            }
        });
    }
}
