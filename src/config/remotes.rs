//! The section `remotes`, checked: candidates, probing, scores, selection.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::check::Check;
use super::providers::{Dns, Supply};
use super::remote_tls::RemoteTls;

/// `remotes`: the candidates.
#[derive(Debug, Clone, PartialEq)]
pub struct Remotes {
    /// Port of entries that name none; 1 to 65535.
    pub default_remote_port: u16,
    /// Where candidates come from; at least one, and the candidates are those of all.
    pub providers: Vec<Supply>,
    /// `remotes.dns`.
    pub dns: Dns,
    /// Whether connections to them are encrypted, and how.
    pub tls: RemoteTls,
    /// Where connections to candidates leave from.
    pub bind: Bind,
    /// How candidates are probed.
    pub probing: Probing,
    /// What is learned of backends from how they serve clients.
    pub passive: Passive,
    /// How samples become scores.
    pub scoring: Scoring,
    /// How scores become the active set.
    pub selector: Selector,
}

/// `remotes.bind`: where dials, probes and checks leave from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bind {
    /// Our own addresses, at most one of each family; none: the system chooses.
    pub addresses: Vec<IpAddr>,
    /// The interface; none: the routes say which.
    pub interface: Option<String>,
}

impl Bind {
    /// Whether the system chooses everything.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.addresses.is_empty() && self.interface.is_none()
    }

    /// The address that connections to a peer leave from; none if the system chooses.
    ///
    /// # Errors
    /// [`NoAddress`] when there are addresses, and none of the peer's family.
    pub fn address_towards(&self, peer: SocketAddr) -> Result<Option<IpAddr>, NoAddress> {
        let is_its = |address: &&IpAddr| address.is_ipv4() == peer.is_ipv4();
        match self.addresses.iter().find(is_its) {
            Some(address) => Ok(Some(*address)),
            None if self.addresses.is_empty() => Ok(None),
            None => Err(NoAddress),
        }
    }
}

/// Nobody of a family can be connected to, for only an address of the other one is to be left from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAddress;

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
    /// How the best of a long list are looked for.
    pub search: Search,
    /// What a candidate must answer, beyond accepting.
    pub check: Check,
}

/// `remotes.probing.search`: lists that are too long to be looked at whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// Whether probes go where they pay, or evenly over the list.
    pub enabled: bool,
    /// Probes of initial probing; a list that is no longer is looked at whole, and not searched.
    pub start_budget: usize,
    /// Nodes of the model.
    pub model_nodes: usize,
    /// What the model has learned counts for half after so long.
    pub half_life: Duration,
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

/// `remotes.passive`: what is learned from clients.
#[derive(Debug, Clone, PartialEq)]
pub struct Passive {
    /// Whether a backend that does not serve clients is blamed for it.
    pub enabled: bool,
    /// A backend that says nothing for so long after its client spoke does not serve it; zero: however long.
    pub silence: Duration,
    /// A connection that its backend closes within this, before anybody has said anything, is a failure; zero: none is.
    pub early_close: Duration,
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
    /// Throughput part.
    pub throughput: ThroughputScoring,
    /// What consecutive failures cost.
    pub failure_penalty: FailurePenalty,
    /// What a long run of successes earns.
    pub historical_bonus: HistoricalBonus,
}

/// `remotes.scoring.latency`.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyScoring {
    /// Which latency is scored, in the jitter part too.
    pub source: LatencySource,
    /// Points at `base_latency` or below.
    pub max_score: f64,
    /// Weight of a new sample in the moving average; above 0, at most 1.
    pub ewma_alpha: f64,
    /// Full points up to here.
    pub base: Duration,
    /// No points from here on.
    pub max_acceptable: Duration,
}

/// `remotes.scoring.latency.source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatencySource {
    /// How long connects take.
    Connect,
    /// How long the first bytes of answers take, to checks, or to clients where there are none; of connects, as long as there
    /// were neither.
    FirstByte,
}

impl LatencySource {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Connect, Self::FirstByte];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::FirstByte => "first_byte",
        }
    }
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

/// `remotes.scoring.throughput`.
#[derive(Debug, Clone, PartialEq)]
pub struct ThroughputScoring {
    /// Points at `good` or above; 0 leaves throughput out.
    pub max_score: f64,
    /// Weight of a new sample in the moving average; above 0, at most 1.
    pub ewma_alpha: f64,
    /// Full points from here on, in bytes a second.
    pub good: u64,
    /// No points up to here, in bytes a second; below `good`.
    pub floor: u64,
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
    /// How much lower the mean latency of a new set must be, as a share of the present one, if its mean score is no lower;
    /// 0: it is no reason.
    pub latency_improvement_ratio: f64,
    /// Answers that a candidate has given before it takes the place of a member that is well.
    pub confirm_probes: usize,
}
