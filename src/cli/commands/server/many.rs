//! Many conversations at once, each with a program of its own.

use tokio::task::JoinSet;

use super::events::{EventReporter, Told};
use super::granted::Granted;
use super::open::{AtATime, OpenServer, exit_for, next_event, next_in};
use super::places::{Place, Places};
use crate::cli::args::ServerArgs;
use crate::cli::display::Display;
use crate::cli::home::Home;
use crate::cli::report::{Exit, Report};
use crate::cli::signals::{Program, Signals, Stop};
use crate::cli::speaker::{OneOfMany, Partner};
use crate::cli::talk::{Terms, converse};
use crate::link::{Ended, Talk};

/// So many conversations there are at once, unless `--conversations` says otherwise.
pub const CONVERSATIONS: usize = 64;

/// Runs `turnchat server` with `--exec`. `program` talks in no conversation
/// itself.
///
/// # Errors
/// What there is to say before the exit.
pub async fn run(
    command: ServerArgs,
    granted: Granted,
    home: &Home,
    display: &Display,
    program: &mut impl OneOfMany,
) -> Result<Exit, Report> {
    let mut signals = Signals::listen(Program::Server).map_err(|error| Report::signals(&error))?;
    let most = command.conversations.unwrap_or(CONVERSATIONS);
    let places = Places::new(most);
    let mut run = ManyRun {
        terms: Terms::asked(&command.talk, true)?,
        places: places.clone(),
        most,
        running: JoinSet::new(),
    };
    let many = AtATime::Many(places);
    let opened = OpenServer::open(
        &command,
        granted,
        home,
        display,
        program,
        &mut signals,
        many,
    );
    let mut open = match opened.await? {
        Ok(open) => open,
        Err(exit) => return Ok(exit),
    };
    let exit = run.serve(&mut open, program, &mut signals).await;
    open.server.close();
    // Each has heard the same signal, or is cut.
    if exit.is_err() {
        run.running.abort_all();
    }
    while let Some(over) = run.running.join_next().await {
        if let Ok(over) = over {
            over.tell(&mut open.reporter).await;
        }
    }
    open.stop(exit.is_ok(), program).await?;
    exit
}

struct ManyRun {
    terms: Terms,
    places: Places,
    most: usize,
    running: JoinSet<Over>,
}

/// What came of one conversation.
struct Over {
    /// With whom it was.
    name: String,
    outcome: Result<Exit, Report>,
    ended: Option<Ended>,
}

impl Over {
    async fn tell(self, reporter: &mut EventReporter<'_>) {
        let told = reporter.tell_of_end(&self.name, &self.outcome, self.ended.as_ref());
        match (self.ended, told) {
            (Some(ended), Told::Whole) => ended.told().await,
            (Some(ended), Told::InPart) => ended.not_told(),
            (None, _) => {}
        }
    }
}

impl ManyRun {
    async fn serve(
        &mut self,
        open: &mut OpenServer<'_>,
        program: &mut impl OneOfMany,
        signals: &mut Signals,
    ) -> Result<Exit, Report> {
        loop {
            let free = self.most - self.running.len();
            open.server.make_room(free);
            if let Some(pairing) = &mut open.pairing {
                pairing.tell(program)?;
            }
            tokio::select! {
                biased;
                stop = signals.stop() => {
                    if stop == Stop::Interrupt && !self.running.is_empty() {
                        program.interrupted();
                    }
                    return Ok(exit_for(stop));
                }
                () = open.reread.notified() => drop(open.reread_at_signal()),
                Some(event) = next_event(&mut open.events) => open.reporter.tell(&event, program)?,
                event = next_in(&mut open.pairing) => drop(open.handle_pairing(event)),
                Some(over) = self.running.join_next() => match over {
                    Ok(over) => over.tell(&mut open.reporter).await,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                talk = open.server.next(), if free > 0 => match talk {
                    Some(talk) => self.begin(talk, open, program, signals),
                    None => return Ok(Exit::Success),
                },
            }
        }
    }

    fn begin(
        &mut self,
        talk: Talk,
        open: &OpenServer<'_>,
        program: &impl OneOfMany,
        signals: &Signals,
    ) {
        let partner = open.partner(&talk);
        let terms = self.terms.of_another();
        let is_lost = terms.is_lost.subscribe();
        let place = self.places.take(partner.key, partner.conversation, is_lost);
        let hold = hold(
            talk,
            partner,
            program.one_of_many(),
            signals.clone(),
            terms,
            place,
        );
        self.running.spawn(hold);
    }
}

/// Holds one conversation, unless its place is needed while its link is lost.
async fn hold(
    talk: Talk,
    partner: Partner,
    mut program: impl OneOfMany,
    mut signals: Signals,
    mut terms: Terms,
    place: Place,
) -> Over {
    let name = partner.name();
    let ending = tokio::select! {
        ending = converse(talk, &partner, &mut program, &mut signals, &mut terms) => Some(ending),
        () = place.is_needed() => None,
    };
    let Some(ending) = ending else {
        program.finish().await;
        return Over {
            outcome: Err(Report::place_needed()),
            name,
            ended: None,
        };
    };
    let outcome = ending.exit();
    // A program that takes no end has ended.
    let _ = ending.tell(&mut program).await;
    Over {
        name,
        outcome,
        ended: ending.over,
    }
}
