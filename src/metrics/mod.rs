//! Metrics: counters that the threads move, and the families that a scrape reads from them.

pub mod counters;
