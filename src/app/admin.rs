//! The admin port's sockets: opened before anything is changed, so that a refusal changes nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use log::info;
use mio::net::TcpListener;

use super::error::AppError;
use super::threads::Spawner;
use crate::admin::{self, AdminHandle, AdminLoop, Desk, Site};
use crate::config::{Metrics, Process};
use crate::metrics::{Exporter, Sources};
use crate::service::Hub;

/// The loop, made and not yet running.
pub(super) struct Admin {
    port: AdminLoop,
    handle: AdminHandle,
    errands: Receiver<admin::Errand>,
    pub(super) metrics_addr: Option<SocketAddr>,
}

impl Admin {
    /// Opens what the configuration wants.
    pub(super) fn open(process: &Process, hub: &Arc<Hub>) -> Result<Self, AppError> {
        let bad_requests = Arc::new(AtomicU64::new(0));
        let sources = Sources {
            hub: Arc::clone(hub),
            bad_requests: Arc::clone(&bad_requests),
        };
        let refused = |source| AppError::System {
            what: "admin port",
            source,
        };
        let exporter = Exporter::new(sources)
            .map_err(std::io::Error::other)
            .map_err(refused)?;
        let (desk, errands) = Desk::new(Arc::clone(&hub.bells.worker));
        let site = Site::new(exporter, bad_requests, Arc::clone(hub), desk);
        let (port, handle) = AdminLoop::new(site).map_err(refused)?;
        let change = AdminChange::prepare(None, process)?;
        let metrics_addr = change.metrics_addr;
        if let Some(addr) = metrics_addr {
            info!("metrics on http://{addr}{}", process.metrics.path);
        }
        change.make(&handle);
        Ok(Self {
            port,
            handle,
            errands,
            metrics_addr,
        })
    }

    /// Starts the loop, in a thread of its own.
    pub(super) fn start(self, spawner: &Spawner) -> Result<(JoinHandle<Option<()>>, AdminPort), AppError> {
        let (port, handle, errands) = (self.port, self.handle, self.errands);
        let thread = spawner.spawn("metrics".to_owned(), move || {
            port.run().map_err(|error| error.to_string())
        })?;
        Ok((thread, AdminPort { handle, errands }))
    }
}

/// The way to the loop, and what it asks for.
#[derive(Debug)]
pub(super) struct AdminPort {
    pub(super) handle: AdminHandle,
    pub(super) errands: Receiver<admin::Errand>,
}

/// What is to change, opened already.
#[derive(Debug)]
pub(super) struct AdminChange {
    metrics: Option<Option<TcpListener>>,
    pub(super) metrics_addr: Option<SocketAddr>,
    path: String,
    token: Option<String>,
}

impl AdminChange {
    /// Opens what the next configuration has and the present one has not.
    pub(super) fn prepare(present: Option<&Process>, next: &Process) -> Result<Self, AppError> {
        let addr = |metrics: &Metrics| metrics.enabled.then_some(metrics.listen_addr);
        let (before, after) = (present.and_then(|one| addr(&one.metrics)), addr(&next.metrics));
        let mut change = Self {
            metrics: None,
            metrics_addr: None,
            path: next.metrics.path.clone(),
            token: next.metrics.admin_token.clone(),
        };
        if before != after {
            change.metrics = Some(None);
            if let Some(addr) = after {
                let bound = admin::bind(addr).map_err(|source| AppError::Listen {
                    key: "metrics.listen_addr".to_owned(),
                    addr,
                    source,
                })?;
                change.metrics_addr = Some(bound.1);
                change.metrics = Some(Some(bound.0));
            }
        }
        Ok(change)
    }

    /// Makes the change.
    pub(super) fn make(self, handle: &AdminHandle) {
        match self.metrics {
            Some(Some(listener)) => handle.open_metrics(listener, self.path),
            Some(None) => handle.close_metrics(),
            None => handle.set_path(self.path),
        }
        handle.set_token(self.token);
    }
}
