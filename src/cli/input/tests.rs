const MAX_LINE: usize = 65_536;

use super::descriptor::CHUNK;
use super::line::LineReader;
use super::source::Source;
use super::{Input, InputEvent};
use nix::pty::openpty;
use std::fs::File;
use std::future::ready;
use std::io::{PipeWriter, Read as _, Seek as _, Write as _, pipe};
use std::thread;

fn piped() -> (PipeWriter, Input) {
    let (reader, writer) = pipe().unwrap();
    (writer, Input::of(reader.into(), MAX_LINE))
}

/// Asks and gives up at once.
async fn ask_in_vain(input: &mut Input) {
    tokio::select! {
        biased;
        event = input.next() => panic!("nothing was there, and {event:?} came"),
        () = ready(()) => {}
    }
}

async fn line(input: &mut Input) -> String {
    match input.next().await {
        InputEvent::Line(line) => line,
        other => panic!("a line was expected, {other:?} came"),
    }
}

#[tokio::test]
async fn lines_come_in_order_and_then_the_end_for_ever() {
    let (mut writer, mut input) = piped();
    writer.write_all(b"one\n\nthree\r\nlast").unwrap();
    drop(writer);
    for expected in ["one", "", "three", "last"] {
        assert_eq!(line(&mut input).await, expected);
    }
    for _ in 0..3 {
        assert!(matches!(input.next().await, InputEvent::End));
    }
}

#[tokio::test]
async fn a_line_may_come_in_pieces() {
    let (mut writer, mut input) = piped();
    for piece in [b"ha".as_slice(), b"l", b"f\nnext"] {
        writer.write_all(piece).unwrap();
        if !piece.contains(&b'\n') {
            ask_in_vain(&mut input).await;
        }
    }
    assert_eq!(line(&mut input).await, "half");
    writer.write_all(b" one\n").unwrap();
    assert_eq!(line(&mut input).await, "next one");
}

#[tokio::test]
async fn a_line_that_comes_after_giving_up_is_for_the_next_who_asks() {
    let (mut writer, mut input) = piped();
    ask_in_vain(&mut input).await;
    writer.write_all(b"late\n").unwrap();
    assert_eq!(line(&mut input).await, "late");
    ask_in_vain(&mut input).await;
    ask_in_vain(&mut input).await;
    writer.write_all(b"later\n").unwrap();
    assert_eq!(line(&mut input).await, "later");
}

#[tokio::test]
async fn nothing_is_lost_however_often_asking_is_given_up() {
    let (mut writer, mut input) = piped();
    let writing = thread::spawn(move || {
        for number in 0..2000 {
            // In two pieces, so that half lines are met too.
            write!(writer, "{number}").unwrap();
            thread::yield_now();
            writeln!(writer, ".").unwrap();
        }
    });
    let mut number = 0;
    loop {
        let event = tokio::select! {
            biased;
            event = input.next() => event,
            () = tokio::task::yield_now() => continue,
        };
        match event {
            InputEvent::Line(line) => assert_eq!(line, format!("{number}.")),
            InputEvent::End => break,
            other => panic!("{other:?}"),
        }
        number += 1;
    }
    assert_eq!(number, 2000);
    writing.join().unwrap();
}

#[tokio::test]
async fn a_line_too_long_or_not_utf8_is_said_and_the_next_is_whole() {
    let (mut writer, mut input) = piped();
    let writing = thread::spawn(move || {
        writer.write_all(&vec![b'x'; MAX_LINE]).unwrap();
        writer.write_all(b"\n").unwrap();
        writer.write_all(&vec![b'x'; MAX_LINE + 1]).unwrap();
        writer.write_all(b"\nok\n\xff\nok\n").unwrap();
    });
    assert_eq!(line(&mut input).await.len(), MAX_LINE);
    assert!(matches!(input.next().await, InputEvent::TooLong(_)));
    assert_eq!(line(&mut input).await, "ok");
    assert!(matches!(input.next().await, InputEvent::NotUtf8(_)));
    assert_eq!(line(&mut input).await, "ok");
    writing.join().unwrap();
}

#[tokio::test]
async fn a_failed_read_is_told_once_and_is_the_end() {
    let directory = File::open("/").unwrap();
    let mut input = Input::of(directory.into(), MAX_LINE);
    assert!(matches!(input.next().await, InputEvent::Failed(_)));
    assert!(matches!(input.next().await, InputEvent::End));
}

#[test]
fn half_a_line_before_a_failure_is_not_a_line() {
    let (reader, mut writer) = pipe().unwrap();
    let mut source = Source::new(reader.into(), LineReader::new(MAX_LINE));
    writer.write_all(b"half").unwrap();
    source.read().unwrap();
    assert!(source.take().is_none());
    source.fail(std::io::Error::other("gone"));
    assert!(matches!(source.take(), Some(InputEvent::Failed(_))));
    assert!(matches!(source.take(), Some(InputEvent::End)));
}

#[tokio::test]
async fn nothing_is_read_that_is_not_wanted() {
    let (reader, mut writer) = pipe().unwrap();
    let mut left = File::from(std::os::fd::OwnedFd::from(reader.try_clone().unwrap()));
    let mut input = Input::of(reader.into(), MAX_LINE);
    ask_in_vain(&mut input).await;
    // Each line is a chunk, so that none comes along with another.
    let lines = format!("{}\n", "x".repeat(CHUNK - 1)).repeat(3);
    writer.write_all(lines.as_bytes()).unwrap();
    drop(writer);
    tokio::task::yield_now().await;
    line(&mut input).await;
    tokio::task::yield_now().await;
    let mut rest = Vec::new();
    left.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 2 * CHUNK);
}

/// It can always be read, and the system cannot be asked to tell when.
#[tokio::test]
async fn a_file_is_read_to_its_end() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"one\nlast").unwrap();
    file.rewind().unwrap();
    let mut input = Input::of(file.into(), MAX_LINE);
    assert_eq!(line(&mut input).await, "one");
    assert_eq!(line(&mut input).await, "last");
    assert!(matches!(input.next().await, InputEvent::End));
}

#[tokio::test]
async fn a_pipe_is_ready_when_it_holds_something_and_keeps_it() {
    let (mut writer, mut input) = piped();
    assert!(!input.is_terminal());
    assert!(!input.is_ready());
    writer.write_all(b"one\ntwo\n").unwrap();
    assert!(input.is_ready());
    assert!(!input.discard().unwrap());
    assert_eq!(line(&mut input).await, "one");
    // The other line came along in the same chunk.
    assert!(input.is_ready());
    assert!(!input.discard().unwrap());
    assert_eq!(line(&mut input).await, "two");
    assert!(!input.is_ready());
    drop(writer);
    assert!(matches!(input.next().await, InputEvent::End));
    assert!(input.is_ready());
}

#[tokio::test]
async fn what_was_typed_before_discarding_never_comes() {
    let terminal = openpty(None, None).unwrap();
    let mut keyboard = File::from(terminal.master);
    let mut input = Input::of(terminal.slave, MAX_LINE);
    assert!(input.is_terminal());
    assert!(!input.discard().unwrap());

    keyboard.write_all(b"stale\n").unwrap();
    while !input.is_ready() {}
    assert!(input.is_ready());
    assert!(input.discard().unwrap());
    assert!(!input.is_ready());
    keyboard.write_all(b"fresh\n").unwrap();
    assert_eq!(line(&mut input).await, "fresh");
}

#[tokio::test]
async fn what_the_reader_holds_is_discarded_too() {
    let terminal = openpty(None, None).unwrap();
    let mut keyboard = File::from(terminal.master);
    let mut input = Input::of(terminal.slave, MAX_LINE);
    // Ctrl-D gives a line to the reader before it has an end.
    for typed in [b"stale\n".as_slice(), b"sta\x04"] {
        keyboard.write_all(typed).unwrap();
        while !input.is_ready() {}
        input.source.read().unwrap();
        input.discard().unwrap();
        keyboard.write_all(b"fresh\n").unwrap();
        assert_eq!(line(&mut input).await, "fresh");
    }
}
