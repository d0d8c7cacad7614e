//! The section `pools`, checked: balancing and warm connections.

use std::time::Duration;

/// `pools`: balancing and warm connections.
#[derive(Debug, Clone, PartialEq)]
pub struct Pools {
    /// How a backend is chosen for a connection.
    pub algorithm: Algorithm,
    /// Which first flights are said again when a warm connection dies under them.
    pub rescue: Rescue,
    /// A dial that takes longer failed.
    pub dial_timeout: Duration,
    /// A warm connection older than this is replaced; none: what each backend is found to allow, and no more warm
    /// connections than are used.
    pub idle_timeout: Option<Duration>,
    /// How long a client waits for a place where all backends are full; zero: not at all.
    pub queue_timeout: Duration,
    /// When a client gets a second dial.
    pub race: Race,
    /// How long relays may finish at a stop.
    pub drain_timeout: Duration,
    /// Dials for one connection before it is closed; at least 1.
    pub dial_attempts: u32,
    /// Whether relays of a backend that left the active set end after `drain_timeout`.
    pub reset_on_removal: bool,
    /// How many connections are kept per backend.
    pub strategy: Strategy,
}

/// `pools.common.race`: a second dial beside one that takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Race {
    /// Dials of one client at once; 1 or 2.
    pub width: u32,
    /// A dial that takes longer gets a second one beside it; none: longer than most of its backend.
    pub delay: Option<Duration>,
}

/// `pools.algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Fewest live relays, ties rotate.
    LeastConnections,
    /// In turn, exact over all reactors.
    RoundRobin,
    /// Random, by weight.
    Random,
    /// Of two random ones the one with less load and sooner answers.
    TwoChoices,
    /// Soonest answers for the fewest live relays, ties rotate.
    LeastTime,
    /// By the client's address.
    SourceHash,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::LeastConnections,
        Self::RoundRobin,
        Self::Random,
        Self::TwoChoices,
        Self::LeastTime,
        Self::SourceHash,
    ];

    /// Whether it goes by how soon backends answer.
    #[must_use]
    pub fn compares_times(self) -> bool {
        match self {
            Self::TwoChoices | Self::LeastTime => true,
            Self::LeastConnections | Self::RoundRobin | Self::Random | Self::SourceHash => false,
        }
    }

    /// The name in the configuration and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LeastConnections => "least_connections",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::TwoChoices => "two_choices",
            Self::LeastTime => "least_time",
            Self::SourceHash => "source_hash",
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
