//! The process's logger, begun for real: a file that is appended to, and errors before it begins.

#![expect(clippy::expect_used, reason = "tests")]

use std::fs;
use std::process::Command;

use tcp_forwarder::config::{LogFormat, LogOutput, Logging};
use tcp_forwarder::logging::{self, LogError};

/// Set for the copy of this program that logs; its value is the folder.
const CHILD: &str = "TCP_FORWARDER_TEST_LOG_FOLDER";

fn to_file(file: std::path::PathBuf) -> Logging {
    Logging {
        level: log::LevelFilter::Info,
        format: LogFormat::Json,
        output: LogOutput::File(file),
    }
}

/// Not a test by itself: a process has one logger and one `RUST_LOG`, so each case runs in a copy of this program.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let unwritable = logging::init(&to_file(folder.clone())).expect_err("a folder is no file");
    assert!(matches!(unwritable, LogError::Unwritable { .. }));
    assert_eq!(unwritable.to_string().lines().count(), 1);
    let logging = to_file(folder.join("forwarder.log"));
    logging::init(&logging).expect("begun");
    assert!(matches!(logging::init(&logging), Err(LogError::AlreadyBegun)));
    log::info!(target: "tcp_forwarder::selector", backend = "127.0.0.2:80"; "informed");
    log::debug!(target: "tcp_forwarder::selector", "debugged");
    log::debug!(target: "tcp_forwarder::relay", "relayed");
    log::logger().flush();
    assert_eq!(logging::lost_lines(), 0);
}

/// What the copy logs behind a line that was there before.
fn logged(rust_log: &str) -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("forwarder.log");
    fs::write(&file, "{\"message\":\"before\"}\n").expect("written");
    let ended = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, folder.path())
        .env("RUST_LOG", rust_log)
        .output()
        .expect("a copy");
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let text = fs::read_to_string(file).expect("a log");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn messages(lines: &[serde_json::Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["message"].as_str()).collect()
}

#[test]
fn a_file_is_appended_to() {
    let lines = logged("");
    assert_eq!(messages(&lines), ["before", "informed"]);
    assert_eq!(lines[1]["backend"], "127.0.0.2:80");
    assert_eq!(lines[1]["target"], "tcp_forwarder::selector");
}

#[test]
fn rust_log_reaches_the_logger() {
    let lines = logged("tcp_forwarder::selector=debug");
    assert_eq!(messages(&lines), ["before", "informed", "debugged"]);
}

#[test]
fn a_bad_rust_log_is_said_once() {
    let lines = logged("tcp_forwarder=loud");
    let messages = messages(&lines);
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(messages[1].starts_with("RUST_LOG is ignored: "), "{messages:?}");
    assert_eq!(messages[2], "informed");
}
