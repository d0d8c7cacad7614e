//! The log: text or JSON lines, to standard output, standard error or a file; `RUST_LOG`.
//!
//! Owns the process's one `log::Log`. It knows nothing of who logs what. Invariants: one record is one line and
//! one write, whatever its message holds; a line that cannot be written is counted and never a panic.

mod record;

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use log::Level;
    use log::kv::{Source, ToValue, Value};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    /// An output that is looked at, and that fails while it is told to.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<PageState>>);

    #[derive(Default)]
    struct PageState {
        bytes: Vec<u8>,
        writes: usize,
        full: bool,
    }

    impl Write for Page {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            let mut page = self.0.lock().expect("the page");
            if page.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            page.bytes.extend_from_slice(part);
            page.writes += 1;
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("the page").bytes.clone()).expect("UTF-8")
        }
    }

    fn logger(format: LogFormat, level: LevelFilter, rust_log: Option<&str>) -> (Logger, Page) {
        let page = Page::default();
        let (filter, complaint) = filter(level, rust_log.map(OsStr::new));
        assert_eq!(complaint, None);
        (Logger::new(format, filter, Box::new(page.clone())), page)
    }

    fn say(logger: &Logger, level: Level, target: &str, message: &str, fields: &dyn Source) {
        logger.log(
            &Record::builder()
                .level(level)
                .target(target)
                .args(format_args!("{message}"))
                .key_values(&fields)
                .build(),
        );
    }

    const NO_FIELDS: [(&str, &str); 0] = [];

    #[test]
    fn text_has_time_level_target_message_and_fields() {
        let (logger, page) = logger(LogFormat::Text, LevelFilter::Info, None);
        let fields = [
            ("backend", "127.0.0.2:80".to_value()),
            ("score", 87.5_f64.to_value()),
            ("why", "two words".to_value()),
        ];
        say(
            &logger,
            Level::Info,
            "tcp_forwarder::selector",
            "switched",
            &fields,
        );
        let text = page.text();
        let (time, rest) = text.split_at("2026-01-01T00:00:00.000Z".len());
        assert!(
            humantime::parse_rfc3339(time).is_ok() && time.ends_with('Z'),
            "{text}"
        );
        assert_eq!(
            rest,
            " [INFO] tcp_forwarder::selector: switched backend=127.0.0.2:80 score=87.5 why=\"two words\"\n"
        );
        assert_eq!(page.0.lock().expect("the page").writes, 1, "one write a line");
    }

    #[test]
    fn json_has_an_object_a_line() {
        let (logger, page) = logger(LogFormat::Json, LevelFilter::Debug, None);
        let fields = [
            ("backend", "127.0.0.2:80".to_value()),
            ("bytes", 12_u64.to_value()),
            ("delta", (-3_i64).to_value()),
            ("ratio", 0.5_f64.to_value()),
            ("nan", f64::NAN.to_value()),
            ("warm", true.to_value()),
            ("nothing", Value::null()),
            ("level", "a field".to_value()),
        ];
        say(
            &logger,
            Level::Warn,
            "tcp_forwarder::pools",
            "say \"hello\"\n",
            &fields,
        );
        say(&logger, Level::Debug, "x", "second", &NO_FIELDS);
        let text = page.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let head = r#","level":"WARN","target":"tcp_forwarder::pools","message":"say \"hello\"\n","#;
        assert!(
            lines[0].starts_with(r#"{"time":""#) && lines[0].contains(head),
            "{text}"
        );
        let object: serde_json::Value = serde_json::from_str(lines[0]).expect("JSON");
        assert!(humantime::parse_rfc3339(object["time"].as_str().expect("a text")).is_ok());
        let fields = r#"{"backend":"127.0.0.2:80","bytes":12,"delta":-3,"ratio":0.5,"nan":"NaN","warm":true,"nothing":null,"level_":"a field"}"#;
        let fields: serde_json::Value = serde_json::from_str(fields).expect("JSON");
        for (name, value) in fields.as_object().expect("an object") {
            assert_eq!(&object[name], value, "{name}");
        }
        assert_eq!(object["level"], "WARN");
    }

    #[test]
    fn the_level_is_the_configured_one() {
        let (logger, page) = logger(LogFormat::Text, LevelFilter::Warn, Some(""));
        for level in Level::iter() {
            say(&logger, level, "tcp_forwarder::relay", "said", &NO_FIELDS);
        }
        assert_eq!(page.text().lines().count(), 2, "error and warn: {}", page.text());
    }

    #[test]
    fn rust_log_overrides_by_target() {
        let directives = "warn,tcp_forwarder::selector=debug/mark";
        let (logger, page) = logger(LogFormat::Text, LevelFilter::Trace, Some(directives));
        for target in ["tcp_forwarder::selector", "tcp_forwarder::relay"] {
            for level in Level::iter() {
                say(&logger, level, target, "mark", &NO_FIELDS);
                say(&logger, level, target, "other", &NO_FIELDS);
            }
        }
        let text = page.text();
        let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!(
            (count("selector"), count("relay"), count("other")),
            (4, 2, 0),
            "{text}"
        );
        assert_eq!(logger.filter.filter(), LevelFilter::Debug);
        assert!(logger.enabled(&Metadata::builder().level(Level::Warn).target("x").build()));
    }

    #[test]
    fn a_bad_rust_log_is_reported_and_changes_nothing() {
        for bad in ["tcp_forwarder=loud", "a=b=c", "info/a/b"] {
            let (filter, complaint) = filter(LevelFilter::Info, Some(OsStr::new(bad)));
            assert!(complaint.is_some(), "{bad}");
            assert_eq!(filter.filter(), LevelFilter::Info, "{bad}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            assert!(
                filter(LevelFilter::Info, Some(OsStr::from_bytes(b"\xff")))
                    .1
                    .is_some()
            );
        }
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (logger, page) = logger(format, LevelFilter::Info, None);
            let before = lost_lines();
            page.0.lock().expect("the page").full = true;
            for _ in 0..3 {
                say(&logger, Level::Info, "t", "lost", &NO_FIELDS);
            }
            assert!(lost_lines() >= before + 3);
            page.0.lock().expect("the page").full = false;
            say(&logger, Level::Info, "t", "found", &NO_FIELDS);
            let text = page.text();
            // What was written before the disk was full may have no end: the next line begins on its own.
            assert!(text.starts_with('\n') && text.contains("found"), "{text}");
            assert_eq!(text.lines().count(), 2, "{text}");
        }
    }

    proptest! {
        /// A peer may have a say in messages and fields; it must not be able to forge a line.
        #[test]
        fn a_record_is_one_line(message in any::<String>(), field in any::<String>(), key in "[a-z]{1,8}") {
            let fields = [(key.as_str(), field.to_value())];
            let (text, page) = logger(LogFormat::Text, LevelFilter::Info, None);
            say(&text, Level::Info, "t", &message, &fields);
            let line = page.text();
            prop_assert!(line.ends_with('\n'));
            prop_assert_eq!(line.chars().filter(|c| c.is_control()).count(), 1);

            let (json, page) = logger(LogFormat::Json, LevelFilter::Info, None);
            say(&json, Level::Info, "t", &message, &fields);
            let line = page.text();
            prop_assert_eq!(line.lines().count(), 1);
            let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            prop_assert_eq!(object["message"].as_str(), Some(message.as_str()));
        }
    }
}
