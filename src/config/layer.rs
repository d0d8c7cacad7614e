//! One level of keys: the whole file, or one service of it.
//!
//! Both are read along the same table. A service has the keys that are not the process's, and those of `server`
//! directly: what the table calls `server.keepalive.idle` is `services.NAME.keepalive.idle` in the file.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::Draft;
use super::keys::{self, Key, Scope};
use super::tree::Address;

/// Sections of the table that a service has as sections.
const SECTIONS_OF_SERVICES: [&str; 2] = ["remotes", "pools"];

/// The section of the table whose keys a service has directly.
const SERVER: &str = "server";

/// What was read at one level.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Where it stands in the file: empty, or `services.NAME`.
    pub(super) place: String,
    pub(super) draft: Draft,
    /// Keys that the text gives here, and where.
    pub(super) given: BTreeMap<&'static str, Address>,
    /// Keys whose value was refused: rules between keys say nothing about them.
    pub(super) refused: BTreeSet<&'static str>,
}

/// What a name in a section is.
pub(super) enum Entry {
    Key(&'static Key),
    /// A section, by its path in the table.
    Section(String),
    /// A key or a section of the process, in a service; its path at the top level.
    Misplaced(String),
    /// The section `server` in a service, which has its keys directly.
    Server,
    Unknown,
}

impl Layer {
    pub(super) fn top(draft: Draft) -> Self {
        Self {
            place: String::new(),
            draft,
            given: BTreeMap::new(),
            refused: BTreeSet::new(),
        }
    }

    pub(super) fn of_service(name: &str, defaults: &Draft) -> Self {
        Self {
            place: format!("services.{name}"),
            ..Self::top(defaults.clone())
        }
    }

    fn is_top(&self) -> bool {
        self.place.is_empty()
    }

    fn has(&self, key: &Key) -> bool {
        self.is_top() || key.scope() == Scope::Service
    }

    fn keys(&self) -> impl Iterator<Item = &'static Key> {
        keys::all().filter(|key| self.has(key))
    }

    /// The path in the table of a name in a section of the table; the empty section is the whole level.
    fn path(&self, section: &str, name: &str) -> String {
        if !section.is_empty() {
            join(section, name)
        } else if self.is_top() || SECTIONS_OF_SERVICES.contains(&name) {
            name.to_owned()
        } else {
            join(SERVER, name)
        }
    }

    /// A path of the table as it stands in the file.
    pub(super) fn shown(&self, path: &str) -> String {
        if self.is_top() {
            return path.to_owned();
        }
        let within = path.strip_prefix(SERVER).and_then(|rest| rest.strip_prefix('.'));
        join(&self.place, within.unwrap_or(path))
    }

    /// What a name in a section is.
    pub(super) fn entry(&self, section: &str, name: &str) -> Entry {
        // A dot would make a key of this section look like one of a section within.
        if name.is_empty() || name.contains('.') {
            return Entry::Unknown;
        }
        let path = self.path(section, name);
        let is_within = |key: &&'static Key| {
            key.path
                .strip_prefix(&path)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let is_outside = section.is_empty() && !self.is_top();
        match keys::all().find(|key| key.path == path) {
            Some(key) if self.has(key) => Entry::Key(key),
            Some(key) => Entry::Misplaced(key.path.to_owned()),
            None if self.keys().any(|key| is_within(&key)) => Entry::Section(path),
            None if is_outside && name == SERVER => Entry::Server,
            None if is_outside && is_section_of_process(name) => Entry::Misplaced(name.to_owned()),
            None => Entry::Unknown,
        }
    }

    /// Names of the keys and sections directly in a section, in the order of the table.
    pub(super) fn children(&self, section: &str) -> Vec<&'static str> {
        let mut names = Vec::new();
        for key in self.keys() {
            let inside = if !section.is_empty() {
                key.path
                    .strip_prefix(section)
                    .and_then(|rest| rest.strip_prefix('.'))
            } else if self.is_top() {
                Some(key.path)
            } else {
                let within = key
                    .path
                    .strip_prefix(SERVER)
                    .and_then(|rest| rest.strip_prefix('.'));
                Some(within.unwrap_or(key.path))
            };
            if let Some(name) = inside.and_then(|rest| rest.split('.').next())
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        if section.is_empty() && self.is_top() {
            names.push("services");
        }
        names
    }

    /// Where a key with this name stands, if anywhere.
    pub(super) fn elsewhere(&self, name: &str) -> Option<String> {
        self.keys()
            .find(|key| key.path.rsplit('.').next() == Some(name))
            .map(|key| self.shown(key.path))
    }
}

/// Whether all keys in this section are the process's.
fn is_section_of_process(name: &str) -> bool {
    let is_within = |key: &&'static Key| {
        let rest = key.path.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let mut within = keys::all().filter(is_within).peekable();
    within.peek().is_some() && within.all(|key| key.scope() == Scope::Process)
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}
