//! What differs between systems stands behind a few doors, and what differs on phones stands in the readme.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tcp_forwarder::config;

/// The files and folders that may know the operating system.
/// `app/` only leaves out the hand-over where there are no Unix sockets.
const DOORS: &[&str] = &[
    "app/",
    "base/clock.rs",
    "base/file_identity.rs",
    "control_socket/",
    "handover/",
    "logging/output.rs",
    "net.rs",
    "net/",
    "relay/pipe.rs",
    "signals/",
    "systemd/",
    "terminal/",
];

/// Whether a line asks for the operating system, in an attribute, in `cfg!` or by a path.
fn asks_for_the_system(code: &str) -> bool {
    let has = |word| code.contains(word);
    has("target_os")
        || has("target_family")
        || has("std::os::")
        || has("cfg") && (has("unix") || has("windows"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The part of a source file that is in the program: tests may look at the system they run on.
fn program_part(path: &Path, text: &str) -> String {
    let in_tests = path
        .iter()
        .any(|part| part == "tests" || part.to_string_lossy().ends_with("tests.rs"));
    if in_tests {
        return String::new();
    }
    // A module of tests within the file stands at its end; one in a file of its own ends nothing.
    text.split_once("#[cfg(test)]\nmod tests {")
        .map_or(text, |(program, _)| program)
        .to_owned()
}

#[test]
fn few_doors_lead_to_the_operating_system() {
    let folder = root().join("src");
    let mut files = Vec::new();
    sources(&folder, &mut files);
    let mut questions = 0;
    for file in &files {
        let name = file
            .strip_prefix(&folder)
            .unwrap()
            .to_string_lossy()
            .replace('\\', "/");
        let text = fs::read_to_string(file).unwrap();
        for (number, line) in program_part(Path::new(&name), &text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            if asks_for_the_system(code) {
                questions += 1;
                assert!(
                    DOORS.iter().any(|door| name.starts_with(door)),
                    "src/{name}:{}: {line}",
                    number + 1
                );
            }
        }
    }
    assert!(questions > 5, "the search finds what is there: {questions}");
}

#[test]
fn the_reference_shows_what_the_feature_mobile_changes() {
    let text = fs::read_to_string(root().join("docs/reference/configuration.md")).unwrap();
    let (_, section) = text.split_once("## Defaults for phones\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = config::reference()
        .iter()
        .filter_map(|key| {
            let mobile = key.mobile.as_ref()?;
            Some(format!(
                "| `{}` | `{}` | `{}` | {} |",
                key.path, key.default, mobile.default, mobile.why
            ))
        })
        .collect();
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(
            row, expected,
            "docs/reference/configuration.md must have that row"
        );
    }
    assert_eq!(rows.len(), expected.len());
    assert!(expected.len() > 10);
}

#[test]
fn the_configuration_for_routers_is_valid() {
    let file = root().join("contrib/openwrt/config.yaml");
    let config = config::load(&file).unwrap_or_else(|error| panic!("{error}"));
    // procd ends the process after 15 s, see the init script.
    assert!(config.only().expect("one service").pools.drain_timeout.as_secs() < 15);
}

#[test]
fn scripts_are_sound_shell() {
    for (shell, script) in [
        ("bash", "scripts/cross"),
        ("bash", "scripts/proof"),
        ("bash", ".ci/run"),
        ("sh", "contrib/openwrt/tcp-forwarder.init"),
        ("sh", "contrib/termux/run"),
        ("sh", "contrib/termux/boot"),
    ] {
        let path = root().join(script);
        assert!(path.is_file(), "{script} is missing");
        let output = match Command::new(shell).arg("-n").arg(&path).output() {
            Ok(output) => output,
            Err(error) => panic!("{shell}: {error}"),
        };
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{script}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
