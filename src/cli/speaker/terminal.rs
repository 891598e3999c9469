//! [`Terminal`]: a person speaks. Every prompt belongs to one conversation and
//! one turn; what was typed before it stands unsent until Enter is pressed.

use std::io;

use nix::sys::termios::tcgetattr;

use super::intent::Intent;
use super::notices::{show_end, show_heard_again, show_leaving, show_notice};
use super::partner::Partner;
use crate::cli::console::Console;
use crate::cli::input::line::Typed;
use crate::cli::input::{Input, InputEvent};
use crate::cli::report::Report;
use crate::cli::transcript::{OURS, THEIRS, Transcript};
use crate::link::{Cause, Ended, Notice};
use crate::protocol::Text;

/// A person at a terminal.
#[derive(Debug)]
pub struct Terminal {
    input: Input,
    console: Console,
    first: Option<Text>,
    /// The turn whose prompt was begun; what came before it was typed ahead.
    asked: Option<u64>,
    /// Typed before the prompt, and sent at Enter.
    typed_ahead: Option<String>,
    /// What is said stands on the screen already, as it was typed there.
    is_echoed: bool,
    is_at_end: bool,
    peer: String,
}

impl Terminal {
    /// Reads from `input`; `first` is said in turn 1 before the person is asked.
    pub fn new(input: Input, console: Console, first: Option<Text>) -> Self {
        Self {
            input,
            console,
            first,
            asked: None,
            typed_ahead: None,
            is_echoed: false,
            is_at_end: false,
            peer: String::new(),
        }
    }

    pub(super) fn connected(&mut self, partner: &Partner) -> Result<(), Report> {
        self.peer = partner.short_name();
        // Typed for nobody, or for whoever came before.
        if self.input.discard().unwrap_or(false) {
            self.console
                .say("What you typed before is not sent; it is discarded.");
        }
        self.asked = None;
        self.typed_ahead = None;
        self.console.say(&format!(
            "{} QUIT on a line of its own ends it.",
            partner.greeting()
        ));
        Ok(())
    }

    pub(super) async fn ask(&mut self, turn: u64) -> Intent {
        self.is_echoed = false;
        if let (1, Some(first)) = (turn, &self.first) {
            return Intent::Message(first.clone());
        }
        loop {
            if self.asked != Some(turn) {
                self.take_typed_ahead().await;
                self.asked = Some(turn);
            }
            if let Err(report) = self.prompt() {
                return Intent::Broken(report);
            }
            let event = tokio::select! {
                event = self.input.next() => event,
                () = self.console.prompt_broken() => continue,
            };
            // Enter has ended the row; at the end of input nothing has.
            match &event {
                InputEvent::End | InputEvent::Failed(_) => self.console.break_prompt(),
                _ => self.console.set_prompt(false),
            }
            match event {
                InputEvent::Line(line) => match self.understand(line) {
                    Some(Typed::Quit) => return self.quit(),
                    Some(Typed::Message(words)) => match Text::new(words) {
                        Ok(text) => return self.message(text),
                        Err(_) => self.too_long(),
                    },
                    None => {}
                },
                InputEvent::TooLong => self.too_long(),
                InputEvent::NotUtf8 => self.console.say(
                    "That was not UTF-8, and was not sent. Set the terminal to UTF-8 and type it again.",
                ),
                InputEvent::End => {
                    self.is_at_end = true;
                    return Intent::Quit;
                }
                InputEvent::Failed(error) => return Intent::Failed(Report::stdin(&error)),
            }
        }
    }

    /// One line of an answer to a question that stands on the console.
    ///
    /// # Errors
    /// The terminal cannot be read. `None` at its end.
    pub async fn answer(&mut self) -> Result<Option<String>, Report> {
        let event = self.input.next().await;
        self.console.set_prompt(false);
        match event {
            InputEvent::Line(line) => Ok(Some(line)),
            InputEvent::TooLong | InputEvent::NotUtf8 => Ok(Some(String::new())),
            InputEvent::End => Ok(None),
            InputEvent::Failed(error) => Err(Report::stdin(&error)),
        }
    }

    /// Whether nobody can type here any more: the input has ended, or the
    /// terminal was closed.
    pub fn is_gone(&self) -> bool {
        self.is_at_end || tcgetattr(io::stdin()).is_err()
    }

    /// Throws away what was typed and not read.
    pub fn discard(&mut self) {
        let _ = self.input.discard();
    }

    async fn take_typed_ahead(&mut self) {
        let mut lines = Vec::new();
        while self.input.is_ready() {
            match self.input.next().await {
                InputEvent::Line(line) => lines.push(line),
                InputEvent::TooLong | InputEvent::NotUtf8 => {}
                InputEvent::End | InputEvent::Failed(_) => break,
            }
        }
        if !lines.is_empty() {
            let text = lines.join("\n");
            self.console
                .say(&format!("Typed before your turn, and not sent: {text}"));
            self.console
                .say("Enter alone sends it; anything else is sent in its place.");
            self.typed_ahead = Some(text);
        }
    }

    fn prompt(&mut self) -> Result<(), Report> {
        if self.console.has_prompt() {
            return Ok(());
        }
        match Transcript::is_terminal() {
            true => Transcript::prompt()?,
            // The transcript goes elsewhere, whole; the person is asked here.
            false => self.console.ask(OURS),
        }
        self.console.set_prompt(true);
        Ok(())
    }

    /// `None` for an empty line, which is asked again.
    fn understand(&mut self, line: String) -> Option<Typed> {
        match (line.is_empty(), self.typed_ahead.take()) {
            (true, None) => None,
            (true, Some(ahead)) => Some(Typed::parse(&ahead)),
            (false, _) => {
                self.is_echoed = Transcript::is_terminal();
                Some(Typed::parse(&line))
            }
        }
    }

    fn message(&mut self, text: Text) -> Intent {
        self.asked = None;
        Intent::Message(text)
    }

    fn quit(&mut self) -> Intent {
        if !self.is_echoed
            && let Err(report) = Transcript::message(OURS, "QUIT")
        {
            return Intent::Broken(report);
        }
        Intent::Quit
    }

    fn too_long(&self) {
        self.console.say(&format!(
            "That was over {} bytes, and was not sent. Say it in several turns.",
            Text::MAX
        ));
    }

    pub(super) fn sent(&mut self, text: &Text) -> Result<(), Report> {
        if self.is_echoed {
            return Ok(());
        }
        self.console.break_prompt();
        Transcript::message(OURS, text.as_str())
    }

    pub(super) fn heard(&mut self, text: &Text) -> Result<(), Report> {
        self.console.break_prompt();
        Transcript::message(THEIRS, text.as_str())
    }

    pub(super) fn heard_again(&mut self, text: &Text) -> Result<(), Report> {
        show_heard_again(&self.console);
        self.heard(text)
    }

    pub(super) fn notice(&mut self, notice: Notice) -> Result<(), Report> {
        show_notice(&self.console, notice);
        Ok(())
    }

    pub(super) fn leaving(&self) {
        show_leaving(&self.console);
    }

    pub(super) fn ended(&mut self, over: &Ended) -> Result<(), Report> {
        let had_prompt = self.console.has_prompt();
        show_end(&self.console, &self.peer, over);
        let was_ours = matches!(over.cause, Cause::Me);
        if !was_ours && (had_prompt || self.input.is_ready()) {
            self.console
                .say("What you were typing was not sent; it is discarded.");
        }
        let _ = self.input.discard();
        self.console.break_prompt();
        Ok(())
    }
}
