//! One connection on the server's side, from accept to its end: handshake,
//! `hello`, the queue, and the conversation if it is let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::admission::{Admitted, ConnectionId, Hello, Instruction};
use crate::link::driver::Driver;
use crate::link::error::{ConnectionError, LinkError};
use crate::link::handshake::{self, Tls};
use crate::link::journal::{Record, Stored};
use crate::link::session::{self, Greeting, NotAccepted, REPLACED, Session};
use crate::link::turn::{self, Talk};
use crate::link::wire::Wire;
use crate::protocol::{Conversation, ConversationId, Frame, Limits, Role, Violation};
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
    Begin(Box<Beginning>),
    /// To be handed over to this conversation.
    Join {
        conversation: mpsc::Sender<Box<Arrival<Tls<S>>>>,
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

/// What is left of a conversation, and of its record.
pub(super) enum Remains {
    Nothing,
    End,
    Parked(Conversation, Arc<Record>),
}

impl Remains {
    fn of(remains: session::Remains, record: Option<Arc<Record>>) -> Self {
        match (remains, record) {
            (session::Remains::Nothing, _) => Self::Nothing,
            (session::Remains::Parked(conversation), Some(record)) => {
                Self::Parked(conversation, record)
            }
            (session::Remains::End | session::Remains::Parked(_), _) => Self::End,
        }
    }
}

/// A connection that said `hello`, for the conversation that it is for.
pub(super) struct Arrival<S> {
    wire: Wire<S>,
    greeting: Greeting,
}

impl<S> Arrival<S> {
    fn new(wire: Wire<S>, heard: u64, has_quit: bool, clienthello: u64) -> Self {
        let greeting = Greeting {
            heard,
            has_quit,
            clienthello,
        };
        Self { wire, greeting }
    }
}

/// What a connection hears from the hub.
pub(super) struct HubChannels<S> {
    pub(super) messages: mpsc::Receiver<HubMessage<S>>,
    /// Later connections for the conversation that begins on this one.
    pub(super) arrivals: mpsc::Receiver<Box<Arrival<Tls<S>>>>,
    /// Whether somebody waits for a place.
    pub(super) crowded: watch::Receiver<bool>,
}

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
    // A handshake takes room that a conversation does not need.
    let greeting = Box::pin(greet(stream, config, &limits, &hub, &mut channels.messages));
    let error = match greeting.await {
        Ok(Some((arrival, beginning))) => {
            converse(arrival, beginning, &limits, &hub, channels).await
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
) -> Result<Option<(Arrival<Tls<S>>, Beginning)>, ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello_by = Instant::now() + limits.hello;
    let hurried = async {
        let mut clienthello = 0;
        let count = || clienthello = hub.clienthellos.fetch_add(1, Ordering::Relaxed);
        let proven = handshake::accept(stream, config, hello_by, count).await?;
        let peer = proven.peer;
        let mut wire = Wire::new(proven.stream, proven.meter, limits, hello_by);
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
                    let arrival = Arrival::new(wire, heard, has_quit, clienthello);
                    return Ok(Some((arrival, *beginning)));
                }
                Some(HubMessage::Join { conversation, heard }) => {
                    let arrival = Arrival::new(wire, heard, has_quit, clienthello);
                    // It may have ended or been parked just now: closed without an answer,
                    // the client dials once more, and learns which.
                    let _ = conversation.send(Box::new(arrival)).await;
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
    arrival: Arrival<Tls<S>>,
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
    let named = (admitted.peer.key(), admitted.conversation);
    let kept = record
        .clone()
        .map(|record| Remains::Parked(conversation.clone(), record));
    let (driver, talk) = drive(admitted.peer, conversation, record.clone(), limits);
    let Arrival { wire, greeting } = arrival;
    if let Err(refused) = driver.accept(wire, greeting) {
        let (wire, why) = *refused;
        if let Some(kept) = kept {
            hub.tell(ConnectionEvent::Remains(named.0, named.1, kept))
                .await;
        }
        return match why {
            NotAccepted::Violation(violation) => Some(part(wire, violation.into()).await),
            NotAccepted::Overtaken | NotAccepted::Ending => None,
        };
    }
    hub.tell(ConnectionEvent::Welcomed(talk)).await;
    keep(named, driver, record, hub, channels).await;
    None
}

/// Holds a conversation that was on before a restart, to its end. Its peer
/// comes later.
pub(super) async fn wait<S>(
    stored: Stored,
    limits: Limits,
    hub: HubHandle,
    channels: HubChannels<S>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Stored {
        record,
        peer,
        conversation,
        clienthello,
        ..
    } = stored;
    let named = (peer, conversation.id());
    let record = Some(Arc::new(record));
    let peer = Peer::remembered(peer);
    let (driver, talk) = drive(peer, conversation, record.clone(), &limits);
    driver.hold(clienthello);
    hub.tell(ConnectionEvent::Welcomed(talk)).await;
    keep(named, driver, record, &hub, channels).await;
    hub.tell(ConnectionEvent::Left(None)).await;
}

fn drive<S>(
    peer: Peer,
    conversation: Conversation,
    record: Option<Arc<Record>>,
    limits: &Limits,
) -> (Arc<Driver<Tls<S>>>, Talk)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let has_begun = true;
    let session = Session::new(
        Role::Server,
        conversation.clone(),
        has_begun,
        record.is_some(),
        limits,
    );
    let driver = Driver::new(session, record);
    let user = Arc::clone(&driver);
    (driver, turn::welcomed(peer, &conversation, user))
}

/// Keeps the conversation going, and tells it what the hub has to say.
async fn keep<S>(
    (key, id): (KeyId, ConversationId),
    driver: Arc<Driver<Tls<S>>>,
    record: Option<Arc<Record>>,
    hub: &HubHandle,
    channels: HubChannels<S>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let HubChannels {
        mut messages,
        mut arrivals,
        mut crowded,
    } = channels;
    driver.crowded(*crowded.borrow_and_update());
    let keeping = Arc::clone(&driver).keep(None);
    tokio::pin!(keeping);
    loop {
        tokio::select! {
            remains = &mut keeping => {
                let remains = Remains::of(remains, record);
                return hub.tell(ConnectionEvent::Remains(key, id, remains)).await;
            }
            message = messages.recv() => match message {
                // The server stops.
                None => return,
                Some(_) => driver.supersede(),
            },
            Some(arrival) = arrivals.recv() => attach(&driver, *arrival),
            Ok(()) = crowded.changed() => driver.crowded(*crowded.borrow_and_update()),
        }
    }
}

/// A later connection of the same peer, for the same conversation.
fn attach<S>(driver: &Driver<Tls<S>>, arrival: Arrival<Tls<S>>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Err(refused) = driver.accept(arrival.wire, arrival.greeting) else {
        return;
    };
    match *refused {
        (wire, NotAccepted::Violation(violation)) => {
            tokio::spawn(part(wire, violation.into()));
        }
        (wire, NotAccepted::Overtaken) => {
            tokio::spawn(wire.close());
        }
        // It may have ended or been parked just now: closed without an answer, the
        // client dials once more, and learns which.
        (_, NotAccepted::Ending) => {}
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
