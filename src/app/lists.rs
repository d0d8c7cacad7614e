//! What the providers of all services of a configuration say, each file read once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::warn;

use crate::base::file_watch::must_be_regular;
use crate::candidates::{Account, CandidateSet, HostNames, LoadError, Rules, list_file};
use crate::config::{Config, FileProvider, Provider, ServiceName};

/// The candidates of each service.
pub type Lists = BTreeMap<ServiceName, Listed>;

/// The candidates of one service.
#[derive(Debug, Clone)]
pub struct Listed {
    /// What each of its providers has said last, in their order; none has not said anything yet.
    parts: Vec<Option<Arc<CandidateSet>>>,
    /// All of it.
    pub union: Arc<CandidateSet>,
}

impl Listed {
    /// What each provider of a service says, in their order.
    #[must_use]
    pub fn of(parts: Vec<Option<Arc<CandidateSet>>>) -> Self {
        let union = unite(&parts);
        Self { parts, union }
    }

    /// What a provider has said last.
    #[must_use]
    pub fn part(&self, index: usize) -> Option<&Arc<CandidateSet>> {
        self.parts.get(index)?.as_ref()
    }

    /// Takes in what some of the providers say now.
    pub(super) fn say(&mut self, said: impl IntoIterator<Item = (usize, Arc<CandidateSet>)>) {
        for (index, set) in said {
            debug_assert!(index < self.parts.len(), "a place for each provider");
            if let Some(part) = self.parts.get_mut(index) {
                *part = Some(set);
            }
        }
        self.union = unite(&self.parts);
    }
}

/// All candidates. Those of the only provider are not copied.
fn unite(parts: &[Option<Arc<CandidateSet>>]) -> Arc<CandidateSet> {
    let said: Vec<&Arc<CandidateSet>> = parts.iter().flatten().collect();
    match said[..] {
        [one] => Arc::clone(one),
        _ => Arc::new(CandidateSet::union(said.into_iter().map(|set| &**set))),
    }
}

/// Every list that cannot be used; at least one.
#[derive(Debug)]
pub struct ListError {
    /// What is wrong with each.
    pub errors: Vec<LoadError>,
}

impl ListError {
    /// Whether a list could not be read at all, as opposed to being wrong.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.errors
            .iter()
            .any(|error| matches!(error, LoadError::Unreadable { .. }))
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ListError {}

/// Reads every list again, and waits for nobody who writes one.
///
/// # Errors
/// All lists that cannot be read or used.
pub(super) fn reload(config: &Config) -> Result<Lists, ListError> {
    let specs = config.services.values();
    let files = specs.flat_map(|spec| spec.remotes.providers.iter().filter_map(Provider::file));
    let paths: BTreeSet<&PathBuf> = files.map(|file| &file.path).collect();
    let unreadable = |path: &PathBuf| {
        let source = must_be_regular(path).err()?;
        let path = path.clone();
        Some(LoadError::Unreadable { path, source })
    };
    let errors: Vec<_> = paths.into_iter().filter_map(unreadable).collect();
    if errors.is_empty() {
        load(config)
    } else {
        Err(ListError { errors })
    }
}

/// How a file is read for a service with this port.
pub(super) fn rules(file: &FileProvider, default_port: u16) -> Rules {
    Rules {
        default_port,
        on_bad_line: file.on_bad_line,
        host_names: HostNames::Refused,
    }
}

/// Logs what people should know of a list.
pub fn tell(path: &Path, account: &Account) {
    for remark in account.remarks() {
        warn!("{}: {remark}", path.display());
    }
}

/// What the configuration and the files that it names say; logs what people should know of each file.
///
/// # Errors
/// All lists that cannot be read or used.
pub fn load(config: &Config) -> Result<Lists, ListError> {
    read(config, tell)
}

/// What the configuration and the files that it names say; providers that have to be asked have not said anything yet.
/// Services that name the same file (and read it in the same way) share what it says, and what was understood of it is
/// told once.
///
/// # Errors
/// All lists that cannot be read or used.
pub fn read(config: &Config, mut understood: impl FnMut(&Path, &Account)) -> Result<Lists, ListError> {
    let mut read: BTreeMap<(PathBuf, Rules), Option<Arc<CandidateSet>>> = BTreeMap::new();
    let mut lists = Lists::new();
    let mut errors = Vec::new();
    for (name, spec) in &config.services {
        let port = spec.remotes.default_remote_port;
        let mut part = |provider: &Provider| match provider {
            Provider::File(file) => {
                let set = read.entry((file.path.clone(), rules(file, port)));
                let set = set.or_insert_with_key(|(path, rules)| {
                    let list = list_file::load(path, *rules).map_err(|error| errors.push(error));
                    let list = list.ok()?;
                    understood(path, &list.account);
                    Some(Arc::new(list.set))
                });
                set.clone()
            }
            Provider::Inline(entries) => {
                let set = list_file::parse(&entries.join("\n"), port);
                debug_assert!(set.is_ok(), "checked with the configuration");
                set.ok().map(Arc::new)
            }
        };
        let parts = spec.remotes.providers.iter().map(&mut part).collect();
        lists.insert(name.clone(), Listed::of(parts));
    }
    if errors.is_empty() {
        Ok(lists)
    } else {
        Err(ListError { errors })
    }
}
