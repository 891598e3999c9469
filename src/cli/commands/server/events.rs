//! [`EventReporter`]: tells of those who did not get a conversation.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::rules::SharedRules;
use crate::cli::abandoned;
use crate::cli::args::ServerArgs;
use crate::cli::console::Console;
use crate::cli::home::Home;
use crate::cli::report::{Report, shell_quoted};
use crate::cli::speaker::Speaker;
use crate::link::ServerEvent;
use crate::protocol::Reason;

/// Refused keys are told of this often at most.
const REFUSALS_TOLD: usize = 5;
const REFUSALS_WINDOW: Duration = Duration::from_secs(60);

/// Tells of what came of others while the server runs.
pub(super) struct EventReporter<'a> {
    args: &'a ServerArgs,
    home: &'a Home,
    console: &'a Console,
    rules: SharedRules,
    /// When a refused key was last told of.
    told: VecDeque<Instant>,
}

impl<'a> EventReporter<'a> {
    pub(super) fn new(
        args: &'a ServerArgs,
        home: &'a Home,
        console: &'a Console,
        rules: SharedRules,
    ) -> Self {
        Self {
            args,
            home,
            console,
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
                if *reason == Reason::UnknownPeer && self.may_tell_of_refusal() {
                    let remedy = match self.args.allow.is_empty() {
                        true => format!(
                            "turnchat peers add NAME {key} --home {} && kill -HUP {}",
                            shell_quoted(self.home.path()),
                            std::process::id()
                        ),
                        false => format!("start the server with --allow {key} too"),
                    };
                    self.console.say(&format!(
                        "Refused a key that is not known: {key}. To let it in: {remedy}"
                    ));
                } else {
                    self.console.detail(&format!(
                        "Refused {}: {}.",
                        self.rules.name(key),
                        reason.word()
                    ));
                }
            }
            ServerEvent::GaveUp(abandoned) => {
                let name = self.rules.name(&abandoned.key);
                let what = format!("{name} has given up the conversation that was cut.");
                abandoned::tell(what, abandoned, self.console, speaker)?;
            }
            ServerEvent::Ended(abandoned) => {
                let name = self.rules.name(&abandoned.key);
                let what = abandoned::ended_before(&name);
                abandoned::tell(what, abandoned, self.console, speaker)?;
            }
            ServerEvent::Expired(abandoned) => {
                let name = self.rules.name(&abandoned.key);
                let what = format!(
                    "The conversation with {name} that was cut is given up: it is too old to go on."
                );
                abandoned::tell(what, abandoned, self.console, speaker)?;
            }
            ServerEvent::Failed(incident) => {
                self.console
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

    fn may_tell_of_refusal(&mut self) -> bool {
        let now = Instant::now();
        self.told
            .retain(|told| now.duration_since(*told) < REFUSALS_WINDOW);
        let may = self.told.len() < REFUSALS_TOLD;
        if may {
            self.told.push_back(now);
        }
        may
    }
}
