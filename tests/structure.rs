//! Imports between files go one way: in no circle, and only up the map of `docs/MAP.md`, so that whoever reads
//! the files in its order meets nothing that they have not read. A `mod.rs` that only declares and re-exports may stand
//! before what it names.

#![expect(clippy::unwrap_used, reason = "tests")]

mod structure {
    pub(crate) mod graph;
    mod parser_tests;
    pub(crate) mod source;
}

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use structure::graph::{self, Graph};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below a folder with its text, by its name from the root, with `/` in it.
fn texts(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root()).unwrap();
            let name = relative.to_string_lossy().replace('\\', "/");
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

fn crate_itself() -> Graph {
    let mut found = BTreeMap::new();
    texts(&root().join("src"), &mut found);
    Graph::of(found.iter().map(|(file, text)| (file.as_str(), text.as_str())))
}

#[test]
fn no_circle_of_imports() {
    let imports = crate_itself().imports();
    assert!(imports.len() > 300, "so few imports are read: {}", imports.len());
    let circles = graph::circles(&imports);
    let mut words = String::new();
    for circle in &circles {
        words.push_str("\n\n");
        for import in circle {
            writeln!(words, "  {}", graph::told(import)).unwrap();
        }
    }
    assert!(circles.is_empty(), "files import one another in a circle:{words}");
}

#[test]
fn imports_go_up_the_map() {
    let text = fs::read_to_string(root().join("docs/MAP.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("Map\n"));
    let map: Vec<&str> = section
        .into_iter()
        .flat_map(str::lines)
        .filter(|line| line.starts_with("src/"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let wrong = graph::against_order(&crate_itself(), &map);
    assert!(
        wrong.is_empty(),
        "docs/MAP.md is no order to read the files in:\n  {}",
        wrong.join("\n  ")
    );
}
