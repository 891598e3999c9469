//! A display whose two streams are kept as text, for tests.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Display;
use super::output::Output;
use crate::cli::editor::recorded::Person;
use crate::cli::editor::{Editor, Event, Stream};
use crate::cli::layout::Page;

/// What was shown, on both streams: stdout as it is, and each row of stderr behind a `|`.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Shown {
    text: Arc<Mutex<String>>,
    is_closed: Arc<AtomicBool>,
}

impl Shown {
    /// What was shown since it was last asked for.
    pub(in crate::cli) fn take(&self) -> String {
        std::mem::take(&mut self.lock())
    }

    /// From now on stdout is closed.
    pub(in crate::cli) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    pub(in crate::cli) fn add(&self, text: &str) {
        self.lock().push_str(text);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Recorded {
    is_stdout: bool,
    page: Option<Page>,
    shown: Shown,
}

impl Output for Recorded {
    fn is_terminal(&self) -> bool {
        self.page.is_some()
    }

    fn is_colourful(&self) -> bool {
        false
    }

    fn page(&self) -> Option<Page> {
        self.page
    }

    fn write(&self, text: &str) -> io::Result<()> {
        match self.is_stdout {
            true if self.shown.is_closed.load(Ordering::Relaxed) => Err(Errno::EPIPE.into()),
            true => {
                self.shown.add(text);
                Ok(())
            }
            false => {
                let rows = text.split_inclusive('\n');
                rows.for_each(|row| self.shown.add(&format!("|{row}")));
                Ok(())
            }
        }
    }
}

impl Display {
    /// A display that tells details too, on this terminal or none.
    pub(in crate::cli) fn recorded(page: Option<Page>) -> (Self, Shown) {
        let shown = Shown::default();
        let [stdout, stderr] = [true, false].map(|is_stdout| {
            Arc::new(Recorded {
                is_stdout,
                page,
                shown: shown.clone(),
            })
        });
        (Self::over(stdout, stderr, false, 1), shown)
    }

    /// The same, with an editor that tells of itself among the rows of stderr.
    pub(in crate::cli) fn edited(
        page: Page,
    ) -> (Self, Shown, Editor, UnboundedReceiver<Event>, Person) {
        let (display, shown) = Self::recorded(Some(page));
        let streams = [display.stdout.clone(), display.stderr.clone()];
        let (editor, events, person) = Editor::recorded(move |to, rows| {
            let [stdout, stderr] = &streams;
            let _ = match to {
                Stream::Stdout => stdout.write(rows),
                Stream::Stderr => stderr.write(rows),
            };
        });
        let _ = display.editor.set(editor.clone());
        (display, shown, editor, events, person)
    }
}
