//! [`Driver`]: feeds a [`Session`] from its stream, its record, its user and its timers. A
//! user that waits reads the stream itself, since a hop between two tasks costs more than TLS
//! does. While the user does not wait, the keeper takes over: the task that runs
//! [`Keeper::keep`](keeper::Keeper::keep).
//!
//! - The stream's read waker belongs to the task that polled last, user or keeper. Every
//!   [`TICK`] the keeper checks whether the user has polled. If not, the keeper reads, and
//!   stops ticking. A user that comes back twice within a tick reads again, and wakes the keeper
//!   once; in a conversation that is slower the keeper goes on, since it would wake twice for each
//!   message to hand the stream over and to take it back.
//! - The stream's write waker is always the keeper's: the keeper finishes what cannot be
//!   written at once. A link that is to be closed is told so at once too, by whichever task found
//!   that out; the keeper waits for the peer to close its side.
//! - A server's `welcome` is sent with its user's first message, when the user waits for the
//!   peer, or at the keeper's next tick, whichever comes first.
//! - A put to the store is polled by the user that waits for it, and by the keeper whenever it
//!   looks; whoever polled last is woken, and while the keeper reads, the keeper. What is still being put when the keeper is dropped goes
//!   on in a task of its own.
//! - A user's futures hold no state. When one is dropped, the keeper takes over.
//! - No task is woken under the lock, and none holds it over an await.

pub(super) mod keeper;
mod outputs;
mod reading;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{Span, debug, info_span};

use super::closer::Closer;
use super::crowding::{Crowding, Place};
use super::error::Ended;
use super::session::{Greeting, NotAccepted, Notice, Remains, Session, Timer};
use super::store::{Later, Record, StoreError};
use super::untold::{Telling, Untold};
use super::wire::Wire;
use crate::protocol::{Message, SayError, Text};
use crate::trust::KeyId;

/// How often the keeper checks that the user still polls, and how long a `heard` waits for an
/// answer to share its packet (PROTOCOL 3.5).
pub(super) const TICK: Duration = Duration::from_millis(25);

/// One attempt at a connection on which the same key is proven. The error is another key, if
/// one answered.
pub(crate) type Attempt<S> =
    Pin<Box<dyn Future<Output = Result<Box<Wire<S>>, Option<KeyId>>> + Send>>;
/// Where a client's next connection comes from.
pub(crate) type Dial<S> = Box<dyn FnMut() -> Attempt<S> + Send>;

/// The user's side of a conversation. No call waits for the keeper.
pub(super) trait Conversing: Send + Sync {
    /// The next notice. `None` once there is a message, the end or, with `awaits_welcome`, the
    /// first `welcome`.
    fn poll_notice(&self, cx: &mut Context<'_>, awaits_welcome: bool) -> Poll<Option<Notice>>;

    /// Whether the conversation is on, or was.
    fn is_welcomed(&self) -> bool;

    /// The next message, or the end. Notices before it are passed over.
    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<Result<Message, Ended>>;

    /// Says a message. After an error nothing has changed.
    fn say(&self, text: Text) -> Result<(), SayError>;

    /// Ready once no store is in progress; false if one has failed.
    fn poll_stored(&self, cx: &mut Context<'_>) -> Poll<bool>;

    /// The user has taken the last message.
    fn taken(&self);

    /// Ends the conversation.
    fn quit(&self);

    /// The user cannot take what it hears.
    fn reader_failed(&self);

    /// The user is gone.
    fn dropped(&self);
}

/// What drives one conversation to its end.
pub(crate) struct Driver<S> {
    state: Mutex<State<S>>,
}

struct State<S> {
    session: Session,
    /// The span of all tracing events of this conversation.
    span: Span,
    record: Option<Arc<Record>>,
    /// On a server: what somebody may wait for.
    place: Option<Place>,
    wire: Option<Box<Wire<S>>>,
    /// The connection that becomes the link next.
    arriving: Option<Box<Wire<S>>>,
    /// Mostly none is armed.
    deadlines: Vec<(Timer, Instant)>,
    /// A put, or a removal, that is not known to be done, and the runtime that it needs: a user
    /// may poll from outside of it.
    putting: Option<Later<Result<(), StoreError>>>,
    runtime: Handle,
    heard: Option<Message>,
    ended: Option<Box<Ended>>,
    /// What its user is to be told with that, until it has it.
    untold: Option<Untold>,
    is_user_gone: bool,
    /// News of a silence of the peer: whether it is over.
    silence: Option<bool>,
    /// A link that is being closed in order, and whether the session waits for that.
    closing: Option<(Closer<S>, bool)>,
    must_dial: bool,
    /// What is left of the conversation, and who is to be told.
    remains: Option<Remains>,
    done: Option<Done>,
    is_cut_off: bool,
    /// The user has polled since the keeper last looked, or soon will because the link is new.
    has_polled: bool,
    /// For one tick the keeper leaves the `welcome` to the user, who sends it by speaking or
    /// by waiting.
    is_welcome_new: bool,
    /// The keeper reads, and does not tick.
    keeper_reads: bool,
    /// When the user last polled while the keeper read.
    last_polled: Option<Instant>,
    user: Option<Waker>,
    /// The user's waker, while it waits only for a store.
    sayer: Option<Waker>,
    keeper: Option<Waker>,
    after: After,
}

/// Is told what is left of a conversation.
type Done = Box<dyn FnOnce(Remains) + Send>;

/// What is done once the lock is released.
#[derive(Default)]
struct After {
    wake_user: bool,
    wake_sayer: bool,
    wake_keeper: bool,
}

impl<S> Driver<S>
where
    S: AsyncBufRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Drives this session with a peer, and keeps its conversation in this record if there
    /// is one. `crowding`: on a server, whether somebody waits for its place.
    pub(crate) fn new(
        session: Session,
        peer: KeyId,
        record: Option<Arc<Record>>,
        crowding: Option<Arc<Crowding>>,
    ) -> Arc<Self> {
        let conversation = session.conversation().id();
        let span = info_span!("conversation", %conversation, %peer);
        let mut state = State {
            session,
            span,
            record,
            place: crowding.map(|crowding| Place::new(crowding, (peer, conversation))),
            wire: None,
            arriving: None,
            deadlines: Vec::new(),
            putting: None,
            runtime: Handle::current(),
            heard: None,
            ended: None,
            untold: None,
            is_user_gone: false,
            silence: None,
            closing: None,
            must_dial: false,
            remains: None,
            done: None,
            is_cut_off: false,
            has_polled: false,
            is_welcome_new: false,
            keeper_reads: false,
            last_polled: None,
            user: None,
            sayer: None,
            keeper: None,
            after: After::default(),
        };
        state.process();
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    /// A client has this connection.
    pub(crate) fn connected(&self, wire: Box<Wire<S>>) {
        self.with(|state| state.connected(wire));
    }

    /// There is no connection yet, but one may come. `clienthello`: on a server, the last
    /// connection's place in the order of ClientHellos.
    pub(crate) fn hold(&self, clienthello: u64) {
        self.with(|state| state.session.hold(clienthello));
    }

    /// A server has this connection for the conversation. A connection that is not accepted is
    /// given back.
    ///
    /// # Errors
    /// Why it was not accepted; nothing has changed.
    pub(crate) fn accept(
        &self,
        wire: Box<Wire<S>>,
        greeting: Greeting,
    ) -> Result<(), (Box<Wire<S>>, NotAccepted)> {
        self.with(|state| match state.session.accept(greeting) {
            Ok(()) => {
                state.arriving = Some(wire);
                Ok(())
            }
            Err(why) => Err((wire, why)),
        })
    }

    /// The peer has begun another conversation.
    pub(crate) fn supersede(&self) {
        self.with(|state| state.session.supersede());
    }

    /// Another server goes on with it.
    pub(crate) fn taken_over(&self) {
        self.with(|state| state.session.taken_over());
    }

    /// The peer is not admitted any more.
    pub(crate) fn expel(&self) {
        self.with(|state| state.session.expel());
    }

    /// The server knows what is left: the keeper need not wait for its next tick to leave.
    pub(crate) fn forgotten(&self) {
        self.with(|state| state.after.wake_keeper |= state.closing.is_none());
    }

    /// Somebody waits for a place, or nobody does any more, and this conversation minds.
    pub(crate) fn crowded(&self) {
        self.with(|state| {
            let is_crowded = state.place.as_ref().is_some_and(Place::is_crowded);
            state.session.crowded(is_crowded);
        });
    }

    /// Its server stops: the keeper leaves now, if the conversation is on.
    pub(crate) fn cut_off(&self) {
        self.with(|state| {
            state.is_cut_off = state.session.is_on();
            state.after.wake_keeper |= state.is_cut_off;
        });
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the session, then does what follows from it.
    fn with<T>(&self, act: impl FnOnce(&mut State<S>) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state);
        state.process();
        let after = std::mem::take(&mut state.after);
        let user = after.wake_user.then(|| state.user.take()).flatten();
        let sayer = after.wake_sayer.then(|| state.sayer.take()).flatten();
        let keeper = after.wake_keeper.then(|| state.keeper.clone()).flatten();
        let left = state.take_left();
        drop(state);
        if let Some((done, remains)) = left {
            done(remains);
        }
        for waker in [user, sayer, keeper].into_iter().flatten() {
            waker.wake();
        }
        result
    }
}

impl<S> State<S>
where
    S: AsyncBufRead + AsyncWrite + Send + Unpin + 'static,
{
    fn connected(&mut self, wire: Box<Wire<S>>) {
        if self.session.is_on() {
            self.arriving = Some(wire);
            self.session.connected();
        }
    }

    /// Once both are there: who is to be told what is left.
    fn take_left(&mut self) -> Option<(Done, Remains)> {
        let remains = self.remains.take_if(|_| self.done.is_some())?;
        Some((self.done.take()?, remains))
    }
}

/// Up to as much again, at random: clients must not all come back at the same instant.
pub(super) fn with_jitter(delay: Duration) -> Duration {
    let mut byte = [0];
    // Without random bits there is none.
    let _ = rand::fill(&mut byte);
    let [part] = byte;
    delay + delay * u32::from(part) / 256
}

impl<S> Conversing for Driver<S>
where
    S: AsyncBufRead + AsyncWrite + Send + Unpin + 'static,
{
    fn poll_notice(&self, cx: &mut Context<'_>, awaits_welcome: bool) -> Poll<Option<Notice>> {
        self.with(|state| state.poll_notice(cx, awaits_welcome))
    }

    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<Result<Message, Ended>> {
        self.with(|state| {
            loop {
                if ready!(state.poll_notice(cx, false)).is_some() {
                    continue;
                }
                if let Some(heard) = state.heard.take() {
                    return Poll::Ready(Ok(heard));
                }
                if let Some(ended) = state.ended.as_deref() {
                    let telling = Telling::new(state.untold.take(), &state.runtime);
                    return Poll::Ready(Err(ended.with(telling)));
                }
                // Who asks for the next one has taken the last.
                state.session.taken();
                state.process();
            }
        })
    }

    fn is_welcomed(&self) -> bool {
        self.lock().session.is_welcomed()
    }

    fn say(&self, text: Text) -> Result<(), SayError> {
        self.with(|state| match state.ended {
            Some(_) => Err(SayError::Ended),
            None => {
                let turn = state.session.conversation().next_turn();
                let said = state.session.say(text);
                if said.is_ok() {
                    debug!(parent: &state.span, turn, "says");
                }
                said
            }
        })
    }

    fn poll_stored(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let state = self.lock();
        if !state.session.is_storing() {
            return Poll::Ready(!state.session.has_failed_to_store());
        }
        drop(state);
        self.with(|state| {
            state.sayer = None;
            while state.poll_put(cx) {
                // Nothing was read meanwhile.
                state.after.wake_keeper |= state.keeper_reads;
            }
            if state.session.is_storing() && state.ended.is_none() {
                state.sayer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(!state.session.is_storing() && !state.session.has_failed_to_store())
        })
    }

    fn taken(&self) {
        self.with(|state| {
            state.session.taken();
            // It sends the `heard`, unless an answer comes first.
            state.after.wake_keeper |= std::mem::take(&mut state.keeper_reads);
        });
    }

    fn quit(&self) {
        self.with(|state| state.session.quit());
    }

    fn reader_failed(&self) {
        self.with(|state| state.session.reader_failed());
    }

    fn dropped(&self) {
        self.with(|state| {
            state.user = None;
            (state.is_user_gone, state.untold) = (true, None);
            state.after.wake_keeper |= state.putting.is_some();
            state.session.dropped();
        });
    }
}

impl<S> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
