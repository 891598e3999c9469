//! One connection on the server's side, from accept until it is handed over: handshake, `hello`,
//! and the queue. The task of a connection that need not wait then keeps its conversation.

use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use rustls::server::ClientHello;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::admission::{ConnectionId, Hello, Instruction};
use super::claim::Claimed;
use super::hub_event::{ConnectionEvent, Entering, Handed, HubEvent, Keeping, Task};
use super::tickets::Tickets;
use crate::link::closer::Closer;
use crate::link::driver::TICK;
use crate::link::error::{ConnectionError, LinkError};
use crate::link::handshake::{self, Tls};
use crate::link::pairing::{self, Door};
use crate::link::session::REPLACED;
use crate::link::wire::Wire;
use crate::protocol::{Frame, Limits, Violation};
use crate::trust::alpn::Alpn;

/// A connection's way to the hub.
pub(super) struct HubHandle<S> {
    pub(super) id: ConnectionId,
    pub(super) events: mpsc::UnboundedSender<HubEvent<S>>,
    /// Whose whole ClientHello has come.
    pub(super) greeted: mpsc::UnboundedSender<ConnectionId>,
    pub(super) tickets: Arc<Tickets>,
}

impl<S> HubHandle<S> {
    pub(super) fn tell(&self, event: ConnectionEvent<S>) {
        // A hub that is gone has stopped the server, and this task with it.
        let _ = self.events.send(HubEvent::Connection(self.id, event));
    }
}

/// What a connection can be for.
#[derive(Clone)]
pub(super) struct Entrance {
    /// For conversations.
    pub(super) config: Arc<rustls::ServerConfig>,
    /// For pairing.
    pub(super) door: Arc<Door>,
}

/// Tells the hub at the end of a task what became of its connection, however it ends.
struct Departure<S> {
    hub: HubHandle<S>,
    last: ConnectionEvent<S>,
}

impl<S> Departure<S> {
    fn new(hub: HubHandle<S>) -> Self {
        let last = ConnectionEvent::Left(None);
        Self { hub, last }
    }
}

impl<S> Drop for Departure<S> {
    fn drop(&mut self) {
        let last = std::mem::replace(&mut self.last, ConnectionEvent::Left(None));
        self.hub.tell(last);
    }
}

/// Receives one connection, until its `hello` has come or it is gone. If it is let in at once,
/// the task then keeps its conversation.
pub(super) fn receive<S>(
    stream: S,
    address: Option<IpAddr>,
    entrance: Entrance,
    limits: Arc<Limits>,
    hub: HubHandle<S>,
    instructions: mpsc::UnboundedReceiver<Instruction>,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // A handshake takes room that is not needed behind it.
    let arriving = Box::pin(arrive(stream, address, entrance, limits, hub, instructions));
    async move {
        if let Some(given) = arriving.await {
            keep(given).await;
        }
    }
}

/// Keeps the conversation, if the hub gives it one. The hub does not wake this task for that: it
/// wakes the user, and a task that wakes two others wakes a second thread for one of them. In
/// its first tick a conversation needs no keeper; if it does, the driver wakes it.
async fn keep(mut given: oneshot::Receiver<Keeping>) {
    let mut tick = pin!(sleep(TICK));
    let keeping = poll_fn(|cx| match given.try_recv() {
        Err(TryRecvError::Empty) => {
            ready!(tick.as_mut().poll(cx));
            given.close();
            Poll::Ready(given.try_recv().ok())
        }
        answer => Poll::Ready(answer.ok()),
    });
    if let Some(keeping) = keeping.await {
        keeping.await;
    }
}

/// Receives one connection, and hands it over with its `hello`; then the hub may have something
/// to keep.
async fn arrive<S>(
    stream: S,
    address: Option<IpAddr>,
    entrance: Entrance,
    limits: Arc<Limits>,
    hub: HubHandle<S>,
    mut instructions: mpsc::UnboundedReceiver<Instruction>,
) -> Option<oneshot::Receiver<Keeping>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut departure = Departure::new(hub);
    let greeting = greet(
        stream,
        address,
        entrance,
        &limits,
        &departure.hub,
        &mut instructions,
    );
    match greeting.await {
        Ok(Some((hello, wire))) => {
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            // The end of the instructions does not wake this task any more. If there is one
            // already, it is to make room.
            if (instructions.poll_recv(&mut Context::from_waker(Waker::noop()))).is_ready() {
                return None;
            }
            let (keep, given) = oneshot::channel();
            let handed = Handed {
                wire,
                has_quit: false,
                instructions,
                task: Some(Task { waker, keep }),
            };
            departure.last = ConnectionEvent::Hello(hello, handed);
            Some(given)
        }
        Ok(None) => None,
        Err(error) => {
            departure.last = ConnectionEvent::Left(Some(Box::new(error)));
            None
        }
    }
}

/// Waits behind `hello`, until the connection is let in or sent away.
pub(super) async fn wait<S>(handed: Handed<S>, hub: HubHandle<S>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut departure = Departure::new(hub);
    departure.last = match obey(handed, &departure.hub).await {
        Ok(Some((wire, has_quit))) => ConnectionEvent::Entered(wire, has_quit),
        Ok(None) => ConnectionEvent::Left(None),
        Err(error) => ConnectionEvent::Left(Some(Box::new(error))),
    };
}

/// Waits until the conversation of a connection is claimed, and hands it over.
pub(super) async fn claim<S>(
    entering: Entering<S>,
    claiming: impl Future<Output = Claimed>,
    hub: HubHandle<S>,
) {
    let mut departure = Departure::new(hub);
    let claimed = claiming.await;
    departure.last = ConnectionEvent::Claimed(Box::new((entering, claimed)));
}

/// Up to `hello`; `None` if it has to make room, or has paired.
async fn greet<S>(
    stream: S,
    address: Option<IpAddr>,
    entrance: Entrance,
    limits: &Limits,
    hub: &HubHandle<S>,
    instructions: &mut mpsc::UnboundedReceiver<Instruction>,
) -> Result<Option<(Box<Hello>, Box<Wire<Tls<S>>>)>, ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello_by = Instant::now() + limits.hello;
    let mut clienthello = 0;
    let mut pairing = None;
    let choose = |offered: &ClientHello<'_>| {
        let _ = hub.greeted.send(hub.id);
        let entered = Alpn::is_pair(offered).then(|| entrance.door.enter());
        let chosen = match entered.flatten() {
            Some((config, desk)) => {
                pairing = Some(desk);
                (config, Alpn::Pair)
            }
            None => (entrance.config, Alpn::Talk),
        };
        let clienthello = &mut clienthello;
        async move {
            *clienthello = hub.tickets.draw().await.map_err(ConnectionError::Store)?;
            Ok::<_, ConnectionError>(chosen)
        }
    };
    let proven = tokio::select! {
        proven = handshake::accept(stream, hello_by, choose) => proven?,
        // Before `hello` there is one instruction: to make room.
        _ = instructions.recv() => return Ok(None),
    };
    if let Some(desk) = pairing {
        let paired = Box::pin(pairing::receive(proven, desk, address, limits, hello_by));
        return tokio::select! {
            paired = paired => paired.map(|()| None),
            () = has_to_go(instructions) => Ok(None),
        };
    }
    let hurried = async {
        let peer = proven.peer;
        let mut wire = Box::new(Wire::new(proven.stream, proven.meter, limits, hello_by));
        let hello = match wire.next().await {
            Ok(Frame::Hello {
                conversation,
                heard,
            }) => Ok(Box::new(Hello {
                peer,
                conversation,
                heard,
                clienthello,
            })),
            Ok(other) => Err(out_of_place(&other)),
            Err(error) => Err(error),
        };
        (wire, hello)
    };
    let greeted = tokio::select! {
        greeted = hurried => greeted,
        _ = instructions.recv() => return Ok(None),
    };
    match greeted {
        (wire, Ok(hello)) => Ok(Some((hello, wire))),
        (wire, Err(error)) => Err(part(wire, error, instructions).await),
    }
}

/// A wire that is handed over, and whether a `quit` stands behind its `hello`.
type Entered<S> = (Box<Wire<Tls<S>>>, bool);

/// Does what the hub says; `None` if that is to close.
async fn obey<S>(
    handed: Handed<S>,
    hub: &HubHandle<S>,
) -> Result<Option<Entered<S>>, ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Handed {
        mut wire,
        mut has_quit,
        mut instructions,
        ..
    } = handed;
    loop {
        tokio::select! {
            biased;
            instruction = instructions.recv() => {
                let last = match instruction {
                    Some(Instruction::Wait { ahead }) => {
                        wire.queue(&Frame::Wait { ahead });
                        continue;
                    }
                    Some(Instruction::Enter) => return Ok(Some((wire, has_quit))),
                    Some(Instruction::Refuse(reason)) => Frame::Refuse { reason },
                    Some(Instruction::Replaced) => REPLACED,
                    Some(Instruction::Quit) => Frame::Quit {},
                    Some(Instruction::Close) | None => return Ok(None),
                };
                close(wire, last, &mut instructions).await;
                return Ok(None);
            }
            frame = wire.next() => match frame {
                Ok(Frame::Quit {}) => {
                    has_quit = true;
                    hub.tell(ConnectionEvent::Quit);
                }
                // After its `quit` nothing else of a peer counts (PROTOCOL 3.11).
                Ok(_) if has_quit => {}
                Ok(other) => {
                    return Err(part(wire, out_of_place(&other), &mut instructions).await);
                }
                Err(error) => return Err(part(wire, error, &mut instructions).await),
            },
        }
    }
}

/// Says what is to be said about it, and closes.
async fn part<S>(
    wire: Box<Wire<S>>,
    error: LinkError,
    instructions: &mut mpsc::UnboundedReceiver<Instruction>,
) -> ConnectionError
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    if let Some(last) = error.farewell() {
        close(wire, last, instructions).await;
    }
    error.into()
}

/// Closes with a last frame, unless too many are not admitted: then it has to go now.
pub(super) async fn close<S>(
    wire: Box<Wire<S>>,
    last: Frame,
    instructions: &mut mpsc::UnboundedReceiver<Instruction>,
) where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    tokio::select! {
        () = Closer::new(wire, Some(&last)).closed() => {}
        () = has_to_go(instructions) => {}
    }
}

async fn has_to_go(instructions: &mut mpsc::UnboundedReceiver<Instruction>) {
    while let Some(instruction) = instructions.recv().await {
        if instruction == Instruction::Close {
            return;
        }
    }
    pending().await
}

fn out_of_place(frame: &Frame) -> LinkError {
    LinkError::Violation(Violation::OutOfPlace {
        kind: frame.kind(),
        phase: "before `welcome`",
    })
}

#[cfg(test)]
mod tests {
    use std::mem::{size_of, size_of_val};

    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::link::{Client, Talk, tcp};
    use crate::trust::tls::server_config;
    use crate::trust::{Algorithm, Identity};

    /// A task's future is moved several times before it runs, and its room once more
    /// when it ends.
    #[test]
    fn nothing_large_is_in_a_channel_or_a_task() {
        let identity = Identity::generate(Algorithm::default()).unwrap();
        let (events, _hub) = mpsc::unbounded_channel();
        let hub = || HubHandle {
            id: ConnectionId(0),
            events: events.clone(),
            greeted: mpsc::unbounded_channel().0,
            tickets: Arc::new(Tickets::of(None)),
        };
        let stream = || duplex(1).0;
        let limits = Arc::new(Limits::default());
        let entrance = || Entrance {
            config: server_config(&identity),
            door: Arc::new(Door::new(&identity)),
        };
        let told = || mpsc::unbounded_channel().1;
        let greeting = arrive(
            stream(),
            None,
            entrance(),
            Arc::clone(&limits),
            hub(),
            told(),
        );
        let connection = receive(stream(), None, entrance(), limits, hub(), told());
        let client = Client::new(&identity, vec![]);
        let connecting = client.connect(tcp::dialer("localhost", 1));
        for (what, size, most) in [
            ("a hub's event", size_of::<HubEvent<DuplexStream>>(), 128),
            ("a conversation", size_of::<Talk>(), 192),
            ("a wire", size_of::<Wire<Tls<DuplexStream>>>(), 2 * 1024),
            ("a connection's task", size_of_val(&connection), 512),
            ("its handshake", size_of_val(&greeting), 6 * 1024),
            ("a client's connect", size_of_val(&connecting), 5 * 1024),
        ] {
            assert!(size <= most, "{what}: {size} B");
        }
    }
}
