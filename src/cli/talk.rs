//! One conversation, from the first turn to the end: the speaker on this side
//! and the library's turns on the other.

use super::report::link::outcome;
use super::report::{Exit, Report};
use super::signals::{Signals, Stop};
use super::speaker::{Intent, Partner, Speaker, Unsaid};
use crate::link::{Ended, Talk, TheirTurn, Turn};
use crate::protocol::Message;

/// How a conversation ended for this side.
#[derive(Debug, Default)]
pub struct Ending {
    /// The end, unless everything was let go of at SIGTERM.
    pub over: Option<Ended>,
    /// The program is to stop.
    pub stop: Option<Stop>,
    /// Why the speaker could not go on.
    pub failure: Option<Report>,
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

    /// Tells the speaker of the end.
    ///
    /// # Errors
    /// stdout is closed. It says what the speaker was to be told: nothing else does.
    pub fn tell(&self, speaker: &mut impl Speaker) -> Result<(), Report> {
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

/// The report, and which message was not acknowledged.
fn naming_unacknowledged(mut report: Report, over: &Ended) -> Report {
    if let Some(Message { turn, .. }) = over.unacknowledged {
        report.what += &format!(" Your message of turn {turn} was not acknowledged.");
    }
    report
}

/// What ended a wait.
enum Happened {
    Intent(Intent),
    Stop(Stop),
    /// The peer has spoken, or the conversation is over.
    Progress,
}

/// Holds the conversation with `partner` to its end.
pub async fn converse(
    talk: Talk,
    partner: &Partner,
    speaker: &mut impl Speaker,
    signals: &mut Signals,
) -> Ending {
    let begun = speaker
        .connected(partner)
        .and_then(|()| match &talk.unanswered {
            Some(message) => speaker.heard_again(talk.conversation, message),
            None => Ok(()),
        });
    let mut turn = talk.turn;
    if let Err(report) = begun {
        return broken(turn, report).await;
    }
    if let Turn::Mine(mine) = &turn {
        mine.taken();
    }
    let mut ending = Ending::default();
    loop {
        let happened = wait(&mut turn, speaker, signals).await;
        turn = match (happened, turn) {
            (Happened::Intent(Intent::Message(text)), Turn::Mine(mine)) => {
                let number = mine.number();
                match mine.say(text.clone()).await {
                    Ok(theirs) => match speaker.sent(number, &text) {
                        Ok(()) => Turn::Theirs(theirs),
                        Err(report) => return broken(Turn::Theirs(theirs), report).await,
                    },
                    Err(over) => {
                        ending.is_unsaid = speaker.unsaid(text) == Unsaid::Lost;
                        ending.over = Some(over);
                        return ending;
                    }
                }
            }
            (Happened::Progress, Turn::Theirs(theirs)) => match theirs.hear().await {
                Ok((message, mine)) => match speaker.heard(&message) {
                    Ok(()) => {
                        mine.taken();
                        Turn::Mine(mine)
                    }
                    Err(report) => return broken(Turn::Mine(mine), report).await,
                },
                Err(over) => {
                    ending.over = Some(over);
                    return unsaid(ending, speaker);
                }
            },
            // It goes on later, as after a crash.
            (Happened::Stop(stop @ (Stop::Terminate | Stop::HangUp)), _) => {
                ending.stop = Some(stop);
                return ending;
            }
            (Happened::Intent(Intent::HangUp), _) => {
                ending.stop = Some(Stop::HangUp);
                return ending;
            }
            (Happened::Intent(Intent::Broken(report)), turn) => {
                return broken(turn, report).await;
            }
            (happened, turn) => {
                match happened {
                    Happened::Stop(stop) => {
                        speaker.interrupted();
                        ending.stop = Some(stop);
                    }
                    Happened::Intent(Intent::Failed(report)) => ending.failure = Some(report),
                    Happened::Intent(_) | Happened::Progress => {}
                }
                let ending = leave(turn, speaker, ending).await;
                return unsaid(ending, speaker);
            }
        };
    }
}

/// What was entered just as the conversation ended is not said.
fn unsaid(mut ending: Ending, speaker: &mut impl Speaker) -> Ending {
    if let Some(text) = speaker.entered() {
        ending.is_unsaid = speaker.unsaid(text) == Unsaid::Lost;
    }
    ending
}

/// Waits for what comes first, and tells the speaker what there is to know until then.
async fn wait(turn: &mut Turn, speaker: &mut impl Speaker, signals: &mut Signals) -> Happened {
    loop {
        let number = match turn {
            Turn::Mine(mine) => Some(mine.number()),
            Turn::Theirs(_) => None,
        };
        let notice = async {
            match turn {
                Turn::Mine(mine) => mine.notice().await,
                Turn::Theirs(theirs) => theirs.notice().await,
            }
        };
        let intent = async {
            match number {
                Some(number) => speaker.ask(number).await,
                None => speaker.idle().await,
            }
        };
        let notice = tokio::select! {
            biased;
            stop = signals.stop() => return Happened::Stop(stop),
            notice = notice => notice,
            intent = intent => return Happened::Intent(intent),
        };
        match notice.map(|notice| speaker.notice(notice)) {
            Some(Ok(())) => {}
            Some(Err(report)) => return Happened::Intent(Intent::Broken(report)),
            None => return Happened::Progress,
        }
    }
}

/// Ends a conversation that nobody has begun to talk in. What was said in it is
/// shown all the same; where it cannot be, it is not ended.
pub async fn quit_unbegun(talk: Talk, speaker: &mut impl Speaker) -> Ending {
    if let Some(message) = &talk.unanswered
        && let Err(report) = speaker.heard_again(talk.conversation, message)
    {
        return broken(talk.turn, report).await;
    }
    leave(talk.turn, speaker, Ending::default()).await
}

/// What is said cannot be shown: as after a crash, the conversation is not ended
/// by that.
async fn broken(turn: Turn, report: Report) -> Ending {
    let over = match turn {
        Turn::Mine(mine) => mine.abandon().await,
        Turn::Theirs(theirs) => theirs.abandon().await,
    };
    // With a journal it is still said after a restart, but where the peer was just
    // ending the conversation.
    Ending {
        failure: Some(naming_unacknowledged(report, &over)),
        ..Ending::default()
    }
}

/// Ends the conversation, and waits until the peer knows. What had come before is still
/// shown.
async fn leave(turn: Turn, speaker: &mut impl Speaker, mut ending: Ending) -> Ending {
    let mut theirs = match turn {
        Turn::Mine(mine) => mine.leave(),
        Turn::Theirs(theirs) => {
            theirs.quit();
            theirs
        }
    };
    say_goodbye(&mut theirs, speaker).await;
    ending.over = Some(match theirs.hear().await {
        Err(over) => over,
        Ok((message, mine)) => match speaker.heard(&message) {
            Ok(()) => mine.quit().await,
            Err(report) => {
                ending.failure.get_or_insert(report);
                mine.abandon().await
            }
        },
    });
    ending
}

/// Returns once the end is known, or a message had come before it. Says once that it takes a
/// while, where it does.
async fn say_goodbye(theirs: &mut TheirTurn, speaker: &mut impl Speaker) {
    let mut is_told = false;
    loop {
        if theirs.is_lost() && !is_told {
            speaker.leaving();
            is_told = true;
        }
        if theirs.notice().await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
