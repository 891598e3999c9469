//! `--log`: everything on stderr is an event, of the program or of the library below it. A
//! thread of its own writes them: a stderr that nobody reads holds up nobody, and costs events.

use std::io;

use tracing::subscriber::set_global_default;
use tracing::{Level, Metadata, Subscriber, warn};
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::MakeWriter;

use super::display::{Display, LogFormat};

/// Has this display log: its own messages and, as far as `verbosity` goes, what the library tells
/// of its connections and conversations. No event has words of a message, or a secret.
pub fn start(display: Display, format: LogFormat, is_quiet: bool, verbosity: u8) -> Display {
    let display = display.logging(format).spooled(Some(|lost| {
        warn!("{lost} events are missing here: nobody read this log.");
    }));
    let most = match (is_quiet, verbosity) {
        (true, _) => Level::WARN,
        (false, 0) => Level::INFO,
        (false, _) => Level::DEBUG,
    };
    // It fails only where somebody else had set one: a process has one.
    let _ = set_global_default(collector(Log(display.clone()), format, most));
    display
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

/// The log as tracing has it.
struct Log(Display);

impl<'a> MakeWriter<'a> for Log {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event(Some(&self.0))
    }

    /// Other libraries' events are not for whoever reads this.
    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Event<'a> {
        Event(of.target().starts_with("turnchat").then_some(&self.0))
    }
}

/// One event, which comes whole.
struct Event<'a>(Option<&'a Display>);

impl io::Write for Event<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if let Self(Some(display)) = self {
            display.log(String::from_utf8_lossy(event).trim_end());
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
        let log = Log(display.clone());
        with_default(collector(log, format, Level::DEBUG), || act(&display));
        shown.take()
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
}
