//! [`Session`]: one side of one conversation over its connections, one after another
//! (PROTOCOL §3 and §4). Pure: commands, frames, and the results of stores, links and timers
//! go in; what to do comes out of [`poll_output`](Session::poll_output), in order. It holds no
//! instants, no sockets and no tasks: the driver feeds it, and so does the model checker in
//! tests/model.
//!
//! Here is what its user, its store and the server's hub say to it, and what comes out. What
//! becomes of its links, how it ends, and what its user is told are files below.

mod ending;
mod links;
mod notices;
mod pace;
mod terms;

use std::collections::VecDeque;
use std::time::Duration;

use super::error::{Cause, Ended, LinkError};
use super::store::StoreError;
use crate::protocol::{
    By, Conversation, Limits, Output as Step, Reason, Role, SayError, Snapshot, Text,
};

use pace::{CUT_PARTS, NOTICES, Pace};

pub(super) use pace::FEW_REDIALS;
pub use terms::{Greeting, LastPut, NotAccepted, Notice, Output, REPLACED, Remains, Timer};

/// One side of one conversation, to its end.
///
/// ```text
///   new ──▶ connected / accept / hold ──▶ on: linked ⇄ lost ──▶ closing ──▶ storing ──▶ done
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    conversation: Conversation,
    role: Role,
    times: Times,
    has_journal: bool,
    phase: Phase,
    /// There is a connection, whether the peer has welcomed us on it or not.
    has_link: bool,
    /// Why the link was lost, until it is back.
    lost: Option<LinkError>,
    /// The conversation has been on, so a lost link does not end it.
    has_begun: bool,
    /// It has been on in the life of this session.
    is_welcomed: bool,
    /// A client's: it has had a place in the server's queue.
    is_queued: bool,
    /// A server's: when the ClientHello of its newest connection came.
    newest: u64,
    pace: Pace,
    /// A client's: how many of [`FEW_REDIALS`] it has made.
    few_redials: usize,
    is_redial_armed: bool,
    /// A redial waits for the first message to be taken.
    owes_redial: bool,
    is_crowded: bool,
    is_quitting: bool,
    /// Over for one side, whatever the link does: it is not parked.
    given_up_by: Option<By>,
    /// What is stored, and what is on its way there.
    stored: Snapshot,
    storing: Option<Snapshot>,
    has_failed_to_store: bool,
    /// Somebody else has its record.
    is_taken_over: bool,
    /// A message was handed over, or read from the record, but not taken.
    has_untaken: bool,
    outputs: VecDeque<Output>,
    news: News,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Times {
    hold: Duration,
    /// One of the [parts](CUT_PARTS) of the crowded hold.
    crowded_part: Duration,
    quit: Duration,
    crowded_quit: Duration,
    first_answer: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    On,
    /// The last frames are on their way.
    Closing(Box<Ending>),
    /// What the record has to say before the end is told is on its way there.
    Storing(Box<Last>),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ending {
    ended: Ended,
    /// It can go on, if there is a journal.
    is_parked: bool,
    /// The user dropped it without `quit`, as a crash would.
    is_dropped: bool,
}

/// The last that a session says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Last {
    ended: Ended,
    once_told: Option<LastPut>,
    remains: Remains,
}

/// What the user was not told yet. Of a state that changes often, only the last is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct News {
    waiting: Option<u64>,
    delivered: Option<u64>,
    told_lost: bool,
    /// What keeps the link from coming back.
    hindrance: Option<Notice>,
}

impl Session {
    /// A session for this conversation, without a connection yet:
    /// [`connected`](Self::connected), [`accept`](Self::accept) or
    /// [`hold`](Self::hold) comes next. `has_begun`: it was on before.
    pub fn new(
        role: Role,
        conversation: Conversation,
        has_begun: bool,
        has_journal: bool,
        limits: &Limits,
    ) -> Self {
        let mut session = Self {
            role,
            times: Times {
                hold: limits.hold,
                crowded_part: limits.hold.min(limits.crowded_hold) / CUT_PARTS,
                quit: limits.quit,
                crowded_quit: limits.quit.min(limits.crowded_quit),
                first_answer: limits.first_answer,
            },
            has_journal,
            phase: Phase::On,
            has_link: false,
            lost: None,
            has_begun,
            is_welcomed: false,
            is_queued: false,
            newest: 0,
            pace: Pace::default(),
            few_redials: 0,
            is_redial_armed: false,
            owes_redial: false,
            is_crowded: false,
            is_quitting: false,
            given_up_by: None,
            stored: conversation.snapshot(),
            storing: None,
            has_failed_to_store: false,
            is_taken_over: false,
            has_untaken: conversation.has_untaken(),
            outputs: VecDeque::new(),
            news: News::default(),
            conversation,
        };
        if session.conversation.has_quit() {
            session.begin_quitting();
        }
        session
    }

    /// The conversation, as it stands.
    pub fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Whether the conversation is on: neither ended nor given up.
    pub fn is_on(&self) -> bool {
        matches!(self.phase, Phase::On)
    }

    /// Whether this is the server's side.
    pub(super) fn is_server(&self) -> bool {
        self.role == Role::Server
    }

    /// Whether it is over, and its record final.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    /// Whether there is a link that may be read.
    pub fn has_link(&self) -> bool {
        self.is_on() && self.has_link
    }

    /// Whether the link is lost, and not back yet.
    pub fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Whether the conversation has been on in the life of this session.
    pub fn is_welcomed(&self) -> bool {
        self.is_welcomed
    }

    /// Whether this side has quit and waits for the acknowledgement.
    pub fn is_quitting(&self) -> bool {
        self.is_quitting
    }

    /// Whether something is being stored.
    pub fn is_storing(&self) -> bool {
        self.storing.is_some()
    }

    /// Whether something that the conversation depends on could not be stored.
    pub fn has_failed_to_store(&self) -> bool {
        self.has_failed_to_store || self.is_taken_over
    }

    // What its user wants.

    /// The user has taken the last message. A second call does nothing.
    pub fn taken(&mut self) {
        if std::mem::take(&mut self.has_untaken) {
            if self.conversation.owes_quit() {
                if !self.is_done() {
                    self.outputs.push_back(Output::Disarm(Timer::Taking));
                }
                if !self.is_on() {
                    // Told as one that can go on: the peer quits again then (PROTOCOL 4.9).
                    self.conversation.detach();
                }
            }
            self.conversation.taken();
            if std::mem::take(&mut self.owes_redial) && self.is_on() {
                self.redial();
            }
        }
    }

    /// Says a message; the turn passes. Without a link it is kept. The message that it answers
    /// counts as [`taken`](Self::taken).
    ///
    /// # Errors
    /// A [`SayError`]; nothing is said then.
    pub fn say(&mut self, text: Text) -> Result<(), SayError> {
        match self.phase {
            Phase::On => {
                if self.conversation.is_my_turn() {
                    self.taken();
                }
                self.conversation.say(text)
            }
            Phase::Closing(_) | Phase::Storing(_) | Phase::Done => Err(SayError::Ended),
        }
    }

    /// Ends the conversation, in or out of turn.
    pub fn quit(&mut self) {
        if self.is_on() {
            self.begin_quitting();
            self.conversation.quit();
        }
    }

    /// The user dropped the conversation: as after a crash, the link is cut, and the record
    /// stays as it is.
    pub fn dropped(&mut self) {
        match &mut self.phase {
            Phase::On => self.fail(LinkError::Cut, true),
            // The record keeps a message that was not taken.
            Phase::Closing(ending) => ending.is_dropped |= self.has_untaken,
            Phase::Storing(_) | Phase::Done => {}
        }
    }

    /// The user cannot take messages. This is like a crash, but without a journal the
    /// conversation cannot continue, and the peer is told so.
    pub fn reader_failed(&mut self) {
        match self.is_on() && !self.has_journal {
            true => self.fail(LinkError::ReaderFailed, true),
            false => self.dropped(),
        }
    }

    // What the server's hub says.

    /// The peer has begun another conversation: this one is over for it, and
    /// is not parked (PROTOCOL 4.30).
    pub fn supersede(&mut self) {
        self.over_for(By::Peer);
    }

    /// The peer is not admitted any more: this one is over at once, and is not parked. Where
    /// there is a link the peer is told with a `quit`; nobody waits for its answer.
    pub fn expel(&mut self) {
        self.over_for(By::Me);
    }

    fn over_for(&mut self, side: By) {
        if self.given_up_by.replace(side).is_none() && self.is_on() {
            self.conversation.quit();
        }
    }

    /// Whether it matters to it that somebody waits for its place.
    pub(super) fn minds_crowd(&self) -> bool {
        self.is_on() && (self.is_lost() || self.is_quitting)
    }

    /// Whether somebody waits for this conversation's place.
    pub fn crowded(&mut self, is_crowded: bool) {
        let was_crowded = std::mem::replace(&mut self.is_crowded, is_crowded);
        if !self.is_on() || !is_crowded {
            return;
        }
        if self.is_quitting && !was_crowded {
            self.hurry_quit();
        }
        if self.is_lost() && self.pace.is_cut_for_long() {
            self.give_up();
        }
    }

    // What becomes of stores and timers.

    /// The last [`Output::Store`] or [`Output::Remove`] is done, or has failed.
    ///
    /// If somebody else has taken over, nothing is said and nothing kept here any more.
    pub fn stored(&mut self, result: Result<(), StoreError>) {
        let Some(snapshot) = self.storing.take() else {
            return;
        };
        match result {
            Ok(()) => {
                self.stored = snapshot;
                if self.is_on() {
                    self.conversation.stored();
                }
            }
            Err(StoreError::TakenOver) => self.taken_over(),
            Err(error) => match &mut self.phase {
                // The end was stored before it was said, and what is stored is
                // enough to go on.
                Phase::Storing(_) if self.stored.quit => {}
                // A hold of zero has ended it. That is not stored, so it has not ended.
                Phase::Storing(last) => {
                    last.once_told = None;
                    if self.role == Role::Server {
                        self.has_failed_to_store = true;
                        last.ended.cause = LinkError::from(error).into();
                        let stored = Conversation::restore(Role::Server, self.stored.clone());
                        if let Some(parked) = stored {
                            last.remains = Remains::Parked(Box::new(parked));
                        }
                    }
                }
                Phase::Done => {}
                Phase::On => {
                    self.has_failed_to_store = true;
                    self.fail(error.into(), false);
                }
                Phase::Closing(ending) => {
                    self.has_failed_to_store = true;
                    ending.ended.cause = LinkError::from(error).into();
                }
            },
        }
    }

    /// Somebody else goes on with it, as its record says: nothing is said and nothing kept here
    /// any more.
    pub fn taken_over(&mut self) {
        self.is_taken_over = true;
        match &mut self.phase {
            Phase::On => self.fail(LinkError::TakenOver, false),
            Phase::Closing(ending) => ending.ended.cause = LinkError::TakenOver.into(),
            Phase::Storing(last) => {
                (last.once_told, last.remains) = (None, Remains::Nothing);
                if let Cause::Link(_) = last.ended.cause {
                    last.ended.cause = LinkError::TakenOver.into();
                }
            }
            Phase::Done => {}
        }
    }

    /// A timer that was armed has fired.
    pub fn fired(&mut self, timer: Timer) {
        if !self.is_on() || self.conversation.has_ended() {
            return;
        }
        match timer {
            Timer::Hold | Timer::Quit => self.give_up(),
            Timer::CrowdedHold => self.count_cut_time(),
            Timer::CrowdedQuit if self.is_crowded => self.give_up(),
            Timer::CrowdedQuit => {}
            Timer::Taking if self.conversation.owes_quit() => self.link_lost(LinkError::Cut),
            Timer::Taking => {}
            Timer::Notices => {
                self.pace.notices = (self.pace.notices + 1).min(NOTICES);
                if self.pace.notices < NOTICES {
                    self.arm_notices();
                }
            }
            Timer::Redial => {
                self.is_redial_armed = false;
                self.outputs.push_back(Output::Dial);
            }
        }
    }

    // What comes out.

    /// The next thing to do. `None` until something else has gone in.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if self.is_storing() {
                return None;
            }
            match &self.phase {
                Phase::On => match self.conversation.poll_output() {
                    Some(step) => {
                        if let Some(output) = self.take_step(step) {
                            return Some(output);
                        }
                    }
                    None => match self.given_up_by {
                        Some(side) => self.end_given_up(side),
                        None => return None,
                    },
                },
                Phase::Closing(_) if self.has_link => return None,
                Phase::Closing(_) if self.awaits_taking() => return None,
                Phase::Closing(_) => self.finish(),
                Phase::Storing(_) => self.done(),
                Phase::Done => return None,
            }
        }
    }

    /// Frees the memory that much to do at once needed.
    pub(super) fn shrink(&mut self) {
        self.outputs.shrink_to_fit();
        self.conversation.shrink();
    }

    /// Handles one output of the conversation; returns what the driver has to do about it.
    fn take_step(&mut self, step: Step) -> Option<Output> {
        match step {
            Step::Store(snapshot) if self.has_journal => {
                return Some(self.put(snapshot, true));
            }
            Step::Store(_) => self.conversation.stored(),
            Step::Send(frame) => return self.has_link.then_some(Output::Send(frame)),
            Step::Waiting { ahead } => {
                self.is_queued = true;
                self.news.waiting = Some(ahead);
                // What kept the link from coming back is news once more if it does so again.
                self.news.hindrance = None;
                if let Some(LinkError::NotNow(_) | LinkError::OtherKey(_)) = self.lost {
                    self.lost = Some(LinkError::Cut);
                }
                if !self.has_begun {
                    // There is no conversation to continue yet, only a place in the queue.
                    self.answered();
                }
            }
            Step::Connected => self.welcomed(),
            Step::HandOver(message) => {
                self.pace.turn_passed();
                self.has_untaken = true;
                return Some(Output::HandOver(message));
            }
            Step::Delivered { turn } => {
                self.pace.turn_passed();
                self.news.delivered = Some(turn);
            }
            Step::Ended(end) => {
                if self.has_link {
                    self.outputs.push_back(Output::Close(None));
                }
                let mut ended = Ended::from(end);
                if ended.cause == Cause::Peer && !self.has_begun {
                    // It answers a `hello` for a new conversation.
                    ended.cause = Cause::Refused(Reason::Ended);
                }
                self.end(ended, false, false);
            }
        }
        None
    }

    fn put(&mut self, snapshot: Snapshot, is_live: bool) -> Output {
        self.storing = Some(snapshot.clone());
        Output::Store {
            snapshot,
            is_live,
            clienthello: self.newest,
        }
    }
}

#[cfg(test)]
mod tests;
