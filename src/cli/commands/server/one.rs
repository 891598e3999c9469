//! [`ServerRun`]: one conversation after another, and what happens between them.

use tokio::sync::watch;

use super::open::{OpenServer, exit_for, next_event, next_in};
use super::pairing::OpenPairing;
use super::prompt::{PromptState, has_ended, read_between};
use crate::cli::ask::{self, Answer, Question};
use crate::cli::ending::Ending;
use crate::cli::report::{Exit, Report};
use crate::cli::signals::{Signals, Stop};
use crate::cli::speaker::{self, Left, Partner, Speaker};
use crate::cli::talk::{Terms, converse, quit_unbegun};
use crate::link::{Ended, Talk};
use crate::trust::KeyId;

/// One run of a server that talks to one peer at a time.
pub(super) struct ServerRun<'a> {
    open: OpenServer<'a>,
    terms: Terms,
    next: watch::Receiver<Option<KeyId>>,
    /// Welcomed while the person was about another; an Enter begins it.
    ready: Option<Talk>,
}

/// Asked once a pairing code is too old.
const NEW_CODE: &str = "Press Enter for a new pairing code. ";

/// What happened between conversations.
enum NextStep {
    Talk(Talk),
    Stop(Stop),
    /// The input has ended.
    End,
}

impl<'a> ServerRun<'a> {
    pub(super) fn new(open: OpenServer<'a>, terms: Terms) -> Self {
        Self {
            next: open.server.first_in_queue(),
            open,
            terms,
            ready: None,
        }
    }

    pub(super) async fn stop(
        self,
        is_told: bool,
        speaker: &mut impl Speaker,
    ) -> Result<(), Report> {
        self.open.stop(is_told, speaker).await
    }

    pub(super) async fn serve(
        &mut self,
        speaker: &mut impl Speaker,
        signals: &mut Signals,
    ) -> Result<Exit, Report> {
        let mut is_first = true;
        loop {
            let talk = match self.wait_for_next(speaker, signals, is_first).await? {
                NextStep::Talk(talk) => talk,
                NextStep::Stop(stop) => return Ok(exit_for(stop)),
                NextStep::End => return Ok(Exit::Success),
            };
            is_first = false;
            let partner = self.open.partner(&talk);
            let ending = self.converse(talk, &partner, speaker, signals).await;
            if let Some(exit) = self.finish(ending, speaker).await? {
                return Ok(exit);
            }
        }
    }

    async fn converse(
        &mut self,
        talk: Talk,
        partner: &Partner,
        speaker: &mut impl Speaker,
        signals: &mut Signals,
    ) -> Ending {
        let mut stops = signals.clone();
        let conversing = converse(talk, partner, speaker, signals, &mut self.terms);
        tokio::pin!(conversing);
        let mut has_told = false;
        let mut is_closing = false;
        loop {
            tokio::select! {
                ending = &mut conversing => return ending,
                // Nobody waits until the peer has answered.
                _ = stops.stop(), if !is_closing => {
                    is_closing = true;
                    self.open.server.close();
                }
                // The queue is judged by the new book at once.
                () = self.open.reread.notified() => drop(self.open.reread_at_signal()),
                event = next_in(&mut self.open.pairing) => drop(self.open.handle_pairing(event)),
                _ = self.next.changed() => {
                    let next = *self.next.borrow_and_update();
                    match next {
                        Some(next) => self.open.reporter.tell_of_waiting(&next),
                        None if has_told && !is_closing => {
                            self.open.display.say("Nobody is waiting any more.");
                        }
                        None => {}
                    }
                    has_told = next.is_some();
                }
            }
        }
    }

    /// Tells of the end of a conversation; `Some` if it ends the program.
    async fn finish(
        &self,
        ending: Ending,
        speaker: &mut impl Speaker,
    ) -> Result<Option<Exit>, Report> {
        // What cannot be kept now could not be kept for the next one either.
        let cannot_keep = matches!(&ending.over, Some(over) if over.has_journal_failed());
        // What ended one conversation does not end the server.
        let is_last = self.open.command.once || ending.failure.is_some() || cannot_keep;
        let stop = ending.stop;
        let exit = ending.report(speaker, self.open.display).await?;
        Ok(match stop {
            Some(Stop::Terminate) => Some(Exit::Success),
            Some(Stop::HangUp) => Some(Exit::HungUp),
            Some(Stop::Interrupt) => Some(exit),
            None => is_last.then_some(exit),
        })
    }

    async fn wait_for_next(
        &mut self,
        speaker: &mut impl Speaker,
        signals: &mut Signals,
        is_first: bool,
    ) -> Result<NextStep, Report> {
        let mut prompt = PromptState::new(speaker, is_first);
        if !is_first && self.next.borrow().is_none() && !has_ended(speaker).await? {
            self.open.display.say("Waiting for the next one.");
        }
        loop {
            let next = *self.next.borrow_and_update();
            self.update_prompt(&mut prompt, next, speaker);
            if let Some(pairing) = &mut self.open.pairing {
                pairing.tell(speaker)?;
            }
            tokio::select! {
                biased;
                stop = signals.stop() => {
                    if stop == Stop::Interrupt {
                        speaker.stopping();
                        let ending = self.quit_ready(speaker).await;
                        // There is nobody in it to be told.
                        ending.over.into_iter().for_each(Ended::not_told);
                        if let Some(failure) = ending.failure {
                            return Err(failure);
                        }
                    }
                    return Ok(NextStep::Stop(stop));
                }
                () = self.open.reread.notified() => {
                    let settled = self.open.reread_at_signal();
                    prompt = prompt.settled(&settled);
                }
                Some(event) = next_event(&mut self.open.events) => self.open.reporter.tell(&event, speaker)?,
                talk = self.open.server.next(), if prompt.starts_at_once() => match (talk, prompt) {
                    (Some(talk), PromptState::Accepted(key)) if talk.peer.key() != key => {
                        speaker.withdraw();
                        prompt = PromptState::Welcomed(talk.peer.key());
                        self.ready = Some(talk);
                    }
                    (talk, prompt) => {
                        if let PromptState::NewCode(_) = prompt {
                            speaker.withdraw();
                        }
                        return Ok(talk.map_or(NextStep::End, NextStep::Talk));
                    }
                },
                _ = self.next.changed() => {}
                event = next_in(&mut self.open.pairing) => {
                    let settled = self.open.handle_pairing(event);
                    prompt = prompt.settled(&settled);
                }
                () = self.open.questions.changed() => {}
                answer = read_between(speaker, &prompt, is_first) => match answer? {
                    speaker::Answer::Left(Left::Terminal) => return Ok(NextStep::Stop(Stop::HangUp)),
                    speaker::Answer::Left(Left::Input) => {
                        let key = if speaker.is_person() { " (Ctrl-D)" } else { "" };
                        self.open.display.say(&format!("Standard input has ended{key}: the server stops."));
                        return Ok(NextStep::End);
                    }
                    speaker::Answer::Line(line) => {
                        if prompt.wants_enter() && !line.trim().is_empty() {
                            self.open.display.unsaid(&line);
                        }
                        if let Some(talk) = self.ready.take() {
                            return Ok(NextStep::Talk(talk));
                        }
                        self.handle_line(&mut prompt, &line);
                    }
                },
            }
        }
    }

    /// Ends the conversation of whoever was welcomed and not begun with yet.
    async fn quit_ready(&mut self, speaker: &mut impl Speaker) -> Ending {
        match self.ready.take().or_else(|| self.open.server.welcomed()) {
            Some(talk) => quit_unbegun(talk, speaker, &mut self.terms).await,
            None => Ending::default(),
        }
    }

    /// Puts to the person what waits.
    fn update_prompt(
        &self,
        prompt: &mut PromptState,
        next: Option<KeyId>,
        speaker: &mut impl Speaker,
    ) {
        if !speaker.is_person() {
            return;
        }
        match *prompt {
            PromptState::Question(key, _) if !self.open.questions.is_waiting(&key) => {
                speaker.withdraw();
                self.open
                    .display
                    .say("The key that you were asked about waits no longer.");
                *prompt = prompt.before_question();
            }
            PromptState::Next(key) if next != Some(key) => {
                speaker.withdraw();
                self.open
                    .display
                    .say("The next one has left: waiting for another.");
                *prompt = PromptState::EnterNeeded;
            }
            // An answer that was none, or something that was said over it.
            PromptState::Question(..) if !speaker.is_asking() => ask::ask_again(speaker),
            PromptState::Next(key) | PromptState::Welcomed(key) if !speaker.is_asking() => {
                self.ask_to_begin(&key, speaker);
            }
            PromptState::NewCode(_) if !speaker.is_asking() => speaker.question(NEW_CODE),
            _ => {}
        }
        if matches!(prompt, PromptState::NotNeeded | PromptState::EnterNeeded)
            && let Some(candidate) = self.open.questions.ask()
        {
            let key = candidate.key;
            let from = candidate.address.map(|address| format!(", from {address}"));
            ask::about_client(speaker, self.open.display, &from.unwrap_or_default(), &key);
            *prompt = PromptState::Question(key, matches!(prompt, PromptState::NotNeeded));
        } else if let (PromptState::EnterNeeded, Some(next)) = (&prompt, next) {
            self.ask_to_begin(&next, speaker);
            *prompt = PromptState::Next(next);
        } else if matches!(prompt, PromptState::NotNeeded | PromptState::EnterNeeded)
            && self
                .open
                .pairing
                .as_ref()
                .is_some_and(OpenPairing::is_expired)
        {
            speaker.question(NEW_CODE);
            *prompt = PromptState::NewCode(matches!(prompt, PromptState::NotNeeded));
        }
    }

    fn ask_to_begin(&self, next: &KeyId, speaker: &mut impl Speaker) {
        let name = self.open.rules.name(next);
        speaker.question(&format!("Next: {name} is waiting. Press Enter to begin. "));
    }

    /// A line was typed at a question.
    fn handle_line(&mut self, prompt: &mut PromptState, line: &str) {
        match *prompt {
            PromptState::Next(_) => *prompt = PromptState::NotNeeded,
            PromptState::NewCode(_) => {
                if let Some(pairing) = &mut self.open.pairing {
                    pairing.renew();
                }
                *prompt = prompt.before_question();
            }
            PromptState::Question(key, _) => match (Question { key }).parse(line) {
                Ok(Answer::Accept) => {
                    self.open.questions.answer(key, true);
                    *prompt = PromptState::Accepted(key);
                }
                Ok(Answer::Remember(name)) => match self.open.remember(&name, key) {
                    Ok(()) => *prompt = PromptState::Accepted(key),
                    // It is asked again.
                    Err(report) => self.open.display.fail(&report),
                },
                Ok(Answer::Decline) => {
                    self.open.questions.answer(key, false);
                    self.open.display.say("Declined: waiting for another.");
                    *prompt = prompt.before_question();
                }
                // It is asked again.
                Ok(Answer::OtherKey) => self
                    .open
                    .display
                    .explain("That is another key: the two do not match."),
                Err(why) => self.open.display.explain(&why),
            },
            PromptState::NotNeeded
            | PromptState::Accepted(_)
            | PromptState::EnterNeeded
            | PromptState::Welcomed(_) => {}
        }
    }
}
