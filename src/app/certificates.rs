//! The certificates of all services, as their files have them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::base::clock;
use crate::config::{Config, ServiceName};
use crate::reactor::limits::Limits;
use crate::service::Directory;
use crate::tls::{Fault, Shown, Termination};

/// What each service shows its clients; a service that shows nothing is not there.
pub type Certificates = BTreeMap<ServiceName, Arc<Termination>>;

/// Every certificate or key that cannot be used; at least one.
#[derive(Debug)]
pub struct CertificateError {
    /// Which service names it, and what is wrong.
    pub faults: Vec<(ServiceName, Fault)>,
}

impl CertificateError {
    /// Whether a file could not be read at all, as opposed to being wrong.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.faults.iter().any(|(_, fault)| fault.is_unreadable())
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (_, fault)) in self.faults.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CertificateError {}

/// Reads every certificate and key that a configuration names.
///
/// # Errors
/// All files that cannot be read or used.
pub fn load(config: &Config) -> Result<Certificates, CertificateError> {
    reload(config, &Directory::empty(Limits::of(0, 0)))
}

/// Reads them again: what says the same is the same as in the present directory.
///
/// # Errors
/// All files that cannot be read or used.
pub(super) fn reload(config: &Config, present: &Directory) -> Result<Certificates, CertificateError> {
    let (mut certificates, mut faults) = (Certificates::new(), Vec::new());
    for (name, spec) in &config.services {
        let before = present.service(name.as_str());
        let before = before.and_then(|service| service.termination.as_ref());
        match Termination::load(&spec.server.tls, before) {
            Ok(None) => {}
            Ok(Some(termination)) => {
                certificates.insert(name.clone(), termination);
            }
            Err(wrong) => faults.extend(wrong.into_iter().map(|fault| (name.clone(), fault))),
        }
    }
    if faults.is_empty() {
        Ok(certificates)
    } else {
        Err(CertificateError { faults })
    }
}

/// What people should know of certificates that can be used all the same.
#[must_use]
pub fn remarks(termination: &Termination) -> Vec<String> {
    let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let remarks = |one: &Shown| one.remarks(now);
    termination.shown().iter().flat_map(remarks).collect()
}
