//! Where the log goes to: standard output, standard error, or a file that is appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

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
        LogOutput::File(file) => match append_to(file) {
            Ok(opened) => Ok(Box::new(opened)),
            Err(source) => Err(LogError::Unwritable {
                file: file.clone(),
                source,
            }),
        },
    }
}

/// Opens a file to append to. What nobody reads, such as a pipe, is an error and no wait: a reload is not to hang in it.
#[cfg(unix)]
fn append_to(file: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use rustix::io::Errno;

    let mut options = OpenOptions::new();
    options.create(true).append(true);
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let opened = options.open(file).map_err(|error| {
        if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) {
            io::Error::new(error.kind(), "it is a pipe that nobody reads")
        } else {
            error
        }
    })?;
    // The thread that writes may wait; nobody waits for that.
    fcntl_setfl(&opened, fcntl_getfl(&opened)? - OFlags::NONBLOCK)?;
    Ok(opened)
}

/// Opens a file to append to.
#[cfg(not(unix))]
fn append_to(file: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(file)
}
