//! Metrics: counters that the threads move, and the families that a scrape reads from them.
//!
//! A scrape reads; it owns no count of its own, so nothing can disagree with what the threads see. It must
//! not know how a value came about. Series with a `server` label exist for members of the active set and, in
//! the probe families, for the few candidates probed last ([`OTHERS`](crate::scorer::probe_stats::OTHERS)); no
//! series ever exists per candidate. A counter never falls while its series exists.

mod exporter;
pub mod family;
mod format;
mod output;
mod process;
mod reading;
mod sources;
mod text;

pub use exporter::Exporter;
pub use format::Format;
pub use sources::Sources;

#[cfg(test)]
pub(crate) mod tests;
