//! One life of a program, and whoever reads its stdout: reading, slow, paused, gone.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::PATIENCE;
use crate::side::{Who, turnchat};

/// The disk that is always full, where there is one.
pub(super) const FULL: &str = "/dev/full";

/// What a life tells: which side's, which of its lives, and what.
pub(super) type Told = (Who, u32, Word);

pub(super) enum Word {
    /// A whole line of stdout.
    Line(String),
    /// A line of stderr.
    Aside(String),
    /// It is over, and all that it wrote was told.
    End,
}

/// What a reader is told to do, as a byte on its wire.
#[derive(Clone, Copy)]
enum Order {
    GoOn = 1,
    Slow,
    Pause,
    Close,
}

pub(super) struct Life {
    child: Child,
    /// Its exit code, once that is known: `None` if a signal ended it.
    exit: Option<Option<i32>>,
    input: Option<Sender<String>>,
    orders: PipeWriter,
    /// Disconnected once the reader is gone.
    reading: Receiver<()>,
    /// Its stdout, as it has it.
    written: PipeWriter,
    pub(super) number: u32,
    /// Its reader has failed, or it was killed.
    pub(super) is_spoiled: bool,
}

impl Life {
    pub(super) fn start(
        who: Who,
        number: u32,
        arguments: &[String],
        is_full: bool,
        told: &Sender<Told>,
    ) -> Self {
        let mut command = turnchat();
        command.args(arguments);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let (stdout, written) = io::pipe().unwrap();
        match is_full {
            true => command.stdout(File::options().write(true).open(FULL).unwrap()),
            false => command.stdout(written.try_clone().unwrap()),
        };
        let mut child = command.spawn().unwrap();

        let (input, lines) = channel::<String>();
        let mut stdin = child.stdin.take().unwrap();
        // On a thread: a program that waits for its reader reads nothing.
        thread::spawn(move || lines.iter().try_for_each(|line| writeln!(stdin, "{line}")));

        let (ordered, orders) = io::pipe().unwrap();
        let (reads, reading) = channel();
        let telling = told.clone();
        let reader = thread::spawn(move || {
            let _reads: Sender<()> = reads;
            let mut reader = Reader {
                stdout,
                kept: Vec::new(),
                tell: &|line| drop(telling.send((who, number, Word::Line(line)))),
            };
            reader.run(ordered);
        });
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (telling, mut ending) = (told.clone(), orders.try_clone().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = telling.send((who, number, Word::Aside(line)));
            }
            let _ = ending.write_all(&[Order::Close as u8]);
            let _ = reader.join();
            let _ = telling.send((who, number, Word::End));
        });
        Self {
            child,
            exit: None,
            input: Some(input),
            orders,
            reading,
            written,
            number,
            is_spoiled: is_full,
        }
    }

    pub(super) fn enter(&self, line: String) {
        if let Some(input) = &self.input {
            let _ = input.send(line);
        }
    }

    pub(super) fn end_input(&mut self) {
        self.input = None;
    }

    pub(super) fn pause(&mut self) {
        self.order(Order::Pause);
    }

    pub(super) fn go_on(&mut self) {
        self.order(Order::GoOn);
    }

    pub(super) fn slow_down(&mut self) {
        self.order(Order::Slow);
    }

    fn order(&mut self, order: Order) {
        // A reader that is gone takes none.
        let _ = self.orders.write_all(&[order as u8]);
    }

    /// Closes its stdout.
    ///
    /// What a program has written into a pipe without an error counts as taken, by
    /// design: it cannot know more. So that each byte that counts is one that this
    /// test has read, the program is stopped first, with all of its threads; then
    /// the pipe is read until it is empty, and closed; then the program goes on.
    /// All that it wrote before was read, and all that it writes later fails. (A
    /// kill needs no such care: a pipe keeps what a dead program has written.)
    ///
    /// False where it was closed before, or its program is dead.
    pub(super) fn close(&mut self) -> bool {
        if std::mem::replace(&mut self.is_spoiled, true) {
            return false;
        }
        kill(self.pid(), Signal::SIGSTOP).unwrap();
        match waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap() {
            WaitStatus::Exited(_, code) => self.exit = Some(Some(code)),
            WaitStatus::Stopped(..) => {
                self.order(Order::Close);
                let gone = self.reading.recv_timeout(PATIENCE);
                assert_eq!(gone, Err(RecvTimeoutError::Disconnected));
                // Somebody who is just being started has it open for an instant.
                ready(&[self.written.as_fd()], PollTimeout::NONE);
                kill(self.pid(), Signal::SIGCONT).unwrap();
            }
            other => panic!("{other:?}"),
        }
        true
    }

    /// kill -9. Its [`Word::End`] comes all the same. False where it was dead.
    pub(super) fn kill(&mut self) -> bool {
        if self.exit.is_some() {
            return false;
        }
        self.is_spoiled = true;
        self.child.kill().unwrap();
        self.go_on();
        self.exit_code().is_none()
    }

    /// How it ended, once it has: `None` if it was killed.
    pub(super) fn exit_code(&mut self) -> Option<i32> {
        let child = &mut self.child;
        *self
            .exit
            .get_or_insert_with(|| child.wait().unwrap().code())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.exit.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

struct Reader<'a> {
    stdout: PipeReader,
    kept: Vec<u8>,
    tell: &'a dyn Fn(String),
}

impl Reader<'_> {
    fn run(&mut self, mut ordered: PipeReader) {
        let mut order = Order::GoOn as u8;
        loop {
            let is_paused = order == Order::Pause as u8;
            let [is_ordered, is_written] = match is_paused {
                true => [ready(&[ordered.as_fd()], PollTimeout::NONE)[0], false],
                false => {
                    let both = ready(&[ordered.as_fd(), self.stdout.as_fd()], PollTimeout::NONE);
                    [both[0], both[1]]
                }
            };
            if is_ordered {
                let mut byte = [Order::Close as u8];
                // Nobody to order: the round is over.
                let _ = ordered.read(&mut byte);
                [order] = byte;
            }
            if order == Order::Close as u8 {
                while ready(&[self.stdout.as_fd()], PollTimeout::ZERO)[0] && self.read(4096) {}
                return;
            }
            if is_ordered || !is_written {
                continue;
            }
            let size = if order == Order::Slow as u8 { 5 } else { 4096 };
            if !self.read(size) {
                return;
            }
        }
    }

    /// Reads this much at most; false at the end.
    fn read(&mut self, size: usize) -> bool {
        let mut chunk = [0; 4096];
        let length = self.stdout.read(&mut chunk[..size]).unwrap();
        for byte in &chunk[..length] {
            match byte {
                b'\n' => {
                    let line = String::from_utf8(std::mem::take(&mut self.kept));
                    (self.tell)(line.unwrap());
                }
                byte => self.kept.push(*byte),
            }
        }
        length > 0
    }
}

/// Which of these have something to read, or nobody at their other end.
fn ready(files: &[BorrowedFd<'_>], timeout: PollTimeout) -> Vec<bool> {
    let watched = files
        .iter()
        .map(|file| PollFd::new(*file, PollFlags::POLLIN));
    let mut watched: Vec<_> = watched.collect();
    poll(&mut watched, timeout).unwrap();
    watched.iter().map(|file| file.any().unwrap()).collect()
}
