//! One side of one conversation, as src/link/session.rs and src/link/journal.rs
//! drive it.

use turnchat::protocol::{
    By, Code, Conversation, ConversationId, End, Frame, Output, Reason, Role, Snapshot,
};

use super::house::Guest;
use super::{Number, World};
use crate::config::{Config, Side};
use crate::rules::Broken;
use crate::tale::Outcome;

/// `link::session::Session`, and the page of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) conversation: Conversation,
    pub(super) link: Option<Number>,
    /// Of `link`, or of the last one.
    pub(super) newest: Number,
    /// Only where Detach first is broken.
    pub(super) old: Option<Number>,
    pub(super) has_begun: bool,
    pub(super) is_lost: bool,
    pub(super) is_quitting: bool,
    /// Redials that are left, once it is quitting.
    pub(super) tries: Option<u8>,
    /// The client's user has their `Talk`.
    pub(super) is_talking: bool,
    /// The program was started to go on with it.
    pub(super) is_resumed: bool,
    pub(super) ending: Option<Ending>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    Ended(End),
    Failed,
}

impl Session {
    /// `Session::held`.
    pub(super) fn held(conversation: Conversation) -> Self {
        Self {
            link: None,
            newest: 0,
            old: None,
            has_begun: true,
            is_lost: true,
            is_quitting: conversation.has_quit(),
            tries: None,
            is_talking: true,
            is_resumed: false,
            ending: None,
            conversation,
        }
    }
}

impl World {
    /// `Session::process_outputs`.
    pub(super) fn process_outputs(&mut self, config: &Config, side: Side, number: Number) {
        let mut unstored = None;
        let mut was_connected = false;
        while let Some(output) = self.session(side, number).conversation.poll_output() {
            // A crash cuts the link, and what was sent may be lost from any frame on:
            // so it need not come before a frame as well.
            let leaves_trace = match output {
                Output::Store(_) => {
                    config.keeps_journal(side) && !config.breaks(Broken::StoredBeforeSent)
                }
                Output::Deliver { .. } => true,
                _ => false,
            };
            if leaves_trace && self.burns() {
                return;
            }
            let session = self.session(side, number);
            let (id, link) = (session.conversation.id(), session.link);
            match output {
                Output::Store(snapshot) => {
                    session.conversation.stored();
                    match config.breaks(Broken::StoredBeforeSent) {
                        true => unstored = Some(snapshot),
                        false => self.store(config, side, snapshot, true),
                    }
                }
                Output::Send(frame) => {
                    let is_say = matches!(frame, Frame::Say { .. });
                    let is_silent = is_say && was_connected && config.breaks(Broken::SayAgain);
                    let is_answer = frame == Frame::Quit {} && !session.is_quitting;
                    let is_unanswered = is_answer && config.breaks(Broken::QuitAnswered);
                    if let Some(link) = link
                        && !is_silent
                        && !is_unanswered
                    {
                        self.send(side, link, frame);
                    }
                }
                Output::Connected => {
                    was_connected = true;
                    session.has_begun = true;
                    session.is_lost = false;
                    let is_first = !std::mem::replace(&mut session.is_talking, true);
                    if is_first && side == Side::Client && config.breaks(Broken::ShownFirst) {
                        self.show_again(side, number);
                    }
                }
                Output::Deliver { turn, text } => {
                    let tale = self.tales.entry(id).or_default();
                    if let Err(promise) = tale.show(side, turn, &text, false) {
                        self.breaks(promise);
                    }
                }
                Output::Waiting { .. } | Output::Delivered { .. } => {}
                Output::Ended(end) => {
                    // `Session::run`: closed in order.
                    session.ending = Some(Ending::Ended(end));
                    if let Some(link) = session.link.take() {
                        self.hang_up(side, link, false);
                    }
                    break;
                }
            }
        }
        if let Some(snapshot) = unstored {
            if self.burns() {
                return;
            }
            self.store(config, side, snapshot, true);
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

    /// `Session::receive`.
    pub(super) fn receive(&mut self, config: &Config, side: Side, number: Number, frame: Frame) {
        let session = self.session(side, number);
        match &frame {
            Frame::Refuse {
                reason: Reason::Busy,
            } if session.is_lost => return self.lose(config, side, number),
            // src/link/wire.rs, `decode`.
            Frame::Error {
                code: Code::Replaced,
                ..
            } => {
                self.breaks(crate::REPLACED);
                return self.fail(side, number);
            }
            Frame::Error { .. } => {
                self.breaks(crate::ACCUSED);
                return self.fail(side, number);
            }
            _ => {}
        }
        let said = session.conversation.snapshot().said;
        let frame = match frame {
            Frame::Welcome { conversation, .. } if config.breaks(Broken::Counters) => {
                Frame::Welcome {
                    conversation,
                    heard: said.saturating_sub(2),
                }
            }
            frame => frame,
        };
        match session.conversation.receive(frame) {
            Ok(()) => self.process_outputs(config, side, number),
            Err(_) => {
                self.breaks(crate::ACCUSED);
                self.fail(side, number);
            }
        }
    }

    /// `Session::lose`: the link is lost, and its end is hung up already.
    pub(super) fn lose(&mut self, config: &Config, side: Side, number: Number) {
        let session = self.session(side, number);
        if let Some(link) = session.link.take() {
            let is_acknowledged = session.conversation.has_quit() && session.is_quitting;
            if config.breaks(Broken::QuitAnswered) && is_acknowledged {
                session.ending = Some(Ending::Ended(session.conversation.end(By::Me)));
            } else if !session.has_begun {
                session.ending = Some(Ending::Failed);
            } else {
                session.conversation.detach();
                session.is_lost = true;
            }
            self.hang_up(side, link, true);
        }
    }

    /// `Session::run`, where `drive` fails.
    pub(super) fn fail(&mut self, side: Side, number: Number) {
        let session = self.session(side, number);
        session.ending = Some(Ending::Failed);
        if let Some(link) = session.link.take() {
            self.hang_up(side, link, true);
        }
    }

    /// `Session::attach`, for a server.
    pub(super) fn attach(&mut self, config: &Config, number: Number) {
        let joining = self.house.guests.remove(&number);
        self.left(config, number);
        let Some(Guest::Joining {
            with,
            heard,
            has_quit,
        }) = joining
        else {
            return;
        };
        if !matches!(self.house.guests.get(&with), Some(Guest::Talking(_))) {
            // src/link/server/connection.rs: the conversation has ended, or was parked, just now.
            if config.breaks(Broken::JustPutAway) {
                let reason = Reason::Ended;
                self.send(Side::Server, number, Frame::Refuse { reason });
            }
            self.hang_up(Side::Server, number, false);
            // Its report is older than this connection's end, which the client has yet to see.
            return self.left(config, with);
        }
        let session = self.session(Side::Server, with);
        if number < session.newest && !config.breaks(Broken::NewestAttaches) {
            return self.hang_up(Side::Server, number, false);
        }
        let old = session.link;
        if !self.accept(config, with, number, heard, has_quit) {
            return;
        }
        let session = self.session(Side::Server, with);
        session.link = Some(number);
        session.newest = number;
        if let Some(old) = old {
            if config.breaks(Broken::DetachFirst) {
                session.old = Some(old);
            } else {
                let code = Code::Replaced;
                self.send(Side::Server, old, Frame::Error { code, detail: None });
                self.hang_up(Side::Server, old, false);
            }
        }
        self.process_outputs(config, Side::Server, with);
    }

    /// `Conversation::accept`. Where the counters cannot be, this connection is
    /// told so, and nothing has changed.
    pub(super) fn accept(
        &mut self,
        config: &Config,
        with: Number,
        number: Number,
        heard: u64,
        has_quit: bool,
    ) -> bool {
        let conversation = &mut self.session(Side::Server, with).conversation;
        let heard = match config.breaks(Broken::Counters) {
            true => conversation.snapshot().said.saturating_sub(2),
            false => heard,
        };
        if let Err(violation) = conversation.accept(heard) {
            let code = violation.code();
            self.send(Side::Server, number, Frame::Error { code, detail: None });
            self.hang_up(Side::Server, number, false);
            return false;
        }
        if has_quit {
            conversation.receive(Frame::Quit {}).unwrap();
        }
        true
    }

    /// How it ended, for its user.
    pub(super) fn tell(&mut self, side: Side, id: ConversationId, end: &End, outcome: Outcome) {
        let tale = self.tales.entry(id).or_default();
        tale.is_end_wanted |= outcome == Outcome::GivenUp;
        let told = tale.of_mut(side);
        told.outcome = Some(outcome);
        if let Some((turn, _)) = &end.unacknowledged {
            told.named = Some(*turn);
        }
    }

    // src/link/journal.rs

    pub(super) fn store(&mut self, config: &Config, side: Side, snapshot: Snapshot, is_live: bool) {
        if !config.keeps_journal(side)
            || (snapshot.quit && config.breaks(Broken::QuitOutlivesCrash))
        {
            return;
        }
        match side {
            Side::Client => self.page = Some(snapshot),
            Side::Server => {
                self.remove_page(snapshot.id);
                // Of an end, only that it was one is read again.
                let page = match snapshot.quit {
                    true => Conversation::new(Role::Server, snapshot.id).tombstone(),
                    false => snapshot,
                };
                let is_live = is_live && !page.quit;
                self.house.pages.push((page, is_live));
                // Only the order of those that are live is of any consequence.
                let pages = &mut self.house.pages;
                pages.sort_by_key(|(page, is_live)| (*is_live, (!is_live).then_some(page.id)));
            }
        }
    }

    pub(super) fn remove_page(&mut self, id: ConversationId) {
        self.house.pages.retain(|(page, _)| page.id != id);
    }
}
