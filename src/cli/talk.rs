//! One conversation, from the first turn to the end: the speaker on this side
//! and the library's turns on the other.

use super::report::{Exit, Report, outcome};
use super::signals::{Signals, Stop};
use super::speaker::{Intent, Partner, Speaker};
use crate::link::{Ended, MyTurn, Talk, TheirTurn, Turn};

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
            Some((turn, text)) => speaker.heard_again(*turn, text),
            None => Ok(()),
        });
    if let Err(report) = begun {
        return withdraw(talk.turn, speaker, report).await;
    }
    let mut turn = talk.turn;
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
                Some(Err(report)) => break WaitOutcome::Intent(Intent::Failed(report)),
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
                    Err(report) => {
                        theirs.quit();
                        ending.failure = Some(report);
                        Err(Box::new(leave(theirs, speaker, ending).await))
                    }
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
        WaitOutcome::Intent(Intent::Quit) | WaitOutcome::Progress => {}
    }
    Err(Box::new(leave(mine.leave(), speaker, ending).await))
}

async fn listen(
    mut theirs: TheirTurn,
    speaker: &mut Speaker,
    signals: &mut Signals,
) -> Result<Turn, Box<Ending>> {
    let number = theirs.number();
    let outcome = loop {
        tokio::select! {
            biased;
            stop = signals.stop() => break WaitOutcome::Stop(stop),
            notice = theirs.notice() => match notice.map(|notice| speaker.notice(notice)) {
                Some(Ok(())) => {}
                Some(Err(report)) => break WaitOutcome::Intent(Intent::Failed(report)),
                None => break WaitOutcome::Progress,
            },
            intent = speaker.idle() => break WaitOutcome::Intent(intent),
        }
    };
    let mut ending = Ending::default();
    match outcome {
        WaitOutcome::Progress => match theirs.hear().await {
            Ok((text, mine)) => match speaker.heard(number, &text) {
                Ok(()) => return Ok(Turn::Mine(mine)),
                Err(report) => {
                    ending.failure = Some(report);
                    ending = leave(mine.leave(), speaker, ending).await;
                }
            },
            Err(over) => ending.over = Some(over),
        },
        WaitOutcome::Stop(Stop::Terminate) => ending.stop = Some(Stop::Terminate),
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

/// The speaker cannot even begin: the peer is told the end all the same.
async fn withdraw(turn: Turn, speaker: &mut Speaker, report: Report) -> Ending {
    let ending = Ending {
        failure: Some(report),
        ..Ending::default()
    };
    let theirs = match turn {
        Turn::Mine(mine) => mine.leave(),
        Turn::Theirs(theirs) => {
            theirs.quit();
            theirs
        }
    };
    leave(theirs, speaker, ending).await
}

/// After a `quit`: what had come before it is still shown.
async fn leave(mut theirs: TheirTurn, speaker: &mut Speaker, mut ending: Ending) -> Ending {
    let number = theirs.number();
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
        Ok((text, mine)) => {
            if let Err(report) = speaker.heard(number, &text) {
                ending.failure.get_or_insert(report);
            }
            mine.quit().await
        }
    });
    ending
}
