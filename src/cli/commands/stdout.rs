//! The output of the commands that hold no conversation.

use std::io;

use crate::cli::display::write_out;
use crate::cli::report::Report;

/// Prints lines that are `what`, such as `The list`. A reader that has left wants no more of
/// them: that is no failure, and nothing is said.
///
/// # Errors
/// stdout cannot be written.
pub(super) fn print(what: &str, lines: &str) -> Result<(), Report> {
    match write_out(&format!("{lines}\n")) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Report::output(what, &error))
        }
        _ => Ok(()),
    }
}
