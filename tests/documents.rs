//! The documents say what the code does: tables, commands, configurations, links and the map of files are
//! checked. The two readmes have the same sections, blocks and keys.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/tools.rs"]
mod tools;
#[path = "support/waiting.rs"]
mod waiting;

mod documents {
    #[cfg(unix)]
    pub(crate) mod commands;
    #[cfg(unix)]
    pub(crate) mod compared;
    pub(crate) mod configurations;
    pub(crate) mod figures;
    pub(crate) mod limits;
    pub(crate) mod lists;
    pub(crate) mod markdown;
    pub(crate) mod promises;
    pub(crate) mod reference;
    pub(crate) mod sample;
    pub(crate) mod schema;
    pub(crate) mod schema_check;
    pub(crate) mod tables;
    pub(crate) mod texts;
    pub(crate) mod unit;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use documents::markdown::{self, Block};

/// Pages that there are in both languages, the English one first. What they show is loaded and run.
pub(crate) const PAGES: [(&str, &str); 16] = [
    ("README.md", "README.zh-CN.md"),
    ("docs/COMPARED.md", "docs/zh-CN/COMPARED.md"),
    ("docs/candidate-list.md", "docs/zh-CN/candidate-list.md"),
    ("docs/command-line.md", "docs/zh-CN/command-line.md"),
    ("docs/guide/configuration.md", "docs/zh-CN/guide/configuration.md"),
    (
        "docs/guide/edge-addresses.md",
        "docs/zh-CN/guide/edge-addresses.md",
    ),
    ("docs/guide/observe.md", "docs/zh-CN/guide/observe.md"),
    (
        "docs/guide/phone-and-router.md",
        "docs/zh-CN/guide/phone-and-router.md",
    ),
    ("docs/guide/replicas.md", "docs/zh-CN/guide/replicas.md"),
    ("docs/guide/service.md", "docs/zh-CN/guide/service.md"),
    ("docs/guide/tls-edge.md", "docs/zh-CN/guide/tls-edge.md"),
    ("docs/guide/troubleshoot.md", "docs/zh-CN/guide/troubleshoot.md"),
    ("docs/guide/tune.md", "docs/zh-CN/guide/tune.md"),
    (
        "docs/internals/benchmarks.md",
        "docs/zh-CN/internals/benchmarks.md",
    ),
    ("docs/internals/choosing.md", "docs/zh-CN/internals/choosing.md"),
    ("docs/internals/serving.md", "docs/zh-CN/internals/serving.md"),
];

/// The most that a readme may have: it is read to the end.
const README_BYTES: usize = 8000;

/// The most that the page of the architecture may have: details have pages of their own.
const ARCHITECTURE_BYTES: usize = 10_000;

const ALL: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "MOBILE.md",
    "PROMISES.md",
    "contrib/README.md",
    "contrib/windows/README.md",
    "docs/ACCESS-LOG.md",
    "docs/API.md",
    "docs/COMMANDS.md",
    "docs/DATA-PATH.md",
    "docs/DECISIONS.md",
    "docs/FLEET.md",
    "docs/FRONT.md",
    "docs/GLOSSARY.md",
    "docs/LIMITS.md",
    "docs/LISTS.md",
    "docs/MAP.md",
    "docs/MEMORY.md",
    "docs/SCALE.md",
    "docs/SEARCH.md",
    "docs/WRITERS.md",
    "docs/internals/promises.md",
    "docs/reference/configuration.md",
    "docs/reference/limits.md",
    "docs/reference/metrics.md",
    "docs/reference/reasons.md",
    "docs/zh-CN/reference/configuration.md",
    "docs/zh-CN/reference/limits.md",
    "docs/zh-CN/reference/metrics.md",
    "docs/zh-CN/reference/reasons.md",
    "fuzz/README.md",
    "scripts/bench/README.md",
];

/// Every document that is held to what it says.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    let pages = PAGES.iter().flat_map(|(english, chinese)| [*english, *chinese]);
    pages.chain(ALL.iter().copied())
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Compares a committed file with what is made of the sources, or writes it.
pub(crate) fn hold(name: &str, made: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(root().join(name).parent().unwrap()).unwrap();
        fs::write(root().join(name), made).unwrap();
        return;
    }
    let committed = fs::read_to_string(root().join(name)).unwrap_or_default();
    let differs = committed.lines().zip(made.lines()).position(|(a, b)| a != b);
    assert!(
        committed == made,
        "{name} is not what the sources say (line {}): UPDATE_DOCS=1 cargo test --test documents",
        differs.map_or(0, |line| line + 1)
    );
}

/// Every file with this extension below a folder, relative to the root, with `/` in it; but for what is built, fetched or hidden.
fn files(folder: &Path, wanted: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') || ["target", "dist", "node_modules"].contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            files(&path, wanted, found);
        } else if path.extension().is_some_and(|extension| extension == wanted) {
            let relative = path.strip_prefix(root()).unwrap();
            found.insert(relative.to_string_lossy().replace('\\', "/"));
        }
    }
}

#[test]
fn the_map_names_every_source_file_and_no_other() {
    let text = read("docs/MAP.md");
    let mapped: Vec<String> = markdown::blocks(&text)
        .iter()
        .filter(|block| block.heading == "Map")
        .flat_map(Block::lines)
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    let unique: BTreeSet<String> = mapped.iter().cloned().collect();
    assert_eq!(unique.len(), mapped.len(), "the map names a file twice");
    let mut existing = BTreeSet::new();
    files(&root().join("src"), "rs", &mut existing);
    let missing: Vec<_> = existing.difference(&unique).collect();
    let gone: Vec<_> = unique.difference(&existing).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "docs/MAP.md: files without a line: {missing:?}; lines without a file: {gone:?}"
    );
}

#[test]
fn every_document_is_held_to_what_it_says() {
    let mut existing = BTreeSet::new();
    files(&root(), "md", &mut existing);
    let held: BTreeSet<String> = all().map(str::to_owned).collect();
    let missing: Vec<_> = existing.difference(&held).collect();
    assert!(missing.is_empty(), "in neither list: {missing:?}");
}

#[test]
fn local_links_lead_somewhere() {
    for name in all() {
        let text = read(name);
        for target in markdown::links(&text) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let here = Path::new(name).parent().unwrap();
            let file = if file.is_empty() {
                PathBuf::from(name)
            } else {
                here.join(file)
            };
            assert!(
                root().join(&file).exists(),
                "{name} links to {target}, which is not there"
            );
            if !anchor.is_empty() {
                let anchors = markdown::anchors(&read(&file.to_string_lossy()));
                assert!(
                    anchors.contains(anchor),
                    "{name} links to {target}: no such section"
                );
            }
        }
    }
}

#[test]
fn addresses_are_of_this_machine_or_of_the_documentation_ranges() {
    const ALLOWED: [&str; 6] = ["127.", "192.0.2.", "198.51.100.", "203.0.113.", "0.0.0.0", "300."];
    for name in all() {
        for word in read(name).split(|c: char| !(c.is_ascii_digit() || c == '.')) {
            let is_address = word.split('.').count() == 4 && word.split('.').all(|part| !part.is_empty());
            assert!(
                !is_address || ALLOWED.iter().any(|allowed| word.starts_with(allowed)),
                "{name} shows the address {word}"
            );
        }
    }
}

#[test]
fn both_languages_have_the_same_sections_and_blocks() {
    for (english, chinese) in PAGES {
        let [in_english, in_chinese] = [english, chinese].map(read);
        let levels =
            |text: &str| -> Vec<usize> { markdown::headings(text).iter().map(|(level, _)| *level).collect() };
        assert_eq!(
            levels(&in_english),
            levels(&in_chinese),
            "levels of headings: {chinese}"
        );
        let blocks = |text: &str| -> Vec<(String, String)> {
            markdown::blocks(text)
                .into_iter()
                // Diagrams have words in them.
                .map(|block| {
                    let text = if block.info == "text" {
                        String::new()
                    } else {
                        block.text
                    };
                    (block.info, text)
                })
                .collect()
        };
        assert_eq!(
            blocks(&in_english),
            blocks(&in_chinese),
            "{chinese}: blocks that are not those of {english}"
        );
    }
}

#[test]
fn the_readmes_are_short() {
    for name in ["README.md", "README.zh-CN.md"] {
        let bytes = read(name).len();
        assert!(bytes <= README_BYTES, "{name} has {bytes} bytes");
    }
}

#[test]
fn the_architecture_is_short() {
    let bytes = read("ARCHITECTURE.md").len();
    assert!(bytes <= ARCHITECTURE_BYTES, "ARCHITECTURE.md has {bytes} bytes");
}
