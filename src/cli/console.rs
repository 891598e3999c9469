//! [`Console`]: stderr, where everything goes but the transcript. A line a
//! message, through the one door for foreign text.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use terminal_size::{Width, terminal_size_of};
use tokio::sync::Notify;

use super::editor::Editor;
use super::layout::{self, Page};
use super::locale::Letters;
use super::report::Report;
use super::screen;

/// Where messages to the person go, and which of them.
#[derive(Clone, Debug)]
pub struct Console {
    is_quiet: bool,
    verbosity: u8,
    /// A prompt stands on the terminal's last row, without an end.
    prompt: Arc<AtomicBool>,
    broken: Arc<Notify>,
    /// The terminal's last row is this one's, where it runs.
    editor: Arc<OnceLock<Editor>>,
}

/// Before every message.
const PREFIX: &str = "turnchat: ";

const NAME: Style = Style::new().dimmed();
const FAILURE: Style = AnsiColor::Red.on_default().bold();

impl Console {
    /// A console that is quiet but for errors, or tells details at `-v`.
    pub fn new(is_quiet: bool, verbosity: u8) -> Self {
        Self {
            is_quiet,
            verbosity,
            prompt: Arc::default(),
            broken: Arc::default(),
            editor: Arc::default(),
        }
    }

    /// A message.
    pub fn say(&self, message: &str) {
        if !self.is_quiet {
            self.line(NAME, message);
        }
    }

    /// A detail, for `-v`.
    pub fn detail(&self, message: &str) {
        if self.verbosity > 0 && !self.is_quiet {
            self.line(NAME, message);
        }
    }

    /// A failure, in its two parts.
    pub fn fail(&self, report: &Report) {
        self.line(FAILURE, &report.what);
        self.line(FAILURE, &report.advice);
    }

    /// One of the lines that scripts read: without the program's name.
    pub fn announce(&self, line: &str) {
        if !self.is_quiet {
            self.print_always(line);
        }
    }

    /// What has to be seen before a question is answered, however quiet it is.
    pub fn print_always(&self, line: &str) {
        let line = screen::line(line);
        let line = match page() {
            Some(page) => page.letters.show(line),
            None => line,
        };
        self.write(&format!("{line}\n"));
    }

    /// What a person has written and is not sent, so that it can be had back.
    pub fn unsaid(&self, text: &str) {
        self.write(&layout::transcript("Not sent: ", text, page()));
    }

    /// From now on everything at the terminal goes through this editor.
    pub fn attach(&self, editor: Editor) {
        if io::stderr().is_terminal() {
            let _ = self.editor.set(editor);
        }
    }

    /// A question; the answer is typed behind it.
    pub fn ask(&self, question: &str) {
        self.break_prompt();
        let _ = write!(anstream::stderr(), "{question}");
        let _ = anstream::stderr().flush();
        self.set_prompt(true);
    }

    /// Whether a prompt stands there, unanswered.
    pub fn has_prompt(&self) -> bool {
        self.prompt.load(Ordering::Relaxed)
    }

    /// A prompt was written, or answered with Enter.
    pub fn set_prompt(&self, stands: bool) {
        self.prompt.store(stands, Ordering::Relaxed);
    }

    /// Ends the row of a prompt that stands there.
    pub fn break_prompt(&self) {
        if self.prompt.swap(false, Ordering::Relaxed) {
            let _ = writeln!(anstream::stderr());
            self.broken.notify_one();
        }
    }

    /// Returns once something was said over a prompt. May be dropped at any
    /// time, and come once too often.
    pub async fn prompt_broken(&self) {
        self.broken.notified().await;
    }

    fn line(&self, style: Style, message: &str) {
        // Foreign text in it never begins at the left margin.
        let rows = layout::transcript(PREFIX, &screen::line(message), page());
        let words = rows.strip_prefix(PREFIX).unwrap_or(&rows);
        self.write(&format!("{style}{PREFIX}{style:#}{words}"));
    }

    /// Whole rows.
    fn write(&self, rows: &str) {
        if let Some(editor) = self.editor.get() {
            let shown = match AutoStream::choice(&io::stderr()) {
                ColorChoice::Never => strip_str(rows).to_string(),
                _ => rows.to_owned(),
            };
            if editor.say(shown) {
                return;
            }
        }
        self.break_prompt();
        // That stderr is closed can be told nowhere.
        let _ = write!(anstream::stderr(), "{rows}");
    }
}

/// The terminal that stderr is, if it is one.
fn page() -> Option<Page> {
    let (Width(columns), _) = terminal_size_of(io::stderr())?;
    Some(Page {
        columns: columns.into(),
        letters: Letters::of_locale(),
    })
}
