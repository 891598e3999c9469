//! [`Closer`]: closes a session's links, one at a time, beside what goes on, as PROTOCOL
//! 3.15 says. A link that
//! has to be closed while another still is takes its place: however often a peer
//! redials, one connection lingers.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::Wire;
use crate::protocol::Frame;

pub(super) struct Closer<S> {
    stage: Stage<S>,
    /// Its session waits for it.
    is_awaited: bool,
}

type Closing<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Stage<S> {
    Idle,
    Saying(Closing<Option<Box<Wire<S>>>>),
    Draining(Closing<()>),
}

impl<S> Closer<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Idle,
            is_awaited: false,
        }
    }

    pub(super) fn close(&mut self, wire: Box<Wire<S>>, last: Option<Frame>, is_awaited: bool) {
        self.stage = Stage::Saying(Box::pin(wire.say_last(last)));
        self.is_awaited = is_awaited;
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle)
    }

    /// Goes on. True once, when what its session waits for is done: that the last frame
    /// is on its way, where the process stays (`is_server`), else that the link is closed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, is_server: bool) -> bool {
        if let Stage::Saying(saying) = &mut self.stage
            && let Poll::Ready(said) = saying.as_mut().poll(cx)
        {
            self.stage = match said {
                Some(wire) => Stage::Draining(Box::pin(wire.drain())),
                None => Stage::Idle,
            };
        }
        if let Stage::Draining(draining) = &mut self.stage
            && draining.as_mut().poll(cx).is_ready()
        {
            self.stage = Stage::Idle;
        }
        let is_done = match self.stage {
            Stage::Saying(_) => false,
            Stage::Draining(_) => is_server,
            Stage::Idle => true,
        };
        is_done && std::mem::take(&mut self.is_awaited)
    }
}
