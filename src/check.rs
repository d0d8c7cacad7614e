//! `tcp-forwarder check`: what the configuration and the candidate list say, without binding anything.

use std::fmt;

use crate::candidates::CandidateSet;
use crate::config::{BandwidthLimits, Config, Server, Strategy};

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
        if let Some(limits) = Clients::of(&config.server) {
            writeln!(f, "clients: {limits}")?;
        }
        if let Some(limits) = Speed::of(config.server.bandwidth) {
            writeln!(f, "bandwidth: {limits}")?;
        }
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

/// Who may connect, when not everybody may.
struct Clients<'a>(&'a Server);

impl<'a> Clients<'a> {
    fn of(server: &'a Server) -> Option<Self> {
        let is_open = server.allow.is_empty() && server.deny.is_empty();
        let is_limited = server.max_connections_per_ip > 0 || server.connection_rate_per_ip > 0.0;
        (!is_open || is_limited).then_some(Self(server))
    }
}

impl fmt::Display for Clients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(server) = self;
        match server.allow.len() {
            0 => write!(f, "of all networks")?,
            1 => write!(f, "of 1 network")?,
            count => write!(f, "of {count} networks")?,
        }
        if !server.deny.is_empty() {
            write!(f, " but {}", server.deny.len())?;
        }
        if server.max_connections_per_ip > 0 {
            write!(f, ", up to {} connections each", server.max_connections_per_ip)?;
        }
        if server.connection_rate_per_ip > 0.0 {
            write!(
                f,
                ", up to {} new ones a second each",
                server.connection_rate_per_ip
            )?;
        }
        Ok(())
    }
}

/// How fast bytes may move, when that is limited.
struct Speed(BandwidthLimits);

impl Speed {
    fn of(limits: BandwidthLimits) -> Option<Self> {
        (limits != BandwidthLimits::default()).then_some(Self(limits))
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(limits) = self;
        let of = |limit, whose: &str| (limit > 0).then(|| format!("{limit} bytes a second {whose}"));
        let parts = [
            of(limits.per_connection, "per connection"),
            of(limits.total, "in total"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        write!(f, "{}, each direction", parts.join(", "))
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
    fn says_who_may_connect_if_not_everybody() {
        let candidates = CandidateSet::parse("127.0.0.2", 80).expect("a good list");
        let mut config = Config::default();
        let report = |config: &Config| {
            let candidates = &candidates;
            Report { config, candidates }.to_string()
        };
        assert!(!report(&config).contains("clients:"));
        config.server.deny = vec!["192.0.2.0/24".parse().expect("a network")];
        config.server.connection_rate_per_ip = 0.5;
        let fact = "clients: of all networks but 1, up to 0.5 new ones a second each\n";
        assert!(report(&config).contains(fact), "{}", report(&config));
        config.server.allow = config.server.deny.clone();
        config.server.max_connections_per_ip = 7;
        config.server.bandwidth.total = 2048;
        let fact = "bandwidth: 2048 bytes a second in total, each direction\n";
        assert!(report(&config).contains(fact), "{}", report(&config));
        let fact =
            "clients: of 1 network but 1, up to 7 connections each, up to 0.5 new ones a second each\n";
        assert!(report(&config).contains(fact), "{}", report(&config));
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
