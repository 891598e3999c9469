//! The terminal's own mode: keys come as they are pressed, and are not echoed. Whatever ends
//! the program, it is put back.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp, write};

/// Bracketed paste: a terminal marks what was pasted.
pub(super) const BEGIN: &str = "\x1b[?2004h";
const END: &str = "\x1b[?2004l";
/// To the next row, with nothing in it or below.
const NEW_ROW: &str = "\r\n\x1b[J";

/// The mode to put back, while ours is on.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The cursor stands in a row that is not at its end.
static IN_ROW: AtomicBool = AtomicBool::new(false);

/// What is written stands there now, or has been taken away.
pub(super) fn set_in_row(is_in_row: bool) {
    IN_ROW.store(is_in_row, Ordering::Relaxed);
}

/// Whether this process may read the terminal: it is in the foreground there.
pub(super) fn is_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

/// Takes the terminal over; [`BEGIN`] is to be written to it.
pub(super) fn enter() -> io::Result<()> {
    let before = tcgetattr(io::stdin())?;
    let mut raw = before.clone();
    cfmakeraw(&mut raw);
    // LF still begins a row.
    raw.output_flags = before.output_flags;
    if let Ok(mut kept) = BEFORE.lock() {
        kept.get_or_insert(before);
    }
    tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
    restore_at_panic();
    Ok(())
}

/// Whether it is ready for this just now.
pub(super) fn is_ready(terminal: impl AsFd, for_what: PollFlags) -> bool {
    is_ready_within(terminal, for_what, Duration::ZERO)
}

/// Whether it is within this time.
pub(super) fn is_ready_within(
    terminal: impl AsFd,
    for_what: PollFlags,
    patience: Duration,
) -> bool {
    let mut polled = [PollFd::new(terminal.as_fd(), for_what)];
    let by = Instant::now() + patience;
    loop {
        let left = by.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, left) {
            Err(Errno::EINTR) => {}
            ready => return ready.is_ok_and(|ready| ready > 0),
        }
    }
}

/// Puts the terminal back, if it was taken over, and says whether it was. Takes no time: a
/// terminal that is blocked is left as it is but for its mode.
pub fn restore() -> bool {
    // Whoever holds it is about to do the same.
    let Ok(Some(before)) = BEFORE.try_lock().map(|mut kept| kept.take()) else {
        return false;
    };
    if is_ready(io::stdout(), PollFlags::POLLOUT) {
        // In the worst case a paste is marked at the shell, too.
        let _ = write(io::stdout(), END.as_bytes());
        if IN_ROW.swap(false, Ordering::Relaxed) {
            let _ = write(io::stdout(), NEW_ROW.as_bytes());
        }
    }
    let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &before);
    true
}

/// The terminal has echoed Ctrl-C, where this mode was not on: what the shell writes next is to
/// begin a row. Takes no time either.
pub fn end_row() {
    let echo = LocalFlags::ECHO | LocalFlags::ECHOCTL;
    let is_echoed = tcgetattr(io::stderr()).is_ok_and(|mode| mode.local_flags.contains(echo));
    if is_echoed && is_ready(io::stderr(), PollFlags::POLLOUT) {
        let _ = write(io::stderr(), b"\n");
    }
}

fn restore_at_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            next(panic);
        }));
    });
}
