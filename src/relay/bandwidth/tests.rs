//! Buckets alone: rates, fairness, what is given back. The relay around them is tested end to end.

use super::*;
use crate::clock;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn limits(per_connection: u64, total: u64) -> (Bandwidth, Instant) {
    let origin = clock::now();
    let limits = BandwidthLimits {
        per_connection,
        total,
    };
    (Bandwidth::of(&limits, origin).expect("a limit"), origin)
}

/// A half that moves up to `wish` bytes whenever it may.
#[derive(Debug, Default)]
struct Mover {
    gate: Gate,
    wish: u64,
    moved: u64,
}

impl Mover {
    fn greedy() -> Self {
        Self {
            wish: u64::MAX,
            ..Self::default()
        }
    }

    /// Its turns at one moment.
    fn turns(&mut self, bandwidth: &Bandwidth, now: Instant) {
        while bandwidth.permit(&mut self.gate, Direction::ToClient, now) {
            let moved = self.wish.min(bandwidth.quantum);
            self.moved += moved;
            bandwidth.charge(&mut self.gate, Direction::ToClient, moved, now);
            if self.wish < bandwidth.quantum {
                return;
            }
        }
    }

    /// Whether its timer has come.
    fn is_due(&self, now: Instant) -> bool {
        self.gate.paused_until.is_none_or(|until| until <= now)
    }
}

#[test]
fn no_limit_is_none() {
    assert!(Bandwidth::of(&BandwidthLimits::default(), clock::now()).is_none());
}

#[test]
fn one_direction_leaves_the_other_alone() {
    let (bandwidth, origin) = limits(0, MIB);
    let mut one = Mover::greedy();
    one.turns(&bandwidth, origin);
    let mut gate = Gate::default();
    assert!(!bandwidth.permit(&mut gate, Direction::ToClient, origin));
    assert!(bandwidth.permit(&mut Gate::default(), Direction::ToBackend, origin));
}

#[test]
fn a_pause_ends_when_its_quantum_is_there_and_not_before() {
    let (bandwidth, origin) = limits(MIB, 0);
    let now = origin + Duration::from_secs(5);
    let mut one = Mover::greedy();
    one.turns(&bandwidth, now);
    let until = one.gate.paused_until.expect("a pause");
    assert!(until > now && until <= now + 2 * QUANTUM);
    let before = one.moved;
    one.turns(&bandwidth, now);
    assert_eq!(one.moved, before);
    one.turns(&bandwidth, until);
    assert!(one.moved > before);
}

#[test]
fn a_day_in_which_nothing_moved_is_worth_a_burst() {
    for (per_connection, total) in [(MIB, 0), (0, MIB)] {
        let (bandwidth, origin) = limits(per_connection, total);
        let mut one = Mover::greedy();
        one.turns(&bandwidth, origin);
        let before = one.moved;
        let tomorrow = origin + Duration::from_secs(86_400);
        one.turns(&bandwidth, tomorrow);
        let moved = one.moved - before;
        let burst = Rate(MIB).bytes_in(BURST);
        assert!(moved <= burst + 3 * bandwidth.quantum, "{moved} of {burst}");
        assert!(
            one.gate
                .paused_until
                .is_some_and(|until| until <= tomorrow + 3 * QUANTUM)
        );
    }
}

/// The timers of one may always come before those of the other.
#[test]
fn shares_of_a_total_are_equal_whoever_comes_first() {
    let (bandwidth, origin) = limits(0, 10 * MIB);
    let mut movers: Vec<Mover> = (0..7).map(|_| Mover::greedy()).collect();
    for millis in 0..10_000 {
        let now = origin + Duration::from_millis(millis);
        for mover in movers.iter_mut().filter(|mover| mover.is_due(now)) {
            mover.turns(&bandwidth, now);
        }
    }
    let moved: Vec<u64> = movers.iter().map(|mover| mover.moved).collect();
    let fair = 100 * MIB / 7;
    // The burst at the beginning is the first one's.
    assert!(
        moved.iter().all(|one| one.abs_diff(fair) < fair / 10),
        "{moved:?}, fair is {fair}"
    );
}

/// What relays had reserved when they ended is not lost to the others.
#[test]
fn a_relay_that_ends_while_it_waits_delays_nobody() {
    let (bandwidth, origin) = limits(0, MIB);
    let mut one = Mover::greedy();
    one.turns(&bandwidth, origin);
    let begin = one.gate.ticket.expect("a ticket");
    for _ in 0..100 {
        let mut throttle = Throttle::default();
        let gate = throttle.gate(Direction::ToClient);
        assert!(!bandwidth.permit(gate, Direction::ToClient, origin));
        assert!(throttle.resumes_at().is_some());
        throttle.give_back(&bandwidth);
    }
    let mut next = Gate::default();
    bandwidth.permit(&mut next, Direction::ToClient, origin);
    assert_eq!(next.ticket, Some(begin + bandwidth.quantum));
}

proptest! {
    /// With greedy and modest halves, late timers and both limits: never more than the rate and what may be on top
    /// of it; and not much less, as long as somebody is greedy.
    #[test]
    fn the_rate_is_kept_and_used(
        total in 100 * 1024..50 * MIB,
        greedy in 1..5_usize,
        modest in prop::collection::vec(1..2000_u64, 0..5),
        lateness in prop::collection::vec(0..20_u64, 100),
        limited: bool,
    ) {
        let share = total / 3;
        let (bandwidth, origin) = limits(if limited { share } else { 0 }, total);
        let mut movers: Vec<Mover> = (0..greedy).map(|_| Mover::greedy()).collect();
        movers.extend(modest.iter().map(|wish| Mover { wish: *wish, ..Mover::default() }));
        let count = u64::try_from(movers.len()).expect("few");
        let (mut now, begin) = (origin + Duration::from_secs(9), origin + Duration::from_secs(9));
        while now < begin + Duration::from_secs(4) {
            for millis in &lateness {
                now += Duration::from_millis(1 + millis);
                for mover in movers.iter_mut().filter(|mover| mover.is_due(now)) {
                    mover.turns(&bandwidth, now);
                }
            }
        }
        let passed = now - begin + BURST;
        let slack = 2 * count * bandwidth.quantum;
        let all: u64 = movers.iter().map(|mover| mover.moved).sum();
        prop_assert!(all <= Rate(total).bytes_in(passed) + slack, "{} in {:?}", all, passed);
        if limited {
            for mover in &movers {
                prop_assert!(mover.moved <= Rate(share).bytes_in(passed) + 2 * bandwidth.quantum);
            }
        }
        let wanted = if limited { total.min(share * greedy as u64) } else { total };
        let least = Rate(wanted).bytes_in(now - begin);
        prop_assert!(all + slack >= least - least / 20, "{} of {}", all, least);
    }
}
