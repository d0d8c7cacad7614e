//! The ports of the process: bound before anything starts, opened last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpListener;

use super::AppError;
use super::threads::Common;
use crate::admin::{self, AdminHandle, AdminLoop, Desk, Reloads, ServiceSource, Site, StatusSources};
use crate::clock;
use crate::config::Config;
use crate::metrics::{Exporter, Sources};
use crate::net;
use crate::snapshot::Published;

/// Binds every listen address, so that one in use is known before anything starts; nobody can connect yet.
pub(super) fn reserve_ports(config: &Config, reactors: usize) -> Result<Vec<net::Reserved>, AppError> {
    let reserve = |addr: &SocketAddr| {
        net::reserve(*addr, reactors, &config.server.keepalive).map_err(|source| refused(*addr, source))
    };
    config.server.listen_addrs.iter().map(reserve).collect()
}

/// Opens the reserved ports: the addresses, and one row of listeners for each reactor.
pub(super) fn listen(
    reserved: Vec<net::Reserved>,
    reactors: usize,
) -> Result<(Vec<SocketAddr>, Vec<Vec<TcpListener>>), AppError> {
    let mut addrs = Vec::with_capacity(reserved.len());
    let mut rows: Vec<Vec<_>> = (0..reactors).map(|_| Vec::new()).collect();
    for one in reserved {
        let addr = one.addr();
        let listeners = one.listen().map_err(|source| refused(addr, source))?;
        addrs.push(addr);
        for (row, listener) in rows.iter_mut().zip(listeners) {
            row.push(listener);
        }
    }
    Ok((addrs, rows))
}

fn refused(addr: SocketAddr, source: io::Error) -> AppError {
    AppError::Listen {
        key: "server.listen_addr",
        addr,
        source,
    }
}

/// The admin port before it runs, and what it has open.
pub(super) struct Admin {
    pub(super) port: AdminLoop,
    pub(super) handle: AdminHandle,
    pub(super) metrics_addr: Option<SocketAddr>,
    pub(super) services: Arc<Published<Vec<ServiceSource>>>,
}

pub(super) fn open_admin(config: &Config, common: &Common) -> Result<Admin, AppError> {
    let sources = Sources {
        reactors: Arc::clone(&common.counters),
        control: Arc::clone(&common.control),
        active: Arc::clone(&common.active),
        candidates: Arc::clone(&common.candidates),
        board: Arc::clone(&common.board),
        inbox: Arc::clone(&common.inbox),
        probes: Arc::clone(&common.probes),
        algorithm: config.pools.algorithm,
        started_at: common.started_at,
    };
    let system = |source| AppError::System {
        what: "admin port",
        source,
    };
    let exporter = Exporter::new(sources).map_err(|error| system(io::Error::other(error)))?;
    let services = Arc::new(Published::new(Vec::new()));
    let status = StatusSources {
        started_at: common.started_at,
        started: clock::wall(),
        services: Arc::clone(&services),
        reloads: Arc::new(Published::new(Reloads::default())),
    };
    // Nobody does errands yet.
    let (desk, _) = Desk::new();
    let site = Site::new(exporter, Arc::clone(&common.control), status, desk);
    let (port, handle) = AdminLoop::new(site).map_err(system)?;
    let metrics_addr = open_metrics(config, &handle)?;
    Ok(Admin {
        port,
        handle,
        metrics_addr,
        services,
    })
}

fn open_metrics(config: &Config, admin: &AdminHandle) -> Result<Option<SocketAddr>, AppError> {
    if !config.metrics.enabled {
        return Ok(None);
    }
    let addr = config.metrics.listen_addr;
    let (listener, addr) = admin::http::bind(addr).map_err(|source| AppError::Listen {
        key: "metrics.listen_addr",
        addr,
        source,
    })?;
    admin.open_metrics(listener, config.metrics.path.clone());
    Ok(Some(addr))
}
