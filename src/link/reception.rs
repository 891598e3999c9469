//! One connection on the server's side, from accept to its end: handshake,
//! `hello`, the queue, and the conversation if it is let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::admission::{Admitted, ConnectionId, Hello, Order};
use super::handshake::{self, HandshakeError};
use super::journal::Page;
use super::session::{Attachment, Command, REPLACED, Rest, Session, Source};
use super::turn::{self, Talk};
use super::wire::{LinkError, Wire};
use crate::protocol::{Conversation, ConversationId, Frame, Limits, Violation};
use crate::trust::{KeyId, Peer};

/// What a connection tells the hub.
pub(super) enum Report {
    /// Its `hello` has come.
    Hello(Hello),
    /// Its `quit` has come, before it was welcomed.
    Quit,
    /// It was welcomed.
    Welcomed(Talk),
    /// What is left of the conversation that was held here.
    Rest(KeyId, ConversationId, Rest),
    /// It is gone, and why, if something went wrong.
    Left(Option<Incident>),
}

/// What the hub tells a connection.
pub(super) enum Errand<S> {
    /// What was decided about it.
    Order(Order),
    /// To begin this conversation, or to go on with it.
    Begin(Beginning),
    /// To be handed over to this conversation.
    Join {
        conversation: mpsc::Sender<Attachment<Tls<S>>>,
        heard: u64,
    },
}

/// A conversation, and its admitted peer.
pub(super) struct Beginning {
    pub(super) admitted: Admitted,
    pub(super) conversation: Conversation,
    pub(super) page: Option<Arc<Page>>,
}

impl Beginning {
    /// What is left if it is not begun: one that was parked is parked still.
    pub(super) fn kept(self) -> Rest {
        match self.page {
            Some(page) if self.conversation.next_turn() > 1 => {
                Rest::Parked(self.conversation, page)
            }
            _ => Rest::Nothing,
        }
    }
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
        Ok(Some((attachment, beginning))) => {
            converse(attachment, beginning, &limits, &hub, mailbox).await
        }
        greeted => {
            give_back(&hub, &mut mailbox.errands).await;
            greeted.err()
        }
    };
    hub.report(Report::Left(incident)).await;
}

/// A conversation that was to go on here, on a connection that was gone
/// already, goes on on another.
async fn give_back<S>(hub: &Hub, errands: &mut mpsc::Receiver<Errand<S>>) {
    errands.close();
    while let Some(errand) = errands.recv().await {
        if let Errand::Begin(beginning) = errand {
            let (key, id) = (beginning.admitted.peer.key(), beginning.conversation.id());
            hub.report(Report::Rest(key, id, beginning.kept())).await;
        }
    }
}

/// Up to `welcome`; `None` if there is none to be given here.
async fn greet<S>(
    stream: S,
    config: Arc<rustls::ServerConfig>,
    limits: &Limits,
    hub: &Hub,
    errands: &mut mpsc::Receiver<Errand<S>>,
) -> Result<Option<(Attachment<Tls<S>>, Beginning)>, Incident>
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
    let clienthello = hello.clienthello;
    hub.report(Report::Hello(hello)).await;
    let mut has_quit = false;
    loop {
        tokio::select! {
            biased;
            errand = errands.recv() => match errand {
                Some(Errand::Order(Order::Wait { ahead })) => wire.queue(&Frame::Wait { ahead }),
                Some(Errand::Begin(beginning)) => {
                    let heard = beginning.admitted.heard;
                    let attachment = Attachment { wire, heard, has_quit, clienthello };
                    return Ok(Some((attachment, beginning)));
                }
                Some(Errand::Join { conversation, heard }) => {
                    let attachment = Attachment { wire, heard, has_quit, clienthello };
                    // It may have ended or been parked just now: closed without an answer,
                    // the client dials once more, and learns which.
                    let _ = conversation.send(attachment).await;
                    return Ok(None);
                }
                Some(Errand::Order(order)) => {
                    if let Some(last) = last_word(order) {
                        tokio::select! {
                            () = wire.close_with(last) => {}
                            // There are too many strangers: it has to go now.
                            Some(_) = errands.recv() => {}
                        }
                    }
                    return Ok(None);
                }
                None => return Ok(None),
            },
            frame = wire.next() => match frame {
                Ok(Frame::Quit {}) => {
                    has_quit = true;
                    hub.report(Report::Quit).await;
                }
                // After its `quit` nothing else of a peer counts.
                Ok(_) if has_quit => {}
                Ok(other) => return Err(part(wire, out_of_place(&other)).await),
                Err(error) => return Err(part(wire, error).await),
            },
        }
    }
}

/// What is said to a connection that is sent away.
fn last_word(order: Order) -> Option<Frame> {
    match order {
        Order::Refuse(reason) => Some(Frame::Refuse { reason }),
        Order::Replaced => Some(REPLACED),
        Order::Quit => Some(Frame::Quit {}),
        Order::Close | Order::Wait { .. } | Order::Welcome(_) | Order::Resume { .. } => None,
    }
}

/// Holds the conversation that begins on this connection, to its end.
async fn converse<S>(
    attachment: Attachment<Tls<S>>,
    beginning: Beginning,
    limits: &Limits,
    hub: &Hub,
    mailbox: Mailbox<S>,
) -> Option<Incident>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Beginning {
        admitted,
        conversation,
        page,
    } = beginning;
    let kept = page
        .clone()
        .map(|page| Rest::Parked(conversation.clone(), page));
    let (talk, session, errands) = hold(admitted.peer, conversation, page, limits, mailbox);
    let (key, id) = (admitted.peer.key(), admitted.conversation);
    match session.accept(attachment, false) {
        Ok(session) => {
            hub.report(Report::Welcomed(talk)).await;
            run(key, id, session, hub, errands).await;
            None
        }
        Err(refused) => {
            let (wire, violation) = *refused;
            if let Some(kept) = kept {
                hub.report(Report::Rest(key, id, kept)).await;
            }
            Some(part(wire, violation.into()).await)
        }
    }
}

/// Holds a conversation that was on before a restart, to its end. Its peer
/// comes later.
pub(super) async fn wait<S>(
    peer: Peer,
    stored: (Conversation, Arc<Page>),
    limits: Limits,
    hub: Hub,
    mailbox: Mailbox<S>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (conversation, page) = stored;
    let id = conversation.id();
    let (talk, session, errands) = hold(peer, conversation, Some(page), &limits, mailbox);
    hub.report(Report::Welcomed(talk)).await;
    run(peer.key(), id, session, &hub, errands).await;
    hub.report(Report::Left(None)).await;
}

type Errands<S> = mpsc::Receiver<Errand<S>>;

fn hold<S>(
    peer: Peer,
    conversation: Conversation,
    page: Option<Arc<Page>>,
    limits: &Limits,
    mailbox: Mailbox<S>,
) -> (Talk, Session<Tls<S>>, Errands<S>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Mailbox {
        errands,
        attachments,
        crowded,
    } = mailbox;
    let (user, talk) = turn::welcomed(peer, &conversation);
    let source = Source::Accept {
        attachments,
        crowded,
    };
    let session = Session::held(conversation, page, user, source, limits);
    (talk, session, errands)
}

async fn run<S>(
    key: KeyId,
    id: ConversationId,
    session: Session<Tls<S>>,
    hub: &Hub,
    mut errands: Errands<S>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let commands = session.commands();
    let running = session.run();
    tokio::pin!(running);
    loop {
        tokio::select! {
            rest = &mut running => return hub.report(Report::Rest(key, id, rest)).await,
            errand = errands.recv() => match (errand, commands.upgrade()) {
                // The server stops.
                (None, _) => return,
                (Some(_), Some(commands)) => {
                    let _ = commands.try_send(Command::Supersede);
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
