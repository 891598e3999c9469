//! The frames of a conversation, from the bytes of a peer.
//!
//! Input: which limit, how the bytes are cut, and the bytes.

use serde_json::Value;
use turnchat::internals::{Decoder, Frame};
use turnchat::{FrameError, Limits};

use super::pieces::cut;

/// What came out, up to the first error.
type Decoded = (Vec<Frame>, Option<FrameError>);

pub fn run(data: &[u8]) {
    let [limit, seed, bytes @ ..] = data else {
        return;
    };
    let limits = Limits::default();
    let limit = [limits.early_line, limits.line, 64, 1][usize::from(*limit) % 4];
    let expected = expected(bytes, limit);
    assert_eq!(decoded([bytes], limit), expected, "in one piece");
    assert_eq!(decoded(cut(bytes, *seed), limit), expected, "in pieces");
    if bytes.len() < 2_048 {
        assert_eq!(decoded(bytes.chunks(1), limit), expected, "byte by byte");
    }
    for frame in &expected.0 {
        let line = frame.to_line();
        // It is never written too long to be read (PROTOCOL 2.6).
        assert!(line.len() <= limits.line, "{} bytes", line.len());
        let content = line.strip_suffix(b"\n").expect("a line ends with LF");
        assert!(!content.contains(&b'\n'), "one frame is one line");
        let again = Frame::from_line(content);
        assert_eq!(again.as_ref(), Ok(frame), "what is written is read back");
        assert_eq!(again.map(|frame| frame.to_line()), Ok(line));
    }
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        strict(line);
    }
}

/// Two readers agree: the quick one for the usual forms, and the strict one, which a blank at the
/// end asks for. What they take is JSON for others too.
fn strict(line: &[u8]) {
    let read = Frame::from_line(line);
    let strictly = Frame::from_line(&[line, b" "].concat());
    assert_eq!(read, strictly, "{:?}", String::from_utf8_lossy(line));
    if let Ok(frame) = read {
        let value: Value = serde_json::from_slice(line).expect("a frame is JSON");
        let members = value.as_object().expect("a frame is an object");
        assert!(members.len() == 1 && members.contains_key(frame.kind()));
    }
}

/// The same, said in the simplest way: whole lines, each on its own (PROTOCOL 2.6).
fn expected(bytes: &[u8], limit: usize) -> Decoded {
    let mut frames = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let content = line.strip_suffix(b"\n");
        if line.len() + usize::from(content.is_none()) > limit {
            return (frames, Some(FrameError::LineTooLong { limit }));
        }
        match content.map(Frame::from_line) {
            None => {}
            Some(Ok(frame)) => frames.push(frame),
            Some(Err(error)) => return (frames, Some(error)),
        }
    }
    (frames, None)
}

fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Decoded {
    let (mut decoder, mut frames) = (Decoder::new(limit), Vec::new());
    for mut piece in pieces {
        while !piece.is_empty() {
            let before = piece.len();
            match decoder.decode(&mut piece) {
                Ok(frame) => frames.extend(frame),
                Err(error) => return (frames, Some(error)),
            }
            assert!(piece.len() < before, "it takes something");
        }
        decoder.shrink();
    }
    (frames, None)
}
