//! What is said in turn 1 without asking anybody: `--first`, or what `--first-file` holds.

use std::path::Path;

use super::args::ServerArgs;
use super::remedy::{self, Wanted};
use super::report::{Exit, Report};
use crate::protocol::Text;
use crate::trust::own_file::{self, FileError, Whose};

/// The text, if there is one. One newline at the end of a file is not part of it.
///
/// # Errors
/// The file cannot be read, or holds no message.
pub fn of(command: &ServerArgs) -> Result<Option<Text>, Report> {
    match &command.first_file {
        Some(path) => read(path).map(Some),
        None => Ok(command.first.clone()),
    }
}

fn read(path: &Path) -> Result<Text, Report> {
    let no_message = |why: &str, advice: &str| {
        let what = format!("The file {} is no message: {why}.", path.display());
        Report::new(Exit::Failure, what, advice)
    };
    let too_long = || {
        let why = format!("it has more than {} bytes", Text::MAX);
        no_message(&why, "Shorten it, or say it in several turns.")
    };
    // With CR and LF at its end.
    let bytes = match own_file::read(path, Whose::Anybodys, Text::MAX as u64 + 2) {
        Ok(bytes) => bytes,
        Err(FileError::Unusable(crate::trust::Unusable::TooLong { .. })) => return Err(too_long()),
        Err(FileError::Unusable(unusable)) => {
            return Err(no_message(
                &unusable.to_string(),
                &remedy::for_unusable(&unusable),
            ));
        }
        Err(FileError::Io(error)) => {
            return Err(Report::new(
                Exit::Failure,
                format!("The file {} cannot be read: {error}.", path.display()),
                remedy::for_named(Wanted::Read, path, &error),
            ));
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| {
        no_message(
            "it is not UTF-8",
            "Convert it, for example with `iconv -t UTF-8`.",
        )
    })?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| {
        text.strip_suffix('\r').unwrap_or(text)
    });
    Text::new(text).map_err(|_| too_long())
}
