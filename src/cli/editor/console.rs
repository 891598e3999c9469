//! [`Console`]: the thread that owns the keyboard and the screen.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, PipeReader, Read as _};
use std::os::fd::AsFd as _;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anstyle::Style;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::{Pid, read, write};
use terminal_size::{Height, Width, terminal_size_of};
use tokio::sync::mpsc;

use super::desk::{Act, Desk};
use super::keys::{Key, Keys};
use super::order::{Done, Event, Mode, Order, Stream};
use super::raw::{self, is_ready, is_ready_within, restore};
use super::rows::{Painter, Size};
use crate::cli::locale::Letters;
use crate::cli::{layout, screen};

/// What is read at once.
const CHUNK: usize = 4096;
/// What is written at once: a terminal that is ready takes so much without making us wait.
const PIECE: usize = 256;
/// How often it is looked whether the terminal is ours, while it is not, in milliseconds.
const BACKGROUND: u16 = 500;
/// How long it takes all threads to stop at Ctrl-Z.
const STOPPING: Duration = Duration::from_millis(50);
const BELL: &str = "\x07";

/// The keyboard and the screen, and what stands on it.
pub(super) struct Console {
    desk: Desk,
    keys: Keys,
    /// Keys that wait for what was before them to be painted.
    pressed: VecDeque<Key>,
    painter: Painter,
    /// What is to be written, in order.
    pending: VecDeque<Piece>,
    orders: Receiver<Order>,
    woken: PipeReader,
    events: mpsc::UnboundedSender<Event>,
    is_raw: bool,
    /// Ctrl-Z is over, and its SIGCONT is still to be told of.
    has_resumed: bool,
    is_colourful: bool,
}

struct Piece {
    to: Stream,
    /// What is left of it.
    bytes: Vec<u8>,
    done: Option<Done>,
}

/// How long the end waits for a screen that is not ready.
pub(super) const LAST_MOMENT: Duration = Duration::from_millis(500);

/// The terminal is gone, or is to be put back.
struct Over;

impl Console {
    /// For messages of at most so many bytes; what happens is told there.
    pub(super) fn new(
        limit: usize,
        is_colourful: bool,
        orders: Receiver<Order>,
        woken: PipeReader,
    ) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (events, happened) = mpsc::unbounded_channel();
        let console = Self {
            desk: Desk::new(limit),
            keys: Keys::default(),
            pressed: VecDeque::new(),
            painter: Painter::default(),
            pending: VecDeque::new(),
            orders,
            woken,
            events,
            is_raw: false,
            has_resumed: false,
            is_colourful,
        };
        (console, happened)
    }

    /// Until it is told to stop, or the terminal is gone: whoever waits for something learns that
    /// as this is dropped.
    pub(super) fn run(mut self) {
        self.resume();
        while self.turn().is_ok() {}
        restore();
    }

    /// Waits for something, and does what follows.
    fn turn(&mut self) -> Result<(), Over> {
        self.wait()?;
        self.resume();
        if is_ready(&self.woken, PollFlags::POLLIN) {
            let _ = self.woken.read(&mut [0; 64]);
        }
        // A terminal that hangs up may still have orders to be stopped by.
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order)?;
        }
        self.read()?;
        loop {
            self.press();
            if self.desk.is_stale() && self.pending.is_empty() {
                self.paint();
            }
            if !self.has_room() {
                return Ok(());
            }
            self.write()?;
        }
    }

    /// Waits for keys, for orders, and for room on the screen.
    fn wait(&mut self) -> Result<(), Over> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        // Unasked, a terminal tells only that it is gone.
        let wanted = |wants, flag| if wants { flag } else { PollFlags::empty() };
        let room = wanted(!self.pending.is_empty(), PollFlags::POLLOUT);
        let mut polled = [
            PollFd::new(self.woken.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdin.as_fd(), wanted(self.is_raw, PollFlags::POLLIN)),
            PollFd::new(stdout.as_fd(), room),
        ];
        let patience = match self.is_raw {
            true => self.keys.patience(),
            // A job that runs is brought to the foreground without a signal.
            false => Some(BACKGROUND),
        };
        let patience = patience.map_or(PollTimeout::NONE, PollTimeout::from);
        match poll(&mut polled, patience) {
            Ok(0) if self.is_raw => {
                let keys = self.keys.expire();
                self.take(keys);
                Ok(())
            }
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(_) => Err(Over),
        }
    }

    fn has_keys(&self) -> bool {
        self.is_raw && is_ready(io::stdin(), PollFlags::POLLIN)
    }

    fn has_room(&self) -> bool {
        !self.pending.is_empty() && is_ready(io::stdout(), PollFlags::POLLOUT)
    }

    /// Reads the keys that are there. Without any, a read would wait for the next one.
    fn read(&mut self) -> Result<(), Over> {
        // In the background a read would stop the whole program.
        if self.has_keys() && !raw::is_foreground() {
            self.is_raw = false;
        }
        if !self.has_keys() {
            let is_gone = !self.is_raw && is_ready(io::stdin(), PollFlags::empty());
            return if is_gone { Err(Over) } else { Ok(()) };
        }
        let mut chunk = [0; CHUNK];
        match read(io::stdin(), &mut chunk) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(0) | Err(_) => return Err(Over),
            Ok(length) => {
                let keys = self.keys.feed(chunk.get(..length).unwrap_or_default());
                self.take(keys);
            }
        }
        Ok(())
    }

    fn read_all(&mut self) -> Result<(), Over> {
        while self.has_keys() {
            self.read()?;
        }
        Ok(())
    }

    /// Ctrl-C does not wait for a screen that is not ready: it is as if the terminal had made a
    /// signal of it.
    fn take(&mut self, keys: Vec<Key>) {
        for key in keys {
            match key {
                Key::Interrupt => _ = raise(Signal::SIGINT),
                key => self.pressed.push_back(key),
            }
        }
    }

    fn press(&mut self) {
        while let Some(key) = self.pressed.pop_front() {
            if self.desk.is_early(&key) {
                return self.pressed.push_front(key);
            }
            if key == Key::Suspend {
                self.suspend();
                continue;
            }
            match self.desk.press(key) {
                None => {}
                Some(Act::Tell(event)) => _ = self.events.send(event),
                Some(Act::Answered(question, answer)) => {
                    // It stays on the screen, as at any other prompt.
                    let row = format!("{question}{}", screen::line(&answer));
                    let page = io::stderr().is_terminal().then(|| size().page());
                    self.print(Stream::Stderr, layout::transcript("", &row, page), None);
                    let _ = self.events.send(Event::Answered(answer));
                }
                Some(Act::Refused) => self.put(Stream::Stdout, BELL, None),
            }
        }
    }

    fn obey(&mut self, order: Order) -> Result<(), Over> {
        match order {
            Order::Print(to, text, done) => self.print(to, text, done),
            Order::TurnTo(mode) => {
                match mode {
                    Mode::Speaking { rings: true, .. } => self.put(Stream::Stdout, BELL, None),
                    Mode::Asking(..) => {
                        // What was pressed up to now was for what is over, but for Ctrl-C.
                        self.read_all()?;
                        self.pressed.clear();
                    }
                    _ => {}
                }
                self.desk.turn_to(mode);
            }
            Order::Close(reply) => {
                // What was typed for it and not seen yet is named too.
                self.desk.disregard_enter();
                self.read_all()?;
                self.press();
                let _ = reply.send(self.desk.close());
            }
            Order::Resized => {
                self.painter.reflow(size().columns);
                self.desk.repaint();
            }
            Order::Continued => self.continued(),
            Order::Stop(_until_here) => {
                self.leave(LAST_MOMENT);
                return Err(Over);
            }
        }
        Ok(())
    }

    fn continued(&mut self) {
        if std::mem::take(&mut self.has_resumed) && self.is_raw {
            // Or nobody has sent it for that, and this is another one.
            return self.begin();
        }
        // The shell has had the terminal, and written on it; or nobody has, and what was being
        // written stands there still.
        self.is_raw = false;
        if raw::is_foreground() {
            self.painter = Painter::default();
            self.put(Stream::Stdout, "\r\x1b[K", None);
        } else {
            self.erase();
        }
        self.resume();
    }

    /// Takes the terminal over, if it is ours just now.
    fn resume(&mut self) {
        if !self.is_raw && raw::is_foreground() && raw::enter().is_ok() {
            self.is_raw = true;
            self.begin();
        }
    }

    fn begin(&mut self) {
        self.put(Stream::Stdout, raw::BEGIN, None);
        self.desk.repaint();
    }

    /// Ctrl-Z: gives the terminal back, and stops until the shell says otherwise.
    fn suspend(&mut self) {
        self.leave(Duration::ZERO);
        self.is_raw = false;
        let _ = kill(Pid::from_raw(0), Signal::SIGTSTP);
        // By now it has stopped and goes on, or nobody is there to continue it.
        thread::sleep(STOPPING);
        self.resume();
        self.has_resumed = self.is_raw;
    }

    /// Takes away what is being written, and puts the terminal back once it has taken what was
    /// shown, or does not for so long.
    fn leave(&mut self, patience: Duration) {
        self.erase();
        let by = Instant::now() + patience;
        let room = |by: Instant| {
            let left = by.saturating_duration_since(Instant::now());
            is_ready_within(io::stdout(), PollFlags::POLLOUT, left)
        };
        while !self.pending.is_empty() && room(by) && self.write().is_ok() {}
        restore();
    }

    fn paint(&mut self) {
        match self.desk.view() {
            // In the background the screen is somebody else's.
            Some(mut view) if self.is_raw => {
                if !self.is_colourful {
                    view.style = Style::new();
                }
                let painted = self.painter.paint(&view, size());
                raw::set_in_row(true);
                self.put(Stream::Stdout, painted, None);
            }
            _ => self.erase(),
        }
        self.desk.painted();
    }

    fn erase(&mut self) {
        let erased = self.painter.erase();
        raw::set_in_row(false);
        self.put(Stream::Stdout, erased, None);
    }

    /// Prints whole rows above what is being written.
    fn print(&mut self, to: Stream, rows: String, done: Option<Done>) {
        self.erase();
        self.put(to, rows, done);
        self.desk.repaint();
    }

    fn put(&mut self, to: Stream, bytes: impl Into<Vec<u8>>, done: Option<Done>) {
        let bytes = bytes.into();
        self.pending.push_back(Piece { to, bytes, done });
    }

    /// Writes as much as the screen takes at once, past std's lock and buffer: whoever ends the
    /// program waits for neither.
    fn write(&mut self) -> Result<(), Over> {
        let Some(piece) = self.pending.front_mut() else {
            return Ok(());
        };
        let now = piece.bytes.get(..PIECE).unwrap_or(&piece.bytes);
        let written = match piece.to {
            Stream::Stdout => write(io::stdout(), now),
            Stream::Stderr => write(io::stderr(), now),
        };
        let done = match written {
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(()),
            // stderr may be somewhere else, and full.
            Err(_) if piece.to == Stream::Stdout => return Err(Over),
            Err(errno) => Err(errno.into()),
            Ok(length) => Ok(_ = piece.bytes.drain(..length)),
        };
        if piece.bytes.is_empty() || done.is_err() {
            let piece = self.pending.pop_front();
            piece.and_then(|piece| piece.done).map(|of| of.send(done));
        }
        if self.pending.is_empty() {
            self.desk.seen();
        }
        Ok(())
    }
}

fn size() -> Size {
    let size = terminal_size_of(io::stdout());
    let (Width(columns), Height(rows)) = size.unwrap_or((Width(80), Height(24)));
    Size {
        columns: columns.into(),
        rows: rows.into(),
        letters: Letters::of_locale(),
    }
}
