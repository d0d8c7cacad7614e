//! Everything that a configuration says: the process, and each of its services.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::access_log::AccessLog;
use super::pools::Pools;
use super::process::Process;
use super::remotes::Remotes;
use super::server::Server;
use super::service_name::ServiceName;
use super::sleep::Sleep;

/// Everything the configuration file says, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What is the process's alone.
    pub process: Process,
    /// The services, by name; at least one.
    pub services: BTreeMap<ServiceName, Arc<Spec>>,
    layout: Layout,
}

/// What the file says of one service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spec {
    /// Where connections are accepted, and limits on them.
    pub server: Server,
    /// Candidates: where they come from, how they are probed, scored and selected.
    pub remotes: Remotes,
    /// Balancing and warm connections.
    pub pools: Pools,
    /// What it does while nobody uses it.
    pub sleep: Sleep,
    /// A line for each of its connections.
    pub access_log: AccessLog,
}

/// Where the keys of services stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// At the top level: there is one service, called `default`.
    Flat,
    /// Under `services`.
    Named,
}

impl Config {
    /// A configuration of one service called `default`, whose keys stand at the top level.
    #[must_use]
    pub fn of_one(process: Process, spec: Spec) -> Self {
        Self {
            process,
            services: BTreeMap::from([(ServiceName::default_service(), Arc::new(spec))]),
            layout: Layout::Flat,
        }
    }

    /// A configuration of services whose keys stand under `services`; at least one.
    #[must_use]
    pub fn of_many(process: Process, services: impl IntoIterator<Item = (ServiceName, Spec)>) -> Self {
        let services = services.into_iter().map(|(name, spec)| (name, Arc::new(spec)));
        let config = Self {
            process,
            services: services.collect(),
            layout: Layout::Named,
        };
        debug_assert!(!config.services.is_empty(), "a process without services");
        config
    }

    /// The spec of the one service, if there is only one.
    #[must_use]
    pub fn only(&self) -> Option<&Spec> {
        let mut specs = self.services.values();
        let first = specs.next()?;
        specs.next().is_none().then_some(first)
    }

    /// Changes the spec of the one service.
    pub fn edit(&mut self, change: impl FnOnce(&mut Spec)) {
        debug_assert_eq!(self.services.len(), 1, "which one?");
        if let Some(spec) = self.services.values_mut().next() {
            change(Arc::make_mut(spec));
        }
    }

    /// Whether the keys of the one service stand at the top level of the file.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.layout == Layout::Flat
    }

    /// A key of a service, as it is written in this file: `server.idle_timeout` as `services.web.idle_timeout`.
    #[must_use]
    pub fn key_of(&self, service: &ServiceName, path: &str) -> String {
        match self.layout {
            Layout::Flat => path.to_owned(),
            Layout::Named => in_service(&format!("services.{service}"), path),
        }
    }

    /// The key that names the listen addresses of a service.
    #[must_use]
    pub fn listen_key(&self, service: &ServiceName) -> String {
        self.key_of(service, "server.listen_addr")
    }
}

/// A key as it is written in the service whose own path is `prefix`: what stands in `server` at the top level stands
/// in the service itself.
pub(super) fn in_service(prefix: &str, path: &str) -> String {
    format!("{prefix}.{}", path.strip_prefix("server.").unwrap_or(path))
}
