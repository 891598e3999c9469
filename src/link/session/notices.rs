//! What a [`Session`] tells its user besides messages and the end.

use super::Session;
use super::pace::{NOTICE_PAUSE, NOTICES};
use super::terms::{Notice, Output, Timer};

impl Session {
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

    pub(super) fn arm_notices(&mut self) {
        let pause = Output::Arm(Timer::Notices, NOTICE_PAUSE);
        self.outputs.push_back(pause);
    }

    /// Whether the link has come or gone and the user was not told. Before the peer's first
    /// answer there is nothing to tell.
    fn has_come_or_gone(&self) -> bool {
        self.is_on() && self.is_answered() && self.news.told_lost != self.is_lost()
    }
}
