//! `--log`: everything on stderr is an event, of the program or of the library below it.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, registry};

use super::display::{Display, LogFormat};

/// Has this display log: its own messages and, as far as `verbosity` goes, what the library tells
/// of its connections and conversations. No event has words of a message, or a secret.
pub fn start(display: Display, format: LogFormat, is_quiet: bool, verbosity: u8) -> Display {
    let display = display.logging(format);
    let level = match (is_quiet, verbosity) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => LevelFilter::INFO,
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    // Only where somebody else had set one: a process has one.
    let _ = collector(&display, format, level).try_init();
    display
}

fn collector(display: &Display, format: LogFormat, level: LevelFilter) -> impl Subscriber {
    let wanted = Targets::new()
        .with_target("turnchat", level)
        // A display has its own rules of what is told.
        .with_target("turnchat::cli::display", LevelFilter::DEBUG);
    let events = layer()
        .with_target(false)
        .with_writer(Events(display.clone()));
    let events = match format {
        LogFormat::Text => events.with_ansi(false).boxed(),
        LogFormat::Json => events
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
    };
    registry().with(events.with_filter(wanted))
}

/// Where events go.
struct Events(Display);

impl<'a> MakeWriter<'a> for Events {
    type Writer = Event<'a>;

    fn make_writer(&'a self) -> Event<'a> {
        Event(&self.0)
    }
}

/// One event, which is written whole.
struct Event<'a>(&'a Display);

impl io::Write for Event<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.log(String::from_utf8_lossy(event).trim_end());
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

    /// A log is kept: what could not be sent is said, without its words.
    #[test]
    fn no_words_of_a_message_are_in_a_log() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (display, shown) = Display::recorded(None);
            let display = display.logging(format);
            with_default(collector(&display, format, LevelFilter::TRACE), || {
                display.unsaid("tea at five");
            });
            let shown = shown.take();
            assert!(shown.contains("Not sent: 11 bytes of text."), "{shown}");
            assert!(!shown.contains("tea"), "{shown}");
        }
    }
}
