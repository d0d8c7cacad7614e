//! The candidate lists of all services of a configuration, each file read once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::file_watch::must_be_regular;
use crate::candidates::{CandidateSet, LoadError, list_file};
use crate::config::{Config, ServiceName};

/// The candidates of each service.
pub type Lists = BTreeMap<ServiceName, Arc<CandidateSet>>;

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
    let paths: BTreeSet<&PathBuf> = config
        .services
        .values()
        .map(|spec| &spec.remotes.provider.path)
        .collect();
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

/// Reads every list that a configuration names. Services that name the same file (and port) share what it says.
///
/// # Errors
/// All lists that cannot be read or used.
pub fn load(config: &Config) -> Result<Lists, ListError> {
    let mut read: BTreeMap<(PathBuf, u16), Option<Arc<CandidateSet>>> = BTreeMap::new();
    let mut lists = Lists::new();
    let mut errors = Vec::new();
    for (name, spec) in &config.services {
        let key = (
            spec.remotes.provider.path.clone(),
            spec.remotes.default_remote_port,
        );
        let set = read.entry(key).or_insert_with_key(|(path, port)| {
            let set = list_file::load(path, *port).map_err(|error| errors.push(error));
            set.ok().map(Arc::new)
        });
        if let Some(set) = set {
            lists.insert(name.clone(), Arc::clone(set));
        }
    }
    if errors.is_empty() {
        debug_assert_eq!(lists.len(), config.services.len(), "a list for each service");
        Ok(lists)
    } else {
        Err(ListError { errors })
    }
}
