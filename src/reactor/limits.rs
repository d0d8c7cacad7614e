//! How many descriptors may be used for what (pure).
//!
//! Descriptors are reserved in this order: the process itself, established relays, dials for clients, warm
//! connections, probes. Whoever comes later in it yields first when they run short. Pipes for bulk are a
//! fixed small share beside them, for a relay without one still copies.

/// Shares of the process's descriptors, over all reactors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Relays at once, over all reactors.
    pub max_connections: usize,
    /// Sockets (clients and backends together) up to which pools are refilled.
    pub pool_ceiling: usize,
    /// Pipes for bulk, over all reactors.
    max_pipes: usize,
}

/// Descriptors of the process itself besides those that it holds from its start: scrapes, files, probes.
const OWN: usize = 256;

/// Pipes for bulk of one reactor, where descriptors are plenty: each may hold a megabyte of the kernel's memory.
const PIPES_PER_REACTOR: usize = 32;

/// Probes in flight at once, under this limit of descriptors.
#[must_use]
pub fn max_probes(descriptors: usize) -> usize {
    (descriptors / 8).max(1)
}

impl Limits {
    /// Nothing may be used: it is not known yet what there is.
    pub const NONE: Self = Self {
        max_connections: 0,
        pool_ceiling: 0,
        max_pipes: 0,
    };

    /// Divides `descriptors` (what the process left of the limit when it started); `configured` is `server.max_connections`, where 0 means
    /// as many as descriptors allow.
    #[must_use]
    pub fn of(descriptors: usize, configured: usize) -> Self {
        let max_pipes = descriptors / 64;
        let own = OWN.min(descriptors / 4) + 2 * max_pipes;
        let sockets = descriptors - own;
        // A relay takes two descriptors.
        let possible = (sockets / 2).max(1);
        let max_connections = if configured == 0 {
            possible
        } else {
            configured.min(possible)
        };
        let dial_reserve = (sockets / 16).max(1);
        Self {
            max_connections,
            pool_ceiling: sockets - dial_reserve.min(sockets),
            max_pipes,
        }
    }

    /// Pipes for bulk of one reactor out of `reactors`.
    #[must_use]
    pub fn pipes(&self, reactors: usize) -> usize {
        PIPES_PER_REACTOR.min(self.max_pipes / reactors.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn twenty_thousand_descriptors_carry_nine_thousand_relays() {
        assert!(Limits::of(20_000, 0).max_connections >= 9_000);
        assert_eq!(Limits::of(20_000, 100).max_connections, 100);
    }

    #[test]
    fn few_descriptors_are_shared_out_too() {
        let limits = Limits::of(256, 0);
        assert_eq!(
            limits,
            Limits {
                max_connections: 92,
                pool_ceiling: 173,
                max_pipes: 4
            }
        );
        assert_eq!((limits.pipes(1), limits.pipes(2), limits.pipes(8)), (4, 2, 0));
        assert_eq!(Limits::of(usize::MAX, 0).pipes(4), PIPES_PER_REACTOR);
    }

    proptest! {
        #[test]
        fn all_shares_fit(descriptors in 8..5_000_000_usize, configured in 0..10_000_000_usize) {
            let limits = Limits::of(descriptors, configured);
            prop_assert!(limits.max_connections >= 1);
            prop_assert!(2 * (limits.max_connections + limits.max_pipes) <= descriptors);
            prop_assert!(limits.pipes(3) * 3 <= limits.max_pipes);
            prop_assert!(limits.pool_ceiling < descriptors);
            prop_assert!(max_probes(descriptors) >= 1 && max_probes(descriptors) <= descriptors);
        }
    }
}
