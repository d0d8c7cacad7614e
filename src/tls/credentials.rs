//! What a service has for TLS, each way.

use std::path::PathBuf;
use std::sync::Arc;

#[cfg(not(feature = "tls"))]
use super::absent::followed;
#[cfg(feature = "tls")]
use super::origination::followed;
use super::{Fault, Origination, Resume, Termination};
use crate::config::{ClientTls, Spec};

/// What a service has for TLS, each way; nothing of it where TLS is not spoken.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// What clients are shown.
    pub termination: Option<Arc<Termination>>,
    /// How backends are spoken to.
    pub origination: Option<Arc<Origination>>,
    /// How checks speak to candidates.
    pub of_checks: Option<Arc<Origination>>,
}

impl Credentials {
    /// What the files of a service make. `before` is what was loaded last; what is the same is not made anew.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn load(spec: &Spec, before: &Self) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let remotes = &spec.remotes;
        let termination = Termination::load(&spec.server.tls, before.termination.as_ref());
        let mut speak = |tls: Option<&ClientTls>, resume, before: Option<&Arc<Origination>>| {
            Origination::load(tls, resume, before).unwrap_or_else(|fault| {
                faults.push(fault);
                None
            })
        };
        let of_checks = remotes.tls.to_candidates(&remotes.probing.check);
        let credentials = Self {
            origination: speak(
                remotes.tls.to_backends(),
                Resume::Yes,
                before.origination.as_ref(),
            ),
            of_checks: speak(of_checks.as_ref(), Resume::No, before.of_checks.as_ref()),
            termination: None,
        };
        match termination {
            Ok(termination) if faults.is_empty() => Ok(Self {
                termination,
                ..credentials
            }),
            Ok(_) => Err(faults),
            Err(wrong) => Err(wrong.into_iter().chain(faults).collect()),
        }
    }

    /// Whether they are the very same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        same(self.termination.as_ref(), other.termination.as_ref())
            && self.speaks_alike(other)
            && self.asks_alike(other)
    }

    /// Whether backends are spoken to in the very same way.
    #[must_use]
    pub fn speaks_alike(&self, other: &Self) -> bool {
        same(self.origination.as_ref(), other.origination.as_ref())
    }

    /// Whether checks speak to candidates in the very same way.
    #[must_use]
    pub fn asks_alike(&self, other: &Self) -> bool {
        same(self.of_checks.as_ref(), other.of_checks.as_ref())
    }

    /// All files that are to be followed for a service.
    #[must_use]
    pub fn files(spec: &Spec) -> Vec<PathBuf> {
        let remotes = &spec.remotes;
        let of_checks = remotes.tls.to_candidates(&remotes.probing.check);
        let ours = [remotes.tls.to_backends().cloned(), of_checks];
        let authorities = ours.iter().flatten().filter_map(followed);
        spec.server.tls.files().chain(authorities).collect()
    }
}

fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, Some(_)) | (Some(_), None) => false,
    }
}
