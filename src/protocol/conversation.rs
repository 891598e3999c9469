//! [`Conversation`]: whose turn it is, what was said and heard, and what to send (PROTOCOL §3
//! and §4). It has no clock and no connection: `ping`, `pong` and deadlines belong to
//! [`Liveness`](super::Liveness), and an `error` frame ends a connection, not a conversation.

mod terms;

use std::collections::VecDeque;

use super::conversation_id::ConversationId;
use super::frame::{Frame, Reason};
use super::text::{Message, Text};
use super::violation::Violation;

pub use terms::{By, End, HeardWhen, Output, Role, SayError, Snapshot};

/// One side of a conversation.
///
/// ```text
///            connect / accept            welcome
///  Detached ──────────────────▶ Greeting ───────▶ Open ──▶ Ended
///      ▲     (a server is Open at once)            │
///      └──────────────── detach ───────────────────┘
/// ```
///
/// Calls and frames go in; the driver's next steps come out of
/// [`poll_output`](Self::poll_output), in order. A refused call changes nothing.
///
/// ```
/// use turnchat::internals::{Conversation, Frame, HeardWhen, Output, Role};
/// use turnchat::{ConversationId, Text};
///
/// let id = ConversationId::from_bits([7; 16]);
/// let mut server = Conversation::new(Role::Server, id, HeardWhen::Taken);
/// server.accept(0)?;
/// server.say(Text::new("Hello, client!").unwrap()).unwrap();
/// assert!(server.say(Text::new("And another thing").unwrap()).is_err());
///
/// let mut sent = Vec::new();
/// while let Some(output) = server.poll_output() {
///     match output {
///         Output::Send(frame) => sent.push(frame.kind()),
///         Output::Store(_) => server.stored(),
///         _ => {}
///     }
/// }
/// assert_eq!(sent, ["welcome", "say"]);
/// # Ok::<(), turnchat::Violation>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conversation {
    role: Role,
    record: Snapshot,
    phase: Phase,
    heard_when: HeardWhen,
    /// The turn of the message that was handed over but not taken yet.
    untaken: Option<u64>,
    /// The turn that the peer may say again on this connection: our `hello` or `welcome` did
    /// not count it, because it was not taken yet.
    repeat: Option<u64>,
    /// The peer has quit. We answer once its last message is taken.
    owes_quit: bool,
    /// Our `quit` was sent on this connection.
    quit_sent: bool,
    /// It was on an earlier one, and may have come.
    quit_was_sent: bool,
    outputs: VecDeque<Output>,
    /// An [`Output::Store`] is not known to be done.
    storing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Detached,
    /// The client has sent `hello`. `is_queued`: the server answered with `wait`.
    Greeting {
        is_queued: bool,
    },
    Open,
    Ended,
}

impl Conversation {
    /// A new conversation, without a connection yet.
    pub fn new(role: Role, id: ConversationId, heard_when: HeardWhen) -> Self {
        Self {
            role,
            heard_when,
            untaken: None,
            repeat: None,
            owes_quit: false,
            record: Snapshot {
                id,
                said: 0,
                heard: 0,
                acknowledged: 0,
                last_said: None,
                last_heard: None,
                quit: false,
            },
            phase: Phase::Detached,
            quit_sent: false,
            quit_was_sent: false,
            outputs: VecDeque::new(),
            storing: false,
        }
    }

    /// A stored conversation to continue, without a connection yet. `None` if the snapshot is
    /// impossible for this role.
    pub fn restore(role: Role, record: Snapshot) -> Option<Self> {
        let Snapshot {
            said,
            heard,
            acknowledged,
            ..
        } = record;
        let mut conversation = Self::new(role, record.id, HeardWhen::Stored);
        conversation.untaken = Some(heard).filter(|_| heard > said && record.last_heard.is_some());
        conversation.record = record;
        let Snapshot {
            last_said,
            last_heard,
            ..
        } = &conversation.record;
        let stands = said.max(heard) < Frame::MAX_INTEGER
            && said.abs_diff(heard) <= 1
            && (said == 0 || role.speaks_in(said))
            && (heard == 0 || !role.speaks_in(heard))
            // Who has answered has heard what was answered (PROTOCOL 3.7).
            && (acknowledged == said || (acknowledged == said.saturating_sub(2) && heard < said))
            && (conversation.record.quit
                || ((said > 0) == last_said.is_some() && (heard > 0) == last_heard.is_some()));
        stands.then_some(conversation)
    }

    /// Which conversation this is.
    pub fn id(&self) -> ConversationId {
        self.record.id
    }

    /// The last message heard, and its turn.
    pub fn last_heard(&self) -> Option<Message> {
        let Snapshot {
            heard, last_heard, ..
        } = &self.record;
        last_heard.clone().map(|text| Message::new(*heard, text))
    }

    /// Whether a message from the peer waits to be taken. Its record must be kept until then.
    pub fn has_untaken(&self) -> bool {
        self.untaken.is_some()
    }

    /// Whether a `hello` would say that nothing was heard although the first message is in
    /// hand. A server that had forgotten the conversation would take that `hello` for a new
    /// one.
    pub fn looks_new(&self) -> bool {
        self.record.heard == 0 && self.has_untaken()
    }

    /// Whether the peer has quit and waits for its last message to be taken.
    pub fn owes_quit(&self) -> bool {
        self.owes_quit
    }

    /// Whether this side wants the end, or has it.
    pub fn has_quit(&self) -> bool {
        self.record.quit
    }

    /// Whether it has ended; nothing changes it any more.
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// The number of the turn that is to be said next.
    pub fn next_turn(&self) -> u64 {
        self.record.said.max(self.handed_over()) + 1
    }

    /// Whether this side speaks next.
    pub fn is_my_turn(&self) -> bool {
        self.role.speaks_in(self.next_turn())
    }

    /// Whether the peer is known to hold a message of ours. If so, it cannot take this
    /// conversation for a new one.
    pub fn is_acknowledged(&self) -> bool {
        self.record.acknowledged > 0
    }

    /// What is needed to remember the end: no message texts.
    pub fn tombstone(&self) -> Snapshot {
        Snapshot {
            quit: true,
            last_said: None,
            last_heard: None,
            ..self.record.clone()
        }
    }

    /// What is needed to continue it.
    pub fn snapshot(&self) -> Snapshot {
        self.record.clone()
    }

    /// The end of this conversation, if it ended now.
    pub fn end(&self, by: By) -> End {
        let Snapshot {
            said,
            acknowledged,
            last_said,
            ..
        } = &self.record;
        End {
            by,
            turns: self.next_turn() - 1,
            unacknowledged: last_said
                .clone()
                .filter(|_| said > acknowledged)
                .map(|text| Message::new(*said, text)),
        }
    }

    /// The client has a new connection: greet (PROTOCOL 3.2 and 4.3).
    pub fn connect(&mut self) {
        self.detach();
        self.repeat = self.uncounted();
        self.phase = Phase::Greeting { is_queued: false };
        self.store();
        self.send(Frame::Hello {
            conversation: self.record.id,
            heard: self.record.heard,
        });
    }

    /// The server has a new connection, whose `hello` named this conversation
    /// and had this `heard`: welcome it.
    ///
    /// # Errors
    /// [`Violation::Counters`] if `heard` is impossible; nothing changes then.
    pub fn accept(&mut self, heard: u64) -> Result<(), Violation> {
        self.check_counters(heard)?;
        self.detach();
        self.repeat = self.uncounted();
        self.send(Frame::Welcome {
            conversation: self.record.id,
            heard: self.record.heard,
        });
        self.open(heard);
        Ok(())
    }

    /// The connection is gone. Frames not sent yet are dropped, and so is a pending
    /// [`Output::Connected`]; messages already heard are still delivered.
    pub fn detach(&mut self) {
        // Outputs that wait behind a store are out of date.
        let is_of_the_connection = |output: &Output| {
            matches!(
                output,
                Output::Send(_) | Output::Connected | Output::Waiting { .. }
            )
        };
        let quit = Output::Send(Frame::Quit {});
        self.quit_was_sent |= self.quit_sent && !self.outputs.contains(&quit);
        self.quit_sent = false;
        self.outputs.retain(|output| !is_of_the_connection(output));
        // The peer says or quits again on the next connection.
        (self.repeat, self.owes_quit) = (None, false);
        if self.phase != Phase::Ended {
            self.phase = Phase::Detached;
        }
    }

    /// The reader has taken the last message, which need not be handed over again. A second
    /// call does nothing.
    pub fn taken(&mut self) {
        let Some(turn) = self.untaken.take() else {
            return;
        };
        if self.heard_when == HeardWhen::Taken {
            self.record.heard = turn;
            if self.phase == Phase::Open && !self.quit_sent {
                self.send(Frame::Heard { turn });
            }
        }
        if self.owes_quit {
            self.answer_quit();
        }
    }

    /// Says a message; the turn passes. Without a connection it is kept, and sent on the next
    /// one. The message that it answers counts as [`taken`](Self::taken).
    ///
    /// # Errors
    /// A [`SayError`]; nothing is said then.
    pub fn say(&mut self, text: Text) -> Result<(), SayError> {
        if self.phase == Phase::Ended || self.record.quit {
            return Err(SayError::Ended);
        }
        if !self.is_my_turn() {
            return Err(SayError::NotYourTurn);
        }
        self.taken();
        if self.phase == Phase::Ended {
            return Err(SayError::Ended);
        }
        let turn = self.next_turn();
        self.record.said = turn;
        self.record.last_said = Some(text.clone());
        self.store();
        if self.phase == Phase::Open {
            self.send(Frame::Say { turn, text });
        }
        Ok(())
    }

    /// Ends the conversation, in or out of turn (PROTOCOL 3.8). It is over once the peer has
    /// quit too. A second call does nothing.
    pub fn quit(&mut self) {
        if self.phase == Phase::Ended || self.record.quit {
            return;
        }
        if self.owes_quit {
            return self.answer_quit();
        }
        self.end_record();
        let is_behind = self.record.said > self.record.acknowledged;
        match self.phase {
            // An earlier message goes first, unless we are in the queue (PROTOCOL 4.9).
            Phase::Greeting { is_queued: false } if is_behind => {}
            Phase::Greeting { .. } | Phase::Open => self.send_quit(),
            Phase::Detached | Phase::Ended => {}
        }
    }

    /// A frame has come.
    ///
    /// # Errors
    /// A [`Violation`]; nothing changes then, and the connection cannot go on.
    pub fn receive(&mut self, frame: Frame) -> Result<(), Violation> {
        match self.phase {
            Phase::Ended | Phase::Detached => Ok(()),
            Phase::Greeting { .. } | Phase::Open if self.quit_sent => {
                self.receive_after_quit(&frame);
                Ok(())
            }
            Phase::Greeting { .. } => self.receive_greeting(frame),
            Phase::Open => self.receive_open(frame),
        }
    }

    /// The last [`Output::Store`] is done.
    pub fn stored(&mut self) {
        self.storing = false;
    }

    /// Frees the memory that much to do at once needed.
    pub fn shrink(&mut self) {
        self.outputs.shrink_to_fit();
    }

    /// The next thing to do. `None` if there is nothing, or the last [`Output::Store`] is not
    /// [`stored`](Self::stored) yet.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.storing {
            return None;
        }
        let output = self.outputs.pop_front();
        self.storing = matches!(output, Some(Output::Store(_)));
        output
    }

    fn receive_greeting(&mut self, frame: Frame) -> Result<(), Violation> {
        match frame {
            Frame::Wait { ahead } => {
                self.phase = Phase::Greeting { is_queued: true };
                self.outputs.push_back(Output::Waiting { ahead });
                if self.record.quit {
                    self.send_quit();
                }
            }
            Frame::Welcome {
                conversation,
                heard,
            } => {
                if conversation != self.record.id {
                    return Err(Violation::OtherConversation);
                }
                self.check_counters(heard)?;
                self.open(heard);
            }
            // After our `quit` it acknowledges that (PROTOCOL 3.11).
            Frame::Refuse {
                reason: Reason::Ended,
            } => self.over(match self.quit_was_sent {
                true => By::Me,
                false => By::Peer,
            }),
            Frame::Refuse { reason } => self.over(By::Refused(reason)),
            other => return Err(out_of_place(&other, "before `welcome`")),
        }
        Ok(())
    }

    fn receive_open(&mut self, frame: Frame) -> Result<(), Violation> {
        match frame {
            Frame::Say { turn, .. } if Some(turn) == self.repeat => self.repeat = None,
            Frame::Say { turn, text } => {
                if self.is_my_turn() || turn != self.next_turn() {
                    let next = self.next_turn() + u64::from(self.is_my_turn());
                    return Err(Violation::OutOfTurn { turn, next });
                }
                self.acknowledged();
                self.untaken = Some(turn);
                if self.heard_when == HeardWhen::Stored {
                    self.record.heard = turn;
                    self.record.last_heard = Some(text.clone());
                    self.store();
                    self.send(Frame::Heard { turn });
                }
                self.outputs
                    .push_back(Output::HandOver(Message::new(turn, text)));
            }
            Frame::Heard { turn } => {
                let said = self.record.said;
                if turn != said || said == 0 {
                    return Err(Violation::HeardWhatWasNotSaid { turn, said });
                }
                self.acknowledged();
            }
            Frame::Quit {} if self.has_untaken() => self.owes_quit = true,
            Frame::Quit {} => self.answer_quit(),
            other => return Err(out_of_place(&other, "in an open conversation")),
        }
        Ok(())
    }

    /// After our `quit` only acknowledgements count (PROTOCOL 3.11).
    fn receive_after_quit(&mut self, frame: &Frame) {
        match frame {
            Frame::Heard { turn } if *turn == self.record.said => self.acknowledged(),
            Frame::Quit {}
            | Frame::Refuse {
                reason: Reason::Ended,
            } => self.over(By::Me),
            _ => {}
        }
    }

    /// Let s and r be the highest turns said and heard here. The peer has heard s, or
    /// everything before it; it has said r, or one turn more (PROTOCOL 4.4).
    pub(crate) fn check_counters(&self, theirs: u64) -> Result<(), Violation> {
        let (said, heard) = (self.record.said, self.handed_over());
        let all_but_the_last = said.saturating_sub(2);
        if (theirs == said || theirs == all_but_the_last) && theirs + 1 >= heard {
            return Ok(());
        }
        Err(Violation::Counters {
            theirs,
            said,
            heard,
        })
    }

    fn open(&mut self, heard: u64) {
        self.phase = Phase::Open;
        self.outputs.push_back(Output::Connected);
        if self.repeat == Some(self.record.heard) {
            // The message was taken after our `hello` went out.
            self.send(Frame::Heard {
                turn: self.record.heard,
            });
        }
        let turn = self.record.said;
        // PROTOCOL 4.5, and then 4.9.
        if heard == turn {
            self.acknowledged();
        } else if let Some(text) = self.record.last_said.clone() {
            self.send(Frame::Say { turn, text });
        }
        if self.record.quit {
            self.send_quit();
        }
    }

    fn acknowledged(&mut self) {
        let turn = self.record.said;
        if self.record.acknowledged < turn {
            self.record.acknowledged = turn;
            self.outputs.push_back(Output::Delivered { turn });
        }
    }

    fn over(&mut self, by: By) {
        self.phase = Phase::Ended;
        self.outputs.push_back(Output::Ended(self.end(by)));
    }

    /// The peer has quit: that is the end (PROTOCOL 3.9).
    fn answer_quit(&mut self) {
        self.owes_quit = false;
        self.end_record();
        self.send(Frame::Quit {});
        self.over(By::Peer);
    }

    fn end_record(&mut self) {
        self.record.quit = true;
        if !self.has_untaken() {
            // After a restart there is no message to hand over again, only the end.
            self.record.last_heard = None;
        }
        self.store();
    }

    /// The peer's highest turn that was handed over, taken or not.
    fn handed_over(&self) -> u64 {
        self.untaken.unwrap_or(0).max(self.record.heard)
    }

    /// The turn that a `hello` or `welcome` sent now does not count (PROTOCOL 4.6).
    fn uncounted(&self) -> Option<u64> {
        self.untaken.filter(|turn| *turn > self.record.heard)
    }

    fn send_quit(&mut self) {
        self.quit_sent = true;
        self.send(Frame::Quit {});
    }

    fn send(&mut self, frame: Frame) {
        self.outputs.push_back(Output::Send(frame));
    }

    fn store(&mut self) {
        let record = self.record.clone();
        match self.outputs.back_mut() {
            // One that waits behind another store, with nothing to be done after it.
            Some(Output::Store(waiting)) => *waiting = record,
            _ => self.outputs.push_back(Output::Store(record)),
        }
    }
}

fn out_of_place(frame: &Frame, phase: &'static str) -> Violation {
    Violation::OutOfPlace {
        kind: frame.kind(),
        phase,
    }
}
