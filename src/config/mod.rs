//! Checked configuration: what the rest of the program sees.
//!
//! Parse, don't validate: a [`Config`] exists only if every value is in range, so nothing behind this module
//! checks a setting again. It knows YAML and the names of the keys; it opens no file but the configuration
//! and knows nothing of what the settings do.
//!
//! - `defaults.rs`: every default, also those of phones: the reader, the documentation and `demo` agree.
//! - `keys.rs`: one row per key: its path, its type and range, its field, what it means.
//! - `server.rs`: the section `server`, checked.
//! - `networks.rs`: lists of networks; `byte_rate.rs`: bytes a second.
//! - `slot.rs`: the type, range and field of a key's value.
//! - `value.rs`: one value: from YAML, or refused, and in words.
//! - `draft.rs`: the rules between keys; from what was read to a [`Config`].
//! - `tree.rs`: YAML text as a bounded tree, and the line of each of its nodes.
//! - `layer.rs`: one level of keys: the whole file, or one service of it.
//! - `listeners.rs`: no address is listened on by two.
//! - `reader.rs`: walks the tree along the table and collects every error.
//! - `plan.rs`: what a reload changes.

mod byte_rate;
mod defaults;
mod draft;
mod error;
mod keys;
mod layer;
mod listeners;
mod name;
mod networks;
mod plan;
mod reader;
mod server;
mod slot;
#[cfg(test)]
mod tests;
mod tree;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use error::{ConfigError, ConfigErrors, LoadError};
pub use keys::{KeyDoc, MobileDoc, reference};
pub use name::ServiceName;
pub use plan::{Plan, plan};
pub use server::{BandwidthLimits, Keepalive, Server, Splice};

/// Reads and checks the configuration file.
///
/// # Errors
/// [`LoadError::Unreadable`] when the file cannot be read, [`LoadError::Invalid`] with every error in it.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    reader::load(path)
}

/// Checks the text of a configuration. `file` is what errors name, and its folder is what relative paths in
/// the text are relative to; nothing is opened.
///
/// # Errors
/// Every error found, each with its line and key path.
pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigErrors> {
    reader::parse(text, file, Platform::here())
}

/// What the system must have for a setting to be possible.
#[derive(Debug, Clone, Copy)]
struct Platform {
    /// Whether bytes can move from socket to socket inside the kernel.
    splice: bool,
}

impl Platform {
    /// The system that this program was built for.
    fn here() -> Self {
        Self {
            splice: crate::relay::pipe::AVAILABLE,
        }
    }
}

/// Everything the configuration file says, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What is the process's alone.
    pub process: Process,
    /// The services, by name; at least one.
    pub services: BTreeMap<ServiceName, Arc<Spec>>,
}

/// What of the configuration is the process's alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Reactor threads; 0 = one per core.
    pub reactors: usize,
    /// Relays at once; 0 = derived from the file-descriptor limit.
    pub max_connections: usize,
    /// The control socket, if there is one.
    pub control_socket: Option<PathBuf>,
    /// The log.
    pub logging: Logging,
    /// The metrics port.
    pub metrics: Metrics,
    /// When the file is read again.
    pub reload: Reload,
}

/// `reload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reload {
    /// Whether the configuration file is followed.
    pub watch: bool,
}

/// What the file says of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Where connections are accepted, and limits on them.
    pub server: Server,
    /// Candidates: where they come from, how they are probed, scored and selected.
    pub remotes: Remotes,
    /// Balancing and warm connections.
    pub pools: Pools,
}

impl Config {
    /// A configuration of one service called `default`.
    #[must_use]
    pub fn of_one(process: Process, spec: Spec) -> Self {
        Self {
            process,
            services: BTreeMap::from([(ServiceName::default_service(), Arc::new(spec))]),
        }
    }

    /// The key that names the listen addresses of a service.
    #[must_use]
    pub fn listen_key(&self, service: &ServiceName) -> String {
        if self.services.len() == 1 && *service == ServiceName::default_service() {
            "server.listen_addr".to_owned()
        } else {
            format!("services.{service}.listen_addr")
        }
    }

    /// Changes the spec of every service: for configurations that are made in memory.
    pub fn edit(&mut self, change: impl Fn(&mut Spec)) {
        for spec in self.services.values_mut() {
            change(Arc::make_mut(spec));
        }
    }

    /// The spec of the first service; of a configuration of one, that one.
    #[must_use]
    pub fn only(&self) -> &Spec {
        match self.services.values().next() {
            Some(spec) => spec,
            None => unreachable!("a configuration has a service"),
        }
    }
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
    /// Who shows this may change things; none: nobody, but over the control socket.
    pub admin_token: Option<String>,
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
    /// Which first flights are said again when a warm connection dies under them.
    pub rescue: Rescue,
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

/// `pools.rescue`: which first flights are said again to another connection when a warm one dies under them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rescue {
    /// None: nothing is kept.
    Off,
    /// Those that no backend can have acted upon.
    Safe,
    /// All that fit, even if a backend may have acted upon them.
    Always,
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
