//! One row per key: its path, its type and range, its field, what it means.
//!
//! The table is what the reader reads by and what the documentation is checked against.

mod remotes;

use std::time::Duration;

use super::defaults::MOBILE;
use super::draft::{Draft, StrategyKind};
use super::slot::{Choice, Slot};
use super::{Algorithm, LogFormat, Rescue, Splice};

/// One row.
pub(super) struct Key {
    pub(super) path: &'static str,
    pub(super) slot: Slot,
    pub(super) meaning: &'static str,
}

/// Whose a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The process's alone.
    Process,
    /// Each service's; at the top level the default of all.
    Service,
}

impl Key {
    pub(super) fn scope(&self) -> Scope {
        const OF_PROCESS: [&str; 3] = [
            "server.reactors",
            "server.max_connections",
            "server.control_socket",
        ];
        const SECTIONS: [&str; 3] = ["logging.", "metrics.", "reload."];
        let is_of_process =
            OF_PROCESS.contains(&self.path) || SECTIONS.iter().any(|section| self.path.starts_with(section));
        if is_of_process {
            Scope::Process
        } else {
            Scope::Service
        }
    }
}

/// What the documentation says about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDoc {
    /// Path, such as `remotes.probing.interval`.
    pub path: &'static str,
    /// Name of its type: flag, integer, number, duration, choice, address, address or list,
    /// network or list, byte rate, text.
    pub kind: &'static str,
    /// The default, as it would be written in the file, without quotes.
    pub default: String,
    /// The default of the feature `mobile`, where it is another one.
    pub mobile: Option<MobileDoc>,
    /// Which values are allowed, in words.
    pub allowed: String,
    /// What it does, in one line.
    pub meaning: &'static str,
}

/// What the documentation says about a default that phones have otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MobileDoc {
    /// The default, as it would be written in the file, without quotes.
    pub default: String,
    /// Why it is another one, in one line.
    pub why: &'static str,
}

impl KeyDoc {
    /// The default in this build.
    #[must_use]
    pub fn in_force(&self) -> &str {
        match &self.mobile {
            Some(mobile) if cfg!(feature = "mobile") => &mobile.default,
            Some(_) | None => &self.default,
        }
    }
}

/// Every key, in the order of the shipped file.
#[must_use]
pub fn reference() -> Vec<KeyDoc> {
    let mut desktop = Draft::desktop();
    let mut mobile = Draft::mobile();
    let mut mobile_doc = |key: &Key| {
        let row = MOBILE.iter().find(|row| row.path == key.path)?;
        Some(MobileDoc {
            default: key.slot.shown(&mut mobile),
            why: row.why,
        })
    };
    all()
        .map(|key| KeyDoc {
            path: key.path,
            kind: key.slot.kind(),
            default: key.slot.shown(&mut desktop),
            mobile: mobile_doc(key),
            allowed: key.slot.allowed(),
            meaning: key.meaning,
        })
        .collect()
}

/// Every row.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [
        SERVER,
        LOGGING,
        METRICS,
        RELOAD,
        remotes::REMOTES,
        remotes::SCORING,
        remotes::SELECTOR,
        POOLS,
    ]
    .into_iter()
    .flatten()
}

const fn key(path: &'static str, slot: Slot, meaning: &'static str) -> Key {
    Key { path, slot, meaning }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

use Slot::{Address, Addresses, Count, Duration as Time, Flag, Number, Output, Size, UrlPath};

const SERVER: &[Key] = &[
    key(
        "server.listen_addr",
        Addresses(|d| &mut d.config.server.listen_addrs),
        "where clients connect; one address or a list",
    ),
    key(
        "server.reactors",
        Size((0, 256), |d| &mut d.config.process.reactors),
        "threads that accept and relay; 0 = one per core",
    ),
    key(
        "server.max_connections",
        Size((0, 10_000_000), |d| &mut d.config.process.max_connections),
        "clients at once, beyond that accepting pauses; 0 = from the file-descriptor limit",
    ),
    key(
        "server.control_socket",
        Slot::OptionalFile(|d| &mut d.config.process.control_socket),
        "Unix socket of those who may change this process or take its place, for its owner alone; empty = none",
    ),
    key(
        "server.idle_timeout",
        Time((ms(10), hours(720)), |d| &mut d.config.server.idle_timeout),
        "a relay that moves no byte for this long is closed",
    ),
    key(
        "server.half_close_timeout",
        Time((ms(10), hours(720)), |d| &mut d.config.server.half_close_timeout),
        "the same once one side has finished sending",
    ),
    // Linux takes at most 32767 seconds and 127 probes, and only whole seconds.
    key(
        "server.keepalive.idle",
        Time((secs(1), hours(9)), |d| &mut d.config.server.keepalive.idle),
        "silence before the first TCP keep-alive packet",
    ),
    key(
        "server.keepalive.interval",
        Time((secs(1), hours(9)), |d| &mut d.config.server.keepalive.interval),
        "pause between unanswered keep-alive packets",
    ),
    key(
        "server.keepalive.probes",
        Count((1, 127), |d| &mut d.config.server.keepalive.probes),
        "unanswered keep-alive packets before the connection counts as dead",
    ),
    key(
        "server.splice",
        Slot::Choice(Choice {
            names: &["auto", "on", "off"],
            name: |d| match d.config.server.splice {
                Splice::Auto => "auto",
                Splice::On => "on",
                Splice::Off => "off",
            },
            choose: |d, name| {
                d.config.server.splice = match name {
                    "on" => Splice::On,
                    "off" => Splice::Off,
                    _ => Splice::Auto,
                }
            },
        }),
        "bulk data moves inside the kernel: where the system can (auto), as a must (on), or never (off)",
    ),
    key(
        "server.max_connections_per_ip",
        Size((0, 10_000_000), |d| &mut d.config.server.max_connections_per_ip),
        "connections at once of one client address (IPv6: of one /64), more are refused; 0 = no limit",
    ),
    key(
        "server.connection_rate_per_ip",
        Number((0.0, 1e6), |d| &mut d.config.server.connection_rate_per_ip),
        "new connections a second of one client address (IPv6: of one /64), faster ones are refused; 0 = no limit",
    ),
    key(
        "server.connection_burst_per_ip",
        Count((0, 1_000_000), |d| &mut d.config.server.connection_burst_per_ip),
        "how many of them may come at once; 0 = one second's worth, at least 1",
    ),
    key(
        "server.allow",
        Slot::Networks(|d| &mut d.config.server.allow),
        "networks that may connect, nobody else; an empty list = everybody",
    ),
    key(
        "server.deny",
        Slot::Networks(|d| &mut d.config.server.deny),
        "networks that may not connect; goes before server.allow",
    ),
    key(
        "server.bandwidth.per_connection",
        Slot::ByteRate(|d| &mut d.config.server.bandwidth.per_connection),
        "bytes a second that one connection may move in each direction; 0 = no limit",
    ),
    key(
        "server.bandwidth.total",
        Slot::ByteRate(|d| &mut d.config.server.bandwidth.total),
        "bytes a second that all connections together may move in each direction; 0 = no limit",
    ),
];

const LOGGING: &[Key] = &[
    key(
        "logging.level",
        Slot::Choice(Choice {
            names: &["trace", "debug", "info", "warn", "error"],
            name: |d| match d.config.process.logging.level {
                log::LevelFilter::Trace => "trace",
                log::LevelFilter::Debug => "debug",
                log::LevelFilter::Info => "info",
                log::LevelFilter::Warn => "warn",
                log::LevelFilter::Error | log::LevelFilter::Off => "error",
            },
            choose: |d, name| {
                if let Ok(level) = name.parse() {
                    d.config.process.logging.level = level;
                }
            },
        }),
        "least severe level that is logged; the variable RUST_LOG, when set, overrides it",
    ),
    key(
        "logging.format",
        Slot::Choice(Choice {
            names: &["text", "json"],
            name: |d| match d.config.process.logging.format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            },
            choose: |d, name| {
                d.config.process.logging.format = if name == "json" {
                    LogFormat::Json
                } else {
                    LogFormat::Text
                };
            },
        }),
        "lines for people, or one JSON object a line",
    ),
    key(
        "logging.output",
        Output(|d| &mut d.config.process.logging.output),
        "where lines go; a file is appended to",
    ),
];

const METRICS: &[Key] = &[
    key(
        "metrics.enabled",
        Flag(|d| &mut d.config.process.metrics.enabled),
        "whether the Prometheus port is opened",
    ),
    key(
        "metrics.listen_addr",
        Address(|d| &mut d.config.process.metrics.listen_addr),
        "address of the Prometheus port",
    ),
    key(
        "metrics.path",
        UrlPath(|d| &mut d.config.process.metrics.path),
        "path of the metrics page",
    ),
    key(
        "metrics.admin_token",
        Slot::Secret(|d| &mut d.config.process.metrics.admin_token),
        "who shows this may change things on the metrics port; empty = nobody may",
    ),
];

const RELOAD: &[Key] = &[key(
    "reload.watch",
    Flag(|d| &mut d.config.process.reload.watch),
    "whether this file is read again when it has changed",
)];

const POOLS: &[Key] = &[
    key(
        "pools.algorithm",
        Slot::Choice(Choice {
            names: &["least_connections", "round_robin", "random"],
            name: |d| d.config.pools.algorithm.name(),
            choose: |d, name| {
                for algorithm in [
                    Algorithm::LeastConnections,
                    Algorithm::RoundRobin,
                    Algorithm::Random,
                ] {
                    if algorithm.name() == name {
                        d.config.pools.algorithm = algorithm;
                    }
                }
            },
        }),
        "how a backend is chosen for a client",
    ),
    key(
        "pools.rescue",
        Slot::Choice(Choice {
            names: &["off", "safe", "always"],
            name: |d| match d.config.pools.rescue {
                Rescue::Off => "off",
                Rescue::Safe => "safe",
                Rescue::Always => "always",
            },
            choose: |d, name| {
                d.config.pools.rescue = match name {
                    "off" => Rescue::Off,
                    "always" => Rescue::Always,
                    _ => Rescue::Safe,
                }
            },
        }),
        "whether a client's first bytes go to another backend when a warm connection dies before its first reply",
    ),
    key(
        "pools.common.dial_timeout",
        Time((ms(1), secs(60)), |d| &mut d.config.pools.dial_timeout),
        "a dial that takes longer has failed",
    ),
    key(
        "pools.common.idle_timeout",
        Time((ms(10), hours(24)), |d| &mut d.config.pools.idle_timeout),
        "a warm connection older than this is replaced",
    ),
    key(
        "pools.common.drain_timeout",
        Time((ms(0), hours(24)), |d| &mut d.config.pools.drain_timeout),
        "how long relays may finish when the process stops",
    ),
    key(
        "pools.common.dial_attempts",
        Count((1, 100), |d| &mut d.config.pools.dial_attempts),
        "dials for one client before it is closed",
    ),
    key(
        "pools.common.reset_on_removal",
        Flag(|d| &mut d.config.pools.reset_on_removal),
        "whether relays of a backend that left the active set end after drain_timeout",
    ),
    key(
        "pools.strategy.type",
        Slot::Choice(Choice {
            names: &["dynamic", "static", "off"],
            name: |d| d.strategy.name(),
            choose: |d, name| d.strategy = StrategyKind::named(name),
        }),
        "warm connections follow demand, are a fixed number, or are not kept",
    ),
    key(
        "pools.strategy.static.size_per_remote",
        Size((1, 100_000), |d| &mut d.static_size),
        "warm connections per backend",
    ),
    key(
        "pools.strategy.dynamic.min_size",
        Size((0, 100_000), |d| &mut d.dynamic.min_size),
        "smallest pool per backend, warm plus in use",
    ),
    key(
        "pools.strategy.dynamic.max_size",
        Size((1, 100_000), |d| &mut d.dynamic.max_size),
        "largest pool per backend, warm plus in use; at least min_size",
    ),
    key(
        "pools.strategy.dynamic.scaling.interval",
        Time((ms(10), hours(1)), |d| &mut d.dynamic.interval),
        "time between two adjustments",
    ),
    key(
        "pools.strategy.dynamic.scaling.target_buffer_ratio",
        Number((0.0, 10.0), |d| &mut d.dynamic.target_buffer_ratio),
        "spare connections as a share of the recent peak",
    ),
    key(
        "pools.strategy.dynamic.scaling.scale_up_increment",
        Size((1, 10_000), |d| &mut d.dynamic.scale_up_increment),
        "the most connections added per adjustment",
    ),
    key(
        "pools.strategy.dynamic.scaling.scale_down_increment",
        Size((1, 10_000), |d| &mut d.dynamic.scale_down_increment),
        "the most connections given up per adjustment",
    ),
];
