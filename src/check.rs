//! `tcp-forwarder check`: what the configuration and the candidate list say, without binding anything.

use std::fmt;

use crate::candidates::CandidateSet;
use crate::config::{Config, Strategy};

/// What was understood, for people.
#[derive(Debug)]
pub struct Report<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The candidate list that it names.
    pub candidates: &'a CandidateSet,
}

impl fmt::Display for Report<'_> {
    /// One fact a line, `name: value`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, candidates } = self;
        let listeners: Vec<String> = config
            .server
            .listen_addrs
            .iter()
            .map(ToString::to_string)
            .collect();
        writeln!(f, "listeners: {}", listeners.join(", "))?;
        if config.metrics.enabled {
            writeln!(
                f,
                "metrics: http://{}{}",
                config.metrics.listen_addr, config.metrics.path
            )?;
        } else {
            writeln!(f, "metrics: off")?;
        }
        let list = &config.remotes.provider;
        let watch = if list.watch { ", watched" } else { "" };
        let (count, path) = (candidates.range_count(), list.path.display());
        let ranges = if count == 1 { "range" } else { "ranges" };
        writeln!(
            f,
            "candidates: {} in {count} {ranges} ({path}{watch})",
            candidates.len()
        )?;
        writeln!(
            f,
            "active set: {} of them",
            config.remotes.selector.active_set_size
        )?;
        writeln!(f, "balancing: {}", config.pools.algorithm.name())?;
        write!(f, "pools: {}", Pools(&config.pools.strategy))
    }
}

struct Pools<'a>(&'a Strategy);

impl fmt::Display for Pools<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Strategy::Off => write!(f, "off, every connection is dialled"),
            Strategy::Static { size_per_remote } => {
                write!(f, "static, {size_per_remote} warm connections per backend")
            }
            Strategy::Dynamic(dynamic) => {
                write!(
                    f,
                    "dynamic, {} to {} connections per backend",
                    dynamic.min_size, dynamic.max_size
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_understood() {
        let config = Config::default();
        let candidates = CandidateSet::parse("127.0.0.0/8\n127.0.0.1:8080", 80).expect("a good list");
        let report = Report {
            config: &config,
            candidates: &candidates,
        }
        .to_string();
        for fact in [
            "listeners: 127.0.0.1:1234\n",
            "metrics: http://127.0.0.1:9099/metrics\n",
            "candidates: 16777215 in 2 ranges (./ip_list.txt)\n",
            "active set: 3 of them\n",
            "balancing: least_connections\n",
            if cfg!(feature = "mobile") {
                "pools: dynamic, 2 to 50 connections per backend"
            } else {
                "pools: dynamic, 20 to 500 connections per backend"
            },
        ] {
            assert!(report.contains(fact), "{fact:?} is missing in\n{report}");
        }
    }

    #[test]
    fn one_range_is_one() {
        let config = Config::default();
        let candidates = CandidateSet::parse("127.0.0.2\n127.0.0.3", 80).expect("a good list");
        let report = Report {
            config: &config,
            candidates: &candidates,
        };
        let fact = "candidates: 2 in 1 range (./ip_list.txt)\n";
        assert!(report.to_string().contains(fact), "{report}");
    }
}
