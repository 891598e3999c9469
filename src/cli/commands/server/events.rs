//! [`EventReporter`]: tells of those who did not get a conversation.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::rules::SharedRules;
use crate::cli::abandoned;
use crate::cli::args::ServerArgs;
use crate::cli::display::Display;
use crate::cli::home::Home;
use crate::cli::proposal::shell_quoted;
use crate::cli::report::{Exit, Report};
use crate::cli::speaker::Speaker;
use crate::link::{Ended, ServerEvent};
use crate::protocol::Reason;
use crate::trust::KeyId;

/// Others are told of this often at most: who can make keys cannot fill the screen.
const TOLD: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// How much of an end was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Whole,
    /// Not which message may not have arrived: too many were told of.
    InPart,
}

/// Tells of what came of others while the server runs.
pub(super) struct EventReporter<'a> {
    args: &'a ServerArgs,
    home: &'a Home,
    display: &'a Display,
    rules: SharedRules,
    /// When somebody was told of lately.
    told: VecDeque<Instant>,
}

impl<'a> EventReporter<'a> {
    pub(super) fn new(
        args: &'a ServerArgs,
        home: &'a Home,
        display: &'a Display,
        rules: SharedRules,
    ) -> Self {
        Self {
            args,
            home,
            display,
            rules,
            told: VecDeque::new(),
        }
    }

    /// Somebody did not get a conversation.
    pub(super) fn tell(
        &mut self,
        event: &ServerEvent,
        speaker: &mut impl Speaker,
    ) -> Result<(), Report> {
        match event {
            ServerEvent::Refused { key, reason } => {
                speaker.refused(key, reason.word())?;
                let why = match reason {
                    Reason::UnknownPeer => Some("it is not known"),
                    Reason::NoAnswer => Some("you have not answered about it"),
                    Reason::AskedTooOften => {
                        Some("you were asked about three in the last 10 minutes")
                    }
                    _ => None,
                };
                match why {
                    Some(why) if self.may_tell() => self.display.say(&format!(
                        "Refused {key}: {why}. To let it in: {}",
                        self.remedy(key)
                    )),
                    _ => self.display.detail(&format!(
                        "Refused {}: {}.",
                        self.rules.name(key),
                        reason.word()
                    )),
                }
            }
            ServerEvent::GaveUp(abandoned) => {
                let name = self.rules.name(&abandoned.key);
                let what = format!("{name} has given up the conversation that was cut.");
                abandoned::tell(what, abandoned, self.display, speaker)?;
            }
            ServerEvent::Ended(abandoned) => {
                let name = self.rules.name(&abandoned.key);
                let what = abandoned::ended_before(&name);
                abandoned::tell(what, abandoned, self.display, speaker)?;
            }
            ServerEvent::Expired(abandoned) => {
                let name = self.rules.name(&abandoned.key);
                let what = format!(
                    "The conversation with {name} that was cut is given up: it is too old, or too many newer ones are kept."
                );
                abandoned::tell(what, abandoned, self.display, speaker)?;
            }
            ServerEvent::Expelled(abandoned) => {
                let what = format!(
                    "The conversation with {} that was cut is given up: the key is not let in any more.",
                    abandoned.key
                );
                abandoned::tell(what, abandoned, self.display, speaker)?;
            }
            ServerEvent::Unreadable(error) => {
                let mut report = Report::journal(error);
                report.advice += " Then start this server again.";
                self.display.fail(&report);
                speaker.failed(&report)?;
            }
            ServerEvent::Failed(incident) => {
                self.display
                    .detail(&format!("A connection failed: {incident}."));
            }
        }
        Ok(())
    }

    /// The same while the server stops, when all who wait are refused.
    pub(super) fn tell_last(
        &mut self,
        event: &ServerEvent,
        speaker: &mut impl Speaker,
    ) -> Result<(), Report> {
        match event {
            ServerEvent::Refused { .. } | ServerEvent::Failed(_) => Ok(()),
            _ => self.tell(event, speaker),
        }
    }

    /// Somebody waits for the end of the conversation.
    pub(super) fn tell_of_waiting(&mut self, key: &KeyId) {
        if self.may_tell() {
            self.display
                .say(&format!("{} is waiting.", self.rules.name(key)));
        }
    }

    /// One of many conversations is over. What is only its peer's doing is a detail, but not that
    /// a message may not have arrived: a program that has exited does not learn that.
    pub(super) fn tell_of_end(
        &mut self,
        name: &str,
        outcome: &Result<Exit, Report>,
        ended: Option<&Ended>,
    ) -> Told {
        let Err(report) = outcome else {
            let what = format!("The conversation with {name} is over.");
            self.display.detail(&what);
            return Told::Whole;
        };
        let what = format!("With {name}: {}", report.what);
        let is_unacknowledged = ended.is_some_and(|ended| ended.unacknowledged.is_some());
        let is_news = is_unacknowledged || matches!(report.exit, Exit::Failure | Exit::Trust);
        if is_news && self.may_tell() {
            let advice = report.advice.clone();
            self.display.fail(&Report::new(report.exit, what, advice));
            return Told::Whole;
        }
        self.display.detail(&what);
        match is_unacknowledged {
            true => Told::InPart,
            false => Told::Whole,
        }
    }

    /// How to let this key in.
    fn remedy(&self, key: &KeyId) -> String {
        match self.args.allow.is_empty() {
            true => format!(
                "turnchat peers add NAME {key} --home {} {}",
                shell_quoted(self.home.path()),
                match std::process::id() {
                    // Of a container, which is not where the command is run.
                    1 => "there, and send SIGHUP to the server".to_owned(),
                    id => format!("&& kill -HUP {id}"),
                }
            ),
            false => format!("start the server with --allow {key} too"),
        }
    }

    fn may_tell(&mut self) -> bool {
        let now = Instant::now();
        self.told.retain(|told| now.duration_since(*told) < WINDOW);
        let may = self.told.len() < TOLD;
        if may {
            self.told.push_back(now);
        }
        may
    }
}
