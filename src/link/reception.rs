//! One connection on the server's side, from accept to its end: handshake,
//! `hello`, the queue, and the conversation if it is let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::admission::{Admitted, ConnectionId, Hello, Order};
use super::handshake::{self, HandshakeError};
use super::session::{Attachment, Command, REPLACED, Session, Source};
use super::turn::{self, Talk};
use super::wire::{LinkError, Wire};
use crate::protocol::{Conversation, ConversationId, Frame, Limits, Reason, Role, Violation};
use crate::trust::KeyId;

/// What a connection tells the hub.
pub(super) enum Report {
    /// Its `hello` has come.
    Hello(Hello),
    /// It was welcomed.
    Welcomed(Talk),
    /// Its conversation is over before the client has acknowledged turn 1.
    EndedEarly(KeyId, ConversationId),
    /// It is gone, and why, if something went wrong.
    Left(Option<Incident>),
}

/// What the hub tells a connection.
pub(super) enum Errand<S> {
    /// What was decided about it.
    Order(Order),
    /// To be handed over to this conversation.
    Join {
        conversation: mpsc::Sender<Attachment<Tls<S>>>,
        heard: u64,
    },
}

/// What a connection hears from the hub.
pub(super) struct Mailbox<S> {
    pub(super) errands: mpsc::Receiver<Errand<S>>,
    /// Later connections for the conversation that begins on this one.
    pub(super) attachments: mpsc::Receiver<Attachment<Tls<S>>>,
    /// Whether somebody waits for a place.
    pub(super) crowded: watch::Receiver<bool>,
}

pub(super) type Tls<S> = tokio_rustls::server::TlsStream<S>;

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

/// Receives one connection, to its end or to the end of the conversation that
/// began on it.
pub(super) async fn receive<S>(
    stream: S,
    config: Arc<rustls::ServerConfig>,
    limits: Limits,
    hub: Hub,
    mut mailbox: Mailbox<S>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let incident = match greet(stream, config, &limits, &hub, &mut mailbox.errands).await {
        Ok(Some((wire, admitted))) => {
            converse(wire, admitted, &limits, &hub, mailbox).await;
            None
        }
        Ok(None) => None,
        Err(incident) => Some(incident),
    };
    hub.report(Report::Left(incident)).await;
}

/// Up to `welcome`; `None` if there is none to be given here.
async fn greet<S>(
    stream: S,
    config: Arc<rustls::ServerConfig>,
    limits: &Limits,
    hub: &Hub,
    errands: &mut mpsc::Receiver<Errand<S>>,
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
        _ = errands.recv() => return Ok(None),
    };
    hub.report(Report::Hello(hello)).await;
    loop {
        tokio::select! {
            // What was decided comes first: a `quit` that has come meanwhile may
            // be for the conversation that goes on.
            biased;
            errand = errands.recv() => match errand {
                Some(Errand::Order(Order::Wait { ahead })) => wire.queue(&Frame::Wait { ahead }),
                Some(Errand::Order(Order::Welcome(admitted))) => return Ok(Some((wire, admitted))),
                Some(Errand::Order(Order::Refuse(reason))) => {
                    wire.close_with(Frame::Refuse { reason }).await;
                    return Ok(None);
                }
                Some(Errand::Order(Order::Replaced)) => {
                    wire.close_with(REPLACED).await;
                    return Ok(None);
                }
                Some(Errand::Join { conversation, heard }) => {
                    let attachment = Attachment { wire, heard };
                    if let Err(error) = conversation.send(attachment).await {
                        // It has ended just now.
                        let reason = Reason::Ended;
                        error.0.wire.close_with(Frame::Refuse { reason }).await;
                    }
                    return Ok(None);
                }
                Some(Errand::Order(Order::Close | Order::Quit | Order::Resume { .. })) | None => {
                    return Ok(None);
                }
            },
            frame = wire.next() => match frame {
                Ok(Frame::Quit {}) => {
                    wire.close_with(Frame::Quit {}).await;
                    return Ok(None);
                }
                Ok(other) => return Err(part(wire, out_of_place(&other)).await),
                Err(error) => return Err(part(wire, error).await),
            },
        }
    }
}

/// Holds the conversation that begins on this connection, to its end.
async fn converse<S>(
    wire: Wire<Tls<S>>,
    admitted: Admitted,
    limits: &Limits,
    hub: &Hub,
    mailbox: Mailbox<S>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Mailbox {
        mut errands,
        attachments,
        crowded,
    } = mailbox;
    let key = admitted.peer.key();
    let mut conversation = Conversation::new(Role::Server, admitted.conversation);
    if let Err(violation) = conversation.accept(admitted.heard) {
        part(wire, violation.into()).await;
        return;
    }
    let (user, talk) = turn::welcomed(admitted.peer, &conversation);
    let quitter = user.quitter.clone();
    hub.report(Report::Welcomed(talk)).await;

    let source = Source::Accept {
        attachments,
        crowded,
    };
    let running = Session::new(conversation, wire, user, source, limits).run();
    tokio::pin!(running);
    loop {
        tokio::select! {
            is_known = &mut running => {
                if !is_known {
                    hub.report(Report::EndedEarly(key, admitted.conversation)).await;
                }
                return;
            }
            errand = errands.recv() => match (errand, quitter.upgrade()) {
                // The server stops.
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
        wire.close_with(last).await;
    }
    error.into()
}

fn out_of_place(frame: &Frame) -> LinkError {
    LinkError::Violation(Violation::OutOfPlace {
        kind: frame.kind(),
        phase: "before `welcome`",
    })
}
