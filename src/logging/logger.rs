//! The logger: who is heard, in which format, and how that is changed under those who log.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use env_filter::Filter;
use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};

use super::error::LogError;
use super::output::{self, Output};
use super::queue::{self, LOST_LINES, Manner, Queue};
use super::record::{self, JsonLine, TextLine};
use crate::config::{LogFormat, LogOutput, Logging};

/// Longest wait for the output when what was logged is to be written before the process goes on.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

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

/// A logger.
pub(super) struct Logger {
    /// Read-locked for as long as one line takes to be put together and queued, so that a change finds no line half
    /// way; nobody waits for an output with it.
    style: RwLock<Style>,
    /// Where lines go. Held while an output is opened, so that changes come one after the other.
    output: Mutex<LogOutput>,
    text: Box<WriteLogger<TextLines>>,
    queue: Arc<Queue>,
}

/// What may change from one line to the next.
struct Style {
    filter: Filter,
    format: LogFormat,
}

impl Style {
    fn of(logging: &Logging, rust_log: Option<&OsStr>) -> Self {
        Self {
            filter: filter(logging.level, rust_log).0,
            format: logging.format,
        }
    }
}

impl Logger {
    /// A logger that writes to `out`, which is what `logging` names as its output.
    pub(super) fn new(logging: &Logging, rust_log: Option<&OsStr>, out: Output) -> io::Result<Self> {
        let queue = queue::begin(out, Manner::of_log())?;
        // Time stands before the line (`TextLines`), fields behind it (`TextLine`): simplelog has the middle.
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
        Ok(Self {
            style: RwLock::new(Style::of(logging, rust_log)),
            output: Mutex::new(logging.output.clone()),
            text: WriteLogger::new(LevelFilter::Trace, config, lines),
            queue,
        })
    }

    /// The most verbose level that is logged anywhere.
    pub(super) fn most_verbose(&self) -> LevelFilter {
        self.style().filter.filter()
    }

    /// Opens a log file by its name again; see [`super::reopen`].
    pub(super) fn reopen(&self) -> Result<(), LogError> {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        if is_file(&output) {
            self.queue.turn_to(output::open(&output)?);
        }
        Ok(())
    }

    /// Opens what `logging` names, if that is to be opened; see [`super::prepare`].
    pub(super) fn prepare(&self, logging: &Logging) -> Result<Option<Output>, LogError> {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = *output == logging.output && !is_file(&output);
        (!stays).then(|| output::open(&logging.output)).transpose()
    }

    /// Follows `logging` from the next line on, to what was opened for that.
    pub(super) fn adopt(&self, logging: &Logging, rust_log: Option<&OsStr>, opened: Option<Output>) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.clone_from(&logging.output);
        // No line is under way now, so none can come to the new output in the old format.
        let mut style = self.style.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = opened {
            self.queue.turn_to(opened);
        }
        *style = Style::of(logging, rust_log);
    }

    /// Follows this level from the next line on, for all targets.
    pub(super) fn set_level(&self, level: LevelFilter) {
        let mut style = self.style.write().unwrap_or_else(PoisonError::into_inner);
        style.filter = filter(level, None).0;
    }

    fn style(&self) -> RwLockReadGuard<'_, Style> {
        self.style.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_file(output: &LogOutput) -> bool {
    match output {
        LogOutput::Stdout | LogOutput::Stderr => false,
        LogOutput::File(_) => true,
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.style().filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let style = self.style();
        if !style.filter.matches(record) {
            return;
        }
        match style.format {
            LogFormat::Text => self.text.log(
                &Record::builder()
                    .metadata(record.metadata().clone())
                    .args(format_args!("{}", TextLine(record)))
                    .build(),
            ),
            LogFormat::Json => {
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
