//! [`Console`]: the thread that owns the keyboard and the screen.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::termios::{FlushArg, tcflush};
use nix::unistd::{Pid, read, write};
use terminal_size::{Height, Width, terminal_size_of};
use tokio::sync::mpsc;

use super::desk::{Act, Desk, Line};
use super::keys::{Key, Keys};
use super::order::{Event, Order, Stream};
use super::raw::{self, restore};
use super::rows::{Painter, Size, View};
use crate::cli::layout::OURS;
use crate::cli::locale::Letters;
use crate::cli::screen;

/// What a draft out of turn stands behind.
const DRAFT: &str = "Not your turn: ";
const PROMPT: Style = AnsiColor::Cyan.on_default().bold();
const QUIET: Style = Style::new().dimmed();

/// What is read at once.
const CHUNK: usize = 4096;
/// What is written at once: a terminal that is ready takes so much without making us wait.
const PIECE: usize = 256;
/// How long the end waits for a screen that is not ready.
pub(super) const LAST_MOMENT: Duration = Duration::from_millis(200);
/// How often it is looked whether the terminal is ours, while it is not.
const BACKGROUND: Duration = Duration::from_millis(500);
/// How long it takes all threads to stop at Ctrl-Z.
const STOPPING: Duration = Duration::from_millis(50);

/// The keyboard and the screen, and what stands on it.
pub(super) struct Console {
    desk: Desk,
    keys: Keys,
    /// Keys that wait for what was before them to be painted.
    pressed: VecDeque<Key>,
    painter: Painter,
    /// What is to be written, in order.
    pending: VecDeque<Piece>,
    /// How much of the first is.
    written: usize,
    /// After how many changes the last of it was painted.
    painting: Option<u64>,
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
    bytes: Vec<u8>,
    done: Option<SyncSender<io::Result<()>>>,
}

/// Why the thread ends.
enum Over {
    Gone,
    Stopped(SyncSender<()>),
}

impl Console {
    pub(super) fn new(
        limit: usize,
        orders: Receiver<Order>,
        woken: PipeReader,
        events: mpsc::UnboundedSender<Event>,
        is_colourful: bool,
    ) -> Self {
        Self {
            desk: Desk::new(limit),
            keys: Keys::default(),
            pressed: VecDeque::new(),
            painter: Painter::default(),
            pending: VecDeque::new(),
            written: 0,
            painting: None,
            orders,
            woken,
            events,
            is_raw: false,
            has_resumed: false,
            is_colourful,
        }
    }

    pub(super) fn run(&mut self) {
        self.resume();
        let over = loop {
            if let Err(over) = self.turn() {
                break over;
            }
        };
        match over {
            Over::Stopped(reply) => {
                self.leave();
                let _ = reply.send(());
            }
            Over::Gone => {
                restore();
                for piece in self.pending.drain(..) {
                    piece.done.map(|done| done.send(Err(Errno::EIO.into())));
                }
                let _ = self.events.send(Event::Gone);
            }
        }
    }

    /// Waits for something, and does what follows.
    fn turn(&mut self) -> Result<(), Over> {
        let patience = self.keys.patience().filter(|_| self.is_raw);
        let (keys, orders, room) = self.wait(patience)?;
        self.resume();
        if orders {
            let mut woken = [0; 64];
            let _ = self.woken.read(&mut woken);
        }
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order)?;
        }
        if keys {
            self.read()?;
        } else if patience.is_some() && !orders && !room {
            let keys = self.keys.expire();
            self.take(keys);
        }
        loop {
            self.press();
            if self.desk.is_stale() && self.pending.is_empty() {
                self.paint();
            }
            if !self.is_ready() {
                return Ok(());
            }
            self.write()?;
        }
    }

    /// Whether there are keys, orders, and room on the screen.
    fn wait(&self, patience: Option<Duration>) -> Result<(bool, bool, bool), Over> {
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let wanted = |wants: bool, flag| if wants { flag } else { PollFlags::empty() };
        let mut polled = [
            PollFd::new(self.woken.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdin.as_fd(), wanted(self.is_raw, PollFlags::POLLIN)),
            PollFd::new(
                stdout.as_fd(),
                wanted(!self.pending.is_empty(), PollFlags::POLLOUT),
            ),
        ];
        // A job that runs is brought to the foreground without a signal.
        let patience = patience.or((!self.is_raw).then_some(BACKGROUND));
        let timeout = patience.map_or(PollTimeout::NONE, |patience| {
            PollTimeout::try_from(patience).unwrap_or(PollTimeout::NONE)
        });
        match poll(&mut polled, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok((false, false, false)),
            Err(_) => return Err(Over::Gone),
        }
        let [woken, keys, room] = &polled;
        let is = |fd: &PollFd<'_>, flags| fd.revents().is_some_and(|of| of.intersects(flags));
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        let is_woken = is(woken, PollFlags::POLLIN);
        // A terminal that hangs up may still have orders to be stopped by.
        if is(keys, gone) && !is(keys, PollFlags::POLLIN) && !is_woken {
            return Err(Over::Gone);
        }
        Ok((
            is(keys, PollFlags::POLLIN),
            is_woken,
            is(room, PollFlags::POLLOUT),
        ))
    }

    fn has_keys(&self) -> bool {
        let stdin = io::stdin();
        let mut polled = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        self.is_raw && poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    fn is_ready(&self) -> bool {
        let stdout = io::stdout();
        let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
        !self.pending.is_empty()
            && poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Reads the keys that are there. Without any, a read would wait for the next one.
    fn read(&mut self) -> Result<(), Over> {
        if !self.has_keys() {
            return Ok(());
        }
        // In the background a read would stop the whole program.
        if !raw::is_foreground() {
            self.is_raw = false;
            return Ok(());
        }
        let mut chunk = [0; CHUNK];
        match read(io::stdin(), &mut chunk) {
            Ok(0) => Err(Over::Gone),
            Ok(length) => {
                let keys = self.keys.feed(chunk.get(..length).unwrap_or_default());
                self.take(keys);
                Ok(())
            }
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(()),
            Err(_) => Err(Over::Gone),
        }
    }

    /// Ctrl-C does not wait for a screen that is not ready.
    fn take(&mut self, keys: Vec<Key>) {
        for key in keys {
            match key {
                Key::Interrupt => interrupt(),
                key => self.pressed.push_back(key),
            }
        }
    }

    fn press(&mut self) {
        while let Some(key) = self.pressed.front() {
            if self.desk.is_early(key) {
                return;
            }
            let Some(key) = self.pressed.pop_front() else {
                return;
            };
            match self.desk.press(key) {
                None => {}
                Some(Act::Entered { turn, text }) => {
                    let _ = self.events.send(Event::Entered { turn, text });
                }
                Some(Act::Answered { question, answer }) => {
                    // It stays on the screen, as at any other prompt.
                    let row = format!("{question}{}\n", screen::line(&answer));
                    let row = Letters::of_locale().show(row);
                    self.print(Stream::Stderr, row, None);
                    let _ = self.events.send(Event::Answered(answer));
                }
                Some(Act::TooLong) => _ = self.events.send(Event::TooLong),
                Some(Act::Overfull) => _ = self.events.send(Event::Overfull),
                Some(Act::End) => _ = self.events.send(Event::End),
                Some(Act::Interrupt) => interrupt(),
                Some(Act::Suspend) => self.suspend(),
                Some(Act::Redraw) => self.paint(),
                Some(Act::Refused) => self.put(Stream::Stdout, "\x07".to_owned(), None),
            }
        }
    }

    fn obey(&mut self, order: Order) -> Result<(), Over> {
        match order {
            Order::Print(to, text, done) => self.print(to, text, done),
            Order::Listen(state) => self.desk.listen(&state),
            Order::Speak { turn, rings } => {
                self.desk.speak(turn);
                if rings {
                    self.put(Stream::Stdout, "\x07".to_owned(), None);
                }
            }
            Order::Ask(question, completes) => {
                self.forget_keys();
                self.desk.ask(&question, completes);
            }
            Order::Close(reply) => {
                // What was typed for it and not seen yet is named too; no Enter counts any more.
                self.desk.listen("");
                while self.has_keys() {
                    self.read()?;
                }
                self.press();
                let _ = reply.send(self.desk.close());
            }
            Order::Resized => {
                self.painter.reflow(size().columns);
                self.paint();
            }
            Order::Continued => {
                if std::mem::take(&mut self.has_resumed) && self.is_raw {
                    // Or nobody has sent it for that, and this is another one.
                    self.put(Stream::Stdout, raw::BEGIN.to_owned(), None);
                    self.paint();
                } else {
                    // The shell has had the terminal, and written on it; or nobody has, and
                    // what was being written stands there still.
                    self.is_raw = false;
                    let mut out = String::new();
                    if raw::is_foreground() {
                        self.painter = Painter::default();
                        out.push_str("\r\x1b[K");
                    } else {
                        self.painter.erase(&mut out);
                    }
                    self.put(Stream::Stdout, out, None);
                    self.resume();
                }
            }
            Order::Stop(reply) => return Err(Over::Stopped(reply)),
        }
        Ok(())
    }

    /// What was pressed up to now was for what is over.
    fn forget_keys(&mut self) {
        self.pressed.clear();
        if self.is_raw && raw::is_foreground() {
            let _ = tcflush(io::stdin(), FlushArg::TCIFLUSH);
        }
    }

    /// Takes the terminal over, if it is ours just now.
    fn resume(&mut self) {
        if !self.is_raw
            && raw::is_foreground()
            && let Ok(begin) = raw::enter()
        {
            self.is_raw = true;
            self.put(Stream::Stdout, begin.to_owned(), None);
            self.paint();
        }
    }

    /// Ctrl-Z: gives the terminal back, and stops until the shell says otherwise.
    fn suspend(&mut self) {
        self.leave();
        self.is_raw = false;
        let _ = kill(Pid::from_raw(0), Signal::SIGTSTP);
        // By now it has stopped and goes on, or nobody is there to continue it.
        thread::sleep(STOPPING);
        self.resume();
        self.has_resumed = self.is_raw;
    }

    /// Takes away what is being written, and puts the terminal back.
    fn leave(&mut self) {
        let mut out = String::new();
        self.painter.erase(&mut out);
        raw::set_in_row(false);
        self.put(Stream::Stdout, out, None);
        while !self.pending.is_empty() && self.is_ready() {
            if self.write().is_err() {
                break;
            }
        }
        restore();
    }

    fn paint(&mut self) {
        let mut out = String::new();
        match self.desk.line() {
            // In the background the screen is somebody else's.
            Some((line, text, cursor)) if self.is_raw => {
                let (prompt, style) = match line {
                    Line::Message => (OURS, PROMPT),
                    Line::State(state) => (state, QUIET),
                    Line::Draft => (DRAFT, QUIET),
                    Line::Question(question) => (question, Style::new()),
                };
                let (begin, end) = match self.is_colourful {
                    true => (style.render().to_string(), style.render_reset().to_string()),
                    false => Default::default(),
                };
                let view = View {
                    prompt,
                    style: (&begin, &end),
                    text,
                    cursor,
                };
                self.painter.paint(&view, size(), &mut out);
            }
            _ => self.painter.erase(&mut out),
        }
        raw::set_in_row(!self.painter.is_empty());
        self.painting = Some(self.desk.changes());
        self.put(Stream::Stdout, out, None);
    }

    /// Prints whole rows above what is being written.
    fn print(&mut self, to: Stream, rows: String, done: Option<SyncSender<io::Result<()>>>) {
        let mut out = String::new();
        self.painter.erase(&mut out);
        if !out.is_empty() {
            self.put(Stream::Stdout, out, None);
        }
        self.put(to, rows, done);
        self.paint();
    }

    fn put(&mut self, to: Stream, text: String, done: Option<SyncSender<io::Result<()>>>) {
        let bytes = text.into_bytes();
        self.pending.push_back(Piece { to, bytes, done });
    }

    /// Writes as much as the screen takes at once.
    fn write(&mut self) -> Result<(), Over> {
        while let Some(piece) = self.pending.front() {
            let left = piece.bytes.get(self.written..).unwrap_or_default();
            let now = left.get(..PIECE.min(left.len())).unwrap_or_default();
            let written = match (now, piece.to) {
                ([], _) => Ok(0),
                (now, Stream::Stdout) => put_on(io::stdout().as_fd(), now),
                (now, Stream::Stderr) => put_on(io::stderr().as_fd(), now),
            };
            match written {
                Ok(written) => self.written += written,
                Err(Errno::EINTR | Errno::EAGAIN) => return Ok(()),
                Err(errno) => {
                    // stderr may be somewhere else, and full.
                    let is_gone = piece.to == Stream::Stdout;
                    if let Some(piece) = self.pending.pop_front() {
                        piece.done.map(|done| done.send(Err(errno.into())));
                    }
                    self.written = 0;
                    match is_gone {
                        true => return Err(Over::Gone),
                        false => continue,
                    }
                }
            }
            if self.written < piece.bytes.len() {
                if !self.is_ready() {
                    return Ok(());
                }
                continue;
            }
            if let Some(piece) = self.pending.pop_front() {
                piece.done.map(|done| done.send(Ok(())));
            }
            self.written = 0;
        }
        if let Some(changes) = self.painting.take() {
            self.desk.painted(changes);
        }
        Ok(())
    }
}

/// As if the terminal had made a signal of the key.
fn interrupt() {
    let _ = raise(Signal::SIGINT);
}

/// Past std's lock and buffer: whoever ends the program waits for neither.
fn put_on(to: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    write(to, bytes)
}

fn size() -> Size {
    let (Width(columns), Height(rows)) =
        terminal_size_of(io::stdout()).unwrap_or((Width(80), Height(24)));
    Size {
        columns: columns.into(),
        rows: rows.into(),
        letters: Letters::of_locale(),
    }
}
