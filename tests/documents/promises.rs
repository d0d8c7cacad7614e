//! Every test that the page of promises or that of their tests names exists, and every promise names one.

use std::collections::{BTreeMap, BTreeSet};

use super::markdown;
use crate::{read, root};

const PAGE: &str = "PROMISES.md";

/// The page that names the other tests, under the same titles.
const OTHERS: &str = "docs/internals/promises.md";

/// The section of the first page that promises nothing.
const NOTHING: &str = "Not promised";

/// What stands in code spans and has the form of a test's name: the file, the function. Without a file it is in the
/// one that was named last.
fn named(prose: &str) -> Vec<(&str, &str)> {
    let spans = prose.split('`').skip(1).step_by(2);
    let mut last = "";
    spans
        .filter_map(|span| span.split_once("::"))
        .map(|(file, function)| {
            if !file.is_empty() {
                last = file;
            }
            (last, function)
        })
        .collect()
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

/// Title and prose of each section.
fn sections(page: &str) -> BTreeMap<String, String> {
    let prose = markdown::prose(&read(page)).join("\n");
    let sections = prose
        .split("\n## ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'));
    sections
        .map(|(title, rest)| (title.to_owned(), rest.to_owned()))
        .collect()
}

#[test]
fn every_test_that_proves_a_promise_exists() {
    let mut files = BTreeMap::new();
    let mut once = BTreeSet::new();
    for page in [PAGE, OTHERS] {
        for (title, section) in sections(page) {
            for (file, name) in named(&section) {
                assert!(root().join(file).is_file(), "{page}: there is no {file}");
                let tests = files.entry(file.to_owned()).or_insert_with(|| tests_of(file));
                assert!(
                    tests.contains(name),
                    "{page}: {file} has no test {name}: {tests:?}"
                );
                let named = (title.clone(), file.to_owned(), name.to_owned());
                assert!(once.insert(named), "{title} names {file}::{name} twice");
            }
        }
    }
    assert!(files.len() > 60, "{files:?}");
    assert!(once.len() > 200, "{} tests", once.len());
}

/// A promise is bold, or an item under one that is; its tests follow it.
#[test]
fn every_promise_names_its_tests() {
    let mut promises = 0;
    for (title, section) in sections(PAGE) {
        if title == NOTHING {
            continue;
        }
        let bold = section.split("\n**").skip(1);
        let items = section
            .split("\n- ")
            .skip(1)
            .map(|item| item.split("\n\n").next().unwrap_or_default());
        for promise in bold.chain(items) {
            promises += 1;
            assert!(
                !named(promise).is_empty(),
                "{PAGE}, {title}: no test proves: {promise}"
            );
        }
    }
    assert!(promises > 60, "{promises} promises");
}

#[test]
fn other_tests_stand_under_the_titles_of_promises() {
    let promised = sections(PAGE);
    for (title, section) in sections(OTHERS) {
        assert!(
            named(&section).is_empty() || promised.contains_key(&title),
            "{OTHERS}: {PAGE} has no section {title}"
        );
    }
}
