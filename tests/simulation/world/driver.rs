//! What src/link/driver/outputs.rs does with a session.

use std::collections::BTreeMap;
use std::time::Duration;

use turnchat::internals::session::{LastPut, Output, REPLACED, Remains, Session, Timer};
use turnchat::internals::{Contents, Conversation, Frame, Role, StoreError};
use turnchat::{Cause, Code, Ended, Limits, LinkError, Overdue, Text};

use super::machine::Put;
use super::network::{LinkId, Parcel};
use super::promises::{name, stands};
use super::store::{Of, RecordNumber, What};
use super::{At, Event, World};
use crate::config::Side;
use crate::rules::Broken;
use crate::tale::Outcome;

pub(super) type DriverNumber = u64;

/// A session that ships, and what its driver keeps for it.
pub(super) struct Driver {
    pub(super) number: DriverNumber,
    pub(super) session: Session,
    pub(super) link: Option<LinkId>,
    /// The connection that becomes the link next.
    pub(super) arriving: Option<LinkId>,
    /// Still read, only where that is the rule that is broken.
    pub(super) old: Option<LinkId>,
    /// Armed, by the number of their event.
    timers: BTreeMap<Timer, u64>,
    /// The last frames are written, and this link is not closed yet.
    pub(super) closing: Option<LinkId>,
    pub(super) put: Option<Put>,
    /// Where a store is shared: its record there.
    pub(super) record: Option<RecordNumber>,
    /// Something of it stands, or stood, on the disk.
    pub(super) was_stored: bool,
    /// What becomes of its record once its user knows of the end.
    once_told: Option<LastPut>,
    ended: Option<Ended>,
    pub(super) remains: Option<Remains>,
    /// What was handed over and is not in its reader's hands: is it handed over again?
    pub(super) untaken: Option<(u64, Text, bool)>,
    /// Somebody else goes on with it.
    is_taken_over: bool,
    /// Nobody reads or speaks any more.
    pub(super) is_dropped: bool,
    /// A client's: it was told its place in the queue, and nothing since.
    is_queued: bool,
    /// It was told something on this link.
    pub(super) has_heard: bool,
    pub(super) takes: bool,
    pub(super) speaks: bool,
}

impl Driver {
    pub(super) fn new(
        number: DriverNumber,
        role: Role,
        conversation: Conversation,
        has_begun: bool,
        has_journal: bool,
        limits: &Limits,
    ) -> Self {
        Self {
            number,
            was_stored: false,
            session: Session::new(role, conversation, has_begun, has_journal, limits),
            link: None,
            arriving: None,
            old: None,
            timers: BTreeMap::new(),
            closing: None,
            put: None,
            record: None,
            once_told: None,
            ended: None,
            remains: None,
            untaken: None,
            is_taken_over: false,
            is_dropped: false,
            is_queued: false,
            has_heard: false,
            takes: false,
            speaks: false,
        }
    }

    pub(super) fn conversation(&self) -> &Conversation {
        self.session.conversation()
    }

    /// It accepted a message that is not on its way on this link, and nothing
    /// stands between but the other side's word.
    fn leaves_unsaid(&self) -> bool {
        let snapshot = self.conversation().snapshot();
        let is_greeting = self.session.is_lost() || !self.session.is_welcomed();
        snapshot.said > snapshot.acknowledged && is_greeting && !self.is_queued
    }

    /// `Turn::unanswered`, and `show_again` in what is done with it.
    pub(super) fn hand_over_again(&mut self, is_marked: bool) {
        let conversation = self.session.conversation();
        let last = conversation.last_heard();
        let unanswered = last.filter(|_| conversation.is_my_turn());
        self.untaken = unanswered.map(|message| (message.turn, message.text, is_marked));
    }
}

impl World {
    /// `Driver::with` and `State::read`: what comes of what went in, to its end.
    pub(super) fn run(&mut self, at: At) {
        loop {
            self.process(at);
            if self.is_blown() {
                return;
            }
            let Some(driver) = self.driver(at) else {
                return;
            };
            let reads = driver.session.has_link() && !driver.session.is_storing();
            let links = [driver.link, driver.old];
            let mut parcel = None;
            for link in links.into_iter().flatten().filter(|_| reads) {
                parcel = parcel.or_else(|| self.read(link, at.side()).map(|parcel| (link, parcel)));
            }
            match parcel {
                Some((link, parcel)) => self.receive(at, link, parcel),
                None => break,
            }
        }
        self.check(at);
        self.ask_person(at);
    }

    /// `State::process`.
    fn process(&mut self, at: At) {
        loop {
            let Some(driver) = self.driver(at) else {
                return;
            };
            let Some(output) = driver.session.poll_output() else {
                // Its user reads all that there is to know.
                let mut has_read = false;
                while driver.session.poll_notice().is_some() {
                    has_read = true;
                }
                if has_read {
                    continue;
                }
                return;
            };
            if self.burns() {
                return;
            }
            self.note(|| format!("    {at:?}: {}", short(&output)));
            self.put_out(at, output);
        }
    }

    fn put_out(&mut self, at: At, output: Output) {
        let side = at.side();
        let storing = self.dice.up_to(self.setup.storing);
        let driver = self.driver(at).unwrap();
        let (number, id, link) = (driver.number, driver.conversation().id(), driver.link);
        let speaks = match output {
            Output::Store { .. } | Output::Remove | Output::Send(_) => true,
            Output::Close(ref last) | Output::CloseInBackground(ref last) => last.is_some(),
            _ => false,
        };
        if speaks && driver.is_taken_over {
            return self.breaks(crate::SILENT);
        }
        match output {
            Output::Store {
                snapshot,
                is_live,
                clienthello,
            } => {
                let peer = self.record_peer(at);
                let mut contents = Contents::new(peer, snapshot);
                (contents.live, contents.clienthello) = (is_live, clienthello);
                self.begin_put(at, Put::Record(Box::new(contents)), storing);
            }
            Output::Remove => self.begin_put(at, Put::Nothing, storing),
            Output::Link => {
                driver.link = driver.arriving.take();
                (driver.is_queued, driver.has_heard) = (false, false);
            }
            Output::Send(frame) => self.send_frame(at, frame),
            Output::Close(last) => {
                driver.link = None;
                self.close(at, link, last, true);
            }
            Output::CloseInBackground(last) => {
                driver.link = None;
                if last == Some(REPLACED) && self.setup.breaks(Broken::DetachFirst) {
                    self.driver(at).unwrap().old = link;
                } else {
                    self.close(at, link, last, false);
                }
            }
            Output::Cut => {
                driver.link = None;
                if let Some(link) = link {
                    self.hang_up(side, link, true);
                }
            }
            Output::Dial => match at {
                At::Client(client) => self.dial(client),
                At::Server(..) => {}
            },
            Output::Arm(timer, delay) => {
                let jitter = match timer {
                    Timer::Redial => self.dice.evenly(delay),
                    _ => Duration::ZERO,
                };
                let fires = Event::Fires(at, number, timer);
                let event = self.queue.after(delay + jitter, fires);
                self.driver(at).unwrap().timers.insert(timer, event);
            }
            Output::Disarm(timer) => _ = driver.timers.remove(&timer),
            Output::HandOver(message) => {
                driver.untaken = Some((message.turn, message.text, false));
                self.figures.turns += 1;
                if self.setup.breaks(Broken::Taken) {
                    self.driver(at).unwrap().session.taken();
                }
            }
            Output::OnceTold(last) => {
                driver.once_told = Some(last);
                if self.setup.breaks(Broken::RecordOutlivesEnd) {
                    self.finish_record(at);
                }
            }
            Output::Ended(ended) => driver.ended = Some(ended),
            Output::Done(remains) => self.done(at, id, remains),
        }
    }

    fn send_frame(&mut self, at: At, frame: Frame) {
        let side = at.side();
        let driver = self.driver(at).unwrap();
        let (id, link) = (driver.conversation().id(), driver.link);
        if frame == (Frame::Quit {}) && driver.leaves_unsaid() {
            self.breaks(crate::UNSAID);
        }
        let promised = match frame {
            Frame::Heard { turn } => turn,
            Frame::Hello { heard, .. } | Frame::Welcome { heard, .. } => heard,
            Frame::Say { turn, .. } => turn - 1,
            _ => 0,
        };
        self.tale(id).promise(side, promised);
        let is_answer =
            frame == (Frame::Quit {}) && !self.driver(at).unwrap().session.is_quitting();
        if is_answer && self.setup.breaks(Broken::QuitAnswered) {
            return;
        }
        if let Some(link) = link {
            self.send(side, link, frame);
        }
    }

    /// `State::close`.
    fn close(&mut self, at: At, link: Option<LinkId>, last: Option<Frame>, is_awaited: bool) {
        if let Some(Frame::Error { code, .. }) = &last
            && !matches!(code, Code::Replaced | Code::Internal)
        {
            self.breaks(crate::ACCUSED);
        }
        let is_dead = match link {
            Some(link) => {
                if let Some(last) = last {
                    self.send(at.side(), link, last);
                }
                let leads = self.links.get(&link).is_some_and(|of| of.leads(at.side()));
                self.hang_up(at.side(), link, false);
                !leads
            }
            None => true,
        };
        if !is_awaited {
            return;
        }
        let most = 2 * self.setup.limits.close_time;
        let waits = match at {
            // A server keeps running: there the last frame need only be on its way.
            At::Server(..) => self.dice.once_in(10),
            At::Client(_) => !is_dead,
        };
        let time = self.dice.up_to(most);
        let driver = self.driver(at).unwrap();
        let number = driver.number;
        match waits {
            true => {
                driver.closing = link;
                self.queue.after(time, Event::Closed(at, number));
            }
            false => driver.session.closed(),
        }
    }

    pub(super) fn closed(&mut self, at: At, number: DriverNumber) {
        if let Some(driver) = self.same_driver(at, number)
            && driver.closing.take().is_some()
        {
            driver.session.closed();
            self.run(at);
        }
    }

    pub(super) fn fires(&mut self, at: At, driver: DriverNumber, timer: Timer, event: u64) {
        if let Some(driver) = self.same_driver(at, driver)
            && driver.timers.get(&timer) == Some(&event)
        {
            driver.timers.remove(&timer);
            driver.session.fired(timer);
            self.note(|| format!("    {at:?}: {timer:?} fires"));
            self.run(at);
        }
    }

    /// A frame has come over the link, or its end.
    fn receive(&mut self, at: At, link: LinkId, parcel: Parcel) {
        self.note(|| format!("    {at:?} reads {parcel:?}"));
        let driver = self.driver(at).unwrap();
        driver.has_heard = true;
        let frame = match parcel {
            Parcel::Frame(frame) => frame,
            Parcel::End => {
                match driver.link == Some(link) {
                    true => self.lose(at, LinkError::Cut),
                    false => driver.old = None,
                }
                return;
            }
        };
        // src/link/wire.rs, `decode`.
        if let Frame::Error { code, .. } = frame {
            match code {
                Code::Replaced => self.breaks(crate::REPLACED),
                Code::Internal => {}
                _ => self.breaks(crate::ACCUSED),
            }
            return self.lose(at, LinkError::Reported { code, detail: None });
        }
        driver.is_queued |= matches!(frame, Frame::Wait { .. });
        driver.is_queued &= !matches!(frame, Frame::Welcome { .. });
        driver.session.receive(frame);
    }

    fn lose(&mut self, at: At, error: LinkError) {
        let breaks = self.setup.breaks(Broken::QuitAnswered);
        let driver = self.driver(at).unwrap();
        let is_on = driver.session.is_welcomed() && !driver.session.is_lost();
        if breaks && driver.session.is_quitting() && is_on {
            driver.session.receive(Frame::Quit {});
        }
        driver.session.link_lost(error);
    }

    /// `Wire::overdue`.
    pub(super) fn fall_silent(&mut self, link: LinkId, to: Side) {
        if self.is_silent(link, to) {
            self.overdue(link, to, Overdue::Silent);
        }
    }

    pub(super) fn first_frame_due(&mut self, link: LinkId) {
        let Some(client) = self.links.get(&link).and_then(|of| of.client) else {
            return;
        };
        let driver = self.clients[client].driver();
        if driver.is_some_and(|driver| driver.link == Some(link) && !driver.has_heard) {
            self.overdue(link, Side::Client, Overdue::FirstFrame);
        }
    }

    fn overdue(&mut self, link: LinkId, to: Side, overdue: Overdue) {
        match self.reader_of(link, to) {
            Some(at) if self.driver(at).is_some_and(|of| !of.session.is_storing()) => {
                self.lose(at, LinkError::Overdue(overdue));
                self.run(at);
            }
            // Its last look comes later.
            Some(_) => {}
            None if to == Side::Server => self.connection_is_gone(link),
            None => {}
        }
    }

    /// The session that reads this end of a connection.
    pub(super) fn reader_of(&mut self, link: LinkId, to: Side) -> Option<At> {
        let reads = |driver: &Driver| driver.link == Some(link) || driver.old == Some(link);
        match to {
            Side::Client => {
                let client = self.links.get(&link)?.client?;
                let driver = self.clients[client].driver()?;
                reads(driver).then_some(At::Client(client))
            }
            Side::Server => {
                let node = self.links.get(&link)?.node;
                let mut live = self.nodes[node].hub.live.iter();
                let (id, _) = live.find(|(_, driver)| reads(driver))?;
                Some(At::Server(node, *id))
            }
        }
    }

    /// Something has come.
    pub(super) fn look(&mut self, link: LinkId, to: Side) {
        match self.reader_of(link, to) {
            Some(at) => self.run(at),
            None if to == Side::Server => self.greet(link),
            None => self.drain(link),
        }
    }

    /// A client that is closing reads to the end.
    fn drain(&mut self, link: LinkId) {
        let Some(client) = self.links.get(&link).and_then(|of| of.client) else {
            return;
        };
        let Some(driver) = self.clients[client].driver() else {
            return;
        };
        if driver.closing == Some(link) {
            let number = driver.number;
            self.closed(At::Client(client), number);
        }
    }

    // The disk.

    fn begin_put(&mut self, at: At, put: Put, time: Duration) {
        let breaks_order = self.setup.breaks(Broken::StoredBeforeSent);
        let driver = self.driver(at).unwrap();
        let number = driver.number;
        if let Some(record) = driver.record {
            let what = match put {
                Put::Record(contents) => What::Put(contents),
                Put::Nothing => What::End,
            };
            return self.call(record, Of::Driver(at, number), what);
        }
        driver.put = Some(put);
        if breaks_order {
            driver.session.stored(Ok(()));
        }
        self.queue.after(time, Event::Stored(at, number));
    }

    /// What was on its way to the disk is there, or cannot be.
    pub(super) fn stored(&mut self, at: At, number: DriverNumber) {
        let Some(driver) = self.same_driver(at, number) else {
            return;
        };
        let Some(put) = driver.put.take() else {
            return;
        };
        let id = driver.conversation().id();
        let result = self.put(at.whose(), id, &put);
        if self.machine(at).disk.has_stopped() {
            // It crashes, now that this step is over.
            return;
        }
        if let (Ok(()), Put::Record(contents)) = (&result, &put) {
            stands(self.tale(id), at.side(), &contents.conversation);
        }
        if !self.setup.breaks(Broken::StoredBeforeSent)
            && let Some(driver) = self.same_driver(at, number)
        {
            driver.was_stored |= result.is_ok();
            driver.is_taken_over |= result == Err(StoreError::TakenOver);
            driver.session.stored(result);
        }
        self.run(at);
    }

    /// The same in a store that is shared.
    pub(super) fn put_is_done(
        &mut self,
        at: At,
        number: DriverNumber,
        result: Result<(), StoreError>,
    ) {
        if let Some(driver) = self.same_driver(at, number) {
            driver.was_stored |= result.is_ok();
            driver.is_taken_over |= result == Err(StoreError::TakenOver);
            driver.session.stored(result);
            self.run(at);
        }
    }

    /// `Driver::taken_over`.
    pub(super) fn taken_over(&mut self, at: At) {
        if let Some(driver) = self.driver(at) {
            driver.is_taken_over = true;
            driver.session.taken_over();
            self.run(at);
        }
    }

    fn record_peer(&self, at: At) -> turnchat::KeyId {
        match at {
            At::Server(_, id) => self.key(self.owner(id)),
            At::Client(_) => self.peers[0].key(),
        }
    }

    // Its end.

    /// `Output::Done`: its user learns how it ended.
    fn done(&mut self, at: At, id: turnchat::ConversationId, remains: Remains) {
        let side = at.side();
        // A message comes before the end.
        self.show(at);
        let has_journal = self.machine(at).has_journal;
        let record = self.record(side, id).filter(|_| has_journal);
        let is_unread = record.as_ref().is_some_and(is_unread);
        let driver = self.driver(at).unwrap();
        let number = driver.number;
        let ended = driver.ended.take().unwrap();
        let is_parked = matches!(remains, Remains::Parked(_));
        let (is_over, is_taken_over) = (matches!(remains, Remains::End), driver.is_taken_over);
        driver.remains = Some(remains);
        driver.timers.clear();
        let is_kept = match side {
            Side::Server => is_parked || is_unread || is_taken_over,
            // Its user starts the program again.
            Side::Client => record.is_some() && driver.once_told.is_none(),
        };
        let named = ended.unacknowledged.map(|message| message.turn);
        if is_taken_over && side == Side::Server && self.setup.is_shared() {
            // Whoever goes on with it knows more.
            self.find_unsaid(at);
        } else {
            name(self.tale(id).of_mut(side), named);
        }
        let tale = self.tale(id);
        let outcome = match ended.cause {
            Cause::Link(_) | Cause::Refused(_) => Outcome::GivenUp,
            _ => Outcome::Ended,
        };
        tale.is_end_wanted |= outcome == Outcome::GivenUp && (!is_kept || is_over);
        if !is_kept {
            tale.of_mut(side).outcome = Some(outcome);
        }
        if !is_kept && side == Side::Client {
            self.check_end(id);
        }
        self.finish_record(at);
        let soon = self.dice.up_to(self.setup.delay);
        self.queue.after(soon, Event::Over(at, number));
    }

    /// `Telling`: its user knows of the end.
    fn finish_record(&mut self, at: At) {
        let Some(last) = self.driver(at).and_then(|driver| driver.once_told.take()) else {
            return;
        };
        if self.burns() {
            // It is told again.
            return;
        }
        let peer = self.record_peer(at);
        let driver = self.driver(at).unwrap();
        let (id, record) = (driver.conversation().id(), driver.record);
        let contents = |snapshot| Box::new(Contents::new(peer, snapshot));
        match (record, last) {
            (None, LastPut::Tombstone(snapshot)) => {
                let _ = self.put(at.whose(), id, &Put::Record(contents(snapshot)));
            }
            (None, LastPut::Nothing) => _ = self.put(at.whose(), id, &Put::Nothing),
            (Some(record), LastPut::Tombstone(snapshot)) => {
                self.call(record, Of::Nobody, What::Put(contents(snapshot)));
            }
            (Some(record), LastPut::Nothing) => self.call(record, Of::Nobody, What::End),
        }
    }

    pub(super) fn over(&mut self, at: At, number: DriverNumber) {
        if self.same_driver(at, number).is_some() {
            match at {
                At::Client(client) => self.put_away_client(client),
                At::Server(node, id) => self.put_away_server(node, id),
            }
        }
    }
}

/// A message stands in the record to be handed over again.
pub(super) fn is_unread(record: &turnchat::internals::Snapshot) -> bool {
    record.last_heard.is_some() && record.heard > record.said
}

fn short(output: &Output) -> String {
    match output {
        Output::Store {
            snapshot,
            is_live,
            clienthello,
        } => format!(
            "store said {} heard {} acknowledged {} quit {} live {is_live} clienthello {clienthello}",
            snapshot.said, snapshot.heard, snapshot.acknowledged, snapshot.quit
        ),
        Output::Done(Remains::Parked(_)) => "done, parked".to_owned(),
        other => format!("{other:?}"),
    }
}
