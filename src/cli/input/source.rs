//! [`Source`]: the descriptor, what was read from it, and the thread that reads.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, tcflush, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use tokio::sync::Notify;

use super::line::{Line, LineReader};

/// What is read at once, and so the most that is taken from a pipe beyond the
/// line that was asked for.
pub(super) const CHUNK: usize = 4096;

/// What a terminal gives of a line at most; it cuts a longer one without a word.
const CANONICAL: usize = 4_095;

/// How often it is looked whether the terminal is ours, while it is not, in milliseconds: a job
/// that runs is brought to the foreground without a signal.
const BACKGROUND: u16 = 500;

/// As many lines are counted at the end at most: a pipe may have no end.
const COUNTED: usize = 1_000;

/// What the person, or the pipe, gave.
#[derive(Debug)]
pub enum InputEvent {
    /// A line, without its end.
    Line(String),
    /// A line over this limit, in bytes. It is gone; the next one is whole.
    TooLong(usize),
    /// A line that is not UTF-8, of so many bytes. It is gone; the next one is whole.
    NotUtf8(usize),
    /// There is no more, now and whenever it is asked again.
    End,
    /// Reading failed, and a line half read is gone. [`End`](Self::End) follows.
    Failed(io::Error),
}

/// What the two sides share: [`Input`](super::Input), which wants, and the thread, which reads.
#[derive(Debug)]
pub(super) struct Source {
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
    /// Seen in the background, and not yet in the foreground again.
    was_behind: AtomicBool,
    /// Tells that it is.
    fronted: Notify,
}

/// `wanted` is a state and not a signal: a request given up and made again
/// leaves no trace that the thread could take for another one.
#[derive(Debug)]
pub(super) struct State {
    pub(super) lines: LineReader,
    pub(super) wanted: bool,
    /// No more bytes will come.
    ended: bool,
    /// Why not, until it has been told.
    failure: Option<io::Error>,
    /// Nobody will ask again.
    closed: bool,
    /// A terminal gives the lines.
    is_canonical: bool,
}

impl Source {
    pub(super) fn new(descriptor: OwnedFd, lines: LineReader) -> Self {
        let is_canonical = descriptor.is_terminal();
        Self {
            file: File::from(descriptor),
            taking: Mutex::new(()),
            state: Mutex::new(State {
                lines,
                wanted: false,
                ended: false,
                failure: None,
                closed: false,
                is_canonical,
            }),
            wanted: Condvar::new(),
            arrived: Notify::new(),
            was_behind: AtomicBool::new(false),
            fronted: Notify::new(),
        }
    }

    /// Whether somebody else has the terminal. What is typed there is not ours, and to read it or
    /// to change anything would stop the whole program.
    fn is_behind(&self) -> bool {
        let is_behind = tcgetpgrp(&self.file).is_ok_and(|group| group != getpgrp());
        if is_behind {
            self.was_behind.store(true, Ordering::Relaxed);
        }
        is_behind
    }

    /// Returns once the terminal is ours again, where a line was wanted meanwhile.
    pub(super) async fn fronted(&self) {
        self.fronted.notified().await;
    }

    /// Whether the terminal is ours, and was not when this was last looked at: then
    /// [`fronted`](Self::fronted) does not tell of it any more.
    pub(super) fn has_come_to_front(&self) -> bool {
        !self.is_behind() && self.was_behind.swap(false, Ordering::Relaxed)
    }

    /// Whether it is a terminal no more.
    pub(super) fn is_gone(&self) -> bool {
        tcgetattr(&self.file).is_err()
    }

    /// Returns once there may be something. May be dropped at any time.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// No line is wanted any more.
    pub(super) fn give_up(&self) {
        self.state().wanted = false;
    }

    /// Nobody will ask again.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.wanted.notify_one();
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taking(&self) -> MutexGuard<'_, ()> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there already; if nothing is, it is wanted from now on.
    pub(super) fn next(&self) -> Option<InputEvent> {
        let mut state = self.state();
        let event = state.next();
        if event.is_none() {
            state.wanted = true;
            self.wanted.notify_one();
        }
        event
    }

    pub(super) fn is_ready(&self) -> bool {
        let state = self.state();
        state.lines.has_line() || state.ended || self.has_input().unwrap_or(true)
    }

    pub(super) fn take_typed(&self) -> Vec<String> {
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
        while !self.state().ended && self.has_input().unwrap_or(false) {
            match self.read() {
                Ok(Some(bytes)) if bytes.is_empty() => self.end(None),
                Ok(Some(mut bytes)) => {
                    // In place of Ctrl-D in mid-line it gives a NUL then.
                    bytes.retain(|byte| *byte != 0 || before.is_none());
                    self.state().lines.feed(&bytes);
                }
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

    pub(super) fn count_left(&self) -> Result<usize, usize> {
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
            let read = match self.has_input() {
                Ok(true) => self.read(),
                _ => Ok(None),
            };
            match read {
                Ok(Some(bytes)) if bytes.is_empty() => self.end(None),
                Ok(Some(bytes)) => self.state().lines.feed(&bytes),
                // What has no end yet counts too: nobody waits for it.
                Ok(None) | Err(_) => {
                    let begun = self.state().lines.finish();
                    return Ok(count + usize::from(begun.is_some()));
                }
            }
        }
        Err(count)
    }

    pub(super) fn discard(&self) -> io::Result<bool> {
        let _taking = self.taking();
        let was_ready = self.is_ready();
        if !self.is_behind() {
            tcflush(&self.file, FlushArg::TCIFLUSH)?;
        }
        self.state().lines.clear();
        Ok(was_ready)
    }

    /// The thread.
    pub(super) fn read_on(&self) {
        while self.wait_until_wanted() {
            let taken = self.wait().and_then(|()| self.take());
            if let Err(failure) = taken {
                self.end(Some(failure));
            }
        }
    }

    /// False when there is nothing more to do.
    pub(super) fn wait_until_wanted(&self) -> bool {
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
    pub(super) fn take(&self) -> io::Result<()> {
        let _taking = self.taking();
        if !self.state().wanted || !self.has_input()? {
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
    pub(super) fn deliver(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.lines.feed(bytes);
        if state.lines.has_line() {
            state.wanted = false;
            self.arrived.notify_one();
        }
    }

    pub(super) fn end(&self, failure: Option<io::Error>) {
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

    /// Waits until there may be something to read, or the terminal is ours.
    fn wait(&self) -> io::Result<()> {
        if self.is_behind() {
            // Unasked, a terminal tells only that it is gone.
            self.poll_for(PollFlags::empty(), BACKGROUND.into())?;
        } else {
            if self.has_come_to_front() {
                self.fronted.notify_one();
            }
            self.poll(PollTimeout::NONE)?;
        }
        Ok(())
    }

    /// Whether there is something to read for us.
    fn has_input(&self) -> io::Result<bool> {
        Ok(!self.is_behind() && self.poll(PollTimeout::ZERO)?)
    }

    /// Waits until a read would not block, and says whether that is so now.
    pub(super) fn poll(&self, timeout: PollTimeout) -> io::Result<bool> {
        self.poll_for(PollFlags::POLLIN, timeout)
    }

    fn poll_for(&self, what: PollFlags, timeout: PollTimeout) -> io::Result<bool> {
        let mut polled = [PollFd::new(self.file.as_fd(), what)];
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
    fn is_cut(&self, length: usize) -> bool {
        self.is_canonical && length >= CANONICAL
    }

    fn next(&mut self) -> Option<InputEvent> {
        let line = if self.ended {
            self.lines.finish()
        } else {
            self.lines.next_line()
        };
        match line {
            Some(Line::Text(text)) if self.is_cut(text.len()) => {
                Some(InputEvent::TooLong(CANONICAL - 1))
            }
            Some(Line::Text(text)) => Some(InputEvent::Line(text)),
            // A line as long as a terminal's can be was cut, maybe within a letter.
            Some(Line::NotUtf8(length)) if self.is_cut(length) => {
                Some(InputEvent::TooLong(CANONICAL - 1))
            }
            Some(Line::NotUtf8(length)) => Some(InputEvent::NotUtf8(length)),
            Some(Line::TooLong(limit)) => Some(InputEvent::TooLong(limit)),
            None if self.ended => Some(
                self.failure
                    .take()
                    .map_or(InputEvent::End, InputEvent::Failed),
            ),
            None => None,
        }
    }
}
