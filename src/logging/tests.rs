//! What a line looks like, what is filtered, and what a failing output costs.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, mpsc};

use super::*;
use crate::config::{LogFormat, LogOutput};
use log::kv::{Source, ToValue, Value};
use log::{Level, LevelFilter, Log, Metadata, Record};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

mod changes;

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
    let rust_log = rust_log.map(OsStr::new);
    assert_eq!(filter(level, rust_log).1, None);
    let logging = Logging {
        level,
        format,
        output: LogOutput::Stdout,
    };
    (
        Logger::new(&logging, rust_log, Box::new(page.clone())).expect("a thread"),
        page,
    )
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
    logger.flush();
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
    assert_eq!(logger.most_verbose(), LevelFilter::Debug);
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

/// An output that takes nothing until its gate is opened or gone.
struct Gated {
    gate: mpsc::Receiver<()>,
    page: Page,
}

impl Write for Gated {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let _opened = self.gate.recv();
        self.page.write(part)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_takes_nothing_costs_lines_and_nobody_waits_for_it() {
    let (opener, gate) = mpsc::channel();
    let page = Page::default();
    let gated = Box::new(Gated {
        gate,
        page: page.clone(),
    });
    let logging = Logging {
        level: LevelFilter::Info,
        format: LogFormat::Json,
        output: LogOutput::Stdout,
    };
    let logger = Logger::new(&logging, None, gated).expect("a thread");
    let said = 3 * queue::Manner::of_log().most_bytes / 1000;
    let before = lost_lines();
    let message = "x".repeat(1000);
    let record = |number: usize| {
        logger.log(
            &Record::builder()
                .level(Level::Info)
                .args(format_args!("{number} {message}"))
                .build(),
        );
    };
    // All of this ends though nothing is written.
    (0..said).for_each(record);
    let lost = usize::try_from(lost_lines() - before).expect("a count");
    assert!((said / 2..said).contains(&lost), "{lost} of {said}");
    drop(opener);
    logger.flush();
    let text = page.text();
    let numbers: Vec<usize> = text
        .lines()
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).expect("a whole line");
            let words = object["message"].as_str().expect("a message");
            words
                .split(' ')
                .next()
                .expect("a number")
                .parse()
                .expect("a number")
        })
        .collect();
    // Other tests lose lines meanwhile.
    assert!(numbers.len() >= said - lost, "{} of {said}", numbers.len());
    assert!(
        numbers.iter().copied().eq(0..numbers.len()),
        "the first ones, in order: {numbers:?}"
    );
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
