//! The keys as sections: what may stand where, made of the table.
//!
//! There are two shapes, the whole file and a service, and whoever walks one can walk the other.

use std::sync::LazyLock;

use super::keys::{self, Field, Key};

/// The name of the section that may be a list.
const PROVIDERS: &str = "provider";

/// A section: what may stand in it, in the order of the table.
#[derive(Default)]
pub(super) struct Section {
    entries: Vec<(&'static str, Entry)>,
}

/// What a name in a section stands for.
pub(super) enum Entry {
    Key(&'static Key),
    Section(Section),
    /// A section, or a list of such sections: the providers.
    Providers(Section),
    /// The services, each of which is a section of the shape [`SERVICE`].
    Services,
    /// Nothing here, and where it belongs.
    Elsewhere(String),
}

/// The whole file.
pub(super) static TOP: LazyLock<Section> = LazyLock::new(|| {
    let mut top = Section::default();
    for key in keys::all() {
        top.add(key.path, key);
    }
    top.entries.push(("services", Entry::Services));
    top
});

/// One service: what stands in `server` at the top level stands in it directly.
pub(super) static SERVICE: LazyLock<Section> = LazyLock::new(|| {
    let mut service = Section::default();
    let elsewhere = |path| {
        Entry::Elsewhere(format!(
            "the process's, not a service's; allowed: {path} at the top level"
        ))
    };
    for key in keys::all() {
        let path = key.path.strip_prefix("server.").unwrap_or(key.path);
        match key.field {
            Field::Service(_) | Field::Provider(_) => service.add(path, key),
            Field::Process(_) => {
                let (name, whole) = match path.split_once('.') {
                    Some((section, _)) => (section, section),
                    None => (path, key.path),
                };
                if service.entry(name).is_none() {
                    service.entries.push((name, elsewhere(whole)));
                }
            }
        }
    }
    let names = service.names().join(", ");
    let stand = format!("what is in server at the top level stands in the service itself; allowed: {names}");
    service.entries.push(("server", Entry::Elsewhere(stand)));
    service
});

impl Section {
    /// What a name stands for.
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        let found = self.entries.iter().find(|(known, _)| *known == name);
        found.map(|(_, entry)| entry)
    }

    /// The names that are allowed here.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let allowed = |entry: &Entry| !matches!(entry, Entry::Elsewhere(_));
        let entries = self.entries.iter().filter(|(_, entry)| allowed(entry));
        entries.map(|(name, _)| *name).collect()
    }

    /// The first key of this name in this section or one within it: its path from here.
    pub(super) fn find(&self, name: &str) -> Option<String> {
        self.entries.iter().find_map(|(known, entry)| match entry {
            Entry::Key(_) => (*known == name).then(|| name.to_owned()),
            Entry::Section(section) | Entry::Providers(section) => {
                Some(format!("{known}.{}", section.find(name)?))
            }
            Entry::Services | Entry::Elsewhere(_) => None,
        })
    }

    fn add(&mut self, path: &'static str, key: &'static Key) {
        let Some((name, rest)) = path.split_once('.') else {
            debug_assert!(self.entry(path).is_none(), "two keys {path} in one section");
            self.entries.push((path, Entry::Key(key)));
            return;
        };
        let known = self.entries.iter_mut().find(|(known, _)| *known == name);
        match known {
            Some((_, Entry::Section(section) | Entry::Providers(section))) => section.add(rest, key),
            Some(_) => debug_assert!(false, "{name} is a section and something else"),
            None => {
                let mut section = Self::default();
                section.add(rest, key);
                let entry = if name == PROVIDERS {
                    Entry::Providers(section)
                } else {
                    Entry::Section(section)
                };
                self.entries.push((name, entry));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_file_and_the_services_own_in_a_service() {
        for key in keys::all() {
            let at = |shape: &'static Section, path: &str| {
                let mut section = shape;
                let (folders, name) = path.rsplit_once('.').unwrap_or(("", path));
                for folder in folders.split('.').filter(|folder| !folder.is_empty()) {
                    match section.entry(folder) {
                        Some(Entry::Section(inner) | Entry::Providers(inner)) => section = inner,
                        Some(Entry::Elsewhere(_)) => return false,
                        _ => panic!("{path} has no {folder}"),
                    }
                }
                matches!(section.entry(name), Some(Entry::Key(found)) if found.path == key.path)
            };
            assert!(at(&TOP, key.path), "{}", key.path);
            let path = key.path.strip_prefix("server.").unwrap_or(key.path);
            let is_of_service = !matches!(key.field, Field::Process(_));
            assert_eq!(at(&SERVICE, path), is_of_service, "{}", key.path);
        }
        assert!(!SERVICE.names().contains(&"reactors"));
        assert!(TOP.names().contains(&"services"));
    }
}
