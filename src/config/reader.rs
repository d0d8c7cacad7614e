//! Walks the tree along the table of keys and collects every error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::draft::Draft;
use super::error::{ConfigError, ConfigErrors, LoadError};
use super::keys::{self, Key};
use super::tree::{self, Address, Node};
use super::value::{show, show_text};
use super::{Config, Platform};

/// Size of a configuration file. The shipped one, comments and all, has a hundredth of it.
const MAX_BYTES: u64 = 1 << 20;

/// Errors that are located and shown; a file that is no configuration at all has thousands.
const MAX_ERRORS: usize = 100;

/// Length of a key that is compared with the known ones.
const MAX_COMPARED_BYTES: usize = 64;

pub(super) fn load(path: &Path) -> Result<Config, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        file: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    let invalid = |line, message: String| LoadError::Invalid(only(path, line, message));
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(invalid(1, format!("too large; allowed: {MAX_BYTES} bytes")));
    }
    match str::from_utf8(&bytes) {
        Ok(text) => parse(text, path, Platform::here()).map_err(LoadError::Invalid),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count();
            Err(invalid(line, "not UTF-8; allowed: text in UTF-8".to_owned()))
        }
    }
}

pub(super) fn parse(text: &str, file: &Path, platform: Platform) -> Result<Config, ConfigErrors> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = tree::parse(text)
        .map_err(|error| only(file, error.line, format!("not valid YAML: {}", error.message)))?;
    let mut reader = Reader {
        text,
        draft: Draft::default(),
        given: BTreeMap::new(),
        refused: BTreeSet::new(),
        errors: Vec::new(),
        omitted: 0,
    };
    reader.section("", &root, &mut Vec::new());
    reader.check_between_keys(platform);
    reader.finish(file)
}

/// The keys that the text gives, in its order; none when it is no configuration.
#[cfg(test)]
pub(super) fn keys_given(text: &str) -> Vec<&'static str> {
    let mut reader = Reader {
        text,
        draft: Draft::default(),
        given: BTreeMap::new(),
        refused: BTreeSet::new(),
        errors: Vec::new(),
        omitted: 0,
    };
    if let Ok(root) = tree::parse(text) {
        reader.section("", &root, &mut Vec::new());
    }
    let mut given: Vec<_> = reader.given.into_iter().collect();
    given.sort_by(|a, b| a.1.cmp(&b.1));
    given.into_iter().map(|(path, _)| path).collect()
}

fn only(file: &Path, line: usize, message: String) -> ConfigErrors {
    ConfigErrors {
        file: file.to_owned(),
        errors: vec![ConfigError {
            line,
            key: String::new(),
            message,
        }],
        omitted: 0,
        list: None,
    }
}

struct Reader<'t> {
    text: &'t str,
    draft: Draft,
    /// Keys that the text gives, and where.
    given: BTreeMap<&'static str, Address>,
    /// Keys whose value was refused: rules between keys say nothing about them.
    refused: BTreeSet<&'static str>,
    errors: Vec<ConfigError>,
    omitted: usize,
}

impl Reader<'_> {
    fn report(&mut self, address: &[usize], key: &str, message: String) {
        if self.errors.len() == MAX_ERRORS {
            self.omitted += 1;
            return;
        }
        self.errors.push(ConfigError {
            line: tree::line_of(self.text, address),
            key: key.to_owned(),
            message,
        });
    }

    /// Reads the section at `path`; the empty path is the whole file. A section without entries is what is
    /// left when all of them are commented out, so it means defaults.
    fn section(&mut self, path: &str, node: &Node, address: &mut Address) {
        let entries = match node {
            Node::Map(entries) => entries,
            Node::Null => return,
            Node::Flag(_)
            | Node::Integer(_)
            | Node::Number(_)
            | Node::Text(_)
            | Node::List(_)
            | Node::Tagged(_) => {
                let message = format!(
                    "{} is not a section; allowed: a section with {}",
                    show(node),
                    children(path).join(", ")
                );
                self.report(address, path, message);
                return;
            }
        };
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, (key, value)) in entries.iter().enumerate() {
            address.push(index);
            if let Node::Text(name) = key {
                let here = join(path, &plain(name));
                if let Some(first) = seen.insert(name, index) {
                    let mut before = address.clone();
                    before.pop();
                    before.push(first);
                    let line = tree::line_of(self.text, &before);
                    self.report(
                        address,
                        &here,
                        format!("given twice, first on line {line}; allowed: once"),
                    );
                } else {
                    self.entry(path, name, value, address);
                }
            } else {
                let message = format!(
                    "{} is not a key; allowed: {}",
                    show(key),
                    children(path).join(", ")
                );
                self.report(address, path, message);
            }
            address.pop();
        }
    }

    fn entry(&mut self, section: &str, name: &str, value: &Node, address: &mut Address) {
        // A dot would make a key of this section look like one of a section within.
        let path = if name.contains('.') {
            String::new()
        } else {
            join(section, name)
        };
        if let Some(key) = keys::all().find(|key| key.path == path) {
            self.value(key, value, address);
        } else if !name.is_empty() && !path.is_empty() && !children(&path).is_empty() {
            self.section(&path, value, address);
        } else {
            let message = unknown(section, name);
            self.report(address, &join(section, &plain(name)), message);
        }
    }

    fn value(&mut self, key: &'static Key, value: &Node, address: &mut Address) {
        self.given.insert(key.path, address.clone());
        let Err(refusals) = key.slot.fill(&mut self.draft, value) else {
            return;
        };
        self.refused.insert(key.path);
        for refusal in refusals {
            let message = format!("{}; allowed: {}", refusal.what, key.slot.allowed());
            if let Some(item) = refusal.item {
                address.push(item);
                self.report(address, &format!("{}[{item}]", key.path), message);
                address.pop();
            } else {
                self.report(address, key.path, message);
            }
        }
    }

    fn check_between_keys(&mut self, platform: Platform) {
        let given = &self.given;
        self.draft.apply_weights(|key| given.contains_key(key));
        for conflict in self.draft.conflicts(platform) {
            if conflict.keys.iter().any(|key| self.refused.contains(key)) {
                continue;
            }
            let place = conflict.keys.iter().find_map(|key| {
                let address = self.given.get(key)?;
                Some((*key, address.clone()))
            });
            let (key, address) = place.unwrap_or_default();
            self.report(&address, key, conflict.message);
        }
    }

    fn finish(mut self, file: &Path) -> Result<Config, ConfigErrors> {
        if self.errors.is_empty() {
            return Ok(self.draft.finish(file));
        }
        self.errors.sort();
        let names_list = !self.refused.contains("remotes.provider.file.path");
        Err(ConfigErrors {
            file: file.to_owned(),
            errors: self.errors,
            omitted: self.omitted,
            list: names_list
                .then(|| self.draft.finish(file))
                .and_then(|config| Some(config.services.values().next()?.remotes.provider.path.clone())),
        })
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

/// A key as an error shows it: plain when it looks like one, else in quotes, escaped and cut short.
fn plain(name: &str) -> String {
    let looks_like_a_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= MAX_COMPARED_BYTES && name.chars().all(looks_like_a_key) {
        name.to_owned()
    } else {
        show_text(name)
    }
}

/// Names of the keys and sections directly in a section, in the order of the table.
fn children(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in keys::all() {
        let inside = if section.is_empty() {
            Some(key.path)
        } else {
            key.path
                .strip_prefix(section)
                .and_then(|rest| rest.strip_prefix('.'))
        };
        if let Some(name) = inside.and_then(|rest| rest.split('.').next())
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// What to say about an unknown key: the nearest name in this section, or the same name in another one.
fn unknown(section: &str, name: &str) -> String {
    let known = children(section);
    let allowed = known.join(", ");
    if name == "<<" {
        return format!("merge keys are not supported; allowed: {allowed}");
    }
    let suggestion = nearest(name, &known).map(str::to_owned).or_else(|| {
        keys::all()
            .map(|key| key.path)
            .find(|path| path.rsplit('.').next() == Some(name))
            .map(str::to_owned)
    });
    match suggestion {
        Some(suggestion) => format!("unknown key, did you mean {suggestion}? allowed: {allowed}"),
        None => format!("unknown key; allowed: {allowed}"),
    }
}

/// The name with the fewest edits, if they are few for its length.
fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    if name.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let (edits, nearest) = known
        .iter()
        .map(|candidate| (edits(name, candidate), *candidate))
        .min_by_key(|(edits, _)| *edits)?;
    (edits <= nearest.len().div_ceil(3)).then_some(nearest)
}

/// Levenshtein distance of two names, in bytes.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, byte_a) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (byte_b, above) in b.bytes().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(byte_a != byte_b);
            diagonal = *above;
            left = replaced.min(left + 1).min(diagonal + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_levenshtein() {
        for (a, b, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("listen_adr", "listen_addr", 1),
            ("same", "same", 0),
        ] {
            assert_eq!(edits(a, b), distance, "{a} {b}");
            assert_eq!(edits(b, a), distance, "{b} {a}");
        }
    }

    #[test]
    fn an_unknown_key_finds_its_neighbour() {
        assert!(unknown("server", "listen_adr").contains("did you mean listen_addr?"));
        assert!(unknown("pools", "dial_timeout").contains("did you mean pools.common.dial_timeout?"));
        assert!(unknown("server", "colour").starts_with("unknown key; allowed: listen_addr, reactors"));
    }
}
