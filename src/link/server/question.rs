//! [`Candidate`]: who wants in; and [`Questions`]: what the server's user is thinking
//! about.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::admission::Verdict;
use crate::protocol::ConversationId;
use crate::trust::KeyId;

/// Somebody who has proven a key and said `hello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// Whose key it is.
    pub key: KeyId,
    /// Where it comes from, where that is known.
    pub address: Option<IpAddr>,
    /// What it wants to begin, or to go on with.
    pub conversation: ConversationId,
    /// That conversation is open here: it was let in to it before.
    pub is_returning: bool,
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

    /// What is said at once. `None`: it is thought about, if there is no question about
    /// the key yet.
    pub(super) fn ask(&mut self, candidate: Candidate) -> Option<Verdict> {
        let mut question = (self.ask)(candidate);
        match question
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(verdict) => Some(verdict),
            Poll::Pending => {
                self.open.entry(candidate.key).or_insert(question);
                None
            }
        }
    }

    /// Lets go of all other questions: nobody waits for their answers.
    pub(super) fn retain(&mut self, is_open: impl Fn(&KeyId) -> bool) {
        self.open.retain(|key, _| is_open(key));
    }

    /// The next answer. May be dropped at any time.
    pub(super) async fn answered(&mut self) -> (KeyId, Verdict) {
        let open = &mut self.open;
        let (key, verdict) = poll_fn(|context| {
            let mut polled = open.iter_mut().map(|(key, question)| {
                let verdict = question.as_mut().poll(context);
                verdict.map(|verdict| (*key, verdict))
            });
            polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await;
        self.open.remove(&key);
        (key, verdict)
    }
}
