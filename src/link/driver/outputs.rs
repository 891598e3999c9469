//! How a driver does what its session puts out.

use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::Instant;
use tracing::{Level, debug, enabled, info, warn};

use super::{State, with_jitter};
use crate::link::closer::Closer;
use crate::link::error::{LinkError, chain};
use crate::link::session::{Output, Remains, Timer};
use crate::link::untold::Untold;
use crate::link::wire::Wire;
use crate::protocol::{Frame, Snapshot};

/// What to do with the record.
enum Put {
    Record {
        snapshot: Snapshot,
        is_live: bool,
        clienthello: u64,
    },
    Nothing,
}

impl<S> State<S>
where
    S: AsyncBufRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Does what the session puts out, in order.
    pub(super) fn process(&mut self) {
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
    pub(super) fn poll_put(&mut self, cx: &mut Context<'_>) -> bool {
        let is_done = self.take_put(cx);
        if is_done {
            self.after.wake_user = true;
            self.after.wake_sayer = true;
            self.process();
        }
        is_done
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
    pub(super) fn cut(&mut self) {
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
    pub(super) fn close_on(&mut self) {
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

    fn set(&mut self, timer: Timer, at: Option<Instant>) {
        self.deadlines.retain(|(of, _)| *of != timer);
        self.deadlines.extend(at.map(|at| (timer, at)));
        self.after.wake_keeper |= at.is_some();
    }
}
