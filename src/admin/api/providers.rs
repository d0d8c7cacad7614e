//! The providers of a service, and how each of them fares.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use super::shapes::{ago, seconds};
use crate::config::Supply;
use crate::service::Service;
use crate::service::provided::{Place, Standing};

/// A provider, as it is written.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Provider {
    /// Its place in the list of its service, and its type: as in metrics and log.
    #[serde(rename = "provider")]
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    source: String,
    candidates: u128,
    /// How old the oldest part of its answer is; none: it is not asked, or nobody has answered yet.
    answered_seconds_ago: Option<f64>,
    /// When it is asked again; none: it is not asked, or is asked right now.
    next_seconds: Option<f64>,
    /// Looks over the network that have failed.
    errors: u64,
    error: Option<String>,
}

impl Provider {
    /// All of a service, in their order.
    pub(in crate::admin) fn all(
        service: &Service,
        standings: &BTreeMap<Place, Standing>,
        now: Instant,
    ) -> Vec<Self> {
        let (named, refused) = (service.live.named.load(), service.live.refused.load());
        let of = |(index, supply): (usize, &Supply)| {
            let provider = &supply.provider;
            let standing = standings.get(&(service.name.clone(), index));
            Self {
                id: provider.kind().at(index),
                kind: provider.kind().name(),
                source: provider.source(),
                candidates: named.get(index).copied().unwrap_or(0),
                answered_seconds_ago: standing
                    .and_then(|standing| standing.answered_at)
                    .map(|at| ago(at, now)),
                next_seconds: standing
                    .and_then(|standing| standing.next_at)
                    .map(|at| seconds(at.saturating_duration_since(now))),
                errors: standing.map_or(0, |standing| standing.errors),
                error: standing
                    .and_then(|standing| standing.error.clone())
                    .or_else(|| refused.get(&index).cloned()),
            }
        };
        let providers = service.spec.remotes.providers.iter().enumerate();
        providers.map(of).collect()
    }
}
