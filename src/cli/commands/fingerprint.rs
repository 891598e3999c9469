//! `turnchat fingerprint`: prints the fingerprint of a certificate.

use super::stdout::print;
use crate::cli::args::FingerprintArgs;
use crate::cli::home::{Home, certificate_key};
use crate::cli::report::{Exit, Report};
use crate::trust::{Identity, IdentityError, KeyId};

/// Prints a fingerprint.
///
/// # Errors
/// There is no such certificate or identity.
pub fn run(command: &FingerprintArgs, home: &Home) -> Result<(), Report> {
    let key = match (
        &command.certificate,
        &command.identity.cert,
        &command.identity.key,
    ) {
        (Some(path), ..) => certificate_key(path)?,
        (None, Some(cert), Some(key)) => loaded(Identity::load(cert, key).map(Some))?,
        (None, ..) => loaded(Identity::load_from(home.path()))?,
    };
    print(&key.to_string())
}

fn loaded(identity: Result<Option<Identity>, IdentityError>) -> Result<KeyId, Report> {
    match identity {
        Ok(Some(identity)) => Ok(identity.key_id()),
        Ok(None) => Err(Report::new(
            Exit::Failure,
            "You have no key yet.",
            "Make one with `turnchat gen-cert`.",
        )),
        Err(error) => Err(Report::from(&error)),
    }
}
