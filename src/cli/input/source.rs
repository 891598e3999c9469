//! [`Source`]: what was read, and what is still to come.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::descriptor::Descriptor;
use super::line::{Line, LineReader};

/// What a terminal gives of a line at most; it cuts a longer one without a word.
const CANONICAL: usize = 4_095;

/// How often it is looked whether the terminal is ours, while it is not: a job that runs is
/// brought to the foreground without a signal. And whether there is something, where the system
/// cannot tell.
const LOOK: Duration = Duration::from_millis(500);

/// As many lines are counted at the end at most, and gathered before they are wanted: a pipe may
/// have no end.
const COUNTED: usize = 1_000;
/// And so many bytes are looked through for them.
const LOOKED_THROUGH: usize = 16 * 1024 * 1024;

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

/// What there is that nobody has taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// Whole lines.
    pub lines: Vec<String>,
    /// The beginning of one more.
    pub begun: Option<String>,
    /// A line was over so many bytes, and is gone.
    pub too_long: Option<usize>,
    /// A line was not UTF-8, and is gone.
    pub is_not_text: bool,
}

impl Taken {
    /// All of it.
    pub fn texts(self) -> Vec<String> {
        self.lines.into_iter().chain(self.begun).collect()
    }
}

/// Lines from a descriptor, which is read only while one is wanted.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) descriptor: Arc<Descriptor>,
    /// Tells when there is something; from the first time that it is waited for.
    readiness: Option<AsyncFd<Arc<Descriptor>>>,
    pub(super) lines: LineReader,
    /// No more bytes will come.
    has_ended: bool,
    /// Why not, until it has been told.
    failure: Option<io::Error>,
}

impl Source {
    pub(super) fn new(descriptor: OwnedFd, lines: LineReader) -> Self {
        Self {
            descriptor: Arc::new(Descriptor::new(descriptor)),
            readiness: None,
            lines,
            has_ended: false,
            failure: None,
        }
    }

    /// The next line, waited for as long as it takes. May be dropped at any time.
    pub(super) async fn next(&mut self) -> InputEvent {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            let read = self.wait().await.and_then(|()| self.read());
            if let Err(failure) = read {
                self.fail(failure);
            }
        }
    }

    /// Waits until there is something to read for us, and takes nothing.
    async fn wait(&mut self) -> io::Result<()> {
        loop {
            if self.descriptor.is_behind() {
                sleep(LOOK).await;
                continue;
            }
            self.descriptor.tell_of_front();
            if self.descriptor.is_ready()? {
                // An input that never runs dry leaves the others their turn.
                yield_now().await;
                return Ok(());
            }
            if self.readiness.is_none() {
                self.readiness = readiness_of(&self.descriptor);
            }
            match &self.readiness {
                // What comes from now on is told once more.
                Some(readiness) => readiness.readable().await?.clear_ready(),
                None => sleep(LOOK).await,
            }
        }
    }

    /// Reads what there is, and how many bytes; without anything it waits on the spot.
    pub(super) fn read(&mut self) -> io::Result<usize> {
        let bytes = self.descriptor.read()?;
        match &bytes {
            None => {}
            // At a terminal, Ctrl-D; in mid-line it ends nothing.
            Some(bytes) if bytes.is_empty() && self.is_in_mid_line() => {}
            Some(bytes) if bytes.is_empty() => self.has_ended = true,
            Some(bytes) => self.lines.feed(bytes),
        }
        Ok(bytes.map_or(0, |bytes| bytes.len()))
    }

    fn is_in_mid_line(&self) -> bool {
        let is_terminal = self.descriptor.is_terminal && !self.descriptor.is_gone();
        is_terminal && self.lines.has_begun()
    }

    /// Takes the whole lines that a terminal has, as they come. It would forget them at Ctrl-C and
    /// Ctrl-Z. Never returns; may be dropped at any time.
    pub(super) async fn gather(&mut self) {
        while self.descriptor.is_terminal && !self.has_ended && self.lines.count() < COUNTED {
            match self.wait().await.and_then(|()| self.descriptor.read()) {
                // Ctrl-D before there is a prompt ends nothing.
                Ok(Some(bytes)) if bytes.is_empty() && self.descriptor.is_gone() => {
                    self.has_ended = true;
                }
                Ok(bytes) => self.lines.feed(&bytes.unwrap_or_default()),
                Err(failure) => self.fail(failure),
            }
        }
        pending().await
    }

    pub(super) fn fail(&mut self, failure: io::Error) {
        // Half a line is not what the person meant to say.
        self.lines.clear();
        self.failure = Some(failure);
        self.has_ended = true;
    }

    pub(super) fn is_ready(&self) -> bool {
        let has_input = || self.descriptor.has_input().unwrap_or(true);
        self.lines.has_line() || self.has_ended || has_input()
    }

    pub(super) fn take_typed(&mut self) -> Taken {
        let descriptor = Arc::clone(&self.descriptor);
        descriptor.unlined(|is_unlined| {
            let mut left = LOOKED_THROUGH;
            let is_enough = |lines: &LineReader, left| left == 0 || lines.count() >= COUNTED;
            while !self.has_ended
                && !is_enough(&self.lines, left)
                && descriptor.has_input().unwrap_or(false)
            {
                match descriptor.read() {
                    Ok(Some(bytes)) if bytes.is_empty() => self.has_ended = true,
                    Ok(Some(mut bytes)) => {
                        left = left.saturating_sub(bytes.len());
                        // In place of Ctrl-D in mid-line it gives a NUL then.
                        bytes.retain(|byte| *byte != 0 || !is_unlined);
                        self.lines.feed(&bytes);
                    }
                    Ok(None) | Err(_) => break,
                }
            }
        });
        let mut taken = Taken::default();
        while let Some(line) = self.lines.next_line() {
            let text = self.text(line, &mut taken);
            taken.lines.extend(text);
        }
        if let Some(begun) = self.lines.take_begun() {
            taken.begun = self.text(begun, &mut taken);
        }
        taken
    }

    fn text(&self, line: Line, taken: &mut Taken) -> Option<String> {
        match line {
            Line::Text(text) if !self.is_cut(text.len()) => return Some(text),
            Line::NotUtf8(length) if !self.is_cut(length) => taken.is_not_text = true,
            Line::Text(_) | Line::NotUtf8(_) => taken.too_long = Some(CANONICAL - 1),
            Line::TooLong(limit) => taken.too_long = Some(limit),
        }
        None
    }

    pub(super) fn count_left(&mut self) -> Result<usize, usize> {
        let (mut count, mut left) = (0, LOOKED_THROUGH);
        while count < COUNTED && left > 0 {
            if self.lines.next_line().is_some() {
                count += 1;
                continue;
            }
            let has_more = !self.has_ended && self.descriptor.has_input().unwrap_or(false);
            let Some(read) = has_more.then(|| self.read().ok()).flatten() else {
                // What has no end yet counts too: nobody waits for it.
                return Ok(count + usize::from(self.lines.finish().is_some()));
            };
            left = left.saturating_sub(read);
        }
        Err(count)
    }

    pub(super) fn discard(&mut self) -> io::Result<bool> {
        let was_ready = self.is_ready();
        self.descriptor.flush()?;
        self.lines.clear();
        Ok(was_ready)
    }

    fn is_cut(&self, length: usize) -> bool {
        self.descriptor.is_terminal && length >= CANONICAL
    }

    /// What was read already.
    pub(super) fn take(&mut self) -> Option<InputEvent> {
        let line = if self.has_ended {
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
            None if self.has_ended => Some(
                self.failure
                    .take()
                    .map_or(InputEvent::End, InputEvent::Failed),
            ),
            None => None,
        }
    }
}

/// `None`: the system does not tell.
#[expect(
    deprecated,
    reason = "unsound where a value can give another descriptor while it is watched; ours has one, and the successor is unsafe code"
)]
fn readiness_of(descriptor: &Arc<Descriptor>) -> Option<AsyncFd<Arc<Descriptor>>> {
    AsyncFd::new(Arc::clone(descriptor)).ok()
}
