//! Listen addresses: bound before anything is published, opened last, kept over reloads and hand-overs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpListener;

use super::error::AppError;
use super::inherited::Inherited;
use crate::config::{Config, Keepalive, ServiceName};
use crate::net;
use crate::reactor::{Letter, Mailbox};
use crate::service::ListenerId;

/// A listen address that is open, or about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) id: ListenerId,
    /// As the configuration names it; the port may be 0.
    pub(super) wanted: SocketAddr,
    pub(super) bound: SocketAddr,
    pub(super) service: ServiceName,
}

/// What a configuration listens on: addresses that stay, and those that are bound and not open yet.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) ports: Vec<Port>,
    bound: Vec<(ListenerId, net::Reserved)>,
    /// Those that another process listens on still.
    adopted: Vec<(ListenerId, net::Reserved)>,
}

/// Binds what a configuration listens on beyond `open`; nobody can connect to that yet, and dropping it gives it up.
///
/// An address that is open stays open, whichever service it goes to.
pub(super) fn reserve(
    config: &Config,
    open: &[Port],
    inherited: &mut Inherited,
    reactors: usize,
) -> Result<Reservation, AppError> {
    let mut reservation = Reservation {
        ports: Vec::new(),
        bound: Vec::new(),
        adopted: Vec::new(),
    };
    for (service, spec) in &config.services {
        for wanted in &spec.server.listen_addrs {
            let is_it = |port: &&Port| {
                port.wanted == *wanted
                    && (wanted.port() != 0 || port.service == *service)
                    && reservation.ports.iter().all(|other| other.id != port.id)
            };
            if let Some(port) = open.iter().find(is_it) {
                reservation.ports.push(Port {
                    service: service.clone(),
                    ..port.clone()
                });
                continue;
            }
            let keepalive = &spec.server.keepalive;
            let sockets = inherited.by_addr.remove(wanted);
            let is_adopted = sockets.is_some();
            let bound = match sockets {
                Some(sockets) => net::adopt(sockets, reactors, keepalive),
                None => bind(*wanted, open, reactors, keepalive),
            };
            let bound = bound.map_err(|source| AppError::Listen {
                key: config.listen_key(service),
                addr: *wanted,
                source,
            })?;
            let id = ListenerId::fresh();
            reservation.ports.push(Port {
                id,
                wanted: *wanted,
                bound: bound.addr(),
                service: service.clone(),
            });
            if is_adopted {
                reservation.adopted.push((id, bound));
            } else {
                reservation.bound.push((id, bound));
            }
        }
    }
    Ok(reservation)
}

/// Binds an address; beside one of ours that overlaps it and is about to leave, the port is shared meanwhile.
fn bind(
    wanted: SocketAddr,
    open: &[Port],
    reactors: usize,
    keepalive: &Keepalive,
) -> io::Result<net::Reserved> {
    let is_ours = open.iter().any(|port| net::overlaps(port.bound, wanted));
    if is_ours {
        net::reserve_beside(wanted, reactors, keepalive)
    } else {
        net::reserve(wanted, reactors, keepalive)
    }
}

/// What listens, and is not delivered yet; dropping it closes it.
#[derive(Debug)]
pub(super) struct Opened {
    ports: Vec<Port>,
    /// For each reactor its sockets, one at least.
    listeners: Vec<(ListenerId, Vec<Vec<TcpListener>>)>,
    adopted: Vec<(ListenerId, net::Reserved)>,
}

impl Reservation {
    /// The addresses whose sockets were inherited.
    pub(super) fn adopted(&self) -> Vec<SocketAddr> {
        self.adopted.iter().map(|(_, bound)| bound.addr()).collect()
    }

    /// Begins to listen on what was bound here.
    pub(super) fn listen(self) -> Result<Opened, AppError> {
        let mut opened = Opened {
            ports: self.ports,
            listeners: Vec::with_capacity(self.bound.len()),
            adopted: self.adopted,
        };
        opened.add(self.bound)?;
        Ok(opened)
    }
}

impl Opened {
    /// Listens on what was inherited too, with as many sockets as there are reactors: nobody else does any more.
    pub(super) fn listen_on_adopted(&mut self) -> Result<(), AppError> {
        let adopted = std::mem::take(&mut self.adopted);
        self.add(adopted)
    }

    fn add(&mut self, bound: Vec<(ListenerId, net::Reserved)>) -> Result<(), AppError> {
        for (id, bound) in bound {
            let addr = bound.addr();
            let sockets = bound.listen().map_err(|source| AppError::Listen {
                key: "server.listen_addr".to_owned(),
                addr,
                source,
            })?;
            self.listeners.push((id, sockets));
        }
        Ok(())
    }

    /// Sends the listeners to the reactors, which accept once the directory says for whom.
    pub(super) fn deliver(self, mailboxes: &[Arc<Mailbox>]) -> Vec<Port> {
        let mut rows: Vec<Vec<_>> = mailboxes.iter().map(|_| Vec::new()).collect();
        for (id, sockets) in self.listeners {
            debug_assert_eq!(sockets.len(), rows.len(), "sockets for each reactor");
            for (row, sockets) in rows.iter_mut().zip(sockets) {
                row.extend(sockets.into_iter().map(|socket| (id, socket)));
            }
        }
        for (mailbox, row) in mailboxes.iter().zip(rows) {
            if !row.is_empty() {
                mailbox.send(Letter::Open(row));
            }
        }
        self.ports
    }
}
