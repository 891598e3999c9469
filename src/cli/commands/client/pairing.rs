//! A client pairs: it learns the key of a server whose user has read it three words.

use crate::cli::book::{AddressBook, Entry, Expected, Petname, Target};
use crate::cli::display::Display;
use crate::cli::home::Home;
use crate::cli::proposal::theirs;
use crate::cli::report::{Exit, Report};
use crate::cli::route::Route;
use crate::cli::speaker::{Answer, Left, Speaker};
use crate::link::{PairingClient, PairingError};
use crate::protocol::PairReason;
use crate::trust::{Identity, KeyId, PairingCode};

/// How often one client may try (PAIRING 6.2).
const TRIES: u32 = 3;

/// Pairs with the server at `target`, and stores its key under `name`, unless it is known
/// already. The key.
///
/// # Errors
/// Both have not paired, or the key is not stored.
pub(super) async fn pair(
    identity: &Identity,
    target: &Target,
    route: &Route,
    name: &Petname,
    home: &Home,
    display: &Display,
    speaker: &mut impl Speaker,
) -> Result<KeyId, Report> {
    let host = target.address.to_string();
    let mut client = PairingClient::new(identity);
    if target.expected != Expected::Unknown {
        client = client.expecting(target.expected.acceptable().to_vec());
    }
    display.say(&format!(
        "Ask {name} for the three words that {} shows there.",
        theirs("server --pair NAME")
    ));
    for tries_left in (0..TRIES).rev() {
        let code = ask(speaker).await?;
        display.detail(&format!("Dialling {host}{route}."));
        let dialed = route.dialer(&target.address)();
        let error = match client.pair(code, dialed).await {
            Ok(paired) => {
                let key = paired.key();
                let known = store(name, key, target, home, display)?;
                speaker.paired(&key, &known)?;
                paired.close().await;
                return Ok(key);
            }
            Err(error) => error,
        };
        let report = not_paired(&error, target);
        let is_a_slip = matches!(error, PairingError::Refused(PairReason::PairingFailed));
        if !is_a_slip || !speaker.is_person() || tries_left == 0 {
            return Err(report);
        }
        display.fail(&report);
    }
    Err(Report::not_paired(&PairingError::NoTriesLeft, &host))
}

/// Asks for the code until there is one: a word that is not in the list costs no guess. May be
/// dropped at any time.
///
/// # Errors
/// Nothing is typed any more; or it is no code, where nobody can be asked again.
async fn ask(speaker: &mut impl Speaker) -> Result<PairingCode, Report> {
    loop {
        let error = match speaker.pairing_code().await? {
            Answer::Line(line) => match line.parse() {
                Ok(code) => return Ok(code),
                Err(error) => Report::no_code(error),
            },
            Answer::Left(Left::Input) => return Err(Report::no_code_given()),
            Answer::Left(Left::Terminal) => {
                return Err(Report {
                    exit: Exit::HungUp,
                    ..Report::no_code_given()
                });
            }
        };
        if !speaker.is_person() {
            return Err(error);
        }
        speaker.display().fail(&error);
    }
}

fn not_paired(error: &PairingError, target: &Target) -> Report {
    let host = target.address.to_string();
    let (Expected::Host { name, .. } | Expected::Peer { name, .. }) = &target.expected else {
        return Report::not_paired(error, &host);
    };
    let other_key = match error {
        PairingError::Connect(refused) => refused.other_key(),
        _ => None,
    };
    match other_key {
        Some(key) => Report::changed(name, &target.address, &key),
        None if error.is_not_open() => Report::paired_already(name, &host),
        None => Report::not_paired(error, &host),
    }
}

/// What the peer is called from now on.
fn store(
    name: &Petname,
    key: KeyId,
    target: &Target,
    home: &Home,
    display: &Display,
) -> Result<Petname, Report> {
    let address = target.address.clone();
    let known = AddressBook::edit(&home.book_path(), |book| {
        book.add_paired(name.clone(), key, Some(address))
    })
    .map_err(|error| Report::paired_unstored(&error))?;
    display.say(&match known == *name {
        true => format!("Paired: {key} is {name} from now on."),
        false => format!("Paired: you know {key} as {known} already."),
    });
    let book = home.book()?;
    let stored = book.get(&known).and_then(Entry::address);
    if let Some(other) = stored.filter(|stored| **stored != target.address) {
        display.say(&format!(
            "The address book has another address for {known}, {other}, and keeps it."
        ));
    }
    Ok(known)
}
