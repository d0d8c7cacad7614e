//! No address is listened on by two: services among themselves, and the metrics port (pure).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::layer::Layer;
use crate::net;

/// The key of the addresses that a service listens on, in the table.
pub(super) const LISTEN: &str = "server.listen_addr";

/// The key of the metrics port.
const METRICS: &str = "metrics.listen_addr";

/// An address that two would listen on.
pub(super) struct Taken<'l> {
    /// Where it is to be said: one of the layers that were given, or the top.
    pub(super) layer: &'l Layer,
    /// The key in that layer.
    pub(super) key: &'static str,
    pub(super) message: String,
}

/// Every address that two would listen on. `layers` are the services, or the top alone.
pub(super) fn taken_twice<'l>(top: &'l Layer, mut layers: Vec<&'l Layer>) -> Vec<Taken<'l>> {
    layers.retain(|layer| !layer.refused.contains(LISTEN));
    // In the order of the file, so that the first to name an address has it.
    layers.sort_by_key(|layer| layer.given.get(LISTEN));
    let mut taken = by_metrics(top, &layers);
    let mut by_port: BTreeMap<u16, Vec<(SocketAddr, &Layer)>> = BTreeMap::new();
    for layer in layers {
        for addr in &layer.draft.config.server.listen_addrs {
            let others = by_port.entry(addr.port()).or_default();
            let is_taken = |(other, owner): &&(SocketAddr, &Layer)| {
                owner.place != layer.place && net::overlaps(*addr, *other)
            };
            if let Some((other, owner)) = others.iter().find(is_taken) {
                taken.push(Taken {
                    layer,
                    key: LISTEN,
                    message: words(&addr.to_string(), owner, *other),
                });
            }
            others.push((*addr, layer));
        }
    }
    taken
}

fn by_metrics<'l>(top: &'l Layer, layers: &[&'l Layer]) -> Vec<Taken<'l>> {
    let metrics = &top.draft.config.process.metrics;
    if !metrics.enabled || top.refused.contains(METRICS) {
        return Vec::new();
    }
    let mut taken = Vec::new();
    for layer in layers {
        for addr in &layer.draft.config.server.listen_addrs {
            if net::overlaps(*addr, metrics.listen_addr) {
                let is_given = top.given.contains_key(METRICS);
                let (place, key) = if is_given {
                    (top, METRICS)
                } else {
                    (*layer, LISTEN)
                };
                taken.push(Taken {
                    layer: place,
                    key,
                    message: words(&format!("{METRICS} {}", metrics.listen_addr), layer, *addr),
                });
            }
        }
    }
    taken
}

fn words(who: &str, owner: &Layer, addr: SocketAddr) -> String {
    format!(
        "{who} is taken by {} {addr}; allowed: two addresses that do not overlap",
        owner.shown(LISTEN)
    )
}
