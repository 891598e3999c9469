//! [`Questions`]: the unknown keys that wait for the person's word.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::link::{Candidate, Verdict};
use crate::protocol::Reason;
use crate::trust::KeyId;

/// A person is asked so often at most in [`WINDOW`]: who can make keys cannot make it a
/// nuisance.
const IN_WINDOW: usize = 3;
const WINDOW: Duration = Duration::from_secs(10 * 60);
/// Who has waited for longer is asked about no more: after 2 minutes the library gives up.
const LATEST: Duration = Duration::from_secs(60);
/// Past so many declines of a key in it nobody is asked about that one: else it would
/// use up all questions.
const DECLINES: usize = 2;

/// Where the library asks, and the person answers.
#[derive(Clone, Default)]
pub(super) struct Questions {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// The longest-waiting first.
    waiting: Vec<Waiting>,
    numbered: u64,
    /// When the person was asked lately.
    asked: VecDeque<Instant>,
    /// Keys that the person has let in.
    accepted: BTreeSet<KeyId>,
    /// And those that were not, lately.
    declined: VecDeque<(KeyId, Instant)>,
}

struct Waiting {
    number: u64,
    since: Instant,
    candidate: Candidate,
    answer: oneshot::Sender<Verdict>,
}

impl Questions {
    /// Waits for the person's word about a key. Dropped, it waits no longer. Who was let in
    /// may come back to the conversation unasked.
    pub(super) async fn about(self, candidate: Candidate) -> Verdict {
        let (answer, answered) = oneshot::channel();
        let number = match self.change(|state| state.wait(candidate, answer)) {
            Ok(number) => number,
            Err(verdict) => return verdict,
        };
        let _place = Place(&self, number);
        // The program stops where nobody answers.
        let closing = Verdict::Refuse(Reason::Closing);
        answered.await.unwrap_or(closing)
    }

    /// Something has changed since the last call. May be dropped at any time.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether this key still waits for an answer.
    pub(super) fn is_waiting(&self, key: &KeyId) -> bool {
        let waiting = &self.lock().waiting;
        waiting.iter().any(|of| of.candidate.key == *key)
    }

    /// Whom the person is asked about now. It counts.
    pub(super) fn ask(&self) -> Option<Candidate> {
        // It is asked for at each change, and is none itself.
        let mut state = self.lock();
        state.turn_away_late();
        let candidate = state.next()?;
        let key = candidate.key;
        state.asked.push_back(Instant::now());
        if state.asked.len() > IN_WINDOW {
            state.asked.pop_front();
        }
        if !state.may_ask() {
            // Nobody will be asked about the others in time.
            let too_often = Verdict::Refuse(Reason::AskedTooOften);
            state.settle(|other| (*other != key).then_some(too_often));
        }
        Some(candidate)
    }

    /// The person lets this key in, or does not.
    pub(super) fn answer(&self, key: KeyId, is_accepted: bool) {
        self.change(|state| {
            let verdict = match is_accepted {
                true => Verdict::Admit,
                false => Verdict::Refuse(Reason::Declined),
            };
            match is_accepted {
                true => _ = state.accepted.insert(key),
                false => state.decline(key),
            }
            state.settle(|other| (*other == key).then_some(verdict));
        });
    }

    /// The rules have changed: nobody has to be asked any more about those that this
    /// says something about. Says whom it was about.
    pub(super) fn judge_again(&self, judge: impl Fn(&KeyId) -> Option<Verdict>) -> Vec<KeyId> {
        self.change(|state| state.settle(judge))
    }

    /// Who was let in is asked about again.
    pub(super) fn forget(&self, key: &KeyId) {
        self.change(|state| _ = state.accepted.remove(key));
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_one();
        changed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(
        &mut self,
        candidate: Candidate,
        answer: oneshot::Sender<Verdict>,
    ) -> Result<u64, Verdict> {
        let Candidate {
            key, is_returning, ..
        } = candidate;
        if is_returning && self.accepted.contains(&key) {
            return Err(Verdict::Admit);
        }
        let is_it = |(of, at): &&(KeyId, Instant)| *of == key && at.elapsed() < WINDOW;
        if self.declined.iter().filter(is_it).count() >= DECLINES {
            return Err(Verdict::Refuse(Reason::Declined));
        }
        if !self.may_ask() {
            return Err(Verdict::Refuse(Reason::AskedTooOften));
        }
        self.numbered += 1;
        let number = self.numbered;
        self.waiting.push(Waiting {
            number,
            since: Instant::now(),
            candidate,
            answer,
        });
        Ok(number)
    }

    fn may_ask(&self) -> bool {
        let lately = |at: &&Instant| at.elapsed() < WINDOW;
        self.asked.iter().filter(lately).count() < IN_WINDOW
    }

    fn decline(&mut self, key: KeyId) {
        self.declined.push_back((key, Instant::now()));
        if self.declined.len() > IN_WINDOW {
            self.declined.pop_front();
        }
    }

    /// Whoever has waited behind another question for long is refused: the library refuses it
    /// soon, and a question that is gone at once cannot be answered. It may call again.
    fn turn_away_late(&mut self) {
        let is_late = |of: &Waiting| of.since.elapsed() > LATEST;
        let all = std::mem::take(&mut self.waiting).into_iter();
        let (late, waiting): (Vec<_>, Vec<_>) = all.partition(is_late);
        self.waiting = waiting;
        for Waiting { answer, .. } in late {
            // It may have left just now.
            let _ = answer.send(Verdict::Refuse(Reason::NoAnswer));
        }
    }

    fn next(&self) -> Option<Candidate> {
        let first = self.waiting.first().filter(|_| self.may_ask());
        first.map(|of| of.candidate)
    }

    /// Answers those that this says something about.
    fn settle(&mut self, judge: impl Fn(&KeyId) -> Option<Verdict>) -> Vec<KeyId> {
        let mut settled = Vec::new();
        for of in std::mem::take(&mut self.waiting) {
            let key = of.candidate.key;
            match judge(&key) {
                Some(verdict) => {
                    // It may have left just now.
                    let _ = of.answer.send(verdict);
                    settled.push(key);
                }
                None => self.waiting.push(of),
            }
        }
        settled
    }
}

/// A key's place among those that wait.
struct Place<'a>(&'a Questions, u64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Self(questions, number) = self;
        questions.change(|state| state.waiting.retain(|of| of.number != *number));
    }
}

#[cfg(test)]
mod tests;
