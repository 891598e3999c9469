//! [`Driver`]: feeds a [`Session`] from its stream, its record, its user and its timers. A
//! user that waits reads the stream itself, since a hop between two tasks costs more than TLS
//! does. While the user does not wait, the keeper takes over: the task that runs
//! [`Keeper::keep`].
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
//!   looks; whoever polled last is woken. What is still being put when the keeper is dropped goes
//!   on in a task of its own.
//! - A user's futures hold no state. When one is dropped, the keeper takes over.
//! - No task is woken under the lock, and none holds it over an await.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use tracing::{Level, Span, debug, enabled, info, info_span, warn};

use super::closer::Closer;
use super::crowding::{Crowding, Place};
use super::error::{Ended, LinkError, chain};
use super::session::{Greeting, NotAccepted, Notice, Output, Remains, Session, Timer};
use super::store::{Later, Record, StoreError};
use super::untold::{Telling, Untold};
use super::wire::Wire;
use crate::protocol::{By, End, Frame, Message, SayError, Snapshot, Text};
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

/// What a look tells the keeper to do.
enum Look {
    Dial,
    Wait(Option<Instant>),
    /// The conversation is over, and its last link closed.
    Leave,
}

/// What is done once the lock is released.
#[derive(Default)]
struct After {
    wake_user: bool,
    wake_sayer: bool,
    wake_keeper: bool,
}

/// What to do with the record.
enum Put {
    Record {
        snapshot: Snapshot,
        is_live: bool,
        clienthello: u64,
    },
    Nothing,
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

    /// What keeps the conversation. `done` learns what is left of it as soon as that is known.
    pub(crate) fn keeper(
        self: Arc<Self>,
        done: impl FnOnce(Remains) + Send + 'static,
    ) -> Keeper<S> {
        self.with(|state| state.done = Some(Box::new(done)));
        Keeper(Leaving(self))
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

    /// What to answer a waiting user, if anything: a notice, or `None` if a message, the
    /// `welcome` or the end is there instead.
    fn take_notice(&mut self, awaits_welcome: bool) -> Option<Option<Notice>> {
        if awaits_welcome && self.session.is_welcomed() {
            // Other notices wait until the user has the conversation.
            return Some(self.session.poll_place());
        }
        let silence = || {
            Some(Notice::Silence {
                is_over: self.silence.take()?,
            })
        };
        if let Some(notice) = self.session.poll_notice().or_else(silence) {
            return Some(Some(notice));
        }
        let is_over = self.ended.is_some() || self.session.awaits_taking();
        (self.heard.is_some() || is_over).then_some(None)
    }

    /// For the user: see [`Conversing::poll_notice`].
    fn poll_notice(&mut self, cx: &mut Context<'_>, awaits_welcome: bool) -> Poll<Option<Notice>> {
        self.user = None;
        if let Some(notice) = self.take_notice(awaits_welcome) {
            return Poll::Ready(notice);
        }
        let keeper = self.keeper_that_reads_on();
        let readers_cx = &mut Context::from_waker(keeper.as_ref().unwrap_or(cx.waker()));
        self.read(readers_cx);
        while self.poll_put(cx) {
            self.read(readers_cx);
        }
        if keeper.is_some() {
            self.shrink();
        }
        self.listen();
        if let Some(notice) = self.take_notice(awaits_welcome) {
            return Poll::Ready(notice);
        }
        self.after.wake_user = false;
        self.user = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The user polls: who is woken when there is more to read, if that is the keeper.
    fn keeper_that_reads_on(&mut self) -> Option<Waker> {
        if self.keeper_reads {
            let now = Instant::now();
            let last = self.last_polled.replace(now);
            if last.is_none_or(|last| now - last >= TICK) {
                return self.keeper.clone();
            }
            self.keeper_reads = false;
            self.after.wake_keeper = true;
        }
        self.has_polled = true;
        None
    }

    /// The conversation is slow: its buffers are not worth keeping.
    fn shrink(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.shrink();
            self.session.shrink();
        }
    }

    /// Begins a put. Until somebody polls it who waits for it, it is the keeper's.
    fn put(&mut self, put: Put) {
        let Some(record) = self.record.clone() else {
            return;
        };
        self.putting = Some(Box::pin(async move {
            match put {
                Put::Record {
                    snapshot,
                    is_live,
                    clienthello,
                } => record.put(&snapshot, is_live, clienthello).await,
                Put::Nothing => record.remove().await,
            }
        }));
        let keeper = self.keeper.clone();
        let keeper = keeper.as_ref().unwrap_or(Waker::noop());
        self.take_put(&mut Context::from_waker(keeper));
    }

    /// Whether a put is done now. If not, the waker of `cx` is woken when it is.
    fn take_put(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(putting) = &mut self.putting else {
            return false;
        };
        let entered = self.runtime.enter();
        let Poll::Ready(result) = putting.as_mut().poll(cx) else {
            return false;
        };
        drop(entered);
        // Its record is unlocked before the end is told: the next user may lock it at once.
        self.putting = None;
        if let Err(error) = result.clone().map_err(LinkError::from) {
            warn!(parent: &self.span, why = chain(&error), "cannot be kept");
        }
        self.session.stored(result);
        true
    }

    /// The same, and does what follows.
    fn poll_put(&mut self, cx: &mut Context<'_>) -> bool {
        let is_done = self.take_put(cx);
        if is_done {
            self.after.wake_user = true;
            self.after.wake_sayer = true;
            self.process();
        }
        is_done
    }

    /// Does what the session puts out, in order.
    fn process(&mut self) {
        let mut is_urgent = false;
        let was_welcomed = self.session.is_welcomed();
        let mut over = None;
        while let Some(output) = self.next_output() {
            match output {
                Output::Store {
                    snapshot,
                    is_live,
                    clienthello,
                } => {
                    self.put(Put::Record {
                        snapshot,
                        is_live,
                        clienthello,
                    });
                }
                Output::Remove => self.put(Put::Nothing),
                Output::Link => {
                    info!(parent: &self.span, "has a connection");
                    self.wire = self.arriving.take();
                    self.has_polled = true;
                    self.after.wake_keeper = true;
                }
                Output::Send(frame) => {
                    if let Some(wire) = &mut self.wire {
                        wire.queue(&frame);
                    }
                    match frame {
                        // Not yet: an answer given at once goes in the same packet.
                        Frame::Heard { .. } => {}
                        // So does a first message. But it may be long, and over a slow path
                        // the `welcome` must not wait for all of it.
                        Frame::Welcome { .. } => {
                            self.write_apart();
                            self.is_welcome_new = true;
                        }
                        _ => is_urgent = true,
                    }
                }
                Output::Close(last) => match self.wire.take() {
                    Some(wire) => self.close(wire, last, true),
                    None => self.session.closed(),
                },
                Output::CloseInBackground(last) => {
                    if let Some(wire) = self.wire.take() {
                        self.close(wire, last, false);
                    }
                }
                Output::Cut => self.cut(),
                Output::Dial => {
                    debug!(parent: &self.span, "dials");
                    self.must_dial = true;
                    self.after.wake_keeper = true;
                }
                Output::Arm(timer, delay) => {
                    let delay = match timer {
                        Timer::Redial => with_jitter(delay),
                        _ => delay,
                    };
                    self.set(timer, Some(Instant::now() + delay));
                }
                Output::Disarm(timer) => self.set(timer, None),
                Output::HandOver(message) => {
                    debug!(parent: &self.span, turn = message.turn, "heard");
                    self.heard = Some(message);
                    self.after.wake_user = true;
                }
                Output::OnceTold(last) => {
                    // Without a user the next start tells it.
                    let record = self.record.take().filter(|_| !self.is_user_gone);
                    self.untold = record.map(|record| Untold::new(record, last));
                }
                Output::Ended(ended) => {
                    over = enabled!(Level::INFO).then(|| (ended.turns, chain(&ended)));
                    // Release it before the end is told: another task may continue from it at
                    // once.
                    self.record = None;
                    self.ended = Some(Box::new(ended));
                    self.after.wake_user = true;
                }
                Output::Done(remains) => {
                    // It comes with the end; only with it is known whether all is over.
                    match (&remains, over.take()) {
                        (Remains::Parked(_), Some((turns, _))) => {
                            info!(parent: &self.span, turns, "parked");
                        }
                        (_, Some((turns, why))) => info!(parent: &self.span, turns, why, "ended"),
                        (_, None) => {}
                    }
                    self.remains = Some(remains);
                    // On a server the hub wakes it: a task that wakes two others wakes a second
                    // thread for one of them.
                    let is_woken = self.keeper_reads || !self.session.is_server();
                    self.after.wake_keeper |= self.closing.is_none() && is_woken;
                }
            }
        }
        self.after.wake_user |= self.session.awaits_taking();
        let is_news = self.session.has_notice() || self.session.is_welcomed() != was_welcomed;
        self.after.wake_user |= is_news;
        if is_urgent {
            self.write();
        }
    }

    /// The next output. A conversation that is cut or about to end first asks whether somebody
    /// waits for its place.
    fn next_output(&mut self) -> Option<Output> {
        let output = self.session.poll_output();
        if output.is_none()
            && let Some(is_crowded) = self.place.as_mut()?.mind(self.session.minds_crowd())
        {
            self.session.crowded(is_crowded);
            return self.session.poll_output();
        }
        output
    }

    /// Writes what the stream takes now. The keeper finishes the rest, under its deadline.
    fn write(&mut self) {
        self.write_by(Wire::poll_write);
    }

    /// Writes in a separate TLS record, which is sent with the next write.
    fn write_apart(&mut self) {
        self.write_by(Wire::poll_write_apart);
    }

    /// Drops the link and all unsent frames. A `welcome` that only waited for the user's first
    /// message is written first.
    fn cut(&mut self) {
        if self.wire.as_ref().is_some_and(|wire| wire.is_corked()) {
            self.write();
        }
        self.wire = None;
    }

    fn write_by(&mut self, write: fn(&mut Wire<S>, &mut Context<'_>)) {
        if let Some(wire) = &mut self.wire {
            let keeper = self.keeper.as_ref().unwrap_or(Waker::noop());
            write(wire, &mut Context::from_waker(keeper));
            self.after.wake_keeper |= wire.has_unsent();
        }
    }

    /// Closes a link in order, one at a time: however often a peer redials, only one lingers.
    fn close(&mut self, wire: Box<Wire<S>>, last: Option<Frame>, is_awaited: bool) {
        self.closing = Some((Closer::new(wire, last.as_ref()), is_awaited));
        self.after.wake_keeper |= self.keeper_reads;
        self.close_on();
    }

    /// Closes as far as the stream lets it now. The keeper waits for the rest.
    fn close_on(&mut self) {
        let Some((closing, is_awaited)) = &mut self.closing else {
            return;
        };
        let keeper = self.keeper.as_ref().unwrap_or(Waker::noop());
        let cx = &mut Context::from_waker(keeper);
        let Poll::Ready(said) = closing.poll_said(cx) else {
            return;
        };
        let is_closed = said.is_err() || closing.poll_drained(cx).is_ready();
        // A server keeps running: there the last frame need only be on its way.
        let is_enough = is_closed || self.session.is_server();
        if is_enough && std::mem::take(is_awaited) {
            self.session.closed();
        }
        if is_closed {
            self.closing = None;
        }
    }

    /// Once both are there: who is to be told what is left.
    fn take_left(&mut self) -> Option<(Done, Remains)> {
        let remains = self.remains.take_if(|_| self.done.is_some())?;
        Some((self.done.take()?, remains))
    }

    fn set(&mut self, timer: Timer, at: Option<Instant>) {
        self.deadlines.retain(|(of, _)| *of != timer);
        self.deadlines.extend(at.map(|at| (timer, at)));
        self.after.wake_keeper |= at.is_some();
    }

    fn wake_at(&self) -> Option<Instant> {
        let deadlines = self.deadlines.iter().map(|(_, at)| *at);
        let closing = self.closing.iter().map(|(closing, _)| closing.by());
        deadlines.chain(closing).min()
    }

    fn link_lost(&mut self, error: LinkError) {
        info!(parent: &self.span, why = chain(&error), "lost its connection");
        self.silence = None;
        self.session.link_lost(error);
    }

    /// Looks whether the peer has fallen silent, or is heard of again.
    fn listen(&mut self) {
        if let Some(wire) = &mut self.wire
            && self.session.has_link()
            && let Some(is_silent) = wire.poll_silence()
        {
            self.silence = Some(!is_silent);
            self.after.wake_user = true;
        }
    }

    /// Reads frames into the session, up to a message for the user. If there is none yet, the
    /// waker of `cx` is woken when more comes.
    fn read(&mut self, cx: &mut Context<'_>) {
        let had_message = self.heard.is_some();
        while self.heard.is_some() == had_message
            && self.session.has_link()
            && !self.session.is_storing()
            && let Some(wire) = &mut self.wire
            // The keeper looks again while it is.
            && !wire.is_backed_up()
            && let Poll::Ready(read) = wire.poll_frame(cx)
        {
            match read {
                Ok(frame) => self.session.receive(frame),
                Err(error) => self.link_lost(error),
            }
            self.process();
        }
    }

    /// One look by the keeper: what to do, if anything, and when to look again.
    fn look(&mut self, cx: &Context<'_>) -> Look {
        if self.is_cut_off {
            return Look::Leave;
        }
        let cx = &mut Context::from_waker(cx.waker());
        if !self
            .keeper
            .as_ref()
            .is_some_and(|it| it.will_wake(cx.waker()))
        {
            self.keeper = Some(cx.waker().clone());
        }
        // Timers before frames: a peer that never stops sending must not delay them.
        let now = Instant::now();
        while let Some(due) = self.deadlines.iter().position(|(_, at)| *at <= now) {
            let (timer, _) = self.deadlines.swap_remove(due);
            self.session.fired(timer);
            self.process();
        }
        self.close_on();
        if let Some((_, true)) = self.closing.take_if(|(closing, _)| closing.by() <= now) {
            self.session.closed();
        }
        self.process();
        let is_overdue = self
            .wire
            .as_ref()
            .is_some_and(|wire| wire.overdue(now).is_some());
        let mut is_ticking = std::mem::take(&mut self.has_polled) && !is_overdue;
        if let Some(wire) = &mut self.wire
            && !std::mem::take(&mut self.is_welcome_new)
        {
            wire.poll_write(cx);
        }
        self.keeper_reads = !is_ticking;
        let had_message = self.heard.is_some();
        if is_ticking {
            self.poll_put(cx);
        } else {
            self.read(cx);
            while self.poll_put(cx) {
                self.read(cx);
            }
            // The user may answer before more is read; queued frames are sent with the answer.
            is_ticking = self.heard.is_some()
                && !had_message
                && self.wire.as_ref().is_some_and(|wire| wire.has_unsent());
            if let Some(wire) = &mut self.wire
                && !is_ticking
            {
                wire.poll_write(cx);
                self.shrink();
            }
        }
        let mut wake_at = self.wake_at();
        if let Some(wire) = &mut self.wire
            && self.session.has_link()
            && !self.session.is_storing()
        {
            if let Some(overdue) = wire.overdue(now) {
                self.link_lost(LinkError::Overdue(overdue));
                self.process();
            } else {
                is_ticking |= wire.has_unsent();
                self.listen();
                let of_wire = self.wire.iter();
                let wakes =
                    of_wire.flat_map(|wire| wire.silent_at().into_iter().chain([wire.wake_at()]));
                wake_at = wake_at.into_iter().chain(wakes).min();
            }
        }
        if std::mem::take(&mut self.must_dial) {
            return Look::Dial;
        }
        if self.session.is_done() && self.closing.is_none() {
            return Look::Leave;
        }
        if is_ticking {
            let tick = now + TICK;
            wake_at = Some(wake_at.map_or(tick, |at| at.min(tick)));
        }
        Look::Wait(wake_at)
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

/// What keeps a conversation. If it is dropped, or the future of [`keep`](Self::keep) is, the
/// link is cut and the user is told.
pub(crate) struct Keeper<S>(Leaving<S>)
where
    S: AsyncBufRead + AsyncWrite + Send + Unpin + 'static;

impl<S> Keeper<S>
where
    S: AsyncBufRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Runs the conversation until it ends or is parked, and its last link is closed.
    pub(crate) async fn keep(self, mut dial: Option<Dial<S>>) {
        let Self(Leaving(driver)) = &self;
        let mut attempt: Option<Attempt<S>> = None;
        let mut alarm = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            loop {
                if let Some(dialling) = &mut attempt
                    && let Poll::Ready(wire) = dialling.as_mut().poll(cx)
                {
                    attempt = None;
                    driver.with(|state| match wire {
                        Ok(wire) => state.connected(wire),
                        Err(other_key) => state.session.dial_failed(other_key),
                    });
                }
                match driver.with(|state| state.look(cx)) {
                    Look::Dial => attempt = dial.as_mut().map(|dial| dial()),
                    Look::Leave => return Poll::Ready(()),
                    Look::Wait(None) => return Poll::Pending,
                    Look::Wait(Some(at)) => {
                        alarm.as_mut().reset(at);
                        ready!(alarm.as_mut().poll(cx));
                    }
                }
            }
        })
        .await;
    }
}

/// Tells the user, when dropped, that the keeper is gone: its runtime or its server was shut
/// down.
struct Leaving<S>(Arc<Driver<S>>)
where
    S: AsyncBufRead + AsyncWrite + Send + Unpin + 'static;

impl<S> Drop for Leaving<S>
where
    S: AsyncBufRead + AsyncWrite + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let Self(driver) = self;
        let mut state = driver.lock();
        state.cut();
        state.closing = None;
        state.arriving = None;
        state.record = None;
        let End {
            turns,
            unacknowledged,
            ..
        } = state.session.conversation().end(By::Me);
        state.ended.get_or_insert_with(|| {
            Box::new(Ended::new(LinkError::Cut.into(), turns, unacknowledged))
        });
        let users = [state.user.take(), state.sayer.take()];
        let done = state.done.take();
        // It is done or not: nobody may find it half done.
        let putting = state.putting.take();
        putting.map(|putting| state.runtime.spawn(putting));
        drop(state);
        drop(done);
        users.into_iter().flatten().for_each(Waker::wake);
    }
}

impl<S> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
