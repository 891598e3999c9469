//! [`JsonLines`]: a program speaks, with `--json`. Commands are read at all times,
//! one a line; events are written, one a line.

mod channel;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::exec::CommandLine;
use super::intent::Intent;
use super::partner::Partner;
use super::{Answer, Left, OneOfMany, Speaker, Unsaid};
use crate::cli::book::Petname;
use crate::cli::display::Display;
use crate::cli::events;
use crate::cli::input::Input;
use crate::cli::input::line::Line;
use crate::cli::report::{Exit, Report};
use crate::link::{Abandoned, Ended, Notice};
use crate::protocol::{ConversationId, Message, Role, Text};
use crate::trust::{KeyId, PairingCode};
use channel::{Channel, Started, Stdio};

pub use channel::LINE;

/// A program, over stdin and stdout: ours, or its own.
#[derive(Debug)]
pub struct JsonLines<C> {
    channel: C,
    display: Display,
    first: Option<Text>,
    conversation: Option<ConversationId>,
    role: Option<Role>,
    /// A conversation is over, and a command may have been meant for it.
    must_name: bool,
    /// The turn that `your-turn` was told of last.
    announced: Option<u64>,
    is_at_end: bool,
    /// `code-wanted` is not answered yet.
    wants_code: bool,
    /// The failure that an `error` event told of last.
    told: Option<Report>,
    /// `ended` was told of the last conversation.
    is_over: bool,
    /// The last turn that was told of.
    turns: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum JsonCommand {
    Say {
        text: String,
        turn: Option<u64>,
        conversation: Option<String>,
    },
    Quit {
        conversation: Option<String>,
    },
    Pair {
        code: String,
    },
}

/// Why a command is not done: its code, what is wrong, and what to do.
type Refusal = (&'static str, String, &'static str);

impl JsonLines<Stdio> {
    /// A program that has started us, and writes to `input`; `first` is said in turn 1 before it
    /// is asked.
    pub fn over(input: Input, display: Display, first: Option<Text>) -> Self {
        Self::new(Stdio::new(input, display.clone()), display, first)
    }
}

impl JsonLines<Started> {
    /// A program that we start, for each conversation.
    pub fn exec(command: Arc<CommandLine>, display: Display, first: Option<Text>) -> Self {
        Self::new(Started::new(command), display, first)
    }
}

impl<C: Channel> JsonLines<C> {
    fn new(channel: C, display: Display, first: Option<Text>) -> Self {
        Self {
            channel,
            display,
            first,
            conversation: None,
            role: None,
            must_name: false,
            announced: None,
            is_at_end: false,
            wants_code: false,
            told: None,
            is_over: false,
            turns: 0,
        }
    }

    /// The next command that can be done in `turn`; the others get an `error`
    /// event and change nothing.
    async fn command(&mut self, turn: Option<u64>) -> Intent {
        loop {
            let (code, what, advice) = match self.channel.next().await {
                Ok(Line::Text(line)) => match self.understand(&line, turn) {
                    Ok(intent) => return intent,
                    Err(refusal) => refusal,
                },
                Ok(Line::TooLong(limit)) => (
                    "too-long",
                    format!("a line of more than {limit} bytes"),
                    match limit {
                        LINE => "Say it in several turns.",
                        _ => "A terminal has no longer lines: pipe the commands in.",
                    },
                ),
                Ok(Line::NotUtf8(_)) => {
                    ("bad-input", "a line that is not UTF-8".to_owned(), COMMANDS)
                }
                Err(intent) => {
                    self.is_at_end |= matches!(intent, Intent::Quit);
                    return intent;
                }
            };
            let report = Report::new(Exit::Usage, what, advice);
            if let Err(report) = self.error(code, &report) {
                return Intent::Broken(report);
            }
        }
    }

    /// What a command means in `turn`.
    fn understand(&self, line: &str, turn: Option<u64>) -> Result<Intent, Refusal> {
        serde_json::from_str::<IgnoredAny>(line).map_err(|error| {
            let what = format!("the line is not JSON (column {})", error.column());
            ("bad-input", what, COMMANDS)
        })?;
        // Not by way of a `Value`, in which the last of two equal members would count.
        let no_command = |_| ("bad-input", "the line is no command".to_owned(), COMMANDS);
        let command = serde_json::from_str(line).map_err(no_command)?;
        let (JsonCommand::Say { conversation, .. } | JsonCommand::Quit { conversation }) = &command
        else {
            return Err((
                "bad-input",
                "no code is wanted".to_owned(),
                "Give it when the `code-wanted` event asks for it, once.",
            ));
        };
        match (conversation, &self.conversation) {
            (Some(named), Some(current)) if *named == current.to_string() => {}
            (None, None) => {}
            (None, Some(_)) if !self.must_name => {}
            (None, Some(_)) => {
                return Err((
                    "other-conversation",
                    "the command does not say which conversation it is for".to_owned(),
                    "After the first, put the `conversation` of the last `connected` event into it.",
                ));
            }
            (Some(_), _) => {
                return Err((
                    "other-conversation",
                    "this conversation is not on".to_owned(),
                    "Name the `conversation` of the last `connected` event.",
                ));
            }
        }
        let JsonCommand::Say {
            text, turn: wanted, ..
        } = command
        else {
            return Ok(Intent::Quit);
        };
        let text = Text::new(text)
            .map_err(|error| ("too-long", error.to_string(), "Say it in several turns."))?;
        match turn {
            Some(turn) if wanted.is_none_or(|wanted| wanted == turn) => Ok(Intent::Message(text)),
            Some(turn) => Err((
                "not-your-turn",
                format!("it is turn {turn}"),
                "Answer what the last `your-turn` event asked.",
            )),
            None => Err((
                "not-your-turn",
                "it is not your turn".to_owned(),
                "Wait for the `your-turn` event.",
            )),
        }
    }

    fn turn(&mut self, turn: u64, speaker: &str, text: &Text) -> Result<(), Report> {
        self.turns = turn;
        self.event("turn", events::turn(turn, speaker, text))
    }

    /// The program stops for this. What the conversation has not told of it
    /// yet comes now: on a client, `ended` is the last event always.
    fn stop(&mut self, report: &Report, role: Role) -> Result<(), Report> {
        if self.told.as_ref() != Some(report) {
            self.failed(report)?;
        }
        if role == Role::Client && !self.is_over {
            let ended = json!({ "by": "error", "turns": self.turns, "detail": report.what });
            self.event("ended", ended)?;
        }
        Ok(())
    }

    fn error(&mut self, code: &str, report: &Report) -> Result<(), Report> {
        self.event(
            "error",
            json!({ "code": code, "what": report.what, "advice": report.advice }),
        )
    }

    fn event(&mut self, name: &str, members: Value) -> Result<(), Report> {
        let mut event = serde_json::Map::new();
        event.insert("event".to_owned(), name.into());
        if let Some(conversation) = &self.conversation {
            event.insert("conversation".to_owned(), conversation.to_string().into());
        }
        if let Value::Object(members) = members {
            event.extend(members);
        }
        self.channel.write(&Value::Object(event))
    }
}

impl<C: Channel> Speaker for JsonLines<C> {
    fn display(&self) -> &Display {
        &self.display
    }

    fn can_resume(&self) -> bool {
        self.channel.can_resume()
    }

    fn connected(&mut self, partner: &Partner) -> Result<(), Report> {
        self.channel.connected(partner)?;
        self.conversation = Some(partner.conversation);
        self.role = Some(partner.role);
        self.told = None;
        self.announced = None;
        self.turns = 0;
        self.event("connected", events::connected(partner))
    }

    async fn ask(&mut self, turn: u64) -> Intent {
        if let (1, Some(first)) = (turn, &self.first) {
            return Intent::Message(first.clone());
        }
        if self.announced != Some(turn) {
            if let Err(report) = self.event("your-turn", json!({ "turn": turn })) {
                return Intent::Broken(report);
            }
            self.announced = Some(turn);
        }
        self.command(Some(turn)).await
    }

    async fn idle(&mut self) -> Intent {
        if self.is_at_end {
            return std::future::pending().await;
        }
        match self.command(None).await {
            // What the peer says may still be read.
            Intent::Quit if self.is_at_end && self.channel.reads_on() => {
                std::future::pending().await
            }
            intent => intent,
        }
    }

    fn sent(&mut self, turn: u64, text: &Text) -> Result<(), Report> {
        self.turn(turn, "me", text)
    }

    /// On a client nobody comes after this conversation: what was written for it, and not read,
    /// is told of. On a server it is an error in the next one.
    fn entered(&mut self) -> Vec<Text> {
        if self.role != Some(Role::Client) {
            return Vec::new();
        }
        let commands = self.channel.take_written();
        let commands = commands
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        let said = commands.filter_map(|command| match command {
            JsonCommand::Say { text, .. } => Text::new(text).ok(),
            JsonCommand::Quit { .. } | JsonCommand::Pair { .. } => None,
        });
        said.collect()
    }

    fn unsaid(&mut self, text: Text) -> Unsaid {
        let report = Report::unsaid();
        self.told = Some(report.clone());
        // Where stdout is closed, there is nobody to tell.
        let _ = self.event(
            "error",
            json!({
                "code": "not-sent",
                "what": report.what,
                "advice": report.advice,
                "text": text.as_str(),
            }),
        );
        Unsaid::Lost
    }

    fn heard(&mut self, message: &Message) -> Result<(), Report> {
        self.turn(message.turn, "peer", &message.text)
    }

    fn heard_again(
        &mut self,
        conversation: ConversationId,
        message: &Message,
    ) -> Result<(), Report> {
        self.event(
            "turn",
            json!({
                "conversation": conversation.to_string(),
                "turn": message.turn,
                "speaker": "peer",
                "text": message.text.as_str(),
                "again": true,
            }),
        )
    }

    fn notice(&mut self, notice: Notice) -> Result<(), Report> {
        match notice {
            Notice::Waiting { ahead } => self.event("waiting", json!({ "ahead": ahead })),
            Notice::Lost => self.event("lost", json!({})),
            Notice::Resumed => self.event("resumed", json!({})),
            Notice::Silence { is_over } => self.event("silence", json!({ "over": is_over })),
            Notice::OtherKey { key } => {
                let report = Report::other_key(&key);
                self.error(report.exit.event_code(), &report)
            }
            Notice::NotNow { reason } => {
                let report = Report::not_now(reason);
                self.error(report.exit.event_code(), &report)
            }
            Notice::Delivered { turn } => self.event("delivered", json!({ "turn": turn })),
        }
    }

    async fn taken(&mut self) -> Result<(), Report> {
        self.channel.taken().await
    }

    async fn finish(&mut self) {
        self.channel.finish().await;
    }

    fn interrupted(&mut self) {}

    fn leaving(&mut self, _within: Duration) {}

    fn ended(&mut self, over: &Ended) -> Result<(), Report> {
        let ended = events::ended(over);
        self.event("ended", ended)?;
        self.conversation = None;
        self.must_name = true;
        self.is_over = true;
        Ok(())
    }

    fn failed(&mut self, report: &Report) -> Result<(), Report> {
        if self.told.as_ref() == Some(report) {
            return Ok(());
        }
        self.told = Some(report.clone());
        self.error(report.exit.event_code(), report)
    }

    fn stopped(&mut self, report: &Report, role: Role) {
        // Where stdout is closed, the exit code tells.
        let _ = self.stop(report, role);
    }

    fn listening(&mut self, address: &str, key: &KeyId) -> Result<(), Report> {
        self.event(
            "listening",
            json!({ "address": address, "key": key.to_string() }),
        )
    }

    fn refused(&mut self, key: &KeyId, reason: &str) -> Result<(), Report> {
        self.event(
            "refused",
            json!({ "key": key.to_string(), "reason": reason }),
        )
    }

    fn abandoned(&mut self, what: &str, abandoned: &Abandoned) -> Result<(), Report> {
        let advice = match &abandoned.unacknowledged {
            Some(_) => {
                "Your peer may have it or not: ask, or say it again in the next conversation."
            }
            None => "Nothing of yours is lost; the next conversation begins anew.",
        };
        let mut error = json!({
            "conversation": abandoned.conversation.to_string(),
            "code": Exit::Link.event_code(),
            "what": what,
            "advice": advice,
        });
        events::insert_message(
            &mut error,
            "unacknowledged",
            abandoned.unacknowledged.as_ref(),
        );
        events::insert_message(&mut error, "untaken", abandoned.untaken.as_ref());
        self.event("error", error)
    }

    async fn pairing_code(&mut self) -> Result<Answer, Report> {
        if !std::mem::replace(&mut self.wants_code, true) {
            self.event("code-wanted", json!({}))?;
        }
        let line = match self.channel.next().await {
            Ok(Line::Text(line)) => line,
            Ok(Line::TooLong(_) | Line::NotUtf8(_)) => String::new(),
            Err(Intent::Failed(report)) => return Err(report),
            Err(_) => {
                self.is_at_end = true;
                return Ok(Answer::Left(Left::Input));
            }
        };
        self.wants_code = false;
        match serde_json::from_str(&line) {
            Ok(JsonCommand::Pair { code }) => Ok(Answer::Line(code)),
            _ => Err(Report::new(
                Exit::Usage,
                "The line is no command with a pairing code.",
                "Answer `code-wanted` with {\"pair\":{\"code\":\"WORD-WORD-WORD\"}}.",
            )),
        }
    }

    fn pairing(&mut self, code: &PairingCode) -> Result<(), Report> {
        self.event("pairing", json!({ "code": code.spoken() }))
    }

    fn pairing_failed(&mut self, report: &Report) -> Result<(), Report> {
        self.error(report.exit.event_code(), report)
    }

    fn paired(&mut self, key: &KeyId, petname: &Petname) -> Result<(), Report> {
        let peer = json!({ "key": key.to_string(), "petname": petname.as_str() });
        self.event("paired", json!({ "peer": peer }))
    }

    async fn between(&mut self, _is_first: bool) -> Result<Left, Report> {
        while !self.is_at_end {
            match self.command(None).await {
                Intent::Failed(report) | Intent::Broken(report) => return Err(report),
                Intent::Quit if self.is_at_end => {}
                Intent::HangUp | Intent::Quit | Intent::Message(_) => self.error(
                    "not-your-turn",
                    &Report::new(
                        Exit::Usage,
                        "There is no conversation to quit.",
                        "Wait for `connected`; end the input to stop the server.",
                    ),
                )?,
            }
        }
        Ok(Left::Input)
    }
}

impl OneOfMany for JsonLines<Started> {
    fn one_of_many(&self) -> Self {
        Self::new(
            self.channel.another(),
            self.display.clone(),
            self.first.clone(),
        )
    }
}

const COMMANDS: &str = "A command is {\"say\":{\"text\":\"…\"}} or {\"quit\":{}}, one a line.";

#[cfg(test)]
mod tests;
