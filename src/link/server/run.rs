//! [`run`]: a server's own task. It accepts, fires timers, and does what the server's user asks for.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::HubEvent;
use super::connection;
use super::hub::Hub;
use crate::trust::KeyId;

/// How long to wait after a failed accept, most often for want of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What the server's user wants.
pub(super) enum Request {
    /// So many more conversations may begin.
    Seats(usize),
    /// This key is not let in any more.
    Expel(KeyId),
    /// No conversation begins any more.
    Close,
    Stop,
}

/// Runs until the server is told to stop, or nobody is there to tell it.
pub(super) async fn run<S, A, F>(
    hub: Arc<Hub<S>>,
    mut accept: A,
    mut requests: mpsc::UnboundedReceiver<Request>,
    mut events: mpsc::UnboundedReceiver<HubEvent>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    A: FnMut() -> F + Send + 'static,
    F: Future<Output = io::Result<(S, Option<IpAddr>)>> + Send + 'static,
{
    let mut arrival = || {
        let accepting = accept();
        async {
            let arrived = accepting.await;
            if arrived.is_err() {
                sleep(ACCEPT_REST).await;
            }
            arrived.ok()
        }
    };
    let mut arriving = pin!(arrival());
    let mut alarm = pin!(sleep_until(Instant::now()));
    while let Some(look) = hub.open().await.map(|mut state| state.look()) {
        if let Some(at) = look.wake_at.filter(|at| *at != alarm.deadline()) {
            alarm.as_mut().reset(at);
        }
        tokio::select! {
            // Asked before each accept: another task may have made somebody go since the look.
            arrived = poll_fn(|cx| match hub.may_accept() {
                true => arriving.as_mut().poll(cx),
                false => Poll::Pending,
            }) => {
                arriving.set(arrival());
                if let Some((stream, address)) = arrived {
                    let task = |departure| connection::receive(stream, address, departure);
                    hub.arrive(address, task).await;
                }
            }
            Some(event) = events.recv() => if let Some(mut state) = hub.open().await {
                state.handle(event).await;
            },
            () = hub.changed() => {}
            () = &mut alarm, if look.wake_at.is_some() => if let Some(mut state) = hub.open().await {
                state.fire().await;
            },
            request = requests.recv() => match request {
                Some(Request::Seats(more)) => if let Some(mut state) = hub.open().await {
                    state.seats(more);
                },
                Some(Request::Expel(key)) => if let Some(mut state) = hub.open().await {
                    state.expel(&key).await;
                },
                Some(Request::Close) => hub.close().await,
                Some(Request::Stop) => hub.stop().await,
                None => hub.abandon().await,
            },
        }
    }
}
