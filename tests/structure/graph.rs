//! Which file imports which: paths are led to the files that define them, circles are found.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::source::{self, Path, Source};

/// All files of a crate.
#[derive(Debug)]
pub(crate) struct Graph {
    /// By module.
    files: BTreeMap<Path, (String, Source)>,
}

/// One file imports another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    pub(crate) from: String,
    pub(crate) to: String,
    /// Where, first.
    pub(crate) line: usize,
    /// What, first.
    pub(crate) what: String,
}

/// The module that a file below `src` is.
fn module(file: &str) -> Path {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut path: Path = inner.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| last == "mod") || inner == "lib" {
        path.pop();
    }
    path
}

impl Graph {
    /// Of files with their texts. Files that are there for tests only are left out.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut files: BTreeMap<Path, (String, Source)> = texts
            .into_iter()
            .map(|(file, text)| {
                let module = module(file);
                let source = source::read(&module, text);
                (module, (file.to_owned(), source))
            })
            .collect();
        let tests: Vec<Path> = files
            .values()
            .flat_map(|(_, source)| source.tests.iter().cloned())
            .collect();
        files.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Self { files }
    }

    /// The files that only declare and re-export.
    pub(crate) fn facades(&self) -> BTreeSet<&str> {
        let facades = self.files.values().filter(|(_, source)| source.facade);
        facades.map(|(file, _)| file.as_str()).collect()
    }

    pub(crate) fn files(&self) -> BTreeSet<&str> {
        self.files.values().map(|(file, _)| file.as_str()).collect()
    }

    /// Every import of one file from another, once.
    pub(crate) fn imports(&self) -> Vec<Import> {
        let mut found: BTreeMap<(String, String), Import> = BTreeMap::new();
        for (file, source) in self.files.values() {
            let brought = source.brought.iter().filter(|(path, _)| !self.is_module(path));
            for (path, line) in brought.chain(&source.uses) {
                for to in self.files_of(path) {
                    if to != *file {
                        let key = (file.clone(), to.clone());
                        found.entry(key).or_insert_with(|| Import {
                            from: file.clone(),
                            to,
                            line: *line,
                            what: path.join("::"),
                        });
                    }
                }
            }
        }
        found.into_values().collect()
    }

    /// Whether a path names a module and nothing else of that name.
    fn is_module(&self, path: &[String]) -> bool {
        let Some((name, parent)) = path.split_last() else {
            return true;
        };
        let exported = self
            .files
            .get(parent)
            .is_some_and(|(_, source)| source.exports.contains_key(name));
        self.files.contains_key(path) && !exported
    }

    /// The files that define what a path names: one, or one for each kind of system.
    fn files_of(&self, path: &[String]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut ahead = vec![path.to_vec()];
        while let Some(path) = ahead.pop() {
            if !seen.insert(path.clone()) {
                continue;
            }
            let longest = (0..=path.len())
                .rev()
                .find_map(|length| self.files.get(&path[..length]).map(|file| (length, file)));
            let Some((length, (file, source))) = longest else {
                continue;
            };
            let exported = path.get(length).and_then(|name| source.exports.get(name));
            match exported {
                Some(targets) => {
                    for target in targets {
                        let rest = path[length + 1..].iter().cloned();
                        ahead.push(target.iter().cloned().chain(rest).collect());
                    }
                }
                None => {
                    found.insert(file.clone());
                }
            }
        }
        found
    }
}

/// For each file that imports itself by others, the shortest way round; each circle once.
pub(crate) fn circles(imports: &[Import]) -> Vec<Vec<Import>> {
    let mut by_file: BTreeMap<&str, Vec<&Import>> = BTreeMap::new();
    for import in imports {
        by_file.entry(&import.from).or_default().push(import);
    }
    let mut found: Vec<Vec<Import>> = Vec::new();
    for file in by_file.keys() {
        let told = found.iter().flatten().any(|import| import.from == *file);
        if !told && let Some(circle) = way_round(&by_file, file) {
            found.push(circle);
        }
    }
    found
}

fn way_round(by_file: &BTreeMap<&str, Vec<&Import>>, begin: &str) -> Option<Vec<Import>> {
    let mut reached: BTreeMap<&str, &Import> = BTreeMap::new();
    let mut ahead = VecDeque::from([begin]);
    while let Some(file) = ahead.pop_front() {
        for &import in by_file.get(file).into_iter().flatten() {
            if reached.contains_key(import.to.as_str()) {
                continue;
            }
            reached.insert(&import.to, import);
            ahead.push_back(&import.to);
        }
    }
    let mut way = vec![(*reached.get(begin)?).clone()];
    while way.last()?.from != begin {
        way.push((*reached.get(way.last()?.from.as_str())?).clone());
    }
    way.reverse();
    Some(way)
}

/// What is wrong with the order of files, in words. A facade imports nothing: it only names what is behind it.
pub(crate) fn against_order(graph: &Graph, map: &[&str]) -> Vec<String> {
    let places: BTreeMap<&str, usize> = map
        .iter()
        .enumerate()
        .map(|(place, file)| (*file, place))
        .collect();
    let facades = graph.facades();
    let mut wrong: Vec<String> = graph
        .files()
        .into_iter()
        .filter(|file| !places.contains_key(file))
        .map(|file| format!("{file} is not in the map"))
        .collect();
    for import in graph.imports() {
        let (from, to) = (places.get(import.from.as_str()), places.get(import.to.as_str()));
        let stands_below = from.zip(to).is_some_and(|(from, to)| from <= to);
        if stands_below && !facades.contains(import.from.as_str()) {
            wrong.push(format!("{}, which stands below it", told(&import)));
        }
    }
    wrong
}

/// One import in words.
pub(crate) fn told(import: &Import) -> String {
    let Import { from, to, line, what } = import;
    format!("{from}:{line} imports {to} (`{what}`)")
}
