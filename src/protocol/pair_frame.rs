//! [`PairFrame`] to a line and back, and the [`PairDecoder`] (PAIRING 2.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};

use super::frame::Code;
use super::lines::Lines;
use super::members::{FrameError, Members};
use super::text::Detail;

/// One frame of a pairing. The rules for lines and members are those of
/// [`Frame`](super::Frame).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PairFrame {
    /// A step of the exchange.
    Pair(PairStep),
    /// The server's last: you are not paired.
    Refuse {
        /// Why not.
        reason: PairReason,
    },
    /// This connection cannot go on.
    Error {
        /// What is wrong.
        code: Code,
        /// For the log.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<Detail>,
    },
}

/// What a `pair` frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PairStep {
    /// The sender's SPAKE2 message, with its side in the first byte.
    Spake2(#[serde(serialize_with = "encoded")] [u8; 33]),
    /// The sender's confirmation.
    Confirm(#[serde(serialize_with = "encoded")] [u8; 32]),
}

/// Why a server refuses to pair (PAIRING 2.1 and 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PairReason {
    /// Wrong words; or the code is spent or too old.
    PairingFailed,
    /// Too many clients try at once.
    Busy,
    /// The server does not pair with this key: it is its own, or another key has the name
    /// that its user chose.
    Declined,
}

impl PairReason {
    /// The reason as it stands on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::PairingFailed => "pairing-failed",
            Self::Busy => "busy",
            Self::Declined => "declined",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::PairingFailed, Self::Busy, Self::Declined]
            .into_iter()
            .find(|reason| reason.word() == word)
    }
}

impl PairFrame {
    /// Bytes in a line, LF included (PAIRING 2.2).
    pub const MAX_LINE: usize = 4_096;

    /// The frame as it is sent, LF included.
    pub fn to_line(&self) -> Vec<u8> {
        #[expect(
            clippy::expect_used,
            reason = "memory takes all, and no key is a non-string"
        )]
        let mut line = serde_json::to_vec(self).expect("a frame is JSON");
        line.push(b'\n');
        line
    }

    /// The frame that a line holds; the line is given without its LF.
    ///
    /// # Errors
    /// A [`FrameError`] for anything but exactly one frame.
    pub fn from_line(line: &[u8]) -> Result<Self, FrameError> {
        let (kind, mut members) = Members::of_line(line)?;
        let frame = match &*kind {
            "pair" => Self::Pair(match members.has("confirm") {
                false => PairStep::Spake2(members.bytes("spake2")?),
                true => PairStep::Confirm(members.bytes("confirm")?),
            }),
            "refuse" => Self::Refuse {
                reason: members.word("reason", PairReason::from_word)?,
            },
            "error" => Self::Error {
                code: members.word("code", Code::from_word)?,
                detail: members.detail("detail")?,
            },
            _ => return Err(FrameError::UnknownKind),
        };
        members.none_left()?;
        Ok(frame)
    }
}

fn encoded<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
}

/// Turns bytes into pair frames, however the bytes are split.
#[derive(Debug)]
pub struct PairDecoder(Lines);

impl PairDecoder {
    /// For the lines of one connection.
    pub fn new() -> Self {
        Self(Lines::new(PairFrame::MAX_LINE))
    }

    /// Takes bytes off the front of `bytes`, up to the first LF or all of them, and returns the
    /// frame if they end one. Call it until `bytes` is empty.
    ///
    /// # Errors
    /// A [`FrameError`]; nothing after it can be read as a frame.
    pub fn decode(&mut self, bytes: &mut &[u8]) -> Result<Option<PairFrame>, FrameError> {
        self.0.decode(bytes, PairFrame::from_line)
    }
}

impl Default for PairDecoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = PairFrame> {
        let bytes = prop::collection::vec(any::<u8>(), 33);
        prop_oneof![
            bytes
                .clone()
                .prop_map(|bytes| { PairFrame::Pair(PairStep::Spake2(bytes.try_into().unwrap())) }),
            bytes.prop_map(|bytes| {
                PairFrame::Pair(PairStep::Confirm(bytes[1..].try_into().unwrap()))
            }),
            prop::sample::select(vec![
                PairReason::PairingFailed,
                PairReason::Busy,
                PairReason::Declined,
            ])
            .prop_map(|reason| PairFrame::Refuse { reason }),
            prop::option::of(".{0,40}").prop_map(|detail| PairFrame::Error {
                code: Code::ProtocolError,
                detail: detail.map(|words| Detail::new(words).unwrap()),
            }),
        ]
    }

    /// What the decoder makes of these bytes, in pieces of these lengths.
    fn decoded(bytes: &[u8], pieces: &[usize]) -> Result<Vec<PairFrame>, FrameError> {
        let (mut decoder, mut frames) = (PairDecoder::new(), Vec::new());
        let mut rest = bytes;
        let mut lengths = pieces.iter().cycle();
        while !rest.is_empty() {
            let length = (*lengths.next().unwrap_or(&1)).clamp(1, rest.len());
            let (mut piece, behind) = rest.split_at(length);
            rest = behind;
            while !piece.is_empty() {
                frames.extend(decoder.decode(&mut piece)?);
            }
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_however_it_is_split(
            frames in prop::collection::vec(frames(), 0..4),
            pieces in prop::collection::vec(1..80usize, 1..8),
        ) {
            let lines: Vec<u8> = frames.iter().flat_map(PairFrame::to_line).collect();
            prop_assert_eq!(decoded(&lines, &pieces), Ok(frames));
        }

        /// A line has one spelling, but for blanks and an error's detail.
        #[test]
        fn a_spoilt_line_is_no_frame_or_spells_another(
            frame in frames(),
            at in 0..128usize,
            byte: u8,
            is_inserted: bool,
        ) {
            let mut line = frame.to_line();
            line.pop();
            let at = at % line.len();
            match is_inserted {
                true => line.insert(at, byte),
                false => line[at] = byte,
            }
            if let Ok(read) = PairFrame::from_line(&line) {
                let is_free = matches!(read, PairFrame::Error { .. });
                let is_same = read.to_line().strip_suffix(b"\n") == Some(&line[..]);
                prop_assert!(is_same || is_free || byte.is_ascii_whitespace());
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_keep_more_than_a_line(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            pieces in prop::collection::vec(1..80usize, 1..8),
        ) {
            let _ = decoded(&bytes, &pieces);
        }
    }

    #[test]
    fn a_line_has_4096_bytes_with_its_lf() {
        let frame = PairFrame::Refuse {
            reason: PairReason::Busy,
        };
        let mut line = frame.to_line();
        line.pop();
        line.resize(4_095, b' ');
        assert_eq!(
            decoded(&[&line[..], b"\n"].concat(), &[4_096]),
            Ok(vec![frame])
        );
        let limit = 4_096;
        for end in [&b" \n"[..], b" "] {
            let too_long = decoded(&[&line[..], end].concat(), &[1]);
            assert_eq!(too_long, Err(FrameError::LineTooLong { limit }));
        }
    }

    #[test]
    fn frames_look_as_the_page_shows_them() {
        let shown = |frame: PairFrame| String::from_utf8(frame.to_line()).unwrap();
        let spake2 = PairStep::Spake2([0x41; 33]);
        let expected = format!("{{\"pair\":{{\"spake2\":\"{}\"}}}}\n", "QUFB".repeat(11));
        assert_eq!(shown(PairFrame::Pair(spake2)), expected);
        let confirm = PairStep::Confirm([0; 32]);
        let expected = format!("{{\"pair\":{{\"confirm\":\"{}\"}}}}\n", "A".repeat(43));
        assert_eq!(shown(PairFrame::Pair(confirm)), expected);
        let reason = PairReason::PairingFailed;
        let expected = "{\"refuse\":{\"reason\":\"pairing-failed\"}}\n";
        assert_eq!(shown(PairFrame::Refuse { reason }), expected);
    }

    #[test]
    fn anything_else_is_no_frame() {
        let spake2 = "QUFB".repeat(11);
        let confirm = "A".repeat(43);
        let bad = FrameError::BadValue;
        for (line, error) in [
            (String::new(), FrameError::EmptyLine),
            ("{\"pair\":".into(), FrameError::NotJson),
            ("[]".into(), FrameError::NotOneMember),
            ("{\"pair\":1}".into(), FrameError::NotOneMember),
            ("{\"ping\":{}}".into(), FrameError::UnknownKind),
            ("{\"quit\":{}}".into(), FrameError::UnknownKind),
            ("{\"pair\":{}}".into(), FrameError::Missing("spake2")),
            (
                format!("{{\"pair\":{{\"spake2\":\"{spake2}\",\"confirm\":\"{confirm}\"}}}}"),
                FrameError::UnknownMember,
            ),
            (
                format!("{{\"pair\":{{\"spake2\":\"{spake2}\",\"spake2\":\"{spake2}\"}}}}"),
                FrameError::UnknownMember,
            ),
            (
                format!("{{\"pair\":{{\"confirm\":\"{confirm}\",\"name\":\"bob\"}}}}"),
                FrameError::UnknownMember,
            ),
            (
                format!("{{\"pair\":{{\"spake2\":\"{}\"}}}}", &spake2[1..]),
                bad("spake2"),
            ),
            (
                format!("{{\"pair\":{{\"spake2\":\"{spake2}AAAA\"}}}}"),
                bad("spake2"),
            ),
            (
                format!("{{\"pair\":{{\"spake2\":\"{}+\"}}}}", &spake2[1..]),
                bad("spake2"),
            ),
            (
                format!("{{\"pair\":{{\"confirm\":\"{confirm}=\"}}}}"),
                bad("confirm"),
            ),
            // The last character carries two unused bits, which must be zero.
            (
                format!("{{\"pair\":{{\"confirm\":\"{}B\"}}}}", &confirm[1..]),
                bad("confirm"),
            ),
            ("{\"pair\":{\"confirm\":null}}".into(), bad("confirm")),
            ("{\"refuse\":{\"reason\":\"ended\"}}".into(), bad("reason")),
            ("{\"refuse\":{}}".into(), FrameError::Missing("reason")),
            ("{\"error\":{\"code\":\"else\"}}".into(), bad("code")),
        ] {
            assert_eq!(PairFrame::from_line(line.as_bytes()), Err(error), "{line}");
        }
    }
}
