//! The line editor at a terminal: one thread owns the keyboard and the screen.
//!
//! Everything that is shown goes through it, above what is being written, so that nothing is
//! ever mixed up. It waits in `poll(2)` for keys, for orders and for a screen that was not
//! ready; it has no other reason to wake up.
//!
//! ```text
//! keys     bytes to keys                     pure
//! buffer   keys to a text and its cursor     pure
//! desk     what the text is for, and Enter   pure
//! rows     the text to rows on the screen    pure
//! raw      the terminal's own mode
//! order    what the thread is told, and tells
//! console  the thread
//! ```

pub mod buffer;
mod console;
pub mod desk;
pub mod keys;
mod order;
mod raw;
#[cfg(test)]
pub(super) mod recorded;
pub mod rows;

use std::io::{self, IsTerminal as _, PipeWriter, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::errno::Errno;
use terminal_size::{Width, terminal_size_of};
use tokio::sync::mpsc;

use console::{Console, LAST_MOMENT};
use desk::Complete;
use order::Order;

pub use order::{Event, Stream};
pub use raw::{end_row, restore};

/// The handle on the thread.
#[derive(Clone, Debug)]
pub struct Editor {
    orders: Sender<Order>,
    waker: Arc<Mutex<PipeWriter>>,
    is_stopped: Arc<AtomicBool>,
}

impl Editor {
    /// Whether the editor can run here: stdin and stdout are one terminal that can move its
    /// cursor.
    pub fn can_run() -> bool {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let has_size = terminal_size_of(io::stdout()).is_some_and(|(Width(w), _)| w > 0);
        let is_one = match (
            nix::unistd::ttyname(io::stdin()),
            nix::unistd::ttyname(io::stdout()),
        ) {
            (Ok(input), Ok(output)) => input == output,
            _ => false,
        };
        io::stdin().is_terminal() && io::stdout().is_terminal() && is_one && has_size && !is_dumb
    }

    /// Starts it, for messages of at most so many bytes.
    ///
    /// # Errors
    /// The thread cannot be started, or the terminal not be taken over.
    pub fn start(
        limit: usize,
        is_colourful: bool,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<Event>)> {
        let (orders, ordered) = channel();
        let (woken, waker) = io::pipe()?;
        let (events, happened) = mpsc::unbounded_channel();
        let console = Mutex::new(Console::new(limit, ordered, woken, events, is_colourful));
        thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || {
                let console = console.into_inner();
                console.unwrap_or_else(PoisonError::into_inner).run();
            })?;
        let waker = Arc::new(Mutex::new(waker));
        let is_stopped = Arc::default();
        let editor = Self {
            orders,
            waker,
            is_stopped,
        };
        Ok((editor, happened))
    }

    /// Prints this, which ends its last row, above what is being written. Returns once the
    /// terminal has taken it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn print(&self, to: Stream, text: &str) -> io::Result<()> {
        let (done, printed) = sync_channel(1);
        self.order(Order::Print(to, text.to_owned(), Some(done)));
        printed.recv().unwrap_or_else(|_| Err(Errno::EIO.into()))
    }

    /// Prints this as soon as it can; `false` if the thread is gone.
    pub fn say(&self, text: String) -> bool {
        self.order(Order::Print(Stream::Stderr, text, None))
    }

    /// It is the peer's turn, and this is how things stand.
    pub fn listen(&self, state: &str) {
        self.order(Order::Listen(state.to_owned()));
    }

    /// It is the person's turn, of this number; whether the bell is rung.
    pub fn speak(&self, turn: u64, rings: bool) {
        self.order(Order::Speak { turn, rings });
    }

    /// Puts a question, and how Tab completes its answer. Each of its lines but the last has
    /// been printed.
    pub fn ask(&self, question: &str, completes: Option<Complete>) {
        self.order(Order::Ask(question.to_owned(), completes));
    }

    /// The conversation is over. What was left unsent; `None`: nothing.
    pub fn close(&self) -> Option<String> {
        let (reply, left) = sync_channel(1);
        self.order(Order::Close(reply));
        left.recv().ok().flatten()
    }

    /// The terminal has another size.
    pub fn resized(&self) {
        self.order(Order::Resized);
    }

    /// The program was stopped, and goes on.
    pub fn continued(&self) {
        self.order(Order::Continued);
    }

    /// Puts the terminal back. Takes 200 ms at most.
    pub fn stop(&self) {
        let (reply, stopped) = sync_channel(1);
        self.order(Order::Stop(reply));
        let _ = stopped.recv_timeout(LAST_MOMENT);
        self.is_stopped.store(true, Ordering::Relaxed);
        restore();
    }

    fn order(&self, order: Order) -> bool {
        let is_there = !self.is_stopped.load(Ordering::Relaxed) && self.orders.send(order).is_ok();
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        is_there && waker.write_all(&[0]).is_ok()
    }
}
