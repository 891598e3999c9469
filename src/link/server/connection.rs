//! One connection on the server's side, from accept to its end: handshake, `hello`, and the queue.
//! If a conversation begins with it, its task then keeps that.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::server::ClientHello;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::admission::{ConnectionId, Hello, Instruction};
use super::answer::{Answer, Claiming, Entering, Parting, Waiting};
use super::claim::Claimed;
use super::hub::{Departure, Hub};
use crate::link::closer::Closer;
use crate::link::error::{ConnectionError, LinkError};
use crate::link::handshake;
use crate::link::pairing;
use crate::link::session::REPLACED;
use crate::link::wire::Wire;
use crate::protocol::{Frame, Role, Violation};
use crate::trust::alpn::Alpn;

/// Receives one connection, and sees it to its end. Before its `hello` the hub lets it go by
/// aborting this.
pub(super) async fn receive<S>(stream: S, address: Option<IpAddr>, departure: Departure<S>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (hub, id) = (&departure.hub, departure.id);
    // A handshake takes room that is not needed behind it, and so does a queue.
    let mut next = Box::pin(greet(stream, address, hub, id)).await;
    let keeper = loop {
        next = match next {
            Ok(Answer::Left) => return,
            Ok(Answer::Gone) => return departure.handed_over(),
            Ok(Answer::Keep(keeper)) => break keeper,
            Ok(later) => Box::pin(go_on(later, hub, id)).await,
            Err(error) => return departure.failed(error),
        };
    };
    departure.handed_over();
    keeper.keep(None).await;
}

/// Does what the hub has answered, and asks what next.
async fn go_on<S>(
    answer: Answer<S>,
    hub: &Hub<S>,
    id: ConnectionId,
) -> Result<Answer<S>, ConnectionError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (entering, claimed) = match answer {
        Answer::Wait(waiting) => (obey(waiting, hub, id).await?, None),
        Answer::Early(entering, is_done) => (is_done.await.ok().map(|()| entering), None),
        Answer::Claim(claiming) => match claim(claiming).await {
            Some((entering, claimed)) => (Some(entering), Some(claimed)),
            None => (None, None),
        },
        Answer::Close(Parting {
            wire,
            last,
            error,
            mut instructions,
        }) => {
            close(wire, last, &mut instructions).await;
            return error.map_or(Ok(Answer::Left), |error| Err(error.into()));
        }
        Answer::Left | Answer::Gone | Answer::Keep(_) => return Ok(answer),
    };
    let (Some(entering), Some(mut state)) = (entering, hub.open().await) else {
        return Ok(Answer::Left);
    };
    Ok(match claimed {
        Some(claimed) => state.claimed(id, entering, claimed).await,
        None => state.entered(id, entering).await,
    })
}

/// Up to `hello`, and what the hub answers; or a pairing.
async fn greet<S>(
    stream: S,
    address: Option<IpAddr>,
    hub: &Hub<S>,
    id: ConnectionId,
) -> Result<Answer<S>, ConnectionError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let hello_by = Instant::now() + hub.limits.hello;
    let mut clienthello = 0;
    let mut pairing = None;
    let ticket = &mut clienthello;
    let choose = |offered: &ClientHello<'_>| {
        hub.greeted(id);
        let entrance = &hub.entrance;
        let entered = Alpn::is_pair(offered).then(|| entrance.door.enter());
        let chosen = match entered.flatten() {
            Some((config, desk)) => {
                pairing = Some(desk);
                (config, Alpn::Pair)
            }
            None => (Arc::clone(&entrance.config), Alpn::Talk),
        };
        async move {
            *ticket = hub.tickets.draw().await.map_err(ConnectionError::Store)?;
            Ok::<_, ConnectionError>(chosen)
        }
    };
    let proven = handshake::accept(stream, hello_by, choose).await?;
    if let Some(desk) = pairing {
        hub.lingers(id);
        let paired = pairing::receive(proven, desk, address, &hub.limits, hello_by);
        return Box::pin(paired).await.map(|()| Answer::Left);
    }
    let peer = proven.peer;
    let mut wire = Box::new(Wire::new(
        Role::Server,
        proven.stream,
        proven.meter,
        &hub.limits,
        hello_by,
    ));
    let error = match wire.next().await {
        Ok(Frame::Hello {
            conversation,
            heard,
        }) => {
            hub.entrance.door.hello(&peer.key());
            let hello = Hello {
                peer,
                conversation,
                heard,
                clienthello,
            };
            return Ok(match hub.open().await {
                Some(mut state) => state.hello(id, hello, wire).await,
                None => Answer::Left,
            });
        }
        Ok(other) => out_of_place(&other),
        Err(error) => error,
    };
    if let Some(last) = error.farewell() {
        hub.lingers(id);
        Closer::new(wire, Some(&last)).closed().await;
    }
    Err(error.into())
}

/// Waits behind `hello`, and does what the hub says; `None` if that is to close.
async fn obey<S>(
    waiting: Waiting<S>,
    hub: &Hub<S>,
    id: ConnectionId,
) -> Result<Option<Entering<S>>, ConnectionError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Waiting {
        mut entering,
        mut instructions,
    } = waiting;
    loop {
        tokio::select! {
            biased;
            instruction = instructions.recv() => match instruction {
                Some(Instruction::Wait { ahead }) => entering.wire.queue(&Frame::Wait { ahead }),
                Some(Instruction::Enter) => return Ok(Some(entering)),
                last => {
                    send_away(entering, last, &mut instructions).await;
                    return Ok(None);
                }
            },
            frame = entering.wire.next() => match frame {
                Ok(Frame::Quit {}) => {
                    entering.has_quit = true;
                    if let Some(mut state) = hub.open().await {
                        state.quit(id).await;
                    }
                }
                // After its `quit` nothing else of a peer counts (PROTOCOL 3.11).
                Ok(_) if entering.has_quit => {}
                Ok(other) => {
                    return Err(part(entering.wire, out_of_place(&other), &mut instructions).await);
                }
                Err(error) => return Err(part(entering.wire, error, &mut instructions).await),
            },
        }
    }
}

/// Waits for its claim; `None` if it is told to close meanwhile.
async fn claim<S>(claiming: Claiming<S>) -> Option<(Entering<S>, Claimed)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Claiming {
        entering,
        mut claimed,
        mut instructions,
    } = claiming;
    tokio::select! {
        biased;
        last = instructions.recv() => {
            send_away(entering, last, &mut instructions).await;
            None
        }
        claimed = &mut claimed => Some((entering, claimed)),
    }
}

/// Closes as it was told to.
async fn send_away<S>(
    entering: Entering<S>,
    last: Option<Instruction>,
    instructions: &mut mpsc::UnboundedReceiver<Instruction>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let last = match last {
        Some(Instruction::Refuse(reason)) => Frame::Refuse { reason },
        Some(Instruction::Replaced) => REPLACED,
        Some(Instruction::Quit) => Frame::Quit {},
        Some(Instruction::Close | Instruction::Wait { .. } | Instruction::Enter) | None => return,
    };
    close(entering.wire, last, instructions).await;
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
async fn close<S>(
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
    use crate::link::handshake::Tls;
    use crate::link::server::answer::HubEvent;
    use crate::link::server::hub::tests::hub;
    use crate::link::{Client, Talk, tcp};
    use crate::protocol::Limits;
    use crate::trust::{Algorithm, Identity};

    /// A task's future is moved several times before it runs, and its room once more
    /// when it ends.
    #[tokio::test]
    async fn nothing_large_is_in_a_channel_or_a_task() {
        let identity = Identity::generate(Algorithm::default()).unwrap();
        let (hub, _told) = hub(&identity, Limits::default()).await;
        let departure = || Departure::new(Arc::clone(&hub), ConnectionId(0));
        let stream = || duplex(1).0;
        let greeting = greet(stream(), None, &hub, ConnectionId(0));
        let connection = receive(stream(), None, departure());
        let client = Client::new(&identity, vec![]);
        let connecting = client.connect(tcp::dialer("localhost", 1));
        for (what, size, most) in [
            ("what a hub is told", size_of::<HubEvent>(), 128),
            ("what it answers", size_of::<Answer<DuplexStream>>(), 128),
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
