//! [`Spool`]: a stream that holds up nobody. A thread of its own writes; what finds no room is lost,
//! and counted.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use super::output::Output;
use crate::cli::layout::Page;

/// So many texts wait to be written.
const WAITING: usize = 1_024;
/// What is still to be written may take so long at the end.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// What the thread is to do.
enum Job {
    Write(String),
    /// Say that all before it is done.
    Tell(SyncSender<()>),
}

/// The way to the thread: a process has one stderr.
static JOBS: OnceLock<SyncSender<Job>> = OnceLock::new();

/// Waits for a moment until all is written. The program ends after it.
pub fn finish() {
    let (written, done) = sync_channel(1);
    if let Some(jobs) = JOBS.get()
        && jobs.try_send(Job::Tell(written)).is_ok()
    {
        let _ = done.recv_timeout(LAST_MOMENT);
    }
}

/// The way to the thread, and the stream behind it.
#[derive(Debug)]
pub(super) struct Spool {
    stream: Arc<dyn Output>,
    jobs: SyncSender<Job>,
    lost: Arc<AtomicUsize>,
}

impl Spool {
    /// Starts the thread. It calls `tell` with how many texts were lost.
    ///
    /// # Errors
    /// There can be no more threads.
    pub(super) fn start(
        stream: Arc<dyn Output>,
        tell: impl Fn(usize) + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(WAITING);
        let lost: Arc<AtomicUsize> = Arc::default();
        let (behind, missing) = (Arc::clone(&stream), Arc::clone(&lost));
        thread::Builder::new()
            .name("stderr".to_owned())
            .spawn(move || {
                for job in waiting {
                    match job {
                        // That it is closed can be told nowhere.
                        Job::Write(text) => _ = behind.write(&text),
                        Job::Tell(written) => _ = written.send(()),
                    }
                    match missing.swap(0, Ordering::Relaxed) {
                        0 => {}
                        lost => tell(lost),
                    }
                }
            })?;
        let _ = JOBS.set(jobs.clone());
        Ok(Self { stream, jobs, lost })
    }
}

impl Output for Spool {
    fn is_terminal(&self) -> bool {
        self.stream.is_terminal()
    }

    fn is_colourful(&self) -> bool {
        self.stream.is_colourful()
    }

    fn page(&self) -> Option<Page> {
        self.stream.page()
    }

    fn write(&self, text: &str) -> io::Result<()> {
        if self.jobs.try_send(Job::Write(text.to_owned())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Says that it is about to write, and does so once it may.
    #[derive(Debug)]
    struct Unread {
        begun: SyncSender<()>,
        may: Mutex<Receiver<()>>,
    }

    impl Output for Unread {
        fn is_terminal(&self) -> bool {
            false
        }

        fn is_colourful(&self) -> bool {
            false
        }

        fn page(&self) -> Option<Page> {
            None
        }

        fn write(&self, _: &str) -> io::Result<()> {
            let _ = self.begun.try_send(());
            let _ = self.may.lock().unwrap().recv();
            Ok(())
        }
    }

    #[test]
    fn what_finds_no_room_is_lost_and_counted() {
        let (begun, has_begun) = sync_channel(1);
        let (allow, may) = channel();
        let may = Mutex::new(may);
        let (told, lost) = channel();
        let stream = Arc::new(Unread { begun, may });
        let spool = Spool::start(stream, move |lost| told.send(lost).unwrap()).unwrap();
        spool.write("in hand").unwrap();
        has_begun.recv().unwrap();
        (0..WAITING + 3).for_each(|_| spool.write("again").unwrap());
        drop(allow);
        assert_eq!(lost.recv().unwrap(), 3);
    }
}
