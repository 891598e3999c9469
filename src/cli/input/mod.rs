//! Standard input on a thread of its own, read only while a line is wanted.
//!
//! A read on stdin cannot be cancelled, neither tokio's nor our own. So the
//! thread waits in `poll(2)`, which takes nothing, and looks again whether a
//! line is still wanted before it reads. Giving up a request needs no waking
//! and costs nothing; the thread may go on waiting, and the end of the program
//! does not wait for it.
//!
//! What a line means is [`line`]'s; prompts are not here.

pub mod line;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, tcflush, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use tokio::sync::Notify;

use line::{Line, LineReader};

/// What is read at once, and so the most that is taken from a pipe beyond the
/// line that was asked for.
const CHUNK: usize = 4096;

/// As many lines are counted at the end at most: a pipe may have no end.
const COUNTED: usize = 1_000;

/// What the person, or the pipe, gave.
#[derive(Debug)]
pub enum InputEvent {
    /// A line, without its end.
    Line(String),
    /// A line over the limit. It is gone; the next one is whole.
    TooLong,
    /// A line that is not UTF-8. It is gone; the next one is whole.
    NotUtf8,
    /// There is no more, now and whenever it is asked again.
    End,
    /// Reading failed, and a line half read is gone. [`End`](Self::End) follows.
    Failed(io::Error),
}

/// The person's input. There should be one in a process, and no other reader
/// of stdin (`std::io::stdin()` would keep bytes back in its buffer).
#[derive(Debug)]
pub struct Input {
    source: Arc<Source>,
    terminal: bool,
}

impl Input {
    /// Standard input, in lines of at most `limit` bytes without their end.
    ///
    /// # Errors
    ///
    /// The descriptor cannot be duplicated, or the thread not started.
    pub fn stdin(limit: usize) -> io::Result<Self> {
        Self::of(io::stdin().as_fd().try_clone_to_owned()?, limit)
    }

    /// The input that arrives at `descriptor`: a pipe, a file or a terminal.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn of(descriptor: OwnedFd, limit: usize) -> io::Result<Self> {
        let terminal = descriptor.is_terminal();
        let source = Arc::new(Source::new(descriptor, limit));
        let reading = Arc::clone(&source);
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || reading.read_on())?;
        Ok(Self { source, terminal })
    }

    /// Whether a person types here.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether nobody can type here any more: it was a terminal, and that was closed.
    pub fn is_gone(&self) -> bool {
        self.terminal && tcgetattr(&self.source.file).is_err()
    }

    /// The next line, waited for as long as it takes.
    ///
    /// May be dropped at any time: then nothing more is read, and what was
    /// read, a line or half of one, is kept for the next call.
    pub async fn next(&mut self) -> InputEvent {
        let request = Request(&self.source);
        loop {
            if let Some(event) = request.0.next() {
                return event;
            }
            request.0.arrived.notified().await;
        }
    }

    /// Whether [`next`](Self::next) would have something at once, as far as
    /// is known without reading: always right at a terminal, which gives whole
    /// lines; a pipe may hold only the beginning of one.
    pub fn is_ready(&self) -> bool {
        self.source.is_ready()
    }

    /// How many lines there are that nobody has taken, as far as they can be read without
    /// waiting; they are gone then. `Err`: more than so many.
    pub fn count_left(&mut self) -> Result<usize, usize> {
        self.source.count_left()
    }

    /// What there is that nobody has taken: lines, and at a terminal the half line that it holds
    /// back. A line that is no text is left out. The end of the input stays to be told.
    pub fn take_typed(&mut self) -> Vec<String> {
        self.source.take_typed()
    }

    /// Throws away what was typed at a terminal and not yet taken, a line begun
    /// included. Anything but a terminal keeps everything.
    ///
    /// Says whether there was something, as far as [`is_ready`](Self::is_ready)
    /// knows; a line only begun in the terminal goes without being noticed.
    ///
    /// # Errors
    ///
    /// The terminal refused (it is gone, mostly); what it holds may still come.
    pub fn discard(&mut self) -> io::Result<bool> {
        if self.terminal {
            self.source.discard()
        } else {
            Ok(false)
        }
    }
}

impl Drop for Input {
    /// The thread goes too: at once, or when what it waits for arrives; it
    /// takes nothing more either way.
    fn drop(&mut self) {
        self.source.state().closed = true;
        self.source.wanted.notify_one();
    }
}

/// As long as it lives, a line may be wanted.
struct Request<'a>(&'a Source);

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.0.state().wanted = false;
    }
}

/// What the two sides share: [`Input`], which wants, and the thread, which reads.
#[derive(Debug)]
struct Source {
    file: File,
    /// Held while a chunk goes from `file` to the reader, so that
    /// [`discard`](Self::discard) finds it in one of the two. Nobody who only
    /// wants or gives up takes it: should another process snatch what was
    /// there, that read blocks.
    taking: Mutex<()>,
    state: Mutex<State>,
    /// Tells the thread that a line is wanted, or that it may go.
    wanted: Condvar,
    /// Tells the one who waits in `next` to look again.
    arrived: Notify,
}

/// `wanted` is a state and not a signal: a request given up and made again
/// leaves no trace that the thread could take for another one.
#[derive(Debug)]
struct State {
    lines: LineReader,
    wanted: bool,
    /// No more bytes will come.
    ended: bool,
    /// Why not, until it has been told.
    failure: Option<io::Error>,
    /// Nobody will ask again.
    closed: bool,
}

impl Source {
    fn new(descriptor: OwnedFd, limit: usize) -> Self {
        Self {
            file: File::from(descriptor),
            taking: Mutex::new(()),
            state: Mutex::new(State {
                lines: LineReader::new(limit),
                wanted: false,
                ended: false,
                failure: None,
                closed: false,
            }),
            wanted: Condvar::new(),
            arrived: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taking(&self) -> MutexGuard<'_, ()> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there already; if nothing is, it is wanted from now on.
    fn next(&self) -> Option<InputEvent> {
        let mut state = self.state();
        let event = state.next();
        if event.is_none() {
            state.wanted = true;
            self.wanted.notify_one();
        }
        event
    }

    fn is_ready(&self) -> bool {
        let state = self.state();
        state.lines.has_line() || state.ended || self.poll(PollTimeout::ZERO).unwrap_or(true)
    }

    fn take_typed(&self) -> Vec<String> {
        let _taking = self.taking();
        // A terminal gives what it holds back to whoever wants single characters.
        let before = tcgetattr(&self.file).ok().filter(|_| {
            let own = tcgetpgrp(&self.file);
            own.is_ok_and(|group| group == getpgrp())
        });
        if let Some(mut mode) = before.clone() {
            mode.local_flags &= !LocalFlags::ICANON;
            let _ = tcsetattr(&self.file, SetArg::TCSANOW, &mode);
        }
        let mut typed = Vec::new();
        while !self.state().ended && self.poll(PollTimeout::ZERO).unwrap_or(false) {
            match self.read() {
                Ok(Some(bytes)) if bytes.is_empty() => self.end(None),
                Ok(Some(bytes)) => self.state().lines.feed(&bytes),
                Ok(None) | Err(_) => break,
            }
        }
        if let Some(mode) = before {
            let _ = tcsetattr(&self.file, SetArg::TCSANOW, &mode);
        }
        let mut state = self.state();
        while let Some(line) = state.lines.finish() {
            if let Line::Text(text) = line {
                typed.push(text);
            }
        }
        typed
    }

    fn count_left(&self) -> Result<usize, usize> {
        let _taking = self.taking();
        let mut count = 0;
        while count < COUNTED {
            let mut state = self.state();
            if state.lines.next_line().is_some() {
                count += 1;
                continue;
            }
            if state.ended {
                return Ok(count + usize::from(state.lines.finish().is_some()));
            }
            drop(state);
            let read = match self.poll(PollTimeout::ZERO) {
                Ok(true) => self.read(),
                _ => return Ok(count),
            };
            match read {
                Ok(Some(bytes)) if bytes.is_empty() => self.end(None),
                Ok(Some(bytes)) => self.state().lines.feed(&bytes),
                Ok(None) | Err(_) => return Ok(count),
            }
        }
        Err(count)
    }

    fn discard(&self) -> io::Result<bool> {
        let _taking = self.taking();
        let was_ready = self.is_ready();
        tcflush(&self.file, FlushArg::TCIFLUSH)?;
        self.state().lines.clear();
        Ok(was_ready)
    }

    /// The thread.
    fn read_on(&self) {
        while self.wait_until_wanted() {
            let taken = self.poll(PollTimeout::NONE).and_then(|_| self.take());
            if let Err(failure) = taken {
                self.end(Some(failure));
            }
        }
    }

    /// False when there is nothing more to do.
    fn wait_until_wanted(&self) -> bool {
        let mut state = self.state();
        while !state.wanted && !state.closed && !state.ended {
            state = self
                .wanted
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed && !state.ended
    }

    /// Reads a chunk, if one is still wanted and still there.
    fn take(&self) -> io::Result<()> {
        let _taking = self.taking();
        if !self.state().wanted || !self.poll(PollTimeout::ZERO)? {
            return Ok(());
        }
        match self.read()? {
            None => {}
            Some(bytes) if bytes.is_empty() => self.end(None),
            Some(bytes) => self.deliver(&bytes),
        }
        Ok(())
    }

    /// A chunk; `None` if there was nothing after all.
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = vec![0; CHUNK];
        match (&self.file).read(&mut chunk) {
            Ok(length) => {
                chunk.truncate(length);
                Ok(Some(chunk))
            }
            // A signal; or a descriptor that its owner made non-blocking, and
            // another reader was quicker.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Keeps what was read, even if it is no longer wanted by now.
    fn deliver(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.lines.feed(bytes);
        if state.lines.has_line() {
            state.wanted = false;
            self.arrived.notify_one();
        }
    }

    fn end(&self, failure: Option<io::Error>) {
        let mut state = self.state();
        if failure.is_some() {
            // Half a line is not what the person meant to say.
            state.lines.clear();
        }
        state.failure = failure;
        state.ended = true;
        state.wanted = false;
        self.arrived.notify_one();
    }

    /// Waits until a read would not block, and says whether that is so now.
    fn poll(&self, timeout: PollTimeout) -> io::Result<bool> {
        let mut polled = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, timeout) {
            // Whatever was reported, a hang-up or a descriptor that cannot be
            // polled (macOS: /dev/null), the read will say what it means.
            Ok(reported) => Ok(reported > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

impl State {
    fn next(&mut self) -> Option<InputEvent> {
        let line = if self.ended {
            self.lines.finish()
        } else {
            self.lines.next_line()
        };
        match line {
            Some(Line::Text(text)) => Some(InputEvent::Line(text)),
            Some(Line::TooLong) => Some(InputEvent::TooLong),
            Some(Line::NotUtf8) => Some(InputEvent::NotUtf8),
            None if self.ended => Some(
                self.failure
                    .take()
                    .map_or(InputEvent::End, InputEvent::Failed),
            ),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    const MAX_LINE: usize = 65_536;

    use super::{CHUNK, Input, InputEvent, Source};
    use nix::poll::PollTimeout;
    use nix::pty::openpty;
    use std::fs::File;
    use std::future::ready;
    use std::io::{PipeWriter, Read as _, Write as _, pipe};
    use std::sync::Arc;
    use std::thread;

    fn piped() -> (PipeWriter, Input) {
        let (reader, writer) = pipe().unwrap();
        (writer, Input::of(reader.into(), MAX_LINE).unwrap())
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
    async fn who_gives_up_wants_nothing_and_loses_nothing_that_was_being_read() {
        let (_writer, mut input) = piped();
        ask_in_vain(&mut input).await;
        assert!(!input.source.state().wanted);
        input.source.deliver(b"crossed\nhal");
        assert_eq!(line(&mut input).await, "crossed");
        ask_in_vain(&mut input).await;
        input.source.deliver(b"f\n");
        assert_eq!(line(&mut input).await, "half");
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
        assert!(matches!(input.next().await, InputEvent::TooLong));
        assert_eq!(line(&mut input).await, "ok");
        assert!(matches!(input.next().await, InputEvent::NotUtf8));
        assert_eq!(line(&mut input).await, "ok");
        writing.join().unwrap();
    }

    #[tokio::test]
    async fn a_failed_read_is_told_once_and_is_the_end() {
        let directory = File::open("/").unwrap();
        let mut input = Input::of(directory.into(), MAX_LINE).unwrap();
        assert!(matches!(input.next().await, InputEvent::Failed(_)));
        assert!(matches!(input.next().await, InputEvent::End));
    }

    #[test]
    fn half_a_line_before_a_failure_is_not_a_line() {
        let (reader, mut writer) = pipe().unwrap();
        let source = Source::new(reader.into(), MAX_LINE);
        writer.write_all(b"half").unwrap();
        assert!(source.next().is_none());
        source.take().unwrap();
        source.end(Some(std::io::Error::other("gone")));
        assert!(matches!(source.next(), Some(InputEvent::Failed(_))));
        assert!(matches!(source.next(), Some(InputEvent::End)));
    }

    #[test]
    fn nothing_is_read_that_is_not_wanted() {
        let (reader, mut writer) = pipe().unwrap();
        let mut left = File::from(std::os::fd::OwnedFd::from(reader.try_clone().unwrap()));
        let source = Source::new(reader.into(), MAX_LINE);
        // Each line is a chunk, so that none comes along with another.
        let lines = format!("{}\n", "x".repeat(CHUNK - 1)).repeat(3);
        writer.write_all(lines.as_bytes()).unwrap();
        drop(writer);

        source.take().unwrap();
        assert!(!source.state().lines.has_line());
        assert!(source.next().is_none());
        for _ in 0..3 {
            source.take().unwrap();
        }
        assert!(matches!(source.next(), Some(InputEvent::Line(_))));
        source.take().unwrap();
        let mut rest = Vec::new();
        left.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len(), 2 * CHUNK);
    }

    #[test]
    fn the_thread_goes_when_the_input_ends_or_nobody_can_ask() {
        let (reader, writer) = pipe().unwrap();
        let source = Arc::new(Source::new(reader.into(), MAX_LINE));
        let reading = Arc::clone(&source);
        let thread = thread::spawn(move || reading.read_on());
        assert!(source.next().is_none());
        drop(writer);
        thread.join().unwrap();
        assert!(matches!(source.next(), Some(InputEvent::End)));

        let (reader, _writer) = pipe().unwrap();
        let input = Input::of(reader.into(), MAX_LINE).unwrap();
        let source = Arc::clone(&input.source);
        drop(input);
        assert!(!source.wait_until_wanted());
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
        let mut input = Input::of(terminal.slave, MAX_LINE).unwrap();
        assert!(input.is_terminal());
        assert!(!input.discard().unwrap());

        keyboard.write_all(b"stale\n").unwrap();
        while !input.source.poll(PollTimeout::NONE).unwrap() {}
        assert!(input.is_ready());
        assert!(input.discard().unwrap());
        assert!(!input.is_ready());
        keyboard.write_all(b"fresh\n").unwrap();
        assert_eq!(line(&mut input).await, "fresh");
    }

    #[test]
    fn what_the_reader_holds_is_discarded_too() {
        let terminal = openpty(None, None).unwrap();
        let mut keyboard = File::from(terminal.master);
        let source = Source::new(terminal.slave, MAX_LINE);
        // Ctrl-D gives a line to the reader before it has an end.
        for typed in [b"stale\n".as_slice(), b"sta\x04"] {
            keyboard.write_all(typed).unwrap();
            assert!(source.next().is_none());
            while !source.poll(PollTimeout::NONE).unwrap() {}
            source.take().unwrap();
            source.discard().unwrap();
            keyboard.write_all(b"fresh\n").unwrap();
            assert!(source.next().is_none());
            while !source.poll(PollTimeout::NONE).unwrap() {}
            source.take().unwrap();
            assert!(matches!(source.next(), Some(InputEvent::Line(line)) if line == "fresh"));
        }
    }
}
