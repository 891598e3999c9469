//! [`Liveness`]: is the peer still there, and is it fast enough? Instants go in; `ping` and
//! `pong` frames, and what is overdue, come out (PROTOCOL 5.2). A person may think for ever: a
//! `pong` is enough.

use std::time::{Duration, Instant};

use super::frame::Frame;
use super::limits::Limits;
use super::violation::Violation;

/// The timers of one connection, the same for both roles.
///
/// ```
/// use std::time::Instant;
/// use turnchat::internals::{Frame, Liveness};
/// use turnchat::{Limits, Overdue};
///
/// let (start, limits) = (Instant::now(), Limits::default());
/// let mut liveness = Liveness::new(start, &limits);
/// liveness.spoke();
/// assert_eq!(liveness.poll_frame(start), None);
/// assert_eq!(liveness.poll_frame(start + limits.ping_after), Some(Frame::Ping {}));
/// assert_eq!(liveness.overdue(start + limits.silence), Some(Overdue::Silent));
/// ```
#[derive(Debug)]
pub struct Liveness {
    times: Times,
    /// When the last byte came.
    received: Instant,
    /// Since when bytes come that the peer is not proven to have sent.
    trickling: Option<Instant>,
    /// A `ping` went out since then.
    pinged: bool,
    /// When the last one went out.
    pinged_at: Option<Instant>,
    silence: Silence,
    pong_owed: bool,
    /// Our first frame has gone.
    spoke: bool,
    /// The peer's first frame has come.
    greeted: bool,
    welcomed: bool,
    line_since: Option<Instant>,
    writing_since: Option<Instant>,
    first_frame_by: Option<Instant>,
}

/// Of the [`Limits`] those that a connection needs to its end: there may be thousands.
#[derive(Clone, Copy, Debug)]
struct Times {
    early_line: Duration,
    line_pause: Duration,
    line: Duration,
    write_pause: Duration,
    ping_after: Duration,
    silence: Duration,
}

impl From<&Limits> for Times {
    fn from(limits: &Limits) -> Self {
        Self {
            early_line: limits.early_line_time,
            line_pause: limits.line_pause,
            line: limits.line_time,
            write_pause: limits.write_pause,
            ping_after: limits.ping_after,
            silence: limits.silence,
        }
    }
}

/// Whether the user knows that the peer is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// There is nothing to know.
    None,
    /// It has been told.
    Told,
    /// It has been told, and is over.
    Over,
}

/// What took too long (PROTOCOL 5.1 to 5.3; PAIRING 5.9). The link is lost; a slow line is also answered
/// with `error` `timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overdue {
    /// Not a byte came for [`Limits::silence`] (60 s).
    Silent,
    /// A started line paused for [`Limits::line_pause`] (30 s), or did not end in
    /// [`Limits::line_time`] (10 min); before `welcome`, in [`Limits::early_line_time`] (30 s).
    Line,
    /// The peer took nothing of what we write for [`Limits::write_pause`] (30 s).
    Write,
    /// A server's first frame did not come in [`Limits::first_answer`], or a client's `hello` not
    /// in [`Limits::hello`] (10 s each).
    FirstFrame,
    /// Our `quit` was not acknowledged in [`Limits::quit`] (10 s), on any connection.
    Quit,
    /// An exchange of a pairing did not end within 15 s of its first frame (PAIRING 5.9 and 6.3).
    Pairing,
}

impl Liveness {
    /// The timers of a connection that begins `now`.
    pub fn new(now: Instant, limits: &Limits) -> Self {
        Self {
            times: limits.into(),
            received: now,
            trickling: None,
            pinged: false,
            pinged_at: None,
            silence: Silence::None,
            pong_owed: false,
            spoke: false,
            greeted: false,
            welcomed: false,
            line_since: None,
            writing_since: None,
            first_frame_by: None,
        }
    }

    /// The peer's first frame is due by this instant.
    pub fn expect_first_frame(&mut self, by: Instant) {
        self.first_frame_by = Some(by);
    }

    /// Our first frame has gone, or is about to: `ping` and `pong` may follow.
    pub fn spoke(&mut self) {
        self.spoke = true;
    }

    /// `welcome` has come or gone: lines may be long from now on.
    pub fn welcomed(&mut self) {
        self.welcomed = true;
    }

    /// Bytes came.
    pub fn received(&mut self, now: Instant) {
        (self.received, self.trickling) = (now, None);
        self.pinged = false;
        if self.silence == Silence::Told {
            self.silence = Silence::Over;
        }
    }

    /// Bytes came of a TLS record that is not whole yet. Over a slow path it can take a while; but
    /// anybody can have made them, so they count no longer than a line may take.
    pub fn trickled(&mut self, now: Instant) {
        let since = *self.trickling.get_or_insert(now);
        if now < since + self.times.line {
            self.received = now;
        }
    }

    /// The bytes so far have ended a line, or are still inside one.
    pub fn line(&mut self, now: Instant, is_inside: bool) {
        self.line_since = match is_inside {
            true => self.line_since.or(Some(now)),
            false => None,
        };
    }

    /// Bytes were written, or are now waiting to be; `more` are left.
    pub fn wrote(&mut self, now: Instant, more: bool) {
        self.writing_since = more.then_some(now);
    }

    /// Keeps `ping` and `pong` here and passes every other frame on.
    ///
    /// # Errors
    /// [`Violation::FirstFrame`] if one of them is the peer's very first frame (PROTOCOL 2.8).
    pub fn filter(&mut self, frame: Frame) -> Result<Option<Frame>, Violation> {
        let is_ping = frame == (Frame::Ping {});
        if !is_ping && frame != (Frame::Pong {}) {
            self.greeted = true;
            self.first_frame_by = None;
            return Ok(Some(frame));
        }
        if !self.greeted {
            return Err(Violation::FirstFrame { kind: frame.kind() });
        }
        // At most one `pong` is owed, however many pings came (PROTOCOL 2.8).
        self.pong_owed |= is_ping;
        Ok(None)
    }

    /// The `pong` that is owed or the `ping` that is due, behind our first frame.
    /// Ask when nothing else waits to be written, so that a peer that does not read
    /// cannot make them pile up.
    pub fn poll_frame(&mut self, now: Instant) -> Option<Frame> {
        if !self.spoke {
            return None;
        }
        if std::mem::take(&mut self.pong_owed) {
            return Some(Frame::Pong {});
        }
        if self.ping_at().is_some_and(|at| now >= at) {
            self.pinged = true;
            self.pinged_at = Some(now);
            return Some(Frame::Ping {});
        }
        None
    }

    /// When a `ping` is due: once in a silence, and repeatedly while a long line comes. Its
    /// sender hears nothing else from us meanwhile and would take the link for lost.
    fn ping_at(&self) -> Option<Instant> {
        let since = match self.line_since.or(self.trickling) {
            Some(line) => self.pinged_at.map_or(line, |at| at.max(line)),
            None if self.pinged => return None,
            None => self.received,
        };
        Some(since + self.times.ping_after)
    }

    /// What is overdue at `now`.
    pub fn overdue(&self, now: Instant) -> Option<Overdue> {
        self.deadlines()
            .into_iter()
            .flatten()
            .filter(|(at, _)| now >= *at)
            .map(|(_, overdue)| overdue)
            .next()
    }

    /// News of a silence: `true` once a `ping` is unanswered for a quarter of the time that it
    /// may take, and `false` once something has come after that.
    pub fn poll_silence(&mut self, now: Instant) -> Option<bool> {
        if self.silence == Silence::Over {
            self.silence = Silence::None;
            return Some(false);
        }
        let is_news = self.silent_at().is_some_and(|at| now >= at);
        is_news.then(|| {
            self.silence = Silence::Told;
            true
        })
    }

    /// Whether that can be, at any time.
    pub fn may_be_silent(&self) -> bool {
        self.silence == Silence::Over || self.silent_at().is_some()
    }

    /// When to ask that again.
    pub fn silent_at(&self) -> Option<Instant> {
        let Times {
            ping_after,
            silence,
            ..
        } = self.times;
        let is_asked = self.pinged && self.silence == Silence::None;
        is_asked.then(|| self.received + ping_after + silence.saturating_sub(ping_after) / 4)
    }

    /// When to ask [`poll_frame`](Self::poll_frame) and
    /// [`overdue`](Self::overdue) again, if nothing happens before.
    pub fn wake_at(&self) -> Instant {
        // A ping that is due waits behind what is being written.
        let may_ping = self.spoke && self.writing_since.is_none();
        let ping = self.ping_at().filter(|_| may_ping);
        let deadlines = self.deadlines().into_iter().flatten().map(|(at, _)| at);
        let silent = self.received + self.times.silence;
        deadlines.chain(ping).fold(silent, Instant::min)
    }

    fn deadlines(&self) -> [Option<(Instant, Overdue)>; 4] {
        let silent = self.received + self.times.silence;
        let line = self.line_since.map(|since| match self.welcomed {
            true => (since + self.times.line).min(self.received + self.times.line_pause),
            false => since + self.times.early_line,
        });
        let write = self
            .writing_since
            .map(|since| since + self.times.write_pause);
        [
            line.map(|at| (at, Overdue::Line)),
            write.map(|at| (at, Overdue::Write)),
            self.first_frame_by.map(|at| (at, Overdue::FirstFrame)),
            Some((silent, Overdue::Silent)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn live() -> (Instant, Liveness) {
        let start = Instant::now();
        let mut liveness = Liveness::new(start, &Limits::default());
        liveness.filter(Frame::Wait { ahead: 0 }).unwrap();
        liveness.spoke();
        (start, liveness)
    }

    fn received(liveness: &mut Liveness, now: Instant, is_inside: bool) {
        liveness.received(now);
        liveness.line(now, is_inside);
    }

    #[test]
    fn silence_is_asked_about_once_and_then_the_link_is_lost() {
        let (start, mut liveness) = live();
        assert_eq!(liveness.wake_at(), start + 20 * SECOND);
        assert_eq!(liveness.poll_frame(start + 19 * SECOND), None);
        assert_eq!(
            liveness.poll_frame(start + 20 * SECOND),
            Some(Frame::Ping {})
        );
        assert_eq!(liveness.poll_frame(start + 21 * SECOND), None);
        assert_eq!(liveness.wake_at(), start + 60 * SECOND);
        assert_eq!(liveness.overdue(start + 59 * SECOND), None);
        assert_eq!(liveness.overdue(start + 60 * SECOND), Some(Overdue::Silent));
    }

    /// Else each side would ask within a round trip of the other, and be answered.
    #[test]
    fn of_two_sides_one_asks() {
        let start = Instant::now();
        let limits = Limits::default();
        let mut sides = [limits, limits.of_server()].map(|limits| {
            let mut side = Liveness::new(start, &limits);
            side.filter(Frame::Wait { ahead: 0 }).unwrap();
            side.spoke();
            side
        });
        let mut written = [0; 2];
        for tenth in 0..6_000 {
            let now = start + tenth * SECOND / 10;
            // What both write crosses on its way.
            let frames = sides.each_mut().map(|side| side.poll_frame(now));
            for (from, frame) in frames.into_iter().enumerate() {
                if let Some(frame) = frame {
                    written[from] += 1;
                    received(&mut sides[1 - from], now, false);
                    sides[1 - from].filter(frame).unwrap();
                }
            }
        }
        // A `ping` every 20 s, and as many answers.
        assert_eq!(written, [29, 29]);
    }

    #[test]
    fn any_byte_is_a_sign_of_life() {
        let (start, mut liveness) = live();
        let _ = liveness.poll_frame(start + 20 * SECOND);
        received(&mut liveness, start + 59 * SECOND, true);
        assert_eq!(liveness.overdue(start + 60 * SECOND), None);
        received(&mut liveness, start + 60 * SECOND, false);
        assert_eq!(liveness.overdue(start + 119 * SECOND), None);
        assert_eq!(
            liveness.poll_frame(start + 80 * SECOND),
            Some(Frame::Ping {})
        );
    }

    #[test]
    fn the_writer_of_a_long_line_is_asked_all_the_time() {
        let (start, mut liveness) = live();
        liveness.welcomed();
        let mut asked = Vec::new();
        for second in 0..70 {
            let now = start + second * SECOND;
            received(&mut liveness, now, true);
            asked.extend(liveness.poll_frame(now).map(|_| second));
            assert!(liveness.wake_at() > now);
        }
        assert_eq!(asked, [20, 40, 60]);
        received(&mut liveness, start + 70 * SECOND, false);
        assert_eq!(liveness.wake_at(), start + 90 * SECOND);
    }

    #[test]
    fn many_pings_are_answered_by_one_pong() {
        let (start, mut liveness) = live();
        for _ in 0..1000 {
            assert_eq!(liveness.filter(Frame::Ping {}), Ok(None));
        }
        assert_eq!(liveness.poll_frame(start), Some(Frame::Pong {}));
        assert_eq!(liveness.poll_frame(start), None);
    }

    #[test]
    fn an_unasked_pong_is_ignored() {
        let (start, mut liveness) = live();
        assert_eq!(liveness.filter(Frame::Pong {}), Ok(None));
        assert_eq!(liveness.poll_frame(start), None);
    }

    #[test]
    fn neither_ping_nor_pong_is_a_first_frame() {
        for frame in [Frame::Ping {}, Frame::Pong {}] {
            let mut liveness = Liveness::new(Instant::now(), &Limits::default());
            let kind = frame.kind();
            assert_eq!(liveness.filter(frame), Err(Violation::FirstFrame { kind }));
        }
    }

    #[test]
    fn they_wait_for_our_own_first_frame_too() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start, &Limits::default());
        liveness.filter(Frame::Wait { ahead: 0 }).unwrap();
        liveness.filter(Frame::Ping {}).unwrap();
        assert_eq!(liveness.poll_frame(start + 20 * SECOND), None);
        assert_eq!(liveness.wake_at(), start + 60 * SECOND);
        liveness.spoke();
        assert_eq!(
            liveness.poll_frame(start + 20 * SECOND),
            Some(Frame::Pong {})
        );
        assert_eq!(
            liveness.poll_frame(start + 20 * SECOND),
            Some(Frame::Ping {})
        );
    }

    #[test]
    fn an_early_line_ends_in_time_however_it_trickles() {
        let (start, mut liveness) = live();
        for s in 0..30 {
            received(&mut liveness, start + s * SECOND, true);
            assert_eq!(liveness.overdue(start + s * SECOND), None);
        }
        assert_eq!(liveness.overdue(start + 30 * SECOND), Some(Overdue::Line));
    }

    #[test]
    fn a_line_after_welcome_may_be_slow_but_does_not_pause() {
        let (start, mut liveness) = live();
        liveness.welcomed();
        for s in (0..600).step_by(29) {
            received(&mut liveness, start + s * SECOND, true);
            assert_eq!(liveness.overdue(start + (s + 1) * SECOND), None);
        }
        assert_eq!(liveness.overdue(start + 600 * SECOND), Some(Overdue::Line));

        let (start, mut liveness) = live();
        liveness.welcomed();
        received(&mut liveness, start, true);
        assert_eq!(liveness.overdue(start + 29 * SECOND), None);
        assert_eq!(liveness.overdue(start + 30 * SECOND), Some(Overdue::Line));
    }

    #[test]
    fn the_next_line_has_its_own_time() {
        let (start, mut liveness) = live();
        received(&mut liveness, start, true);
        liveness.line(start, false);
        received(&mut liveness, start + 29 * SECOND, true);
        assert_eq!(liveness.overdue(start + 58 * SECOND), None);
    }

    #[test]
    fn a_write_that_makes_no_progress_loses_the_link() {
        let (start, mut liveness) = live();
        liveness.wrote(start, true);
        liveness.wrote(start + 29 * SECOND, true);
        received(&mut liveness, start + 29 * SECOND, false);
        assert_eq!(liveness.overdue(start + 58 * SECOND), None);
        assert_eq!(liveness.overdue(start + 59 * SECOND), Some(Overdue::Write));
        liveness.wrote(start + 59 * SECOND, false);
        assert_eq!(liveness.overdue(start + 59 * SECOND), None);
    }

    #[test]
    fn a_ping_that_is_due_waits_for_what_is_being_written() {
        let (start, mut liveness) = live();
        liveness.wrote(start + 19 * SECOND, true);
        assert_eq!(liveness.wake_at(), start + 49 * SECOND);
        liveness.wrote(start + 40 * SECOND, false);
        assert_eq!(liveness.wake_at(), start + 20 * SECOND);
    }

    #[test]
    fn the_first_frame_has_its_own_time() {
        let start = Instant::now();
        let mut liveness = Liveness::new(start, &Limits::default());
        liveness.expect_first_frame(start + 10 * SECOND);
        received(&mut liveness, start + 9 * SECOND, true);
        assert_eq!(
            liveness.overdue(start + 10 * SECOND),
            Some(Overdue::FirstFrame)
        );
        liveness.filter(Frame::Wait { ahead: 0 }).unwrap();
        assert_eq!(liveness.overdue(start + 10 * SECOND), None);
    }

    #[test]
    fn a_person_may_think_as_long_as_the_program_answers() {
        let (start, mut liveness) = live();
        for minute in 0..60 {
            let now = start + minute * 20 * SECOND;
            assert_eq!(liveness.overdue(now), None);
            let _ = liveness.poll_frame(now);
            received(&mut liveness, now, false);
        }
    }

    #[test]
    fn a_silence_is_told_once_and_so_is_its_end() {
        let (start, mut liveness) = live();
        // Nothing was asked yet.
        assert_eq!(liveness.silent_at(), None);
        assert!(!liveness.may_be_silent());
        assert_eq!(liveness.poll_silence(start + 59 * SECOND), None);
        let _ = liveness.poll_frame(start + 20 * SECOND);
        assert_eq!(liveness.silent_at(), Some(start + 30 * SECOND));
        assert!(liveness.may_be_silent());
        assert_eq!(liveness.poll_silence(start + 29 * SECOND), None);
        assert_eq!(liveness.poll_silence(start + 30 * SECOND), Some(true));
        assert_eq!(liveness.silent_at(), None);
        assert!(!liveness.may_be_silent());
        assert_eq!(liveness.poll_silence(start + 31 * SECOND), None);
        received(&mut liveness, start + 35 * SECOND, false);
        assert!(liveness.may_be_silent());
        assert_eq!(liveness.poll_silence(start + 35 * SECOND), Some(false));
        assert_eq!(liveness.poll_silence(start + 90 * SECOND), None);
        // It is asked again later, and told again.
        let _ = liveness.poll_frame(start + 55 * SECOND);
        assert_eq!(liveness.silent_at(), Some(start + 65 * SECOND));
    }
}
