//! The log: text or JSON lines, to standard output, standard error or a file; `RUST_LOG`.
//!
//! Owns the process's one `log::Log`, and what is changed in it while it runs: level, format, output. It knows
//! nothing of who logs what. Invariants: one record is one line, whatever its message holds; whoever logs never
//! waits for the output ([`queue`]); a line that cannot be written is counted and never a panic; no line is lost,
//! written twice or in another format than its output's because the logger was changed.

mod error;
mod lines;
mod logger;
mod output;
mod queue;
mod record;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use log::LevelFilter;

use crate::config::Logging;
pub use error::LogError;
pub use lines::{Lines, flush_lines, lost_access_lines, reopen_lines};
use logger::Logger;
pub use logger::filter;
use queue::LOST_LINES;

/// The process's logger, once it has begun.
static LOGGER: OnceLock<&'static Logger> = OnceLock::new();

/// Begins to log, for the rest of the process. `RUST_LOG`, when set, overrides the level; when it cannot be
/// understood, that is logged once and the configured level stays.
///
/// # Errors
/// When the log file cannot be opened, the system gives no thread, or logging has begun before.
pub fn init(logging: &Logging) -> Result<(), LogError> {
    let rust_log = rust_log();
    let out = output::open(&logging.output)?;
    let logger = Logger::new(logging, rust_log.as_deref(), out).map_err(LogError::NoThread)?;
    // It lives as long as the process, as the one that `log` keeps does.
    let logger: &'static Logger = Box::leak(Box::new(logger));
    log::set_logger(logger).map_err(|_| LogError::AlreadyBegun)?;
    log::set_max_level(logger.most_verbose());
    let first = LOGGER.set(logger);
    debug_assert!(first.is_ok(), "`log` takes one logger only");
    if let Some(complaint) = filter(logging.level, rust_log.as_deref()).1 {
        // At the severest level, so that it is seen at every configured one.
        log::error!("RUST_LOG is ignored: {complaint}");
    }
    Ok(())
}

/// Opens the log file by its name again, because whoever rotates it has renamed it. What was logged before goes to the
/// file it was, or to the new one; nothing is lost. A file that cannot be opened is logged, and the old one goes on.
/// Does nothing where the log is no file, or has not begun.
pub fn reopen() {
    if let Some(logger) = LOGGER.get()
        && let Err(error) = logger.reopen()
    {
        log::error!("the log goes on in the file that it had: {error}");
    }
}

/// Another way of logging, of which nothing can be refused any more. Dropping it leaves all as it is.
pub struct Change<'a> {
    logger: &'static Logger,
    logging: &'a Logging,
    opened: Option<output::Output>,
}

/// Opens what `logging` names, a log file in any case, without using it yet.
///
/// # Errors
/// When the log file cannot be opened, or logging has not begun.
pub fn prepare(logging: &Logging) -> Result<Change<'_>, LogError> {
    let logger = LOGGER.get().ok_or(LogError::NotBegun)?;
    Ok(Change {
        logger,
        logging,
        opened: logger.prepare(logging)?,
    })
}

impl Change<'_> {
    /// Has every line that is logged from now on follow it; `RUST_LOG` still overrides the level.
    pub fn make(self) {
        self.logger
            .adopt(self.logging, rust_log().as_deref(), self.opened);
        log::set_max_level(self.logger.most_verbose());
    }
}

/// Has every line from now on follow this level, whatever the configuration and `RUST_LOG` say; a reload that changes the
/// log ends that. Does nothing where logging has not begun.
pub fn set_level(level: LevelFilter) {
    if let Some(logger) = LOGGER.get() {
        logger.set_level(level);
        log::set_max_level(logger.most_verbose());
    }
}

/// Lines that could not be written (full disk, closed pipe, output that takes nothing) since the start of the
/// process.
pub fn lost_lines() -> u64 {
    LOST_LINES.load(Ordering::Relaxed)
}

fn rust_log() -> Option<OsString> {
    std::env::var_os("RUST_LOG")
}
