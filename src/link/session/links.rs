//! What becomes of a [`Session`]'s links.

use super::Session;
use super::pace::FEW_REDIALS;
use super::terms::{Greeting, NotAccepted, Notice, Output, REPLACED, Timer};
use crate::link::error::LinkError;
use crate::protocol::{Frame, Role};
use crate::trust::KeyId;

impl Session {
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
        let owed_quit = self.conversation.owes_quit();
        match self.conversation.receive(frame) {
            // What comes behind its `quit` gives it no more time.
            Ok(()) if owed_quit => {}
            Ok(()) => self.limit_taking(),
            Err(violation) => self.link_lost(LinkError::Violation(violation)),
        }
    }

    /// The peer's `quit` does not wait for ever until its message is taken (PROTOCOL 3.9).
    pub(super) fn limit_taking(&mut self) {
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

    /// The conversation is on, or on again.
    pub(super) fn welcomed(&mut self) {
        self.has_begun = true;
        self.answered();
        if !std::mem::replace(&mut self.is_welcomed, true) && self.role == Role::Client {
            // The `welcome` itself tells that the link is back.
            self.news.told_lost = false;
        }
    }

    /// The peer has the conversation, or a place for it.
    pub(super) fn answered(&mut self) {
        if self.lost.take().is_some() {
            self.news.hindrance = None;
            self.outputs.push_back(Output::Disarm(Timer::Hold));
            if self.role == Role::Server {
                self.outputs.push_back(Output::Disarm(Timer::CrowdedHold));
            }
        }
    }

    /// Whether the peer has ever said anything about the conversation.
    pub(super) fn is_answered(&self) -> bool {
        self.has_begun || self.is_queued
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
    pub(super) fn count_cut_time(&mut self) {
        self.pace.cut_parts = self.pace.cut_parts.saturating_add(1);
        match self.pace.is_cut_for_long() {
            true => self.crowded(self.is_crowded),
            false => {
                let part = Output::Arm(Timer::CrowdedHold, self.times.crowded_part);
                self.outputs.push_back(part);
            }
        }
    }

    pub(super) fn redial(&mut self) {
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
}
