//! One connection on the server's side, from accept to its end: handshake,
//! `hello`, the queue, and the conversation if it is let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::admission::{Admitted, ConnectionId, Hello, Instruction};
use crate::link::error::{ConnectionError, LinkError};
use crate::link::handshake;
use crate::link::journal::Record;
use crate::link::session::{Attachment, Command, REPLACED, Remains, Session, Source};
use crate::link::turn::{self, Talk};
use crate::link::wire::Wire;
use crate::protocol::{Conversation, ConversationId, Frame, Limits, Violation};
use crate::trust::{KeyId, Peer};

/// What a connection tells the hub.
pub(super) enum ConnectionEvent {
    /// Its `hello` has come.
    Hello(Hello),
    /// Its `quit` has come, before it was welcomed.
    Quit,
    /// It was welcomed.
    Welcomed(Talk),
    /// What is left of the conversation that was held here.
    Remains(KeyId, ConversationId, Remains),
    /// It is gone, and why, if something went wrong.
    Left(Option<ConnectionError>),
}

/// What the hub tells a connection.
pub(super) enum HubMessage<S> {
    /// What was decided about it.
    Instruction(Instruction),
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
    pub(super) record: Option<Arc<Record>>,
}

impl Beginning {
    /// What is left if it is not begun: one that was parked is parked still.
    pub(super) fn kept(self) -> Remains {
        match self.record {
            Some(record) if self.conversation.next_turn() > 1 => {
                Remains::Parked(self.conversation, record)
            }
            _ => Remains::Nothing,
        }
    }
}

/// What a connection hears from the hub.
pub(super) struct HubChannels<S> {
    pub(super) messages: mpsc::Receiver<HubMessage<S>>,
    /// Later connections for the conversation that begins on this one.
    pub(super) attachments: mpsc::Receiver<Attachment<Tls<S>>>,
    /// Whether somebody waits for a place.
    pub(super) crowded: watch::Receiver<bool>,
}

pub(super) type Tls<S> = tokio_rustls::server::TlsStream<S>;

/// A connection's way to the hub.
#[derive(Clone)]
pub(super) struct HubHandle {
    pub(super) id: ConnectionId,
    pub(super) events: mpsc::Sender<(ConnectionId, ConnectionEvent)>,
    /// How many ClientHellos have come to this server.
    pub(super) clienthellos: Arc<AtomicU64>,
}

impl HubHandle {
    pub(super) async fn tell(&self, event: ConnectionEvent) {
        // A hub that is gone has stopped the server, and this task with it.
        let _ = self.events.send((self.id, event)).await;
    }
}

/// Receives one connection, to its end or to the end of the conversation that
/// began on it.
pub(super) async fn receive<S>(
    stream: S,
    config: Arc<rustls::ServerConfig>,
    limits: Limits,
    hub: HubHandle,
    mut channels: HubChannels<S>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let error = match greet(stream, config, &limits, &hub, &mut channels.messages).await {
        Ok(Some((attachment, beginning))) => {
            converse(attachment, beginning, &limits, &hub, channels).await
        }
        greeted => {
            give_back(&hub, &mut channels.messages).await;
            greeted.err()
        }
    };
    hub.tell(ConnectionEvent::Left(error)).await;
}

/// A conversation that was to go on here, on a connection that was gone
/// already, goes on on another.
async fn give_back<S>(hub: &HubHandle, messages: &mut mpsc::Receiver<HubMessage<S>>) {
    messages.close();
    while let Some(message) = messages.recv().await {
        if let HubMessage::Begin(beginning) = message {
            let (key, id) = (beginning.admitted.peer.key(), beginning.conversation.id());
            hub.tell(ConnectionEvent::Remains(key, id, beginning.kept()))
                .await;
        }
    }
}

/// Up to `welcome`; `None` if there is none to be given here.
async fn greet<S>(
    stream: S,
    config: Arc<rustls::ServerConfig>,
    limits: &Limits,
    hub: &HubHandle,
    messages: &mut mpsc::Receiver<HubMessage<S>>,
) -> Result<Option<(Attachment<Tls<S>>, Beginning)>, ConnectionError>
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
        // Before `hello` there is one instruction: to make room.
        _ = messages.recv() => return Ok(None),
    };
    let clienthello = hello.clienthello;
    hub.tell(ConnectionEvent::Hello(hello)).await;
    let mut has_quit = false;
    loop {
        tokio::select! {
            biased;
            message = messages.recv() => match message {
                Some(HubMessage::Instruction(Instruction::Wait { ahead })) => wire.queue(&Frame::Wait { ahead }),
                Some(HubMessage::Begin(beginning)) => {
                    let heard = beginning.admitted.heard;
                    let attachment = Attachment { wire, heard, has_quit, clienthello };
                    return Ok(Some((attachment, beginning)));
                }
                Some(HubMessage::Join { conversation, heard }) => {
                    let attachment = Attachment { wire, heard, has_quit, clienthello };
                    // It may have ended or been parked just now: closed without an answer,
                    // the client dials once more, and learns which.
                    let _ = conversation.send(attachment).await;
                    return Ok(None);
                }
                Some(HubMessage::Instruction(instruction)) => {
                    if let Some(last) = last_word(instruction) {
                        tokio::select! {
                            () = wire.close_with(last) => {}
                            // There are too many strangers: it has to go now.
                            Some(_) = messages.recv() => {}
                        }
                    }
                    return Ok(None);
                }
                None => return Ok(None),
            },
            frame = wire.next() => match frame {
                Ok(Frame::Quit {}) => {
                    has_quit = true;
                    hub.tell(ConnectionEvent::Quit).await;
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
fn last_word(instruction: Instruction) -> Option<Frame> {
    match instruction {
        Instruction::Refuse(reason) => Some(Frame::Refuse { reason }),
        Instruction::Replaced => Some(REPLACED),
        Instruction::Quit => Some(Frame::Quit {}),
        Instruction::Close
        | Instruction::Wait { .. }
        | Instruction::Welcome(_)
        | Instruction::Resume { .. } => None,
    }
}

/// Holds the conversation that begins on this connection, to its end.
async fn converse<S>(
    attachment: Attachment<Tls<S>>,
    beginning: Beginning,
    limits: &Limits,
    hub: &HubHandle,
    channels: HubChannels<S>,
) -> Option<ConnectionError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Beginning {
        admitted,
        conversation,
        record,
    } = beginning;
    let kept = record
        .clone()
        .map(|record| Remains::Parked(conversation.clone(), record));
    let (talk, session, messages) = hold(admitted.peer, conversation, record, limits, channels);
    let (key, id) = (admitted.peer.key(), admitted.conversation);
    match session.accept(attachment, false) {
        Ok(session) => {
            hub.tell(ConnectionEvent::Welcomed(talk)).await;
            run(key, id, session, hub, messages).await;
            None
        }
        Err(refused) => {
            let (wire, violation) = *refused;
            if let Some(kept) = kept {
                hub.tell(ConnectionEvent::Remains(key, id, kept)).await;
            }
            Some(part(wire, violation.into()).await)
        }
    }
}

/// Holds a conversation that was on before a restart, to its end. Its peer
/// comes later.
pub(super) async fn wait<S>(
    peer: Peer,
    stored: (Conversation, Arc<Record>),
    limits: Limits,
    hub: HubHandle,
    channels: HubChannels<S>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (conversation, record) = stored;
    let id = conversation.id();
    let (talk, session, messages) = hold(peer, conversation, Some(record), &limits, channels);
    hub.tell(ConnectionEvent::Welcomed(talk)).await;
    run(peer.key(), id, session, &hub, messages).await;
    hub.tell(ConnectionEvent::Left(None)).await;
}

type Messages<S> = mpsc::Receiver<HubMessage<S>>;

fn hold<S>(
    peer: Peer,
    conversation: Conversation,
    record: Option<Arc<Record>>,
    limits: &Limits,
    channels: HubChannels<S>,
) -> (Talk, Session<Tls<S>>, Messages<S>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let HubChannels {
        messages,
        attachments,
        crowded,
    } = channels;
    let (user, talk) = turn::welcomed(peer, &conversation);
    let source = Source::Accept {
        attachments,
        crowded,
    };
    let session = Session::held(conversation, record, user, source, limits);
    (talk, session, messages)
}

async fn run<S>(
    key: KeyId,
    id: ConversationId,
    session: Session<Tls<S>>,
    hub: &HubHandle,
    mut messages: Messages<S>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let commands = session.commands();
    let running = session.run();
    tokio::pin!(running);
    loop {
        tokio::select! {
            rest = &mut running => return hub.tell(ConnectionEvent::Remains(key, id, rest)).await,
            message = messages.recv() => match (message, commands.upgrade()) {
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
async fn part<S>(wire: Wire<S>, error: LinkError) -> ConnectionError
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
