//! [`Candidate`]: who wants in; and [`Questions`]: what the server's user is thinking
//! about.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::{self, AbortHandle};
use tracing::error;

use super::admission::Verdict;
use crate::protocol::{ConversationId, Reason};
use crate::trust::KeyId;

/// A peer that has proven a key and sent `hello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// The proven key.
    pub key: KeyId,
    /// The address that it comes from, if known.
    pub address: Option<IpAddr>,
    /// The conversation that it wants to begin or continue.
    pub conversation: ConversationId,
    /// Whether that conversation is open here, so that the peer was admitted before.
    pub is_returning: bool,
    /// How many other conversations its key has here that are on, held, or about to begin.
    pub others: usize,
}

/// An answer that is not there yet.
pub(super) struct Question {
    key: KeyId,
    answering: Answering,
}

type Answering = Pin<Box<dyn Future<Output = Verdict> + Send>>;

impl Question {
    /// Waits for it. It must not take down the task that does.
    pub(super) async fn answered(mut self) -> Verdict {
        poll_fn(|context| answer(&self.key, &mut self.answering, context)).await
    }
}

/// Asks the server's user about candidates: of each key there is one question at most.
pub(super) struct Questions {
    ask: Box<dyn FnMut(Candidate) -> Answering + Send>,
    /// The tasks that wait for answers.
    open: BTreeMap<KeyId, AbortHandle>,
}

impl Questions {
    pub(super) fn new<A, F>(mut ask: A) -> Self
    where
        A: FnMut(Candidate) -> F + Send + 'static,
        F: Future<Output = Verdict> + Send + 'static,
    {
        Self {
            ask: Box::new(move |candidate| Box::pin(ask(candidate))),
            open: BTreeMap::new(),
        }
    }

    /// The verdict, or the question if it is not given at once.
    pub(super) fn ask(&mut self, candidate: Candidate) -> Result<Verdict, Question> {
        let key = candidate.key;
        let asked = catch_unwind(AssertUnwindSafe(|| (self.ask)(candidate)));
        let Ok(mut asked) = asked else {
            return Ok(panicked(&key));
        };
        let context = &mut Context::from_waker(Waker::noop());
        match answer(&key, &mut asked, context) {
            Poll::Ready(verdict) => Ok(verdict),
            Poll::Pending => Err(Question {
                key,
                answering: asked,
            }),
        }
    }

    /// Whether a question about this key is open.
    pub(super) fn is_open(&self, key: &KeyId) -> bool {
        self.open.contains_key(key)
    }

    /// From now on one is, and this task waits for its answer.
    pub(super) fn open(&mut self, key: KeyId, task: AbortHandle) {
        self.open.insert(key, task);
    }

    /// The task that calls this has the answer; false if nobody waits for it any more.
    pub(super) fn close(&mut self, key: &KeyId) -> bool {
        let is_its = |task: &AbortHandle| task::try_id() == Some(task.id());
        let is_open = self.open.get(key).is_some_and(is_its);
        is_open && self.open.remove(key).is_some()
    }

    /// Drops all other questions: nobody waits for their answers.
    pub(super) fn retain(&mut self, is_open: impl Fn(&KeyId) -> bool) {
        self.open.retain(|key, task| {
            let is_open = is_open(key);
            if !is_open {
                task.abort();
            }
            is_open
        });
    }
}

fn answer(key: &KeyId, question: &mut Answering, context: &mut Context<'_>) -> Poll<Verdict> {
    let polled = catch_unwind(AssertUnwindSafe(|| question.as_mut().poll(context)));
    polled.unwrap_or_else(|_| Poll::Ready(panicked(key)))
}

fn panicked(key: &KeyId) -> Verdict {
    error!(%key, "the question whether to admit it panicked");
    Verdict::Refuse(Reason::NoAnswer)
}
