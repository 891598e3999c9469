//! [`Ending`]: how a conversation ended for this side, and what is said of that.

use super::display::Display;
use super::report::link::{naming_unacknowledged, outcome};
use super::report::{Exit, Report};
use super::signals::Stop;
use super::speaker::Speaker;
use crate::link::Ended;

/// How a conversation ended for this side.
#[derive(Debug, Default)]
pub struct Ending {
    /// The end, unless everything was let go of at SIGTERM.
    pub over: Option<Ended>,
    /// The program is to stop.
    pub stop: Option<Stop>,
    /// Why the speaker could not go on.
    pub failure: Option<Report>,
    /// A turn has taken too long.
    pub overdue: Option<Report>,
    /// A message was entered, and the conversation over before it could be said.
    pub is_unsaid: bool,
}

impl Ending {
    /// What the program exits with if this was its only conversation; `Err`
    /// with what there is to say.
    ///
    /// # Errors
    /// The conversation, or the speaker, failed.
    pub fn exit(&self) -> Result<Exit, Report> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if let Some(overdue) = &self.overdue {
            return Err(overdue.clone());
        }
        let outcome = self.over.as_ref().map_or(Ok(Exit::Success), outcome);
        let outcome = match (outcome, self.is_unsaid) {
            (Ok(Exit::Success), true) => Err(Report::unsaid()),
            (outcome, _) => outcome,
        };
        match self.stop {
            Some(Stop::Interrupt) => match outcome {
                Ok(_) => Ok(Exit::Interrupted),
                Err(report) => Err(Report {
                    exit: Exit::Interrupted,
                    ..report
                }),
            },
            _ => outcome,
        }
    }

    /// Tells the speaker of the end, and lets it go.
    ///
    /// # Errors
    /// stdout is closed. It says what the speaker was to be told: nothing else does.
    pub async fn tell(&self, speaker: &mut impl Speaker) -> Result<(), Report> {
        let told = self.tell_end(speaker);
        speaker.finish().await;
        told
    }

    /// The same, then says what there is to say. The journal may forget it now. What the program
    /// exits with if this was its only conversation.
    ///
    /// # Errors
    /// As with [`tell`](Self::tell); the next start tells of it as well.
    pub async fn report(
        mut self,
        speaker: &mut impl Speaker,
        display: &Display,
    ) -> Result<Exit, Report> {
        let exit = self.exit();
        let told = self.tell(speaker).await;
        let over = self.over.take();
        if let Err(report) = told {
            over.into_iter().for_each(Ended::not_told);
            return Err(report);
        }
        let is_stopped = matches!(self.stop, Some(Stop::Terminate | Stop::HangUp));
        let exit = exit.unwrap_or_else(|report| {
            if !is_stopped {
                display.fail(&report);
            }
            report.exit
        });
        if let Some(over) = over {
            over.told().await;
        }
        Ok(exit)
    }

    fn tell_end(&self, speaker: &mut impl Speaker) -> Result<(), Report> {
        let failed = self
            .exit()
            .map_or_else(|it| speaker.failed(&it), |_| Ok(()));
        let Some(over) = &self.over else {
            return failed.map_err(|report| self.failure.clone().unwrap_or(report));
        };
        let told = failed.and_then(|()| speaker.ended(over));
        told.map_err(|report| {
            let failure = self.failure.clone().unwrap_or(report);
            naming_unacknowledged(failure, over)
        })
    }
}
