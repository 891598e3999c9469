//! The output of the commands that hold no conversation.

use std::io::{self, Write as _};

use crate::cli::report::Report;

/// Prints one line.
///
/// # Errors
/// stdout is closed.
pub(super) fn print(line: &str) -> Result<(), Report> {
    writeln!(io::stdout(), "{line}").map_err(|error| Report::stdout(&error))
}
