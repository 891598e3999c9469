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

use std::io::{self, PipeWriter, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread;

use nix::errno::Errno;
use nix::unistd::ttyname;
use terminal_size::{Width, terminal_size_of};
use tokio::sync::mpsc::UnboundedReceiver;

use console::{Console, LAST_MOMENT};

use crate::cli::blocking;

pub use order::{Complete, Done, Event, Mode, Order, Stream};
pub use raw::{end_row, restore};

/// The handle on the thread.
#[derive(Clone, Debug)]
pub struct Editor {
    orders: Sender<Order>,
    waker: Arc<PipeWriter>,
    is_stopped: Arc<AtomicBool>,
}

impl Editor {
    /// Whether the editor can run here: stdin and stdout are one terminal that can move its
    /// cursor.
    pub fn can_run() -> bool {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let has_size = terminal_size_of(io::stdout()).is_some_and(|(Width(w), _)| w > 0);
        // That it has a name says that it is a terminal.
        let is_one = ttyname(io::stdin()).is_ok_and(|name| ttyname(io::stdout()) == Ok(name));
        is_one && has_size && !is_dumb
    }

    /// Starts it, for messages of at most so many bytes.
    ///
    /// # Errors
    /// The thread cannot be started, or the terminal not be taken over.
    pub fn start(limit: usize, is_colourful: bool) -> io::Result<(Self, UnboundedReceiver<Event>)> {
        let (orders, ordered) = channel();
        let (woken, waker) = io::pipe()?;
        let (console, events) = Console::new(limit, is_colourful, ordered, woken);
        let thread = thread::Builder::new().name("terminal".to_owned());
        thread.spawn(move || console.run())?;
        let editor = Self {
            orders,
            waker: Arc::new(waker),
            is_stopped: Arc::default(),
        };
        Ok((editor, events))
    }

    /// Prints this, which ends its last row, above what is being written. Returns once the
    /// terminal has taken it.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn print(&self, to: Stream, text: &str) -> io::Result<()> {
        let (done, printed) = sync_channel(1);
        self.order(Order::Print(to, text.to_owned(), Some(done)));
        let printed = blocking::wait(|| printed.recv());
        printed.unwrap_or_else(|_| Err(Errno::EIO.into()))
    }

    /// Asks for something else.
    pub fn turn_to(&self, mode: Mode) {
        self.order(Order::TurnTo(mode));
    }

    /// The conversation is over. What was left unsent; `None`: nothing.
    pub fn close(&self) -> Option<String> {
        let (reply, left) = sync_channel(1);
        self.order(Order::Close(reply));
        blocking::wait(|| left.recv()).ok().flatten()
    }

    /// Puts the terminal back. Takes 1 s at most: the thread may be busy before it takes its last
    /// moment.
    pub fn stop(&self) {
        let (reply, stopped) = sync_channel(1);
        self.order(Order::Stop(reply));
        let _ = stopped.recv_timeout(2 * LAST_MOMENT);
        self.is_stopped.store(true, Ordering::Relaxed);
        restore();
    }

    /// Has it do this as soon as it can; `false` if the thread is gone.
    pub fn order(&self, order: Order) -> bool {
        let is_there = !self.is_stopped.load(Ordering::Relaxed) && self.orders.send(order).is_ok();
        is_there && (&*self.waker).write_all(&[0]).is_ok()
    }
}
