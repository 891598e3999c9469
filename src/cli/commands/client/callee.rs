//! [`Callee`]: whom a client calls, from its arguments and the address book.

use crate::cli::args::ClientArgs;
use crate::cli::book::{AddressBook, Expected, Petname, Target, TargetError};
use crate::cli::display::Display;
use crate::cli::home::{Home, resolve_keys};
use crate::cli::own_addresses::lacks_zone;
use crate::cli::proposal::{self, yours};
use crate::cli::report::{Exit, Report};
use crate::cli::route::Route;
use crate::trust::Identity;

/// Whom a client calls, and as whom.
pub(super) struct Callee {
    pub(super) target: Target,
    pub(super) route: Route,
    pub(super) book: AddressBook,
    /// What its key is stored as, if it is new.
    pub(super) new_name: Option<Petname>,
    pub(super) identity: Identity,
}

impl Callee {
    /// As the command line and the address book say.
    ///
    /// # Errors
    /// They name nobody, or the identity cannot be used.
    pub(super) fn find(
        command: &ClientArgs,
        home: &Home,
        display: &Display,
    ) -> Result<Self, Report> {
        let book = home.book()?;
        let pins = resolve_keys(&command.pin, &AddressBook::default())?;
        let target = Target::resolve(&command.peer, pins, &book)
            .map_err(|error| no_target(&error, &command.peer, &book, home))?;
        let route = Route::through(command.proxy.clone());
        let host = target.address.host();
        match lacks_zone(host) {
            // A zone is an interface of this machine.
            is_on_link if route.is_proxied() && (is_on_link || host.contains('%')) => {
                return Err(Report::zone_through_proxy(host));
            }
            true => return Err(Report::no_zone(host)),
            false => {}
        }
        let new_name = match command.accept_new || command.pair {
            true => Some(name_for(command, &target, &book)?),
            false => None,
        };
        Ok(Self {
            target,
            route,
            book,
            new_name,
            identity: home.identity(&command.talk.identity, display)?,
        })
    }
}

/// What a new key is stored as.
fn name_for(command: &ClientArgs, target: &Target, book: &AddressBook) -> Result<Petname, Report> {
    let known = match &target.expected {
        Expected::Peer { name, .. } | Expected::Host { name, .. } => Some(name),
        Expected::Unknown | Expected::Pins(_) => None,
    };
    let name = match command.name.as_ref().or(known) {
        Some(name) => name.clone(),
        None => target.address.host().parse().map_err(|_| {
            Report::new(
                Exit::Usage,
                format!(
                    "{} cannot be a name in the address book.",
                    target.address.host()
                ),
                "Choose a name with `--as NAME`.",
            )
        })?,
    };
    match (&target.expected, book.get(&name)) {
        // It may have been paired with by half: then its key has to be the same.
        _ if command.pair => Ok(name),
        (Expected::Unknown, Some(_)) => Err(Report::new(
            Exit::Usage,
            format!("The name {name} is in the address book already."),
            format!(
                "Choose another with `--as NAME`; see {}.",
                yours("peers list")
            ),
        )),
        _ => Ok(name),
    }
}

fn no_target(error: &TargetError, argument: &str, book: &AddressBook, home: &Home) -> Report {
    match error {
        TargetError::NoAddress(name) => {
            let known = book.get(name).and_then(|entry| entry.known_keys().first());
            let pin = known.map_or(String::new(), |known| format!(" --pin {}", known.key));
            Report::new(
                Exit::Usage,
                format!("The address book does not say where to reach {name}."),
                format!(
                    "Dial its host with {}, or write `address = \"HOST:PORT\"` below `[{name}]` in {}.",
                    proposal::client(&format!("HOST{pin}")),
                    home.book_path().display()
                ),
            )
        }
        _ => Report::new(
            Exit::Usage,
            format!("`{argument}` is neither a name in the address book nor a host."),
            format!(
                "Give HOST, HOST:PORT or [IPv6]:PORT; see {} for names.",
                yours("peers list")
            ),
        ),
    }
}
