//! The library's face: a conversation is a value of the type of whoever
//! speaks next, and only [`MyTurn`] can [`say`](MyTurn::say).
//!
//! Speaking out of turn does not compile:
//!
//! ```compile_fail,E0599
//! # use turnchat::link::TheirTurn;
//! # use turnchat::protocol::Text;
//! async fn interrupt(turn: TheirTurn, text: Text) {
//!     turn.say(text).await; // no method named `say` found for struct `TheirTurn`
//! }
//! ```
//!
//! nor does speaking twice:
//!
//! ```compile_fail,E0382
//! # use turnchat::link::MyTurn;
//! # use turnchat::protocol::Text;
//! async fn monologue(turn: MyTurn, text: Text) {
//!     turn.say(text.clone()).await.unwrap();
//!     turn.say(text).await.unwrap(); // use of moved value: `turn`
//! }
//! ```
//!
//! nor listening when it is one's own turn to speak:
//!
//! ```compile_fail,E0599
//! # use turnchat::link::MyTurn;
//! async fn stare(turn: MyTurn) {
//!     turn.hear().await; // no method named `hear` found for struct `MyTurn`
//! }
//! ```

use tokio::sync::{mpsc, oneshot};

use super::error::{Cause, Ended, LinkError};
use super::session::{Command, EVENTS, Event, User};
use crate::protocol::{Conversation, ConversationId, Text};
use crate::trust::Peer;

/// A conversation that is on, at the side's turn that it is. An end is said,
/// never implied: a turn that is dropped cuts the connection, as a crash would.
///
/// ```
/// use turnchat::link::{Ended, Talk, Turn};
/// use turnchat::protocol::Text;
///
/// /// Answers everything with what was said.
/// async fn echo(talk: Talk) -> Result<(), Ended> {
///     let mut turn = talk.turn;
///     let mut answer = Text::new("Speak, and I repeat it.").unwrap();
///     loop {
///         turn = match turn {
///             Turn::Mine(mine) => Turn::Theirs(mine.say(answer.clone()).await?),
///             Turn::Theirs(theirs) => {
///                 let (heard, mine) = theirs.hear().await?;
///                 answer = heard;
///                 Turn::Mine(mine)
///             }
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Talk {
    /// With whom: a key that has been proven on this connection.
    pub peer: Peer,
    /// What both sides call this conversation.
    pub conversation: ConversationId,
    /// It goes on, after a restart of this side.
    pub is_resumed: bool,
    /// Of a resumed one, the last message heard and its turn, where it has not
    /// been answered: it may not have been seen before the restart.
    pub unanswered: Option<(u64, Text)>,
    /// Who speaks next.
    pub turn: Turn,
}

/// Who speaks next.
#[derive(Debug)]
pub enum Turn {
    /// This side.
    Mine(MyTurn),
    /// The other.
    Theirs(TheirTurn),
}

/// It is this side's turn: it can speak, once.
#[derive(Debug)]
pub struct MyTurn(Line);

/// It is the other's turn: this side can listen.
#[derive(Debug)]
pub struct TheirTurn(Line);

/// A client that has sent its `hello` and is not connected before `welcome`.
#[derive(Debug)]
pub struct Waiting {
    line: Line,
    greeted: Greeted,
}

/// What is known of a conversation before its first connection.
#[derive(Debug)]
struct Greeted {
    peer: Peer,
    conversation: ConversationId,
    is_resumed: bool,
    is_my_turn: bool,
    unanswered: Option<(u64, Text)>,
}

/// Something to know that changes nobody's turn. Whoever takes no notice for
/// long learns of the link how it is then, not how often it came and went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// So many are before us in the server's queue. 0: we are next, or a
    /// person is deciding about us.
    Waiting {
        /// How many.
        ahead: u64,
    },
    /// The peer holds our message of this turn.
    Delivered {
        /// Which turn.
        turn: u64,
    },
    /// The link is lost. The conversation is held: what is said now is kept,
    /// and said once there is a link.
    Lost,
    /// The link is back, and the conversation goes on where it was.
    Resumed,
}

impl Waiting {
    /// Waits for the `welcome`.
    ///
    /// # Errors
    /// [`Ended`] where there will be no conversation.
    pub async fn welcome(mut self) -> Result<Talk, Ended> {
        while self.notice().await.is_some() {}
        match self.line.outcome().await {
            Outcome::Connected => {
                self.line.awaits_welcome = false;
                Ok(self.greeted.talk(self.line))
            }
            Outcome::Heard { .. } => Err(self.line.lost_driver()),
            Outcome::Ended(over) => Err(over),
        }
    }

    /// The next thing to know while waiting; `None` once
    /// [`welcome`](Self::welcome) will answer at once. May be dropped at any
    /// time, and nothing is missed.
    pub async fn notice(&mut self) -> Option<Notice> {
        self.line.notice().await
    }

    /// Whether the link is lost, as far as [`notice`](Self::notice) has told.
    pub fn is_lost(&self) -> bool {
        self.line.is_lost
    }

    /// Gives the place up. [`welcome`](Self::welcome) then says how it ended.
    pub fn quit(&self) {
        self.line.quit();
    }

    /// Waits for the end of a conversation that only wants it told: welcomed
    /// or not, it is not let go of before.
    pub(super) async fn over(mut self) -> Ended {
        self.line.over().await
    }

    /// Who was met: a key that has been proven on this connection.
    pub fn peer(&self) -> &Peer {
        &self.greeted.peer
    }

    /// Of a conversation that goes on after a restart, the last message heard
    /// and its turn, where it has not been answered: it may not have been seen
    /// before, and a `welcome` may never come.
    pub fn unanswered(&self) -> Option<(u64, &Text)> {
        let unanswered = self.greeted.unanswered.as_ref();
        unanswered.map(|(turn, text)| (*turn, text))
    }

    /// Whether this is a conversation that goes on, after a restart.
    pub fn is_resuming(&self) -> bool {
        self.greeted.is_resumed
    }
}

impl MyTurn {
    /// The number of this turn.
    pub fn number(&self) -> u64 {
        self.0.turn
    }

    /// Says it, and the turn passes. It is kept and on its way when this
    /// returns, not yet with the peer: [`Notice::Delivered`] tells, or the
    /// peer's answer.
    ///
    /// # Errors
    /// [`Ended`]: the conversation has ended, and this was not said.
    pub async fn say(mut self, text: Text) -> Result<TheirTurn, Ended> {
        let (result, said) = oneshot::channel();
        let sent = self.0.commands.send(Command::Say(text, result)).await;
        if sent.is_ok() && matches!(said.await, Ok(Ok(()))) {
            self.0.turn += 1;
            return Ok(TheirTurn(self.0));
        }
        Err(self.0.over().await)
    }

    /// Ends the conversation here, and waits until the peer knows.
    pub async fn quit(mut self) -> Ended {
        self.0.quit();
        self.0.over().await
    }

    /// Ends the conversation here. [`TheirTurn::hear`] then says how it ended,
    /// and [`TheirTurn::notice`] what happens until then.
    pub fn leave(self) -> TheirTurn {
        self.0.quit();
        TheirTurn(self.0)
    }

    /// The next thing to know while thinking; `None` once the conversation is
    /// over, which [`say`](Self::say) and [`quit`](Self::quit) then explain.
    /// May be dropped at any time, and nothing is missed.
    pub async fn notice(&mut self) -> Option<Notice> {
        self.0.notice().await
    }
}

impl TheirTurn {
    /// The number of this turn.
    pub fn number(&self) -> u64 {
        self.0.turn
    }

    /// Waits for what the peer says; the turn passes.
    ///
    /// # Errors
    /// [`Ended`]: the conversation has ended.
    pub async fn hear(mut self) -> Result<(Text, MyTurn), Ended> {
        match self.0.outcome().await {
            Outcome::Heard { turn, text } => {
                self.0.turn = turn + 1;
                Ok((text, MyTurn(self.0)))
            }
            Outcome::Connected => Err(self.0.lost_driver()),
            Outcome::Ended(over) => Err(over),
        }
    }

    /// Ends the conversation, out of turn. [`hear`](Self::hear) then says how
    /// it ended.
    pub fn quit(&self) {
        self.0.quit();
    }

    /// Whether the link is lost, as far as [`notice`](Self::notice) has told.
    pub fn is_lost(&self) -> bool {
        self.0.is_lost
    }

    /// The next thing to know while listening; `None` once
    /// [`hear`](Self::hear) will answer at once. May be dropped at any time,
    /// and nothing is missed.
    pub async fn notice(&mut self) -> Option<Notice> {
        self.0.notice().await
    }
}

/// A user's ends of the channels to the driver.
#[derive(Debug)]
struct Line {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
    /// The turn that is on.
    turn: u64,
    awaits_welcome: bool,
    is_lost: bool,
    /// What was received and not yet taken.
    pending: Option<Outcome>,
}

/// What ends a wait.
#[derive(Debug)]
enum Outcome {
    Connected,
    Heard { turn: u64, text: Text },
    Ended(Ended),
}

impl Line {
    async fn notice(&mut self) -> Option<Notice> {
        while self.pending.is_none() {
            let event = self.events.recv().await;
            match event {
                Some(Event::Lost) => self.is_lost = true,
                Some(Event::Waiting { .. } | Event::Delivered { .. } | Event::Heard { .. }) => {}
                // It is there, or not needed any more.
                Some(Event::Connected | Event::Resumed | Event::Ended(_)) | None => {
                    self.is_lost = false;
                }
            }
            self.pending = match event {
                Some(Event::Waiting { ahead }) => return Some(Notice::Waiting { ahead }),
                Some(Event::Delivered { turn }) => return Some(Notice::Delivered { turn }),
                Some(Event::Lost) => return Some(Notice::Lost),
                Some(Event::Connected | Event::Resumed) if self.awaits_welcome => {
                    Some(Outcome::Connected)
                }
                Some(Event::Resumed) => return Some(Notice::Resumed),
                Some(Event::Connected) => None,
                Some(Event::Heard { turn, text }) => Some(Outcome::Heard { turn, text }),
                Some(Event::Ended(over)) => Some(Outcome::Ended(over)),
                None => Some(Outcome::Ended(self.lost_driver())),
            };
        }
        None
    }

    async fn outcome(&mut self) -> Outcome {
        loop {
            if let Some(outcome) = self.pending.take() {
                return outcome;
            }
            self.notice().await;
        }
    }

    async fn over(&mut self) -> Ended {
        loop {
            if let Outcome::Ended(over) = self.outcome().await {
                return over;
            }
        }
    }

    fn quit(&self) {
        // A full channel holds a quit already; a closed one has its end.
        let _ = self.commands.try_send(Command::Quit);
    }

    /// The driver is gone without a word: its runtime was shut down.
    fn lost_driver(&self) -> Ended {
        Ended {
            cause: Cause::Link(LinkError::Cut),
            turns: self.turn - 1,
            unacknowledged: None,
        }
    }
}

/// Joins a driver and its user.
fn join(conversation: &Conversation, awaits_welcome: bool) -> (User, Line) {
    let (commands_in, commands) = mpsc::channel(2);
    let (events, events_out) = mpsc::channel(EVENTS);
    let quitter = commands_in.downgrade();
    let line = Line {
        commands: commands_in,
        events: events_out,
        turn: conversation.next_turn(),
        awaits_welcome,
        is_lost: false,
        pending: None,
    };
    (
        User {
            commands,
            events,
            quitter,
            told_lost: false,
        },
        line,
    )
}

impl Greeted {
    fn new(peer: Peer, conversation: &Conversation, is_resumed: bool) -> Self {
        let is_my_turn = conversation.is_my_turn();
        let unanswered = conversation.last_heard().filter(|_| is_my_turn);
        Self {
            peer,
            conversation: conversation.id(),
            is_resumed,
            is_my_turn,
            unanswered: unanswered.map(|(turn, text)| (turn, text.clone())),
        }
    }

    fn talk(self, line: Line) -> Talk {
        Talk {
            peer: self.peer,
            conversation: self.conversation,
            is_resumed: self.is_resumed,
            unanswered: self.unanswered,
            turn: match self.is_my_turn {
                true => Turn::Mine(MyTurn(line)),
                false => Turn::Theirs(TheirTurn(line)),
            },
        }
    }
}

/// The server's side of a conversation that is about to be welcomed, or held.
pub(super) fn welcomed(peer: Peer, conversation: &Conversation) -> (User, Talk) {
    let (user, line) = join(conversation, false);
    let is_resumed = conversation.next_turn() > 1;
    (
        user,
        Greeted::new(peer, conversation, is_resumed).talk(line),
    )
}

/// The client's side of a conversation whose `hello` is about to go.
pub(super) fn greeting(
    peer: Peer,
    conversation: &Conversation,
    is_resumed: bool,
) -> (User, Waiting) {
    let (user, line) = join(conversation, true);
    let greeted = Greeted::new(peer, conversation, is_resumed);
    (user, Waiting { line, greeted })
}
