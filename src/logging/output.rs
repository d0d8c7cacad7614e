//! Where the log goes to: standard output, standard error, or a file that is appended to.

use std::fs::OpenOptions;
use std::io::{self, Write};

use super::error::LogError;
use crate::config::LogOutput;

/// What lines are written to.
pub(super) type Output = Box<dyn Write + Send>;

/// Opens an output; a file that is not there is made.
///
/// Appending is what makes copying and cutting a log safe (`copytruncate`): the next line goes to the end, wherever
/// that is by then.
pub(super) fn open(output: &LogOutput) -> Result<Output, LogError> {
    match output {
        LogOutput::Stdout => Ok(Box::new(io::stdout())),
        LogOutput::Stderr => Ok(Box::new(io::stderr())),
        LogOutput::File(file) => match OpenOptions::new().create(true).append(true).open(file) {
            Ok(opened) => Ok(Box::new(opened)),
            Err(source) => Err(LogError::Unwritable {
                file: file.clone(),
                source,
            }),
        },
    }
}
