//! [`Limits`]: every limit on what a peer may cost us, in one value.

use std::time::Duration;

/// What a peer may cost us in time and memory. Tests use small limits; [`Limits::default`] is
/// PROTOCOL 2.6, 3.15 and 5.1 to 5.4. A time of more than 30 years counts as 30 years. Some are
/// fixed, as a parked conversation's 30 days, and the 10 s that a lost place in the queue is kept.
///
/// The sizes of a message and of an error's detail are part of the format instead:
/// [`Text::MAX`](super::Text::MAX), [`Detail::MAX`](super::Detail::MAX).
///
/// ```
/// use std::time::Duration;
///
/// let mut limits = turnchat::Limits::default();
/// limits.hold = Duration::from_secs(60);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes in a line before `welcome`, LF included (4,096): what comes there is small.
    pub early_line: usize,
    /// Bytes in a line, LF included (524,288): the largest message, each byte escaped as
    /// `\uXXXX`, is 393,216, plus the frame around it.
    pub line: usize,

    /// From accept to a whole `hello`, TLS handshake included (10 s).
    pub hello: Duration,
    /// The client's TLS handshake, from the end of the dial (10 s). The dial is not in it:
    /// [`tcp::dial`](crate::tcp::dial) has 10 s of its own.
    pub handshake: Duration,
    /// From the end of the client's handshake to the server's first frame (10 s). A first
    /// connection that is cut before that frame is redialled within as long (PROTOCOL 4.14).
    pub first_answer: Duration,
    /// A started line before `welcome` ends within this (30 s).
    pub early_line_time: Duration,
    /// A started line after `welcome` never pauses for longer (30 s).
    pub line_pause: Duration,
    /// A started line after `welcome` ends within this (10 min): 512 KiB in
    /// it is less than 1 KiB/s.
    pub line_time: Duration,
    /// A write makes progress within this (30 s), or the link is lost.
    pub write_pause: Duration,
    /// Nothing received for this long: a client asks with `ping` (20 s). A server does an eighth
    /// of the rest of [`silence`](Self::silence) later (25 s): so one of both asks, and hears from
    /// the other by that. Also from one `ping` to the next while a long line comes.
    pub ping_after: Duration,
    /// Nothing received for this long: the link is lost (60 s).
    pub silence: Duration,
    /// From our `quit` to its acknowledgement, redials included (10 s). Also how long the peer's
    /// `quit` waits for its last message to be taken (PROTOCOL 3.9).
    pub quit: Duration,
    /// The same on a server, while somebody waits for the place (2 s).
    pub crowded_quit: Duration,
    /// How long a conversation that was cut is held (15 min); then it is parked in the journal,
    /// or without one over. Zero: a cut ends it.
    pub hold: Duration,
    /// The same on a server while somebody waits for the place (30 s). All cuts since a turn last
    /// passed are added up, each rounded up to a thirtieth of this, also those from before
    /// somebody came.
    pub crowded_hold: Duration,
    /// How long a closing side may take to write its last frame, and then as long to read and
    /// drop what still comes (2 s).
    pub close_time: Duration,
    /// How many bytes a closing side reads and drops (1 MiB).
    pub close_bytes: usize,

    /// Admitted clients in the queue (16). With 0, one still waits while no conversation is on and
    /// the server's user is not ready.
    pub queue: usize,
    /// Conversations that are parked (1,000), a quarter of them of one key; past either the oldest
    /// is given up.
    pub parked: usize,
    /// Ended conversations that are remembered (1,000).
    pub ended: usize,
    /// How long they are remembered (24 h). A restart counts anew, and forgets ends of more than
    /// 24 h whatever this is.
    pub ended_time: Duration,
    /// Connections that are not admitted yet (128); past it an old one of the address that has
    /// most is closed.
    pub strangers: usize,
    /// Of these, from one address (8): an IPv4 address or an IPv6 /64. Loopback, and connections
    /// without an address, have only the limit of [`strangers`](Self::strangers) (PROTOCOL 5.4).
    pub strangers_per_address: usize,
    /// Keys that the server's user may be asked about at once (4), one per address; loopback
    /// has no limit per address.
    pub questions: usize,
    /// How long a question may stay open (2 min).
    pub question_time: Duration,
}

/// The longest time that anything waits: 30 years, which every clock can count.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

impl Limits {
    /// The same limits, with no time longer than 30 years: a caller's value must not overflow
    /// a clock.
    #[must_use]
    pub fn countable(self) -> Self {
        let bounded = |time: Duration| time.min(FOR_EVER);
        Self {
            hello: bounded(self.hello),
            handshake: bounded(self.handshake),
            first_answer: bounded(self.first_answer),
            early_line_time: bounded(self.early_line_time),
            line_pause: bounded(self.line_pause),
            line_time: bounded(self.line_time),
            write_pause: bounded(self.write_pause),
            ping_after: bounded(self.ping_after),
            silence: bounded(self.silence),
            quit: bounded(self.quit),
            crowded_quit: bounded(self.crowded_quit),
            hold: bounded(self.hold),
            crowded_hold: bounded(self.crowded_hold),
            close_time: bounded(self.close_time),
            ended_time: bounded(self.ended_time),
            question_time: bounded(self.question_time),
            ..self
        }
    }

    /// Those of a server, given those of a client: it lets that ask first.
    #[must_use]
    pub(crate) fn of_server(self) -> Self {
        let rest = self.silence.saturating_sub(self.ping_after);
        Self {
            ping_after: self.ping_after + rest / 8,
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        const fn seconds(s: u64) -> Duration {
            Duration::from_secs(s)
        }
        Self {
            early_line: 4_096,
            line: 524_288,
            hello: seconds(10),
            handshake: seconds(10),
            first_answer: seconds(10),
            early_line_time: seconds(30),
            line_pause: seconds(30),
            line_time: seconds(600),
            write_pause: seconds(30),
            ping_after: seconds(20),
            silence: seconds(60),
            quit: seconds(10),
            crowded_quit: seconds(2),
            hold: seconds(900),
            crowded_hold: seconds(30),
            close_time: seconds(2),
            close_bytes: 1 << 20,
            queue: 16,
            parked: 1_000,
            ended: 1_000,
            ended_time: seconds(24 * 3_600),
            strangers: 128,
            strangers_per_address: 8,
            questions: 4,
            question_time: seconds(120),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(limits: &mut Limits) -> [&mut Duration; 16] {
        [
            &mut limits.hello,
            &mut limits.handshake,
            &mut limits.first_answer,
            &mut limits.early_line_time,
            &mut limits.line_pause,
            &mut limits.line_time,
            &mut limits.write_pause,
            &mut limits.ping_after,
            &mut limits.silence,
            &mut limits.quit,
            &mut limits.crowded_quit,
            &mut limits.hold,
            &mut limits.crowded_hold,
            &mut limits.close_time,
            &mut limits.ended_time,
            &mut limits.question_time,
        ]
    }

    #[test]
    fn every_clock_can_count_every_time() {
        assert_eq!(Limits::default().countable(), Limits::default());
        let mut endless = Limits::default();
        for time in times(&mut endless) {
            *time = Duration::MAX;
        }
        for time in times(&mut endless.countable()) {
            assert_eq!(time.as_secs() / (365 * 24 * 3_600), 30);
        }
    }

    #[test]
    fn the_limits_are_those_of_the_protocol() {
        let limits = Limits::default();
        // A day (PROTOCOL 4.24), and a MiB.
        assert_eq!(limits.ended_time.as_secs(), 86_400);
        assert_eq!(limits.close_bytes, 1_048_576);
    }
}
