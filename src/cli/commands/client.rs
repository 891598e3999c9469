//! `turnchat client`: whom to expect, the dial, and the conversation.

mod callee;
mod last;
mod pairing;

use std::time::Duration;

use crate::cli::abandoned;
use crate::cli::args::ClientArgs;
use crate::cli::ask::{self, Answer, Asked};
use crate::cli::book::{
    AddressBook, BookError, Expected, KnownKey, Offer, Origin, Petname, Target,
};
use crate::cli::display::Display;
use crate::cli::ending::Ending;
use crate::cli::home::Home;
use crate::cli::report::{Exit, Report};
use crate::cli::route::Route;
use crate::cli::signals::{Program, Signals, Stop};
use crate::cli::speaker::{Intent, Left, Partner, Speaker};
use crate::cli::talk::{Terms, converse, quit_unbegun, take_unbegun, time_to_leave};
use crate::link::{Client, Ended, Notice, Talk, Waiting};
use crate::protocol::{Limits, Role};
use crate::trust::{Identity, KeyId};
use callee::Callee;
use last::Last;

/// Runs `turnchat client`.
///
/// # Errors
/// What there is to say before the exit.
pub async fn run(
    command: ClientArgs,
    home: &Home,
    display: &Display,
    speaker: &mut impl Speaker,
) -> Result<Exit, Report> {
    let mut signals = Signals::listen(Program::Client).map_err(|error| Report::signals(&error))?;
    let mut terms = Terms::asked(&command.talk, false)?;
    let Callee {
        target,
        route,
        book,
        new_name,
        identity,
    } = Callee::find(&command, home, display)?;
    speaker.begin()?;
    if let Some(name) = &target.contradicts {
        display.fail(&Report::pin_contradicts(name));
    }
    let (target, book) = match new_name.as_ref().filter(|_| command.pair) {
        Some(name) => {
            let target = pairing_target(&target, name, &book);
            let goes_on = command.talk.keeps_journal(speaker) && has_open(home, &identity, &target);
            if goes_on {
                display.say(&format!(
                    "You know {name} already, and a conversation goes on: no code is needed."
                ));
                (target, book)
            } else {
                let pairing =
                    pairing::pair(&identity, &target, &route, name, home, display, speaker);
                let key = tokio::select! {
                    key = pairing => key?,
                    stop = signals.stop() => {
                        if stop == Stop::Interrupt {
                            speaker.stopping();
                        }
                        return Ok(exit_for(stop));
                    }
                };
                (
                    Target::new(target.address, Expected::Pins(vec![key])),
                    home.book()?,
                )
            }
        }
        None => (target, book),
    };
    let mut run = ClientRun {
        identity,
        target,
        route,
        book,
        hold: command.talk.hold,
        keeps_journal: command.talk.keeps_journal(speaker),
        gives_up: command.new,
        home,
        display,
    };

    let talk = loop {
        let waiting = tokio::select! {
            waiting = run.connect(new_name.as_ref(), speaker) => waiting?,
            stop = signals.stop() => {
                if stop == Stop::Interrupt {
                    speaker.stopping();
                }
                return Ok(exit_for(stop));
            }
        };
        let name = run.petname(&waiting.peer().key(), new_name.as_ref());
        let last = Last::of(&waiting, name);
        match run.wait(waiting, speaker, &mut signals, &mut terms).await? {
            Waited::Begun(talk) => break *talk,
            Waited::Over(over) if last.is_settled_by(&over) => {
                run.target.expected = Expected::Pins(vec![last.key()]);
                last.settle(over, display, speaker).await?;
            }
            Waited::Over(over) => {
                let ending = Ending {
                    over: Some(over),
                    ..Ending::default()
                };
                return finish(ending, speaker, display).await;
            }
            Waited::Left(mut ending) => {
                if last.was_quit()
                    && let Some(over) = ending.over.take()
                {
                    last.settle(over, display, speaker).await?;
                }
                return finish(ending, speaker, display).await;
            }
        }
    };
    let partner = Partner {
        key: talk.peer.key(),
        petname: run.petname(&talk.peer.key(), new_name.as_ref()),
        address: None,
        role: Role::Client,
        conversation: talk.conversation,
        is_resumed: talk.is_resumed,
    };
    let ending = converse(talk, &partner, speaker, &mut signals, &mut terms).await;
    finish(ending, speaker, display).await
}

async fn finish(
    ending: Ending,
    speaker: &mut impl Speaker,
    display: &Display,
) -> Result<Exit, Report> {
    let stop = ending.stop;
    let exit = ending.report(speaker, display).await?;
    match stop {
        Some(stop @ (Stop::Terminate | Stop::HangUp)) => Ok(exit_for(stop)),
        _ => Ok(exit),
    }
}

fn exit_for(stop: Stop) -> Exit {
    match stop {
        Stop::Interrupt => Exit::Interrupted,
        Stop::Terminate => Exit::Terminated,
        Stop::HangUp => Exit::HungUp,
    }
}

/// What became of a client that waited for its `welcome`.
enum Waited {
    Begun(Box<Talk>),
    /// It was over before, and nobody here had ended it.
    Over(Ended),
    /// This side has left.
    Left(Ending),
}

/// One run of `turnchat client`: whom it calls, and how.
struct ClientRun<'a> {
    identity: Identity,
    target: Target,
    route: Route,
    book: AddressBook,
    hold: Duration,
    keeps_journal: bool,
    gives_up: bool,
    home: &'a Home,
    display: &'a Display,
}

impl ClientRun<'_> {
    /// Dials until there is a proven peer: once, or once more with the key
    /// that was approved.
    async fn connect(
        &mut self,
        new_name: Option<&Petname>,
        speaker: &mut impl Speaker,
    ) -> Result<Waiting, Report> {
        let offered = match self
            .dial(self.target.expected.acceptable().to_vec(), speaker)
            .await?
        {
            Ok(waiting) => return Ok(waiting),
            Err(offered) => offered,
        };
        let host = self.target.address.to_string();
        let known_as = self.known_as(&offered)?;
        let unknown = || {
            let with_accept_new = new_name.is_some();
            Report::unknown_host(&host, &offered, known_as.as_ref(), with_accept_new)
        };
        if let Some(name) = new_name {
            if known_as.is_some() {
                return Err(unknown());
            }
            let waiting = self.redial(offered, speaker).await?;
            self.store(name, offered, Origin::AcceptedNew)?;
            return Ok(waiting);
        }
        if !speaker.is_person() {
            return Err(unknown());
        }
        loop {
            let known_as = known_as.as_ref();
            let asked = ask::about_server(speaker, self.display, &host, &offered, known_as);
            let not_answered = Report::not_answered(&host);
            match asked.await? {
                Asked::Answered(Answer::Accept) => break,
                Asked::Answered(Answer::Remember(name)) => {
                    match self.store(&name, offered, Origin::Remembered) {
                        Ok(()) => break,
                        Err(report) => self.display.fail(&report),
                    }
                }
                Asked::Answered(Answer::Decline) => return Err(Report::declined(&host)),
                Asked::Answered(Answer::OtherKey) => {
                    return Err(Report::other_than_pasted(&host, &offered));
                }
                Asked::Left(Left::Input) => return Err(not_answered),
                Asked::Left(Left::Terminal) => {
                    return Err(Report {
                        exit: Exit::HungUp,
                        ..not_answered
                    });
                }
            }
        }
        self.redial(offered, speaker).await
    }

    /// A key that is not expected, and may be approved: whom it is known as, if it is known.
    ///
    /// # Errors
    /// It is not to be approved.
    fn known_as(&self, offered: &KeyId) -> Result<Option<Petname>, Report> {
        let address = &self.target.address;
        let known_as = match self.target.expected.judge(offered, &self.book) {
            Offer::Changed(name) => return Err(Report::changed(&name, address, offered)),
            Offer::NotPinned | Offer::Expected => {
                return Err(Report::not_pinned(&address.to_string(), offered));
            }
            Offer::Unknown { known_as } => known_as,
        };
        match *offered == self.identity.key_id() {
            true => Err(Report::own_key(&address.to_string())),
            false => Ok(known_as),
        }
    }

    /// One dial. `Err` is a key that is not accepted.
    async fn dial(
        &self,
        accepted: Vec<KeyId>,
        speaker: &mut impl Speaker,
    ) -> Result<Result<Waiting, KeyId>, Report> {
        let client = self.client(accepted);
        if self.gives_up {
            self.give_up(&client, speaker).await?;
        }
        self.connect_with(client).await
    }

    fn client(&self, accepted: Vec<KeyId>) -> Client {
        let limits = Limits {
            hold: self.hold,
            ..Limits::default()
        };
        let client = Client::new(&self.identity, accepted).with_limits(limits);
        match self.keeps_journal {
            true => client.with_journal(self.home.journal(&self.identity.key_id())),
            false => client,
        }
    }

    async fn connect_with(&self, client: Client) -> Result<Result<Waiting, KeyId>, Report> {
        let (address, route) = (&self.target.address, &self.route);
        self.display.detail(&format!("Dialling {address}{route}."));
        let error = match client.connect(route.dialer(address)).await {
            Ok(waiting) => return Ok(Ok(waiting)),
            Err(error) => error,
        };
        if let Some(key) = error.other_key() {
            return Ok(Err(key));
        }
        Err(Report::connect(&error, &address.to_string()))
    }

    /// Gives up what the journal holds, for `--new`.
    async fn give_up(&self, client: &Client, speaker: &mut impl Speaker) -> Result<(), Report> {
        let given_up = client.give_up(|given_up| {
            let what = "Gave up the last conversation.".to_owned();
            abandoned::tell(what, given_up, self.display, speaker)
        });
        given_up.await
    }

    async fn redial(&self, approved: KeyId, speaker: &mut impl Speaker) -> Result<Waiting, Report> {
        let host = self.target.address.to_string();
        self.dial(vec![approved], speaker)
            .await?
            .map_err(|other| Report::not_accepted(&host, &other))
    }

    fn store(&mut self, name: &Petname, key: KeyId, how: Origin) -> Result<(), Report> {
        let address = Some(self.target.address.clone());
        AddressBook::edit(&self.home.book_path(), |book| {
            book.add(name.clone(), KnownKey::now(key, how), address)
        })
        .map_err(|error: BookError| Report::from(&error))?;
        self.display.say(&format!(
            "Stored {key} as {name}; from now on only it is accepted there."
        ));
        self.book = self.home.book()?;
        Ok(())
    }

    /// Waits for `welcome`, or the end.
    async fn wait(
        &self,
        mut waiting: Waiting,
        speaker: &mut impl Speaker,
        signals: &mut Signals,
        terms: &mut Terms,
    ) -> Result<Waited, Report> {
        let mut ending = Ending::default();
        loop {
            tokio::select! {
                biased;
                stop = signals.stop() => match stop {
                    Stop::Terminate | Stop::HangUp => {
                        ending.stop = Some(stop);
                        return Ok(Waited::Left(ending));
                    }
                    Stop::Interrupt => {
                        speaker.stopping();
                        ending.stop = Some(stop);
                        break;
                    }
                },
                notice = waiting.notice() => match notice {
                    // Nothing goes on: only how it ends is news.
                    Some(notice) if waiting.is_over() => {
                        if notice == Notice::Lost {
                            speaker.leaving(time_to_leave(None));
                        }
                    }
                    Some(notice) => speaker.notice(notice)?,
                    None => return Ok(match welcomed(waiting, speaker, terms).await? {
                        Ok(talk) => Waited::Begun(Box::new(talk)),
                        Err(over) => Waited::Over(over),
                    }),
                },
                intent = speaker.idle() => {
                    match intent {
                        // It has said nothing yet, and goes on later.
                        Intent::Broken(report) => return Err(report),
                        Intent::HangUp => {
                            ending.stop = Some(Stop::HangUp);
                            return Ok(Waited::Left(ending));
                        }
                        Intent::Failed(report) => ending.failure = Some(report),
                        Intent::Quit | Intent::Message(_) => {}
                    }
                    break;
                }
            }
        }
        waiting.quit();
        if waiting.is_lost() {
            speaker.leaving(time_to_leave(ending.stop));
        }
        match welcomed(waiting, speaker, terms).await? {
            Err(over) => ending.over = Some(over),
            Ok(talk) => {
                let unbegun = quit_unbegun(talk, speaker, terms).await;
                ending.over = unbegun.over;
                ending.failure = ending.failure.or(unbegun.failure);
            }
        }
        Ok(Waited::Left(ending))
    }

    fn petname(&self, key: &KeyId, new_name: Option<&Petname>) -> Option<String> {
        let known = self.book.name_of(key).or(match &self.target.expected {
            Expected::Unknown => new_name,
            Expected::Peer { name, .. } | Expected::Host { name, .. } => Some(name),
            Expected::Pins(_) => None,
        });
        known.map(ToString::to_string)
    }
}

/// What became of a client that waited. Where no talk begins, the message that may
/// not have been seen before a restart is shown without one.
async fn welcomed(
    mut waiting: Waiting,
    speaker: &mut impl Speaker,
    terms: &mut Terms,
) -> Result<Result<Talk, Ended>, Report> {
    waiting.ready().await;
    if !waiting.is_welcomed() || waiting.is_over() {
        let unanswered = waiting.unanswered().cloned();
        take_unbegun(waiting.conversation(), unanswered, speaker, terms).await?;
        waiting.taken();
    }
    Ok(waiting.welcome().await)
}

/// Whether the journal has an open conversation with whoever is expected.
fn has_open(home: &Home, identity: &Identity, target: &Target) -> bool {
    let expected = target.expected.acceptable();
    let open = home.journal(&identity.key_id()).open_conversations();
    let mut open = open.into_iter().flatten();
    open.any(|one| one.role == Role::Client && expected.contains(&one.key))
}

/// Whom a client may pair with: of whoever is known already, the key has to be the known one.
fn pairing_target(target: &Target, name: &Petname, book: &AddressBook) -> Target {
    let expected = match (&target.expected, book.get(name)) {
        (Expected::Unknown, Some(entry)) => Expected::Peer {
            name: name.clone(),
            keys: entry.keys(),
        },
        (expected, _) => expected.clone(),
    };
    Target::new(target.address.clone(), expected)
}
