//! Log files of the real program under those who rotate them, and the signals that ask for it.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::tests_outside_test_module,
    reason = "tests"
)]

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

#[expect(unreachable_pub, reason = "shared with other test binaries")]
mod support;

use support::{Files, Forwarder, echo_on, ping, settings, tools, wait_for};

/// Rotations under load.
const ROTATIONS: usize = 5;

/// A forwarder that says in a file when a client is gone.
fn forwarder(folder: &Path) -> Forwarder {
    let log = folder.join("forwarder.log");
    let changes = json!({ "logging": { "level": "debug", "format": "json", "output": log } });
    let files = Files::new(
        &settings(&changes),
        &format!("{}\n", echo_on(Ipv4Addr::LOCALHOST)),
    );
    let command = files.command();
    let forwarder = Forwarder::spawn(files, command);
    wait_for("it listens", || listening(&log).is_some());
    forwarder
}

/// Where it listens, by its log.
fn listening(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    let (_, rest) = text.split_once("listening on ")?;
    Some(rest.split('"').next()?.to_owned())
}

/// Clients that come and go, each with a port of its own that the log names once.
fn clients(addr: &str, count: usize) -> Vec<String> {
    let client = |_| {
        let mut stream = support::patient(std::net::TcpStream::connect(addr).unwrap());
        ping(&mut stream, b"x");
        stream.local_addr().unwrap().to_string()
    };
    (0..count).map(client).collect()
}

/// The files of the folder with the log, in no order.
fn log_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_log = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("forwarder.log")
    };
    entries.filter(is_log).collect()
}

/// Which clients are gone, by all log files: every line once, and whole.
fn gone(folder: &Path) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for file in log_files(folder) {
        for line in fs::read_to_string(&file).unwrap().lines() {
            let object: Value = serde_json::from_str(line).expect("a whole line");
            if let Some(client) = object["client"].as_str().filter(|_| object["reason"].is_string()) {
                assert!(seen.insert(client.to_owned()), "twice: {line}");
            }
        }
    }
    seen
}

/// Has clients come while `rotate` is called; each is in the log once.
fn lose_nobody(forwarder: Forwarder, folder: &Path, mut rotate: impl FnMut(&Forwarder)) {
    let addr = listening(&folder.join("forwarder.log")).unwrap();
    let mut came = BTreeSet::new();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| clients(&addr, 600));
        for _ in 0..ROTATIONS {
            came.extend(clients(&addr, 20));
            rotate(&forwarder);
        }
        came.extend(load.join().unwrap());
    });
    came.extend(clients(&addr, 20));
    assert_eq!(forwarder.stop().status, Some(0));
    let gone = gone(folder);
    let lost: Vec<_> = came.difference(&gone).collect();
    assert!(lost.is_empty(), "{} of {} are lost", lost.len(), came.len());
}

/// Rotates once, with `how` in the configuration of logrotate.
fn rotate(logrotate: &Path, folder: &Path, how: &str) {
    let log = folder.join("forwarder.log");
    let config = folder.join("logrotate.conf");
    let text = format!("{} {{\n rotate 100\n nocompress\n {how}\n}}\n", log.display());
    fs::write(&config, text).unwrap();
    let before = log_files(folder).len();
    let output = Command::new(logrotate)
        .arg("--force")
        .arg("--state")
        .arg(folder.join("state"))
        .arg(&config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    wait_for("a new file", || log_files(folder).len() > before);
}

#[test]
fn logrotate_with_a_signal_loses_no_line() {
    let Some(program) = tools::wanted("logrotate", "rotation of logs") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let forwarder = forwarder(folder.path());
    lose_nobody(forwarder, folder.path(), |forwarder| {
        let how = format!(
            "nocreate\n postrotate\n  kill -USR1 {}\n endscript",
            forwarder.pid()
        );
        rotate(&program, folder.path(), &how);
    });
}

/// Between the copy and the cut, which are not one step, lines can be lost by nobody but logrotate; so nothing is logged
/// meanwhile here.
#[test]
fn logrotate_with_copytruncate_leaves_a_file_that_is_appended_to() {
    let Some(program) = tools::wanted("logrotate", "rotation of logs") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("forwarder.log");
    let forwarder = forwarder(folder.path());
    let addr = listening(&log).unwrap();
    let mut came = BTreeSet::new();
    for _ in 0..3 {
        came.extend(clients(&addr, 20));
        wait_for("all are in the log", || gone(folder.path()) == came);
        let pid = forwarder.pid();
        rotate(&program, folder.path(), "copytruncate");
        assert_eq!(pid, forwarder.pid());
        came.extend(clients(&addr, 20));
        wait_for("all are in the log", || gone(folder.path()).len() == came.len());
        let text = fs::read(&log).unwrap();
        assert!(
            !text.is_empty() && !text.contains(&0),
            "no hole where the old end was"
        );
    }
    assert_eq!(forwarder.stop().status, Some(0));
}

#[test]
fn a_hang_up_opens_the_log_again_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("forwarder.log");
    let forwarder = forwarder(folder.path());
    for turn in 0..3 {
        fs::rename(&log, folder.path().join(format!("forwarder.log.{turn}"))).unwrap();
        forwarder.signal(Signal::HUP);
        wait_for("a new file", || log.exists());
    }
    assert_eq!(forwarder.stop().status, Some(0));
}

#[test]
fn a_hang_up_that_was_ignored_stays_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("forwarder.log");
    let changes = json!({ "logging": { "format": "json", "output": log } });
    let files = Files::new(
        &settings(&changes),
        &format!("{}\n", echo_on(Ipv4Addr::LOCALHOST)),
    );
    let program = files.command();
    // What `nohup` does, without its output.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args())
        .env_remove("RUST_LOG");
    let forwarder = Forwarder::spawn(files, command);
    wait_for("it listens", || listening(&log).is_some());
    forwarder.signal(Signal::HUP);
    forwarder.signal(Signal::USR1);
    let said = || fs::read_to_string(&log).unwrap();
    wait_for("the other signal is heard", || {
        said().contains("open log files again")
    });
    assert_eq!(forwarder.stop().status, Some(0));
    assert!(!said().contains("asked to reload"), "{}", said());
}
