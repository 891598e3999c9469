//! What a driver's user waits for: messages, news and the end.

use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::time::Instant;
use tracing::info;

use super::{State, TICK};
use crate::link::error::{LinkError, chain};
use crate::link::session::Notice;

impl<S> State<S>
where
    S: AsyncBufRead + AsyncWrite + Send + Unpin + 'static,
{
    /// For the user: see [`Conversing::poll_notice`](super::Conversing::poll_notice).
    pub(super) fn poll_notice(
        &mut self,
        cx: &mut Context<'_>,
        awaits_welcome: bool,
    ) -> Poll<Option<Notice>> {
        self.user = None;
        if let Some(notice) = self.take_notice(awaits_welcome) {
            return Poll::Ready(notice);
        }
        let keeper = self.keeper_that_reads_on();
        let readers_cx = &mut Context::from_waker(keeper.as_ref().unwrap_or(cx.waker()));
        self.read(readers_cx);
        // Whoever reads on finishes it too: this user may be dropped.
        while self.poll_put(readers_cx) {
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

    /// Reads frames into the session, up to a message for the user. If there is none yet, the
    /// waker of `cx` is woken when more comes.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) {
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

    /// Looks whether the peer has fallen silent, or is heard of again.
    pub(super) fn listen(&mut self) {
        if let Some(wire) = &mut self.wire
            && self.session.has_link()
            && let Some(is_silent) = wire.poll_silence()
        {
            self.silence = Some(!is_silent);
            self.after.wake_user = true;
        }
    }

    pub(super) fn link_lost(&mut self, error: LinkError) {
        info!(parent: &self.span, why = chain(&error), "lost its connection");
        self.silence = None;
        self.session.link_lost(error);
    }

    /// The conversation is slow: its buffers are not worth keeping.
    pub(super) fn shrink(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.shrink();
            self.session.shrink();
        }
    }
}
