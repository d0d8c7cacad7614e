//! Which backend a connection goes to.
//!
//! Pure but for two shared counters: the live counts of the backends and the turn of `round_robin`. It knows
//! no sockets and no pools: whether a warm connection is at hand does not sway the choice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::backend::{ActiveSet, Backend};
use crate::config::Algorithm;

/// How long a backend that joins others counts as busier than it is. Without this `least_connections`
/// would send every new connection to the newcomer until it has caught up.
pub const SLOW_START: Duration = Duration::from_secs(10);

/// Chooses backends for one reactor; clones share the turn, so `round_robin` is exact over all reactors.
#[derive(Debug, Clone)]
pub struct LoadBalancer {
    algorithm: Algorithm,
    turn: Arc<AtomicUsize>,
}

impl LoadBalancer {
    /// A balancer that takes its turns from `turn`.
    #[must_use]
    pub fn new(algorithm: Algorithm, turn: Arc<AtomicUsize>) -> Self {
        Self { algorithm, turn }
    }

    /// The member for the next connection, as an index into the set; `None` only for an empty set.
    ///
    /// Members in `avoid` (they just failed for this connection) are passed over while there are others.
    pub fn choose(
        &self,
        set: &ActiveSet,
        avoid: &[SocketAddr],
        rng: &mut fastrand::Rng,
        now: Instant,
    ) -> Option<usize> {
        let count = set.backends.len();
        if count <= 1 {
            return (count == 1).then_some(0);
        }
        let admitted = |index: &usize| {
            set.backends
                .get(*index)
                .is_some_and(|backend| !avoid.contains(&backend.addr))
        };
        let first = match self.algorithm {
            Algorithm::LeastConnections | Algorithm::RoundRobin => {
                self.turn.fetch_add(1, Ordering::Relaxed) % count
            }
            Algorithm::Random => rng.usize(..count),
        };
        let from_first = || (first..count).chain(0..first);
        match self.algorithm {
            Algorithm::LeastConnections => from_first()
                .filter(admitted)
                .min_by_key(|index| set.backends.get(*index).map(|backend| load(backend, set, now))),
            Algorithm::RoundRobin => from_first().find(admitted),
            Algorithm::Random if avoid.is_empty() => Some(first),
            Algorithm::Random => {
                let left = (0..count).filter(admitted).count();
                (left > 0)
                    .then(|| rng.usize(..left))
                    .and_then(|nth| (0..count).filter(admitted).nth(nth))
            }
        }
        .or(Some(first))
    }
}

/// The load that `least_connections` compares: live relays, but for a newcomer at least the mean of those
/// that were there before, fading linearly to nothing within [`SLOW_START`].
fn load(backend: &Backend, set: &ActiveSet, now: Instant) -> u32 {
    let live = backend.live();
    let age = now.saturating_duration_since(backend.joined_at);
    if age >= SLOW_START {
        return live;
    }
    let veterans = || {
        set.backends
            .iter()
            .filter(|other| other.joined_at < backend.joined_at)
    };
    let (count, sum) = veterans().fold((0_u64, 0_u64), |(count, sum), other| {
        (count + 1, sum + u64::from(other.live()))
    });
    if count == 0 {
        return live;
    }
    let left = u64::try_from(SLOW_START.saturating_sub(age).as_millis()).unwrap_or(0);
    let whole = u64::try_from(SLOW_START.as_millis()).unwrap_or(u64::MAX);
    let handicap = sum.saturating_mul(left) / (count * whole);
    live.max(u32::try_from(handicap).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use std::net::Ipv4Addr;

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(127, 0, 0, n), 80))
    }

    fn set_of(live: &[u32], joined_at: Instant) -> ActiveSet {
        let backends = (1..)
            .zip(live)
            .map(|(n, live)| {
                let backend = Backend::new(addr(n), joined_at, 1);
                for _ in 0..*live {
                    backend.join();
                }
                Arc::new(backend)
            })
            .collect();
        ActiveSet {
            backends,
            ..ActiveSet::default()
        }
    }

    fn rng() -> fastrand::Rng {
        fastrand::Rng::with_seed(7)
    }

    #[test]
    fn least_connections_takes_the_fewest_and_rotates_ties() {
        let now = clock::now();
        let balancer = LoadBalancer::new(Algorithm::LeastConnections, Arc::default());
        assert_eq!(
            balancer.choose(&set_of(&[3, 1, 2], now), &[], &mut rng(), now),
            Some(1)
        );
        let tied = set_of(&[2, 2, 2], now);
        let mut seen: Vec<_> = (0..3)
            .filter_map(|_| balancer.choose(&tied, &[], &mut rng(), now))
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2], "three ties go to three members");
    }

    #[test]
    fn round_robin_is_exact_over_clones() {
        let now = clock::now();
        let set = set_of(&[9, 0, 0, 0], now);
        let one = LoadBalancer::new(Algorithm::RoundRobin, Arc::default());
        let other = one.clone();
        let mut counts = [0; 4];
        for turn in 0..400 {
            let balancer = if turn % 3 == 0 { &one } else { &other };
            counts[balancer.choose(&set, &[], &mut rng(), now).expect("not empty")] += 1;
        }
        assert_eq!(counts, [100; 4]);
    }

    #[test]
    fn random_is_uniform() {
        let now = clock::now();
        let set = set_of(&[0, 0, 0, 0], now);
        let balancer = LoadBalancer::new(Algorithm::Random, Arc::default());
        let mut rng = rng();
        let mut counts = [0_u32; 4];
        for _ in 0..40_000 {
            counts[balancer.choose(&set, &[], &mut rng, now).expect("not empty")] += 1;
        }
        // Five standard deviations of a binomial with n = 40000, p = 1/4.
        assert!(
            counts.iter().all(|count| count.abs_diff(10_000) < 435),
            "{counts:?}"
        );
    }

    #[test]
    fn who_failed_is_avoided_while_there_are_others() {
        let now = clock::now();
        let set = set_of(&[0, 5, 5], now);
        for algorithm in [
            Algorithm::LeastConnections,
            Algorithm::RoundRobin,
            Algorithm::Random,
        ] {
            let balancer = LoadBalancer::new(algorithm, Arc::default());
            let mut rng = rng();
            for _ in 0..50 {
                let avoid = [addr(1), addr(3)];
                assert_eq!(
                    balancer.choose(&set, &avoid, &mut rng, now),
                    Some(1),
                    "{algorithm:?}"
                );
            }
            let all = [addr(1), addr(2), addr(3)];
            assert!(
                balancer.choose(&set, &all, &mut rng, now).is_some(),
                "a failed one is better than none"
            );
        }
        assert_eq!(
            LoadBalancer::new(Algorithm::Random, Arc::default()).choose(
                &ActiveSet::default(),
                &[],
                &mut rng(),
                now
            ),
            None
        );
    }

    #[test]
    fn a_newcomer_is_not_flooded() {
        let start = clock::now();
        let mut set = set_of(&[100, 100], start);
        let joined = start + Duration::from_secs(60);
        set.backends.push(Arc::new(Backend::new(addr(9), joined, 1)));
        let load_after = |seconds| load(&set.backends[2], &set, joined + Duration::from_secs(seconds));
        assert_eq!(load_after(0), 100);
        assert_eq!(load_after(5), 50);
        assert_eq!(load_after(10), 0);
        assert_eq!(
            load(&set.backends[0], &set, joined),
            100,
            "the others count what they have"
        );
    }
}
