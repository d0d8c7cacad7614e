//! The scorer's steps over services: what they write, count and ask for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::board::ScoreBoard;
use super::inbox::INBOX_CAPACITY;
use super::link::Phase;
use super::pace::{PACE, URGENT_PACE};
use super::sample::{Heard, Outcome, Source, Unserved, Wordless};
use super::thread::Scorer;
use crate::base::clock;
use crate::config::CheckKind;
use crate::selector::decide::Footing;
use crate::service::stage::{activate, addr, hub, list, publish, sample, service, spec};
use crate::service::{Candidate, Hub, Service, Uplink};
use crate::state::snapshot::ServiceState;

const OK: Outcome = Outcome::Success(Duration::from_millis(5));
const PROBED: (Source, Outcome) = (Source::Probe, OK);
const UNPROBED: (Source, Outcome) = (Source::Probe, Outcome::Failure);
const DIALLED: (Source, Outcome) = (Source::Dial, OK);
const UNDIALLED: (Source, Outcome) = (Source::Dial, Outcome::Failure);

struct Bench {
    hub: Arc<Hub>,
    scorer: Scorer,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let hub = hub();
        Self {
            scorer: Scorer::new(Arc::clone(&hub)),
            now: hub.started_at,
            hub,
        }
    }

    /// One of the services that there are from the start, with a hundred candidates.
    fn service(&self, name: &str) -> Arc<Service> {
        service(&self.hub, name, 1..=100, spec(|_| ()))
    }

    fn push(&self, service: &Service, port: u16, what: (Source, Outcome)) {
        self.hub.samples.push(sample(service, port, what, self.now));
    }

    /// One of each service.
    fn push_all(&self, services: &[Arc<Service>], what: (Source, Outcome)) {
        for service in services {
            self.push(service, 1, what);
        }
    }

    /// Lets a second pass, and what waits be applied.
    fn step(&mut self) -> Option<Instant> {
        self.now += Duration::from_secs(1);
        self.scorer.step(self.now)
    }

    /// Applies these and tells whether the service is to be evaluated.
    fn asks(&mut self, service: &Service, batch: &[(u16, (Source, Outcome))]) -> bool {
        for (port, what) in batch {
            self.push(service, *port, *what);
        }
        self.step();
        service.live.evaluation.take()
    }
}

fn knows(service: &Service, port: u16) -> bool {
    service
        .live
        .board
        .read()
        .expect("not poisoned")
        .contains(&addr(port))
}

fn failures(service: &Service, port: u16) -> u32 {
    let board = service.live.board.read().expect("not poisoned");
    board
        .score(&addr(port))
        .map_or(0, |score| score.consecutive_failures)
}

#[test]
fn probes_are_counted_and_dials_are_not() {
    let mut bench = Bench::new();
    let one = bench.service("one");
    publish(&bench.hub, &[&one]);
    for (port, what) in [(1, PROBED), (1, UNPROBED), (2, DIALLED)] {
        bench.push(&one, port, what);
    }
    bench.step();
    let counts = &one.live.counts;
    assert_eq!(counts.probes_ok.load(Ordering::Relaxed), 1);
    assert_eq!(counts.probes_failed.load(Ordering::Relaxed), 1);
    let shown = one.live.probes.read();
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].addr, shown[0].successes), (addr(1), 1));
    assert!(knows(&one, 2), "a dial counts for the score");
}

#[test]
fn an_active_backend_that_fails_its_dials_in_a_row_is_reported_with_every_further_failure() {
    let mut bench = Bench::new();
    let one = service(
        &bench.hub,
        "one",
        1..=9,
        spec(|spec| spec.pools.dial_attempts = 3),
    );
    activate(&one, &[1], Footing::Good);
    publish(&bench.hub, &[&one]);
    assert!(!bench.asks(&one, &[(1, UNDIALLED), (1, UNDIALLED)]));
    assert!(!bench.asks(&one, &[(1, DIALLED), (1, UNDIALLED), (1, UNDIALLED)]));
    assert!(bench.asks(&one, &[(1, PROBED), (1, UNDIALLED)]));
    assert!(bench.asks(&one, &[(1, UNDIALLED)]));
    assert!(!bench.asks(&one, &[(2, UNDIALLED); 3]), "not active");
    assert!(!bench.asks(&one, &[]));
    activate(&one, &[2], Footing::Good);
    bench.step();
    activate(&one, &[1, 2], Footing::Good);
    assert!(
        !bench.asks(&one, &[(1, UNDIALLED)]),
        "a run ends when the backend leaves"
    );
}

#[test]
fn who_is_active_stays_on_the_board_and_who_is_off_the_list_leaves_it() {
    let mut bench = Bench::new();
    let one = service(&bench.hub, "one", 1..=20_000, spec(|_| ()));
    activate(&one, &[1, 2], Footing::Good);
    publish(&bench.hub, &[&one]);
    for ports in (1..=20_000).collect::<Vec<_>>().chunks(INBOX_CAPACITY) {
        for port in ports {
            bench.push(&one, *port, PROBED);
        }
        bench.step();
    }
    assert!(knows(&one, 1) && knows(&one, 2) && knows(&one, 20_000) && !knows(&one, 50));
    one.live.candidates.publish(Arc::new(list(2..=19_999)));
    activate(&one, &[2], Footing::Good);
    bench.step();
    assert!(!knows(&one, 1) && knows(&one, 2) && knows(&one, 19_999) && !knows(&one, 20_000));
}

#[test]
fn an_answer_ends_the_wait_of_a_fallback() {
    let mut bench = Bench::new();
    let one = bench.service("one");
    activate(&one, &[1], Footing::Good);
    publish(&bench.hub, &[&one]);
    assert!(!bench.asks(&one, &[(1, PROBED)]), "nothing is wrong");
    activate(&one, &[1], Footing::LastGood);
    assert!(!bench.asks(&one, &[(1, UNPROBED)]), "a failure helps nobody");
    assert!(bench.asks(&one, &[(2, PROBED)]));
    activate(&one, &[1], Footing::BestScored);
    assert!(bench.asks(&one, &[(1, PROBED)]));
}

#[test]
fn the_first_set_is_asked_for_once_enough_answer() {
    let mut bench = Bench::new();
    let one = service(
        &bench.hub,
        "one",
        1..=9,
        spec(|spec| spec.remotes.selector.active_set_size = 3),
    );
    publish(&bench.hub, &[&one]);
    assert!(!bench.asks(&one, &[(1, PROBED), (2, PROBED), (3, UNPROBED)]));
    assert!(bench.asks(&one, &[(4, PROBED)]));
    assert!(!one.live.is_swept.load(Ordering::Relaxed));
    activate(&one, &[1, 2, 4], Footing::Good);
    assert!(!bench.asks(&one, &[(5, PROBED)]), "it has a set");
}

#[test]
fn the_first_set_is_asked_for_once_all_were_probed() {
    let mut bench = Bench::new();
    let (one, two) = (bench.service("one"), bench.service("two"));
    publish(&bench.hub, &[&one, &two]);
    bench.push(&one, 1, UNPROBED);
    bench.hub.samples.swept(one.live.id);
    assert!(bench.asks(&one, &[]));
    assert!(one.live.is_swept.load(Ordering::Relaxed));
    assert!(knows(&one, 1), "its samples are on the board");
    assert!(!bench.asks(&two, &[(1, PROBED)]) && !two.live.is_swept.load(Ordering::Relaxed));
    assert!(!bench.asks(&one, &[(1, UNPROBED)]));
    assert!(bench.asks(&one, &[(1, PROBED)]), "there is no set yet");
    activate(&one, &[1], Footing::Good);
    bench.step();
    bench.hub.samples.swept(one.live.id);
    assert!(bench.asks(&one, &[]), "a sweep may have found better ones");
}

#[test]
fn without_initial_probing_the_first_set_is_asked_for_at_once() {
    let mut bench = Bench::new();
    let unprobed = spec(|spec| spec.remotes.probing.initial.enabled = false);
    let one = service(&bench.hub, "one", 1..=9, unprobed);
    publish(&bench.hub, &[&one]);
    assert!(bench.asks(&one, &[]));
    assert!(one.live.is_swept.load(Ordering::Relaxed));
}

#[test]
fn the_same_address_in_two_services_is_two_candidates() {
    let mut bench = Bench::new();
    let services: Vec<_> = (0..50).map(|i| bench.service(&format!("s{i}"))).collect();
    publish(&bench.hub, &services.iter().collect::<Vec<_>>());
    for (port, service) in (1..).zip(&services) {
        // Everybody's own port, and one that all have: good for the even ones alone.
        bench.push(service, port, PROBED);
        let what = if port % 2 == 0 { PROBED } else { UNPROBED };
        bench.push(service, 99, what);
    }
    bench.step();
    for (port, service) in (1..).zip(&services) {
        let known: Vec<_> = (1..=98).filter(|other| knows(service, *other)).collect();
        assert_eq!(known, [port]);
        assert_eq!(failures(service, 99), u32::from(port % 2 == 1));
        let counts = &service.live.counts;
        let probes = [&counts.probes_ok, &counts.probes_failed].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(probes.iter().sum::<u64>(), 2);
        assert_eq!(service.live.probes.read().len(), 2);
    }
}

#[test]
fn the_boards_of_all_services_are_evidence() {
    let mut bench = Bench::new();
    let services = ["a", "b", "c"].map(|name| bench.service(name));
    let [a, b, c] = &services;
    publish(&bench.hub, &[a, b, c]);
    // Nobody in its own service could be believed: it is the only witness there.
    bench.push_all(&services, PROBED);
    bench.step();
    bench.now += Duration::from_secs(60);
    bench.push(a, 1, UNPROBED);
    bench.push(b, 1, UNPROBED);
    let deadline = bench.step();
    let view = bench.hub.link.load();
    assert_eq!(view.phase, Phase::Suspect);
    let candidate = |service: &Service| Candidate {
        service: service.live.id,
        addr: addr(1),
    };
    assert_eq!(view.failed, [candidate(a), candidate(b)]);
    assert!(deadline.is_some_and(|at| at > bench.now), "a doubt has an end");
    assert_eq!((failures(a, 1), failures(b, 1)), (0, 0), "held");
    bench.push(c, 1, PROBED);
    bench.step();
    assert_eq!(bench.hub.link.load().phase, Phase::Up);
    assert_eq!((failures(a, 1), failures(b, 1), failures(c, 1)), (1, 1, 0));
}

#[test]
fn who_answers_in_one_service_is_no_witness_in_another() {
    let mut bench = Bench::new();
    let services = ["a", "b", "c"].map(|name| bench.service(name));
    let [a, b, c] = &services;
    publish(&bench.hub, &[a, b, c]);
    bench.push(a, 1, PROBED);
    bench.push(c, 2, PROBED);
    bench.step();
    bench.now += Duration::from_secs(60);
    bench.push(b, 1, UNPROBED);
    bench.step();
    assert_eq!((bench.hub.link.load().phase, failures(b, 1)), (Phase::Up, 1));
}

#[test]
fn the_slowest_connect_of_all_services_says_how_long_a_doubt_lasts() {
    let mut bench = Bench::new();
    let slow = spec(|spec| spec.pools.dial_timeout = Duration::from_secs(5));
    let [one, two] = ["one", "two"].map(|name| bench.service(name));
    let three = service(&bench.hub, "three", 1..=9, slow);
    let mut doubt = |services: &[&Arc<Service>]| {
        publish(&bench.hub, services);
        bench.push(&one, 1, PROBED);
        bench.push(&two, 1, PROBED);
        bench.step();
        bench.now += Duration::from_secs(60);
        bench.push(&one, 1, UNPROBED);
        let began_at = bench.now;
        let until = bench.step().expect("a doubt has an end");
        assert_eq!(bench.hub.link.load().phase, Phase::Suspect);
        until - began_at
    };
    assert!(doubt(&[&one, &two, &three]) > Duration::from_secs(20));
    assert!(doubt(&[&one, &two]) < Duration::from_secs(5));
}

#[test]
fn all_services_fail_together_and_nobody_pays() {
    let mut bench = Bench::new();
    let services = ["a", "b", "c"].map(|name| bench.service(name));
    let [a, b, c] = &services;
    publish(&bench.hub, &[a, b, c]);
    bench.push_all(&services, PROBED);
    bench.step();
    bench.now += Duration::from_secs(60);
    for _ in 0..5 {
        bench.push_all(&services, UNPROBED);
        bench.step();
    }
    let view = bench.hub.link.load();
    assert_eq!((view.phase, view.outages), (Phase::Down, 1));
    assert_eq!(services.each_ref().map(|service| failures(service, 1)), [0; 3]);
    assert!(bench.hub.bells.prober.answer() && bench.hub.bells.selector.answer());
    bench.push(b, 1, PROBED);
    bench.step();
    let view = bench.hub.link.load();
    assert_eq!(
        (view.phase, view.outages, view.recoveries),
        (Phase::Settling, 1, 1)
    );
    assert_eq!(view.answered.map(|candidate| candidate.service), Some(b.live.id));
}

#[test]
fn a_changed_spec_is_followed_and_histories_stay() {
    let mut bench = Bench::new();
    let one = bench.service("one");
    activate(&one, &[1], Footing::Good);
    publish(&bench.hub, &[&one]);
    bench.asks(&one, &[(1, PROBED), (1, UNDIALLED)]);
    let changed = spec(|spec| {
        spec.remotes.scoring.latency.max_score = 1.0;
        spec.pools.dial_attempts = 2;
    });
    let two = Arc::new(one.under(Arc::clone(&changed), bench.now));
    publish(&bench.hub, &[&two]);
    assert!(
        bench.asks(&one, &[(1, UNDIALLED)]),
        "two in a row are too many now"
    );
    let board = one.live.board.read().expect("not poisoned");
    assert_eq!(*board.rules(), changed.remotes.scoring);
    let score = board.score(&addr(1)).expect("touched");
    assert_eq!((score.consecutive_failures, score.latency), (2, OK.latency()));
}

#[test]
fn an_answer_that_was_under_way_says_nothing_once_nothing_is_asked() {
    let mut bench = Bench::new();
    let asks = spec(|spec| spec.remotes.probing.check.kind = CheckKind::SendExpect);
    let one = service(&bench.hub, "one", 1..=100, asks);
    publish(&bench.hub, &[&one]);
    let wrong = |bench: &mut Bench, service: &Arc<Service>| {
        let mut sample = sample(service, 1, PROBED, bench.now);
        sample.heard = Heard::Wrong("it does not come in time");
        bench.hub.samples.push(sample);
        bench.step();
        let board = service.live.board.read().expect("not poisoned");
        board.rating(addr(1)).is_trusted()
    };
    assert!(!wrong(&mut bench, &one));
    let two = Arc::new(one.under(spec(|_| ()), clock::now()));
    publish(&bench.hub, &[&two]);
    assert!(wrong(&mut bench, &two), "nothing would ever take it back");
}

#[test]
fn a_service_that_leaves_and_comes_back_begins_anew() {
    let mut bench = Bench::new();
    let [before, after, other, third] = ["one", "one", "two", "three"].map(|name| bench.service(name));
    assert_ne!(before.live.id, after.live.id);
    publish(&bench.hub, &[&before, &other, &third]);
    for service in [&before, &other, &third] {
        bench.push(service, 1, PROBED);
    }
    bench.step();
    bench.now += Duration::from_secs(60);
    bench.push(&before, 1, UNPROBED);
    bench.step();
    assert_eq!(bench.hub.link.load().phase, Phase::Suspect);
    // What is held of it has nobody to count for when it is cleared, and what still comes has not either.
    publish(&bench.hub, &[&after, &other, &third]);
    bench.push(&before, 2, PROBED);
    bench.hub.samples.swept(before.live.id);
    bench.push(&other, 1, PROBED);
    bench.step();
    assert_eq!(bench.hub.link.load().phase, Phase::Up);
    assert!(failures(&before, 1) == 0 && !knows(&before, 2));
    assert!(!before.live.is_swept.load(Ordering::Relaxed) && !after.live.is_swept.load(Ordering::Relaxed));
    assert!((1..=100).all(|port| !knows(&after, port)));
    publish(&bench.hub, &[]);
    bench.push(&other, 3, PROBED);
    bench.step();
    assert!(!knows(&other, 3));
}

#[test]
fn samples_gather_unless_somebody_waits() {
    let mut bench = Bench::new();
    let one = bench.service("one");
    activate(&one, &[1], Footing::Good);
    publish(&bench.hub, &[&one]);
    let start = bench.now;
    let step = |bench: &mut Bench, after: Duration| bench.scorer.step(start + after);
    assert_eq!(
        step(&mut bench, Duration::ZERO),
        None,
        "it sleeps until it is rung for"
    );
    bench.push(&one, 1, PROBED);
    step(&mut bench, Duration::ZERO);
    assert!(knows(&one, 1), "after a rest, at once");
    bench.push(&one, 2, PROBED);
    assert_eq!(step(&mut bench, PACE / 2), Some(start + PACE));
    assert!(!knows(&one, 2));
    bench.push(&one, 3, UNDIALLED);
    assert_eq!(step(&mut bench, PACE / 2), None);
    assert!(knows(&one, 2) && knows(&one, 3), "a client waits");
    let two = bench.service("two");
    publish(&bench.hub, &[&one, &two]);
    step(&mut bench, PACE / 2);
    bench.push(&two, 1, PROBED);
    let due = PACE / 2 + URGENT_PACE;
    assert_eq!(step(&mut bench, PACE / 2), Some(start + due), "it has no set yet");
    step(&mut bench, due);
    assert!(knows(&two, 1));
}

#[test]
fn the_thread_applies_what_comes_and_ends_at_a_stop() {
    let bench = Bench::new();
    let one = bench.service("one");
    publish(&bench.hub, &[&one]);
    let thread = std::thread::spawn(move || bench.scorer.run());
    bench.hub.samples.push(sample(&one, 7, PROBED, clock::now()));
    let deadline = clock::now() + Duration::from_secs(10);
    while !knows(&one, 7) {
        assert!(clock::now() < deadline, "no sample within ten seconds");
        std::thread::yield_now();
    }
    bench.hub.stop();
    thread.join().expect("the thread does not panic");
}

#[test]
fn what_was_learned_on_one_way_to_the_network_is_not_held_against_another() {
    let mut bench = Bench::new();
    let one = bench.service("one");
    publish(&bench.hub, &[&one]);
    bench.hub.samples.swept(one.live.id);
    bench.push(&one, 1, PROBED);
    bench.push(&one, 2, UNPROBED);
    bench.step();
    assert!(knows(&one, 1) && one.live.is_swept.load(Ordering::Relaxed));
    let turn = |bench: &mut Bench, id, known: &[u64], sweeps| {
        bench.hub.uplink.publish(Arc::new(Uplink {
            id,
            known: known.to_vec(),
            sweeps,
            since: bench.now,
        }));
        bench.step();
        assert_eq!(
            bench.hub.link.load().sweeps,
            sweeps,
            "the prober and the selector are told"
        );
    };
    // What is on its way was asked on the old way.
    let late = sample(&one, 3, PROBED, bench.now);
    bench.now += Duration::from_secs(1);
    turn(&mut bench, 1, &[0, 1], 1);
    bench.hub.samples.push(late);
    bench.step();
    assert!([1, 2, 3].iter().all(|port| !knows(&one, *port)));
    assert!(!one.live.is_swept.load(Ordering::Relaxed));
    bench.push(&one, 1, UNPROBED);
    bench.hub.samples.swept(one.live.id);
    bench.step();
    assert!(
        failures(&one, 1) == 1 && one.live.evaluation.take(),
        "the sweep is over"
    );
    turn(&mut bench, 0, &[1, 0], 2);
    assert_eq!((failures(&one, 1), failures(&one, 2)), (0, 1));
    assert!(
        !one.live.board.read().expect("not poisoned").is_fresh(&addr(1)),
        "to be confirmed"
    );
    bench.push(&one, 1, PROBED);
    bench.step();
    turn(&mut bench, 0, &[1, 0], 3);
    let board = one.live.board.read().expect("not poisoned");
    assert!(
        board.answers(&addr(1)) && !board.is_fresh(&addr(1)),
        "after a sleep, too"
    );
    drop(board);
    turn(&mut bench, 7, &[0, 7], 4);
    turn(&mut bench, 1, &[7, 1], 5);
    assert!(!knows(&one, 1), "a way that was forgotten is a new one");
}

#[test]
fn how_clients_were_served_on_one_way_is_not_expected_on_another() {
    let mut bench = Bench::new();
    let one = bench.service("one");
    publish(&bench.hub, &[&one]);
    bench.push(&one, 1, PROBED);
    activate(&one, &[1], Footing::Good);
    bench.step();
    let serve = |bench: &mut Bench| {
        let active = one.live.active.load();
        for _ in 0..20 {
            let share = &active.backends[0].shares[0];
            share.service.answered(Some(Duration::from_millis(5)));
        }
        one.live.marks.scorer.set();
        bench.step();
    };
    serve(&mut bench);
    let silence = one.spec.remotes.passive.silence;
    assert!(one.live.patience().expect("it is judged") < silence);
    let since = bench.now;
    bench.hub.uplink.publish(Arc::new(Uplink {
        id: 2,
        known: vec![2, 0],
        sweeps: 1,
        since,
    }));
    bench.step();
    assert_eq!(one.live.patience(), Some(silence), "answers may take longer here");
    for _ in 0..3 {
        bench.now += Duration::from_secs(1);
        bench.hub.samples.unserved(Unserved {
            candidate: Candidate {
                service: one.live.id,
                addr: addr(1),
            },
            how: Wordless::Ended,
            asked_at: bench.now,
            at: bench.now,
        });
        bench.step();
    }
    assert_eq!(
        one.live.counts.unserved.load(Ordering::Relaxed),
        0,
        "nobody answered yet"
    );
}

/// A service whose two members answer here.
fn two_members() -> (Bench, Arc<Service>) {
    let mut bench = Bench::new();
    let one = bench.service("one");
    publish(&bench.hub, &[&one]);
    activate(&one, &[1, 2], Footing::Good);
    for port in [1, 2] {
        bench.push(&one, port, PROBED);
    }
    bench.step();
    (bench, one)
}

/// What others say of a member that answers here: that it fails is a reason to ask at once, another latency only when it stays so.
#[test]
fn jitter_that_others_see_is_no_reason_to_ask_and_a_failure_is() {
    let (mut bench, one) = two_members();
    let slow = Outcome::Success(Duration::from_millis(90));
    let asked = |bench: &mut Bench, port: u16, outcome| {
        bench.push(&one, port, (Source::Peer, outcome));
        bench.step();
        one.live.probe_requests.take().len()
    };
    assert_eq!(asked(&mut bench, 1, Outcome::Failure), 1);
    let jitter = [slow, OK, slow, slow, OK, slow, OK];
    let times: usize = jitter.into_iter().map(|one| asked(&mut bench, 2, one)).sum();
    assert_eq!(times, 0);
    let stays: Vec<usize> = [slow; 6]
        .into_iter()
        .map(|one| asked(&mut bench, 2, one))
        .collect();
    assert_eq!(stays, [0, 0, 1, 0, 0, 1]);
}

/// Once a member has failed here, what others see of it counts, whether they said so before or after: nobody waits for the next
/// look of its own.
#[test]
fn what_others_see_failing_counts_once_it_fails_here() {
    for is_said_first in [false, true] {
        let (mut bench, one) = two_members();
        let mut said = [(Source::Peer, Outcome::Refused); 3];
        said[if is_said_first { 2 } else { 0 }].0 = Source::Probe;
        for (number, what) in (1..).zip(said) {
            bench.push(&one, 1, what);
            bench.step();
            let seen = match (is_said_first, number) {
                (false, _) | (true, 3) => number,
                (true, _) => 0,
            };
            assert_eq!(failures(&one, 1), seen, "{is_said_first}, {number}");
        }
        assert!(one.live.evaluation.take(), "it is worth a look");
    }
}

/// What was seen long ago says nothing of now: others that say so as well are a reason to ask.
#[test]
fn a_member_that_failed_long_ago_is_asked_when_others_see_it_fail() {
    let (mut bench, one) = two_members();
    bench.push(&one, 1, (Source::Probe, Outcome::Refused));
    bench.step();
    bench.now += Duration::from_secs(120);
    bench.push(&one, 1, (Source::Peer, Outcome::Refused));
    bench.step();
    assert_eq!(one.live.probe_requests.take().len(), 1);
    assert_eq!(failures(&one, 1), 1, "what they see waits for the answer");
}

/// What is on this board, as others say it.
fn said(known: &ScoreBoard, now: Instant) -> Arc<ServiceState> {
    Arc::new(ServiceState {
        rows: known.save(9, now),
        active: vec![addr(1)],
        lifetimes: Vec::new(),
        answers: Vec::new(),
    })
}

/// What others know to begin with is on the board as recalled, and a reason to choose; what is known here stays.
#[test]
fn what_others_know_to_begin_with_is_recalled() {
    let mut bench = Bench::new();
    let (one, other) = (bench.service("one"), bench.service("other"));
    publish(&bench.hub, &[&one]);
    bench.push(&one, 2, UNPROBED);
    bench.step();
    let mut known = ScoreBoard::new(one.spec.remotes.scoring.clone());
    for port in [1, 2] {
        known.record(&sample(&other, port, PROBED, bench.now));
    }
    one.live.evaluation.take();
    one.live.outset.publish(said(&known, bench.now));
    bench.step();
    assert!(one.live.evaluation.take(), "a set can be chosen");
    let board = one.live.board.read().expect("not poisoned");
    assert!(board.answers(&addr(1)) && !board.is_fresh(&addr(1)));
    assert_eq!(board.rating(addr(1)).successes, 0, "it confirms nobody");
    assert!(!board.answers(&addr(2)) && board.is_fresh(&addr(2)));
}

/// What others have said before the service was in the directory is taken in when it is.
#[test]
fn what_others_knew_before_there_was_a_book_is_recalled_too() {
    let mut bench = Bench::new();
    let (one, empty) = (bench.service("one"), bench.service("empty"));
    let mut known = ScoreBoard::new(one.spec.remotes.scoring.clone());
    known.record(&sample(&one, 1, PROBED, bench.now));
    one.live.outset.publish(said(&known, bench.now));
    // Nobody keeps a book of it yet.
    bench.step();
    publish(&bench.hub, &[&one, &empty]);
    bench.step();
    assert!(one.live.evaluation.take(), "a set can be chosen");
    let board = one.live.board.read().expect("not poisoned");
    assert!(board.answers(&addr(1)) && !board.is_fresh(&addr(1)));
    assert!(
        !empty.live.evaluation.take(),
        "who heard nothing has nothing to choose from"
    );
}
