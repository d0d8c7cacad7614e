//! Each algorithm: shares by weight, who is passed over, slow start, affinity, and latencies beside a slow backend.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::slow_start::SLOW_START;
use super::{LoadBalancer, Seeker};
use crate::backend::{ActiveSet, Backend};
use crate::base::clock;
use crate::config::Algorithm;
use crate::scorer::answer_time::AnswerTime;
use crate::selector::decide::Footing;

const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 7);

/// Connections of which shares are taken.
const MANY: u32 = 100_000;

fn addr(n: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(n).expect("few")))
}

/// A set whose member with index i has port i + 1, this weight, and these relays.
fn set_of(members: &[(u16, u32)], joined_at: Instant) -> ActiveSet {
    let member = |(index, (weight, live)): (usize, &(u16, u32))| {
        let backend = Backend::new(addr(index + 1), joined_at, 1);
        (0..*live).for_each(|_| backend.join());
        (
            Arc::new(backend),
            NonZeroU16::new(*weight).expect("a weight is not 0"),
        )
    };
    let members = members.iter().enumerate().map(member).collect();
    ActiveSet::weighted(members, Footing::Good)
}

/// Chooses, seeded.
struct Chooser {
    balancer: LoadBalancer,
    rng: fastrand::Rng,
    now: Instant,
}

impl Chooser {
    fn new(algorithm: Algorithm, now: Instant) -> Self {
        Self {
            balancer: LoadBalancer::new(algorithm, Arc::default()),
            rng: fastrand::Rng::with_seed(7),
            now,
        }
    }

    fn choose_for(&mut self, set: &ActiveSet, client: SocketAddr, failed: &[SocketAddr]) -> Option<usize> {
        let seeker = Seeker {
            client,
            failed,
            tries: 3,
            reactor: 0,
        };
        self.balancer.choose(set, &seeker, &mut self.rng, self.now)
    }

    fn choose(&mut self, set: &ActiveSet, failed: &[SocketAddr]) -> usize {
        self.choose_for(set, CLIENT, failed).expect("not empty")
    }

    /// How many of so many connections each member gets, of clients that are all others, none of which stays.
    fn counts(&mut self, set: &ActiveSet, connections: u32) -> Vec<u32> {
        let mut counts = vec![0; set.backends.len()];
        for _ in 0..connections {
            let client = SocketAddr::from((Ipv4Addr::from_bits(self.rng.u32(..)), 7));
            counts[self.choose_for(set, client, &[]).expect("not empty")] += 1;
        }
        counts
    }

    /// The same of clients of whom so many stay at once, whoever they are with.
    fn counts_under_load(&mut self, set: &ActiveSet, connections: u32, at_once: usize) -> Vec<u32> {
        let mut counts = vec![0; set.backends.len()];
        let mut staying = Vec::new();
        for turn in 0..connections + 10_000 {
            let chosen = self.choose(set, &[]);
            set.backends[chosen].join();
            staying.push(chosen);
            if staying.len() > at_once {
                let leaves = staying.swap_remove(self.rng.usize(..staying.len()));
                set.backends[leaves].leave();
            }
            // Until it is full, it is no steady state.
            counts[chosen] += u32::from(turn >= 10_000);
        }
        counts
    }
}

/// Whether counts are within 2 % of what the weights of the set say.
fn follow_weights(counts: &[u32], set: &ActiveSet) -> bool {
    let total: f64 = counts.iter().copied().map(f64::from).sum();
    let all = f64::from(u32::try_from(set.weights().total()).expect("small"));
    counts.iter().enumerate().all(|(member, count)| {
        let weight = f64::from(u32::try_from(set.weights().weight(member)).expect("small"));
        let share = f64::from(*count) / total;
        (share / (weight / all) - 1.0).abs() < 0.02
    })
}

#[test]
fn shares_follow_weights_where_nobody_is_busy() {
    let now = clock::now();
    for weights in [[1, 1, 1, 1], [5, 3, 2, 1], [400, 100, 300, 500]] {
        let set = set_of(&weights.map(|weight| (weight, 0)), now);
        for algorithm in Algorithm::ALL {
            if algorithm == Algorithm::LeastTime {
                // Where nobody is busy, the fastest and heaviest gets all: that is what it is for.
                continue;
            }
            let counts = Chooser::new(algorithm, now).counts(&set, MANY);
            assert!(
                follow_weights(&counts, &set),
                "{algorithm:?} {weights:?}: {counts:?}"
            );
        }
    }
}

#[test]
fn shares_follow_weights_under_load() {
    let now = clock::now();
    for weights in [[1, 1, 1, 1], [5, 3, 2, 1], [400, 100, 300, 500]] {
        for algorithm in [
            Algorithm::LeastConnections,
            Algorithm::RoundRobin,
            Algorithm::Random,
            Algorithm::TwoChoices,
            Algorithm::LeastTime,
        ] {
            let set = set_of(&weights.map(|weight| (weight, 0)), now);
            for backend in &set.backends {
                backend.set_time(Some(Duration::from_millis(20)));
            }
            let counts = Chooser::new(algorithm, now).counts_under_load(&set, MANY, 1_000);
            assert!(
                follow_weights(&counts, &set),
                "{algorithm:?} {weights:?}: {counts:?}"
            );
        }
    }
}

#[test]
fn least_connections_takes_the_fewest_for_their_weight_and_rotates_ties() {
    let now = clock::now();
    let mut chooser = Chooser::new(Algorithm::LeastConnections, now);
    assert_eq!(chooser.choose(&set_of(&[(1, 3), (1, 1), (1, 2)], now), &[]), 1);
    assert_eq!(chooser.choose(&set_of(&[(4, 3), (1, 1), (2, 2)], now), &[]), 0);
    let tied = set_of(&[(1, 2), (1, 2), (1, 2)], now);
    let mut seen: Vec<_> = (0..3).map(|_| chooser.choose(&tied, &[])).collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2], "three ties go to three members");
}

#[test]
fn least_time_takes_the_soonest_for_its_load_and_weight() {
    let now = clock::now();
    let choose = |members: &[(u16, u32)], millis: &[u64]| {
        let set = set_of(members, now);
        for (backend, millis) in set.backends.iter().zip(millis) {
            backend.set_time((*millis > 0).then(|| Duration::from_millis(*millis)));
        }
        Chooser::new(Algorithm::LeastTime, now).choose(&set, &[])
    };
    assert_eq!(choose(&[(1, 0), (1, 0), (1, 0)], &[30, 10, 20]), 1);
    assert_eq!(
        choose(&[(1, 0), (1, 3), (1, 0)], &[30, 10, 20]),
        2,
        "40 for the first byte of a busy one"
    );
    assert_eq!(choose(&[(9, 0), (1, 0), (1, 0)], &[30, 10, 20]), 0);
    assert_eq!(
        choose(&[(1, 1), (1, 0), (1, 1)], &[30, 0, 20]),
        1,
        "who is not known is as the others"
    );
}

#[test]
fn two_choices_takes_the_better_of_two() {
    let now = clock::now();
    let set = set_of(&[(1, 0), (1, 0), (1, 40)], now);
    for (backend, millis) in set.backends.iter().zip([10, 20, 10]) {
        backend.set_time(Some(Duration::from_millis(millis)));
    }
    let counts = Chooser::new(Algorithm::TwoChoices, now).counts(&set, 30_000);
    assert_eq!(counts[2], 0, "nobody is worse");
    // Of the three pairs it is best in two.
    assert!(counts[0].abs_diff(20_000) < 500, "{counts:?}");
}

#[test]
fn round_robin_is_exact_over_clones() {
    let now = clock::now();
    let set = set_of(&[(6, 9), (2, 0), (4, 0)], now);
    let mut one = Chooser::new(Algorithm::RoundRobin, now);
    let mut other = Chooser {
        balancer: one.balancer.clone(),
        ..Chooser::new(Algorithm::RoundRobin, now)
    };
    let mut counts = [0; 3];
    for turn in 0..600 {
        let chooser = if turn % 3 == 0 { &mut one } else { &mut other };
        counts[chooser.choose(&set, &[])] += 1;
    }
    assert_eq!(counts, [300, 100, 200]);
}

#[test]
fn who_failed_is_avoided_while_there_are_others() {
    let now = clock::now();
    let set = set_of(&[(9, 0), (1, 5), (9, 5)], now);
    for algorithm in Algorithm::ALL {
        let mut chooser = Chooser::new(algorithm, now);
        for _ in 0..50 {
            assert_eq!(chooser.choose(&set, &[addr(1), addr(3)]), 1, "{algorithm:?}");
        }
        let all = [addr(1), addr(2), addr(3)];
        assert!(
            chooser.choose_for(&set, CLIENT, &all).is_some(),
            "a failed one is better than none"
        );
        assert_eq!(chooser.choose_for(&ActiveSet::default(), CLIENT, &[]), None);
    }
}

#[test]
fn clients_of_one_who_failed_are_shared_by_the_others_as_they_weigh() {
    let now = clock::now();
    let set = set_of(&[(9, 0), (1, 0), (3, 0)], now);
    let mut chooser = Chooser::new(Algorithm::RoundRobin, now);
    let mut counts = [0_u32; 3];
    (0..4_000).for_each(|_| counts[chooser.choose(&set, &[addr(1)])] += 1);
    assert!(counts[0] == 0 && counts[1].abs_diff(1_000) < 8, "{counts:?}");
}

#[test]
fn whom_all_members_have_failed_gets_one_of_the_reserve() {
    let now = clock::now();
    let behind = set_of(&[(1, 0); 4], now).backends.split_off(2);
    let set = set_of(&[(1, 0), (1, 0)], now).with_reserve(ActiveSet::new(behind, Footing::Good));
    let [one, two, three, four] = [1, 2, 3, 4].map(addr);
    for algorithm in Algorithm::ALL {
        let mut chooser = Chooser::new(algorithm, now);
        let mut choose = |failed: &[SocketAddr], tries| {
            let seeker = Seeker {
                client: CLIENT,
                failed,
                tries,
                reactor: 0,
            };
            let chosen = chooser.balancer.choose(&set, &seeker, &mut chooser.rng, now);
            chosen.expect("not empty")
        };
        for _ in 0..50 {
            assert!(choose(&[], 1) < 2, "{algorithm:?}: the first try is no last one");
            assert_eq!(choose(&[one], 2), 1, "{algorithm:?}");
            assert!(choose(&[one], 1) >= 2, "{algorithm:?}: the last try");
            assert!(choose(&[one, two], 2) >= 2, "{algorithm:?}");
            assert_eq!(choose(&[one, two, three], 2), 3, "{algorithm:?}");
            assert!(
                choose(&[one, two, three, four], 2) < 2,
                "{algorithm:?}: it begins again"
            );
        }
    }
}

/// A set of two, and one that joined a minute later, at the given time of its life.
fn with_newcomer(live: u32, now: Instant, age: Duration) -> (ActiveSet, Instant) {
    let joined_at = now + Duration::from_secs(60);
    let mut backends = set_of(&[(1, live), (1, live)], now).backends;
    backends.push(Arc::new(Backend::new(addr(3), joined_at, 1)));
    for backend in &backends {
        backend.set_time(Some(Duration::from_millis(20)));
    }
    (ActiveSet::new(backends, Footing::Good), joined_at + age)
}

#[test]
fn the_share_of_a_newcomer_grows() {
    let start = clock::now();
    for algorithm in Algorithm::ALL {
        if matches!(algorithm, Algorithm::SourceHash | Algorithm::LeastTime) {
            // The one has no slow start; of the other shares are not by weight where nobody is busy.
            continue;
        }
        for (tenths, share) in [(0, 0.0), (2, 0.2 / 2.2), (5, 0.5 / 2.5), (10, 1.0 / 3.0)] {
            let (set, now) = with_newcomer(0, start, SLOW_START * tenths / 10);
            let counts = Chooser::new(algorithm, now).counts(&set, MANY);
            let got = f64::from(counts[2]) / f64::from(MANY);
            assert!(
                (got - share).abs() < 0.01,
                "{algorithm:?} after {tenths} s: {got}"
            );
        }
    }
}

#[test]
fn a_newcomer_is_not_flooded() {
    let start = clock::now();
    for algorithm in [Algorithm::LeastConnections, Algorithm::LeastTime] {
        for (tenths, most) in [(1, 10), (5, 50), (8, 80)] {
            let (set, now) = with_newcomer(100, start, SLOW_START * tenths / 10);
            let mut chooser = Chooser::new(algorithm, now);
            let newcomer = &set.backends[2];
            for _ in 0..60 {
                set.backends[chooser.choose(&set, &[])].join();
            }
            let got = newcomer.live();
            assert!(
                got <= most + 10 && got + 10 >= most.min(60),
                "{algorithm:?} after {tenths} s: {got}"
            );
        }
    }
}

#[test]
fn those_who_came_together_start_together() {
    let now = clock::now();
    let set = set_of(&[(1, 0), (1, 0)], now);
    assert!(set.is_settled(now));
    let counts = Chooser::new(Algorithm::RoundRobin, now).counts(&set, 100);
    assert_eq!(counts, [50, 50]);
}

#[test]
fn a_member_that_leaves_moves_its_own_clients_only() {
    let now = clock::now();
    let mut clients = fastrand::Rng::with_seed(3);
    let clients: Vec<SocketAddr> = (0..MANY)
        .map(|_| {
            if clients.bool() {
                SocketAddr::from((Ipv4Addr::from_bits(clients.u32(..)), 7))
            } else {
                SocketAddr::from((Ipv6Addr::from_bits(clients.u128(..)), 7))
            }
        })
        .collect();
    for weights in [[1; 10], [9, 1, 2, 3, 4, 5, 6, 7, 8, 5]] {
        let whole = set_of(&weights.map(|weight| (weight, 0)), now);
        // It comes back as somebody new.
        let again = set_of(&weights.map(|weight| (weight, 0)), now + SLOW_START / 2);
        let mut members: Vec<_> = whole.backends.iter().cloned().zip(weights).collect();
        let gone = members.remove(4);
        let weigh = |(backend, weight)| (backend, NonZeroU16::new(weight).expect("a weight is not 0"));
        let rest = ActiveSet::weighted(members.into_iter().map(weigh).collect(), Footing::Good);
        let mut chooser = Chooser::new(Algorithm::SourceHash, now + SLOW_START / 2);
        let mut home = |set: &ActiveSet, client| {
            let index = chooser.choose_for(set, client, &[]).expect("not empty");
            set.backends[index].addr
        };
        let mut moved = 0_u32;
        for client in &clients {
            let (before, without) = (home(&whole, *client), home(&rest, *client));
            assert!(
                before == without || before == gone.0.addr,
                "{client} is moved for nothing"
            );
            assert_eq!(home(&again, *client), before, "{client} has come back");
            moved += u32::from(before != without);
        }
        let share = f64::from(weights[4]) / f64::from(weights.iter().sum::<u16>());
        let got = f64::from(moved) / f64::from(MANY);
        assert!(got <= 1.2 * share && got >= 0.8 * share, "{got} of {share}");
    }
}

#[test]
fn the_same_client_comes_to_the_same_member() {
    let now = clock::now();
    let set = set_of(&[(1, 0), (1, 70), (1, 7), (1, 0)], now);
    let mut chooser = Chooser::new(Algorithm::SourceHash, now);
    let client = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let home = chooser.choose_for(&set, client("[2001:db8:1:2::1]:1"), &[]);
    for other in ["[2001:db8:1:2::1]:9", "[2001:db8:1:2:a:b:c:d]:1"] {
        assert_eq!(chooser.choose_for(&set, client(other), &[]), home);
    }
    // What failed for it is passed over, to the same other one each time.
    let failed = [set.backends[home.expect("one")].addr];
    let second = chooser.choose_for(&set, client("[2001:db8:1:2::1]:1"), &failed);
    assert!(second != home && second == chooser.choose_for(&set, client("[2001:db8:1:2::5]:2"), &failed));
}

/// Virtual seconds of clients that come by chance to backends whose answers take an exponential time of these means, and stay
/// until they are answered; what was seen is learned ten times a second. The time that 99 of 100 clients were answered in.
fn p99(algorithm: Algorithm, means: &[f64], per_second: f64, seed: u64) -> f64 {
    const CLIENTS: usize = 60_000;
    let start = clock::now();
    let set = set_of(&vec![(1, 0); means.len()], start);
    let mut chooser = Chooser::new(algorithm, start);
    chooser.rng = fastrand::Rng::with_seed(seed);
    let mut rng = fastrand::Rng::with_seed(seed + 1_000);
    let mut exponential = |mean: f64| -mean * (1.0 - rng.f64()).ln();
    // When who is answered, after how long; in microseconds, the earliest first.
    let mut answers: BinaryHeap<Reverse<(u64, usize, u64)>> = BinaryHeap::new();
    let mut seen = vec![(0_u64, 0_u64); means.len()];
    let mut known: Vec<Option<AnswerTime>> = vec![None; means.len()];
    let (mut now, mut look_at) = (0_u64, 100_000);
    let mut waits = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        now += micros(exponential(1.0 / per_second));
        while let Some(Reverse((at, member, waited))) = answers.peek().copied().filter(|one| one.0.0 <= now) {
            answers.pop();
            debug_assert!(at <= now);
            set.backends[member].leave();
            seen[member] = (seen[member].0 + waited, seen[member].1 + 1);
        }
        while look_at <= now {
            let at = start + Duration::from_micros(look_at);
            for (member, seen) in seen.iter_mut().enumerate() {
                let (waited, count) = std::mem::take(seen);
                if let Some(mean) = waited.checked_div(count).map(Duration::from_micros) {
                    match &mut known[member] {
                        Some(time) => time.heard(mean, at),
                        unknown => *unknown = Some(AnswerTime::first(mean, at)),
                    }
                }
                let connect = Duration::from_millis(1);
                let time = known[member].map_or(connect, |time| time.expected(Some(connect), at));
                set.backends[member].set_time(Some(time));
            }
            look_at += 100_000;
        }
        chooser.now = start + Duration::from_micros(now);
        let member = chooser.choose(&set, &[]);
        set.backends[member].join();
        let waited = micros(exponential(means[member]));
        answers.push(Reverse((now + waited, member, waited)));
        waits.push(waited);
    }
    waits.sort_unstable();
    Duration::from_micros(waits[CLIENTS * 99 / 100]).as_secs_f64()
}

fn micros(seconds: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(seconds).as_micros()).expect("a short time")
}

#[test]
fn what_goes_by_time_is_not_slowed_by_one_backend_that_is() {
    let means = [0.010, 0.010, 0.010, 0.100];
    for seed in 0..4 {
        let of = |algorithm| p99(algorithm, &means, 600.0, seed);
        let connections = of(Algorithm::LeastConnections);
        for algorithm in [Algorithm::TwoChoices, Algorithm::LeastTime] {
            let time = of(algorithm);
            println!("seed {seed}: {algorithm:?} {time:.3} s, least connections {connections:.3} s");
            assert!(
                time < 0.6 * connections,
                "seed {seed}: {algorithm:?} {time}, least connections {connections}"
            );
        }
    }
}
