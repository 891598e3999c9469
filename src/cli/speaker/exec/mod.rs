//! [`Exec`]: a program speaks, with `--exec`: a line for each message, in its stdin and out of
//! its stdout.

mod command_line;
mod group;
mod lines;
mod program;
mod relay;
mod stdin;

use std::sync::Arc;

use super::intent::Intent;
use super::notices::{INTERRUPTED, show_end, show_notice};
use super::partner::Partner;
use super::{OneOfMany, Speaker, Unsaid};
use crate::cli::display::Display;
use crate::cli::input::line::Line;
use crate::cli::report::Report;
use crate::link::{Ended, Notice};
use crate::protocol::{ConversationId, Message, Text};

pub use command_line::CommandLine;
pub use group::kill_all;
pub use program::Program;

/// Where a line can end, for one program or another: the mandatory breaks of Unicode (UAX #14, BK, CR,
/// LF and NL). Python reads a CR as one, Node U+2028 too.
const LINE_ENDS: [char; 7] = [
    '\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}',
];

/// A program, which is started for each conversation.
#[derive(Debug)]
pub struct Exec {
    command: Arc<CommandLine>,
    display: Display,
    first: Option<Text>,
    /// One of many at once: only what fails is said of it.
    is_one_of_many: bool,
    program: Option<Program>,
    peer: String,
}

impl Exec {
    /// Starts `command` for each conversation; `first` is said in turn 1 before it is asked.
    pub fn new(command: Arc<CommandLine>, display: Display, first: Option<Text>) -> Self {
        Self {
            command,
            display,
            first,
            is_one_of_many: false,
            program: None,
            peer: String::new(),
        }
    }

    fn say(&self, message: &str) {
        match self.is_one_of_many {
            true => self.display.detail(message),
            false => self.display.say(message),
        }
    }
}

impl Speaker for Exec {
    fn display(&self) -> &Display {
        &self.display
    }

    /// A new program would not know what the one before has said.
    fn can_resume(&self) -> bool {
        false
    }

    fn connected(&mut self, partner: &Partner) -> Result<(), Report> {
        self.peer = partner.short_name();
        self.say(&partner.greeting());
        let program = Program::start(&self.command, partner, Text::MAX)?;
        self.program = Some(program);
        Ok(())
    }

    async fn ask(&mut self, turn: u64) -> Intent {
        if let (1, Some(first)) = (turn, &self.first) {
            return Intent::Message(first.clone());
        }
        let Some(program) = &mut self.program else {
            return Intent::Quit;
        };
        let words = match program.next().await {
            Ok(Some(Line::Text(words))) => words,
            Ok(Some(Line::TooLong(_))) => return Intent::Failed(program.said_too_much()),
            Ok(Some(Line::NotUtf8(_))) => return Intent::Failed(program.said_no_text()),
            Ok(None) => return quit_after(program.ends().await),
            Err(report) => return Intent::Broken(report),
        };
        match Text::new(words) {
            Ok(text) => Intent::Message(text),
            Err(_) => Intent::Failed(program.said_too_much()),
        }
    }

    async fn idle(&mut self) -> Intent {
        match &mut self.program {
            Some(program) => quit_after(program.ended().await),
            None => std::future::pending().await,
        }
    }

    fn sent(&mut self, _turn: u64, _text: &Text) -> Result<(), Report> {
        Ok(())
    }

    fn unsaid(&mut self, text: Text) -> Unsaid {
        self.display.unsaid(text.as_str());
        Unsaid::Lost
    }

    fn heard(&mut self, message: &Message) -> Result<(), Report> {
        match &mut self.program {
            Some(program) => {
                let line = message.text.as_str().replace(LINE_ENDS, " ");
                program.give(format!("{line}\n").as_bytes())
            }
            // It was said before a restart, and nobody can answer it any more.
            None => {
                self.display.quote("They had said: ", message.text.as_str());
                Ok(())
            }
        }
    }

    async fn taken(&mut self) -> Result<(), Report> {
        match &mut self.program {
            Some(program) => program.taken().await,
            None => Ok(()),
        }
    }

    fn heard_again(
        &mut self,
        _conversation: ConversationId,
        message: &Message,
    ) -> Result<(), Report> {
        self.heard(message)
    }

    fn notice(&mut self, notice: Notice) -> Result<(), Report> {
        if !self.is_one_of_many {
            show_notice(&self.display, notice);
        }
        Ok(())
    }

    fn interrupted(&mut self) {
        self.say(INTERRUPTED);
    }

    fn ended(&mut self, over: &Ended) -> Result<(), Report> {
        if !self.is_one_of_many {
            show_end(&self.display, &self.peer, over);
        }
        Ok(())
    }

    async fn finish(&mut self) {
        let Some(program) = self.program.take() else {
            return;
        };
        let name = program.name().to_owned();
        let left = match program.finish().await {
            Ok(0) => return,
            Ok(1) => format!("One line of {name} was"),
            Ok(count) => format!("{count} lines of {name} were"),
            Err(most) => format!("{most} lines of {name}, and maybe more, were"),
        };
        self.say(&format!("{left} not sent."));
    }
}

impl OneOfMany for Exec {
    fn one_of_many(&self) -> Self {
        let command = Arc::clone(&self.command);
        Self {
            is_one_of_many: true,
            ..Self::new(command, self.display.clone(), self.first.clone())
        }
    }
}

fn quit_after(ended: Result<(), Report>) -> Intent {
    match ended {
        Ok(()) => Intent::Quit,
        Err(report) => Intent::Broken(report),
    }
}
