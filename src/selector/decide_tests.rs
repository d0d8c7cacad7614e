//! Each rule of the selector, by cases and by properties.

use super::decide::*;
use crate::base::clock;
use crate::config;
use crate::scorer::sample::Rated;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn rated(port: u16, score: f64) -> Rated {
    Rated {
        addr: addr(port),
        score,
        latency: Some(Duration::from_millis(10)),
        distrust: None,
        successes: 3,
    }
}

/// A world in which a test changes scores and time.
struct World {
    rules: config::Selector,
    scores: Vec<Rated>,
    current: Vec<SocketAddr>,
    removed: Vec<SocketAddr>,
    /// Those of a tier behind the one that serves.
    behind: Vec<SocketAddr>,
    footing: Footing,
    last_switch: Option<Instant>,
    now: Instant,
}

impl World {
    fn new(scores: &[(u16, f64)]) -> Self {
        Self {
            rules: config::Selector::default(),
            scores: scores.iter().map(|(port, score)| rated(*port, *score)).collect(),
            current: Vec::new(),
            removed: Vec::new(),
            behind: Vec::new(),
            footing: Footing::Good,
            last_switch: None,
            now: clock::now(),
        }
    }

    fn set(&mut self, port: u16, score: f64) {
        match self.scores.iter_mut().find(|rated| rated.addr.port() == port) {
            Some(rated) => rated.score = score,
            None => self.scores.push(rated(port, score)),
        }
    }

    fn decide(&self) -> Decision {
        let eligible = |addr: &SocketAddr| !self.removed.contains(addr) && !self.behind.contains(addr);
        let member = |addr: &SocketAddr| Member {
            rated: *self
                .scores
                .iter()
                .find(|rated| rated.addr == *addr)
                .expect("scored"),
            listed: if self.removed.contains(addr) {
                Listed::No
            } else if self.behind.contains(addr) {
                Listed::Behind
            } else {
                Listed::Yes
            },
        };
        let current: Vec<_> = self.current.iter().map(member).collect();
        let aim = (self.rules.active_set_size, self.rules.confirm_probes);
        let ratings = Ratings::of(
            || self.scores.iter().copied(),
            &current,
            aim,
            |rated| eligible(&rated.addr),
        );
        let situation = Situation {
            ratings: &ratings,
            current: &current,
            footing: self.footing,
            last_switch: self.last_switch,
            now: self.now,
        };
        decide(&situation, &self.rules)
    }

    /// Decides and obeys; the ports of the new set and why, if it changed.
    fn step(&mut self) -> Option<(Vec<u16>, SwitchReason)> {
        let decision = self.decide();
        self.footing = decision.footing;
        let switch = decision.switch?;
        self.current = switch.members.iter().map(|member| member.addr).collect();
        if switch.reason != SwitchReason::Initial {
            self.last_switch = Some(self.now);
        }
        Some((self.current.iter().map(SocketAddr::port).collect(), switch.reason))
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[test]
fn the_first_set_is_the_best_that_pass() {
    let mut world = World::new(&[(1, 14.9), (2, 90.0), (3, 15.0), (4, 70.0), (5, 80.0)]);
    assert_eq!(world.step(), Some((vec![2, 5, 4], SwitchReason::Initial)));
    assert_eq!(world.step(), None);
    let mut world = World::new(&[(1, 14.9), (2, 90.0)]);
    assert_eq!(world.step(), Some((vec![2], SwitchReason::Initial)));
}

#[test]
fn a_tier_that_passes_again_takes_over_at_once() {
    let mut world = World::new(&[(1, 60.0), (2, 60.0), (3, 60.0)]);
    world.behind = vec![addr(2), addr(3)];
    world.current = world.behind.clone();
    world.last_switch = Some(world.now);
    assert_eq!(world.step(), Some((vec![1], SwitchReason::Tier)));
    assert_eq!(world.step(), None);
    // One of those behind failed as well.
    world.current = world.behind.clone();
    world.set(2, 3.0);
    assert_eq!(world.step(), Some((vec![1], SwitchReason::Emergency)));
}

#[test]
fn ties_go_to_the_lower_latency_then_the_lower_address() {
    let mut all = [rated(4, 50.0), rated(3, 50.0), rated(2, 50.0), rated(1, 50.0)];
    all[0].latency = Some(Duration::from_millis(9));
    all[3].latency = None;
    let order: Vec<_> = best(4, all.into_iter(), by_rank, |_| true)
        .iter()
        .map(|r| r.addr.port())
        .collect();
    assert_eq!(order, [4, 2, 3, 1]);
}

#[test]
fn better_needs_the_margin_on_the_means() {
    let mut world = World::new(&[(1, 60.0), (2, 60.0), (3, 60.0)]);
    world.step();
    // One that is 14.9 better lifts the mean by 4.97; 15 lifts it by 5.
    world.set(4, 74.9);
    assert_eq!(world.step(), None);
    world.set(4, 75.0);
    assert_eq!(world.step(), Some((vec![4, 1, 2], SwitchReason::Better)));
}

#[test]
fn better_needs_the_debounce_interval() {
    let mut world = World::new(&[(1, 60.0), (2, 60.0), (3, 60.0)]);
    world.step();
    world.set(4, 100.0);
    assert_eq!(
        world.step().expect("the first set holds nothing back").1,
        SwitchReason::Better
    );
    world.set(5, 100.0);
    world.wait(59);
    assert_eq!(world.step(), None);
    world.wait(1);
    assert_eq!(world.step(), Some((vec![4, 5, 1], SwitchReason::Better)));
}

#[test]
fn a_member_under_the_threshold_is_replaced_at_once_and_alone() {
    let mut world = World::new(&[(1, 60.0), (2, 60.0), (3, 60.0), (4, 59.0)]);
    world.step();
    world.last_switch = Some(world.now);
    world.set(2, 14.0);
    world.set(5, 61.0);
    assert_eq!(world.step(), Some((vec![5, 1, 3], SwitchReason::Emergency)));
    world.set(6, 100.0);
    assert_eq!(world.step(), None, "the replacement counts as a switch");
}

#[test]
fn a_member_without_replacement_is_dropped_and_the_set_filled_later() {
    let mut world = World::new(&[(1, 60.0), (2, 60.0), (3, 60.0)]);
    world.step();
    world.last_switch = Some(world.now);
    world.set(3, 1.0);
    assert_eq!(world.step(), Some((vec![1, 2], SwitchReason::Emergency)));
    world.set(3, 16.0);
    assert_eq!(world.step(), Some((vec![1, 2, 3], SwitchReason::Fill)));
}

#[test]
fn a_member_off_the_list_leaves() {
    let mut world = World::new(&[(1, 60.0), (2, 60.0), (3, 60.0), (4, 50.0)]);
    world.step();
    world.removed.push(addr(1));
    assert_eq!(world.step(), Some((vec![2, 3, 4], SwitchReason::Emergency)));
}

#[test]
fn when_nothing_passes_the_last_good_set_stays_until_something_does() {
    let mut world = World::new(&[(1, 60.0), (2, 60.0), (3, 60.0), (4, 5.0)]);
    world.step();
    for port in 1..=3 {
        world.set(port, 0.0);
    }
    assert_eq!(world.step(), None);
    assert_eq!(world.footing, Footing::LastGood);
    world.removed.push(addr(2));
    assert_eq!(world.step(), Some((vec![1, 3], SwitchReason::Fallback)));
    world.set(4, 40.0);
    assert_eq!(world.step(), Some((vec![4], SwitchReason::Emergency)));
    assert_eq!(world.footing, Footing::Good);
}

#[test]
fn a_last_good_set_that_recovers_is_good_without_a_switch() {
    let mut world = World::new(&[(1, 60.0)]);
    world.step();
    world.set(1, 0.0);
    assert_eq!(world.step(), None);
    assert!(world.footing.is_fallback());
    world.set(1, 20.0);
    assert_eq!(world.step(), None);
    assert!(!world.footing.is_fallback());
}

#[test]
fn without_a_last_good_set_the_best_scored_are_taken() {
    let mut world = World::new(&[(1, 0.0), (2, 3.0), (3, 1.0), (4, 2.0)]);
    assert_eq!(world.step(), Some((vec![2, 4, 3], SwitchReason::Fallback)));
    assert_eq!(world.footing, Footing::BestScored);
    assert_eq!(world.step(), None, "no flapping among the bad");
    world.wait(60);
    world.set(1, 14.9);
    assert_eq!(world.step(), None, "the mean gains less than the margin");
    world.rules.score_improvement_threshold = 1.0;
    assert_eq!(world.step(), Some((vec![1, 2, 4], SwitchReason::Fallback)));
    world.set(3, 90.0);
    assert_eq!(world.step(), Some((vec![3], SwitchReason::Emergency)));
}

#[test]
fn a_set_that_is_sooner_and_no_worse_is_better() {
    let mut world = World::new(&[(1, 100.0), (2, 100.0), (3, 100.0)]);
    world.step();
    world.wait(60);
    let latency = |world: &mut World, port: u16, micros: u64| {
        world.set(port, 100.0);
        let rated = world.scores.iter_mut().find(|rated| rated.addr.port() == port);
        rated.expect("scored").latency = Some(Duration::from_micros(micros));
    };
    latency(&mut world, 3, 250_000);
    latency(&mut world, 4, 10_000);
    world.set(4, 99.0);
    assert_eq!(world.step(), None, "the mean score would be lower");
    world.set(4, 100.0);
    world.rules.latency_improvement_ratio = 0.0;
    assert_eq!(world.step(), None, "it is no reason");
    world.rules.latency_improvement_ratio = 0.15;
    assert_eq!(world.step(), Some((vec![1, 2, 4], SwitchReason::Better)));
    latency(&mut world, 3, 6_000);
    assert_eq!(world.step(), None, "it was changed just now");
    world.wait(60);
    assert_eq!(world.step(), None, "10 ms against 8.7 are not enough");
    for port in 1..=4 {
        latency(&mut world, port, if port == 3 { 10 } else { 1_000 });
    }
    assert_eq!(world.step(), None, "nobody can tell a third of a millisecond");
}

#[test]
fn one_lucky_answer_is_no_proof() {
    let answered = |world: &mut World, port: u16, times: u16| {
        let rated = world.scores.iter_mut().find(|rated| rated.addr.port() == port);
        rated.expect("scored").successes = times;
    };
    let mut world = World::new(&[(1, 60.0), (2, 60.0), (3, 60.0)]);
    (1..=3).for_each(|port| answered(&mut world, port, 1));
    assert_eq!(
        world.step(),
        Some((vec![1, 2, 3], SwitchReason::Initial)),
        "who has answered at all is better than nobody"
    );
    world.set(4, 100.0);
    world.set(5, 80.0);
    answered(&mut world, 4, 2);
    assert_eq!(world.step(), Some((vec![5, 1, 2], SwitchReason::Better)));
    world.wait(60);
    answered(&mut world, 4, 3);
    assert_eq!(world.step(), Some((vec![4, 5, 1], SwitchReason::Better)));
    // A place that is free goes to who is confirmed, and to another only where there is nobody.
    world.set(6, 99.0);
    answered(&mut world, 6, 1);
    world.set(4, 0.0);
    answered(&mut world, 2, 3);
    assert_eq!(world.step(), Some((vec![5, 1, 2], SwitchReason::Emergency)));
    world.set(5, 0.0);
    world.set(3, 0.0);
    assert_eq!(world.step(), Some((vec![6, 1, 2], SwitchReason::Emergency)));
}

#[test]
fn the_soonest_of_those_that_score_no_lower_are_a_better_set_too() {
    let mut world = World::new(&[
        (1, 90.0),
        (2, 90.0),
        (3, 90.0),
        (4, 93.0),
        (5, 91.0),
        (6, 91.0),
        (7, 91.0),
    ]);
    world.current = [1, 2, 3].map(addr).into();
    for (port, millis) in [(1, 100), (2, 100), (3, 100), (4, 95), (5, 40), (6, 40), (7, 40)] {
        let rated = world.scores.iter_mut().find(|rated| rated.addr.port() == port);
        rated.expect("scored").latency = Some(Duration::from_millis(millis));
    }
    // The best by score, 4, 5 and 6, are sooner by less than those that leave 4 out; and either will do.
    world.rules.latency_improvement_ratio = 0.5;
    assert_eq!(world.step(), Some((vec![5, 6, 7], SwitchReason::Better)));
}

#[test]
fn a_list_without_candidates_keeps_what_is_there() {
    let mut world = World::new(&[(1, 60.0)]);
    world.step();
    world.removed.push(addr(1));
    assert_eq!(world.step(), None);
    assert_eq!(World::new(&[]).step(), None);
}

fn history() -> impl Strategy<Value = Vec<(u64, Vec<(u16, f64)>)>> {
    let change = (1_u16..12, prop_oneof![0.0..15.0_f64, 15.0..110.0]);
    prop::collection::vec((0_u64..90, prop::collection::vec(change, 0..6)), 1..60)
}

proptest! {
    #[test]
    fn whatever_scores_do_the_rules_hold(size in 1_usize..5, margin in 0.0..20.0_f64, history in history()) {
        let mut world = World::new(&[]);
        world.rules.active_set_size = size;
        world.rules.score_improvement_threshold = margin;
        for (seconds, changes) in history {
            world.wait(seconds);
            for (port, score) in changes {
                world.set(port, score);
            }
            let score_of = |world: &World, addr: &SocketAddr| {
                world.scores.iter().find(|rated| rated.addr == *addr).expect("scored").score
            };
            let before = world.current.clone();
            let last_switch = world.last_switch;
            let threshold = world.rules.min_score_threshold;
            let passing = world.scores.iter().filter(|rated| rated.score >= threshold).count();
            let switched = world.step();
            let members: BTreeSet<_> = world.current.iter().copied().collect();
            prop_assert_eq!(members.len(), world.current.len(), "nobody twice");
            prop_assert!(world.current.len() <= size);
            prop_assert_eq!(world.current.is_empty(), world.scores.is_empty());
            prop_assert_eq!(world.footing.is_fallback(), passing == 0);
            if passing > 0 {
                prop_assert_eq!(world.current.len(), passing.min(size));
                prop_assert!(world.current.iter().all(|addr| score_of(&world, addr) >= threshold));
            }
            if let Some((_, SwitchReason::Better)) = switched {
                prop_assert!(last_switch.is_none_or(|at| world.now - at >= world.rules.debounce_interval));
                let mean = |set: &[SocketAddr]| {
                    mean(&set.iter().map(|addr| rated(addr.port(), score_of(&world, addr))).collect::<Vec<_>>())
                };
                prop_assert!(mean(&world.current) - mean(&before) >= margin - 1e-9);
            }
            if let Some((_, SwitchReason::Emergency | SwitchReason::Fill)) = switched {
                let stayed = |addr: &SocketAddr| members.contains(addr) || score_of(&world, addr) < threshold;
                prop_assert!(before.iter().all(stayed), "only bad ones were replaced");
            }
            prop_assert_eq!(world.step(), None, "a second look changes nothing");
        }
    }

    #[test]
    fn best_is_the_head_of_the_sorted(count in 0_usize..6, scores in prop::collection::vec(0_u8..5, 0..20)) {
        let mut all: Vec<_> = (1..).zip(&scores).map(|(port, score)| rated(port, f64::from(*score))).collect();
        let found = best(count, all.iter().copied(), by_rank, |rated| rated.addr.port() % 3 != 0);
        all.retain(|rated| rated.addr.port() % 3 != 0);
        all.sort_by(by_rank);
        all.truncate(count);
        prop_assert_eq!(found, all);
    }
}
