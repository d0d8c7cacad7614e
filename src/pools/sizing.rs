//! Demand -> pool size.
//!
//! Pure. Owns the sizing rules of the specification's section "Balancing, pools, relay"; it must not know
//! where demand was measured or who holds connections.
//!
//! Invariants: a dynamic target stays within `min_size..=max_size` and moves by at most the increments;
//! shares add up to exactly their target.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::backend::ReactorShare;
use crate::config::{Dynamic, Strategy};

/// Floating-point dust: 10 x (1 + 0.1) is a little more than 11, and must not become 12.
const DUST: f64 = 1e-6;

/// What a share's target counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Warm connections, dials for the pool, and connections in use (dynamic).
    Everything,
    /// Warm connections and dials for the pool (static; off is a target of 0).
    Warm,
}

/// What one reactor holds of one backend, and how much it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Holding {
    target: u32,
    warm: u32,
    dialling: u32,
    in_use: u32,
    /// Most that may be warm.
    limit: u32,
}

impl From<&ReactorShare> for Holding {
    fn from(share: &ReactorShare) -> Self {
        Self {
            target: share.target.load(Ordering::Relaxed),
            warm: share.warm.load(Ordering::Relaxed),
            dialling: share.dialling.load(Ordering::Relaxed),
            in_use: share.in_use.load(Ordering::Relaxed),
            limit: share.limit.get(),
        }
    }
}

impl Holding {
    /// Warm connections, and those that will be.
    fn pooled(self) -> u32 {
        self.warm.saturating_add(self.dialling)
    }

    /// What is warm beyond the limit.
    fn excess(self) -> u32 {
        self.pooled().saturating_sub(self.limit).min(self.warm)
    }
}

impl Counting {
    /// What targets count under a strategy.
    #[must_use]
    pub fn of(strategy: &Strategy) -> Self {
        match strategy {
            Strategy::Dynamic(_) => Self::Everything,
            Strategy::Static { .. } | Strategy::Off => Self::Warm,
        }
    }

    fn held(self, holding: Holding) -> u32 {
        match self {
            Self::Everything => holding.pooled().saturating_add(holding.in_use),
            Self::Warm => holding.pooled(),
        }
    }

    fn shortfall(self, holding: Holding) -> u32 {
        let room = holding.limit.saturating_sub(holding.pooled());
        holding.target.saturating_sub(self.held(holding)).min(room)
    }

    fn surplus(self, holding: Holding) -> u32 {
        let target = holding.target;
        let outgrown = self == Self::Everything && target > 0 && holding.in_use >= target;
        let too_many = if outgrown {
            0
        } else {
            self.held(holding).saturating_sub(target).min(holding.warm)
        };
        too_many.max(holding.excess())
    }
}

/// How many connections a reactor should dial now to reach its target.
#[must_use]
pub fn shortfall(strategy: &Strategy, share: &ReactorShare) -> u32 {
    Counting::of(strategy).shortfall(share.into())
}

/// How many warm connections a reactor should close to come down to its target.
///
/// A reactor whose clients alone reach the target gives up nothing: demand has outgrown the target, and the
/// next client takes what is warm.
#[must_use]
pub fn surplus(strategy: &Strategy, share: &ReactorShare) -> u32 {
    Counting::of(strategy).surplus(share.into())
}

/// The target of a backend that just joined: `min_size` (dynamic), `size_per_remote` (static) or 0 (off).
#[must_use]
pub fn first_target(strategy: &Strategy) -> u32 {
    match strategy {
        Strategy::Off => 0,
        Strategy::Static { size_per_remote } => saturate(*size_per_remote),
        Strategy::Dynamic(rules) => saturate(rules.min_size),
    }
}

/// The target nearest to this one that a strategy allows: `min_size` to `max_size` (dynamic), `size_per_remote`
/// (static) or 0 (off).
#[must_use]
pub fn nearest_target(target: u32, strategy: &Strategy) -> u32 {
    match strategy {
        Strategy::Off | Strategy::Static { .. } => first_target(strategy),
        Strategy::Dynamic(rules) => target.min(saturate(rules.max_size)).max(saturate(rules.min_size)),
    }
}

/// The next target: `ceil(recent_peak * (1 + target_buffer_ratio))` within `min_size..=max_size`, at most
/// one increment from the present target.
#[must_use]
pub fn next_target(target: u32, recent_peak: u32, rules: &Dynamic) -> u32 {
    let wanted = f64::from(recent_peak) * (1.0 + rules.target_buffer_ratio);
    let (min, max) = (saturate(rules.min_size), saturate(rules.max_size));
    let wanted = whole((wanted - DUST).ceil()).min(max).max(min);
    if wanted > target {
        wanted.min(target.saturating_add(saturate(rules.scale_up_increment)))
    } else {
        wanted.max(target.saturating_sub(saturate(rules.scale_down_increment)))
    }
}

/// Connections on order: dials that replace warm connections which clients took.
///
/// By Little's law, checkouts at a rate of `per_second` have `per_second * dial_time` replacements on the
/// way at any time. They are demand just as connections in use are: with a backend 50 ms away and 300
/// clients a second, a pool sized by the clients alone would have 15 connections too few, and run dry.
#[must_use]
pub fn on_order(per_second: f64, dial_time: Duration) -> u32 {
    whole((per_second * dial_time.as_secs_f64()).round())
}

/// A target split over reactors by their recent peaks; the parts add up to exactly `target`.
///
/// Each gets its peak and an equal part of the rest. When the peaks add up to more than the target (reactors
/// peak at different times), each gets its part of the target instead. What does not divide goes to the
/// largest remainders; ties to the higher peak, then to the lower index.
#[must_use]
pub fn distribute(target: u32, peaks: &[u32]) -> Vec<u32> {
    let sum: u64 = peaks.iter().copied().map(u64::from).sum();
    let reactors = u64::try_from(peaks.len()).unwrap_or(u64::MAX);
    let target = u64::from(target);
    // Whole part and remainder of every share, over one common divisor.
    let exact: Vec<(u64, u64)> = peaks
        .iter()
        .map(|peak| {
            let peak = u64::from(*peak);
            if sum > target {
                (peak * target / sum, peak * target % sum)
            } else {
                let rest = target - sum;
                (peak + rest / reactors, rest % reactors)
            }
        })
        .collect();
    let given: u64 = exact.iter().map(|(whole, _)| whole).sum();
    let mut order: Vec<usize> = (0..peaks.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse((exact[*i].1, peaks[*i])));
    let mut shares: Vec<u32> = exact
        .iter()
        .map(|(whole, _)| u32::try_from(*whole).unwrap_or(u32::MAX))
        .collect();
    let left = usize::try_from(target - given).unwrap_or(usize::MAX);
    for i in order.into_iter().take(left) {
        shares[i] += 1;
    }
    shares
}

/// Whether a new distribution is worth the connections that it closes here and dials there: the target
/// moved, or one share is off by more than an eighth.
#[must_use]
pub fn is_worthwhile(present: &[u32], wanted: &[u32]) -> bool {
    let sum = |shares: &[u32]| -> u64 { shares.iter().copied().map(u64::from).sum() };
    let off = |(present, wanted): (&u32, &u32)| present.abs_diff(*wanted) > (present / 8).max(1);
    present.len() != wanted.len() || sum(present) != sum(wanted) || present.iter().zip(wanted).any(off)
}

fn saturate(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and takes what is no number for 0"
)]
fn whole(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy as _, prop, prop_assert, prop_assert_eq, proptest};

    fn rules() -> Dynamic {
        Dynamic::default()
    }

    #[test]
    fn the_target_is_the_recent_peak_and_a_fifth() {
        assert_eq!(next_target(115, 100, &rules()), 120);
        assert_eq!(next_target(120, 100, &rules()), 120);
        assert_eq!(next_target(120, 101, &rules()), 122, "121.2 is rounded up");
        let tenth = Dynamic {
            target_buffer_ratio: 0.1,
            min_size: 0,
            ..rules()
        };
        assert_eq!(next_target(11, 10, &tenth), 11, "10 x 1.1 is 11");
    }

    #[test]
    fn the_target_moves_by_increments_within_its_limits() {
        assert_eq!(next_target(20, 100, &rules()), 30);
        assert_eq!(next_target(100, 0, &rules()), 95);
        assert_eq!(next_target(22, 0, &rules()), 20);
        assert_eq!(next_target(495, 10_000, &rules()), 500);
        assert_eq!(next_target(500, 10_000, &rules()), 500);
    }

    #[test]
    fn the_first_target_is_by_strategy() {
        assert_eq!(first_target(&Strategy::Off), 0);
        assert_eq!(first_target(&Strategy::Static { size_per_remote: 7 }), 7);
        assert_eq!(first_target(&Strategy::Dynamic(rules())), 20);
    }

    #[test]
    fn a_changed_strategy_moves_a_target_no_further_than_it_must() {
        assert_eq!(nearest_target(7, &Strategy::Off), 0);
        assert_eq!(nearest_target(0, &Strategy::Static { size_per_remote: 7 }), 7);
        for (target, nearest) in [(0, 20), (20, 20), (77, 77), (500, 500), (501, 500)] {
            assert_eq!(nearest_target(target, &Strategy::Dynamic(rules())), nearest);
        }
    }

    #[test]
    fn orders_follow_littles_law() {
        assert_eq!(on_order(300.0, Duration::from_millis(50)), 15);
        assert_eq!(on_order(10.0, Duration::from_micros(100)), 0);
        assert_eq!(on_order(0.0, Duration::from_secs(1)), 0);
    }

    fn share(target: u32, warm: u32, dialling: u32, in_use: u32) -> ReactorShare {
        let share = ReactorShare::default();
        share.target.store(target, Ordering::Relaxed);
        share.warm.store(warm, Ordering::Relaxed);
        share.dialling.store(dialling, Ordering::Relaxed);
        share.in_use.store(in_use, Ordering::Relaxed);
        share
    }

    #[test]
    fn a_dynamic_share_counts_what_is_in_use() {
        let dynamic = Strategy::Dynamic(rules());
        assert_eq!(shortfall(&dynamic, &share(10, 3, 2, 4)), 1);
        assert_eq!(surplus(&dynamic, &share(8, 3, 2, 4)), 1);
        assert_eq!(
            surplus(&dynamic, &share(5, 3, 2, 4)),
            3,
            "only warm ones can be given up"
        );
        assert_eq!(surplus(&dynamic, &share(4, 3, 2, 4)), 0, "clients alone reach it");
        assert_eq!(surplus(&dynamic, &share(0, 3, 2, 4)), 3);
    }

    #[test]
    fn a_static_share_counts_what_is_warm() {
        let fixed = Strategy::Static { size_per_remote: 10 };
        assert_eq!(shortfall(&fixed, &share(10, 3, 2, 400)), 5);
        assert_eq!(surplus(&fixed, &share(4, 3, 2, 400)), 1);
        assert_eq!(surplus(&fixed, &share(0, 3, 2, 400)), 3);
        assert_eq!(shortfall(&Strategy::Off, &share(0, 0, 0, 9)), 0);
        assert_eq!(surplus(&Strategy::Off, &share(0, 2, 0, 9)), 2);
    }

    #[test]
    fn shares_follow_peaks() {
        assert_eq!(distribute(20, &[0, 0, 0]), [7, 7, 6]);
        assert_eq!(distribute(120, &[100, 0]), [110, 10]);
        assert_eq!(distribute(13, &[0, 10]), [1, 12]);
        // 10 * 7/20 = 3.5, 10 * 13/20 = 6.5: equal remainders, the higher peak gets it.
        assert_eq!(distribute(10, &[7, 13]), [3, 7]);
        assert_eq!(distribute(5, &[]), [] as [u32; 0]);
    }

    #[test]
    fn small_shifts_are_not_worth_a_dial() {
        assert!(!is_worthwhile(&[10, 10], &[11, 9]));
        assert!(is_worthwhile(&[10, 10], &[11, 10]));
        assert!(is_worthwhile(&[10, 10], &[12, 8]));
        assert!(!is_worthwhile(&[40, 40], &[45, 35]));
        assert!(is_worthwhile(&[], &[1]));
    }

    fn dynamic() -> impl proptest::strategy::Strategy<Value = Dynamic> {
        (0_usize..100, 0_usize..500, 0.0..3.0_f64, 1_usize..50, 1_usize..50).prop_map(
            |(min_size, more, target_buffer_ratio, scale_up_increment, scale_down_increment)| Dynamic {
                min_size,
                max_size: min_size + more,
                target_buffer_ratio,
                scale_up_increment,
                scale_down_increment,
                ..rules()
            },
        )
    }

    proptest! {
        #[test]
        fn targets_stay_in_their_limits_and_arrive(rules in dynamic(), peaks in prop::collection::vec(0_u32..1_000, 1..40)) {
            let mut target = first_target(&Strategy::Dynamic(rules.clone()));
            let limits = saturate(rules.min_size)..=saturate(rules.max_size);
            for peak in &peaks {
                let next = next_target(target, *peak, &rules);
                prop_assert!(limits.contains(&next));
                prop_assert!(next <= target + saturate(rules.scale_up_increment));
                prop_assert!(next + saturate(rules.scale_down_increment) >= target);
                target = next;
            }
            let peak = peaks[0];
            for _ in 0..=*limits.end() {
                target = next_target(target, peak, &rules);
            }
            let wanted = f64::from(peak) * (1.0 + rules.target_buffer_ratio);
            prop_assert!(f64::from(target) >= wanted - DUST || target == *limits.end());
            prop_assert!(f64::from(target) < wanted + 1.0 || target == *limits.start());
        }

        #[test]
        fn shares_add_up_and_keep_order(target in 0_u32..2_000, peaks in prop::collection::vec(0_u32..500, 1..17)) {
            let shares = distribute(target, &peaks);
            prop_assert_eq!(shares.iter().sum::<u32>(), target);
            let covered = peaks.iter().sum::<u32>() <= target;
            for (i, share) in shares.iter().enumerate() {
                prop_assert!(!covered || *share >= peaks[i], "a share holds its peak if all can");
                prop_assert!(covered || *share <= peaks[i]);
                for (j, other) in shares.iter().enumerate() {
                    prop_assert!(peaks[i] <= peaks[j] || share >= other, "{i} {j} {shares:?}");
                }
            }
        }

        #[test]
        fn a_share_is_short_or_has_a_surplus_or_neither(target in 0_u32..50, warm in 0_u32..50,
            dialling in 0_u32..50, in_use in 0_u32..50, limit in 0_u32..60) {
            let holding = Holding { target, warm, dialling, in_use, limit };
            for counting in [Counting::Everything, Counting::Warm] {
                let (short, surplus) = (counting.shortfall(holding), counting.surplus(holding));
                prop_assert!(short == 0 || surplus == 0);
                prop_assert!(surplus <= warm);
                prop_assert!(surplus >= warm.min((warm + dialling).saturating_sub(limit)), "no more than the limit");
                prop_assert!(warm + dialling + short <= limit || short == 0);
                let dialled = Holding { dialling: dialling + short, ..holding };
                prop_assert_eq!(counting.shortfall(dialled), 0, "dialling it is enough");
                prop_assert_eq!(counting.surplus(dialled), surplus, "and not too much");
                let closed = Holding { warm: warm - surplus, ..holding };
                prop_assert_eq!(counting.surplus(closed), 0, "closing it is enough");
                prop_assert_eq!(counting.shortfall(closed), short, "and not too much");
            }
        }
    }
}
