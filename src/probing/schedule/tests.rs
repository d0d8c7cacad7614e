//! The schedule against its promises.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::clock;
use crate::candidates::CandidateSet;
use crate::config::Search;

const INTERVAL: Duration = Duration::from_secs(15);

fn addr(number: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + number), 80))
}

/// Those of a list that is not searched.
fn strangers(list: &str, rng: &mut fastrand::Rng) -> Strangers {
    searched(list, false, rng)
}

fn searched(list: &str, enabled: bool, rng: &mut fastrand::Rng) -> Strangers {
    let list = Arc::new(CandidateSet::parse(list, 80).expect("a good list"));
    let config = Search {
        enabled,
        ..Search::default()
    };
    Strangers::new(list, &config, clock::now(), rng)
}

/// A probe of a round, and whom it is about.
struct Named {
    at: Instant,
    addr: SocketAddr,
}

/// What the board would know, in a world where every probe ends at once.
struct World {
    known: HashMap<SocketAddr, Touched>,
    strangers: Strangers,
    rng: fastrand::Rng,
    grid: Grid,
    /// Always the beginning of a round, but for a test that says otherwise.
    now: Instant,
}

impl World {
    fn new(list: &str, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let now = clock::now();
        Self {
            known: HashMap::new(),
            strangers: strangers(list, &mut rng),
            rng,
            grid: Grid::new(now, INTERVAL),
            now,
        }
    }

    fn touch(&mut self, addr: SocketAddr, score: f64) {
        let touched = Touched {
            addr,
            last_sample_at: self.now,
            score,
            answers: true,
            latency: None,
            successes: 3,
            is_fresh: true,
        };
        self.known.insert(addr, touched);
    }

    /// A round of a list that is not searched: when, and whom.
    fn plan(&mut self, count: usize, active: &[SocketAddr]) -> Vec<Named> {
        let plan = self.plan_openly(count, active);
        let named = |planned: &Planned| planned.addr.map(|addr| Named { at: planned.at, addr });
        plan.probes
            .iter()
            .map(|planned| named(planned).expect("no place is open"))
            .collect()
    }

    fn plan_openly(&mut self, count: usize, active: &[SocketAddr]) -> Plan {
        let round = Round {
            now: self.now,
            grid: self.grid,
            number: self.grid.number(self.now),
            places: Places::new(7),
            count,
            is_shared_with_others: true,
            active,
            best_score: 110.0,
            wanted: 3,
            confirmed: 3,
        };
        let known = self.known.values().copied();
        plan(
            &round,
            known,
            |addr| self.known.contains_key(addr),
            &mut self.strangers,
            &mut self.rng,
        )
    }

    /// Plans a round and lets it pass; the score of a candidate is its last byte.
    fn pass(&mut self, count: usize, active: &[SocketAddr]) -> Vec<Named> {
        let planned = self.plan(count, active);
        for probe in &planned {
            let SocketAddr::V4(v4) = probe.addr else {
                panic!("only IPv4 is listed")
            };
            let touched = Touched {
                addr: probe.addr,
                last_sample_at: probe.at,
                score: f64::from(v4.ip().octets()[3]) * 110.0 / 255.0,
                answers: true,
                latency: None,
                successes: 3,
                is_fresh: true,
            };
            self.known.insert(probe.addr, touched);
        }
        self.now += INTERVAL;
        planned
    }
}

#[test]
fn the_initial_budget_keeps_its_time() {
    let ms = Duration::from_millis;
    assert_eq!(initial_budget(100, ms(500)), 1000);
    assert_eq!(initial_budget(100, ms(2000)), 200);
    assert_eq!(initial_budget(7, ms(60_000)), 7, "at least one batch");
    assert_eq!(initial_budget(usize::MAX, ms(1)), INITIAL_BOUND);
    assert_eq!(initial_budget(1, Duration::ZERO), 5000);
}

#[test]
fn a_good_score_makes_up_to_four_times_as_urgent() {
    let then = clock::now();
    let touched = |score| Touched {
        addr: addr(1),
        last_sample_at: then,
        score,
        answers: true,
        latency: None,
        successes: 3,
        is_fresh: true,
    };
    let now = then + Duration::from_secs(10);
    for (score, best, expected) in [
        (0.0, 100.0, 10.0),
        (50.0, 100.0, 25.0),
        (100.0, 100.0, 40.0),
        (500.0, 100.0, 40.0),
        (5.0, 0.0, 10.0),
    ] {
        assert!((overdue(&touched(score), best, now) - expected).abs() < 1e-9);
    }
    let later = Touched {
        last_sample_at: now,
        ..touched(50.0)
    };
    assert!(
        overdue(&later, 100.0, then).abs() < 1e-9,
        "a sample from after the plan began"
    );
}

#[test]
fn the_active_set_comes_first_then_fresh_ones_then_the_most_overdue() {
    let mut world = World::new("10.0.0.0/16", 1);
    let active = [addr(1), addr(2), addr(3)];
    for number in 1..=100 {
        world.touch(addr(number), 10.0);
        world.now += Duration::from_secs(1);
    }
    world.now = world.grid.next(world.now);
    let planned: HashSet<SocketAddr> = world.plan(10, &active).iter().map(|probe| probe.addr).collect();
    assert_eq!(planned.len(), 10);
    assert!(active.iter().all(|addr| planned.contains(addr)));
    let fresh = planned
        .iter()
        .filter(|addr| !world.known.contains_key(addr))
        .count();
    assert_eq!(fresh, 2, "a fifth of seven, rounded up");
    for oldest in 4..=8 {
        assert!(planned.contains(&addr(oldest)), "{oldest}");
    }
}

#[test]
fn who_left_the_list_is_not_probed_unless_active() {
    let mut world = World::new("10.0.0.1\n10.0.0.2", 2);
    for number in 1..=9 {
        world.touch(addr(number), 50.0);
    }
    let mut planned: Vec<SocketAddr> = world
        .plan(10, &[addr(7)])
        .iter()
        .map(|probe| probe.addr)
        .collect();
    planned.sort();
    assert_eq!(planned, [addr(1), addr(2), addr(7)]);
}

#[test]
fn a_large_active_set_leaves_a_place_to_others_now_and_then() {
    for (count, active_count) in [(1, 1), (3, 3), (3, 10)] {
        let mut world = World::new("10.0.0.0/24", 3);
        let active: Vec<SocketAddr> = (1..=active_count).map(addr).collect();
        let (mut others, mut probes) = (0, HashMap::new());
        for _ in 0..400 {
            let planned = world.pass(count, &active);
            assert_eq!(planned.len(), count);
            others += planned
                .iter()
                .filter(|probe| !active.contains(&probe.addr))
                .count();
            for probe in planned {
                *probes.entry(probe.addr).or_insert(0) += 1;
            }
        }
        assert!((60..140).contains(&others), "{others} of 400 rounds");
        let fair = (400 * count - others) / active.len();
        for addr in &active {
            assert!(probes[addr] >= fair / 2, "{addr}: {} of {fair}", probes[addr]);
        }
    }
}

#[test]
fn fewer_candidates_than_places_are_each_probed_once() {
    let mut world = World::new("10.0.0.1\n10.0.0.2\n10.0.0.3", 4);
    for _ in 0..5 {
        let planned = world.pass(10, &[addr(2)]);
        let distinct: HashSet<SocketAddr> = planned.iter().map(|probe| probe.addr).collect();
        assert_eq!((planned.len(), distinct.len()), (3, 3));
    }
    assert!(world.plan(0, &[addr(2)]).is_empty());
}

#[test]
fn who_joins_in_the_middle_of_a_round_takes_what_is_left_of_it() {
    let mut world = World::new("10.0.0.0/24", 4);
    let whole = world.plan(10, &[]);
    let times = |planned: &[Named]| planned.iter().map(|probe| probe.at).collect::<Vec<_>>();
    world.now += INTERVAL / 2;
    let half = world.plan(10, &[]);
    assert_eq!(half.len(), 5);
    assert_eq!(times(&whole)[5..], times(&half));
}

#[test]
fn never_touched_candidates_all_have_their_turn() {
    let mut world = World::new("10.0.0.0/23", 5);
    let active = [addr(1)];
    for _ in 0..510 {
        world.pass(6, &active);
    }
    assert_eq!(
        world.known.len(),
        510,
        "one of five places in each round is theirs"
    );
}

#[test]
fn nobody_starves() {
    let mut world = World::new("10.0.0.0/24", 6);
    let active = [addr(250), addr(251), addr(252)];
    let mut last: HashMap<SocketAddr, Instant> = HashMap::new();
    let mut longest = Duration::ZERO;
    for round in 0..2000 {
        for probe in world.pass(10, &active) {
            let before = last.insert(probe.addr, probe.at);
            if let Some(before) = before
                && round > 200
            {
                longest = longest.max(probe.at - before);
            }
        }
    }
    assert_eq!(last.len(), 254);
    let fair = INTERVAL * 251 / 7;
    assert!(longest < fair * 4, "{longest:?} against {fair:?} in plain turns");
    let neglected = last.values().map(|at| world.now - *at).max().expect("254");
    assert!(neglected < fair * 4, "{neglected:?}");
}

proptest! {
    #[test]
    fn a_round_is_spread_over_its_interval(
        seed: u64,
        count in 0_usize..40,
        known in 0_u32..60,
        active in 0_u32..6,
        prefix in 24_u8..=32,
    ) {
        let mut world = World::new(&format!("10.0.0.0/{prefix}\n10.0.0.40"), seed);
        for number in 0..known {
            world.touch(addr(number), f64::from(number));
            world.now += Duration::from_millis(u64::from(number * 7919 % 1000));
        }
        world.now = world.grid.next(world.now);
        let active: Vec<SocketAddr> = (0..active).map(|number| addr(number * 3)).collect();
        let planned = world.plan(count, &active);
        let distinct: HashSet<SocketAddr> = planned.iter().map(|probe| probe.addr).collect();
        prop_assert_eq!(distinct.len(), planned.len(), "nobody twice");
        prop_assert!(planned.len() <= count);
        let set = world.strangers.list();
        let candidates = usize::try_from(set.len()).expect("small");
        let outside = active.iter().filter(|addr| !set.contains(addr)).count();
        prop_assert!(planned.len() >= count.min(candidates), "no place stays empty for nothing");
        prop_assert!(planned.len() <= candidates + outside);
        prop_assert!(distinct.iter().all(|addr| set.contains(addr) || active.contains(addr)));
        if count > active.len() {
            prop_assert!(active.iter().all(|addr| distinct.contains(addr)));
        }
        let part = INTERVAL / u32::try_from(planned.len().max(1)).expect("small");
        for (place, probe) in planned.iter().enumerate() {
            let begin = world.now + part * u32::try_from(place).expect("small");
            prop_assert!(probe.at >= begin && probe.at <= begin + part, "one probe in each part");
        }
    }
}

#[test]
fn finalists_are_probed_before_others_and_get_half_of_the_places() {
    let mut world = World::new("10.0.0.0/24", 5);
    (1..=40).for_each(|number| world.touch(addr(number), 50.0));
    for number in [7, 8] {
        world.touch(addr(number), 110.0);
        world.known.get_mut(&addr(number)).expect("known").successes = 2;
    }
    // Good, confirmed, and asked just now: no finalists.
    (30..=40).for_each(|number| world.touch(addr(number), 90.0));
    let active = [addr(1), addr(2), addr(3)];
    let planned: HashSet<SocketAddr> = world.plan(8, &active).iter().map(|probe| probe.addr).collect();
    assert!(
        planned.contains(&addr(7)) && planned.contains(&addr(8)),
        "{planned:?}"
    );
    world.known.get_mut(&addr(7)).expect("known").answers = false;
    let planned: HashSet<SocketAddr> = world.plan(6, &active).iter().map(|probe| probe.addr).collect();
    assert!(
        !planned.contains(&addr(7)) && planned.contains(&addr(8)),
        "{planned:?}"
    );
}

#[test]
fn a_round_of_a_list_that_is_searched_is_mostly_search() {
    let mut world = World::new("10.0.0.0/16", 5);
    world.strangers = searched("10.0.0.0/16", true, &mut world.rng);
    assert!(world.strangers.are_searched());
    (1..=400).for_each(|number| world.touch(addr(number), 50.0));
    for number in 200..=400 {
        let touched = world.known.get_mut(&addr(number)).expect("known");
        (touched.answers, touched.successes) = (false, 0);
    }
    // Who has answered before comes up again, whatever became of it.
    let before = addr(150);
    let touched = world.known.get_mut(&before).expect("known");
    touched.answers = false;
    touched.last_sample_at = world.now.checked_sub(Duration::from_secs(9_999)).expect("a time");
    let plan = world.plan_openly(100, &[addr(1), addr(2), addr(3)]);
    let named: Vec<SocketAddr> = plan.probes.iter().filter_map(|planned| planned.addr).collect();
    let of = |all: &[SocketAddr], range: std::ops::RangeInclusive<u32>| {
        let is_in = |one: &&SocketAddr| range.clone().any(|number| addr(number) == **one);
        all.iter().filter(is_in).count()
    };
    assert_eq!((plan.probes.len(), of(&named, 1..=3)), (100, 3));
    let renewed = 97_usize.div_ceil(RENEWED_SHARE);
    assert_eq!(
        of(&named, 4..=199),
        renewed,
        "the most overdue of those that have answered"
    );
    assert!(named.contains(&before), "{named:?}");
    assert_eq!(named.len(), 3 + renewed, "all other places are open");
    assert_eq!(
        (plan.spare.len(), of(&plan.spare, 4..=199)),
        (97 - renewed, 97 - renewed)
    );
    assert!(
        plan.spare.iter().all(|addr| !named.contains(addr)),
        "nobody twice"
    );
}

#[test]
fn where_a_single_place_is_left_it_is_open_now_and_then() {
    let mut world = World::new("10.0.0.0/16", 6);
    world.strangers = searched("10.0.0.0/16", true, &mut world.rng);
    (1..=9).for_each(|number| world.touch(addr(number), 50.0));
    let mut open = 0;
    for _ in 0..40 {
        let plan = world.plan_openly(3, &[addr(1), addr(2)]);
        assert_eq!(plan.probes.len(), 3);
        open += plan
            .probes
            .iter()
            .filter(|planned| planned.addr.is_none())
            .count();
    }
    assert!((8..=32).contains(&open), "{open} of 40");
}

#[test]
fn what_was_good_once_keeps_nobody_from_being_confirmed() {
    let mut finalists = Finalists::among(3, 3);
    let mut world = World::new("10.0.0.0/16", 1);
    for number in 1..=40 {
        world.touch(addr(number), 100.0);
    }
    for number in 41..=50 {
        world.touch(addr(number), 60.0);
    }
    for (addr_of_it, touched) in &mut world.known {
        touched.successes = 1;
        touched.is_fresh = (41..=50).any(|number| addr(number) == *addr_of_it);
    }
    world
        .known
        .values()
        .for_each(|touched| finalists.consider(touched));
    let is_fresh = |finalist: &SocketAddr| world.known[finalist].is_fresh;
    let all = finalists.of(usize::MAX, |_| true);
    assert_eq!(all.len(), 12);
    assert!(all[..6].iter().all(is_fresh), "{all:?}");
    assert!(!all[6..].iter().any(is_fresh), "they may still be good: {all:?}");
}
