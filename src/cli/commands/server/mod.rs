//! `turnchat server`: one conversation after another, and what happens between
//! them.

mod callers;
mod events;
mod listen;
mod pairing;
mod prompt;
mod questions;
mod rules;

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::cli::args::ServerArgs;
use crate::cli::ask::{self, Answer, Question};
use crate::cli::book::{AddressBook, BookError, KnownKey, Origin, Petname};
use crate::cli::display::Display;
use crate::cli::home::Home;
use crate::cli::report::{Exit, Report};
use crate::cli::signals::{Program, Signals, Stop};
use crate::cli::speaker::{self, Left, Partner, Speaker};
use crate::cli::talk::{Ending, converse, quit_unbegun};
use crate::link::{
    Candidate, PairingEvent, Server, ServerBuilder, ServerEvent, ServerEvents, Talk, Verdict, tcp,
};
use crate::protocol::{Limits, Reason, Role};
use crate::trust::KeyId;
use callers::Callers;
use events::EventReporter;
use listen::{announce, listen};
use pairing::OpenPairing;
use prompt::{PromptState, read_between};
use questions::Questions;
use rules::{Rules, SharedRules};

/// Runs `turnchat server`.
///
/// # Errors
/// What there is to say before the exit.
pub async fn run(
    command: ServerArgs,
    limits: Limits,
    home: &Home,
    display: &Display,
    speaker: &mut impl Speaker,
) -> Result<Exit, Report> {
    let mut signals = Signals::listen(Program::Server).map_err(|error| Report::signals(&error))?;
    let rules = Rules::read(&command, home)?;
    let identity = home.identity(&command.talk.identity, display)?;
    let own = identity.key_id();
    let listener = tokio::select! {
        listener = listen(&command.listen) => listener?,
        stop = signals.stop() => return Ok(exit_for(stop)),
    };

    speaker.begin()?;
    let is_person = speaker.is_person();
    let rules = SharedRules::new(rules, own);
    let questions = Questions::default();
    let limits = Limits {
        hold: command.talk.hold,
        ..limits
    };
    let keeps = command.talk.keeps_journal(speaker);
    let callers = Callers::default();
    let (judging, asking, noting) = (rules.clone(), questions.clone(), callers.clone());
    let admit = move |candidate: Candidate| {
        noting.note(&candidate);
        let (verdict, asking) = (judging.judge(&candidate.key), asking.clone());
        async move {
            match verdict {
                Some(verdict) => verdict,
                None if is_person => asking.about(candidate).await,
                None => Verdict::Refuse(Reason::UnknownPeer),
            }
        }
    };
    let mut builder = ServerBuilder::new(&identity, admit).with_limits(limits);
    if keeps {
        builder = builder.with_journal(home.journal(&own));
    }
    let address = listener
        .local_addr()
        .map_err(|error| Report::listen("the address", &error))?;
    let starting = builder.start(tcp::acceptor(listener));
    let mut server = starting.await.map_err(|error| Report::from(&error))?;
    // Only now it is true.
    announce(address, &own, command.pair.is_some(), display, speaker)?;
    let open = |name| OpenPairing::new(server.pair(), name, home, display, is_person);
    let pairing = command.pair.as_ref().map(open);

    let mut run = ServerRun {
        next: server.first_in_queue(),
        events: server.events(),
        server,
        reporter: EventReporter::new(&command, home, display, rules.clone()),
        rules,
        questions,
        callers,
        pairing,
        command: &command,
        home,
        display,
        reread: signals.reread(),
        ready: None,
    };
    let exit = run.serve(speaker, &mut signals).await;
    let (server, events, mut reporter) = (run.server, run.events, run.reporter);
    server.stop().await;
    // What was told counts as told once the next one is asked for.
    let mut events = events.filter(|_| exit.is_ok());
    while let Some(event) = next_event(&mut events).await {
        reporter.tell_last(&event, speaker)?;
    }
    exit
}

/// One run of `turnchat server`.
struct ServerRun<'a> {
    server: Server,
    next: watch::Receiver<Option<KeyId>>,
    events: Option<ServerEvents>,
    rules: SharedRules,
    questions: Questions,
    callers: Callers,
    pairing: Option<OpenPairing<'a>>,
    reporter: EventReporter<'a>,
    command: &'a ServerArgs,
    home: &'a Home,
    display: &'a Display,
    reread: Arc<Notify>,
    /// Welcomed while the person was about another; an Enter begins it.
    ready: Option<Talk>,
}

/// Asked once a pairing code is too old.
const NEW_CODE: &str = "Press Enter for a new pairing code. ";

/// What happens in the pairing, if one is open. May be dropped at any time.
async fn next_in(pairing: &mut Option<OpenPairing<'_>>) -> PairingEvent {
    match pairing {
        Some(pairing) => pairing.next().await,
        None => std::future::pending().await,
    }
}

/// What happened between conversations.
enum NextStep {
    Talk(Talk),
    Stop(Stop),
    /// The input has ended.
    End,
}

impl ServerRun<'_> {
    async fn serve(
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
            let partner = self.partner(&talk);
            let ending = self.converse(talk, &partner, speaker, signals).await;
            if let Some(exit) = self.finish(&ending, speaker)? {
                return exit;
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
        let conversing = converse(talk, partner, speaker, signals);
        tokio::pin!(conversing);
        loop {
            tokio::select! {
                ending = &mut conversing => return ending,
                // The queue is judged by the new book at once.
                () = self.reread.notified() => drop(self.reread_at_signal()),
                event = next_in(&mut self.pairing) => drop(self.handle_pairing(event)),
                _ = self.next.changed() => {
                    let next = *self.next.borrow_and_update();
                    if let Some(next) = next {
                        self.reporter.tell_of_waiting(&next);
                    }
                }
            }
        }
    }

    /// Tells of the end of a conversation; `Some` if it ends the program.
    fn finish(
        &self,
        ending: &Ending,
        speaker: &mut impl Speaker,
    ) -> Result<Option<Result<Exit, Report>>, Report> {
        let exit = ending.exit();
        ending.tell(speaker)?;
        match ending.stop {
            Some(Stop::Terminate) => return Ok(Some(Ok(Exit::Success))),
            Some(Stop::HangUp) => return Ok(Some(Ok(Exit::HungUp))),
            Some(Stop::Interrupt) | None => {}
        }
        // What cannot be kept now could not be kept for the next one either.
        let cannot_keep = matches!(&ending.over, Some(over) if over.has_journal_failed());
        if self.command.once || ending.failure.is_some() || ending.stop.is_some() || cannot_keep {
            return Ok(Some(exit));
        }
        // What ended one conversation does not end the server.
        if let Err(report) = exit {
            self.display.fail(&report);
        }
        Ok(None)
    }

    async fn wait_for_next(
        &mut self,
        speaker: &mut impl Speaker,
        signals: &mut Signals,
        is_first: bool,
    ) -> Result<NextStep, Report> {
        let mut prompt = PromptState::new(speaker, is_first);
        if !is_first && self.next.borrow().is_none() {
            self.display.say("Waiting for the next one.");
        }
        loop {
            let next = *self.next.borrow_and_update();
            self.update_prompt(&mut prompt, next, speaker);
            if let Some(pairing) = &mut self.pairing {
                pairing.tell(speaker)?;
            }
            tokio::select! {
                biased;
                stop = signals.stop() => {
                    if stop == Stop::Interrupt {
                        speaker.stopping();
                        let ending = self.quit_ready(speaker).await;
                        if let Some(failure) = ending.failure {
                            return Err(failure);
                        }
                    }
                    return Ok(NextStep::Stop(stop));
                }
                () = self.reread.notified() => {
                    let settled = self.reread_at_signal();
                    prompt = prompt.settled(&settled);
                }
                Some(event) = next_event(&mut self.events) => self.reporter.tell(&event, speaker)?,
                talk = self.server.next(), if prompt.starts_at_once() => match (talk, prompt) {
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
                event = next_in(&mut self.pairing) => {
                    let settled = self.handle_pairing(event);
                    prompt = prompt.settled(&settled);
                }
                () = self.questions.changed() => {}
                answer = read_between(speaker, &prompt, is_first) => match answer? {
                    speaker::Answer::Left(Left::Terminal) => return Ok(NextStep::Stop(Stop::HangUp)),
                    speaker::Answer::Left(Left::Input) => {
                        self.display.say("Standard input has ended: the server stops.");
                        return Ok(NextStep::End);
                    }
                    speaker::Answer::Line(line) => {
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
        match self.ready.take().or_else(|| self.server.welcomed()) {
            Some(talk) => quit_unbegun(talk, speaker).await,
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
            PromptState::Question(key, _) if !self.questions.is_waiting(&key) => {
                speaker.withdraw();
                self.display
                    .say("The key that you were asked about waits no longer.");
                *prompt = prompt.before_question();
            }
            PromptState::Next(key) if next != Some(key) => {
                speaker.withdraw();
                self.display
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
            && let Some(candidate) = self.questions.ask()
        {
            let key = candidate.key;
            let from = candidate.address.map(|address| format!(", from {address}"));
            ask::about_client(speaker, self.display, &from.unwrap_or_default(), &key);
            *prompt = PromptState::Question(key, matches!(prompt, PromptState::NotNeeded));
        } else if let (PromptState::EnterNeeded, Some(next)) = (&prompt, next) {
            self.ask_to_begin(&next, speaker);
            *prompt = PromptState::Next(next);
        } else if matches!(prompt, PromptState::NotNeeded | PromptState::EnterNeeded)
            && self.pairing.as_ref().is_some_and(OpenPairing::is_expired)
        {
            speaker.question(NEW_CODE);
            *prompt = PromptState::NewCode(matches!(prompt, PromptState::NotNeeded));
        }
    }

    fn ask_to_begin(&self, next: &KeyId, speaker: &mut impl Speaker) {
        let name = self.rules.name(next);
        speaker.question(&format!("Next: {name} is waiting. Press Enter to begin. "));
    }

    /// A line was typed at a question.
    fn handle_line(&mut self, prompt: &mut PromptState, line: &str) {
        match *prompt {
            PromptState::Next(_) => *prompt = PromptState::NotNeeded,
            PromptState::NewCode(_) => {
                if let Some(pairing) = &mut self.pairing {
                    pairing.renew();
                }
                *prompt = prompt.before_question();
            }
            PromptState::Question(key, _) => match (Question { key }).parse(line) {
                Ok(Answer::Accept) => {
                    self.questions.answer(key, true);
                    *prompt = PromptState::Accepted(key);
                }
                Ok(Answer::Remember(name)) => match self.remember(&name, key) {
                    Ok(()) => *prompt = PromptState::Accepted(key),
                    // It is asked again.
                    Err(report) => self.display.fail(&report),
                },
                Ok(Answer::Decline) => {
                    self.questions.answer(key, false);
                    *prompt = prompt.before_question();
                }
                // It is asked again.
                Ok(Answer::OtherKey) => self
                    .display
                    .print_always("That is another key: the two do not match."),
                Err(why) => self.display.print_always(&why),
            },
            PromptState::NotNeeded
            | PromptState::Accepted(_)
            | PromptState::EnterNeeded
            | PromptState::Welcomed(_) => {}
        }
    }

    /// Whom nobody has to be asked about any more.
    fn handle_pairing(&mut self, event: PairingEvent) -> Vec<KeyId> {
        match self.pairing.as_mut().map(|pairing| pairing.handle(event)) {
            Some(true) => self.reread_book().unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Stores a key that somebody is asked about, which lets it in.
    fn remember(&self, name: &Petname, key: KeyId) -> Result<(), Report> {
        AddressBook::edit(&self.home.book_path(), |book| {
            book.add(name.clone(), KnownKey::now(key, Origin::Remembered), None)
        })
        .map_err(|error: BookError| Report::from(&error))?;
        self.display.say(&format!(
            "Stored {key} as {name}; from now on it is let in unasked."
        ));
        self.reread_book();
        Ok(())
    }

    /// The book may have been edited.
    fn reread_at_signal(&self) -> Vec<KeyId> {
        let settled = self.reread_book();
        if settled.is_some() {
            self.display.say("Read the address book again.");
        }
        settled.unwrap_or_default()
    }

    /// Reads the address book again; a damaged one changes nothing. Gives those whom nobody
    /// has to be asked about any more.
    fn reread_book(&self) -> Option<Vec<KeyId>> {
        let rules = match Rules::reread(self.command, self.home, self.display) {
            Ok(rules) => rules,
            Err(report) => {
                self.display.fail(&report);
                return None;
            }
        };
        let known: Vec<_> = rules.keys().collect();
        let old = self.rules.replace(rules);
        for key in old.keys().filter(|key| !known.contains(key)) {
            self.questions.forget(&key);
            if self.rules.judge(&key) != Some(Verdict::Admit) {
                self.server.expel(key);
                let whose = old.petname(&key);
                let whose = whose.map_or(String::new(), |name| format!(" of {name}"));
                self.display.say(&format!(
                    "A key{whose} is not let in any more, and a conversation with it ends: {key}."
                ));
            }
        }
        Some(self.questions.judge_again(|key| self.rules.judge(key)))
    }

    fn partner(&self, talk: &Talk) -> Partner {
        let key = talk.peer.key();
        Partner {
            key,
            petname: self.rules.petname(&key),
            address: self.callers.address(talk.conversation),
            role: Role::Server,
            conversation: talk.conversation,
            is_resumed: talk.is_resumed,
        }
    }
}

/// What a server that holds no conversation exits with.
fn exit_for(stop: Stop) -> Exit {
    match stop {
        Stop::Interrupt => Exit::Interrupted,
        Stop::HangUp => Exit::HungUp,
        Stop::Terminate => Exit::Success,
    }
}

async fn next_event(events: &mut Option<ServerEvents>) -> Option<ServerEvent> {
    events.as_mut()?.next().await
}
