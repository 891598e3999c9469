//! [`OpenServer`]: a server that listens, and knows whom it lets in; what it holds with them is
//! for [`super::one`] and [`super::many`].

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::callers::Callers;
use super::events::EventReporter;
use super::granted::Granted;
use super::listen::{announce, listen};
use super::pairing::OpenPairing;
use super::places::Places;
use super::questions::Questions;
use super::rules::{Rules, SharedRules};
use super::store;
use crate::cli::args::ServerArgs;
use crate::cli::book::{AddressBook, BookError, KnownKey, Origin, Petname};
use crate::cli::display::Display;
use crate::cli::home::Home;
use crate::cli::proposal::yours;
use crate::cli::report::{Exit, Report};
use crate::cli::service_manager;
use crate::cli::signals::{Signals, Stop};
use crate::cli::speaker::{Partner, Speaker};
use crate::link::{
    Candidate, PairingEvent, Server, ServerBuilder, ServerEvent, ServerEvents, Storing, Talk,
    Verdict, tcp,
};
use crate::protocol::{Limits, Reason, Role};
use crate::trust::{Identity, KeyId};

/// A server that listens.
pub(super) struct OpenServer<'a> {
    pub(super) server: Server,
    pub(super) events: Option<ServerEvents>,
    pub(super) rules: SharedRules,
    pub(super) questions: Questions,
    pub(super) pairing: Option<OpenPairing<'a>>,
    pub(super) reporter: EventReporter<'a>,
    pub(super) command: &'a ServerArgs,
    pub(super) home: &'a Home,
    pub(super) display: &'a Display,
    identity: Identity,
    /// The address book and the certificate are to be read again.
    pub(super) reread: Arc<Notify>,
    callers: Callers,
}

/// How many conversations a server has at a time.
pub(super) enum AtATime {
    /// One of each peer, and one of all.
    One,
    /// As many as have a place, and of each peer several.
    Many(Places),
}

/// What a server needs before anybody speaks on it.
struct Opening<'a> {
    command: &'a ServerArgs,
    home: &'a Home,
    display: &'a Display,
    rules: Rules,
    identity: Identity,
    listener: TcpListener,
    limits: Limits,
}

impl<'a> Opening<'a> {
    /// Begins to listen. `Ok(Err(_))`: it was stopped before.
    async fn listen(
        command: &'a ServerArgs,
        granted: Granted,
        home: &'a Home,
        display: &'a Display,
        signals: &mut Signals,
    ) -> Result<Result<Self, Exit>, Report> {
        // A program that talks is not told of a pairing.
        let is_told = command.talk.json && command.talk.exec.is_none();
        if command.pair.is_some() && display.is_kept() && !is_told {
            return Err(Report::code_for_a_log());
        }
        let rules = Rules::read(command, home)?;
        let identity = home.identity(&command.talk.identity, display)?;
        let listener = tokio::select! {
            listener = listen(granted.socket, &command.listen) => listener?,
            stop = signals.stop() => return Ok(Err(exit_for(stop))),
        };
        Ok(Ok(Self {
            command,
            home,
            display,
            rules,
            identity,
            listener,
            limits: Limits {
                hold: command.talk.hold,
                ..granted.limits
            },
        }))
    }

    /// Lets peers in.
    async fn start(
        self,
        is_person: bool,
        keeps_journal: bool,
        at_a_time: AtATime,
        reread: Arc<Notify>,
    ) -> Result<OpenServer<'a>, Report> {
        let Self {
            command,
            home,
            display,
            rules,
            identity,
            listener,
            limits,
        } = self;
        if rules.admit_nobody() && !is_person && command.pair.is_none() {
            display.say(&format!(
                "The address book is empty: everybody is refused. Add a peer with {}, or give its key with `--allow`.",
                yours("peers add NAME KEY")
            ));
        }
        let own = identity.key_id();
        let rules = SharedRules::new(rules, own);
        let questions = Questions::default();
        let callers = Callers::default();
        let (judging, asking, noting) = (rules.clone(), questions.clone(), callers.clone());
        let places = match at_a_time {
            AtATime::One => None,
            AtATime::Many(places) => Some(places),
        };
        let has_many = places.is_some();
        let admit = move |candidate: Candidate| {
            noting.note(&candidate);
            let (verdict, asking) = (judging.judge(&candidate.key), asking.clone());
            let verdict = match (verdict, &places) {
                (Some(Verdict::Admit), Some(places)) => Some(places.judge(&candidate)),
                (verdict, _) => verdict,
            };
            async move {
                match verdict {
                    Some(verdict) => verdict,
                    None if is_person => asking.about(candidate).await,
                    None => Verdict::Refuse(Reason::UnknownPeer),
                }
            }
        };
        let mut builder = ServerBuilder::new(&identity, admit).with_limits(limits);
        if has_many {
            builder = builder.many_at_a_time();
        }
        builder = store::keep(builder, command, keeps_journal, home, &own, display).await?;
        let starting = builder.start(tcp::acceptor(listener));
        let mut server = starting.await.map_err(|error| Report::from(&error))?;
        let open = |name| OpenPairing::new(server.pair(), name, home, display, is_person);
        let pairing = command.pair.as_ref().map(open);
        Ok(OpenServer {
            events: server.events(),
            server,
            reporter: EventReporter::new(command, home, display, rules.clone()),
            rules,
            questions,
            callers,
            pairing,
            command,
            home,
            display,
            identity,
            reread,
        })
    }
}

impl<'a> OpenServer<'a> {
    /// Begins to listen, and lets peers in. `Ok(Err(_))`: it was stopped before.
    ///
    /// # Errors
    /// It cannot.
    pub(super) async fn open(
        command: &'a ServerArgs,
        granted: Granted,
        home: &'a Home,
        display: &'a Display,
        speaker: &mut impl Speaker,
        signals: &mut Signals,
        at_a_time: AtATime,
    ) -> Result<Result<Self, Exit>, Report> {
        store::check(command)?;
        let opening = Opening::listen(command, granted, home, display, signals).await?;
        let opening = match opening {
            Ok(opening) => opening,
            Err(exit) => return Ok(Err(exit)),
        };
        speaker.begin()?;
        let address = opening.listener.local_addr();
        let address = address.map_err(|error| Report::listen("the address", &error))?;
        let keeps_journal = command.talk.keeps_journal(speaker);
        let started = opening.start(
            speaker.is_person(),
            keeps_journal,
            at_a_time,
            signals.reread(),
        );
        let open = started.await?;
        // Only now it is true.
        let own = open.identity.key_id();
        announce(address, &own, command.pair.is_some(), display);
        speaker.listening(&address.to_string(), &own)?;
        service_manager::tell_ready();
        Ok(Ok(open))
    }

    /// Stops it, and tells of what that ends, unless nobody can be told any more.
    ///
    /// # Errors
    /// stdout is closed.
    pub(super) async fn stop(
        self,
        is_told: bool,
        speaker: &mut impl Speaker,
    ) -> Result<(), Report> {
        service_manager::tell_stopping();
        let (events, mut reporter) = (self.events, self.reporter);
        self.server.stop().await;
        // What was told counts as told once the next one is asked for.
        let mut events = events.filter(|_| is_told);
        while let Some(event) = next_event(&mut events).await {
            reporter.tell_last(&event, speaker)?;
        }
        Ok(())
    }

    /// Whom nobody has to be asked about any more.
    pub(super) fn handle_pairing(&mut self, event: PairingEvent) -> Vec<KeyId> {
        let stored = self
            .pairing
            .as_mut()
            .and_then(|pairing| pairing.handle(event));
        let Some(peer) = stored else {
            return Vec::new();
        };
        let settled = self.reread_book().unwrap_or_default();
        peer.answer(Storing::Stored);
        settled
    }

    /// Stores a key that somebody is asked about, which lets it in.
    pub(super) fn remember(&self, name: &Petname, key: KeyId) -> Result<(), Report> {
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

    /// The book may have been edited, and the certificate renewed.
    pub(super) fn reread_at_signal(&self) -> Vec<KeyId> {
        service_manager::tell_reloading();
        let certificate = self.reread_certificate();
        let settled = self.reread_book();
        match (&certificate, &settled) {
            (Ok(()), Some(_)) => self
                .display
                .say("Read the address book and the certificate again."),
            (Err(_), Some(_)) => self.display.say("Read the address book again."),
            (_, None) => {}
        }
        if let Err(report) = certificate {
            self.display.fail(&report);
        }
        service_manager::tell_ready();
        settled.unwrap_or_default()
    }

    fn reread_certificate(&self) -> Result<(), Report> {
        let files = &self.command.talk.identity;
        let newer = self.home.identity_there(files)?;
        let newer = newer.ok_or_else(|| Report::identity_gone(self.home.path()))?;
        match self.identity.take_certificate(&newer) {
            true => Ok(()),
            false => Err(Report::other_identity(
                &newer.key_id(),
                &self.identity.key_id(),
            )),
        }
    }

    /// Reads the address book again; one that is damaged or gone changes nothing. Gives those whom nobody
    /// has to be asked about any more.
    fn reread_book(&self) -> Option<Vec<KeyId>> {
        let rules = match self.rules.reread(self.command, self.home, self.display) {
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

    /// With whom this is.
    pub(super) fn partner(&self, talk: &Talk) -> Partner {
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
pub(super) fn exit_for(stop: Stop) -> Exit {
    match stop {
        Stop::Interrupt => Exit::Interrupted,
        Stop::HangUp => Exit::HungUp,
        Stop::Terminate => Exit::Success,
    }
}

/// What happens in the pairing, if one is open. May be dropped at any time.
pub(super) async fn next_in(pairing: &mut Option<OpenPairing<'_>>) -> PairingEvent {
    match pairing {
        Some(pairing) => pairing.next().await,
        None => std::future::pending().await,
    }
}

/// What happens to others. May be dropped at any time.
pub(super) async fn next_event(events: &mut Option<ServerEvents>) -> Option<ServerEvent> {
    events.as_mut()?.next().await
}
