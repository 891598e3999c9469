//! [`Lines`]: a person speaks at a terminal where the line editor cannot run: one without
//! cursor keys, or with stdout elsewhere. The terminal gives whole lines; what was typed before
//! a prompt stands unsent until Enter is pressed at it.

use tokio::signal::unix::{SignalKind, signal};

use super::intent::Intent;
use super::notices::{INTERRUPTED, show_end, show_letters};
use super::partner::Partner;
use super::{Answer, Left, Speaker, Unsaid};
use crate::cli::display::Display;
use crate::cli::input::line::Typed;
use crate::cli::input::{Input, InputEvent};
use crate::cli::layout::OURS;
use crate::cli::report::Report;
use crate::link::Ended;
use crate::protocol::Text;

/// At Ctrl-Z the terminal forgets the line that it holds; at SIGSTOP it does not.
const STOPPED: &str = "Continued. A line that was half typed may be gone, or there unseen: Ctrl-U \
                       clears it, and then you can type it again.";

/// What a notice has done: the terminal keeps the line that it holds, and nobody sees it.
const COVERED: &str =
    "If you had begun a line, it still counts, though it is not shown: Ctrl-U clears it.";

/// A person at a terminal that gives lines.
#[derive(Debug)]
pub struct Lines {
    input: Input,
    display: Display,
    first: Option<Text>,
    /// The turn whose prompt was begun; what came before it was typed ahead.
    asked: Option<u64>,
    /// The prompt has been written, in a row of its own.
    is_prompted: bool,
    /// In this turn it was said what becomes of a line begun.
    is_warned: bool,
    /// What is asked, where a question stands.
    question: String,
    /// Typed before the prompt, and sent at Enter.
    typed_ahead: Option<String>,
    /// What is said stands on the screen already, as it was typed there.
    is_echoed: bool,
    is_at_end: bool,
    peer: String,
}

impl Lines {
    /// Reads from `input`; `first` is said in turn 1 before the person is asked.
    pub fn new(input: Input, display: Display, first: Option<Text>) -> Self {
        Self {
            input,
            display,
            first,
            asked: None,
            is_prompted: false,
            is_warned: false,
            question: String::new(),
            typed_ahead: None,
            is_echoed: false,
            is_at_end: false,
            peer: String::new(),
        }
    }

    fn left(&mut self) -> Left {
        self.is_at_end = true;
        match self.input.is_gone() {
            true => Left::Terminal,
            false => Left::Input,
        }
    }

    /// What was typed, if it was more than blanks.
    fn typed(&mut self) -> Option<String> {
        let (typed, cut) = self.input.take_typed();
        if let Some(most) = cut {
            self.too_long(most);
        }
        Some(typed.join("\n")).filter(|text| !text.trim().is_empty())
    }

    /// Of what was typed for nobody, or for what is over, it is said that it is not sent.
    fn discard(&mut self) {
        if let Some(text) = self.typed() {
            // What the terminal has echoed may have no end.
            self.display.set_prompt(true);
            self.display.unsaid(&text);
        }
        let _ = self.input.discard();
    }

    /// What was typed and is sent to nobody any more.
    fn left_over(&mut self) -> Vec<String> {
        let typed = self.typed();
        [self.typed_ahead.take(), typed]
            .into_iter()
            .flatten()
            .collect()
    }

    fn take_typed_ahead(&mut self) {
        if let Some(text) = self.typed() {
            // What the terminal has echoed may have no end.
            self.display.set_prompt(true);
            self.typed_ahead = Some(text);
            self.show_typed_ahead();
        }
    }

    fn show_typed_ahead(&self) {
        if let Some(text) = &self.typed_ahead {
            let words = "Typed before your turn, and not sent: ";
            self.display.quote(words, text);
            let words = "Enter alone sends it; anything else is sent in its place.";
            self.display.explain(words);
        }
    }

    /// Before a prompt that is written once more.
    fn warn(&mut self) {
        if !self.display.has_prompt() && !self.is_prompted && !self.is_warned {
            self.display.say(COVERED);
            self.is_warned = true;
        }
    }

    fn prompt(&mut self) -> Result<(), Report> {
        if self.display.has_prompt() || self.is_prompted {
            return Ok(());
        }
        // One that has ended its row is not written twice.
        self.is_prompted = !self.display.prompt()?;
        Ok(())
    }

    /// `None` for an empty line, which is asked again.
    fn understand(&mut self, line: String) -> Option<Typed> {
        match (line.trim().is_empty(), self.typed_ahead.take()) {
            (true, None) => None,
            (true, Some(ahead)) => Some(Typed::parse(&ahead)),
            (false, _) => {
                self.is_echoed = self.display.has_terminal();
                Some(Typed::parse(&line))
            }
        }
    }

    fn quit(&mut self) -> Intent {
        if !self.is_echoed
            && let Err(report) = self.display.message(OURS, "QUIT")
        {
            return Intent::Broken(report);
        }
        Intent::Quit
    }

    /// Says why a line is not sent. Its prompt, answered, is written anew.
    fn refuse(&mut self, why: &str) {
        self.display.say(why);
        self.is_prompted = false;
    }

    fn too_long(&mut self, most: usize) {
        self.refuse(&format!(
            "That was over {most} bytes, and was not sent. Say it in several turns."
        ));
    }
}

impl Drop for Lines {
    /// At SIGTERM nothing has ended. What the terminal still holds would be the shell's, and run
    /// there at Enter.
    fn drop(&mut self) {
        let left = self.left_over();
        if !left.is_empty() {
            // What the terminal has echoed may have no end.
            self.display.set_prompt(true);
        }
        for text in left {
            self.display.unsaid(&text);
        }
        let _ = self.input.discard();
        self.display.break_prompt();
    }
}

impl Speaker for Lines {
    fn display(&self) -> &Display {
        &self.display
    }

    fn begin(&mut self) -> Result<(), Report> {
        self.display.set_echo();
        show_letters(&self.display);
        let continued = SignalKind::from_raw(nix::sys::signal::Signal::SIGCONT as i32);
        let mut continued = signal(continued).map_err(|error| Report::signals(&error))?;
        let (display, job) = (self.display.clone(), self.input.job());
        tokio::spawn(async move {
            loop {
                // The shell has had the terminal, and a prompt of its own.
                let is_continued = tokio::select! {
                    _ = continued.recv() => !job.has_come_to_front(),
                    () = job.fronted() => false,
                };
                display.set_prompt(false);
                if is_continued {
                    display.say(STOPPED);
                }
                display.forget_prompt();
            }
        });
        Ok(())
    }

    fn is_person(&self) -> bool {
        true
    }

    fn connected(&mut self, partner: &Partner) -> Result<(), Report> {
        self.peer = partner.short_name();
        self.discard();
        self.asked = None;
        self.typed_ahead = None;
        self.display.say(&format!(
            "{} QUIT in your turn ends it, Ctrl-C at any time.",
            partner.greeting()
        ));
        self.display.set_typing(true);
        Ok(())
    }

    async fn ask(&mut self, turn: u64) -> Intent {
        self.is_echoed = false;
        if let (1, Some(first)) = (turn, &self.first) {
            return Intent::Message(first.clone());
        }
        let mut is_again = self.asked == Some(turn);
        let mut is_lost = false;
        loop {
            if self.asked != Some(turn) {
                self.take_typed_ahead();
                self.asked = Some(turn);
                self.is_prompted = false;
                self.is_warned = false;
            }
            // A line that is there was entered at the prompt before.
            if !(is_again && self.input.is_ready()) {
                // Of what was typed before it was lost, other words tell.
                if is_again && !is_lost {
                    self.warn();
                }
                if is_again && !self.display.has_prompt() && !self.is_prompted {
                    self.show_typed_ahead();
                }
                if let Err(report) = self.prompt() {
                    return Intent::Broken(report);
                }
            }
            let event = tokio::select! {
                event = self.input.next() => event,
                () = self.display.prompt_broken() => {
                    is_lost = self.display.has_lost_prompt();
                    self.is_prompted &= !is_lost;
                    is_again = true;
                    continue;
                }
            };
            is_again = false;
            // Enter has ended the row; at the end of input nothing has.
            match &event {
                InputEvent::End | InputEvent::Failed(_) => self.display.break_prompt(),
                _ => self.display.set_prompt(false),
            }
            match event {
                InputEvent::Line(line) => match self.understand(line) {
                    Some(Typed::Quit) => return self.quit(),
                    Some(Typed::Message(words)) => match Text::new(words) {
                        Ok(text) => {
                            self.asked = None;
                            return Intent::Message(text);
                        }
                        Err(_) => self.too_long(Text::MAX),
                    },
                    None => {}
                },
                InputEvent::TooLong(most) => self.too_long(most),
                InputEvent::NotUtf8(_) => self.refuse(
                    "That was not UTF-8, and was not sent. Set the terminal to UTF-8 and type it again.",
                ),
                InputEvent::End => {
                    return match self.left() {
                        Left::Terminal => Intent::HangUp,
                        Left::Input => Intent::Quit,
                    };
                }
                InputEvent::Failed(_) if self.input.is_gone() => return Intent::HangUp,
                InputEvent::Failed(error) => return Intent::Failed(Report::stdin(&error)),
            }
        }
    }

    fn sent(&mut self, _turn: u64, text: &Text) -> Result<(), Report> {
        if self.is_echoed {
            return Ok(());
        }
        self.display.message(OURS, text.as_str())
    }

    fn unsaid(&mut self, text: Text) -> Unsaid {
        self.display.unsaid(text.as_str());
        Unsaid::Lost
    }

    fn interrupted(&mut self) {
        self.stopping();
        self.display.say(INTERRUPTED);
    }

    fn stopping(&mut self) {
        // The terminal has echoed the key.
        self.display.set_prompt(true);
    }

    fn ended(&mut self, over: &Ended) -> Result<(), Report> {
        show_end(&self.display, &self.peer, over);
        self.display.set_typing(false);
        for text in self.left_over() {
            self.display.unsaid(&text);
        }
        self.display.break_prompt();
        Ok(())
    }

    async fn between(&mut self, _is_first: bool) -> Result<Left, Report> {
        match self.is_at_end || self.input.is_gone() {
            true => Ok(self.left()),
            false => std::future::pending().await,
        }
    }

    fn question(&mut self, question: &str) {
        self.discard();
        self.display.ask(question);
        question.clone_into(&mut self.question);
    }

    async fn answer(&mut self) -> Result<Answer, Report> {
        let event = loop {
            tokio::select! {
                event = self.input.next() => break event,
                () = self.display.prompt_broken() => {
                    if self.display.has_lost_prompt() {
                        self.display.ask(&self.question);
                    }
                }
            }
        };
        match event {
            InputEvent::End | InputEvent::Failed(_) => self.display.break_prompt(),
            _ => self.display.set_prompt(false),
        }
        match event {
            InputEvent::Line(line) => Ok(Answer::Line(line)),
            InputEvent::TooLong(_) | InputEvent::NotUtf8(_) => Ok(Answer::Line(String::new())),
            InputEvent::End => Ok(Answer::Left(self.left())),
            InputEvent::Failed(error) => Err(Report::stdin(&error)),
        }
    }

    fn is_asking(&self) -> bool {
        self.display.has_prompt()
    }

    fn withdraw(&mut self) {
        let typed = self.typed();
        self.display.break_prompt();
        if let Some(text) = typed {
            self.display.unsaid(&text);
        }
    }
}

#[cfg(test)]
mod tests;
