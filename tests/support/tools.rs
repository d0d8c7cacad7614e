//! Programs that tests make use of: where they are, and what it means when one is missing.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of it")]

use std::io::Write;
use std::path::PathBuf;

/// Writes a line that the test harness does not hide from a successful run.
pub fn say(words: &str) {
    // Nobody reads it: then it need not be said.
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Where a program is installed; those of administrators are not on everybody's path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Where a program is that `test` needs; none if it is missing, which is said.
///
/// # Panics
/// If it is missing where `CI=true`: continuous integration installs whatever a test needs.
pub fn wanted(program: &str, test: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        let is_required = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!is_required, "{test}: {program} is not installed");
        say(&format!("skipped: {test}: {program} is not installed"));
    }
    found
}
