//! The access logs of all services.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access_log::Journal;
use crate::config::{Config, ServiceName};
use crate::logging::LogError;

/// Where the lines of each service go; a service without is not there.
pub(super) type Journals = BTreeMap<ServiceName, Arc<Journal>>;

/// Opens every output that a configuration names; what is open already is the same.
///
/// # Errors
/// When one of them cannot be opened: none that is new stays open then.
pub(super) fn open(config: &Config) -> Result<Journals, LogError> {
    let mut journals = Journals::new();
    for (name, spec) in &config.services {
        if let Some(journal) = Journal::open(&spec.access_log)? {
            journals.insert(name.clone(), Arc::new(journal));
        }
    }
    Ok(journals)
}
