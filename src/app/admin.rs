//! The admin port's sockets: opened before anything is changed, so that a refusal changes nothing.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use log::{info, warn};
use mio::net::TcpListener;
use socket2::Socket;

use super::error::AppError;
use super::inherited::Inherited;
use super::threads::Spawner;
use crate::admin::{self, AdminHandle, AdminLoop, Desk, Site};
use crate::config::{Metrics, Process};
use crate::control_socket::ControlSocket;
use crate::metrics::{Exporter, Sources};
use crate::net;
use crate::service::Hub;

/// The loop, made and not yet running.
pub(super) struct Admin {
    port: AdminLoop,
    way: AdminPort,
    pub(super) metrics_addr: Option<SocketAddr>,
}

impl Admin {
    /// Opens what the configuration wants.
    pub(super) fn open(
        process: &Process,
        hub: &Arc<Hub>,
        inherited: &mut Inherited,
    ) -> Result<Self, AppError> {
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
            .map_err(io::Error::other)
            .map_err(refused)?;
        let (desk, errands) = Desk::new(Arc::clone(&hub.bells.worker));
        let site = Site::new(exporter, bad_requests, Arc::clone(hub), desk);
        let (port, handle) = AdminLoop::new(site).map_err(refused)?;
        let change = AdminChange::prepare(None, process, inherited)?;
        let metrics_addr = change.metrics_addr();
        if let Some(addr) = metrics_addr {
            info!("metrics on http://{addr}{}", process.metrics.path);
        }
        let mut doors = Doors::default();
        // What another process still answers at is opened once it has been given up.
        let waiting = if inherited.claim.is_some() {
            Some(change)
        } else {
            change.make(&handle, &mut doors);
            None
        };
        Ok(Self {
            port,
            way: AdminPort {
                handle,
                errands,
                doors,
                waiting,
            },
            metrics_addr,
        })
    }

    /// Starts the loop, in a thread of its own.
    pub(super) fn start(self, spawner: &Spawner) -> Result<(JoinHandle<Option<()>>, AdminPort), AppError> {
        let port = self.port;
        let thread = spawner.spawn("metrics".to_owned(), move || {
            port.run().map_err(|error| error.to_string())
        })?;
        Ok((thread, self.way))
    }
}

/// The way to the loop, what it asks for, and another descriptor of its sockets, to be handed over.
#[derive(Debug)]
pub(super) struct AdminPort {
    pub(super) handle: AdminHandle,
    pub(super) errands: Receiver<admin::Errand>,
    pub(super) doors: Doors,
    /// What is opened once another process has handed over.
    waiting: Option<AdminChange>,
}

impl AdminPort {
    /// Answers at what another process has given up.
    pub(super) fn take_over(&mut self) {
        if let Some(change) = self.waiting.take() {
            change.make(&self.handle, &mut self.doors);
        }
        if let Some(control) = &mut self.doors.control {
            control.keep();
        }
    }
}

/// The sockets of the loop.
#[derive(Debug, Default)]
pub(super) struct Doors {
    pub(super) metrics: Option<(SocketAddr, Socket)>,
    pub(super) control: Option<ControlSocket>,
}

/// What becomes of a door.
#[derive(Debug)]
enum Change<T> {
    Stays,
    Closes,
    /// It is open already.
    Opens(T),
}

impl<T> Change<T> {
    fn to(next: Option<T>) -> Self {
        next.map_or(Self::Closes, Self::Opens)
    }
}

/// What is to change.
#[derive(Debug)]
pub(super) struct AdminChange {
    metrics: Change<(TcpListener, SocketAddr, Socket)>,
    control: Change<ControlSocket>,
    path: String,
    token: Option<String>,
}

impl AdminChange {
    /// Opens what the next configuration has and the present one has not.
    pub(super) fn prepare(
        present: Option<&Process>,
        next: &Process,
        inherited: &mut Inherited,
    ) -> Result<Self, AppError> {
        let addr = |metrics: &Metrics| metrics.enabled.then_some(metrics.listen_addr);
        let (before, after) = (present.and_then(|one| addr(&one.metrics)), addr(&next.metrics));
        let metrics = if before == after {
            Change::Stays
        } else {
            Change::to(after.map(|addr| open_metrics(addr, inherited)).transpose()?)
        };
        let before = present.and_then(|one| one.control_socket.as_ref());
        let control = if before == next.control_socket.as_ref() {
            Change::Stays
        } else {
            let open = |path: &PathBuf| open_control(path, inherited).map_err(AppError::Control);
            Change::to(next.control_socket.as_ref().map(open).transpose()?)
        };
        Ok(Self {
            metrics,
            control,
            path: next.metrics.path.clone(),
            token: next.metrics.admin_token.clone(),
        })
    }

    /// Where the metrics port is, if this opens it.
    pub(super) fn metrics_addr(&self) -> Option<SocketAddr> {
        match &self.metrics {
            Change::Opens((_, addr, _)) => Some(*addr),
            Change::Stays | Change::Closes => None,
        }
    }

    /// Makes the change.
    pub(super) fn make(self, handle: &AdminHandle, doors: &mut Doors) {
        match self.metrics {
            Change::Opens((listener, addr, duplicate)) => {
                doors.metrics = Some((addr, duplicate));
                handle.open_metrics(listener, self.path);
            }
            Change::Closes => {
                doors.metrics = None;
                handle.close_metrics();
            }
            Change::Stays => handle.set_path(self.path),
        }
        handle.set_token(self.token);
        match self.control {
            Change::Opens(control) => {
                if let Some(listener) = local_listener(&control) {
                    handle.open_control(listener);
                }
                doors.control = Some(control);
            }
            Change::Closes => {
                handle.close_control();
                doors.control = None;
            }
            Change::Stays => {}
        }
    }
}

fn open_metrics(
    addr: SocketAddr,
    inherited: &mut Inherited,
) -> Result<(TcpListener, SocketAddr, Socket), AppError> {
    let refused = |source| AppError::Listen {
        key: "metrics.listen_addr".to_owned(),
        addr,
        source,
    };
    let (listener, bound) = match inherited.metrics_at(addr) {
        Some(socket) => {
            socket.set_nonblocking(true).map_err(refused)?;
            (TcpListener::from_std(socket.into()), addr)
        }
        None => admin::bind(addr).map_err(refused)?,
    };
    let duplicate = net::duplicate(&listener).map_err(refused)?;
    Ok((listener, bound, duplicate))
}

fn open_control(path: &Path, inherited: &mut Inherited) -> io::Result<ControlSocket> {
    match inherited.control_at(path) {
        Some(socket) => ControlSocket::adopt(socket, path),
        None => ControlSocket::bind(path),
    }
}

#[cfg(unix)]
fn local_listener(control: &ControlSocket) -> Option<net::LocalListener> {
    match control.duplicate() {
        Ok(listener) => Some(net::LocalListener::from_std(listener)),
        Err(error) => {
            warn!("the control socket is not served: {error}");
            None
        }
    }
}

#[cfg(not(unix))]
fn local_listener(_: &ControlSocket) -> Option<net::LocalListener> {
    None
}
