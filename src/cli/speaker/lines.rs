//! [`Lines`]: a person speaks at a terminal where the line editor cannot run: one without
//! cursor keys, or with stdout elsewhere. The terminal gives whole lines; what was typed before
//! a prompt stands unsent until Enter is pressed at it.

use std::future::pending;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::intent::Intent;
use super::notices::{INTERRUPTED, SOMEBODY, show_end, show_letters};
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
const STOPPED: &str = "Continued. Ctrl-Z throws away a line that is half typed.";

const NOT_UTF8: &str =
    "That was not UTF-8, and was not sent. Set the terminal to UTF-8 and type it again.";

/// So soon nobody answers what is shown: a paste is still coming.
const SETTLED: Duration = Duration::from_millis(300);

/// What was typed where it could not be seen at the prompt.
#[derive(Debug)]
struct Ahead {
    text: String,
    /// Its last line has no end yet.
    is_begun: bool,
}

impl Ahead {
    /// What was typed next: the rest of the line that is begun, or the next one.
    fn add(&mut self, more: Self) {
        if !self.is_begun {
            self.text.push('\n');
        }
        self.text.push_str(&more.text);
        self.is_begun = more.is_begun;
    }
}

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
    /// What is asked, where a question stands.
    question: String,
    /// Not sent before Enter is pressed behind it.
    typed_ahead: Option<Ahead>,
    /// All of that has come.
    is_settled: bool,
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
            question: String::new(),
            typed_ahead: None,
            is_settled: true,
            is_echoed: false,
            is_at_end: false,
            peer: SOMEBODY.to_owned(),
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
    fn typed(&mut self) -> Option<Ahead> {
        let taken = self.input.take_typed();
        if let Some(most) = taken.too_long {
            self.too_long(most);
        }
        if taken.is_not_text {
            self.refuse(NOT_UTF8);
        }
        let is_begun = taken.begun.is_some();
        let text = taken.texts().join("\n");
        (!text.trim().is_empty()).then_some(Ahead { text, is_begun })
    }

    /// Of what was typed for nobody, or for what is over, it is said that it is not sent.
    fn discard(&mut self) {
        if let Some(typed) = self.typed() {
            // What the terminal has echoed may have no end.
            self.display.set_prompt(true);
            self.display.unsaid(&typed.text);
        }
        let _ = self.input.discard();
    }

    /// What was typed and is sent to nobody any more; the next thing shown has a row of its own.
    fn left_over(&mut self) -> Option<String> {
        if let Some(typed) = self.typed() {
            self.add_typed_ahead(typed);
        }
        let left = self.typed_ahead.take()?;
        // What the terminal has echoed may have no end.
        self.display.set_prompt(true);
        Some(left.text)
    }

    fn add_typed_ahead(&mut self, typed: Ahead) {
        self.is_settled = false;
        match &mut self.typed_ahead {
            Some(ahead) => ahead.add(typed),
            none => *none = Some(typed),
        }
    }

    /// Takes up what was typed and cannot be seen at a prompt. The rest of a paste belongs to it;
    /// it is still asked for if this is dropped.
    async fn take_typed_ahead(&mut self) {
        if let Some(typed) = self.typed() {
            self.add_typed_ahead(typed);
        }
        if self.is_settled || self.typed_ahead.is_none() {
            return;
        }
        self.is_prompted = false;
        while let Ok(event) = timeout(SETTLED, self.input.next()).await {
            let is_begun = false;
            match event {
                InputEvent::Line(text) => self.add_typed_ahead(Ahead { text, is_begun }),
                InputEvent::TooLong(most) => self.too_long(most),
                InputEvent::NotUtf8(_) => self.refuse(NOT_UTF8),
                InputEvent::End | InputEvent::Failed(_) => break,
            }
        }
        if let Some(more) = self.typed() {
            self.add_typed_ahead(more);
        }
        self.is_settled = true;
        if let Some(ahead) = self.typed_ahead.as_mut().filter(|ahead| !ahead.is_begun) {
            // Enter, pressed too soon.
            let length = ahead.text.trim_end_matches('\n').len();
            ahead.text.truncate(length);
        }
        // What the terminal has echoed may have no end.
        self.display.set_prompt(true);
        self.display.break_prompt();
    }

    fn show_typed_ahead(&self) {
        let Some(ahead) = &self.typed_ahead else {
            return;
        };
        let (words, advice) = match ahead.is_begun {
            true => (
                "Begun before this prompt, and not sent: ",
                "Go on with it, or send it by Enter alone.",
            ),
            false => (
                "Typed before this prompt, and not sent: ",
                "Enter alone sends it; anything else is sent in its place.",
            ),
        };
        self.display.quote(words, &ahead.text);
        self.display.explain(advice);
    }

    fn prompt(&mut self) -> Result<(), Report> {
        if self.display.has_prompt() || self.is_prompted {
            return Ok(());
        }
        // One that has ended its row is not written twice.
        self.is_prompted = !self.display.prompt()?;
        Ok(())
    }

    /// `None` for an empty line, which is asked again, and for the rest of one that was begun: nobody
    /// has seen that as a whole.
    fn understand(&mut self, line: String) -> Option<Typed> {
        match (line.trim().is_empty(), self.typed_ahead.take()) {
            (true, None) => None,
            (true, Some(ahead)) => Some(Typed::parse(&ahead.text)),
            (false, Some(mut ahead)) if ahead.is_begun => {
                ahead.text.push_str(&line);
                ahead.is_begun = false;
                self.typed_ahead = Some(ahead);
                self.is_settled = false;
                None
            }
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
        if let Some(text) = self.left_over() {
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
        // What is typed may stand where it cannot be seen.
        let mut is_covered = true;
        loop {
            if self.asked != Some(turn) {
                self.asked = Some(turn);
                self.is_prompted = false;
                // That was another one.
                self.display.has_lost_prompt();
            }
            // A line that is there was entered at the prompt before.
            if !(is_again && self.input.is_ready()) {
                if is_covered && !self.display.has_prompt() {
                    self.take_typed_ahead().await;
                }
                if !self.display.has_prompt() && !self.is_prompted {
                    self.show_typed_ahead();
                }
                if let Err(report) = self.prompt() {
                    return Intent::Broken(report);
                }
            }
            let event = tokio::select! {
                event = self.input.next() => event,
                () = self.display.prompt_broken() => {
                    self.is_prompted &= !self.display.has_lost_prompt();
                    (is_again, is_covered) = (true, true);
                    continue;
                }
            };
            (is_again, is_covered) = (false, false);
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
                    None => is_covered = !self.is_settled,
                },
                InputEvent::TooLong(most) => self.too_long(most),
                InputEvent::NotUtf8(_) => self.refuse(NOT_UTF8),
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

    async fn idle(&mut self) -> Intent {
        self.input.gather().await;
        pending().await
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
        let left = self.left_over();
        show_end(&self.display, &self.peer, over);
        self.display.set_typing(false);
        if let Some(text) = left {
            self.display.unsaid(&text);
        }
        self.display.break_prompt();
        Ok(())
    }

    async fn between(&mut self, _is_first: bool) -> Result<Left, Report> {
        match self.is_at_end || self.input.is_gone() {
            true => Ok(self.left()),
            false => pending().await,
        }
    }

    fn question(&mut self, question: &str) {
        self.discard();
        // That was another one.
        self.display.has_lost_prompt();
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
        if let Some(typed) = typed {
            self.display.unsaid(&typed.text);
        }
    }
}

#[cfg(test)]
mod tests;
