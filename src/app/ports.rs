//! The ports of the process: bound before anything starts, opened last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpListener;

use super::AppError;
use super::threads::Common;
use crate::admin::http::HttpPort;
use crate::config::Config;
use crate::metrics::{Exporter, Sources};
use crate::net;

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

pub(super) fn open_metrics(config: &Config, common: &Common) -> Result<Option<HttpPort>, AppError> {
    if !config.metrics.enabled {
        return Ok(None);
    }
    let addr = config.metrics.listen_addr;
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
    let refused = |source| AppError::Listen {
        key: "metrics.listen_addr",
        addr,
        source,
    };
    let exporter = Exporter::new(sources).map_err(|error| refused(io::Error::other(error)))?;
    let port = HttpPort::bind(addr, &config.metrics.path, exporter, Arc::clone(&common.control));
    port.map(Some).map_err(refused)
}
