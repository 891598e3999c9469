//! [`Desk`]: an open pairing, shared by its exchanges and its user. It gives [`Guesses`] a clock
//! and a code, and carries out what they decide.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::info;

use super::event::{Confirmed, PairingEvent, Storing};
use super::guesses::{ExchangeId, Guesses, Judgement, Then};
use crate::protocol::PairReason;
use crate::trust::{KeyId, PairingCode};

pub(crate) struct Desk {
    /// The server's own key.
    key: KeyId,
    state: Mutex<State>,
    /// Confirmations are judged one at a time, as they came.
    turn: Arc<Semaphore>,
}

struct State {
    guesses: Guesses,
    code: PairingCode,
    exchanges: BTreeMap<ExchangeId, oneshot::Sender<PairReason>>,
    /// `None`: the pairing is over. Few events can wait here: guesses are counted, and the peer
    /// that is asked about holds up the next one.
    events: Option<mpsc::UnboundedSender<PairingEvent>>,
}

/// The right to be judged next.
pub(super) type OneTurn = OwnedSemaphorePermit;

/// An exchange that is going on; dropped, it is over.
pub(super) struct Place {
    desk: Arc<Desk>,
    id: ExchangeId,
    pub(super) code: PairingCode,
}

/// How an exchange learns that it has to go.
pub(super) struct Closing(oneshot::Receiver<PairReason>);

impl Closing {
    /// Why it has to go. Never, once it was judged.
    pub(super) async fn reason(self) -> PairReason {
        match self.0.await {
            Ok(reason) => reason,
            Err(_) => pending().await,
        }
    }
}

impl Desk {
    /// A pairing on the server with this key, whose first code is among its events.
    pub(super) fn open(key: KeyId) -> (Arc<Self>, mpsc::UnboundedReceiver<PairingEvent>) {
        let (events, events_out) = mpsc::unbounded_channel();
        let state = State {
            guesses: Guesses::new(now()),
            code: PairingCode::generate(),
            exchanges: BTreeMap::new(),
            events: Some(events),
        };
        info!("a pairing is open");
        state.tell(PairingEvent::Code(state.code.clone()));
        let desk = Self {
            key,
            state: Mutex::new(state),
            turn: Arc::new(Semaphore::new(1)),
        };
        (Arc::new(desk), events_out)
    }

    pub(super) fn key(&self) -> KeyId {
        self.key
    }

    /// The state, with all that time has changed.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let then = state.guesses.tick(now());
        state.follow(then);
        state
    }

    /// Whether clients are offered to pair.
    pub(super) fn is_open(&self) -> bool {
        self.state().guesses.is_open(now())
    }

    /// When time changes something next.
    pub(super) fn until(&self) -> Option<Instant> {
        self.state().guesses.until().map(Instant::from_std)
    }

    /// Another code in place of one that has expired.
    pub(super) fn new_code(&self) {
        let mut state = self.state();
        let then = state.guesses.renew(now());
        state.follow(then);
    }

    /// A peer has said an ordinary `hello`.
    pub(super) fn hello(&self, key: &KeyId) {
        let mut state = self.state();
        let then = state.guesses.hello(key);
        state.follow(then);
    }

    /// Ends the pairing, and its exchanges.
    pub(super) fn close(&self) {
        let mut state = self.state();
        let closed = state.guesses.end();
        state.end(closed);
    }

    /// An exchange begins.
    ///
    /// # Errors
    /// Why this client is refused.
    pub(super) fn arrive(
        self: &Arc<Self>,
        key: &KeyId,
        from: Option<IpAddr>,
    ) -> Result<(Place, Closing), PairReason> {
        if *key == self.key {
            return Err(PairReason::Declined);
        }
        let mut state = self.state();
        if state.guesses.is_too_late(key) {
            info!(%key, "too late to pair");
            let (key, address) = (*key, from);
            state.tell(PairingEvent::TooLate { key, address });
        }
        let (id, earlier) = state.guesses.arrive(from, key, now())?;
        state.refuse(earlier, PairReason::Busy);
        let (closing, closed) = oneshot::channel();
        state.exchanges.insert(id, closing);
        let place = Place {
            desk: Arc::clone(self),
            id,
            code: state.code.clone(),
        };
        Ok((place, Closing(closed)))
    }

    fn answered(&self, key: KeyId, code: PairingCode, storing: Storing) {
        let mut state = self.state();
        match storing {
            Storing::Stored => {
                let closed = state.guesses.stored(key, now());
                // For when the same key comes again.
                state.code = code;
                state.refuse(closed, PairReason::PairingFailed);
                info!(%key, "paired");
            }
            Storing::Failed => state.guesses.not_stored(),
            Storing::Declined => {
                let closed = state.guesses.end();
                state.end(closed);
            }
        }
    }
}

impl State {
    fn tell(&self, event: PairingEvent) {
        let _ = self.events.as_ref().map(|events| events.send(event));
    }

    fn refuse(&mut self, closed: impl IntoIterator<Item = ExchangeId>, reason: PairReason) {
        for id in closed {
            let _ = self.exchanges.remove(&id).map(|it| it.send(reason));
        }
    }

    fn follow(&mut self, then: Then) {
        match then {
            Then::GoesOn => {}
            Then::NewCode(closed) => {
                self.refuse(closed, PairReason::PairingFailed);
                self.code = PairingCode::generate();
                self.tell(PairingEvent::Code(self.code.clone()));
            }
            Then::Expired(closed) => {
                self.refuse(closed, PairReason::PairingFailed);
                self.tell(PairingEvent::Expired);
            }
            Then::Exhausted(closed) => {
                self.tell(PairingEvent::Exhausted);
                self.end(closed);
            }
            Then::Over(closed) => self.end(closed),
        }
    }

    fn end(&mut self, closed: Vec<ExchangeId>) {
        self.refuse(closed, PairReason::PairingFailed);
        self.events = None;
    }
}

impl Place {
    /// The right to be judged next, once it is this exchange's, and no guess before it was wrong
    /// just now. May be dropped at any time.
    pub(super) async fn turn(&self) -> OneTurn {
        let Ok(turn) = Arc::clone(&self.desk.turn).acquire_owned().await else {
            // Nobody closes it.
            return pending().await;
        };
        let from = self.desk.state().guesses.judged_from();
        if let Some(from) = from {
            sleep_until(Instant::from_std(from)).await;
        }
        turn
    }

    /// Judges a confirmation. If it is right, the user is asked to store the key; the answer
    /// comes later. `Err`: it is refused.
    pub(super) fn judge(
        &self,
        turn: OneTurn,
        is_right: bool,
        key: KeyId,
        address: Option<IpAddr>,
    ) -> Result<oneshot::Receiver<Storing>, PairReason> {
        let mut state = self.desk.state();
        let judgement = state.guesses.judge(self.id, is_right, now());
        state.exchanges.remove(&self.id);
        match judgement {
            Judgement::Closed => Err(PairReason::PairingFailed),
            Judgement::Wrong(then) => {
                info!(%key, "a wrong guess");
                state.tell(PairingEvent::WrongGuess { key, address });
                state.follow(then);
                Err(PairReason::PairingFailed)
            }
            Judgement::Right => {
                let (reply, replied) = oneshot::channel();
                let (desk, code) = (Arc::clone(&self.desk), self.code.clone());
                // Whether or not the client is still there: a key that is stored is stored.
                let confirmed = Confirmed::new(key, address, move |storing| {
                    desk.answered(key, code, storing);
                    let _ = reply.send(storing);
                    drop(turn);
                });
                let events = state.events.clone();
                drop(state);
                // Where nobody takes it, it comes back and is dropped, which is an answer.
                let _ = events.map(|events| events.send(PairingEvent::Confirmed(confirmed)));
                Ok(replied)
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        state.guesses.leave(self.id);
        state.exchanges.remove(&self.id);
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
