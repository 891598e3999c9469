//! One conversation, from the first turn to the end: the speaker on this side
//! and the library's turns on the other.

use super::report::{Exit, Report, outcome};
use super::signals::{Signals, Stop};
use super::speaker::{Partner, Said, Speaker};
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
enum Wish {
    Said(Said),
    Stop(Stop),
    /// The peer has spoken, or the conversation is over.
    Decided,
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
            Some((turn, text)) => speaker.again(*turn, text),
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
    let wish = loop {
        tokio::select! {
            biased;
            stop = signals.stop() => break Wish::Stop(stop),
            notice = mine.notice() => match notice.map(|notice| speaker.notice(notice)) {
                Some(Ok(())) => {}
                Some(Err(report)) => break Wish::Said(Said::Failed(report)),
                None => break Wish::Decided,
            },
            said = speaker.ask(number) => break Wish::Said(said),
        }
    };
    let mut ending = Ending::default();
    match wish {
        Wish::Said(Said::Message(text)) => match mine.say(text.clone()).await {
            Ok(theirs) => {
                return match speaker.said(number, &text) {
                    Ok(()) => Ok(Turn::Theirs(theirs)),
                    Err(report) => {
                        theirs.quit();
                        ending.failure = Some(report);
                        Err(Box::new(leave(theirs, speaker, ending).await))
                    }
                };
            }
            Err(over) => {
                speaker.unsaid(text);
                ending.over = Some(over);
                return Err(Box::new(ending));
            }
        },
        Wish::Stop(Stop::Terminate) => {
            ending.stop = Some(Stop::Terminate);
            return Err(Box::new(ending));
        }
        Wish::Stop(Stop::Interrupt) => ending.stop = Some(Stop::Interrupt),
        Wish::Said(Said::Failed(report)) => ending.failure = Some(report),
        Wish::Said(Said::Quit) | Wish::Decided => {}
    }
    Err(Box::new(leave(mine.leave(), speaker, ending).await))
}

async fn listen(
    mut theirs: TheirTurn,
    speaker: &mut Speaker,
    signals: &mut Signals,
) -> Result<Turn, Box<Ending>> {
    let number = theirs.number();
    let wish = loop {
        tokio::select! {
            biased;
            stop = signals.stop() => break Wish::Stop(stop),
            notice = theirs.notice() => match notice.map(|notice| speaker.notice(notice)) {
                Some(Ok(())) => {}
                Some(Err(report)) => break Wish::Said(Said::Failed(report)),
                None => break Wish::Decided,
            },
            said = speaker.idle() => break Wish::Said(said),
        }
    };
    let mut ending = Ending::default();
    match wish {
        Wish::Decided => match theirs.hear().await {
            Ok((text, mine)) => match speaker.heard(number, &text) {
                Ok(()) => return Ok(Turn::Mine(mine)),
                Err(report) => {
                    ending.failure = Some(report);
                    ending = leave(mine.leave(), speaker, ending).await;
                }
            },
            Err(over) => ending.over = Some(over),
        },
        Wish::Stop(Stop::Terminate) => ending.stop = Some(Stop::Terminate),
        wish => {
            match wish {
                Wish::Stop(stop) => ending.stop = Some(stop),
                Wish::Said(Said::Failed(report)) => ending.failure = Some(report),
                Wish::Said(_) | Wish::Decided => {}
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
