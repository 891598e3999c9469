//! [`Closer`]: closes a session's old links in the background, as PROTOCOL 3.15 says, one at a
//! time. If another link has to be closed meanwhile, the first is dropped: however often a
//! peer redials, only one connection lingers.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::Wire;
use crate::protocol::Frame;

pub(super) struct Closer<S> {
    stage: Stage<S>,
    /// The session waits until it is closed.
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

    /// Makes progress. True once, when the session need not wait any longer. A server keeps
    /// running (`is_server`), so there the last frame need only be on its way; a client waits
    /// until the link is closed.
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
