//! One conversation, from the first turn to the end: the speaker on this side
//! and the library's turns on the other.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::args::TalkArgs;
use super::ending::Ending;
use super::report::Report;
use super::report::link::naming_unacknowledged;
use super::signals::{Signals, Stop};
use super::speaker::{Intent, Partner, Speaker, Unsaid};
use super::transcript::Transcript;
use crate::link::{MyTurn, Notice, Talk, TheirTurn, Turn};
use crate::protocol::{ConversationId, Limits, Message};

/// What holds in a conversation, whoever speaks.
#[derive(Debug, Default)]
pub struct Terms {
    /// A turn that takes longer, whoever's it is, ends the conversation.
    pub turn_timeout: Option<Duration>,
    /// Where all that is said is recorded.
    pub transcript: Transcript,
    /// SIGTERM and a closed terminal end the conversation: it could not go on after a restart.
    pub ends_when_stopped: bool,
    /// Since when the link is lost, if it is.
    pub is_lost: watch::Sender<Option<Instant>>,
}

/// What came in may be taken within this when we have quit already: as long as a quit of the
/// peer would wait (PROTOCOL 3.9).
const TAKING: Duration = Duration::from_secs(10);

/// For how long an end is told over a lost link: as long as a quit is (PROTOCOL 4.14), unless
/// the program is gone before.
pub fn time_to_leave(stop: Option<Stop>) -> Duration {
    let quit = Limits::default().quit;
    stop.map_or(quit, |stop| quit.min(stop.grace()))
}

/// Heard, and not taken yet.
struct InHand {
    message: Message,
    /// It may have been taken before a restart.
    is_again: bool,
}

/// What ended a wait.
enum Happened {
    Intent(Intent),
    Stop(Stop),
    /// What is in hand is taken.
    Taken,
    /// The turn has taken too long.
    Overdue,
    /// The peer has spoken, or the conversation is over.
    Progress,
}

/// Holds the conversation with `partner` to its end.
pub async fn converse(
    talk: Talk,
    partner: &Partner,
    speaker: &mut impl Speaker,
    signals: &mut Signals,
    terms: &mut Terms,
) -> Ending {
    let mut ending = converse_on(talk, partner, speaker, signals, terms).await;
    if let Some(over) = &ending.over
        && let Err(report) = terms.transcript.ended(over).await
    {
        ending.failure.get_or_insert(report);
    }
    ending
}

async fn converse_on(
    talk: Talk,
    partner: &Partner,
    speaker: &mut impl Speaker,
    signals: &mut Signals,
    terms: &mut Terms,
) -> Ending {
    let mut ending = Ending::default();
    let mut turn = talk.turn;
    let mut in_hand = talk.unanswered.map(InHand::again);
    let mut begun = speaker.connected(partner);
    if let (Ok(()), Some(InHand { message, .. })) = (&begun, &in_hand) {
        begun = speaker.heard_again(talk.conversation, message);
    }
    if begun.is_ok() {
        begun = terms.transcript.connected(partner).await;
    }
    if let Err(report) = begun {
        return broken(turn, report).await;
    }
    let mut due = terms.due();
    loop {
        let happened = wait(&mut turn, &in_hand, due, speaker, signals, terms).await;
        turn = match (happened, turn) {
            (Happened::Taken, Turn::Mine(mine)) => {
                if let Err(report) = terms.record(in_hand.take()).await {
                    return broken(Turn::Mine(mine), report).await;
                }
                mine.taken();
                Turn::Mine(mine)
            }
            (Happened::Intent(Intent::Message(text)), Turn::Mine(mine)) => {
                let number = mine.number();
                match mine.say(text.clone()).await {
                    Ok(theirs) => {
                        let mut sent = terms.transcript.said(number, &text).await;
                        if sent.is_ok() {
                            sent = speaker.sent(number, &text);
                        }
                        if let Err(report) = sent {
                            return broken(Turn::Theirs(theirs), report).await;
                        }
                        due = terms.due();
                        Turn::Theirs(theirs)
                    }
                    Err(over) => {
                        ending.is_unsaid = speaker.unsaid(text) == Unsaid::Lost;
                        ending.over = Some(over);
                        return unsaid(ending, speaker);
                    }
                }
            }
            (Happened::Progress, Turn::Theirs(theirs)) => match theirs.hear().await {
                Ok((message, mine)) => match speaker.heard(&message) {
                    Ok(()) => {
                        due = terms.due();
                        in_hand = Some(InHand::new(message));
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
            (Happened::Stop(stop @ (Stop::Terminate | Stop::HangUp)), _)
                if !terms.ends_when_stopped =>
            {
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
                        if stop == Stop::Interrupt {
                            speaker.interrupted();
                        }
                        ending.stop = Some(stop);
                    }
                    Happened::Intent(Intent::Failed(report)) => ending.failure = Some(report),
                    Happened::Overdue => {
                        let peer = partner.name_within();
                        let whose = match turn {
                            Turn::Mine(_) => None,
                            Turn::Theirs(_) => Some(peer.as_str()),
                        };
                        ending.overdue = Some(Report::turn_overdue(whose));
                    }
                    Happened::Intent(_) | Happened::Taken | Happened::Progress => {}
                }
                let ending = leave(turn, in_hand, speaker, terms, ending).await;
                return unsaid(ending, speaker);
            }
        };
    }
}

impl InHand {
    fn new(message: Message) -> Self {
        let is_again = false;
        Self { message, is_again }
    }

    fn again(message: Message) -> Self {
        let is_again = true;
        Self { message, is_again }
    }
}

impl Terms {
    /// As the command line says, for one conversation at a time or for many.
    ///
    /// # Errors
    /// The transcript cannot be written.
    pub fn asked(talk: &TalkArgs, has_many: bool) -> Result<Self, Report> {
        let transcript = match &talk.transcript {
            Some(path) => Transcript::open(path, has_many)?,
            None => Transcript::default(),
        };
        Ok(Self {
            turn_timeout: talk.turn_timeout,
            transcript,
            ends_when_stopped: talk.exec.is_some() && !talk.journal,
            ..Self::default()
        })
    }

    /// The same for another conversation beside.
    pub fn of_another(&self) -> Self {
        Self {
            turn_timeout: self.turn_timeout,
            transcript: self.transcript.clone(),
            ends_when_stopped: self.ends_when_stopped,
            is_lost: watch::Sender::default(),
        }
    }

    /// When a turn that begins now is over time.
    fn due(&self) -> Option<Instant> {
        Instant::now().checked_add(self.turn_timeout?)
    }

    /// What the reader has taken, the transcript takes, too.
    async fn record(&self, taken: Option<InHand>) -> Result<(), Report> {
        match taken {
            Some(InHand { message, is_again }) => self.transcript.heard(&message, is_again).await,
            None => Ok(()),
        }
    }

    fn note(&self, notice: &Notice) {
        match notice {
            Notice::Lost => _ = self.is_lost.send_replace(Some(Instant::now())),
            Notice::Resumed => _ = self.is_lost.send_replace(None),
            _ => {}
        }
    }
}

/// What was entered just as the conversation ended is not said.
fn unsaid(mut ending: Ending, speaker: &mut impl Speaker) -> Ending {
    for text in speaker.entered() {
        ending.is_unsaid |= speaker.unsaid(text) == Unsaid::Lost;
    }
    ending
}

/// Waits for what comes first, and tells the speaker what there is to know until then.
async fn wait(
    turn: &mut Turn,
    in_hand: &Option<InHand>,
    due: Option<Instant>,
    speaker: &mut impl Speaker,
    signals: &mut Signals,
    terms: &Terms,
) -> Happened {
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
        let overdue = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        let notice = match in_hand {
            // Taken first: it counts even if the conversation is to end just then.
            Some(_) => tokio::select! {
                biased;
                taken = speaker.taken() => return match taken {
                    Ok(()) => Happened::Taken,
                    Err(report) => Happened::Intent(Intent::Broken(report)),
                },
                stop = signals.stop() => return Happened::Stop(stop),
                notice = notice => notice,
                () = overdue => return Happened::Overdue,
            },
            None => tokio::select! {
                biased;
                stop = signals.stop() => return Happened::Stop(stop),
                notice = notice => notice,
                () = overdue => return Happened::Overdue,
                intent = async {
                    match number {
                        Some(number) => speaker.ask(number).await,
                        None => speaker.idle().await,
                    }
                } => return Happened::Intent(intent),
            },
        };
        let told = notice.map(|notice| {
            terms.note(&notice);
            speaker.notice(notice)
        });
        match told {
            Some(Ok(())) => {}
            Some(Err(report)) => return Happened::Intent(Intent::Broken(report)),
            None => return Happened::Progress,
        }
    }
}

/// Ends a conversation that nobody has begun to talk in. What was said in it is
/// shown all the same; where it cannot be, it is not ended.
pub async fn quit_unbegun(talk: Talk, speaker: &mut impl Speaker, terms: &mut Terms) -> Ending {
    if let Err(report) = take_unbegun(talk.conversation, talk.unanswered, speaker, terms).await {
        return broken(talk.turn, report).await;
    }
    leave(talk.turn, None, speaker, terms, Ending::default()).await
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
    let failure = Some(naming_unacknowledged(report, &over));
    over.not_told();
    Ending {
        failure,
        ..Ending::default()
    }
}

/// Ends the conversation, and waits until the peer knows. What had come before is still
/// shown. What is in hand was not taken, and is not acknowledged by that.
async fn leave(
    turn: Turn,
    in_hand: Option<InHand>,
    speaker: &mut impl Speaker,
    terms: &Terms,
    mut ending: Ending,
) -> Ending {
    let mut theirs = match (turn, in_hand) {
        (Turn::Mine(mine), None) => mine.leave(),
        (Turn::Mine(mine), Some(InHand { message, .. })) => {
            return give_up(mine, Report::not_taken(message.turn), ending).await;
        }
        (Turn::Theirs(theirs), _) => {
            theirs.quit();
            theirs
        }
    };
    say_goodbye(&mut theirs, speaker, time_to_leave(ending.stop)).await;
    let (message, mine) = match theirs.hear().await {
        Ok(heard) => heard,
        Err(over) => {
            ending.over = Some(over);
            return ending;
        }
    };
    let taken = match speaker.heard(&message) {
        Ok(()) => take(Some(InHand::new(message)), speaker, terms).await,
        failed => failed,
    };
    match taken {
        Ok(()) => ending.over = Some(mine.quit().await),
        Err(report) => return give_up(mine, report, ending).await,
    }
    ending
}

/// Shows the last message of a conversation that is not begun, and waits until it is taken.
///
/// # Errors
/// It is not.
pub async fn take_unbegun(
    conversation: ConversationId,
    unanswered: Option<Message>,
    speaker: &mut impl Speaker,
    terms: &mut Terms,
) -> Result<(), Report> {
    if let Some(message) = &unanswered {
        speaker.heard_again(conversation, message)?;
        terms.transcript.begin(conversation);
    }
    take(unanswered.map(InHand::again), speaker, terms).await
}

/// Waits until what came in is taken, as long as it may.
async fn take(
    in_hand: Option<InHand>,
    speaker: &mut impl Speaker,
    terms: &Terms,
) -> Result<(), Report> {
    let Some(in_hand) = in_hand else {
        return Ok(());
    };
    let turn = in_hand.message.turn;
    let taken = timeout(TAKING, speaker.taken()).await;
    taken.unwrap_or_else(|_| Err(Report::not_taken(turn)))?;
    terms.record(Some(in_hand)).await
}

/// What came in cannot be taken, and nothing can be said any more.
async fn give_up(mine: MyTurn, report: Report, mut ending: Ending) -> Ending {
    ending.failure.get_or_insert(report);
    ending.over = Some(mine.abandon().await);
    ending
}

/// Returns once the end is known, or a message had come before it. Says once that it takes a
/// while, where it does.
async fn say_goodbye(theirs: &mut TheirTurn, speaker: &mut impl Speaker, within: Duration) {
    let mut is_told = false;
    loop {
        if theirs.is_lost() && !is_told {
            speaker.leaving(within);
            is_told = true;
        }
        if theirs.notice().await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
