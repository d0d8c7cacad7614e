//! Metrics: counters that the threads move, and the families that a scrape reads from them.
//!
//! A scrape reads; it owns no count of its own, so nothing can disagree with what the threads see. It must
//! not know how a value came about. Series with a `server` label exist for members of the active set and, in
//! the probe families, for the few candidates probed last ([`OTHERS`](crate::scorer::probe_stats::OTHERS)); no
//! series ever exists per candidate. A counter never falls while its series exists.

pub mod counters;
pub mod family;
mod output;
mod process;
mod reading;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};

use crate::service::Hub;
use output::Output;
use process::Process;

/// Everything that a scrape reads.
#[derive(Debug, Clone)]
pub struct Sources {
    /// All that the threads share.
    pub hub: Arc<Hub>,
    /// Requests on the admin port that were not answered with what they asked for.
    pub bad_requests: Arc<AtomicU64>,
}

/// Writes the text of a scrape.
#[derive(Debug)]
pub struct Exporter {
    registry: Registry,
}

impl Exporter {
    /// An exporter of every family in [`family::ALL`].
    ///
    /// # Errors
    /// When a family's name or label is no valid one, which tests rule out.
    pub fn new(sources: Sources) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let descriptions = family::ALL
            .iter()
            .map(|family| {
                Desc::new(
                    family.name.to_owned(),
                    family.help.to_owned(),
                    family.labels.iter().map(|label| (*label).to_owned()).collect(),
                    std::collections::HashMap::new(),
                )
            })
            .collect::<prometheus::Result<_>>()?;
        registry.register(Box::new(Everything {
            descriptions,
            sources,
            process: Process::new(),
        }))?;
        Ok(Self { registry })
    }

    /// The text of one scrape, in the Prometheus text format 0.0.4.
    ///
    /// # Errors
    /// When a family cannot be written, which tests rule out.
    pub fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// The one collector: reads all sources when asked.
struct Everything {
    descriptions: Vec<Desc>,
    sources: Sources,
    process: Process,
}

impl Collector for Everything {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut output = Output::default();
        reading::collect(&self.sources, crate::base::clock::now(), &mut output);
        self.process.collect(&mut output);
        output.into_families()
    }
}

#[cfg(test)]
pub(crate) mod tests;
