//! Every default, in one place: those of desktops and servers as `Default` impls of the sections, and the few
//! that the feature `mobile` has otherwise, with the reasons, as a table.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::draft::Draft;
use super::{
    Algorithm, BandwidthLimits, Dynamic, FailurePenalty, FileProvider, HistoricalBonus, InitialProbing,
    JitterScoring, Keepalive, LatencyScoring, LogFormat, LogOutput, Logging, Metrics, Pools, Probing,
    Process, Reload, Remotes, Rescue, Scoring, Selector, Server, Splice, Strategy, SuccessScoring,
};

/// Warm connections per backend of a static pool that names no size.
pub(super) const STATIC_SIZE_PER_REMOTE: usize = 50;

/// One default that a phone has otherwise.
pub(super) struct MobileDefault {
    /// The key.
    pub(super) path: &'static str,
    /// Why, in one line.
    pub(super) why: &'static str,
    /// Puts the value of phones in its place.
    pub(super) apply: fn(&mut Draft),
}

const fn mobile(path: &'static str, why: &'static str, apply: fn(&mut Draft)) -> MobileDefault {
    MobileDefault { path, why, apply }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// What the feature `mobile` changes; whatever is not listed stays what it is.
///
/// Two things cost on a phone: each packet in a quiet minute wakes the radio for some seconds, and each
/// wake-up of a thread keeps a core from its deep sleep. And a radio that sleeps answers late: a second or
/// two pass before the first packet leaves.
pub(super) const MOBILE: &[MobileDefault] = &[
    mobile(
        "server.reactors",
        "one thread carries more than a phone's link; more of them wake more cores",
        |d| d.config.process.reactors = 1,
    ),
    mobile(
        "server.keepalive.idle",
        "each keep-alive packet wakes the radio; carriers keep idle connections for longer than this",
        |d| d.config.server.keepalive.idle = secs(240),
    ),
    mobile(
        "remotes.probing.interval",
        "a round wakes the radio: 30 times an hour instead of 240",
        |d| d.config.remotes.probing.interval = secs(120),
    ),
    mobile(
        "remotes.probing.timeout",
        "a radio that sleeps needs a second or two for its first packet: late, not dead",
        |d| d.config.remotes.probing.timeout = secs(3),
    ),
    mobile(
        "remotes.probing.probe_candidate_count",
        "the active set and one more; at about 400 bytes a probe, 1 MB a day instead of 23 MB",
        |d| d.config.remotes.probing.probe_candidate_count = 4,
    ),
    mobile(
        "remotes.probing.initial.max_concurrency",
        "a burst of 100 connects fills a slow uplink, and the queue would be measured instead of the path",
        |d| d.config.remotes.probing.initial.max_concurrency = 20,
    ),
    mobile(
        "remotes.probing.initial.timeout",
        "the first probes meet a radio that sleeps",
        |d| d.config.remotes.probing.initial.timeout = secs(2),
    ),
    mobile(
        "remotes.selector.evaluation_interval",
        "nothing is new before the next probing round",
        |d| d.config.remotes.selector.evaluation_interval = secs(120),
    ),
    mobile(
        "remotes.selector.switching.debounce_interval",
        "a switch dials the pools anew, and mobile latencies swing",
        |d| d.config.remotes.selector.debounce_interval = secs(300),
    ),
    mobile(
        "pools.common.dial_timeout",
        "as for probes: the first packet may wait for the radio",
        |d| d.config.pools.dial_timeout = secs(3),
    ),
    mobile(
        "pools.strategy.static.size_per_remote",
        "warm connections cost keep-alive and replacement while nobody uses them",
        |d| d.static_size = 4,
    ),
    mobile(
        "pools.strategy.dynamic.min_size",
        "the same: two are ready for the first request after a pause",
        |d| d.dynamic.min_size = 2,
    ),
    mobile(
        "pools.strategy.dynamic.max_size",
        "one person's traffic; carriers limit the connections of a subscriber",
        |d| d.dynamic.max_size = 50,
    ),
    mobile(
        "pools.strategy.dynamic.scaling.interval",
        "a wake-up of the pools' thread every second is what keeps an idle phone awake",
        |d| d.dynamic.interval = secs(15),
    ),
    mobile(
        "pools.strategy.dynamic.scaling.scale_up_increment",
        "no burst of dials on a slow uplink",
        |d| d.dynamic.scale_up_increment = 4,
    ),
];

impl Default for Server {
    fn default() -> Self {
        Self {
            listen_addrs: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1234))],
            idle_timeout: Duration::from_secs(3600),
            half_close_timeout: Duration::from_secs(60),
            keepalive: Keepalive::default(),
            splice: Splice::Auto,
            max_connections_per_ip: 0,
            connection_rate_per_ip: 0.0,
            connection_burst_per_ip: 0,
            allow: Vec::new(),
            deny: Vec::new(),
            bandwidth: BandwidthLimits::default(),
        }
    }
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            probes: 3,
        }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: log::LevelFilter::Info,
            format: LogFormat::Text,
            output: LogOutput::Stdout,
        }
    }
}

impl Default for Process {
    fn default() -> Self {
        Self {
            reactors: 0,
            max_connections: 0,
            control_socket: None,
            logging: Logging::default(),
            metrics: Metrics::default(),
            reload: Reload { watch: false },
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: true,
            listen_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 9099)),
            path: "/metrics".to_owned(),
            admin_token: None,
        }
    }
}

impl Default for Remotes {
    fn default() -> Self {
        Self {
            default_remote_port: 80,
            provider: FileProvider::default(),
            probing: Probing::default(),
            scoring: Scoring::default(),
            selector: Selector::default(),
        }
    }
}

impl Default for FileProvider {
    fn default() -> Self {
        Self {
            path: PathBuf::from("./ip_list.txt"),
            watch: false,
        }
    }
}

impl Default for Probing {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(1),
            probe_candidate_count: 10,
            initial: InitialProbing::default(),
        }
    }
}

impl Default for InitialProbing {
    fn default() -> Self {
        Self {
            enabled: true,
            max_concurrency: 100,
            timeout: Duration::from_millis(500),
        }
    }
}

impl Default for LatencyScoring {
    fn default() -> Self {
        Self {
            max_score: 45.0,
            ewma_alpha: 0.2,
            base: Duration::from_millis(50),
            max_acceptable: Duration::from_millis(800),
        }
    }
}

impl Default for JitterScoring {
    fn default() -> Self {
        Self {
            max_score: 15.0,
            ewma_alpha: 0.3,
            base: Duration::from_millis(10),
            max_acceptable: Duration::from_millis(300),
        }
    }
}

impl Default for SuccessScoring {
    fn default() -> Self {
        Self {
            max_score: 40.0,
            ewma_alpha: 0.1,
        }
    }
}

impl Default for FailurePenalty {
    fn default() -> Self {
        Self {
            base_penalty: 5.0,
            exponent_factor: 1.8,
            max_penalty: 80.0,
            recovery_per_check: 2.5,
        }
    }
}

impl Default for HistoricalBonus {
    fn default() -> Self {
        Self {
            max_bonus: 10.0,
            checks_per_point: 120,
        }
    }
}

impl Default for Selector {
    fn default() -> Self {
        Self {
            evaluation_interval: Duration::from_secs(30),
            active_set_size: 3,
            min_score_threshold: 15.0,
            debounce_interval: Duration::from_secs(60),
            score_improvement_threshold: 5.0,
        }
    }
}

impl Default for Pools {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::LeastConnections,
            rescue: Rescue::Safe,
            dial_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(600),
            drain_timeout: Duration::from_secs(30),
            dial_attempts: 3,
            reset_on_removal: false,
            strategy: Strategy::Dynamic(Dynamic::default()),
        }
    }
}

impl Default for Dynamic {
    fn default() -> Self {
        Self {
            min_size: 20,
            max_size: 500,
            interval: Duration::from_secs(1),
            target_buffer_ratio: 0.2,
            scale_up_increment: 10,
            scale_down_increment: 5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::{self, KeyDoc, reference};
    use super::super::{Platform, reader};
    use super::*;
    use std::path::Path;

    #[test]
    fn what_phones_have_otherwise_is_in_the_reference() {
        let rows: Vec<KeyDoc> = reference()
            .into_iter()
            .filter(|key| key.mobile.is_some())
            .collect();
        assert_eq!(rows.len(), MOBILE.len(), "each row is of one key");
        let shown = |draft: &mut Draft, path| {
            let key = keys::all().find(|key| key.path == path).expect("the key");
            key.slot.shown(draft)
        };
        for key in &rows {
            let mobile = key.mobile.as_ref().expect("filtered");
            assert_ne!(mobile.default, key.default, "{}", key.path);
            assert!(
                !mobile.why.is_empty() && !mobile.why.contains('\n'),
                "{}",
                key.path
            );
            let names: Vec<&str> = key.path.split('.').collect();
            let text = format!(
                "{}: {:?}{}",
                names.join(": { "),
                mobile.default,
                " }".repeat(names.len() - 1)
            );
            let text = if key.kind == "integer" {
                text.replace('"', "")
            } else {
                text
            };
            reader::parse(&text, Path::new("config.yaml"), Platform { splice: true }).expect("in range");
            let mut draft = Draft::desktop();
            let row = MOBILE.iter().find(|row| row.path == key.path).expect("the row");
            (row.apply)(&mut draft);
            for other in reference() {
                let expected = if other.path == key.path {
                    &mobile.default
                } else {
                    &other.default
                };
                assert_eq!(&shown(&mut draft, other.path), expected, "{}", other.path);
            }
        }
        let here = Platform { splice: true };
        assert!(Draft::mobile().conflicts(here).is_empty());
        assert!(Draft::desktop().conflicts(here).is_empty());
    }
}
