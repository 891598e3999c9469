//! What src/link/driver/outputs.rs does with a session, on a network and a disk that
//! are written here by hand.

use std::collections::BTreeSet;

use turnchat::internals::session::{LastPut, Output, REPLACED, Remains, Session, Timer};
use turnchat::internals::{Conversation, Frame, Role, Snapshot};
use turnchat::{Cause, Ended, LinkError};
use turnchat::{Code, ConversationId, Limits, Text};

use super::hub::Record;
use super::{Number, World};
use crate::config::{Config, Side};
use crate::rules::Broken;
use crate::tale::Outcome;

/// A session that ships, and what its driver keeps for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Driver {
    pub(super) session: Session,
    pub(super) link: Option<Number>,
    /// The connection that becomes the link next.
    pub(super) arriving: Option<Number>,
    /// Only where Detach first is broken.
    pub(super) old: Option<Number>,
    pub(super) armed: BTreeSet<Timer>,
    /// The last frames are written, and the link is not closed yet.
    pub(super) is_closing: bool,
    /// What was handed over and is not in its reader's hands: is it handed over again?
    pub(super) untaken: Option<(u64, Text, bool)>,
    /// Its reader has failed.
    pub(super) has_failed: bool,
    /// What is on its way to the disk, where that takes time.
    pub(super) put: Option<Put>,
    /// The session is done: how it ended for its user, and what is left.
    pub(super) done: Option<(Ended, Remains)>,
    once_told: Option<LastPut>,
    ended: Option<Ended>,
    /// The program was started to go on with it.
    pub(super) is_resumed: bool,
    /// A client's: it was told its place in the queue, and nothing since.
    is_queued: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Put {
    Record(Record),
    Nothing,
}

impl Driver {
    pub(super) fn new(
        config: &Config,
        side: Side,
        conversation: Conversation,
        has_begun: bool,
    ) -> Self {
        let role = match side {
            Side::Server => Role::Server,
            Side::Client => Role::Client,
        };
        let has_journal = config.keeps_journal(side);
        let limits = Limits::default();
        Self {
            session: Session::new(role, conversation, has_begun, has_journal, &limits),
            link: None,
            arriving: None,
            old: None,
            armed: BTreeSet::new(),
            is_closing: false,
            untaken: None,
            has_failed: false,
            put: None,
            done: None,
            once_told: None,
            ended: None,
            is_resumed: has_begun,
            is_queued: false,
        }
    }

    pub(super) fn conversation(&self) -> &Conversation {
        self.session.conversation()
    }

    /// `Session::accept` would not say that it is ending.
    pub(super) fn takes_links(&self) -> bool {
        self.session.is_on() && !self.conversation().has_ended()
    }

    pub(super) fn is_quitting(&self) -> bool {
        self.session.is_quitting()
    }

    /// It accepted a message that is not on its way on this link, and nothing
    /// stands between but the other side's word.
    fn leaves_unsaid(&self) -> bool {
        let snapshot = self.conversation().snapshot();
        let is_greeting = self.session.is_lost() || !self.session.is_welcomed();
        snapshot.said > snapshot.acknowledged && is_greeting && !self.is_queued
    }

    /// A timer past which it gives up.
    pub(super) fn patience(&self) -> Option<Timer> {
        let mut timers = [Timer::Quit, Timer::Hold].into_iter();
        timers.find(|timer| self.session.is_on() && self.armed.contains(timer))
    }
}

impl World {
    /// `Driver::process`; `is_answered`: what comes out answers a `hello`, or a `welcome`.
    pub(super) fn process(
        &mut self,
        config: &Config,
        side: Side,
        number: Number,
        is_answered: bool,
    ) {
        let mut unstored = None;
        while let Some(output) = self.driver(side, number).session.poll_output() {
            // A crash cuts the link, and what was sent may be lost from any frame on:
            // so it need not come before a frame as well.
            let leaves_trace = match output {
                Output::Store { .. } | Output::Remove => {
                    !config.breaks(Broken::StoredBeforeSent) && !config.size.stores_late
                }
                Output::HandOver(_) | Output::Ended(_) => true,
                _ => false,
            };
            if leaves_trace && self.burns() {
                let id = self.driver(side, number).conversation().id();
                if matches!(&output, Output::Ended(ended) if ended.unacknowledged.is_none()) {
                    self.tales.entry(id).or_default().of_mut(side).is_final = true;
                }
                return;
            }
            let driver = self.driver(side, number);
            let (id, link) = (driver.conversation().id(), driver.link);
            let is_close = matches!(output, Output::Close(_));
            match output {
                Output::Store {
                    snapshot,
                    is_live,
                    clienthello,
                } => {
                    let record = Record {
                        snapshot,
                        is_live,
                        clienthello,
                    };
                    if config.breaks(Broken::StoredBeforeSent) {
                        driver.session.stored(Ok(()));
                        unstored = Some(record);
                    } else {
                        driver.put = Some(Put::Record(record));
                        self.put_now_or_late(config, side, number);
                    }
                }
                Output::Remove => {
                    driver.put = Some(Put::Nothing);
                    self.put_now_or_late(config, side, number);
                }
                Output::Link => driver.link = driver.arriving.take(),
                Output::Send(frame) => {
                    if frame == (Frame::Quit {}) && driver.leaves_unsaid() {
                        self.breaks(crate::UNSAID);
                    }
                    let promised = match frame {
                        Frame::Heard { turn } => turn,
                        Frame::Hello { heard, .. } | Frame::Welcome { heard, .. } => heard,
                        Frame::Say { turn, .. } => turn - 1,
                        _ => 0,
                    };
                    self.tales.entry(id).or_default().promise(side, promised);
                    let driver = self.driver(side, number);
                    let is_say = matches!(frame, Frame::Say { .. });
                    let is_silent = is_say && is_answered && config.breaks(Broken::SayAgain);
                    let is_answer = frame == Frame::Quit {} && !driver.is_quitting();
                    let is_unanswered = is_answer && config.breaks(Broken::QuitAnswered);
                    if let Some(link) = link
                        && !is_silent
                        && !is_unanswered
                    {
                        self.send(side, link, frame);
                    }
                }
                Output::CloseInBackground(Some(REPLACED)) if config.breaks(Broken::DetachFirst) => {
                    driver.old = link;
                }
                Output::Close(last) | Output::CloseInBackground(last) => {
                    driver.link = None;
                    driver.is_closing |= is_close;
                    if let Some(Frame::Error { code, .. }) = last
                        && !matches!(code, Code::Replaced | Code::Internal)
                    {
                        self.breaks(crate::ACCUSED);
                    }
                    self.close(side, link, last);
                }
                Output::Cut => {
                    driver.link = None;
                    if let Some(link) = link {
                        self.hang_up(side, link, true);
                    }
                }
                Output::Dial => self.redial(config),
                Output::Arm(timer, _) => _ = driver.armed.insert(timer),
                Output::Disarm(timer) => _ = driver.armed.remove(&timer),
                Output::HandOver(message) => {
                    driver.untaken = Some((message.turn, message.text, false));
                    if config.breaks(Broken::HeardBeforeTaken) || config.breaks(Broken::RecordStays)
                    {
                        driver.session.taken();
                    }
                }
                Output::OnceTold(last) => {
                    driver.once_told = Some(last);
                    if config.breaks(Broken::RecordOutlivesEnd) {
                        self.finish_record(config, side, number);
                    }
                }
                Output::Ended(ended) => driver.ended = Some(ended),
                Output::Done(remains) => self.done(config, side, number, remains),
            }
        }
        let session = &mut self.driver(side, number).session;
        while session.poll_notice().is_some() {}
        // Its clock goes faster than a world changes.
        while let Some(Output::Arm(Timer::Notices, _)) = session.poll_output() {
            session.fired(Timer::Notices);
        }
        if !config.size.takes_late && self.driver(side, number).untaken.is_some() {
            self.take(config, side, number);
        }
        if let Some(record) = unstored {
            if self.burns() {
                return;
            }
            self.store(config, side, record);
        }
    }

    /// What was handed over is on the screen, and in its reader's hands.
    pub(super) fn take(&mut self, config: &Config, side: Side, number: Number) {
        self.show(side, number);
        self.driver(side, number).session.taken();
        self.process(config, side, number, false);
    }

    fn show(&mut self, side: Side, number: Number) {
        let driver = self.driver(side, number);
        let id = driver.conversation().id();
        if let Some((turn, text, is_again)) = driver.untaken.take() {
            let tale = self.tales.entry(id).or_default();
            if let Err(promise) = tale.show(side, turn, &text, is_again) {
                self.breaks(promise);
            }
        }
    }

    /// In order: what was sent arrives.
    fn close(&mut self, side: Side, link: Option<Number>, last: Option<Frame>) {
        if let Some(link) = link {
            if let Some(last) = last {
                self.send(side, link, last);
            }
            self.hang_up(side, link, false);
        }
    }

    fn put_now_or_late(&mut self, config: &Config, side: Side, number: Number) {
        if !config.size.stores_late {
            self.put(config, side, number);
        }
    }

    /// What was on its way to the disk is there.
    pub(super) fn put(&mut self, config: &Config, side: Side, number: Number) {
        let driver = self.driver(side, number);
        let id = driver.conversation().id();
        match driver.put.take() {
            Some(Put::Record(record)) => self.store(config, side, record),
            Some(Put::Nothing) => self.remove_record(side, id),
            None => return,
        }
        self.driver(side, number).session.stored(Ok(()));
    }

    /// A message stands in the record to be handed over again.
    pub(super) fn is_unread(&self, side: Side, id: ConversationId) -> bool {
        let stored = self.stored(side, id);
        stored.is_some_and(|record| record.last_heard.is_some() && record.heard > record.said)
    }

    /// `Output::Done`: its user learns how it ended.
    fn done(&mut self, config: &Config, side: Side, number: Number, remains: Remains) {
        // A message comes before the end.
        self.show(side, number);
        let driver = self.driver(side, number);
        let conversation = driver.conversation();
        let (id, has_quit) = (conversation.id(), conversation.has_quit());
        let ended = driver.ended.take().unwrap();
        driver.done = Some((ended.clone(), remains.clone()));
        driver.armed.clear();
        let is_unread = self.is_unread(side, id);
        let is_kept = match (side, &remains) {
            (Side::Server, Remains::Parked(_)) => true,
            (Side::Server, _) => is_unread,
            // Its user starts the program again.
            (Side::Client, _) => {
                let is_link = matches!(ended.cause, Cause::Link(_));
                is_link && (!has_quit || is_unread) && config.keeps_journal(side)
            }
        };
        if side == Side::Server {
            self.hub.talks.retain(|talk| *talk != id);
        }
        let tale = self.tales.entry(id).or_default();
        let named = ended.unacknowledged.map(|message| message.turn);
        if is_kept {
            // No end: it can go on. What is not acknowledged is named all the same.
            if side == Side::Server {
                tale.of_mut(side).named = named;
            }
            return;
        }
        let outcome = match ended.cause {
            Cause::Link(_) => Outcome::GivenUp,
            _ => Outcome::Ended,
        };
        tale.is_end_wanted |= outcome == Outcome::GivenUp;
        let told = tale.of_mut(side);
        told.outcome = Some(outcome);
        if let Some(turn) = named {
            told.named = Some(turn);
        }
        self.finish_record(config, side, number);
    }

    /// `Telling`: its user knows of the end.
    fn finish_record(&mut self, config: &Config, side: Side, number: Number) {
        let driver = self.driver(side, number);
        let id = driver.conversation().id();
        let Some(last) = driver.once_told.take() else {
            return;
        };
        if self.burns() {
            // It is told again.
            return;
        }
        match last {
            LastPut::Tombstone(snapshot) => {
                let record = Record {
                    snapshot,
                    is_live: false,
                    clienthello: 0,
                };
                self.store(config, side, record);
            }
            LastPut::Nothing => self.remove_record(side, id),
        }
    }

    /// The next trace would be left; is this where the machine crashes?
    pub(super) fn burns(&mut self) -> bool {
        match &mut self.fuse {
            Some(0) => self.is_blown = true,
            Some(traces) => *traces -= 1,
            None => {}
        }
        self.is_blown
    }

    /// A frame has come over the link.
    pub(super) fn receive(&mut self, config: &Config, side: Side, number: Number, frame: Frame) {
        match &frame {
            // src/link/wire.rs, `decode`.
            Frame::Error { code, .. } => {
                match code {
                    Code::Replaced => self.breaks(crate::REPLACED),
                    Code::Internal => {}
                    _ => self.breaks(crate::ACCUSED),
                }
                let (code, detail) = (*code, None);
                let driver = self.driver(side, number);
                driver
                    .session
                    .link_lost(LinkError::Reported { code, detail });
                return self.process(config, side, number, false);
            }
            Frame::Wait { .. } => {
                let driver = self.driver(side, number);
                driver.is_queued = true;
            }
            _ => {}
        }
        let driver = self.driver(side, number);
        let said = driver.conversation().snapshot().said;
        let is_answered = matches!(frame, Frame::Welcome { .. });
        let frame = match frame {
            Frame::Welcome { conversation, .. } if config.breaks(Broken::Counters) => {
                Frame::Welcome {
                    conversation,
                    heard: said.saturating_sub(2),
                }
            }
            frame => frame,
        };
        driver.is_queued &= !is_answered;
        let was_welcomed = driver.session.is_welcomed();
        driver.session.receive(frame);
        self.process(config, side, number, is_answered);
        let is_first = self.driver(side, number).session.is_welcomed() && !was_welcomed;
        if is_first && side == Side::Client && config.breaks(Broken::ShownFirst) {
            self.show_again(config, side, number);
        }
    }

    /// The link is lost, and its end is hung up already.
    pub(super) fn lose(&mut self, config: &Config, side: Side, number: Number) {
        let driver = self.driver(side, number);
        let is_on = driver.session.is_welcomed() && !driver.session.is_lost();
        if config.breaks(Broken::QuitAnswered) && driver.is_quitting() && is_on {
            driver.session.receive(Frame::Quit {});
        }
        driver.session.link_lost(LinkError::Cut);
        self.process(config, side, number, false);
    }

    /// A client's program has a connection.
    pub(super) fn connected(&mut self, config: &Config, link: Number) {
        let driver = self.driver(Side::Client, 0);
        driver.arriving = Some(link);
        driver.is_queued = false;
        driver.session.connected();
        self.process(config, Side::Client, 0, false);
    }

    // The disk.

    pub(super) fn store(&mut self, config: &Config, side: Side, record: Record) {
        let snapshot = &record.snapshot;
        if snapshot.quit && config.breaks(Broken::QuitOutlivesCrash) {
            return;
        }
        match side {
            Side::Client => self.record = Some(record.snapshot),
            Side::Server => {
                self.remove_record(side, snapshot.id);
                let record = match snapshot.quit && !record.is_to_be_told() {
                    // Of an end, only that it was one is read again.
                    true => Record::end(snapshot.id),
                    false => record,
                };
                let records = &mut self.hub.records;
                records.push(record);
                records.sort_by_key(|record| (record.clienthello, record.snapshot.id));
            }
        }
    }

    pub(super) fn stored(&self, side: Side, id: ConversationId) -> Option<&Snapshot> {
        match side {
            Side::Client => self.record.as_ref().filter(|record| record.id == id),
            Side::Server => (self.hub.records.iter())
                .map(|record| &record.snapshot)
                .find(|record| record.id == id),
        }
    }

    pub(super) fn remove_record(&mut self, side: Side, id: ConversationId) {
        match side {
            Side::Client => self.record = None,
            Side::Server => self.hub.records.retain(|record| record.snapshot.id != id),
        }
    }
}
