//! [`Candidate`]: who wants in; and [`Questions`]: what the server's user is thinking
//! about.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

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

type Question = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// Asks the server's user about candidates: of each key there is one question at most.
pub(super) struct Questions {
    ask: Box<dyn FnMut(Candidate) -> Question + Send>,
    open: BTreeMap<KeyId, Question>,
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

    /// The verdict, if it is given at once. `None`: a question about the key is open now.
    pub(super) fn ask(&mut self, candidate: Candidate) -> Option<Verdict> {
        let asked = catch_unwind(AssertUnwindSafe(|| (self.ask)(candidate)));
        let Ok(mut question) = asked else {
            return Some(panicked(&candidate.key));
        };
        let context = &mut Context::from_waker(Waker::noop());
        match answer(&candidate.key, &mut question, context) {
            Poll::Ready(verdict) => Some(verdict),
            Poll::Pending => {
                self.open.entry(candidate.key).or_insert(question);
                None
            }
        }
    }

    /// Drops all other questions: nobody waits for their answers.
    pub(super) fn retain(&mut self, is_open: impl Fn(&KeyId) -> bool) {
        self.open.retain(|key, _| is_open(key));
    }

    /// The next answer. May be dropped at any time.
    pub(super) async fn answered(&mut self) -> (KeyId, Verdict) {
        let open = &mut self.open;
        let (key, verdict) = poll_fn(|context| {
            let mut polled = open.iter_mut().map(|(key, question)| {
                let verdict = answer(key, question, context);
                verdict.map(|verdict| (*key, verdict))
            });
            polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await;
        self.open.remove(&key);
        (key, verdict)
    }
}

/// The answer, if there is one. A question runs in the hub's task, which it must not take
/// down with it.
fn answer(key: &KeyId, question: &mut Question, context: &mut Context<'_>) -> Poll<Verdict> {
    let polled = catch_unwind(AssertUnwindSafe(|| question.as_mut().poll(context)));
    polled.unwrap_or_else(|_| Poll::Ready(panicked(key)))
}

fn panicked(key: &KeyId) -> Verdict {
    error!(%key, "the question whether to admit it panicked");
    Verdict::Refuse(Reason::NoAnswer)
}
