//! Checked configuration: what the rest of the program sees.
//!
//! Parse, don't validate: a [`Config`] exists only if every value is in range. Defaults live here, in one
//! place (`Default` impls), so the reader, the documentation test and `demo` agree.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything the configuration file says, checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Where connections are accepted, and limits on them.
    pub server: Server,
    /// The log.
    pub logging: Logging,
    /// The metrics port.
    pub metrics: Metrics,
    /// Candidates: where they come from, how they are probed, scored and selected.
    pub remotes: Remotes,
    /// Balancing and warm connections.
    pub pools: Pools,
}

/// `server`: accepting and relaying.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Addresses to listen on; at least one.
    pub listen_addrs: Vec<SocketAddr>,
    /// Reactor threads; 0 = one per core.
    pub reactors: usize,
    /// Relays at once; 0 = derived from the file-descriptor limit.
    pub max_connections: usize,
    /// A relay that moves no byte for this long is closed.
    pub idle_timeout: Duration,
    /// The same once one direction has finished.
    pub half_close_timeout: Duration,
    /// TCP keep-alive of both sides.
    pub keepalive: Keepalive,
    /// Whether bulk directions may move through `splice` on systems that have it.
    pub splice: Splice,
}

/// `server.splice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splice {
    /// Use it for bulk where the system has it, copy elsewhere.
    Auto,
    /// Always copy.
    Off,
}

/// `server.keepalive`: TCP keep-alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first keep-alive packet.
    pub idle: Duration,
    /// Pause between unanswered packets.
    pub interval: Duration,
    /// Unanswered packets before the connection counts as dead.
    pub probes: u32,
}

/// `logging`.
#[derive(Debug, Clone, PartialEq)]
pub struct Logging {
    /// The least severe level that is written, unless `RUST_LOG` says otherwise.
    pub level: log::LevelFilter,
    /// Line format.
    pub format: LogFormat,
    /// Where lines go.
    pub output: LogOutput,
}

/// `logging.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line a record, for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `logging.output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to this file.
    File(PathBuf),
}

/// `metrics`: the Prometheus port.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// Whether the port is opened at all.
    pub enabled: bool,
    /// Its address.
    pub listen_addr: SocketAddr,
    /// Its path; begins with `/`.
    pub path: String,
}

/// `remotes`: the candidates.
#[derive(Debug, Clone, PartialEq)]
pub struct Remotes {
    /// Port of entries that name none; 1 to 65535.
    pub default_remote_port: u16,
    /// Where the list comes from.
    pub provider: FileProvider,
    /// How candidates are probed.
    pub probing: Probing,
    /// How samples become scores.
    pub scoring: Scoring,
    /// How scores become the active set.
    pub selector: Selector,
}

/// `remotes.provider` of type `file`.
#[derive(Debug, Clone, PartialEq)]
pub struct FileProvider {
    /// The list, resolved against the configuration file's folder.
    pub path: PathBuf,
    /// Whether a changed file is read again.
    pub watch: bool,
}

/// `remotes.probing`.
#[derive(Debug, Clone, PartialEq)]
pub struct Probing {
    /// Length of one probing round.
    pub interval: Duration,
    /// A connect that takes longer failed.
    pub timeout: Duration,
    /// Candidates probed per round.
    pub probe_candidate_count: usize,
    /// Probing before serving starts.
    pub initial: InitialProbing,
}

/// `remotes.probing.initial`.
#[derive(Debug, Clone, PartialEq)]
pub struct InitialProbing {
    /// Whether to probe before serving.
    pub enabled: bool,
    /// Connects in flight at once.
    pub max_concurrency: usize,
    /// A connect that takes longer failed.
    pub timeout: Duration,
}

/// `remotes.scoring`; the `weights` of the file are folded into the maximum scores.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scoring {
    /// Latency part.
    pub latency: LatencyScoring,
    /// Jitter part.
    pub jitter: JitterScoring,
    /// Success-rate part.
    pub success_rate: SuccessScoring,
    /// What consecutive failures cost.
    pub failure_penalty: FailurePenalty,
    /// What a long run of successes earns.
    pub historical_bonus: HistoricalBonus,
}

/// `remotes.scoring.latency`.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyScoring {
    /// Points at `base_latency` or below.
    pub max_score: f64,
    /// Weight of a new sample in the moving average; above 0, at most 1.
    pub ewma_alpha: f64,
    /// Full points up to here.
    pub base: Duration,
    /// No points from here on.
    pub max_acceptable: Duration,
}

/// `remotes.scoring.jitter`.
#[derive(Debug, Clone, PartialEq)]
pub struct JitterScoring {
    /// Points at `base_jitter` or below.
    pub max_score: f64,
    /// Weight of a new sample in the moving average; above 0, at most 1.
    pub ewma_alpha: f64,
    /// Full points up to here.
    pub base: Duration,
    /// No points from here on.
    pub max_acceptable: Duration,
}

/// `remotes.scoring.success_rate`.
#[derive(Debug, Clone, PartialEq)]
pub struct SuccessScoring {
    /// Points for a success rate of 1.
    pub max_score: f64,
    /// Weight of a new sample in the moving average; above 0, at most 1.
    pub ewma_alpha: f64,
}

/// `remotes.scoring.failure_penalty`.
#[derive(Debug, Clone, PartialEq)]
pub struct FailurePenalty {
    /// Points taken off by the first failure.
    pub base_penalty: f64,
    /// Growth per further consecutive failure; at least 1.
    pub exponent_factor: f64,
    /// The most that is ever taken off.
    pub max_penalty: f64,
    /// Points given back by each success.
    pub recovery_per_check: f64,
}

/// `remotes.scoring.historical_bonus`.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoricalBonus {
    /// The most points a run of successes earns.
    pub max_bonus: f64,
    /// Consecutive successes per point; at least 1.
    pub checks_per_point: u32,
}

/// `remotes.selector`.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// Time between evaluations.
    pub evaluation_interval: Duration,
    /// Members of the active set; at least 1.
    pub active_set_size: usize,
    /// Below this score a candidate is not selected.
    pub min_score_threshold: f64,
    /// Least time between two switches.
    pub debounce_interval: Duration,
    /// How much better the mean score must be.
    pub score_improvement_threshold: f64,
}

/// `pools`: balancing and warm connections.
#[derive(Debug, Clone, PartialEq)]
pub struct Pools {
    /// How a backend is chosen for a connection.
    pub algorithm: Algorithm,
    /// A dial that takes longer failed.
    pub dial_timeout: Duration,
    /// A warm connection older than this is replaced.
    pub idle_timeout: Duration,
    /// How long relays may finish at a stop.
    pub drain_timeout: Duration,
    /// Dials for one connection before it is closed; at least 1.
    pub dial_attempts: u32,
    /// Whether relays of a backend that left the active set end after `drain_timeout`.
    pub reset_on_removal: bool,
    /// How many connections are kept per backend.
    pub strategy: Strategy,
}

/// `pools.algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Fewest live relays, ties rotate.
    LeastConnections,
    /// In turn, exact over all reactors.
    RoundRobin,
    /// Uniformly random.
    Random,
}

impl Algorithm {
    /// The name in the configuration and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LeastConnections => "least_connections",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
        }
    }
}

/// `pools.strategy`.
#[derive(Debug, Clone, PartialEq)]
pub enum Strategy {
    /// No warm connections.
    Off,
    /// A fixed number of warm connections per backend.
    Static {
        /// Warm connections per backend.
        size_per_remote: usize,
    },
    /// A size that follows demand.
    Dynamic(Dynamic),
}

/// `pools.strategy.dynamic`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dynamic {
    /// Smallest pool per backend, warm plus in use.
    pub min_size: usize,
    /// Largest pool per backend, warm plus in use.
    pub max_size: usize,
    /// Time between two adjustments.
    pub interval: Duration,
    /// Spare connections as a share of the recent peak.
    pub target_buffer_ratio: f64,
    /// The most connections added per adjustment; at least 1.
    pub scale_up_increment: usize,
    /// The most connections given up per adjustment; at least 1.
    pub scale_down_increment: usize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen_addrs: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1234))],
            reactors: 0,
            max_connections: 0,
            idle_timeout: Duration::from_secs(3600),
            half_close_timeout: Duration::from_secs(60),
            keepalive: Keepalive::default(),
            splice: Splice::Auto,
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

impl Default for Metrics {
    fn default() -> Self {
        Self {
            enabled: true,
            listen_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 9099)),
            path: "/metrics".to_owned(),
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
