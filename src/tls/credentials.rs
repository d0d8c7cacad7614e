//! What a service has for TLS, each way.

use std::collections::BTreeMap;
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
    /// How the servers of its providers are spoken to, by the provider's place in its list.
    pub of_providers: BTreeMap<usize, Arc<Origination>>,
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
        let mut of_providers = BTreeMap::new();
        for (index, tls) in to_providers(spec) {
            let before = before.of_providers.get(&index);
            of_providers.extend(Some(index).zip(speak(Some(&tls), Resume::No, before)));
        }
        let credentials = Self {
            origination: speak(
                remotes.tls.to_backends(),
                Resume::Yes,
                before.origination.as_ref(),
            ),
            of_checks: speak(of_checks.as_ref(), Resume::No, before.of_checks.as_ref()),
            of_providers,
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
            && self.of_providers == other.of_providers
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
        let of_providers = to_providers(spec).map(|(_, tls)| tls);
        let all: Vec<ClientTls> = ours.into_iter().flatten().chain(of_providers).collect();
        let authorities = all.iter().filter_map(followed);
        spec.server.tls.files().chain(authorities).collect()
    }
}

/// How TLS is spoken to the servers of providers, by their places in the list.
fn to_providers(spec: &Spec) -> impl Iterator<Item = (usize, ClientTls)> {
    let providers = spec.remotes.providers.iter().enumerate();
    providers.filter_map(|(index, supply)| Some((index, supply.provider.http()?.to_server()?)))
}

fn same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, Some(_)) | (Some(_), None) => false,
    }
}
