//! [`Session`]: one side of one conversation over its connections, one after another
//! (PROTOCOL §3 and §4). Pure: commands, frames, and the results of stores, links and timers
//! go in; what to do comes out of [`poll_output`](Session::poll_output), in order. It holds no
//! instants, no sockets and no tasks: the driver feeds it, and so does the model checker in
//! tests/model.

mod pace;
mod terms;

use std::collections::VecDeque;
use std::time::Duration;

use super::error::{Cause, Ended, LinkError};
use super::store::StoreError;
use crate::protocol::{
    By, Conversation, End, Frame, Limits, Output as Step, Overdue, Reason, Role, SayError,
    Snapshot, Text,
};
use crate::trust::KeyId;

use pace::{CUT_PARTS, NOTICE_PAUSE, NOTICES, Pace};

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

impl Ending {
    /// Whether the record stays, for a later session to continue.
    fn keeps_record(&self, session: &Session) -> bool {
        !session.has_journal || self.is_dropped || (self.is_parked && session.given_up_by.is_none())
    }
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

    /// Whether the conversation is over except that its last message is not taken. The record
    /// stays until it is.
    pub fn awaits_taking(&self) -> bool {
        match &self.phase {
            Phase::Closing(ending) => {
                self.has_untaken && !self.has_link && !ending.keeps_record(self)
            }
            Phase::On | Phase::Storing(_) | Phase::Done => false,
        }
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

    // What becomes of links.

    /// A client has a connection: it greets.
    pub fn connected(&mut self) {
        if self.is_on() {
            self.link();
            self.conversation.connect();
        }
    }

    /// A client's dial failed. `other_key`: the key that was offered in place of the peer's
    /// (PROTOCOL 4.15).
    pub fn dial_failed(&mut self, other_key: Option<KeyId>) {
        if !self.is_on() || self.has_link {
            return;
        }
        if let Some(key) = other_key {
            self.hindered(LinkError::OtherKey(key), Notice::OtherKey { key });
        }
        self.redial();
    }

    /// A server has a connection whose `hello` named this conversation. The previous
    /// connection is told that it was replaced (PROTOCOL 4.25 and 4.26).
    ///
    /// # Errors
    /// [`NotAccepted`]: the new connection must be closed; nothing has changed.
    pub fn accept(&mut self, greeting: Greeting) -> Result<(), NotAccepted> {
        if !self.is_on() || self.conversation.has_ended() {
            return Err(NotAccepted::Ending);
        }
        // From here on the old connection is not read any more (PROTOCOL 4.8).
        self.conversation.accept(greeting.heard)?;
        if greeting.has_quit {
            // A `quit` is always allowed here (PROTOCOL 3.12).
            let _ = self.conversation.receive(Frame::Quit {});
            self.limit_taking();
        }
        self.newest = greeting.clienthello;
        if self.has_link {
            self.outputs
                .push_back(Output::CloseInBackground(Some(REPLACED)));
        }
        self.link();
        Ok(())
    }

    /// There is no connection yet, but one may come: the link counts as lost. `clienthello`:
    /// on a server, the last connection's place in the order of ClientHellos.
    pub fn hold(&mut self, clienthello: u64) {
        self.newest = clienthello;
        self.lose(LinkError::Cut);
    }

    /// A frame has come over the link.
    pub fn receive(&mut self, frame: Frame) {
        if !self.has_link() {
            return;
        }
        let is_resuming = self.has_begun && (self.is_lost() || !self.is_welcomed);
        if let Frame::Refuse { reason } = frame
            && is_resuming
            && reason.is_temporary()
        {
            // No place at the moment to continue this conversation (PROTOCOL 4.12).
            return self.link_lost(LinkError::NotNow(reason));
        }
        match self.conversation.receive(frame) {
            Ok(()) => self.limit_taking(),
            Err(violation) => self.link_lost(LinkError::Violation(violation)),
        }
    }

    /// The peer's `quit` does not wait for ever until its message is taken (PROTOCOL 3.9).
    fn limit_taking(&mut self) {
        if self.conversation.owes_quit() {
            let taking = Output::Arm(Timer::Taking, self.times.quit);
            self.outputs.push_back(taking);
        }
    }

    /// The link has failed. The conversation continues if it had begun or was in the queue,
    /// and the fault is the link's (PROTOCOL 4.10 and 4.12). A `hello` without any answer is
    /// tried again for a while (PROTOCOL 4.14).
    pub fn link_lost(&mut self, error: LinkError) {
        if !self.has_link() {
            return;
        }
        if self.conversation.has_ended() {
            // The end still waits for something, but not for the link.
            self.has_link = false;
            return self.outputs.push_back(Output::Cut);
        }
        let can_pass = match self.is_answered() {
            true => error.is_temporary(),
            false => error.is_cut(),
        };
        if !can_pass || self.times.hold.is_zero() {
            return self.fail(error, false);
        }
        self.has_link = false;
        self.outputs.push_back(match error.farewell() {
            Some(last) => Output::CloseInBackground(Some(last)),
            None => Output::Cut,
        });
        self.conversation.detach();
        self.lose(error);
    }

    /// The link that was to be closed in order is closed.
    pub fn closed(&mut self) {
        self.has_link = false;
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

    /// The place in the queue, if it was not told yet.
    pub fn poll_place(&mut self) -> Option<Notice> {
        let ahead = self.news.waiting.take_if(|_| self.pace.notices > 0)?;
        self.count_notice();
        Some(Notice::Waiting { ahead })
    }

    /// The next thing for the user to know, besides messages and the end.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        if let Some(turn) = self.news.delivered.take() {
            return Some(Notice::Delivered { turn });
        }
        if self.has_come_or_gone() && self.pace.notices > 0 {
            self.news.told_lost = self.is_lost();
            self.count_notice();
            return Some(match self.is_lost() {
                true => Notice::Lost,
                false => Notice::Resumed,
            });
        }
        if let Some(hindrance) = self.news.hindrance.take_if(|_| self.pace.notices > 0) {
            self.count_notice();
            return Some(hindrance);
        }
        self.poll_place()
    }

    /// Whether [`poll_notice`](Self::poll_notice) has something.
    pub fn has_notice(&self) -> bool {
        let has_changed =
            self.news.waiting.is_some() || self.news.hindrance.is_some() || self.has_come_or_gone();
        self.news.delivered.is_some() || (has_changed && self.pace.notices > 0)
    }

    /// While notices have to wait, only the last state is kept.
    fn count_notice(&mut self) {
        // Behind the end no more can come, and nothing is waited for.
        if self.pace.notices == NOTICES && self.is_on() {
            self.arm_notices();
        }
        self.pace.notices = self.pace.notices.saturating_sub(1);
    }

    fn arm_notices(&mut self) {
        let pause = Output::Arm(Timer::Notices, NOTICE_PAUSE);
        self.outputs.push_back(pause);
    }

    /// Whether the link has come or gone and the user was not told. Before the peer's first
    /// answer there is nothing to tell.
    fn has_come_or_gone(&self) -> bool {
        self.is_on() && self.is_answered() && self.news.told_lost != self.is_lost()
    }

    /// Whether the peer has ever said anything about the conversation.
    fn is_answered(&self) -> bool {
        self.has_begun || self.is_queued
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

    /// The conversation is on, or on again.
    fn welcomed(&mut self) {
        self.has_begun = true;
        self.answered();
        if !std::mem::replace(&mut self.is_welcomed, true) && self.role == Role::Client {
            // The `welcome` itself tells that the link is back.
            self.news.told_lost = false;
        }
    }

    /// The peer has the conversation, or a place for it.
    fn answered(&mut self) {
        if self.lost.take().is_some() {
            self.news.hindrance = None;
            self.outputs.push_back(Output::Disarm(Timer::Hold));
            if self.role == Role::Server {
                self.outputs.push_back(Output::Disarm(Timer::CrowdedHold));
            }
        }
    }

    fn link(&mut self) {
        self.has_link = true;
        self.outputs.push_back(Output::Link);
    }

    fn lose(&mut self, error: LinkError) {
        let is_new = self.lost.is_none();
        match error {
            LinkError::NotNow(reason) => self.hindered(error, Notice::NotNow { reason }),
            error => _ = self.lost.get_or_insert(error),
        }
        if is_new {
            self.news.waiting = None;
            let hold = match self.is_answered() {
                true => self.times.hold,
                false => self.times.first_answer,
            };
            self.outputs.push_back(Output::Arm(Timer::Hold, hold));
            if self.role == Role::Server {
                self.count_cut_time();
            }
        }
        if self.role == Role::Client {
            self.redial();
        }
    }

    /// Somebody answers, and the link is not back for this reason: told once, and what a hold
    /// ends with.
    fn hindered(&mut self, error: LinkError, notice: Notice) {
        if self.lost.as_ref() != Some(&error) {
            self.news.hindrance = Some(notice);
            self.lost = Some(error);
        }
    }

    /// A server's: another part of the time without a link has begun. If that was too long and
    /// somebody waits, the conversation gives up its place.
    fn count_cut_time(&mut self) {
        self.pace.cut_parts = self.pace.cut_parts.saturating_add(1);
        match self.pace.is_cut_for_long() {
            true => self.crowded(self.is_crowded),
            false => {
                let part = Output::Arm(Timer::CrowdedHold, self.times.crowded_part);
                self.outputs.push_back(part);
            }
        }
    }

    fn redial(&mut self) {
        // PROTOCOL 4.17, and then 4.14 or 4.13.
        if self.conversation.looks_new() {
            self.owes_redial = true;
            return;
        }
        let pause = match self.is_quitting || !self.is_answered() {
            true => {
                let pause = FEW_REDIALS.get(self.few_redials).copied();
                self.few_redials += usize::from(pause.is_some());
                pause
            }
            false => Some(self.pace.next_redial()),
        };
        match pause {
            Some(pause) => {
                self.is_redial_armed = true;
                self.outputs.push_back(Output::Arm(Timer::Redial, pause));
            }
            // The quit timer already runs.
            None if self.is_quitting => {}
            None => self.give_up(),
        }
    }

    fn begin_quitting(&mut self) {
        if !std::mem::replace(&mut self.is_quitting, true) {
            let quit = Output::Arm(Timer::Quit, self.times.quit);
            self.outputs.push_back(quit);
            if self.is_crowded {
                self.hurry_quit();
            }
            self.few_redials = 0;
            if self.is_redial_armed {
                // The redial that is armed may come too late.
                self.redial();
            }
        }
    }

    /// A peer that does not acknowledge the end must not keep the next one waiting.
    fn hurry_quit(&mut self) {
        let quit = Output::Arm(Timer::CrowdedQuit, self.times.crowded_quit);
        self.outputs.push_back(quit);
    }

    fn give_up(&mut self) {
        let error = match self.is_quitting {
            true => LinkError::Overdue(Overdue::Quit),
            false => self.lost.clone().unwrap_or(LinkError::Cut),
        };
        self.fail(error, false);
    }

    /// The conversation cannot go on, here and now.
    fn fail(&mut self, error: LinkError, is_dropped: bool) {
        if self.has_link {
            match error.farewell() {
                Some(last) => self.outputs.push_back(Output::Close(Some(last))),
                None => {
                    self.has_link = false;
                    self.outputs.push_back(Output::Cut);
                }
            }
        }
        let is_held = is_dropped || !self.times.hold.is_zero();
        let End {
            turns,
            unacknowledged,
            ..
        } = self.conversation.end(By::Me);
        let ended = Ended::new(Cause::Link(error), turns, unacknowledged);
        let is_parked = is_held && !self.conversation.has_quit();
        self.end(ended, is_parked, is_dropped);
    }

    fn end_given_up(&mut self, side: By) {
        if std::mem::take(&mut self.has_link) {
            // The next peer does not wait until this link is closed.
            self.outputs.push_back(Output::CloseInBackground(None));
        }
        self.end(self.conversation.end(side).into(), false, false);
    }

    fn end(&mut self, ended: Ended, is_parked: bool, is_dropped: bool) {
        self.phase = Phase::Closing(Box::new(Ending {
            ended,
            is_parked,
            is_dropped,
        }));
    }

    /// Leaves the record as a later session must find it.
    fn finish(&mut self) {
        let Phase::Closing(ending) = std::mem::replace(&mut self.phase, Phase::Done) else {
            return;
        };
        let Ending {
            ended,
            is_parked,
            is_dropped,
        } = *ending;
        if self.is_taken_over {
            self.phase = Phase::Storing(Box::new(Last {
                ended,
                once_told: None,
                remains: Remains::Nothing,
            }));
            return;
        }
        let is_parked = is_parked && self.given_up_by.is_none() && self.has_journal;
        let is_unread = is_dropped && self.has_untaken;
        let is_refused = matches!(ended.cause, Cause::Refused(_));
        let may_return = match self.role {
            // The client is the side that comes back and asks (PROTOCOL 4.24).
            Role::Server => !self.conversation.is_acknowledged(),
            Role::Client => is_refused && ended.turns > 0 && !self.conversation.has_quit(),
        };
        let remains = match self.role {
            // Regardless of the record: while this process lives, a delayed `hello` can still
            // come on an older connection.
            Role::Server if !is_parked => Remains::End,
            Role::Server => {
                // What could not be stored was neither sent nor acknowledged.
                let snapshot = match self.has_failed_to_store {
                    true => self.stored.clone(),
                    false => self.conversation.snapshot(),
                };
                match Conversation::restore(Role::Server, snapshot) {
                    Some(mut parked) => {
                        if !self.has_untaken {
                            parked.taken();
                        }
                        Remains::Parked(Box::new(parked))
                    }
                    None => Remains::End,
                }
            }
            Role::Client => Remains::Nothing,
        };
        let is_crash = is_dropped && (is_parked || self.role == Role::Client);
        let stays = is_crash
            || is_unread
            || (is_parked && self.has_failed_to_store)
            || (may_return && is_refused);
        let is_final = self.has_journal && !stays;
        // Its words stay on the disk until its user knows that they may not have arrived.
        let is_untold = is_final && !is_parked && ended.unacknowledged.is_some();
        let once_told = is_untold.then(|| match may_return {
            true => LastPut::Tombstone(self.conversation.tombstone()),
            false => LastPut::Nothing,
        });
        if is_final && !is_untold {
            let snapshot = match is_parked {
                true => self.conversation.snapshot(),
                false => self.conversation.tombstone(),
            };
            let put = self.put(snapshot, false);
            self.outputs.push_back(match is_parked || may_return {
                true => put,
                false => Output::Remove,
            });
        }
        // It was asked for before its user went; or it has ended, and that is remembered.
        let has_quit = self.conversation.has_quit();
        let is_over = is_untold || (is_unread && !is_parked && self.role == Role::Server);
        if self.has_journal && !self.stored.quit && ((is_crash && has_quit) || is_over) {
            let snapshot = Snapshot {
                quit: true,
                ..self.conversation.snapshot()
            };
            let put = self.put(snapshot, false);
            self.outputs.push_back(put);
        }
        self.phase = Phase::Storing(Box::new(Last {
            ended,
            once_told,
            remains,
        }));
    }

    fn put(&mut self, snapshot: Snapshot, is_live: bool) -> Output {
        self.storing = Some(snapshot.clone());
        Output::Store {
            snapshot,
            is_live,
            clienthello: self.newest,
        }
    }

    fn done(&mut self) {
        if let Phase::Storing(last) = std::mem::replace(&mut self.phase, Phase::Done) {
            let Last {
                ended,
                once_told,
                remains,
            } = *last;
            self.outputs.extend(once_told.map(Output::OnceTold));
            self.outputs.push_back(Output::Ended(ended));
            self.outputs.push_back(Output::Done(remains));
        }
    }
}

#[cfg(test)]
mod tests;
