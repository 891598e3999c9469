//! Pairing: the frames of a stranger, their order, SPAKE2's messages, and the code that a person
//! types.
//!
//! Input: how the bytes are cut, whose each frame is, and the bytes, as frames and as a code.

use spake2::{Ed25519Group, Identity, Password, Spake2};
use turnchat::cli::pairing_code::complete;
use turnchat::internals::{PairDecoder, PairFrame, PairOrder, PairStep, Role};
use turnchat::{FrameError, PairingCode};

use super::pieces::cut;

/// What came out, up to the first error.
type Decoded = (Vec<PairFrame>, Option<FrameError>);

pub fn run(data: &[u8]) {
    let [seed, sides, bytes @ ..] = data else {
        return;
    };
    let expected = expected(bytes);
    assert_eq!(decoded([bytes]), expected, "in one piece");
    assert_eq!(decoded(cut(bytes, *seed)), expected, "in pieces");
    for frame in &expected.0 {
        let line = frame.to_line();
        assert!(line.len() <= PairFrame::MAX_LINE);
        let content = line.strip_suffix(b"\n").expect("a line ends with LF");
        assert_eq!(PairFrame::from_line(content).as_ref(), Ok(frame));
    }
    order(&expected.0, *sides);
    exchange(&expected.0, bytes);
    code(&String::from_utf8_lossy(bytes));
}

fn expected(bytes: &[u8]) -> Decoded {
    let (mut frames, limit) = (Vec::new(), PairFrame::MAX_LINE);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let content = line.strip_suffix(b"\n");
        if line.len() + usize::from(content.is_none()) > limit {
            return (frames, Some(FrameError::LineTooLong { limit }));
        }
        match content.map(PairFrame::from_line) {
            None => {}
            Some(Ok(frame)) => frames.push(frame),
            Some(Err(error)) => return (frames, Some(error)),
        }
    }
    (frames, None)
}

fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let (mut decoder, mut frames) = (PairDecoder::new(), Vec::new());
    for mut piece in pieces {
        while !piece.is_empty() {
            match decoder.decode(&mut piece) {
                Ok(frame) => frames.extend(frame),
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// What is taken is the beginning of one exchange, and ends early at most once.
fn order(frames: &[PairFrame], sides: u8) {
    let mut order = PairOrder::new();
    let mut steps = 0;
    for (number, frame) in frames.iter().enumerate() {
        let by = match sides >> (number % 8) & 1 {
            0 => Role::Client,
            _ => Role::Server,
        };
        let before = order;
        if order.take(by, frame).is_err() {
            assert_eq!(order, before, "what is refused changes nothing");
            continue;
        }
        assert!(!before.is_over(), "nothing comes after the end");
        let speaks = [Role::Client, Role::Server][steps % 2];
        match frame {
            PairFrame::Pair(PairStep::Spake2(message)) => {
                assert!(by == speaks && steps < 2);
                assert_eq!(message[0], [b'A', b'B'][steps % 2]);
            }
            PairFrame::Pair(PairStep::Confirm(_)) => {
                assert!(by == speaks && (2..4).contains(&steps))
            }
            PairFrame::Refuse { .. } => assert_eq!(by, Role::Server),
            PairFrame::Error { .. } => {}
        }
        let is_step = matches!(frame, PairFrame::Pair(_));
        steps += usize::from(is_step);
        assert_eq!(order.is_over(), !is_step || steps == 4);
    }
}

/// Whatever point a stranger sends, it is one or is refused.
fn exchange(frames: &[PairFrame], bytes: &[u8]) {
    let in_frames = frames.iter().find_map(|frame| match frame {
        PairFrame::Pair(PairStep::Spake2(message)) => Some(*message),
        _ => None,
    });
    let raw = bytes.first_chunk::<33>().copied();
    if let Some(theirs) = in_frames.or(raw) {
        let password = Password::new("acoustic-museum-tide");
        let sides = [&b"client"[..], b"server"].map(Identity::new);
        let (client, ours) = Spake2::<Ed25519Group>::start_a(&password, &sides[0], &sides[1]);
        assert_eq!(ours.len(), 33);
        let finished = client.finish(&theirs);
        assert!(
            finished.is_err() || theirs[0] == b'B',
            "only the other side's"
        );
    }
}

fn code(typed: &str) {
    if let Ok(code) = typed.parse::<PairingCode>() {
        let spoken = code.spoken();
        assert_eq!(spoken.parse(), Ok(code), "what is spoken is typed");
        assert_eq!(spoken.split('-').count(), 3);
        assert!(
            spoken
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        );
        assert_eq!(
            format!("{:?}", spoken.parse::<PairingCode>()),
            "Ok(PairingCode(..))"
        );
    }
    let words = PairingCode::words_from(typed);
    assert!(words.iter().all(|word| word.starts_with(typed)));
    if let Some(more) = complete(typed) {
        assert!(!more.is_empty() && more.len() < 10);
        // Nothing is completed to what leads nowhere.
        let typed = format!("{typed}{more}").to_ascii_lowercase();
        let last = typed
            .trim_end_matches('-')
            .rsplit(|c: char| c == '-' || c.is_ascii_whitespace());
        let last = last.into_iter().next().unwrap_or_default();
        assert!(!PairingCode::words_from(last).is_empty(), "{typed:?}");
    }
}
