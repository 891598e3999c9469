//! [`Display`]: all that the program shows. The transcript goes to stdout; everything else goes
//! to stderr, a line a message, through the one door for foreign text. At a terminal both share
//! its last row, which belongs to the line editor where that runs.

mod log;
mod output;
#[cfg(test)]
pub(super) mod recorded;
mod spool;
mod standard;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Style};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{Level, debug, error, info, warn};

use super::editor::{Editor, Event, Order, Stream};
use super::layout::{self, OURS, THEIRS};
use super::report::Report;
use super::screen;
use output::Output;
use spool::Spool;
use standard::Standard;

pub use log::LogFormat;
pub use spool::finish;
pub use standard::write_out;

/// The handle on what is shown; behind it is the line editor, or nothing but the two streams.
#[derive(Clone, Debug)]
pub struct Display {
    is_quiet: bool,
    verbosity: u8,
    /// stderr is a log, and what is said an event in it.
    log: Option<LogFormat>,
    stdout: Arc<dyn Output>,
    stderr: Arc<dyn Output>,
    /// stderr itself, where a thread writes to it.
    direct: Arc<dyn Output>,
    /// Of the transcript, what shares a write with whatever is shown next.
    held: Arc<Mutex<String>>,
    /// A prompt stands on the terminal's last row, without an end.
    prompt: Arc<AtomicBool>,
    broken: Arc<Notify>,
    /// It is where it cannot be seen any more.
    is_lost: Arc<AtomicBool>,
    /// The terminal echoes what is typed, at any time: where the cursor is nobody knows.
    has_echo: Arc<AtomicBool>,
    /// And a conversation is on, in which something may be half typed.
    is_typing: Arc<AtomicBool>,
    /// The terminal's last row is its, where it runs.
    editor: Arc<OnceLock<Editor>>,
}

/// Before every message.
const PREFIX: &str = "turnchat: ";

const THEIR_STYLE: Style = AnsiColor::Green.on_default().bold();
const OUR_STYLE: Style = AnsiColor::Cyan.on_default().bold();
const NAME: Style = Style::new().dimmed();
const FAILURE: Style = AnsiColor::Red.on_default().bold();

impl Display {
    /// A display that is quiet but for errors, or tells details at `-v`.
    pub fn new(is_quiet: bool, verbosity: u8) -> Self {
        let stdout = Arc::new(Standard::new(io::stdout()));
        let stderr = Arc::new(Standard::new(io::stderr()));
        Self::over(stdout, stderr, is_quiet, verbosity)
    }

    fn over(
        stdout: Arc<dyn Output>,
        stderr: Arc<dyn Output>,
        is_quiet: bool,
        verbosity: u8,
    ) -> Self {
        Self {
            is_quiet,
            verbosity,
            log: None,
            stdout,
            direct: Arc::clone(&stderr),
            stderr,
            held: Arc::default(),
            prompt: Arc::default(),
            broken: Arc::default(),
            is_lost: Arc::default(),
            has_echo: Arc::default(),
            is_typing: Arc::default(),
            editor: Arc::default(),
        }
    }

    /// The same, as a log.
    #[must_use]
    pub fn logging(mut self, format: LogFormat) -> Self {
        self.log = Some(format);
        self
    }

    /// The same, with a thread of its own for stderr: where nobody reads that, nobody waits, and
    /// messages are lost. `tell` is called with how many, or they are told of on stderr.
    #[must_use]
    pub fn spooled(mut self, tell: Option<fn(usize)>) -> Self {
        let direct = Arc::clone(&self.direct);
        let told = move |lost| match tell {
            Some(tell) => tell(lost),
            None => {
                let missing = "messages are missing here: nobody read them.";
                let _ = direct.write(&format!("{PREFIX}{lost} {missing}\n"));
            }
        };
        // Where no thread can be had, the runtime does not start either, and says so.
        if let Ok(spool) = Spool::start(Arc::clone(&self.direct), told) {
            self.stderr = Arc::new(spool);
        }
        self
    }

    /// The same, for whoever may wait until stderr takes what is written.
    #[must_use]
    pub fn waiting(&self) -> Self {
        Self {
            stderr: Arc::clone(&self.direct),
            ..self.clone()
        }
    }

    /// An event of the log.
    pub fn log(&self, event: &str) {
        let format = self.log.unwrap_or(LogFormat::Text);
        self.write(&format.rows(event, self.stderr.page()));
    }

    /// A message.
    pub fn say(&self, message: &str) {
        if !self.is_quiet {
            self.notice(Level::INFO, message);
        }
    }

    fn notice(&self, level: Level, message: &str) {
        if self.is_typing.load(Ordering::Relaxed) {
            self.begin_row();
        }
        self.line(level, message);
    }

    /// A message that has to be seen however quiet it is: what was not sent, and what a program of
    /// `--exec` says on its stderr.
    pub fn say_always(&self, message: &str) {
        self.line(self.always(), message);
    }

    /// At which level a log has what is told however quiet it is.
    fn always(&self) -> Level {
        match self.is_quiet {
            true => Level::WARN,
            false => Level::INFO,
        }
    }

    /// A detail, for `-v`.
    pub fn detail(&self, message: &str) {
        if self.verbosity > 0 && !self.is_quiet {
            self.notice(Level::DEBUG, message);
        }
    }

    /// A failure, in its two parts.
    pub fn fail(&self, report: &Report) {
        if self.log.is_some() {
            return error!(advice = report.advice, "{}", report.what);
        }
        self.begin_row();
        self.line(Level::ERROR, &report.what);
        self.line(Level::ERROR, &report.advice);
    }

    /// What has to be seen however quiet it is: what scripts read, and what a question is about.
    pub fn print_always(&self, line: &str) {
        if self.log.is_some() {
            return self.line(self.always(), line);
        }
        let line = screen::line(line);
        let line = match self.stderr.page() {
            Some(page) => page.letters.show(line),
            None => line,
        };
        self.write(&format!("{line}\n"));
    }

    /// What a question is about, in words, however quiet it is.
    pub fn explain(&self, words: &str) {
        if self.log.is_some() {
            return self.line(self.always(), words);
        }
        self.write(&self.wrapped(words));
    }

    /// Whether stderr is kept, and read by others: no secret belongs there.
    pub fn is_kept(&self) -> bool {
        self.log.is_some() && !self.stderr.is_terminal()
    }

    /// What a person has written and is not sent, so that it can be had back.
    pub fn unsaid(&self, text: &str) {
        self.quote("Not sent: ", text);
    }

    /// What a person has written, behind these words. A log that nobody watches is kept: it has
    /// only how long the text was.
    pub fn quote(&self, words: &str, text: &str) {
        if self.is_kept() {
            let words = words.trim_end();
            return self.line(
                self.always(),
                &format!("{words} {} bytes of text.", text.len()),
            );
        }
        self.write(&layout::transcript(words, text, self.stderr.page()));
    }

    /// One message in the transcript, with whose it is before it.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn message(&self, whose: &str, text: &str) -> Result<(), Report> {
        let rows = self.rows(whose, text);
        if whose == THEIRS {
            self.begin_row();
        }
        match self.editor.get() {
            Some(editor) => editor
                .print(Stream::Stdout, &rows)
                .map_err(|_| Report::hung_up()),
            None => {
                self.break_prompt();
                self.transcribe(&rows)
            }
        }
    }

    /// One message in the transcript that need not stand there before what is shown next, or before
    /// it is [settled](Self::settle): whoever reads both is woken once. A log waits for nobody, and
    /// has its events behind what came before them: there it is shown at once.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn message_soon(&self, whose: &str, text: &str) -> Result<(), Report> {
        if self.log.is_some() {
            return self.message(whose, text);
        }
        self.hold().push_str(&self.rows(whose, text));
        Ok(())
    }

    /// Shows what was held.
    ///
    /// # Errors
    /// stdout is closed; it is held still.
    pub fn settle(&self) -> Result<(), Report> {
        let held = std::mem::take(&mut *self.hold());
        if held.is_empty() {
            return Ok(());
        }
        self.stdout.write(&held).map_err(|error| {
            self.hold().insert_str(0, &held);
            Report::stdout(&error)
        })
    }

    fn hold(&self) -> MutexGuard<'_, String> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self, whose: &str, text: &str) -> String {
        let rows = layout::transcript(whose, text, self.stdout.page());
        match rows.strip_prefix(whose) {
            Some(words) if self.stdout.is_colourful() => {
                let style = style_of(whose);
                format!("{style}{whose}{style:#}{words}")
            }
            _ => rows,
        }
    }

    /// A line for a program, in the place of the transcript.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn event(&self, line: &str) -> Result<(), Report> {
        self.transcribe(&format!("{line}\n"))
    }

    fn transcribe(&self, text: &str) -> Result<(), Report> {
        let rows = std::mem::take(&mut *self.hold()) + text;
        let written = self.stdout.write(&rows);
        written.map_err(|error| Report::stdout(&error))
    }

    /// Whether the transcript can be written at all.
    ///
    /// # Errors
    /// It cannot.
    pub fn check() -> Result<(), Report> {
        standard::check().map_err(|error| Report::stdout(&error))
    }

    /// Whether the transcript stands on a terminal.
    pub fn has_terminal(&self) -> bool {
        self.stdout.is_terminal()
    }

    /// Whether the transcript ends up on one, be it through a pipe.
    pub fn reaches_terminal(&self) -> bool {
        self.stdout.page().is_some()
    }

    /// Starts the line editor, for texts of at most so many bytes. From now on everything at the
    /// terminal goes through it.
    ///
    /// # Errors
    /// The terminal cannot be taken over.
    pub fn edit(&self, limit: usize) -> io::Result<(Editor, UnboundedReceiver<Event>)> {
        let (editor, events) = Editor::start(limit, self.stdout.is_colourful())?;
        let _ = self.editor.set(editor.clone());
        Ok((editor, events))
    }

    /// The prompt for a message, where the terminal gives whole lines. Whether it stands there,
    /// without an end.
    ///
    /// # Errors
    /// stdout is closed.
    pub fn prompt(&self) -> Result<bool, Report> {
        match self.has_terminal() {
            true => {
                let style = style_of(OURS);
                // Noted first: as soon as it is seen, Ctrl-Z may lose it.
                self.set_prompt(true);
                self.transcribe(&coloured(format!("{style}{OURS}{style:#}"), &self.stdout))?;
            }
            // Through a pipe the transcript may still come here, and begins a row then.
            false if self.stdout.page().is_some() => {
                self.print_always(OURS.trim_end());
                return Ok(false);
            }
            // The transcript goes elsewhere, whole; the person is asked here.
            false => self.ask(OURS),
        }
        Ok(true)
    }

    /// A question; the answer is typed behind it.
    pub fn ask(&self, question: &str) {
        self.break_prompt();
        self.set_prompt(true);
        let rows = self.wrapped(question);
        let _ = self.stderr.write(rows.strip_suffix('\n').unwrap_or(&rows));
    }

    fn wrapped(&self, words: &str) -> String {
        layout::transcript("", &screen::line(words), self.stderr.page())
    }

    /// Whether a prompt stands there, unanswered.
    pub fn has_prompt(&self) -> bool {
        self.prompt.load(Ordering::Relaxed)
    }

    /// A prompt was written, or answered with Enter.
    pub fn set_prompt(&self, stands: bool) {
        self.prompt.store(stands, Ordering::Relaxed);
    }

    /// From now on the terminal echoes what is typed.
    pub fn set_echo(&self) {
        self.has_echo.store(true, Ordering::Relaxed);
    }

    /// Whether a conversation is on in which what is half typed has no prompt.
    pub fn set_typing(&self, may_be: bool) {
        self.is_typing.store(may_be, Ordering::Relaxed);
    }

    /// Something may be half typed where this begins. Foreign text may follow: behind an echo its rows would not end where we end them, but
    /// at column 0.
    pub fn begin_row(&self) {
        if self.has_echo.load(Ordering::Relaxed) && self.stderr.page().is_some() {
            self.set_prompt(true);
            self.break_prompt();
        }
    }

    /// Ends the row of a prompt that stands there.
    pub fn break_prompt(&self) {
        if self.prompt.swap(false, Ordering::Relaxed) {
            let _ = self.stderr.write("\n");
            self.broken.notify_one();
        }
    }

    /// The prompt is where it cannot be seen any more, also one that has ended its row.
    pub fn forget_prompt(&self) {
        self.set_prompt(false);
        self.is_lost.store(true, Ordering::Relaxed);
        self.broken.notify_one();
    }

    /// Whether it is, since this was last asked.
    pub fn has_lost_prompt(&self) -> bool {
        self.is_lost.swap(false, Ordering::Relaxed)
    }

    /// Returns once something was said over a prompt. May be dropped at any
    /// time, and come once too often.
    pub async fn prompt_broken(&self) {
        self.broken.notified().await;
    }

    fn line(&self, level: Level, message: &str) {
        match (self.log, level) {
            (None, _) => {}
            (_, Level::DEBUG) => return debug!("{message}"),
            (_, Level::WARN) => return warn!("{message}"),
            (_, _) => return info!("{message}"),
        }
        let style = match level {
            Level::ERROR => FAILURE,
            _ => NAME,
        };
        // Foreign text in it never begins at the left margin.
        let rows = layout::transcript(PREFIX, &screen::line(message), self.stderr.page());
        let words = rows.strip_prefix(PREFIX).unwrap_or(&rows);
        self.write(&format!("{style}{PREFIX}{style:#}{words}"));
    }

    /// Whole rows.
    fn write(&self, rows: &str) {
        let rows = coloured(rows.to_owned(), &self.stderr);
        if let Some(editor) = self.editor.get().filter(|_| self.stderr.is_terminal())
            && editor.order(Order::Print(Stream::Stderr, rows.clone(), None))
        {
            return;
        }
        // Where stdout is closed, whoever settles next learns that.
        let _ = self.settle();
        self.break_prompt();
        // That stderr is closed can be told nowhere.
        let _ = self.stderr.write(&rows);
    }
}

fn style_of(whose: &str) -> Style {
    match whose {
        THEIRS => THEIR_STYLE,
        _ => OUR_STYLE,
    }
}

/// As this stream is given it.
fn coloured(text: String, stream: &Arc<dyn Output>) -> String {
    match stream.is_colourful() {
        true => text,
        false => strip_str(&text).to_string(),
    }
}

#[cfg(test)]
mod tests;
