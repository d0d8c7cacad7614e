//! The log: text or JSON lines, to standard output, standard error or a file; `RUST_LOG`.
//!
//! Owns the process's one `log::Log`. It knows nothing of who logs what. Invariants: one record is one line and
//! one write, whatever its message holds; a line that cannot be written is counted and never a panic.

mod record;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use env_filter::Filter;
use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};

use crate::config::{LogFormat, LogOutput, Logging};
use record::{JsonLine, TextLine};

/// Lines that could not be written since the start of the process.
static LOST_LINES: AtomicU64 = AtomicU64::new(0);

/// Why logging cannot begin.
#[derive(Debug)]
pub enum LogError {
    /// The file cannot be opened for appending.
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process has a logger already.
    AlreadyBegun,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable { file, source } => {
                write!(f, "cannot write the log to {}: {source}", file.display())
            }
            Self::AlreadyBegun => f.write_str("the process has a logger already"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unwritable { source, .. } => Some(source),
            Self::AlreadyBegun => None,
        }
    }
}

/// Begins to log, for the rest of the process. `RUST_LOG`, when set, overrides the level; when it cannot be
/// understood, that is logged once and the configured level stays.
///
/// # Errors
/// When the log file cannot be opened, or when logging has begun before.
pub fn init(logging: &Logging) -> Result<(), LogError> {
    let out: Box<dyn Write + Send> = match &logging.output {
        LogOutput::Stdout => Box::new(io::stdout()),
        LogOutput::Stderr => Box::new(io::stderr()),
        LogOutput::File(file) => match OpenOptions::new().create(true).append(true).open(file) {
            Ok(opened) => Box::new(opened),
            Err(source) => {
                return Err(LogError::Unwritable {
                    file: file.clone(),
                    source,
                });
            }
        },
    };
    let (filter, complaint) = filter(logging.level, std::env::var_os("RUST_LOG").as_deref());
    let most_verbose = filter.filter();
    log::set_boxed_logger(Box::new(Logger::new(logging.format, filter, out)))
        .map_err(|_| LogError::AlreadyBegun)?;
    log::set_max_level(most_verbose);
    if let Some(complaint) = complaint {
        // At the severest level, so that it is seen at every configured one.
        log::error!("RUST_LOG is ignored: {complaint}");
    }
    Ok(())
}

/// Lines that could not be written (full disk, closed pipe) since the start of the process.
pub fn lost_lines() -> u64 {
    LOST_LINES.load(Ordering::Relaxed)
}

/// What is logged: by `RUST_LOG` if it is set and can be understood, else by the configured level. An empty
/// `RUST_LOG` counts as not set.
fn filter(level: LevelFilter, rust_log: Option<&OsStr>) -> (Filter, Option<String>) {
    let configured = || env_filter::Builder::new().filter_level(level).build();
    let Some(directives) = rust_log.filter(|directives| !directives.is_empty()) else {
        return (configured(), None);
    };
    let Some(text) = directives.to_str() else {
        return (configured(), Some("it is not UTF-8".to_owned()));
    };
    match env_filter::Builder::new().try_parse(text) {
        Ok(builder) => (builder.build(), None),
        Err(error) => (configured(), Some(error.to_string())),
    }
}

/// The process's logger.
struct Logger {
    filter: Filter,
    form: Form,
}

enum Form {
    Text(Box<WriteLogger<Lines>>),
    Json(Mutex<Lines>),
}

impl Logger {
    fn new(format: LogFormat, filter: Filter, out: Box<dyn Write + Send>) -> Self {
        let form = match format {
            LogFormat::Text => {
                // Time stands before the line (`Lines`), fields behind it (`TextLine`): simplelog has the middle.
                let config = ConfigBuilder::new()
                    .set_time_level(LevelFilter::Off)
                    .set_thread_level(LevelFilter::Off)
                    .set_location_level(LevelFilter::Off)
                    .set_target_level(LevelFilter::Error)
                    .build();
                let lines = Lines::new(out, Some(record::write_time));
                Form::Text(WriteLogger::new(LevelFilter::Trace, config, lines))
            }
            LogFormat::Json => Form::Json(Mutex::new(Lines::new(out, None))),
        };
        Self { filter, form }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        match &self.form {
            Form::Text(logger) => logger.log(
                &Record::builder()
                    .metadata(record.metadata().clone())
                    .args(format_args!("{}", TextLine(record)))
                    .build(),
            ),
            Form::Json(lines) => {
                let Ok(mut line) = serde_json::to_vec(&JsonLine(record)) else {
                    LOST_LINES.fetch_add(1, Ordering::Relaxed);
                    return;
                };
                line.push(b'\n');
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(&line);
            }
        }
    }

    fn flush(&self) {
        // Each line is flushed as it ends.
    }
}

/// Writes whole lines, each in one call, and swallows errors: a log has nobody to tell them to.
struct Lines {
    out: Box<dyn Write + Send>,
    /// What begins each line.
    head: Option<fn(&mut Vec<u8>)>,
    /// The line so far.
    line: Vec<u8>,
    /// Whether the last write failed and may have left part of a line.
    torn: bool,
}

impl Lines {
    fn new(out: Box<dyn Write + Send>, head: Option<fn(&mut Vec<u8>)>) -> Self {
        Self {
            out,
            head,
            line: Vec::new(),
            torn: false,
        }
    }

    /// Takes part of a line; what ends with a line feed ends the line.
    fn push(&mut self, part: &[u8]) {
        if self.line.is_empty() {
            if self.torn {
                self.line.push(b'\n');
            }
            if let Some(head) = self.head {
                head(&mut self.line);
            }
        }
        self.line.extend_from_slice(part);
        if !part.ends_with(b"\n") {
            return;
        }
        let written = self.out.write_all(&self.line).and_then(|()| self.out.flush());
        self.torn = written.is_err();
        if self.torn {
            LOST_LINES.fetch_add(1, Ordering::Relaxed);
        }
        self.line.clear();
    }
}

impl Write for Lines {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.push(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
