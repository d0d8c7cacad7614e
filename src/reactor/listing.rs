//! What a reactor tells of its clients, for whoever looks: a bounded copy, made within one turn.
//!
//! Reads only. Nothing is kept for it while nobody asks: what a row needs is there anyway, but for where a client came in, which
//! the kernel knows.

use super::client::{Client, Stage, Wait};
use super::core::Reactor;
use super::listed::{self, Listed, Row};
use super::upstream::State;
use crate::access_log::Via;
use crate::base::slots::Key;
use crate::net;

impl Reactor {
    /// At most so many of its clients.
    pub(super) fn list_clients(&self, most: usize) -> Listed {
        let clients = self.clients.keys().filter_map(|key| self.clients.get(key));
        Listed {
            rows: clients.filter_map(|client| self.row(client)).take(most).collect(),
            clients: self.clients.len(),
        }
    }

    fn row(&self, client: &Client) -> Option<Row> {
        let relay = &client.relay;
        let tenant = self.tenants.get(client.tenant);
        debug_assert!(tenant.is_some(), "a client has a tenant");
        let (stage, upstream) = match client.stage {
            Stage::Opening(_) => (listed::Stage::Opening, None),
            Stage::Seeking(Wait::Socket | Wait::Set | Wait::Place) => (listed::Stage::Queued, None),
            Stage::Seeking(Wait::Dial { .. } | Wait::Nothing) => (listed::Stage::Dialling, None),
            Stage::Relaying(attached) if relay.is_half_closed() => {
                (listed::Stage::HalfClosed, Some(attached.upstream))
            }
            Stage::Relaying(attached) => (listed::Stage::Relaying, Some(attached.upstream)),
            Stage::Leaving(attached, _) => (listed::Stage::Closing, Some(attached.upstream)),
        };
        let pool = client.pool().and_then(|pool| self.pools.get(pool));
        Some(Row {
            service: tenant?.service.clone(),
            client: relay.client_addr,
            listener: relay.client.stream.wire().local_addr().ok().map(net::canonical),
            backend: pool.map(|pool| pool.backend.addr),
            via: upstream.and_then(|key| self.via(key)),
            stage,
            age: self.now.saturating_duration_since(relay.accepted_at),
            idle: self.now.saturating_duration_since(relay.last_activity),
            bytes_to_backend: relay.bytes_to_backend,
            bytes_to_client: relay.bytes_to_client,
        })
    }

    fn via(&self, upstream: Key) -> Option<Via> {
        match self.upstreams.get(upstream)?.state {
            State::InUse { via, .. } => Some(via),
            State::Dialling { .. } | State::Warm { .. } => None,
        }
    }
}
