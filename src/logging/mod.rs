//! The log: text or JSON lines, to standard output, standard error or a file; `RUST_LOG`.
//!
//! Owns the process's one `log::Log`. It knows nothing of who logs what. Invariants: one record is one line,
//! whatever its message holds; whoever logs never waits for the output ([`queue`]); a line that cannot be written
//! is counted and never a panic.

mod queue;
mod record;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use env_filter::Filter;
use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};

use crate::config::{LogFormat, LogOutput, Logging};
use queue::{LOST_LINES, Queue};
use record::{JsonLine, TextLine};

/// Longest wait for the output when what was logged is to be written before the process goes on.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

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
    /// The system gives no thread to write with.
    NoThread(io::Error),
    /// The process has a logger already.
    AlreadyBegun,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable { file, source } => {
                write!(f, "cannot write the log to {}: {source}", file.display())
            }
            Self::NoThread(source) => write!(f, "cannot write a log: no thread: {source}"),
            Self::AlreadyBegun => f.write_str("the process has a logger already"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unwritable { source, .. } | Self::NoThread(source) => Some(source),
            Self::AlreadyBegun => None,
        }
    }
}

/// Begins to log, for the rest of the process. `RUST_LOG`, when set, overrides the level; when it cannot be
/// understood, that is logged once and the configured level stays.
///
/// # Errors
/// When the log file cannot be opened, the system gives no thread, or logging has begun before.
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
    let logger = Logger::new(logging.format, filter, out).map_err(LogError::NoThread)?;
    log::set_boxed_logger(Box::new(logger)).map_err(|_| LogError::AlreadyBegun)?;
    log::set_max_level(most_verbose);
    if let Some(complaint) = complaint {
        // At the severest level, so that it is seen at every configured one.
        log::error!("RUST_LOG is ignored: {complaint}");
    }
    Ok(())
}

/// Lines that could not be written (full disk, closed pipe, output that takes nothing) since the start of the
/// process.
pub fn lost_lines() -> u64 {
    LOST_LINES.load(Ordering::Relaxed)
}

/// What is logged: by `RUST_LOG` if it is set and can be understood, else by the configured level. An empty
/// `RUST_LOG` counts as not set; why one is not understood is said beside the filter.
pub fn filter(level: LevelFilter, rust_log: Option<&OsStr>) -> (Filter, Option<String>) {
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
    queue: Arc<Queue>,
}

enum Form {
    Text(Box<WriteLogger<TextLines>>),
    Json,
}

impl Logger {
    fn new(format: LogFormat, filter: Filter, out: Box<dyn Write + Send>) -> io::Result<Self> {
        let queue = queue::begin(out)?;
        let form = match format {
            LogFormat::Text => {
                // Time stands before the line (`TextLines`), fields behind it (`TextLine`): simplelog has the
                // middle.
                let config = ConfigBuilder::new()
                    .set_time_level(LevelFilter::Off)
                    .set_thread_level(LevelFilter::Off)
                    .set_location_level(LevelFilter::Off)
                    .set_target_level(LevelFilter::Error)
                    .build();
                let lines = TextLines {
                    queue: Arc::clone(&queue),
                    line: Vec::new(),
                };
                Form::Text(WriteLogger::new(LevelFilter::Trace, config, lines))
            }
            LogFormat::Json => Form::Json,
        };
        Ok(Self { filter, form, queue })
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
            Form::Json => {
                let Ok(mut line) = serde_json::to_vec(&JsonLine(record)) else {
                    LOST_LINES.fetch_add(1, Ordering::Relaxed);
                    return;
                };
                line.push(b'\n');
                self.queue.push(&line);
            }
        }
    }

    /// Waits until what was logged before is written, a second at most: for the end of the process.
    fn flush(&self) {
        self.queue.flush(FLUSH_PATIENCE);
    }
}

/// Puts lines of text together from the parts in which simplelog writes them.
struct TextLines {
    queue: Arc<Queue>,
    /// The line so far.
    line: Vec<u8>,
}

impl Write for TextLines {
    /// Takes part of a line; what ends with a line feed ends the line.
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.line.is_empty() {
            record::write_time(&mut self.line);
        }
        self.line.extend_from_slice(part);
        if part.ends_with(b"\n") {
            self.queue.push(&self.line);
            self.line.clear();
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
