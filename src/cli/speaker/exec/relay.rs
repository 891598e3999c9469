//! [`Relay`]: passes on what programs say on their stderr. It is written by a thread of its own:
//! whoever says much, or a stderr that nobody reads, holds up nobody but that program.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc::{Sender, channel};

use crate::cli::display::Display;

/// So many rows wait to be written, of all programs.
const WAITING: usize = 64;
/// A longer line is shown in pieces of so many bytes.
const PIECE: usize = 4_096;
/// What is still to be written may take so long at the end.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// The way to stderr, for all programs.
#[derive(Clone, Debug)]
pub(super) struct Relay(Arc<Writer>);

#[derive(Debug)]
struct Writer {
    /// `None`: no more will come.
    rows: Option<Sender<String>>,
    /// Ends once all is written.
    done: Mutex<mpsc::Receiver<()>>,
}

impl Relay {
    /// Starts the thread.
    ///
    /// # Errors
    /// There can be no more threads.
    pub(super) fn start(display: Display) -> io::Result<Self> {
        let (rows, mut written) = channel::<String>(WAITING);
        let (ends, done) = mpsc::channel();
        let writing = thread::Builder::new().name("relay".to_owned());
        writing.spawn(move || {
            let _ends: mpsc::Sender<()> = ends;
            while let Some(row) = written.blocking_recv() {
                display.say_always(&row);
            }
        })?;
        Ok(Self(Arc::new(Writer {
            rows: Some(rows),
            done: Mutex::new(done),
        })))
    }

    /// Passes on what comes from there, behind a name, up to its end.
    pub(super) async fn pass_on(self, stderr: OwnedFd, name: String) {
        let Ok(stderr) = Receiver::from_owned_fd(stderr) else {
            return;
        };
        let mut begun = Vec::new();
        let mut is_over = false;
        while !is_over {
            let _ = stderr.readable().await;
            let mut chunk = [0; PIECE];
            match stderr.try_read(&mut chunk) {
                Ok(length @ 1..) => begun.extend(chunk.iter().take(length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Ok(0) | Err(_) => is_over = true,
            }
            while let Some(line) = take_line(&mut begun, is_over) {
                let line = String::from_utf8_lossy(&line);
                self.pass(format!("{name}: {line}")).await;
            }
        }
    }

    async fn pass(&self, row: String) {
        if let Some(rows) = &self.0.rows {
            let _ = rows.send(row).await;
        }
    }
}

/// The next line without its end, or a piece of it; of what is over also the last one.
fn take_line(begun: &mut Vec<u8>, is_over: bool) -> Option<Vec<u8>> {
    let end = begun.iter().position(|byte| *byte == b'\n');
    let mut line: Vec<u8> = match end {
        Some(end) if end <= PIECE => begun.drain(..=end).collect(),
        _ if begun.len() > PIECE => begun.drain(..PIECE).collect(),
        _ if is_over && !begun.is_empty() => std::mem::take(begun),
        _ => return None,
    };
    line.pop_if(|last| *last == b'\n');
    line.pop_if(|last| *last == b'\r');
    Some(line)
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.rows = None;
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = done.recv_timeout(LAST_MOMENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_long_ones_in_pieces() {
        let mut begun = b"one\r\ntwo\nhal".to_vec();
        assert_eq!(take_line(&mut begun, false).unwrap(), b"one");
        assert_eq!(take_line(&mut begun, false).unwrap(), b"two");
        assert_eq!(take_line(&mut begun, false), None);
        begun.extend([b'x'; PIECE]);
        begun.push(b'\n');
        assert_eq!(take_line(&mut begun, false).unwrap().len(), PIECE);
        assert_eq!(take_line(&mut begun, false).unwrap(), b"xxx");
        begun.extend(b"last");
        assert_eq!(take_line(&mut begun, true).unwrap(), b"last");
        assert_eq!(take_line(&mut begun, true), None);
    }
}
