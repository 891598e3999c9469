//! `--log`: everything on stderr is an event, of the program or of the library below it. A
//! thread of its own writes them: a stderr that nobody reads holds up nobody, and costs events.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::subscriber::set_global_default;
use tracing::{Level, Metadata, Subscriber, warn};
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::MakeWriter;

use super::display::{Display, LogFormat};

/// So many events wait to be written; more are lost, and counted.
const WAITING: usize = 1_024;
/// What is still to be written may take so long at the end.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// The way to the thread that writes: a process has one log.
static LOG: OnceLock<Log> = OnceLock::new();

/// Has this display log: its own messages and, as far as `verbosity` goes, what the library tells
/// of its connections and conversations. No event has words of a message, or a secret.
pub fn start(display: Display, format: LogFormat, is_quiet: bool, verbosity: u8) -> Display {
    let display = display.logging(format);
    let most = match (is_quiet, verbosity) {
        (true, _) => Level::WARN,
        (false, 0) => Level::INFO,
        (false, _) => Level::DEBUG,
    };
    let (log, jobs) = Log::new();
    let (lost, shown) = (Arc::clone(&log.lost), display.clone());
    let writing = thread::Builder::new().name("log".to_owned());
    // Where no thread can be had, the runtime does not start either, and says so.
    if writing.spawn(move || write(&jobs, &lost, &shown)).is_ok() {
        let _ = LOG.set(log.clone());
        // It fails only where somebody else had set one: a process has one.
        let _ = set_global_default(collector(log, format, most));
    }
    display
}

/// Waits for a moment until all events are written. The program ends after it.
pub fn finish() {
    let (written, done) = sync_channel(1);
    if let Some(log) = LOG.get()
        && log.jobs.try_send(Job::Tell(written)).is_ok()
    {
        let _ = done.recv_timeout(LAST_MOMENT);
    }
}

fn collector(log: Log, format: LogFormat, most: Level) -> Box<dyn Subscriber + Send + Sync> {
    let events = fmt()
        .with_target(false)
        .with_max_level(most)
        .with_writer(log);
    match format {
        LogFormat::Text => Box::new(events.with_ansi(false).finish()),
        LogFormat::Json => {
            let events = events.json().flatten_event(true);
            Box::new(events.with_span_list(false).finish())
        }
    }
}

/// What the thread is to do.
enum Job {
    Write(String),
    /// Say that all before it is done.
    Tell(SyncSender<()>),
}

/// The way to the thread.
#[derive(Clone)]
struct Log {
    jobs: SyncSender<Job>,
    /// Events that found no room.
    lost: Arc<AtomicUsize>,
}

impl Log {
    fn new() -> (Self, Receiver<Job>) {
        let (jobs, waiting) = sync_channel(WAITING);
        let lost = Arc::default();
        (Self { jobs, lost }, waiting)
    }
}

fn write(jobs: &Receiver<Job>, lost: &AtomicUsize, display: &Display) {
    for job in jobs {
        match job {
            Job::Write(event) => display.log(&event),
            Job::Tell(written) => _ = written.send(()),
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            warn!("{lost} events are missing here: nobody read this log.");
        }
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event(Some(self))
    }

    /// Other libraries' events are not for whoever reads this.
    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Event<'a> {
        Event(of.target().starts_with("turnchat").then_some(self))
    }
}

/// One event, which comes whole.
struct Event<'a>(Option<&'a Log>);

impl io::Write for Event<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if let Self(Some(log)) = self {
            let words = String::from_utf8_lossy(event).trim_end().to_owned();
            if log.jobs.try_send(Job::Write(words)).is_err() {
                log.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;

    use super::*;

    /// What is logged meanwhile.
    fn logged(format: LogFormat, act: impl FnOnce(&Display)) -> String {
        let (display, shown) = Display::recorded(None);
        let display = display.logging(format);
        let (log, jobs) = Log::new();
        let lost = Arc::clone(&log.lost);
        with_default(collector(log, format, Level::DEBUG), || {
            act(&display);
            // What is told of lost events comes as an event, too.
            write_what_waits(&jobs, &lost, &display);
            write_what_waits(&jobs, &lost, &display);
        });
        shown.take()
    }

    fn write_what_waits(jobs: &Receiver<Job>, lost: &AtomicUsize, display: &Display) {
        let (again, waiting) = sync_channel(WAITING);
        jobs.try_iter().for_each(|job| again.send(job).unwrap());
        drop(again);
        write(&waiting, lost, display);
    }

    /// A log is kept: what could not be sent is said, without its words.
    #[test]
    fn no_words_of_a_message_are_in_a_log() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let shown = logged(format, |display| display.unsaid("tea at five"));
            assert!(shown.contains("Not sent: 11 bytes of text."), "{shown}");
            assert!(!shown.contains("tea"), "{shown}");
        }
    }

    #[test]
    fn the_libraries_below_tell_nothing() {
        let shown = logged(LogFormat::Text, |display| {
            tracing::info!(target: "h2::codec", "send frame");
            display.say("again");
        });
        assert!(
            shown.contains("again") && !shown.contains("frame"),
            "{shown}"
        );
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let shown = logged(LogFormat::Text, |display| {
            (0..WAITING + 3).for_each(|_| display.say("again"));
        });
        assert_eq!(shown.matches("again").count(), WAITING);
        assert!(shown.contains("WARN 3 events are missing here"), "{shown}");
    }
}
