//! `tcp-forwarder check`: what the configuration and the candidate lists say, without binding anything.

use std::fmt;

use crate::app::Lists;
use crate::candidates::CandidateSet;
use crate::config::{BandwidthLimits, Config, Process, Server, ServiceName, Spec, Strategy};

/// What was understood, for people.
#[derive(Debug)]
pub struct Report<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The candidates of each service.
    pub candidates: &'a Lists,
}

impl fmt::Display for Report<'_> {
    /// One fact a line, `name: value`; of several services one block each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, candidates } = self;
        let services = &config.services;
        let is_plain = services.len() == 1 && services.contains_key(&ServiceName::default_service());
        if !is_plain {
            process(f, &config.process)?;
            writeln!(f, "services: {}", services.len())?;
        }
        for (name, spec) in services {
            let Some(candidates) = candidates.get(name) else {
                continue;
            };
            if is_plain {
                listeners(f, "", &spec.server)?;
                process(f, &config.process)?;
                service(f, "", spec, candidates)?;
            } else {
                writeln!(f, "\n{name}")?;
                listeners(f, "  ", &spec.server)?;
                service(f, "  ", spec, candidates)?;
            }
        }
        Ok(())
    }
}

fn listeners(f: &mut fmt::Formatter<'_>, indent: &str, server: &Server) -> fmt::Result {
    let listeners: Vec<String> = server.listen_addrs.iter().map(ToString::to_string).collect();
    writeln!(f, "{indent}listeners: {}", listeners.join(", "))?;
    if let Some(limits) = Clients::of(server) {
        writeln!(f, "{indent}clients: {limits}")?;
    }
    if let Some(limits) = Speed::of(server.bandwidth) {
        writeln!(f, "{indent}bandwidth: {limits}")?;
    }
    Ok(())
}

fn process(f: &mut fmt::Formatter<'_>, process: &Process) -> fmt::Result {
    if process.metrics.enabled {
        let metrics = &process.metrics;
        writeln!(f, "metrics: http://{}{}", metrics.listen_addr, metrics.path)?;
    } else {
        writeln!(f, "metrics: off")?;
    }
    if let Some(path) = &process.control_socket {
        writeln!(f, "control socket: {}", path.display())?;
    }
    if process.reload.watch {
        writeln!(f, "reload: when this file changes")?;
    }
    Ok(())
}

fn service(f: &mut fmt::Formatter<'_>, indent: &str, spec: &Spec, candidates: &CandidateSet) -> fmt::Result {
    let list = &spec.remotes.provider;
    let watch = if list.watch { ", watched" } else { "" };
    let (count, path) = (candidates.range_count(), list.path.display());
    let ranges = if count == 1 { "range" } else { "ranges" };
    let candidates = candidates.len();
    writeln!(
        f,
        "{indent}candidates: {candidates} in {count} {ranges} ({path}{watch})"
    )?;
    let size = spec.remotes.selector.active_set_size;
    writeln!(f, "{indent}active set: {size} of them")?;
    writeln!(f, "{indent}balancing: {}", spec.pools.algorithm.name())?;
    writeln!(f, "{indent}pools: {}", Pools(&spec.pools.strategy))
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
    use crate::config::parse;
    use std::path::Path;
    use std::sync::Arc;

    fn report(config: &Config, list: &str) -> String {
        let set = Arc::new(CandidateSet::parse(list, 80).expect("a good list"));
        let candidates = config
            .services
            .keys()
            .map(|name| (name.clone(), Arc::clone(&set)));
        Report {
            config,
            candidates: &candidates.collect(),
        }
        .to_string()
    }

    #[test]
    fn says_what_was_understood() {
        let report = report(&Config::default(), "127.0.0.0/8\n127.0.0.1:8080");
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
        assert!(!report.contains("services:"), "{report}");
    }

    #[test]
    fn says_it_of_every_service() {
        let text = "server: { control_socket: 'c.sock' }\nmetrics: { admin_token: hush }\n\
                    services:\n  web: { listen_addr: '127.0.0.1:1', pools: { strategy: { type: 'off' } } }\n  \
                    dns: { listen_addr: '127.0.0.1:2', deny: 192.0.2.0/24 }";
        let config = parse(text, Path::new("config.yaml")).expect("good");
        let report = report(&config, "127.0.0.2");
        for fact in [
            "control socket: c.sock\n",
            "services: 2\n",
            "\ndns\n  listeners: 127.0.0.1:2\n  clients: of all networks but 1\n",
            "\nweb\n  listeners: 127.0.0.1:1\n  candidates: 1 in 1 range (ip_list.txt)\n",
            "  pools: off, every connection is dialled\n",
        ] {
            assert!(report.contains(fact), "{fact:?} is missing in\n{report}");
        }
        assert!(!report.contains("hush"), "{report}");
    }

    #[test]
    fn says_who_may_connect_if_not_everybody() {
        let mut config = Config::default();
        let report = |config: &Config| report(config, "127.0.0.2");
        assert!(!report(&config).contains("clients:"));
        let network: ipnet::IpNet = "192.0.2.0/24".parse().expect("a network");
        config.edit(|spec| {
            spec.server.deny = vec![network];
            spec.server.connection_rate_per_ip = 0.5;
        });
        let fact = "clients: of all networks but 1, up to 0.5 new ones a second each\n";
        assert!(report(&config).contains(fact), "{}", report(&config));
        config.edit(|spec| {
            spec.server.allow = spec.server.deny.clone();
            spec.server.max_connections_per_ip = 7;
            spec.server.bandwidth.total = 2048;
        });
        let fact = "bandwidth: 2048 bytes a second in total, each direction\n";
        assert!(report(&config).contains(fact), "{}", report(&config));
        let fact =
            "clients: of 1 network but 1, up to 7 connections each, up to 0.5 new ones a second each\n";
        assert!(report(&config).contains(fact), "{}", report(&config));
    }
}
