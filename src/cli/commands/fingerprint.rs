//! `turnchat fingerprint`: prints the fingerprint of a certificate.

use super::stdout::print;
use crate::cli::args::FingerprintArgs;
use crate::cli::home::{Home, certificate_key};
use crate::cli::proposal::yours;
use crate::cli::report::{Exit, Report};
use crate::trust::Identity;

/// Prints a fingerprint.
///
/// # Errors
/// There is no such certificate or identity, or stdout cannot be written.
pub fn run(command: &FingerprintArgs, home: &Home) -> Result<(), Report> {
    let files = (&command.identity.cert, &command.identity.key);
    let key = match (&command.certificate, files) {
        (Some(path), _) => certificate_key(path)?,
        (None, (Some(cert), Some(key))) => Identity::load(cert, key)
            .map_err(|error| Report::from(&error))?
            .key_id(),
        (None, _) => Identity::load_from(home.path())
            .map_err(|error| Report::from(&error))?
            .ok_or_else(|| no_key(home))?
            .key_id(),
    };
    print("The fingerprint", &key.to_string())
}

fn no_key(home: &Home) -> Report {
    Report::new(
        Exit::Failure,
        format!("You have no key yet in {}.", home.path().display()),
        format!("Make one with {}.", yours("gen-cert")),
    )
}
