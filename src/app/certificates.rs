//! The certificates of all services, as their files have them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::base::clock;
use crate::config::{Config, ServiceName, Spec, Supply};
use crate::reactor::limits::Limits;
use crate::service::Directory;
use crate::tls::{Credentials, Fault, Shown};

/// What each service has for TLS; each service is there.
pub type Certificates = BTreeMap<ServiceName, Credentials>;

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
        let before = before.map(|service| service.tls.clone()).unwrap_or_default();
        match Credentials::load(spec, &before) {
            Ok(credentials) => drop(certificates.insert(name.clone(), credentials)),
            Err(wrong) => faults.extend(wrong.into_iter().map(|fault| (name.clone(), fault))),
        }
    }
    if faults.is_empty() {
        Ok(certificates)
    } else {
        Err(CertificateError { faults })
    }
}

/// What people should know of what a service has for TLS, though it can be used all the same, and is not the same as before.
#[must_use]
pub fn remarks(spec: &Spec, before: &Credentials, now: &Credentials) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(termination) = &now.termination
        && before
            .termination
            .as_ref()
            .is_none_or(|before| !Arc::ptr_eq(before, termination))
    {
        remarks.extend(of_shown(termination.shown()));
    }
    if now.origination.is_some() && !spec.remotes.tls.client.verify && !now.speaks_alike(before) {
        remarks.push(UNVERIFIED.to_owned());
    }
    let is_unverified = |(index, supply): (usize, &Supply)| {
        let is_new = now.of_providers.get(&index) != before.of_providers.get(&index);
        is_new && supply.provider.http().is_some_and(|http| !http.tls.verify)
    };
    if spec.remotes.providers.iter().enumerate().any(is_unverified) {
        remarks.push(UNVERIFIED_PROVIDER.to_owned());
    }
    remarks
}

/// What is said where backends are not asked who they are.
const UNVERIFIED: &str =
    "remotes.tls.verify is false: whoever is in between can read and change what goes to backends";

/// What is said where a provider's server is not asked who it is.
const UNVERIFIED_PROVIDER: &str =
    "remotes.provider.http.tls.verify is false: whoever is in between can say who the candidates are";

fn of_shown(shown: &[Shown]) -> Vec<String> {
    let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let remarks = |one: &Shown| one.remarks(now);
    shown.iter().flat_map(remarks).collect()
}
