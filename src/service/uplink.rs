//! Which way to the network is in use, as it is published: by the prober, to the scorer.

use std::time::Instant;

/// One way to the network, for as long as it is remembered; never given twice.
pub type UplinkId = u64;

/// The most ways that are remembered, the present one included.
pub const MAX_UPLINKS: usize = 4;

/// The way to the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The present one.
    pub id: UplinkId,
    /// Those that are remembered, the present one included; at most [`MAX_UPLINKS`].
    pub known: Vec<UplinkId>,
    /// How often everybody was to be looked at anew: each change, and each sleep of the machine.
    pub sweeps: u64,
    /// When the last of these was noticed: what began before is of another time.
    pub since: Instant,
}

impl Uplink {
    /// The first one, which has no name yet.
    #[must_use]
    pub fn first(now: Instant) -> Self {
        Self {
            id: 0,
            known: vec![0],
            sweeps: 0,
            since: now,
        }
    }
}
