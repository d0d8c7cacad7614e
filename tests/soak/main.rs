//! The soak: mixed load and rotating faults around the real program for as long as one likes, and a judgement of
//! every connection, of memory and of descriptors at the end.
//!
//! `scripts/soak` runs it (environment variables: `TCP_FORWARDER_SOAK_MINUTES`, `…_OUT` for a folder, `…_LOAD` in
//! percent of the usual load, `…_LOG` for a log level; `TCP_FORWARDER_SEED`), and makes a report of what it writes. In a plain
//! `cargo test` the same code runs for seconds, so that it does not rot.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a test crate: a failure is a panic, waiting has a deadline"
)]

mod faults;
mod flat;
mod load;
#[path = "../support/peers/mod.rs"]
mod peers;
mod rest;
mod run;
mod samples;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use run::{Length, soak};
use support::tools::{self, say};

fn number(name: &str) -> Option<f64> {
    let value = std::env::var(name).ok()?;
    let number: f64 = value.parse().expect("a number");
    assert!(number > 0.0, "{name} is {value}");
    Some(number)
}

#[test]
fn soaks_for_as_long_as_it_is_told() {
    const MINUTES: &str = "TCP_FORWARDER_SOAK_MINUTES";
    let Some(minutes) = number(MINUTES) else {
        say(&format!(
            "skipped: the soak, {MINUTES} is not set (scripts/soak sets it)"
        ));
        return;
    };
    let out = std::env::var_os("TCP_FORWARDER_SOAK_OUT").map_or_else(|| "target/soak".into(), PathBuf::from);
    let load = number("TCP_FORWARDER_SOAK_LOAD").unwrap_or(100.0) / 100.0;
    let length = Length::full(Duration::from_secs_f64(minutes * 60.0));
    let faults = soak(length, load, &out);
    assert!(faults.is_empty(), "{}\nsee {}", faults.join("\n"), out.display());
}

#[test]
fn seconds_of_everything_harm_nobody() {
    let out = tempfile::tempdir().unwrap();
    let wrong = soak(Length::smoke(), 1.0, out.path());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let written = |name: &str| std::fs::read_to_string(Path::new(out.path()).join(name)).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&written("soak.json")).unwrap();
    for load in summary["load"].as_array().unwrap() {
        assert!(load["opened"].as_u64().unwrap() > 0, "{load}");
    }
    // As many as a busy machine has time for.
    assert!(summary["faults"].as_array().unwrap().len() > 2, "{summary}");
    assert!(written("samples.csv").lines().count() > 4);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/soak");
    let Some(python) = tools::wanted("python3", "the report of a soak") else {
        return;
    };
    let rendered = Command::new(python)
        .args([script, "--render", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    assert!(rendered.status.success(), "{rendered:?}");
    assert!(written("report.md").contains(": nothing was wrong\n"));
    assert!(written("plot.svg").ends_with("</svg>\n"));
}
