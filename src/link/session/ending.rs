//! How a [`Session`] ends, or is parked.

use super::terms::{LastPut, Output, Remains, Timer};
use super::{Ending, Last, Phase, Session};
use crate::link::error::{Cause, Ended, LinkError};
use crate::protocol::{By, Conversation, End, Overdue, Role, Snapshot};

impl Ending {
    /// Whether the record stays, for a later session to continue.
    fn keeps_record(&self, session: &Session) -> bool {
        !session.has_journal || self.is_dropped || (self.is_parked && session.given_up_by.is_none())
    }
}

impl Session {
    pub(super) fn begin_quitting(&mut self) {
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
    pub(super) fn hurry_quit(&mut self) {
        let quit = Output::Arm(Timer::CrowdedQuit, self.times.crowded_quit);
        self.outputs.push_back(quit);
    }

    pub(super) fn give_up(&mut self) {
        let error = match self.is_quitting {
            true => LinkError::Overdue(Overdue::Quit),
            false => self.lost.clone().unwrap_or(LinkError::Cut),
        };
        self.fail(error, false);
    }

    /// The conversation cannot go on, here and now.
    pub(super) fn fail(&mut self, error: LinkError, is_dropped: bool) {
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

    pub(super) fn end_given_up(&mut self, side: By) {
        if std::mem::take(&mut self.has_link) {
            // The next peer does not wait until this link is closed.
            self.outputs.push_back(Output::CloseInBackground(None));
        }
        self.end(self.conversation.end(side).into(), false, false);
    }

    pub(super) fn end(&mut self, ended: Ended, is_parked: bool, is_dropped: bool) {
        self.phase = Phase::Closing(Box::new(Ending {
            ended,
            is_parked,
            is_dropped,
        }));
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

    /// Leaves the record as a later session must find it.
    pub(super) fn finish(&mut self) {
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

    pub(super) fn done(&mut self) {
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
