//! `turnchat server`: one conversation after another, or many at once.

mod callers;
#[cfg(feature = "etcd")]
mod etcd;
mod events;
pub mod granted;
mod listen;
pub mod many;
mod one;
mod open;
mod pairing;
mod places;
mod prompt;
mod questions;
mod rules;
mod store;

use crate::cli::args::ServerArgs;
use crate::cli::display::Display;
use crate::cli::home::Home;
use crate::cli::report::{Exit, Report};
use crate::cli::signals::{Program, Signals};
use crate::cli::speaker::Speaker;
use crate::cli::talk::Terms;
use granted::Granted;
use one::ServerRun;
use open::{AtATime, OpenServer};

/// Runs `turnchat server`.
///
/// # Errors
/// What there is to say before the exit.
pub async fn run(
    command: ServerArgs,
    granted: Granted,
    home: &Home,
    display: &Display,
    speaker: &mut impl Speaker,
) -> Result<Exit, Report> {
    let mut signals = Signals::listen(Program::Server).map_err(|error| Report::signals(&error))?;
    let terms = Terms::asked(&command.talk, false)?;
    let opened = OpenServer::open(
        &command,
        granted,
        home,
        display,
        speaker,
        &mut signals,
        AtATime::One,
    );
    let mut run = match opened.await? {
        Ok(open) => ServerRun::new(open, terms),
        Err(exit) => return Ok(exit),
    };
    let exit = run.serve(speaker, &mut signals).await;
    run.stop(exit.is_ok(), speaker).await?;
    exit
}
