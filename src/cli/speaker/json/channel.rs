//! [`Channel`]: where commands come from, and events go: [`Stdio`], or a program that was
//! [`Started`].

use std::sync::Arc;

use serde_json::Value;

use crate::cli::display::Display;
use crate::cli::input::line::Line;
use crate::cli::input::{Input, InputEvent};
use crate::cli::locale::Letters;
use crate::cli::report::Report;
use crate::cli::screen;
use crate::cli::speaker::exec::{CommandLine, Program};
use crate::cli::speaker::intent::Intent;
use crate::cli::speaker::partner::Partner;

/// Bytes that a line of commands may have, LF aside: what a frame may have.
pub const LINE: usize = 524_288;

/// Lines to and from a program.
pub trait Channel: Send {
    /// Whether the program knows where the talk stands after a restart of ours.
    fn can_resume(&self) -> bool;

    /// Whether the program may read after the end of what it writes.
    fn reads_on(&self) -> bool;

    /// A conversation is on.
    ///
    /// # Errors
    /// There is no program for it.
    fn connected(&mut self, partner: &Partner) -> Result<(), Report>;

    /// The next line of commands, or what comes in their place. May be dropped at any time.
    fn next(&mut self) -> impl Future<Output = Result<Line, Intent>> + Send;

    /// What is written, and was not read yet, as far as it is there.
    fn take_written(&mut self) -> Vec<String>;

    /// Writes an event.
    ///
    /// # Errors
    /// Nobody reads it.
    fn write(&mut self, event: &Value) -> Result<(), Report>;

    /// Waits until all events are written. May be dropped at any time.
    ///
    /// # Errors
    /// Nobody reads them.
    fn taken(&mut self) -> impl Future<Output = Result<(), Report>> + Send;

    /// The conversation is over.
    fn finish(&mut self) -> impl Future<Output = ()> + Send;
}

/// Our own stdin and stdout.
#[derive(Debug)]
pub struct Stdio {
    pub(super) input: Input,
    display: Display,
}

impl Stdio {
    pub(super) fn new(input: Input, display: Display) -> Self {
        Self { input, display }
    }
}

impl Channel for Stdio {
    fn can_resume(&self) -> bool {
        true
    }

    fn reads_on(&self) -> bool {
        true
    }

    fn connected(&mut self, _partner: &Partner) -> Result<(), Report> {
        Ok(())
    }

    async fn next(&mut self) -> Result<Line, Intent> {
        match self.input.next().await {
            InputEvent::Line(line) => Ok(Line::Text(line)),
            InputEvent::TooLong(limit) => Ok(Line::TooLong(limit)),
            InputEvent::NotUtf8(length) => Ok(Line::NotUtf8(length)),
            InputEvent::End => Err(Intent::Quit),
            InputEvent::Failed(error) => Err(Intent::Failed(Report::stdin(&error))),
        }
    }

    fn take_written(&mut self) -> Vec<String> {
        self.input.take_typed().texts()
    }

    fn write(&mut self, event: &Value) -> Result<(), Report> {
        let is_ascii = self.display.reaches_terminal() && Letters::of_locale().are_ascii();
        self.display.event(&screen::json(event, is_ascii))
    }

    async fn taken(&mut self) -> Result<(), Report> {
        Ok(())
    }

    async fn finish(&mut self) {}
}

/// What a person has typed there and nobody has taken would be the shell's, and run there at Enter.
impl Drop for Stdio {
    fn drop(&mut self) {
        if self.input.is_terminal() {
            for text in self.input.take_typed().texts() {
                // What the terminal has echoed may have no end.
                self.display.set_prompt(true);
                self.display.unsaid(&text);
            }
        }
    }
}

/// The stdin and stdout of a program that is started for each conversation.
#[derive(Debug)]
pub struct Started {
    command: Arc<CommandLine>,
    program: Option<Program>,
}

impl Started {
    pub(super) fn new(command: Arc<CommandLine>) -> Self {
        let program = None;
        Self { command, program }
    }

    /// The same for another conversation.
    pub(super) fn another(&self) -> Self {
        Self::new(Arc::clone(&self.command))
    }
}

impl Channel for Started {
    /// A new program does not know it, unless it has kept something.
    fn can_resume(&self) -> bool {
        false
    }

    fn reads_on(&self) -> bool {
        false
    }

    fn connected(&mut self, partner: &Partner) -> Result<(), Report> {
        let program = Program::start(&self.command, partner, LINE)?;
        self.program = Some(program);
        Ok(())
    }

    async fn next(&mut self) -> Result<Line, Intent> {
        let Some(program) = &mut self.program else {
            return std::future::pending().await;
        };
        match program.next().await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => Err(match program.ends().await {
                Ok(()) => Intent::Quit,
                Err(report) => Intent::Broken(report),
            }),
            Err(report) => Err(Intent::Broken(report)),
        }
    }

    fn take_written(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn write(&mut self, event: &Value) -> Result<(), Report> {
        match &mut self.program {
            Some(program) => program.give(format!("{}\n", screen::json(event, false)).as_bytes()),
            // Before its conversation there is nobody to tell.
            None => Ok(()),
        }
    }

    async fn taken(&mut self) -> Result<(), Report> {
        match &mut self.program {
            Some(program) => program.taken().await,
            None => Ok(()),
        }
    }

    async fn finish(&mut self) {
        if let Some(program) = self.program.take() {
            let _ = program.finish().await;
        }
    }
}
