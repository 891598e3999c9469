//! [`OpenPairing`]: somebody new is waited for, who knows three words.

use std::future::pending;

use crate::cli::book::BookError;
use crate::cli::book::{AddressBook, Petname, Refusal};
use crate::cli::display::Display;
use crate::cli::home::Home;
use crate::cli::report::Report;
use crate::cli::speaker::Speaker;
use crate::link::{Confirmed, Pairing, PairingEvent, Storing};
use crate::trust::{KeyId, PairingCode};

/// A pairing, as the person at the server has it.
pub(super) struct OpenPairing<'a> {
    /// `None` once it is over.
    pairing: Option<Pairing>,
    name: &'a Petname,
    home: &'a Home,
    display: &'a Display,
    is_person: bool,
    is_expired: bool,
    has_shown_one: bool,
    /// What the speaker is to be told, once no conversation is on.
    untold: Vec<Told>,
}

/// What a speaker is told of a pairing.
enum Told {
    Code(PairingCode),
    Paired(KeyId, Petname),
    Failed(Report),
}

impl<'a> OpenPairing<'a> {
    pub(super) fn new(
        pairing: Pairing,
        name: &'a Petname,
        home: &'a Home,
        display: &'a Display,
        is_person: bool,
    ) -> Self {
        Self {
            pairing: Some(pairing),
            name,
            home,
            display,
            is_person,
            is_expired: false,
            has_shown_one: false,
            untold: Vec::new(),
        }
    }

    /// What happens in it. May be dropped at any time.
    pub(super) async fn next(&mut self) -> PairingEvent {
        loop {
            let Some(pairing) = &mut self.pairing else {
                return pending().await;
            };
            match pairing.next().await {
                Some(event) => return event,
                None => self.pairing = None,
            }
        }
    }

    /// Whether there might be another code, if the person wants one.
    pub(super) fn is_expired(&self) -> bool {
        self.is_expired
    }

    /// Another code, in place of the one that is too old.
    pub(super) fn renew(&mut self) {
        self.is_expired = false;
        if let Some(pairing) = &mut self.pairing {
            pairing.new_code();
        }
    }

    /// Tells the speaker what there is to tell.
    ///
    /// # Errors
    /// stdout is closed.
    pub(super) fn tell(&mut self, speaker: &mut impl Speaker) -> Result<(), Report> {
        for told in self.untold.drain(..) {
            match told {
                Told::Code(code) => speaker.pairing(&code)?,
                Told::Paired(key, name) => speaker.paired(&key, &name)?,
                Told::Failed(report) => speaker.pairing_failed(&report)?,
            }
        }
        Ok(())
    }

    /// Shows what has happened, and stores a key. Whoever is stored is to be told so as soon as
    /// the new address book is in force: it comes back at once.
    pub(super) fn handle(&mut self, event: PairingEvent) -> Option<Confirmed> {
        match event {
            PairingEvent::Code(code) => {
                if std::mem::replace(&mut self.has_shown_one, true) {
                    self.display.say("The code before is of no use any more.");
                }
                // There it is told on stdout alone: see `Report::code_for_a_log`.
                if !self.display.is_kept() {
                    self.display
                        .print_always(&format!("Pairing code: {}", code.spoken()));
                }
                self.display.say(&format!(
                    "Read it to {}, on the phone for example. It is good for 10 minutes.",
                    self.name
                ));
                self.untold.push(Told::Code(code));
            }
            PairingEvent::WrongGuess { key, address } => {
                let from = address.map(|address| format!(" from {address}"));
                self.fail(Report::wrong_guess(&from.unwrap_or_default(), &key));
            }
            PairingEvent::TooLate { key, address } => {
                let from = address.map(|address| format!(" from {address}"));
                self.fail(Report::late_for_pairing(&from.unwrap_or_default(), &key));
            }
            PairingEvent::Confirmed(peer) => return self.store(peer),
            PairingEvent::Expired => {
                self.is_expired = true;
                match self.is_person {
                    true => self.display.say("The pairing code is too old now."),
                    false => self.fail(Report::pairing_expired()),
                }
            }
            _ => self.fail(Report::pairing_exhausted()),
        }
        None
    }

    fn fail(&mut self, report: Report) {
        self.display.fail(&report);
        self.untold.push(Told::Failed(report));
    }

    fn store(&mut self, peer: Confirmed) -> Option<Confirmed> {
        let key = peer.key;
        let stored = AddressBook::edit(&self.home.book_path(), |book| {
            book.add_paired(self.name.clone(), key, None)
        });
        match stored {
            Ok(name) => {
                self.display.say(&match name == *self.name {
                    true => format!("Paired: {key} is {name} from now on."),
                    false => format!("Paired: you know {key} as {name} already."),
                });
                self.untold.push(Told::Paired(key, name));
                Some(peer)
            }
            Err(BookError::Refused(Refusal::NameTaken(name))) => {
                peer.answer(Storing::Declined);
                self.fail(Report::pairing_declined(&name, &key));
                None
            }
            Err(error) => {
                peer.answer(Storing::Failed);
                self.fail(Report::from(&error));
                None
            }
        }
    }
}
