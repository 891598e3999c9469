//! One conversation, from the first turn to the end: the speaker on this side
//! and the library's turns on the other.

use super::report::{Exit, Report, outcome};
use super::signals::{Signals, Stop};
use super::speaker::{Intent, Partner, Speaker};
use crate::link::{Ended, MyTurn, Talk, TheirTurn, Turn};
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
    pub fn tell(&self, speaker: &mut Speaker) -> Result<(), Report> {
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
enum WaitOutcome {
    Intent(Intent),
    Stop(Stop),
    /// The peer has spoken, or the conversation is over.
    Progress,
}

/// Holds the conversation with `partner` to its end.
pub async fn converse(
    talk: Talk,
    partner: &Partner,
    speaker: &mut Speaker,
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
    loop {
        let next = match turn {
            Turn::Mine(mine) => speak(mine, speaker, signals).await,
            Turn::Theirs(theirs) => listen(theirs, speaker, signals).await,
        };
        turn = match next {
            Ok(turn) => turn,
            Err(ending) => return *ending,
        };
    }
}

async fn speak(
    mut mine: MyTurn,
    speaker: &mut Speaker,
    signals: &mut Signals,
) -> Result<Turn, Box<Ending>> {
    let number = mine.number();
    let outcome = loop {
        tokio::select! {
            biased;
            stop = signals.stop() => break WaitOutcome::Stop(stop),
            notice = mine.notice() => match notice.map(|notice| speaker.notice(notice)) {
                Some(Ok(())) => {}
                Some(Err(report)) => break WaitOutcome::Intent(Intent::Broken(report)),
                None => break WaitOutcome::Progress,
            },
            intent = speaker.ask(number) => break WaitOutcome::Intent(intent),
        }
    };
    let mut ending = Ending::default();
    match outcome {
        WaitOutcome::Intent(Intent::Message(text)) => match mine.say(text.clone()).await {
            Ok(theirs) => {
                return match speaker.sent(number, &text) {
                    Ok(()) => Ok(Turn::Theirs(theirs)),
                    Err(report) => Err(Box::new(broken(Turn::Theirs(theirs), report).await)),
                };
            }
            Err(over) => {
                speaker.not_sent(text);
                ending.over = Some(over);
                return Err(Box::new(ending));
            }
        },
        WaitOutcome::Stop(Stop::Terminate) => {
            ending.stop = Some(Stop::Terminate);
            return Err(Box::new(ending));
        }
        WaitOutcome::Stop(Stop::Interrupt) => ending.stop = Some(Stop::Interrupt),
        WaitOutcome::Intent(Intent::Failed(report)) => ending.failure = Some(report),
        WaitOutcome::Intent(Intent::Broken(report)) => {
            return Err(Box::new(broken(Turn::Mine(mine), report).await));
        }
        WaitOutcome::Intent(Intent::Quit) | WaitOutcome::Progress => {}
    }
    Err(Box::new(leave(mine.leave(), speaker, ending).await))
}

async fn listen(
    mut theirs: TheirTurn,
    speaker: &mut Speaker,
    signals: &mut Signals,
) -> Result<Turn, Box<Ending>> {
    let outcome = loop {
        tokio::select! {
            biased;
            stop = signals.stop() => break WaitOutcome::Stop(stop),
            notice = theirs.notice() => match notice.map(|notice| speaker.notice(notice)) {
                Some(Ok(())) => {}
                Some(Err(report)) => break WaitOutcome::Intent(Intent::Broken(report)),
                None => break WaitOutcome::Progress,
            },
            intent = speaker.idle() => break WaitOutcome::Intent(intent),
        }
    };
    let mut ending = Ending::default();
    match outcome {
        WaitOutcome::Progress => match theirs.hear().await {
            Ok((message, mine)) => match speaker.heard(&message) {
                Ok(()) => {
                    mine.taken();
                    return Ok(Turn::Mine(mine));
                }
                Err(report) => ending = broken(Turn::Mine(mine), report).await,
            },
            Err(over) => ending.over = Some(over),
        },
        WaitOutcome::Stop(Stop::Terminate) => ending.stop = Some(Stop::Terminate),
        WaitOutcome::Intent(Intent::Broken(report)) => {
            ending = broken(Turn::Theirs(theirs), report).await;
        }
        outcome => {
            match outcome {
                WaitOutcome::Stop(stop) => ending.stop = Some(stop),
                WaitOutcome::Intent(Intent::Failed(report)) => ending.failure = Some(report),
                WaitOutcome::Intent(_) | WaitOutcome::Progress => {}
            }
            theirs.quit();
            ending = leave(theirs, speaker, ending).await;
        }
    }
    Err(Box::new(ending))
}

/// Ends a conversation that nobody has begun to talk in. What was said in it is
/// shown all the same; where it cannot be, it is not ended.
pub async fn quit_unbegun(talk: Talk, speaker: &mut Speaker) -> Ending {
    if let Some(message) = &talk.unanswered
        && let Err(report) = speaker.heard_again(talk.conversation, message)
    {
        return broken(talk.turn, report).await;
    }
    let theirs = match talk.turn {
        Turn::Mine(mine) => mine.leave(),
        Turn::Theirs(theirs) => {
            theirs.quit();
            theirs
        }
    };
    leave(theirs, speaker, Ending::default()).await
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

/// After a `quit`: what had come before it is still shown.
async fn leave(mut theirs: TheirTurn, speaker: &mut Speaker, mut ending: Ending) -> Ending {
    let mut is_told = false;
    loop {
        if theirs.is_lost() && !is_told {
            speaker.leaving();
            is_told = true;
        }
        if theirs.notice().await.is_none() {
            break;
        }
    }
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
