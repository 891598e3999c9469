//! [`Keeper`]: keeps a conversation while its user does not wait.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::{Attempt, Dial, Driver, State, TICK};
use crate::link::error::{Ended, LinkError};
use crate::link::session::Remains;
use crate::protocol::{By, End};

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

/// What a look tells the keeper to do.
enum Look {
    Dial,
    Wait(Option<Instant>),
    /// The conversation is over, and its last link closed.
    Leave,
}

impl<S> Driver<S>
where
    S: AsyncBufRead + AsyncWrite + Send + Unpin + 'static,
{
    /// What keeps the conversation. `done` learns what is left of it as soon as that is known.
    pub(crate) fn keeper(
        self: Arc<Self>,
        done: impl FnOnce(Remains) + Send + 'static,
    ) -> Keeper<S> {
        self.with(|state| state.done = Some(Box::new(done)));
        Keeper(Leaving(self))
    }
}

impl<S> State<S>
where
    S: AsyncBufRead + AsyncWrite + Send + Unpin + 'static,
{
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

    fn wake_at(&self) -> Option<Instant> {
        let deadlines = self.deadlines.iter().map(|(_, at)| *at);
        let closing = self.closing.iter().map(|(closing, _)| closing.by());
        deadlines.chain(closing).min()
    }
}
