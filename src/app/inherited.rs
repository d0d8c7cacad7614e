//! Sockets that listen already: of another process that this one takes the place of, or given by the service manager.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use socket2::Socket;

use crate::config::Config;
use crate::handover::{Claim, Entry, Taken};
use crate::systemd::{self, ActivationError, Wanted};

/// What a process is given at its start.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Listeners, by the address that they are bound to.
    pub(super) by_addr: HashMap<SocketAddr, Vec<Socket>>,
    pub(super) metrics: Option<(SocketAddr, Socket)>,
    pub(super) control: Option<(PathBuf, Socket)>,
    /// What makes the sockets of another process ours.
    pub(super) claim: Option<Claim>,
}

impl Inherited {
    /// What another process has handed over.
    #[must_use]
    pub fn taken(taken: Taken) -> Self {
        let mut inherited = Self {
            claim: Some(taken.claim),
            ..Self::default()
        };
        for one in taken.sockets {
            match one.entry {
                Entry::Listener { addr, .. } => inherited.by_addr.entry(addr).or_default().push(one.socket),
                Entry::Metrics { addr } => inherited.metrics = Some((addr, one.socket)),
                Entry::Control { path } => inherited.control = Some((path, one.socket)),
            }
        }
        inherited
    }

    /// What the service manager has passed, if it has.
    ///
    /// # Errors
    /// When something that was passed is of no use.
    pub fn passed(config: &Config) -> Result<Self, ActivationError> {
        let passed = systemd::inherit()?;
        if passed.is_empty() {
            return Ok(Self::default());
        }
        let of_services = config.services.iter().flat_map(|(name, spec)| {
            spec.server.listen_addrs.iter().map(|addr| Wanted {
                service: name.as_str(),
                addr: *addr,
            })
        });
        let metrics = &config.process.metrics;
        let of_metrics = metrics.enabled.then_some(Wanted {
            service: "metrics",
            addr: metrics.listen_addr,
        });
        let wanted: Vec<Wanted<'_>> = of_services.chain(of_metrics).collect();
        let mut rows = systemd::claim(passed, &wanted)?;
        let mut inherited = Self::default();
        if of_metrics.is_some()
            && let Some(row) = rows.pop()
        {
            inherited.metrics = row
                .into_iter()
                .next()
                .map(|one| (metrics.listen_addr, one.socket));
        }
        for (wanted, row) in wanted.iter().zip(rows) {
            if !row.is_empty() {
                let sockets = row.into_iter().map(|one| one.socket).collect();
                inherited.by_addr.insert(wanted.addr, sockets);
            }
        }
        Ok(inherited)
    }

    /// The metrics port, if it is at this address.
    pub(super) fn metrics_at(&mut self, addr: SocketAddr) -> Option<Socket> {
        self.metrics
            .take_if(|(bound, _)| *bound == addr)
            .map(|(_, socket)| socket)
    }

    /// The control socket, if its file is this one.
    pub(super) fn control_at(&mut self, path: &Path) -> Option<Socket> {
        self.control
            .take_if(|(bound, _)| bound == path)
            .map(|(_, socket)| socket)
    }
}
