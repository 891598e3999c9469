//! [`Hub`]: what the tasks of a [`Server`](super::Server) share. Each that has something to tell
//! locks it, waits for what follows from that, and learns what to do next. So there is no task
//! between a connection's and its conversation's; and nobody is told of an end before it is
//! stored, since the lock is held over that.

mod connections;
mod going;
mod orders;
mod shared;
mod start;
mod state;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{self, Arc, PoisonError, Weak};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, mpsc};
use tokio::time::timeout;

use super::admission::{ConnectionId, ConversationName, Verdict};
use super::answer::{HubEvent, Remains};
use super::question::Questions;
use super::seats::Seats;
use super::tickets::Tickets;
use crate::link::error::ConnectionError;
use crate::link::pairing::Door;
use crate::link::store::Inventory;
use crate::protocol::Limits;
use crate::trust::KeyId;

pub(super) use state::{EVENTS, Outlets};
use state::{State, Tell};

/// A server's settings.
pub(super) struct Settings {
    pub(super) entrance: Entrance,
    /// They are large.
    pub(super) limits: Arc<Limits>,
    pub(super) one_at_a_time: bool,
    pub(super) questions: Questions,
}

/// What a connection can be for.
pub(super) struct Entrance {
    /// For conversations.
    pub(super) config: Arc<rustls::ServerConfig>,
    /// For pairing.
    pub(super) door: Arc<Door>,
}

/// A server's connections and conversations.
pub(super) struct Hub<S> {
    pub(super) entrance: Entrance,
    pub(super) limits: Arc<Limits>,
    pub(super) tickets: Tickets,
    strangers: sync::Mutex<Strangers>,
    /// Somebody was told to go, and has not gone.
    is_going: Arc<AtomicBool>,
    /// `None` once the server has stopped.
    state: Mutex<Option<State<S>>>,
    /// From those who cannot wait for the state.
    events: mpsc::UnboundedSender<HubEvent>,
    seats: Arc<Seats>,
}

/// What connections say of themselves that have not said `hello`. It wakes nobody.
#[derive(Default)]
struct Strangers {
    /// Whose whole ClientHello has come, since somebody last looked.
    greeted: Vec<ConnectionId>,
    /// Who may go on when the server stops: they pair, or say goodbye.
    lingering: BTreeSet<ConnectionId>,
}

impl<S> Hub<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// A hub that has taken up what the journal holds. `events` are to be
    /// [handled](State::handle).
    pub(super) async fn new(
        settings: Settings,
        inventory: Inventory,
        outlets: Outlets,
        seats: Arc<Seats>,
        events: mpsc::UnboundedSender<HubEvent>,
    ) -> Arc<Self> {
        let Settings {
            entrance,
            limits,
            one_at_a_time,
            questions,
        } = settings;
        let store = inventory.store.clone();
        let hub = Arc::new_cyclic(|hub: &Weak<Self>| {
            let hub: Weak<dyn Tell> = Weak::<Self>::clone(hub);
            let tickets = Tickets::of(store.clone());
            let state = State::new(
                Arc::clone(&limits),
                one_at_a_time,
                questions,
                store,
                outlets,
                hub,
            );
            Self {
                entrance,
                limits,
                tickets,
                strangers: sync::Mutex::default(),
                is_going: state.going.watch(),
                state: Mutex::new(Some(state)),
                events,
                seats,
            }
        });
        if let Some(mut state) = hub.open().await {
            state.take_up(inventory).await;
        }
        hub
    }

    /// Waits for the others that have it open. `None` once the server has stopped.
    pub(super) async fn open(&self) -> Option<Open<'_, S>> {
        self.opened(self.state.lock().await)
    }

    fn opened<'a>(&'a self, state: MutexGuard<'a, Option<State<S>>>) -> Option<Open<'a, S>> {
        let state = MutexGuard::try_map(state, Option::as_mut).ok()?;
        let seats = &self.seats;
        let mut open = Open { state, seats };
        open.seats(seats.take());
        Some(open)
    }

    /// Whether a connection may be accepted now (PROTOCOL 5.4).
    pub(super) fn may_accept(&self) -> bool {
        !self.is_going.load(Ordering::SeqCst)
    }

    /// Done when the server's own task has to look again.
    pub(super) async fn changed(&self) {
        self.seats.changed().await;
    }

    /// A connection has come, and this makes its task.
    pub(super) async fn arrive<F>(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        receive: impl FnOnce(Departure<S>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(mut state) = self.open().await {
            // Only now does it matter.
            state.greeted(std::mem::take(&mut self.strangers().greeted));
            let departure = |id| Departure::new(Arc::clone(self), id);
            state.arrive(address, |id| receive(departure(id))).await;
        }
    }

    /// A connection's whole ClientHello has come.
    pub(super) fn greeted(&self, id: ConnectionId) {
        self.strangers().greeted.push(id);
    }

    /// A connection says no `hello`, but a stop of the server need not cut it.
    pub(super) fn lingers(&self, id: ConnectionId) {
        self.strangers().lingering.insert(id);
    }

    /// Tells those who wait, cuts the conversations that are on, and waits a moment for all.
    pub(super) async fn stop(&self) {
        self.close().await;
        let Some(state) = self.state.lock().await.take() else {
            return;
        };
        let lingering = std::mem::take(&mut self.strangers().lingering);
        let mut tasks = state.stop(&lingering);
        let all_gone = async { while tasks.join_next().await.is_some() {} };
        let _ = timeout(2 * self.limits.close_time, all_gone).await;
    }

    /// No conversation begins any more.
    pub(super) async fn close(&self) {
        self.entrance.door.close();
        if let Some(mut state) = self.open().await {
            state.close().await;
        }
    }

    /// Cuts everything.
    pub(super) async fn abandon(&self) {
        *self.state.lock().await = None;
    }
}

impl<S> Hub<S> {
    fn strangers(&self) -> sync::MutexGuard<'_, Strangers> {
        self.strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Tell for Hub<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// Mostly whoever finds that out does at once what follows.
    fn over(&self, name: ConversationName, remains: Remains) {
        match (remains, self.state.try_lock()) {
            (Remains::End(record), Ok(state)) => {
                if let Some(mut state) = self.opened(state) {
                    state.ended(name, record);
                }
            }
            (remains, _) => {
                // Nobody receives it only when the server is let go of.
                let _ = self.events.send(HubEvent::Over(name, remains));
            }
        }
    }

    fn answered(
        &self,
        key: KeyId,
        verdict: Verdict,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if let Some(mut state) = self.open().await {
                state.answered(&key, verdict).await;
            }
        })
    }
}

/// The state, while one task has it. Dropped, it tells whom it concerns how things stand.
pub(super) struct Open<'a, S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    state: MappedMutexGuard<'a, State<S>>,
    seats: &'a Seats,
}

impl<S> Deref for Open<'_, S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Target = State<S>;

    fn deref(&self) -> &State<S> {
        &self.state
    }
}

impl<S> DerefMut for Open<'_, S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    fn deref_mut(&mut self) -> &mut State<S> {
        &mut self.state
    }
}

impl<S> Drop for Open<'_, S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        self.state.publish(self.seats);
    }
}

/// A connection that the hub knows. Dropped, it tells that the connection is gone, unless that
/// was handed over.
pub(super) struct Departure<S> {
    pub(super) hub: Arc<Hub<S>>,
    pub(super) id: ConnectionId,
    error: Option<Box<ConnectionError>>,
    is_told: bool,
}

impl<S> Departure<S> {
    pub(super) fn new(hub: Arc<Hub<S>>, id: ConnectionId) -> Self {
        Self {
            hub,
            id,
            error: None,
            is_told: false,
        }
    }

    /// It is gone, and this is why.
    pub(super) fn failed(mut self, error: ConnectionError) {
        self.error = Some(Box::new(error));
    }

    /// It is another's now, or the hub knows that it is gone.
    pub(super) fn handed_over(mut self) {
        self.is_told = true;
    }
}

impl<S> Drop for Departure<S> {
    fn drop(&mut self) {
        if !self.is_told {
            self.hub.strangers().lingering.remove(&self.id);
            let left = HubEvent::Left(self.id, self.error.take());
            // Nobody receives it only when the server is let go of.
            let _ = self.hub.events.send(left);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
