//! `turnchat gen-cert`: makes a key and a certificate, or renews the certificate.

use super::stdout::print;
use crate::cli::args::GenCertArgs;
use crate::cli::display::Display;
use crate::cli::home::Home;
use crate::cli::report::Report;
use crate::trust::Identity;

/// Makes an identity, or a new certificate for its key; prints the fingerprint.
///
/// # Errors
/// There is an identity already, or it cannot be written.
pub fn run(command: &GenCertArgs, home: &Home, display: &Display) -> Result<(), Report> {
    let dir = command.out.as_deref().unwrap_or(home.path());
    let identity = match command.renew {
        true => Identity::renew(dir),
        false => Identity::create(dir, command.algorithm),
    };
    let identity = identity.map_err(|error| Report::from(&error))?;
    display.say(&format!(
        "{} cert.pem in {}. Hand out cert.pem, or the fingerprint; key.pem stays with you.",
        if command.renew {
            "Renewed"
        } else {
            "Made key.pem and"
        },
        dir.display()
    ));
    print("The fingerprint", &identity.key_id().to_string())
}
