//! Runs one [`Conversation`] over its connections, one after another: what its
//! user commands and what the peer sends go in, what the conversation puts
//! out is done in order. A connection that was lost is waited for, or dialled
//! anew, for as long as the conversation is held (PROTOCOL §4).

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::error::{Cause, Ended, LinkError};
use super::journal::Record;
use super::redial::Redial;
use super::wire::Wire;
use crate::protocol::{
    By, Code, Conversation, Frame, Limits, Output, Overdue, Reason, Role, SayError, Snapshot, Text,
    Violation,
};

/// What a conversation's user wants of it.
pub(crate) enum Command {
    Say(Text, oneshot::Sender<Result<(), SayError>>),
    Quit,
    /// The peer has begun another conversation: this one is over for it.
    Supersede,
}

/// What a conversation's user learns of it.
pub(crate) enum Event {
    Waiting { ahead: u64 },
    Connected,
    Heard { turn: u64, text: Text },
    Delivered { turn: u64 },
    Lost,
    Resumed,
    Ended(Ended),
}

/// Both ends of a conversation's channels, as the driver holds them.
pub(crate) struct User {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: mpsc::Sender<Event>,
    /// For whoever else may end the conversation. It keeps nothing open.
    pub(crate) quitter: mpsc::WeakSender<Command>,
    /// The link is lost, as was told last.
    pub(crate) told_lost: bool,
}

/// Events that wait for a user who is about something else.
pub(crate) const EVENTS: usize = 8;

/// Of them, what one turn brings forth: connected, delivered, heard, over. A
/// link that comes and goes takes no more than the rest.
const EVENTS_OF_A_TURN: usize = 4;

impl User {
    async fn tell(&self, event: Event) {
        // That nobody listens any more shows at the commands.
        let _ = self.events.send(event).await;
    }

    /// Tells the place in the queue, where there is room for what may change soon.
    async fn tell_place(&self, ahead: u64) {
        if self.events.capacity() > EVENTS_OF_A_TURN {
            self.tell(Event::Waiting { ahead }).await;
        }
    }

    /// Tells how things are with the link: later, where that has changed too
    /// often for a user who takes no notice.
    async fn tell_link(&mut self, is_lost: bool) {
        if is_lost != self.told_lost && self.events.capacity() > EVENTS_OF_A_TURN {
            self.told_lost = is_lost;
            self.tell(match is_lost {
                true => Event::Lost,
                false => Event::Resumed,
            })
            .await;
        }
    }
}

/// A later connection of the same peer, for the same conversation.
pub(crate) struct Attachment<S> {
    pub(crate) wire: Wire<S>,
    /// From its `hello`: the highest turn that the client has heard.
    pub(crate) heard: u64,
    /// A `quit` has come behind the `hello`.
    pub(crate) has_quit: bool,
    /// When its ClientHello came, among all of this server's.
    pub(crate) clienthello: u64,
}

/// What is left of a conversation that this session does not go on with.
#[derive(Debug)]
pub(crate) enum Remains {
    /// Nothing that the server has to know.
    Nothing,
    /// It is over. It may be asked for as if it were new: by a peer that does
    /// not know, or by an older connection.
    End,
    /// It is in its record, and can go on later.
    Parked(Conversation, Arc<Record>),
}

/// Where a conversation's next connection comes from.
pub(crate) enum Source<S> {
    /// The client dials.
    Dial(Redial<S>),
    /// The server is given it.
    Accept {
        attachments: mpsc::Receiver<Attachment<S>>,
        /// Whether somebody is waiting for this conversation's place.
        crowded: watch::Receiver<bool>,
    },
}

/// One conversation, to its end.
pub(crate) struct Session<S> {
    conversation: Conversation,
    limits: Limits,
    user: User,
    source: Source<S>,
    record: Option<Arc<Record>>,
    /// What was stored last, or restored.
    stored: Snapshot,
    wire: Option<Wire<S>>,
    /// A server's: when the ClientHello of its newest connection came.
    newest: u64,
    /// The conversation has been on: a lost link is not the end of it.
    has_begun: bool,
    lost: Option<Lost>,
    /// Our `quit` has to be acknowledged by then.
    quit_by: Option<Instant>,
    is_dropped: bool,
    /// Its user was told of the first connection.
    is_welcomed: bool,
}

/// The connection is gone, and the next one is not there.
struct Lost {
    error: LinkError,
    /// How long the conversation is held.
    until: Instant,
    /// How long, once somebody waits for its place.
    until_if_crowded: Instant,
}

impl<S> Session<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// A session that holds the conversation: its connection is lost, or was
    /// before a restart.
    pub(crate) fn held(
        conversation: Conversation,
        record: Option<Arc<Record>>,
        user: User,
        source: Source<S>,
        limits: &Limits,
    ) -> Self {
        let quit_by = conversation
            .has_quit()
            .then(|| Instant::now() + limits.quit);
        let mut session = Self {
            stored: conversation.snapshot(),
            conversation,
            limits: *limits,
            user,
            source,
            record,
            wire: None,
            newest: 0,
            has_begun: true,
            lost: Some(Lost::now(LinkError::Cut, limits)),
            quit_by,
            is_dropped: false,
            is_welcomed: false,
        };
        if quit_by.is_some() {
            session.source.quitting();
        }
        session
    }

    /// The same session on a client's first connection.
    pub(crate) fn greet(mut self, wire: Wire<S>, has_begun: bool) -> Self {
        self.conversation.connect();
        self.on(wire, has_begun)
    }

    /// The same session on a server's first connection, which said `hello`.
    ///
    /// # Errors
    /// The counters cannot be; the connection is given back, and whatever
    /// is in the record stays there.
    pub(crate) fn accept(
        mut self,
        attachment: Attachment<S>,
        has_begun: bool,
    ) -> Result<Self, Box<(Wire<S>, Violation)>> {
        let Attachment {
            wire,
            heard,
            has_quit,
            clienthello,
        } = attachment;
        if let Err(violation) = self.conversation.accept(heard) {
            return Err(Box::new((wire, violation)));
        }
        if has_quit {
            // It stands where a `quit` may always stand.
            let _ = self.conversation.receive(Frame::Quit {});
        }
        self.newest = clienthello;
        Ok(self.on(wire, has_begun))
    }

    fn on(self, wire: Wire<S>, has_begun: bool) -> Self {
        Self {
            wire: Some(wire),
            has_begun,
            lost: None,
            ..self
        }
    }

    /// For whoever else may end the conversation. It keeps nothing open.
    pub(crate) fn commands(&self) -> mpsc::WeakSender<Command> {
        self.user.quitter.clone()
    }

    /// Runs the conversation to its end, or until it is parked; the last
    /// event is [`Event::Ended`].
    pub(crate) async fn run(mut self) -> Remains {
        let (over, is_parked) = match self.drive().await {
            Ok(over) => {
                if let Some(wire) = self.wire.take() {
                    wire.close().await;
                }
                (over, false)
            }
            Err(error) => {
                if let (Some(wire), Some(last)) = (self.wire.take(), error.farewell()) {
                    wire.close_with(last).await;
                }
                let end = self.conversation.end(By::Me);
                let over = Ended {
                    cause: Cause::Link(error),
                    turns: end.turns,
                    unacknowledged: end.unacknowledged,
                };
                let is_held = self.is_dropped || !self.limits.hold.is_zero();
                (over, is_held && !self.conversation.has_quit())
            }
        };
        let rest = self.finish(&over, is_parked).await;
        self.user.tell(Event::Ended(over)).await;
        rest
    }

    /// Leaves the record as what comes later has to find it.
    async fn finish(&mut self, over: &Ended, is_parked: bool) -> Remains {
        let is_refused = matches!(over.cause, Cause::Refused(_));
        let may_return = match self.source {
            // It is the client that comes back, and asks.
            Source::Accept { .. } => !self.conversation.is_acknowledged(),
            Source::Dial(_) => is_refused && over.turns > 0 && !self.conversation.has_quit(),
        };
        // Whatever the record says: a `hello` that was held back on an older
        // connection can come as long as this process lives.
        let rest = match self.source {
            Source::Accept { .. } => Remains::End,
            Source::Dial(_) => Remains::Nothing,
        };
        let Some(record) = self.record.take() else {
            return rest;
        };
        if self.is_dropped && matches!(self.source, Source::Dial(_)) {
            // As a crash would leave it, a `quit` that is still to be told included.
            return rest;
        }
        if is_parked {
            if let Cause::Link(LinkError::Journal(_)) = over.cause {
                // What could not be stored was not said, and is not heard.
                let stored = Conversation::restore(Role::Server, self.stored.clone());
                return stored.map_or(rest, |stored| Remains::Parked(stored, record));
            }
            let parked = Remains::Parked(self.conversation.clone(), Arc::clone(&record));
            if !self.is_dropped {
                let snapshot = self.conversation.snapshot();
                // What stands there already is enough to go on.
                let _ = spawn_blocking(move || record.store(&snapshot, false)).await;
            }
            return parked;
        }
        let tombstone = self.conversation.tombstone();
        // The end stood there before it was said, and still does if this fails.
        let _ = spawn_blocking(move || match may_return {
            true if is_refused => Ok(()),
            true => record.store(&tombstone, false),
            false => record.remove(),
        })
        .await;
        rest
    }

    async fn drive(&mut self) -> Result<Ended, LinkError> {
        loop {
            let is_lost = self.lost.is_some();
            self.user.tell_link(is_lost).await;
            if let Some(over) = self.process_outputs().await? {
                return Ok(over);
            }
            let deadline = self.deadline();
            tokio::select! {
                biased;
                command = self.user.commands.recv() => match command {
                    Some(Command::Say(text, result)) => {
                        let said = self.conversation.say(text);
                        if let Some(over) = self.process_outputs().await? {
                            return Ok(over);
                        }
                        // What a user takes for said is in the record.
                        let _ = result.send(said);
                    }
                    Some(Command::Quit) => self.quit(),
                    Some(Command::Supersede) => {
                        self.conversation.quit();
                        self.process_outputs().await?;
                        // The next one is not kept waiting for the goodbye.
                        self.wire.take().map(|wire| tokio::spawn(wire.close()));
                        return Ok(self.conversation.end(By::Peer).into());
                    }
                    // A user that let go of its turn did not say the end: the link is
                    // cut, and the record stays as it is.
                    None => {
                        self.is_dropped = true;
                        return Err(LinkError::Cut);
                    }
                },
                attachment = self.source.next(self.wire.is_none()) => {
                    if let Some(attachment) = attachment {
                        self.attach(attachment);
                    }
                }
                // Before frames: who sends without end does not put it off.
                () = until(deadline) => return Err(self.give_up()),
                frame = next(&mut self.wire) => match frame {
                    Ok(frame) => self.receive(frame).await?,
                    Err(error) => self.lose(error).await?,
                },
                () = room(&self.user.events), if self.user.told_lost != is_lost => {}
            }
        }
    }

    /// Does what the conversation has put out, in order.
    async fn process_outputs(&mut self) -> Result<Option<Ended>, LinkError> {
        while let Some(output) = self.conversation.poll_output() {
            match output {
                Output::Store(snapshot) => {
                    if let Some(record) = self.record.clone() {
                        let kept = snapshot.clone();
                        let storing = spawn_blocking(move || record.store(&kept, true));
                        storing.await.map_err(|gone| LinkError::Io(gone.into()))??;
                        self.stored = snapshot;
                    }
                    self.conversation.stored();
                }
                Output::Send(frame) => self.send(&frame),
                // Before the first `welcome` its user does nothing but wait for this.
                Output::Waiting { ahead } if !self.is_welcomed => {
                    self.user.tell(Event::Waiting { ahead }).await;
                }
                Output::Waiting { ahead } => self.user.tell_place(ahead).await,
                Output::Connected => self.connected().await,
                Output::Deliver { turn, text } => {
                    self.user.tell(Event::Heard { turn, text }).await;
                    // A user who answers at once does it here: `heard` and the answer share a packet.
                    tokio::task::yield_now().await;
                }
                Output::Delivered { turn } => self.user.tell(Event::Delivered { turn }).await,
                Output::Ended(end) => return Ok(Some(end.into())),
            }
        }
        Ok(None)
    }

    fn send(&mut self, frame: &Frame) {
        if let Some(wire) = &mut self.wire {
            if matches!(frame, Frame::Welcome { .. }) {
                wire.welcomed();
            }
            wire.queue(frame);
        }
    }

    async fn connected(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.welcomed();
        }
        self.source.connected();
        self.lost = None;
        let has_begun = std::mem::replace(&mut self.has_begun, true);
        if std::mem::replace(&mut self.is_welcomed, true) {
            return self.user.tell_link(false).await;
        }
        self.user.told_lost = false;
        self.user
            .tell(match has_begun {
                true => Event::Resumed,
                false => Event::Connected,
            })
            .await;
    }

    fn quit(&mut self) {
        self.quit_by
            .get_or_insert_with(|| Instant::now() + self.limits.quit);
        self.conversation.quit();
        self.source.quitting();
    }

    async fn receive(&mut self, frame: Frame) -> Result<(), LinkError> {
        let is_resuming = self.lost.is_some() || (self.has_begun && !self.is_welcomed);
        if is_resuming
            && frame
                == (Frame::Refuse {
                    reason: Reason::Busy,
                })
        {
            // No place at the moment for a conversation that is to go on.
            return self.lose(LinkError::Busy).await;
        }
        Ok(self.conversation.receive(frame)?)
    }

    /// The connection cannot go on. The conversation can, if it had begun and
    /// the fault is the link's.
    async fn lose(&mut self, error: LinkError) -> Result<(), LinkError> {
        if !self.has_begun || self.limits.hold.is_zero() || !error.is_passing() {
            return Err(error);
        }
        if let (Some(wire), Some(last)) = (self.wire.take(), error.farewell()) {
            tokio::spawn(wire.close_with(last));
        }
        self.conversation.detach();
        if self.lost.is_none() {
            self.lost = Some(Lost::now(error, &self.limits));
        }
        Ok(())
    }

    /// The peer has a new connection, which takes the place of the old one.
    fn attach(&mut self, attachment: Attachment<S>) {
        let Attachment {
            wire,
            heard,
            has_quit,
            clienthello,
        } = attachment;
        if let Source::Dial(_) = self.source {
            self.wire = Some(wire);
            self.conversation.connect();
            return;
        }
        if clienthello < self.newest {
            // A newer one has overtaken it on its way from the hub.
            tokio::spawn(wire.close());
            return;
        }
        let replaced = match self.conversation.accept(heard) {
            // From here on the old connection is not read any more.
            Ok(()) => {
                if has_quit {
                    let _ = self.conversation.receive(Frame::Quit {});
                }
                self.newest = clienthello;
                self.wire.replace(wire).map(|old| (old, REPLACED))
            }
            // The conversation, and its connection, are as they were.
            Err(violation) => LinkError::from(violation)
                .farewell()
                .map(|last| (wire, last)),
        };
        if let Some((wire, last)) = replaced {
            tokio::spawn(wire.close_with(last));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let held = self
            .lost
            .as_ref()
            .map(|lost| match self.source.is_crowded() {
                true => lost.until_if_crowded,
                false => lost.until,
            });
        held.into_iter().chain(self.quit_by).min()
    }

    fn give_up(&mut self) -> LinkError {
        match self.quit_by {
            Some(_) => LinkError::Overdue(Overdue::Quit),
            None => self.lost.take().map_or(LinkError::Cut, |lost| lost.error),
        }
    }
}

/// As long as a hold can be: 30 years, which clocks can count.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

impl Lost {
    fn now(error: LinkError, limits: &Limits) -> Self {
        let now = Instant::now();
        Self {
            error,
            until: now + limits.hold.min(FOR_EVER),
            until_if_crowded: now + limits.hold.min(limits.crowded_hold),
        }
    }
}

/// To a connection whose place a newer one has taken.
pub(crate) const REPLACED: Frame = Frame::Error {
    code: Code::Replaced,
    detail: None,
};

impl<S> Source<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    /// The next connection, which a client has only when it `is_wanted`;
    /// `None` when somebody has begun, or ceased, to wait for this
    /// conversation's place.
    async fn next(&mut self, is_wanted: bool) -> Option<Attachment<S>> {
        match self {
            Self::Dial(redial) if is_wanted => Some(Attachment {
                wire: redial.next().await,
                heard: 0,
                has_quit: false,
                clienthello: 0,
            }),
            Self::Dial(_) => pending().await,
            Self::Accept {
                attachments,
                crowded,
            } => tokio::select! {
                Some(attachment) = attachments.recv() => Some(attachment),
                Ok(()) = crowded.changed() => None,
                else => pending().await,
            },
        }
    }

    fn quitting(&mut self) {
        if let Self::Dial(redial) = self {
            redial.quitting();
        }
    }

    fn connected(&mut self) {
        if let Self::Dial(redial) = self {
            redial.connected();
        }
    }

    fn is_crowded(&self) -> bool {
        match self {
            Self::Dial(_) => false,
            Self::Accept { crowded, .. } => *crowded.borrow(),
        }
    }
}

async fn next<S>(wire: &mut Option<Wire<S>>) -> Result<Frame, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match wire {
        Some(wire) => wire.next().await,
        None => pending().await,
    }
}

/// Until its user can be told of the link again.
async fn room(events: &mpsc::Sender<Event>) {
    let _ = events.reserve_many(EVENTS_OF_A_TURN + 1).await;
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
