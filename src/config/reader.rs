//! Walks the tree along the table of keys and collects every error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::draft::{Conflict, Draft};
use super::error::{ConfigError, ConfigErrors, LoadError};
use super::keys::Key;
use super::layer::{Entry, Layer};
use super::listeners::{self, LISTEN};
use super::name::ServiceName;
use super::tree::{self, Address, Node};
use super::value::{show, show_text};
use super::{Config, Platform};

/// The section of services.
const SERVICES: &str = "services";

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
    let mut reader = Reader::new(text);
    let mut top = Layer::top(Draft::default());
    reader.section(&mut top, "", &root, &mut Vec::new());
    // Before services inherit them.
    let given = &top.given;
    top.draft.apply_weights(|key| given.contains_key(key));
    let services = reader.services(&mut top, &root);
    let conflicts = top.draft.conflicts(platform);
    for conflict in &conflicts {
        reader.report_conflict(&top, &top, conflict);
    }
    if let Some(services) = &services {
        for layer in services.values() {
            for conflict in layer.draft.conflicts(platform) {
                // What is wrong at the top level already has been said there.
                let is_own = conflict.keys.iter().any(|key| layer.given.contains_key(key));
                if is_own || !conflicts.contains(&conflict) {
                    reader.report_conflict(layer, &top, &conflict);
                }
            }
        }
    }
    reader.check_addresses(&top, services.as_ref());
    reader.finish(&top, services, file)
}

/// The keys that the text gives at its top level, in its order; none when it is no configuration.
#[cfg(test)]
pub(super) fn keys_given(text: &str) -> Vec<&'static str> {
    let mut top = Layer::top(Draft::default());
    if let Ok(root) = tree::parse(text) {
        Reader::new(text).section(&mut top, "", &root, &mut Vec::new());
    }
    let mut given: Vec<_> = top.given.into_iter().collect();
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
        lists: Vec::new(),
    }
}

type Services = BTreeMap<ServiceName, Layer>;

struct Reader<'t> {
    text: &'t str,
    errors: Vec<ConfigError>,
    omitted: usize,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            errors: Vec::new(),
            omitted: 0,
        }
    }

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

    /// Reads the section at `path` of the table; the empty path is the whole level. A section without entries is what is
    /// left when all of them are commented out, so it means defaults.
    fn section(&mut self, layer: &mut Layer, path: &str, node: &Node, address: &mut Address) {
        let shown = if path.is_empty() {
            layer.place.clone()
        } else {
            layer.shown(path)
        };
        let allowed = |layer: &Layer| layer.children(path).join(", ");
        let Some(entries) = self.entries(node, &shown, address, || {
            format!("a section with {}", allowed(layer))
        }) else {
            return;
        };
        for (index, name, value) in self.named(entries, &shown, address, || allowed(layer)) {
            address.push(index);
            self.entry(layer, path, name, value, address);
            address.pop();
        }
    }

    /// The entries of a section; none if it is no section, or is empty.
    fn entries<'n>(
        &mut self,
        node: &'n Node,
        shown: &str,
        address: &[usize],
        allowed: impl Fn() -> String,
    ) -> Option<&'n [(Node, Node)]> {
        match node {
            Node::Map(entries) => Some(entries),
            Node::Null => None,
            Node::Flag(_)
            | Node::Integer(_)
            | Node::Number(_)
            | Node::Text(_)
            | Node::List(_)
            | Node::Tagged(_) => {
                let message = format!("{} is not a section; allowed: {}", show(node), allowed());
                self.report(address, shown, message);
                None
            }
        }
    }

    /// The entries whose key is a text and the first of its name, with their places.
    fn named<'n>(
        &mut self,
        entries: &'n [(Node, Node)],
        shown: &str,
        address: &[usize],
        allowed: impl Fn() -> String,
    ) -> Vec<(usize, &'n str, &'n Node)> {
        let mut named = Vec::with_capacity(entries.len());
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, (key, value)) in entries.iter().enumerate() {
            let mut here = address.to_vec();
            here.push(index);
            let Node::Text(name) = key else {
                let message = format!("{} is not a key; allowed: {}", show(key), allowed());
                self.report(&here, shown, message);
                continue;
            };
            if let Some(first) = seen.insert(name, index) {
                let mut before = address.to_vec();
                before.push(first);
                let line = tree::line_of(self.text, &before);
                let message = format!("given twice, first on line {line}; allowed: once");
                self.report(&here, &join(shown, &plain(name)), message);
            } else {
                named.push((index, name.as_str(), value));
            }
        }
        named
    }

    fn entry(&mut self, layer: &mut Layer, section: &str, name: &str, value: &Node, address: &mut Address) {
        if section.is_empty() && layer.place.is_empty() && name == SERVICES {
            // They are read once the defaults are known.
            return;
        }
        match layer.entry(section, name) {
            Entry::Key(key) => self.value(layer, key, value, address),
            Entry::Section(path) => self.section(layer, &path, value, address),
            Entry::Misplaced(place) => {
                let message = format!("belongs to the whole process; allowed: {place} at the top level");
                self.report(address, &join(&layer.place, &plain(name)), message);
            }
            Entry::Server => {
                let allowed = layer.children("").join(", ");
                let message = format!(
                    "what is in server at the top level stands in the service itself; allowed: {allowed}"
                );
                self.report(address, &join(&layer.place, &plain(name)), message);
            }
            Entry::Unknown => {
                let shown = if section.is_empty() {
                    layer.place.clone()
                } else {
                    layer.shown(section)
                };
                self.report(
                    address,
                    &join(&shown, &plain(name)),
                    unknown(layer, section, name),
                );
            }
        }
    }

    fn value(&mut self, layer: &mut Layer, key: &'static Key, value: &Node, address: &mut Address) {
        layer.given.insert(key.path, address.clone());
        let Err(refusals) = key.slot.fill(&mut layer.draft, value) else {
            return;
        };
        layer.refused.insert(key.path);
        let shown = layer.shown(key.path);
        for refusal in refusals {
            let message = format!("{}; allowed: {}", refusal.what, key.slot.allowed());
            if let Some(item) = refusal.item {
                address.push(item);
                self.report(address, &format!("{shown}[{item}]"), message);
                address.pop();
            } else {
                self.report(address, &shown, message);
            }
        }
    }

    /// Reads `services`, if the file has them; what the top level says are their defaults.
    fn services(&mut self, top: &mut Layer, root: &Node) -> Option<Services> {
        let Node::Map(entries) = root else { return None };
        let is_it = |(key, _): &(Node, Node)| *key == Node::Text(SERVICES.to_owned());
        let place = entries.iter().position(is_it)?;
        let (_, node) = entries.get(place)?;
        let mut address = vec![place];
        if let Some(given) = top.given.get(LISTEN) {
            let message = "each service has its own; allowed: services.NAME.listen_addr".to_owned();
            self.report(&given.clone(), LISTEN, message);
        }
        let allowed = || format!("at least one service, under {}", ServiceName::ALLOWED);
        let mut services = Services::new();
        let entries = self
            .entries(node, SERVICES, &address, allowed)
            .unwrap_or_default();
        if entries.is_empty() && matches!(node, Node::Null | Node::Map(_)) {
            self.report(
                &address,
                SERVICES,
                format!("there is none; allowed: {}", allowed()),
            );
        }
        let names = || format!("{}, digits alone in quotes", ServiceName::ALLOWED);
        for (index, name, value) in self.named(entries, SERVICES, &address.clone(), names) {
            address.push(index);
            let shown = join(SERVICES, &plain(name));
            match ServiceName::new(name) {
                Some(name) => {
                    let layer = self.service(&name, value, top, &mut address);
                    services.insert(name, layer);
                }
                None => {
                    let message = format!("is no name of a service; allowed: {}", ServiceName::ALLOWED);
                    self.report(&address, &shown, message);
                }
            }
            address.pop();
        }
        Some(services)
    }

    fn service(&mut self, name: &ServiceName, node: &Node, top: &Layer, address: &mut Address) -> Layer {
        let mut layer = Layer::of_service(name.as_str(), &top.draft);
        self.section(&mut layer, "", node, address);
        if !layer.given.contains_key(LISTEN) {
            // Errors about what it inherits would be about nothing.
            layer.refused.insert(LISTEN);
            let message =
                "is missing; allowed: the address or addresses where its clients connect".to_owned();
            self.report(address, &layer.shown(LISTEN), message);
        }
        let given = &layer.given;
        layer
            .draft
            .apply_weights(|key| given.contains_key(key) || top.given.contains_key(key));
        layer
    }

    /// Says that values do not go together: at the first of their keys that the layer gives, or else the top level.
    fn report_conflict(&mut self, layer: &Layer, top: &Layer, conflict: &Conflict) {
        let is_refused = |key: &&str| layer.refused.contains(key) || top.refused.contains(key);
        if conflict.keys.iter().any(is_refused) {
            return;
        }
        let place_in = |layer: &Layer| {
            conflict.keys.iter().find_map(|key| {
                let address = layer.given.get(key)?;
                Some((layer.shown(key), address.clone()))
            })
        };
        let (key, address) = place_in(layer).or_else(|| place_in(top)).unwrap_or_default();
        self.report(&address, &key, conflict.message.clone());
    }

    /// No address is listened on by two.
    fn check_addresses(&mut self, top: &Layer, services: Option<&Services>) {
        let layers = match services {
            None => vec![top],
            Some(services) => services.values().collect(),
        };
        for taken in listeners::taken_twice(top, layers) {
            let address = taken.layer.given.get(taken.key).cloned().unwrap_or_default();
            self.report(&address, &taken.layer.shown(taken.key), taken.message);
        }
    }

    fn finish(
        mut self,
        top: &Layer,
        services: Option<Services>,
        file: &Path,
    ) -> Result<Config, ConfigErrors> {
        if self.errors.is_empty() {
            let process = top.draft.process(file);
            return Ok(match services {
                None => Config::of_one(process, top.draft.spec(file)),
                Some(services) => Config {
                    process,
                    services: services
                        .into_iter()
                        .map(|(name, layer)| (name, Arc::new(layer.draft.spec(file))))
                        .collect(),
                },
            });
        }
        self.errors.sort();
        let names_list = |layer: &&Layer| !layer.refused.contains("remotes.provider.file.path");
        let layers: Vec<&Layer> = match &services {
            None => vec![top],
            Some(services) => services.values().collect(),
        };
        let lists: BTreeSet<PathBuf> = layers
            .into_iter()
            .filter(names_list)
            .map(|layer| layer.draft.spec(file).remotes.provider.path)
            .collect();
        Err(ConfigErrors {
            file: file.to_owned(),
            errors: self.errors,
            omitted: self.omitted,
            lists: lists.into_iter().collect(),
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

/// What to say about an unknown key: the nearest name in this section, or the same name in another one.
fn unknown(layer: &Layer, section: &str, name: &str) -> String {
    let known = layer.children(section);
    let allowed = known.join(", ");
    if name == "<<" {
        return format!("merge keys are not supported; allowed: {allowed}");
    }
    let suggestion = nearest(name, &known).map(str::to_owned);
    match suggestion.or_else(|| layer.elsewhere(name)) {
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
        let top = Layer::top(Draft::default());
        assert!(unknown(&top, "server", "listen_adr").contains("did you mean listen_addr?"));
        assert!(unknown(&top, "pools", "dial_timeout").contains("did you mean pools.common.dial_timeout?"));
        assert!(unknown(&top, "server", "colour").starts_with("unknown key; allowed: listen_addr, reactors"));
        let web = Layer::of_service("web", &Draft::default());
        assert!(unknown(&web, "", "listen_adr").contains("did you mean listen_addr?"));
        let elsewhere = unknown(&web, "", "dial_timeout");
        assert!(
            elsewhere.contains("did you mean services.web.pools.common.dial_timeout?"),
            "{elsewhere}"
        );
    }
}
