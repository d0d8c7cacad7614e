//! Every test that the page of promises names exists, and every promise names one.

use std::collections::BTreeSet;

use super::markdown;
use crate::{read, root};

const PAGE: &str = "PROMISES.md";

/// Sections that promise nothing.
const OTHERS: [&str; 2] = ["Not promised", "Soak"];

/// What stands in code spans and has the form of a test's name: the file, the function.
fn named(prose: &str) -> impl Iterator<Item = (&str, &str)> {
    let spans = prose.split('`').skip(1).step_by(2);
    spans.filter_map(|span| span.split_once("::"))
}

/// The functions of a file that are tests, those of a `proptest!` block included.
fn tests_of(file: &str) -> BTreeSet<String> {
    let text = read(file);
    let mut tests = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            if is_test {
                tests.insert(name.to_owned());
            }
            is_test = false;
        }
    }
    tests
}

#[test]
fn every_test_that_proves_a_promise_exists() {
    let text = read(PAGE);
    let prose = markdown::prose(&text).join("\n");
    let mut files = BTreeSet::new();
    for (file, name) in named(&prose) {
        assert!(root().join(file).is_file(), "{PAGE}: there is no {file}");
        let tests = tests_of(file);
        assert!(
            tests.contains(name),
            "{PAGE}: {file} has no test {name}: {tests:?}"
        );
        files.insert(file);
    }
    assert!(files.len() > 12, "{files:?}");
}

#[test]
fn every_promise_names_its_tests() {
    let text = read(PAGE);
    let mut promises = 0;
    for section in text.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap_or_default();
        if OTHERS.contains(&title) {
            continue;
        }
        // A promise is bold, and its tests follow it.
        for promise in section.split("\n**").skip(1) {
            promises += 1;
            assert!(
                named(promise).next().is_some(),
                "{PAGE}, {title}: no test proves: {promise}"
            );
        }
    }
    assert!(promises > 10, "{promises} promises");
}
