//! One connection on the server's side, from accept to its end: handshake,
//! `hello`, the queue, and the conversation if it is let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::admission::{Admitted, ConnectionId, Hello, Order};
use super::handshake::{self, HandshakeError};
use super::session::{self, Command};
use super::turn::{self, Talk};
use super::wire::{LinkError, Wire};
use crate::protocol::{Code, Conversation, Frame, Limits, Role, Violation};

/// What a connection tells the hub.
pub(super) enum Report {
    /// Its `hello` has come.
    Hello(Hello),
    /// It was welcomed.
    Welcomed(Talk),
    /// It is gone, and why, if something went wrong.
    Left(Option<Incident>),
}

/// What went wrong with a connection that had not become a conversation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Incident {
    /// No proven peer.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A proven peer, and then trouble.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// A connection's way to the hub.
#[derive(Clone)]
pub(super) struct Hub {
    pub(super) id: ConnectionId,
    pub(super) reports: mpsc::Sender<(ConnectionId, Report)>,
    /// How many ClientHellos have come to this server.
    pub(super) clienthellos: Arc<AtomicU64>,
}

impl Hub {
    pub(super) async fn report(&self, report: Report) {
        // A hub that is gone has stopped the server, and this task with it.
        let _ = self.reports.send((self.id, report)).await;
    }
}

/// Receives one connection, to its end.
pub(super) async fn receive<S>(
    stream: S,
    config: Arc<rustls::ServerConfig>,
    limits: Limits,
    hub: Hub,
    mut orders: mpsc::Receiver<Order>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let incident = match greet(stream, config, &limits, &hub, &mut orders).await {
        Ok(Some((wire, admitted))) => {
            converse(wire, admitted, &hub, orders).await;
            None
        }
        Ok(None) => None,
        Err(incident) => Some(incident),
    };
    hub.report(Report::Left(incident)).await;
}

type Tls<S> = tokio_rustls::server::TlsStream<S>;

/// Up to `welcome`; `None` if there is none.
async fn greet<S>(
    stream: S,
    config: Arc<rustls::ServerConfig>,
    limits: &Limits,
    hub: &Hub,
    orders: &mut mpsc::Receiver<Order>,
) -> Result<Option<(Wire<Tls<S>>, Admitted)>, Incident>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello_by = Instant::now() + limits.hello;
    let hurried = async {
        let mut clienthello = 0;
        let count = || clienthello = hub.clienthellos.fetch_add(1, Ordering::Relaxed);
        let (stream, peer) = handshake::accept(stream, config, hello_by, count).await?;
        let mut wire = Wire::new(stream, limits, hello_by);
        match wire.next().await {
            Ok(Frame::Hello {
                conversation,
                heard,
            }) => Ok((
                wire,
                Hello {
                    peer,
                    conversation,
                    heard,
                    clienthello,
                },
            )),
            Ok(other) => Err(part(wire, out_of_place(&other)).await),
            Err(error) => Err(part(wire, error).await),
        }
    };
    let (mut wire, hello) = tokio::select! {
        greeted = hurried => greeted?,
        // Before `hello` there is one order: to make room.
        _ = orders.recv() => return Ok(None),
    };
    hub.report(Report::Hello(hello)).await;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Wait { ahead }) => wire.queue(&Frame::Wait { ahead }),
                Some(Order::Welcome(admitted)) => return Ok(Some((wire, admitted))),
                Some(Order::Refuse(reason)) => {
                    wire.close_with(&Frame::Refuse { reason }).await;
                    return Ok(None);
                }
                Some(Order::Replaced) => {
                    wire.close_with(&replaced()).await;
                    return Ok(None);
                }
                Some(Order::Close | Order::Quit) | None => return Ok(None),
            },
            frame = wire.next() => match frame {
                Ok(Frame::Quit {}) => {
                    wire.close_with(&Frame::Quit {}).await;
                    return Ok(None);
                }
                Ok(other) => return Err(part(wire, out_of_place(&other)).await),
                Err(error) => return Err(part(wire, error).await),
            },
        }
    }
}

async fn converse<S>(
    wire: Wire<S>,
    admitted: Admitted,
    hub: &Hub,
    mut orders: mpsc::Receiver<Order>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut conversation = Conversation::new(Role::Server, admitted.conversation);
    if let Err(violation) = conversation.accept(admitted.heard) {
        part(wire, violation.into()).await;
        return;
    }
    let (user, talk) = turn::welcomed(admitted.peer, &conversation);
    let quitter = user.quitter.clone();
    hub.report(Report::Welcomed(talk)).await;
    let running = session::run(conversation, wire, user);
    tokio::pin!(running);
    loop {
        tokio::select! {
            () = &mut running => return,
            order = orders.recv() => match (order, quitter.upgrade()) {
                (None, _) => return,
                (Some(_), Some(commands)) => {
                    let _ = commands.try_send(Command::Quit);
                }
                (Some(_), None) => {}
            },
        }
    }
}

/// Says what is to be said about it, and closes.
async fn part<S>(wire: Wire<S>, error: LinkError) -> Incident
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(last) = error.farewell() {
        wire.close_with(&last).await;
    }
    error.into()
}

fn out_of_place(frame: &Frame) -> LinkError {
    LinkError::Violation(Violation::OutOfPlace {
        kind: frame.kind(),
        phase: "before `welcome`",
    })
}

fn replaced() -> Frame {
    Frame::Error {
        code: Code::Replaced,
        detail: None,
    }
}
