//! The documents say what the code does: tables, commands, configurations and the map of files are checked.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod documents {
    pub(crate) mod markdown;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use documents::markdown::{self, Block};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every `.rs` file below a folder, relative to the root, with `/` in it.
fn sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root()).unwrap();
            found.insert(relative.to_string_lossy().replace('\\', "/"));
        }
    }
}

#[test]
fn the_map_names_every_source_file_and_no_other() {
    let text = read("ARCHITECTURE.md");
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
    sources(&root().join("src"), &mut existing);
    let missing: Vec<_> = existing.difference(&unique).collect();
    let gone: Vec<_> = unique.difference(&existing).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "ARCHITECTURE.md, section Map: files without a line: {missing:?}; lines without a file: {gone:?}"
    );
}
