//! One side of a conversation: whatever the peer, the disk, the clock and the user do, and in
//! whatever order, the promises hold.
//!
//! Input: a role, a beginning, and a sequence of events.

use std::collections::BTreeSet;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use turnchat::internals::session::{Greeting, Output, Remains, Session, Timer};
use turnchat::internals::{Conversation, Frame, HeardWhen, Role, SayError, Snapshot, StoreError};
use turnchat::{Code, ConversationId, JournalError, KeyId, Limits, LinkError, Reason, Text};

const ID: [u8; 16] = [7; 16];

pub fn run(data: &[u8]) {
    let mut from = Unstructured::new(data);
    let Ok(Some(mut side)) = Side::begin(&mut from) else {
        return;
    };
    side.process();
    // Each event takes a byte at least.
    while !from.is_empty() && side.event(&mut from).is_ok() {
        side.process();
    }
    side.close_up();
}

/// A session, and what its driver, its peer and its user know.
struct Side {
    session: Session,
    role: Role,
    has_journal: bool,
    /// A connection that was handed over, and is not the link yet.
    is_arriving: bool,
    link: Option<Link>,
    /// The last frames are written, and the link is not closed yet.
    is_closing: bool,
    armed: BTreeSet<Timer>,
    dials: bool,
    /// What is on its way to the disk; `None` in it: the record is removed.
    storing: Option<Option<Snapshot>>,
    stored: Snapshot,
    /// Our highest turn that ever went out, or may have.

    /// Our highest turn that ever went out. A peer may lie, and have heard what never did.
    sent: u64,
    /// Our highest turn that the peer has acknowledged, as we were told.
    delivered: u64,
    /// The peer's highest turn that was handed over.
    handed: u64,
    /// The peer's highest turn that is safe: on the disk, or with its reader.
    safe: u64,
    /// The message that was handed over and is not taken.
    untaken: Option<u64>,
    has_last_put: bool,
    has_ended: bool,
    remains: Option<Remains>,
}

/// What went over one connection.
#[derive(Default)]
struct Link {
    said: Option<u64>,
    heard: Option<u64>,
    has_greeted: bool,
    has_quit: bool,
}

impl Side {
    fn begin(from: &mut Unstructured<'_>) -> Result<Option<Self>> {
        let role = match from.arbitrary()? {
            false => Role::Server,
            true => Role::Client,
        };
        let has_journal = from.arbitrary()?;
        let is_restored = has_journal && from.arbitrary()?;
        let id = ConversationId::from_bits(ID);
        let heard_when = match has_journal {
            true => HeardWhen::Stored,
            false => HeardWhen::Taken,
        };
        let conversation = match is_restored {
            false => Some(Conversation::new(role, id, heard_when)),
            true => Conversation::restore(role, snapshot(from, id)?),
        };
        let Some(conversation) = conversation else {
            return Ok(None);
        };
        let mut limits = Limits::default();
        if from.ratio(1, 4)? {
            limits.hold = Duration::ZERO;
        }
        let has_begun = is_restored && from.arbitrary()?;
        let stored = conversation.snapshot();
        let untaken = conversation.has_untaken().then_some(stored.heard);
        let mut session = Session::new(role, conversation, has_begun, has_journal, &limits);
        if role == Role::Server && is_restored {
            session.hold(from.int_in_range(0..=3)?);
        }
        Ok(Some(Self {
            session,
            role,
            has_journal,
            is_arriving: false,
            link: None,
            is_closing: false,
            armed: BTreeSet::new(),
            dials: false,
            storing: None,
            sent: stored.said,
            delivered: stored.acknowledged,
            handed: stored.heard,
            safe: stored.heard,
            untaken,
            stored,
            has_last_put: false,
            has_ended: false,
            remains: None,
        }))
    }

    fn event(&mut self, from: &mut Unstructured<'_>) -> Result<()> {
        match from.int_in_range(0..=19)? {
            0..=5 => self.receive(from)?,
            6 | 7 => self.say(from)?,
            8 | 9 => {
                self.session.taken();
                self.take();
            }
            10 => self.session.quit(),
            11 | 12 => self.connect(from)?,
            13 if self.link.is_some() => self.session.link_lost(error(from)?),
            14 | 15 if self.storing.is_some() => self.put(from)?,
            16 => {
                let timers: Vec<_> = self.armed.iter().copied().collect();
                if !timers.is_empty() {
                    let timer = *from.choose(&timers)?;
                    self.armed.remove(&timer);
                    self.session.fired(timer);
                }
            }
            17 => self.session.crowded(from.arbitrary()?),
            18 if self.is_closing => {
                self.is_closing = false;
                self.link = None;
                self.session.closed();
            }
            19 => match from.int_in_range(0..=5)? {
                0 => self.session.dropped(),
                1 => self.session.reader_failed(),
                2 if self.role == Role::Server => self.session.supersede(),
                3 if self.role == Role::Server => self.session.expel(),
                4 => while self.session.poll_notice().is_some() {},
                _ => _ = self.session.poll_place(),
            },
            _ => {}
        }
        Ok(())
    }

    /// A frame of the peer's, mostly one that fits.
    fn receive(&mut self, from: &mut Unstructured<'_>) -> Result<()> {
        // The driver does not read while something is being stored.
        if !self.session.has_link() || self.session.is_storing() || self.link.is_none() {
            return Ok(());
        }
        let conversation = self.session.conversation();
        let next = conversation.next_turn();
        let said = conversation.snapshot().said;
        let near = |from: &mut Unstructured<'_>, number: u64| -> Result<u64> {
            Ok(match from.int_in_range(0..=7)? {
                0 => number.saturating_sub(2),
                1 => number + 1,
                2 => number.saturating_sub(1),
                3 => from.int_in_range(0..=Frame::MAX_INTEGER)?,
                _ => number,
            })
        };
        let frame = match from.int_in_range(0..=11)? {
            0..=2 => Frame::Say {
                turn: near(from, next)?,
                text: text(from)?,
            },
            3 | 4 => Frame::Heard {
                turn: near(from, said)?,
            },
            5 => Frame::Quit {},
            6 => Frame::Wait {
                ahead: from.int_in_range(0..=3)?,
            },
            7 | 8 => Frame::Welcome {
                conversation: id(from)?,
                heard: near(from, said)?,
            },
            9 => Frame::Refuse {
                reason: reason(from)?,
            },
            10 => Frame::Hello {
                conversation: id(from)?,
                heard: near(from, said)?,
            },
            _ => from.choose(&[Frame::Ping {}, Frame::Pong {}])?.clone(),
        };
        self.session.receive(frame);
        Ok(())
    }

    fn say(&mut self, from: &mut Unstructured<'_>) -> Result<()> {
        let before = self.session.clone();
        let conversation = before.conversation();
        if conversation.has_untaken() && self.untaken.is_none() {
            // The turn comes with the message, which is not handed over yet.
            return Ok(());
        }
        let is_mine = conversation.is_my_turn();
        let said = self.session.say(text(from)?);
        match said {
            Ok(()) => {
                assert!(
                    is_mine && !conversation.has_quit() && before.is_on(),
                    "in its turn"
                );
                self.take();
            }
            Err(SayError::NotYourTurn) => {
                assert!(!is_mine);
                assert!(self.session == before, "what is refused changes nothing");
            }
            Err(SayError::Ended) => {
                // What it would have answered counts as taken.
                if is_mine && before.is_on() {
                    self.take();
                } else {
                    assert!(self.session == before, "what is refused changes nothing");
                }
            }
            Err(error) => panic!("{error}"),
        }
        Ok(())
    }

    /// The reader has the last message.
    fn take(&mut self) {
        if let Some(turn) = self.untaken.take()
            && !self.has_journal
        {
            self.safe = self.safe.max(turn);
        }
    }

    fn connect(&mut self, from: &mut Unstructured<'_>) -> Result<()> {
        if self.is_closing {
            return Ok(());
        }
        match self.role {
            Role::Client if self.link.is_none() => {
                if !self.session.is_on() {
                    return Ok(());
                }
                self.dials = false;
                match from.int_in_range(0..=4)? {
                    0 => self.session.dial_failed(None),
                    1 => self
                        .session
                        .dial_failed(Some(KeyId::of_spki(&[from.arbitrary()?]))),
                    _ => {
                        self.is_arriving = true;
                        self.session.connected();
                    }
                }
            }
            Role::Client => {}
            Role::Server => {
                let said = self.session.conversation().snapshot().said;
                let heard = match from.int_in_range(0..=5)? {
                    0 => said.saturating_sub(2),
                    1 => 0,
                    2 => from.int_in_range(0..=Frame::MAX_INTEGER)?,
                    _ => said,
                };
                let greeting = Greeting {
                    heard,
                    has_quit: from.ratio(1, 8)?,
                    clienthello: from.int_in_range(0..=9)?,
                };
                let before = self.session.clone();
                match self.session.accept(greeting) {
                    Ok(()) => self.is_arriving = true,
                    Err(_) => assert!(self.session == before, "what is refused changes nothing"),
                }
            }
        }
        Ok(())
    }

    /// What was on its way to the disk is there, or is not.
    fn put(&mut self, from: &mut Unstructured<'_>) -> Result<()> {
        let put = self.storing.take();
        let result = match from.int_in_range(0..=9)? {
            0 => Err(StoreError::TakenOver),
            1 => Err(failed()),
            _ => Ok(()),
        };
        self.stored(put.flatten(), result);
        Ok(())
    }

    fn stored(&mut self, put: Option<Snapshot>, result: std::result::Result<(), StoreError>) {
        if result.is_ok()
            && let Some(snapshot) = put
        {
            self.safe = self.safe.max(snapshot.heard);
            self.stored = snapshot;
        }
        self.session.stored(result);
    }

    /// Does what comes out, and holds it against the promises.
    fn process(&mut self) {
        for _ in 0..1_000 {
            let Some(output) = self.session.poll_output() else {
                return self.check();
            };
            assert!(self.remains.is_none(), "{output:?} comes behind the end");
            let depends = matches!(
                output,
                Output::Store { .. }
                    | Output::Remove
                    | Output::Send(_)
                    | Output::HandOver(_)
                    | Output::OnceTold(_)
                    | Output::Ended(_)
                    | Output::Done(_)
            );
            assert!(
                !depends || self.storing.is_none(),
                "{output:?} before what it depends on is stored"
            );
            match output {
                Output::Store { snapshot, .. } => {
                    assert!(self.has_journal);
                    assert_eq!(snapshot.id, ConversationId::from_bits(ID));
                    let restored = Conversation::restore(self.role, snapshot.clone());
                    assert!(restored.is_some(), "{snapshot:?} cannot be gone on with");
                    assert!(
                        snapshot.said >= self.stored.said && snapshot.heard >= self.stored.heard
                    );
                    self.storing = Some(Some(snapshot));
                }
                Output::Remove => {
                    assert!(self.has_journal);
                    self.storing = Some(None);
                }
                Output::Link => {
                    assert!(
                        std::mem::take(&mut self.is_arriving),
                        "there is a connection"
                    );
                    self.link = Some(Link::default());
                }
                Output::Send(frame) => self.send(&frame),
                Output::Close(last) => {
                    self.last(last.as_ref());
                    self.is_closing = true;
                }
                Output::CloseInBackground(last) => {
                    self.last(last.as_ref());
                    self.link = None;
                }
                Output::Cut => {
                    assert!(self.link.take().is_some(), "there is a link");
                }
                Output::Dial => {
                    assert_eq!(self.role, Role::Client);
                    self.dials = true;
                }
                Output::Arm(timer, _) => _ = self.armed.insert(timer),
                Output::Disarm(timer) => _ = self.armed.remove(&timer),
                Output::HandOver(message) => {
                    assert!(
                        !self.role.speaks_in(message.turn),
                        "{} is ours",
                        message.turn
                    );
                    // The next of the peer's, which is never handed over again.
                    let next = match self.handed {
                        0 => 1 + u64::from(self.role == Role::Server),
                        handed => handed + 2,
                    };
                    assert_eq!(message.turn, next, "each once, in order");
                    assert_eq!(self.untaken, None, "the one before is taken");
                    let is_stored = self.stored.heard == message.turn;
                    assert!(
                        is_stored || !self.has_journal,
                        "stored before it is handed over"
                    );
                    self.handed = message.turn;
                    self.untaken = Some(message.turn);
                }
                Output::OnceTold(_) => {
                    assert!(
                        self.has_journal && self.stored.quit,
                        "the end is stored first"
                    );
                    self.has_last_put = true;
                }
                Output::Ended(ended) => {
                    assert!(!self.has_ended, "it ends once");
                    assert!(
                        !self.has_last_put || ended.unacknowledged.is_some(),
                        "there is nothing to tell"
                    );
                    if let Some(message) = &ended.unacknowledged {
                        assert!(message.turn > self.delivered, "it was acknowledged");
                    }
                    self.has_ended = true;
                }
                Output::Done(remains) => {
                    assert!(self.has_ended && self.storing.is_none());
                    if let Remains::Parked(conversation) = &remains {
                        assert_eq!(self.role, Role::Server);
                        let snapshot = conversation.snapshot();
                        let known = self.delivered.min(self.sent);
                        assert!(
                            snapshot.said >= known,
                            "{snapshot:?}, but {known} is delivered"
                        );
                        assert!(!snapshot.quit, "an end is not parked");
                        assert!(
                            snapshot.heard >= self.safe,
                            "what was acknowledged stays heard"
                        );
                    }
                    self.remains = Some(remains);
                }
            }
        }
        panic!("it has no end");
    }

    fn send(&mut self, frame: &Frame) {
        let snapshot = self.session.conversation().snapshot();
        let link = self.link.as_mut().expect("only over a link");
        assert!(!link.has_quit, "{frame:?} behind a quit");
        let is_greeting = matches!(frame, Frame::Hello { .. } | Frame::Welcome { .. });
        assert_eq!(
            link.has_greeted, !is_greeting,
            "a greeting is the first, and comes once"
        );
        link.has_greeted = true;
        match frame {
            Frame::Hello {
                conversation,
                heard,
            }
            | Frame::Welcome {
                conversation,
                heard,
            } => {
                let is_server = matches!(frame, Frame::Welcome { .. });
                assert_eq!(is_server, self.role == Role::Server);
                assert_eq!(*conversation, ConversationId::from_bits(ID));
                assert!(*heard <= self.safe, "{frame:?}, but {} is safe", self.safe);
                // Nor is less than what was acknowledged ever counted.
                assert!(
                    *heard + 2 > self.safe,
                    "{frame:?}, but {} is safe",
                    self.safe
                );
                link.heard = Some(*heard);
            }
            Frame::Say { turn, text } => {
                assert!(self.role.speaks_in(*turn), "out of turn");
                assert!(*turn == snapshot.said && Some(text) == snapshot.last_said.as_ref());
                assert!(
                    link.said.is_none_or(|said| said + 2 == *turn),
                    "once on a link, in order"
                );
                assert!(turn - 1 <= self.safe, "it acknowledges what is not safe");
                if self.has_journal {
                    assert!(self.stored.said >= *turn, "sent before it is stored");
                }
                link.said = Some(*turn);
                self.sent = self.sent.max(*turn);
            }
            Frame::Heard { turn } => {
                assert!(!self.role.speaks_in(*turn));
                assert!(*turn <= self.safe, "{turn} is acknowledged, and not safe");
                link.heard = Some(*turn);
            }
            Frame::Quit {} => {
                assert!(snapshot.quit);
                assert!(
                    self.stored.quit || !self.has_journal,
                    "said before it is stored"
                );
                link.has_quit = true;
            }
            frame => panic!("{frame:?} is not a session's"),
        }
    }

    /// A connection is closed behind this frame.
    fn last(&self, last: Option<&Frame>) {
        assert!(self.link.is_some(), "there is a link");
        assert!(matches!(last, None | Some(Frame::Error { .. })), "{last:?}");
    }

    /// What holds whenever there is nothing to do.
    fn check(&mut self) {
        let snapshot = self.session.conversation().snapshot();
        assert!(snapshot.said.abs_diff(snapshot.heard) <= 2);
        assert!(snapshot.acknowledged <= snapshot.said);
        assert!(
            snapshot.acknowledged >= self.delivered,
            "what is delivered stays so"
        );
        self.delivered = snapshot.acknowledged;
        assert!(!self.session.has_link() || self.link.is_some());
        if !self.session.is_on() && !self.session.is_storing() && self.remains.is_none() {
            let waits = self.is_closing || self.session.awaits_taking();
            assert!(waits, "it ends: {:?}", self.session);
        }
        let size = format!("{:?}", self.session).len();
        assert!(size < 20_000, "{size} bytes of state");
    }

    /// Whatever has happened, it comes to an end once its user goes, and nobody answers.
    fn close_up(mut self) {
        self.session.dropped();
        for _ in 0..20 {
            self.process();
            if self.remains.is_some() {
                return assert_eq!(self.session.poll_output(), None);
            }
            if let Some(put) = self.storing.take() {
                self.stored(put, Ok(()));
            } else if std::mem::take(&mut self.is_closing) {
                self.link = None;
                self.session.closed();
            } else {
                self.session.taken();
                self.take();
            }
        }
        panic!("it does not end: {:?}", self.session);
    }
}

fn snapshot(from: &mut Unstructured<'_>, id: ConversationId) -> Result<Snapshot> {
    let said = match from.ratio(1, 16)? {
        // As far as any input goes on, all can still be counted.
        true => Frame::MAX_INTEGER - 5_000 - from.int_in_range(0..=3)?,
        false => from.int_in_range(0..=5)?,
    };
    let heard = (said + 1).saturating_sub(from.int_in_range(0..=2)?);
    let quit = from.ratio(1, 4)?;
    let has_texts = !quit || from.arbitrary()?;
    let last =
        |turn: u64| Some(Text::new("last").expect("short")).filter(|_| turn > 0 && has_texts);
    Ok(Snapshot {
        id,
        said,
        heard,
        acknowledged: match from.arbitrary()? {
            true => said,
            false => said.saturating_sub(2),
        },
        last_said: last(said),
        last_heard: last(heard),
        quit,
    })
}

fn text(from: &mut Unstructured<'_>) -> Result<Text> {
    let words = ["", "Hello", "QUIT", "a\nb\u{0}"];
    Ok(Text::new(*from.choose(&words)?).expect("short"))
}

fn id(from: &mut Unstructured<'_>) -> Result<ConversationId> {
    Ok(ConversationId::from_bits(match from.ratio(1, 16)? {
        true => [8; 16],
        false => ID,
    }))
}

fn reason(from: &mut Unstructured<'_>) -> Result<Reason> {
    from.choose(&[
        Reason::UnknownPeer,
        Reason::Declined,
        Reason::Busy,
        Reason::NoAnswer,
        Reason::AskedTooOften,
        Reason::Closing,
        Reason::Ended,
    ])
    .copied()
}

fn failed() -> StoreError {
    StoreError::Failed(JournalError::Damaged {
        path: "record".into(),
    })
}

fn error(from: &mut Unstructured<'_>) -> Result<LinkError> {
    let reported = |code| LinkError::Reported { code, detail: None };
    Ok(match from.int_in_range(0..=6)? {
        0 => reported(Code::Replaced),
        1 => reported(Code::Internal),
        2 => reported(Code::ProtocolError),
        3 => reported(Code::Timeout),
        _ => LinkError::Cut,
    })
}
