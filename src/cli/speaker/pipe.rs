//! [`Pipe`]: lines from a pipe or a file speak. A line is read only when it is
//! this side's turn, and the transcript reads as a typed one.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::intent::Intent;
use super::notices::{SOMEBODY, show_end};
use super::partner::Partner;
use super::{Answer, Left, Speaker, Unsaid};
use crate::cli::display::Display;
use crate::cli::input::line::Typed;
use crate::cli::input::{Input, InputEvent};
use crate::cli::layout::OURS;
use crate::cli::report::{Exit, Report};
use crate::link::Ended;
use crate::protocol::{Role, Text};

/// So long what was said may wait to be shown with its answer, as long as an acknowledgement may
/// (PROTOCOL 3.5): whoever reads the transcript is woken once for both.
const SHARED: Duration = Duration::from_millis(50);

/// Lines from a pipe.
#[derive(Debug)]
pub struct Pipe {
    input: Input,
    display: Display,
    first: Option<Text>,
    /// Read, and not said yet.
    kept: Option<Text>,
    /// When what was said is shown at the latest.
    shown_by: Option<Instant>,
    /// Nobody comes after this conversation.
    is_only: bool,
    /// Lines were taken: who reads the input after us does not have all of it.
    has_talked: bool,
    peer: String,
}

/// What the next line is.
enum NextLine {
    Message(Text),
    Quit,
    End,
}

impl Pipe {
    /// Reads from `input`; `first` is said in turn 1 before anything is read.
    pub fn new(input: Input, display: Display, first: Option<Text>) -> Self {
        Self {
            input,
            display,
            first,
            kept: None,
            shown_by: None,
            is_only: false,
            has_talked: false,
            peer: SOMEBODY.to_owned(),
        }
    }

    /// Reads ahead. Returns at the end of the input; a line is kept for the next prompt. A QUIT
    /// was for what has ended.
    async fn read_ahead(&mut self) -> Result<Left, Report> {
        while self.kept.is_none() {
            match self.read().await? {
                NextLine::Message(text) => self.kept = Some(text),
                NextLine::Quit => {}
                NextLine::End => return Ok(Left::Input),
            }
        }
        pending().await
    }

    /// Says how much of the input will not be said.
    fn tell_left(&mut self) {
        self.has_talked = false;
        let kept = usize::from(self.kept.take().is_some());
        let left = match self.input.count_left().map(|count| count + kept) {
            Ok(0) => return,
            Ok(1) => "One line of standard input was".to_owned(),
            Ok(count) => format!("{count} lines of standard input were"),
            Err(most) => format!("{most} lines of standard input, and maybe more, were"),
        };
        self.display.say_always(&format!("{left} not sent."));
    }

    async fn read(&mut self) -> Result<NextLine, Report> {
        let too_long = || {
            Report::new(
                Exit::Failure,
                format!(
                    "A line of standard input is over {} bytes: it was not sent.",
                    Text::MAX
                ),
                "Cut it into several lines.",
            )
        };
        match self.input.next().await {
            InputEvent::Line(line) => match Typed::parse(&line) {
                Typed::Quit => Ok(NextLine::Quit),
                Typed::Message(words) => Text::new(words)
                    .map(NextLine::Message)
                    .map_err(|_| too_long()),
            },
            InputEvent::TooLong(_) => Err(too_long()),
            InputEvent::NotUtf8(_) => Err(Report::new(
                Exit::Failure,
                "A line of standard input is not UTF-8: it was not sent.",
                "Convert the input, for example with `iconv -t UTF-8`.",
            )),
            InputEvent::End => Ok(NextLine::End),
            InputEvent::Failed(error) => Err(Report::stdin(&error)),
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = self.display.settle();
        if self.has_talked {
            self.tell_left();
        }
    }
}

impl Speaker for Pipe {
    fn display(&self) -> &Display {
        &self.display
    }

    fn can_resume(&self) -> bool {
        false
    }

    fn connected(&mut self, partner: &Partner) -> Result<(), Report> {
        self.peer = partner.short_name();
        self.is_only = partner.role == Role::Client;
        self.has_talked = true;
        self.display.say(&partner.greeting());
        Ok(())
    }

    async fn ask(&mut self, turn: u64) -> Intent {
        if let (1, Some(first)) = (turn, &self.first) {
            return Intent::Message(first.clone());
        }
        if let Some(text) = self.kept.take() {
            return Intent::Message(text);
        }
        match self.read().await {
            Ok(NextLine::Message(text)) => Intent::Message(text),
            Ok(NextLine::Quit) => match self.display.message(OURS, "QUIT") {
                Ok(()) => Intent::Quit,
                Err(report) => Intent::Broken(report),
            },
            Ok(NextLine::End) => Intent::Quit,
            Err(report) => Intent::Failed(report),
        }
    }

    async fn idle(&mut self) -> Intent {
        if let Some(shown_by) = self.shown_by {
            sleep_until(shown_by).await;
            self.shown_by = None;
            if let Err(report) = self.display.settle() {
                return Intent::Broken(report);
            }
        }
        pending().await
    }

    fn sent(&mut self, _turn: u64, text: &Text) -> Result<(), Report> {
        self.shown_by = Some(Instant::now() + SHARED);
        self.display.message_soon(OURS, text.as_str())
    }

    /// It is for whoever is next; a client has nobody.
    fn unsaid(&mut self, text: Text) -> Unsaid {
        if self.is_only {
            self.display.unsaid(text.as_str());
            return Unsaid::Lost;
        }
        if self.first.as_ref() != Some(&text) {
            self.kept = Some(text);
        }
        Unsaid::Kept
    }

    fn ended(&mut self, over: &Ended) -> Result<(), Report> {
        self.display.settle()?;
        show_end(&self.display, &self.peer, over);
        if self.is_only {
            self.tell_left();
        }
        Ok(())
    }

    /// The first line of the input is no message then.
    async fn pairing_code(&mut self) -> Result<Answer, Report> {
        match self.input.next().await {
            InputEvent::Line(line) => Ok(Answer::Line(line)),
            InputEvent::TooLong(_) | InputEvent::NotUtf8(_) => Ok(Answer::Line(String::new())),
            InputEvent::End => Ok(Answer::Left(Left::Input)),
            InputEvent::Failed(error) => Err(Report::stdin(&error)),
        }
    }

    async fn between(&mut self, is_first: bool) -> Result<Left, Report> {
        match is_first {
            // It is nobody's turn yet, and no conversation has left anything over.
            true => pending().await,
            false => self.read_ahead().await,
        }
    }
}

#[cfg(test)]
mod tests;
