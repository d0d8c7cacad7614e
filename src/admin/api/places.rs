//! Places at backends as they are just now: how many are taken, and who waits for one.
//!
//! Reads what others publish; owns nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::backend::Backend;
use crate::candidates::CandidateSet;
use crate::service::Service;

/// The places at one candidate, as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Places {
    /// Connections that it takes at once; none: as many as come.
    pub(super) max_connections: Option<NonZeroU32>,
    /// Those that it has not finished, whatever for; none where it is nobody's to use.
    pub(super) open: Option<u32>,
    /// Whether clients pass it over for that.
    pub(super) is_full: bool,
}

impl Places {
    /// Those at a backend.
    pub(super) fn at(backend: &Backend) -> Self {
        Self {
            max_connections: backend.max_connections(),
            open: Some(backend.open()),
            is_full: backend.is_full(),
        }
    }
}

/// The places at all backends of one service.
#[derive(Debug)]
pub(super) struct Occupancy {
    list: Arc<CandidateSet>,
    /// Members, and those behind them.
    backends: HashMap<SocketAddr, Arc<Backend>>,
    /// Members that are full, of so many.
    pub(super) full: usize,
    pub(super) members: usize,
    /// Clients that wait for a place, and for how long each may.
    pub(super) queued: u64,
    pub(super) queue_timeout: Duration,
}

impl Occupancy {
    pub(super) fn of(service: &Service) -> Self {
        let active = service.live.active.load();
        let backends = active.everybody();
        Self {
            list: service.live.candidates.load(),
            backends: backends.map(|one| (one.addr, Arc::clone(one))).collect(),
            full: active.full(),
            members: active.backends.len(),
            queued: service.live.queued(),
            queue_timeout: service.spec.pools.queue_timeout,
        }
    }

    /// The list of the service, as of the same moment.
    pub(super) fn list(&self) -> &CandidateSet {
        &self.list
    }

    /// Those at one candidate.
    pub(super) fn at(&self, addr: &SocketAddr) -> Places {
        match self.backends.get(addr) {
            Some(backend) => Places::at(backend),
            None => Places {
                max_connections: self.list.options_of(addr).max_connections,
                open: None,
                is_full: false,
            },
        }
    }
}
