//! Whose fault it is: by cases, and by properties of a random life.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::view::{News, Phase};
use super::watch::{FAILURES, HELD_BOUND, LinkWatch};
use crate::base::clock;
use crate::config::Scoring;
use crate::scorer::board::ScoreBoard;
use crate::scorer::sample::{Outcome, Sample, Source};
use crate::service::id::{Candidate, ServiceId};
use std::net::SocketAddr;

const CONNECT: Duration = Duration::from_secs(1);
const RTT: Duration = Duration::from_millis(30);
const SILENT: Outcome = Outcome::Failure;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn addr(host: u16) -> SocketAddr {
    let [high, low] = host.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 80))
}

/// A watch and a board, and what was put on it.
struct Bench {
    service: ServiceId,
    watch: LinkWatch,
    board: ScoreBoard,
    applied: Vec<Sample>,
    news: Vec<News>,
    start: Instant,
    now: Instant,
}

impl Bench {
    /// So many candidates have answered; time has passed since.
    fn new(witnesses: u16) -> Self {
        let start = clock::now();
        let mut bench = Self {
            service: ServiceId::fresh(),
            watch: LinkWatch::new(CONNECT),
            board: ScoreBoard::new(Scoring::default()),
            applied: Vec::new(),
            news: Vec::new(),
            start,
            now: start,
        };
        for host in 0..witnesses {
            bench.answer(host);
        }
        bench.pass(Duration::from_secs(60));
        bench.applied.clear();
        bench
    }

    fn apply(&mut self, clear: &mut Vec<Sample>) {
        for sample in clear.iter() {
            self.board.record(sample);
        }
        self.applied.append(clear);
        self.news.append(&mut self.watch.take_news());
    }

    /// A connect that has ended now and took this long.
    fn end(&mut self, host: u16, outcome: Outcome, took: Duration) {
        let sample = Sample {
            candidate: Candidate {
                service: self.service,
                addr: addr(host),
            },
            outcome,
            heard: crate::scorer::Heard::NotAsked,
            source: Source::Probe,
            began_at: self.now.checked_sub(took).expect("a minute has passed"),
            at: self.now,
        };
        let mut clear = Vec::new();
        self.watch.observe(&sample, &self.board, &mut clear);
        self.apply(&mut clear);
    }

    fn answer(&mut self, host: u16) {
        self.now += RTT;
        self.end(host, Outcome::Success(RTT), RTT);
    }

    fn fail(&mut self, host: u16) {
        self.end(host, SILENT, CONNECT);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let mut clear = Vec::new();
        self.watch.on_time(self.now, &self.board, &mut clear);
        self.apply(&mut clear);
    }

    /// All of these connect at this time, and fail a time-out later.
    fn all_fail(&mut self, hosts: impl Iterator<Item = u16>) {
        self.pass(CONNECT);
        hosts.for_each(|host| self.fail(host));
    }

    fn phase(&self) -> Phase {
        self.watch.phase()
    }

    fn failures_of(&self, host: u16) -> usize {
        let is_one = |sample: &&Sample| sample.candidate.addr == addr(host) && !sample.outcome.is_success();
        self.applied.iter().filter(is_one).count()
    }

    fn failures(&self) -> usize {
        let is_one = |sample: &&Sample| !sample.outcome.is_success();
        self.applied.iter().filter(is_one).count()
    }

    /// The link goes down for all of these, and that is noticed.
    fn go_down(&mut self, hosts: u16) {
        self.all_fail(0..hosts.min(3));
        assert_eq!(self.phase(), Phase::Suspect);
        for _ in 0..=FAILURES / usize::from(hosts) {
            self.all_fail(0..hosts);
        }
        assert_eq!(self.phase(), Phase::Down);
    }
}

#[test]
fn everybody_fails_and_comes_back_and_nobody_pays() {
    let mut bench = Bench::new(20);
    let scores = |bench: &Bench| -> Vec<f64> {
        let total = |host| bench.board.score(&addr(host)).expect("touched").total;
        (0..20).map(total).collect()
    };
    let before = scores(&bench);
    bench.go_down(20);
    for _ in 0..60 {
        bench.all_fail(0..20);
    }
    assert_eq!((bench.applied.len(), bench.phase()), (0, Phase::Down));
    assert_eq!(scores(&bench), before);
    bench.answer(4);
    assert_eq!(bench.phase(), Phase::Settling);
    assert_eq!(bench.watch.view(bench.now).failed.len(), 20);
    // What began before it was back fails after it.
    (5..20).for_each(|host| bench.fail(host));
    (0..20).for_each(|host| bench.answer(host));
    bench.pass(CONNECT * 2);
    assert_eq!((bench.phase(), bench.failures()), (Phase::Up, 0));
    assert_eq!(bench.watch.recoveries(), 1);
    let [News::Down { failed, witnesses }, News::Back { after, forgotten }] = bench.news[..] else {
        panic!("{:?}", bench.news)
    };
    assert_eq!((failed, witnesses), (20, 20));
    assert_eq!(forgotten, 3 + 20 + 60 * 20);
    assert!(
        after > Duration::from_secs(60) && after < Duration::from_secs(65),
        "{after:?}"
    );
}

#[test]
fn what_began_in_an_outage_and_succeeds_after_it_tells_no_latency() {
    let mut bench = Bench::new(10);
    bench.go_down(10);
    let before = bench.board.score(&addr(4));
    bench.now += CONNECT;
    // Its first packets were lost; one that was sent again came through.
    bench.end(4, Outcome::Success(millis(900)), millis(900));
    bench.end(5, Outcome::Success(millis(950)), millis(950));
    assert_eq!((bench.phase(), bench.applied.len()), (Phase::Settling, 0));
    assert_eq!(bench.board.score(&addr(4)), before);
    bench.answer(4);
    assert_eq!(bench.applied.len(), 1, "what begins now counts");
}

#[test]
fn one_that_dies_among_others_that_answer_pays_at_once() {
    let mut bench = Bench::new(3);
    for _ in 0..40 {
        bench.answer(1);
    }
    let began_at = bench.now;
    bench.answer(2);
    bench.now = began_at + CONNECT;
    bench.fail(0);
    assert_eq!((bench.phase(), bench.failures_of(0)), (Phase::Up, 1));
}

#[test]
fn one_of_two_that_dies_pays_with_the_next_answer() {
    let mut bench = Bench::new(2);
    bench.all_fail(0..1);
    assert_eq!((bench.phase(), bench.failures_of(0)), (Phase::Suspect, 0));
    bench.answer(1);
    assert_eq!((bench.phase(), bench.failures_of(0)), (Phase::Up, 1));
    assert_eq!(bench.news, []);
}

#[test]
fn two_of_two_are_our_link_but_only_after_eight_failures() {
    let mut bench = Bench::new(2);
    bench.all_fail(0..2);
    (0..3).for_each(|_| bench.all_fail(0..2));
    assert_eq!(bench.phase(), Phase::Suspect);
    bench.all_fail(0..2);
    assert_eq!((bench.phase(), bench.failures()), (Phase::Down, 0));
}

#[test]
fn a_single_witness_pays_unless_the_system_itself_knows_no_route() {
    let mut bench = Bench::new(1);
    bench.all_fail(0..1);
    assert_eq!((bench.phase(), bench.failures_of(0)), (Phase::Up, 1));
    let mut bench = Bench::new(1);
    for _ in 0..=FAILURES {
        bench.pass(millis(20));
        bench.end(0, Outcome::NoRoute, Duration::ZERO);
    }
    assert_eq!((bench.phase(), bench.failures()), (Phase::Down, 0));
}

#[test]
fn an_answer_that_was_under_way_before_proves_nothing() {
    // The route vanishes: connects fail at once, while earlier ones are still being answered.
    let mut bench = Bench::new(10);
    bench.end(0, Outcome::NoRoute, Duration::ZERO);
    bench.pass(millis(20));
    bench.end(7, Outcome::Success(millis(60)), millis(60));
    assert_eq!((bench.phase(), bench.failures()), (Phase::Suspect, 0));
    bench.pass(millis(60));
    bench.end(8, Outcome::Success(millis(60)), millis(60));
    assert_eq!((bench.phase(), bench.failures()), (Phase::Up, 1));
}

#[test]
fn refusals_prove_that_the_link_works() {
    let mut bench = Bench::new(10);
    for host in 0..10 {
        bench.pass(millis(50));
        bench.end(host, Outcome::Refused, RTT);
    }
    assert_eq!((bench.phase(), bench.failures()), (Phase::Up, 10));
    let mut bench = Bench::new(10);
    bench.all_fail(0..2);
    bench.now += RTT;
    bench.end(7, Outcome::Refused, RTT);
    assert_eq!((bench.phase(), bench.failures()), (Phase::Up, 3));
}

#[test]
fn a_list_that_is_mostly_dead_is_a_normal_day() {
    let mut bench = Bench::new(2);
    for host in 100..1_000 {
        bench.pass(millis(50));
        bench.fail(host);
        assert_eq!(bench.phase(), Phase::Up);
    }
    assert_eq!(bench.failures(), 900);
}

#[test]
fn when_nearly_all_die_and_one_answers_the_dead_pay_within_a_connect() {
    let mut bench = Bench::new(100);
    bench.all_fail(0..3);
    bench.pass(millis(200));
    bench.answer(97);
    assert_eq!((bench.phase(), bench.failures()), (Phase::Settling, 0));
    // Those that failed are asked again, and so is the one that answered.
    let asked_at = bench.now;
    bench.answer(97);
    bench.now = asked_at + CONNECT;
    (0..3).for_each(|host| bench.fail(host));
    assert_eq!(bench.failures(), 6, "what was held, and what failed again");
    assert!((0..3).all(|host| bench.failures_of(host) == 2));
    bench.pass(CONNECT);
    assert_eq!((bench.phase(), bench.news.len()), (Phase::Up, 0));
}

#[test]
fn who_never_answers_again_pays_when_it_has_settled() {
    let mut bench = Bench::new(10);
    bench.all_fail(0..5);
    bench.answer(9);
    (0..4).for_each(|host| bench.answer(host));
    bench.pass(CONNECT * 2);
    assert_eq!((bench.phase(), bench.failures()), (Phase::Up, 1));
    assert_eq!(bench.failures_of(4), 1);
}

#[test]
fn the_same_address_in_another_service_is_pardoned_for_itself_alone() {
    let mut bench = Bench::new(10);
    bench.all_fail(0..5);
    bench.answer(9);
    let one = std::mem::replace(&mut bench.service, ServiceId::fresh());
    (0..5).for_each(|host| bench.answer(host));
    bench.pass(CONNECT * 2);
    assert_eq!((bench.phase(), bench.failures()), (Phase::Up, 5));
    let failed = bench.applied.iter().filter(|sample| !sample.outcome.is_success());
    assert!(failed.clone().all(|sample| sample.candidate.service == one));
}

#[test]
fn a_gap_shorter_than_a_time_out_is_nobody_s_fault() {
    // Answers before and after, none in between; the failures arrive when all is well again.
    let mut bench = Bench::new(6);
    for host in (0..6).cycle().take(12) {
        bench.answer(host);
    }
    let gap = bench.now;
    bench.now = gap + millis(500);
    for host in (0..6).cycle().take(12) {
        bench.answer(host);
    }
    for host in 0..6 {
        bench.now = gap + millis(200) + CONNECT + millis(20) * u32::from(host);
        bench.end(host, SILENT, CONNECT);
    }
    for host in (0..6).cycle().take(40) {
        bench.answer(host);
    }
    bench.pass(CONNECT * 2);
    assert_eq!(
        (bench.phase(), bench.failures(), bench.news.len()),
        (Phase::Up, 0, 0)
    );
}

#[test]
fn a_link_that_flaps_in_settling_is_suspect_again() {
    let mut bench = Bench::new(10);
    bench.go_down(10);
    bench.answer(3);
    bench.all_fail(0..10);
    bench.pass(CONNECT * 2);
    assert_eq!((bench.phase(), bench.failures()), (Phase::Suspect, 0));
    (0..2).for_each(|_| bench.all_fail(0..10));
    assert_eq!((bench.phase(), bench.failures()), (Phase::Down, 0));
}

#[test]
fn a_doubt_that_nobody_can_settle_ends() {
    let mut bench = Bench::new(10);
    bench.all_fail(0..3);
    let deadline = bench.watch.deadline().expect("a doubt has an end");
    bench.pass(deadline - bench.now);
    assert_eq!((bench.phase(), bench.failures()), (Phase::Up, 3));
}

#[test]
fn a_doubt_over_which_the_process_stood_still_is_held_against_nobody() {
    let mut bench = Bench::new(10);
    bench.all_fail(0..3);
    bench.pass(Duration::from_secs(86_400));
    assert_eq!((bench.phase(), bench.failures()), (Phase::Up, 0));
}

#[test]
fn what_is_held_has_a_bound() {
    let mut bench = Bench::new(3);
    bench.pass(CONNECT);
    (0..HELD_BOUND + 500).for_each(|_| bench.fail(0));
    bench.answer(1);
    assert_eq!(bench.failures(), HELD_BOUND);
}

proptest! {
    /// Whatever comes in whatever order: successes and refusals pass at once and in order, nothing passes that
    /// did not come in or passes twice, and an hour of silence leaves nothing held, but while it is down.
    #[test]
    fn nothing_is_lost_twice_or_for_ever(events in prop::collection::vec((0_u16..12, 0_u8..8, 0_u64..900), 0..400)) {
        let mut bench = Bench::new(8);
        let (mut came, mut answered) = (0_usize, Vec::new());
        for (host, what, after) in events {
            bench.pass(millis(after));
            let outcome = match what {
                0 | 1 => Outcome::Success(RTT),
                2 => Outcome::Refused,
                3 => Outcome::NoRoute,
                _ => SILENT,
            };
            came += 1;
            let before = bench.applied.len();
            bench.end(host, outcome, if outcome == SILENT { CONNECT } else { RTT });
            if outcome.is_answer() {
                answered.push((addr(host), bench.now));
                // One that came before it at the same time is another one.
                let passes = |sample: &Sample| sample.candidate.addr == addr(host) && sample.outcome == outcome;
                if !bench.applied[before..].iter().any(passes) {
                    prop_assert!(matches!(bench.phase(), Phase::Settling | Phase::Down));
                    prop_assert!(outcome.is_success());
                    answered.pop();
                }
                let view = bench.watch.view(bench.now);
                prop_assert!(view.phase != Phase::Down || bench.now < view.since + RTT);
            }
        }
        for _ in 0..4 {
            bench.pass(Duration::from_secs(900));
        }
        prop_assert!(matches!(bench.phase(), Phase::Up | Phase::Down));
        prop_assert!(bench.applied.len() <= came);
        let passed: Vec<_> = bench.applied.iter().filter(|sample| sample.outcome.is_answer()).map(|sample| (sample.candidate.addr, sample.at)).collect();
        prop_assert_eq!(passed, answered);
        prop_assert!(bench.start < bench.now);
        let mut ordered = bench.applied.clone();
        ordered.sort_by_key(|sample| sample.at);
        ordered.dedup();
        prop_assert!(ordered.len() <= came);
        for host in 0..12 {
            let of_one: Vec<_> = bench.applied.iter().filter(|sample| sample.candidate.addr == addr(host) && !sample.outcome.is_answer()).map(|sample| sample.at).collect();
            prop_assert!(of_one.is_sorted(), "failures of one candidate keep their order");
        }
    }
}
