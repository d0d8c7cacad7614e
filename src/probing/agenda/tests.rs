//! What one service probes, against a board that a test writes.

use crate::service::admin_state::{AdminState, AdminStates};
use std::collections::{HashMap, HashSet};

use super::*;
use crate::backend::Backend;
use crate::base::clock;
use crate::config::{InitialProbing, Scoring, Search};
use crate::scorer::sample::{Heard, Outcome, Sample, Source};

pub(super) const INTERVAL: Duration = Duration::from_secs(15);
/// What is left before another round begins.
const ALMOST: Duration = Duration::from_nanos(14_999_999_999);
const SECOND: Duration = Duration::from_secs(1);

pub(super) struct Bench {
    pub(super) agenda: Agenda,
    pub(super) board: ScoreBoard,
    pub(super) active: ActiveSet,
    admin: AdminStates,
    rng: fastrand::Rng,
    pub(super) start: Instant,
    pub(super) now: Instant,
}

fn list(text: &str) -> Arc<CandidateSet> {
    Arc::new(CandidateSet::parse(text, 80).expect("a good list"))
}

fn sweeping(max_concurrency: usize) -> Probing {
    Probing {
        initial: InitialProbing {
            enabled: true,
            max_concurrency,
            timeout: SECOND / 2,
        },
        search: even(),
        ..Probing::default()
    }
}

/// Long lists are looked at evenly.
fn even() -> Search {
    Search {
        enabled: false,
        ..Search::default()
    }
}

pub(super) fn in_rounds() -> Probing {
    Probing {
        initial: InitialProbing {
            enabled: false,
            ..InitialProbing::default()
        },
        ..Probing::default()
    }
}

/// The defaults, but for how is probed.
fn remotes(probing: &Probing) -> Remotes {
    Remotes {
        probing: probing.clone(),
        ..Remotes::default()
    }
}

pub(super) fn bench(config: &Probing, text: &str) -> Bench {
    let mut rng = fastrand::Rng::with_seed(7);
    let start = clock::now();
    let frame = Frame {
        service: ServiceId::fresh(),
        origin: start,
        places: Places::new(3),
    };
    Bench {
        agenda: Agenda::new(frame, &remotes(config), list(text), start, &mut rng),
        board: ScoreBoard::new(Scoring::default()),
        active: ActiveSet::default(),
        admin: AdminStates::default(),
        rng,
        start,
        now: start,
    }
}

impl Bench {
    /// The probes that begin now.
    pub(super) fn begin(&mut self) -> Vec<Probe> {
        let facts = Facts {
            board: &self.board,
            admin: &self.admin,
            active: &self.active,
        };
        let (agenda, rng, now) = (&mut self.agenda, &mut self.rng, self.now);
        std::iter::from_fn(|| agenda.begin(now, &facts, rng)).collect()
    }

    fn end(&mut self, probe: &Probe) {
        self.hear(probe, Heard::NotAsked);
    }

    fn hear(&mut self, probe: &Probe, heard: Heard) {
        self.board.record(&Sample {
            candidate: probe.candidate,
            outcome: Outcome::Success(SECOND / 50),
            heard,
            source: Source::Probe,
            began_at: self.now,
            at: self.now,
        });
        self.agenda.ended(self.now);
    }

    /// Goes to when the agenda wants to be asked, and has all its probes answered at once.
    fn pass(&mut self) -> Vec<Probe> {
        self.now = self.agenda.next_at(self.now).expect("something is to be done");
        let begun = self.begin();
        for probe in &begun {
            self.end(probe);
        }
        begun
    }

    /// Lets time pass; who was probed when.
    fn pass_until(&mut self, until: Instant) -> Vec<(Instant, Probe)> {
        let mut all = Vec::new();
        while self.agenda.next_at(self.now).is_some_and(|next| next <= until) {
            all.extend(self.pass().into_iter().map(|probe| (self.now, probe)));
        }
        self.now = until;
        all
    }
}

#[test]
fn a_sweep_keeps_its_concurrency_and_ends_with_its_last_probe() {
    let mut bench = bench(&sweeping(7), "10.0.0.0/28");
    let mut waves = Vec::new();
    let mut seen = HashSet::new();
    let mut begun = bench.begin();
    while !begun.is_empty() {
        waves.push(begun.len());
        assert_eq!(bench.agenda.next_at(bench.now), None, "it waits for an ending");
        for probe in &begun {
            assert!(!bench.agenda.take_swept());
            assert_eq!((probe.errand, probe.timeout), (Errand::Sweep, SECOND / 2));
            assert!(seen.insert(probe.candidate.addr));
            bench.end(probe);
        }
        begun = bench.begin();
        begun.retain(|probe| probe.errand == Errand::Sweep);
    }
    assert_eq!(waves, [7, 7]);
    assert!(bench.agenda.take_swept());
    assert!(!bench.agenda.take_swept(), "it is told once");
    assert_eq!(bench.agenda.gives_up_at(), None);
}

#[test]
fn a_sweep_of_a_large_list_keeps_its_budget() {
    let mut bench = bench(&sweeping(10), "10.0.0.0/8");
    let mut count = 0;
    while !bench.agenda.take_swept() {
        count += bench.pass().len();
    }
    // A second for each twice ten.
    assert_eq!(count, 100);
}

#[test]
fn without_initial_probing_it_is_over_at_once_and_rounds_begin() {
    let mut bench = bench(&in_rounds(), "10.0.0.0/24");
    assert!(bench.agenda.take_swept());
    let round = bench.pass_until(bench.start + ALMOST);
    assert_eq!(round.len(), 10);
    assert!(
        round
            .iter()
            .all(|(at, probe)| probe.errand == Errand::Round { at: *at })
    );
}

#[test]
fn rounds_follow_one_another_on_the_grid_and_nothing_wakes_between() {
    let mut bench = bench(&in_rounds(), "10.0.0.1\n10.0.0.2\n10.0.0.3");
    let mut wakes = HashMap::new();
    for _ in 0..400 {
        bench.pass();
        let number = (bench.now - bench.start).as_secs() / 15;
        *wakes.entry(number).or_insert(0) += 1;
    }
    assert!(wakes.len() >= 99, "{}", wakes.len());
    assert!(
        wakes.values().all(|wakes| *wakes <= 4),
        "three places and a beginning: {wakes:?}"
    );
}

#[test]
fn a_sweep_that_cannot_go_on_is_given_up() {
    let mut bench = bench(&sweeping(5), "10.0.0.0/24");
    let begun = bench.begin();
    assert_eq!(begun.len(), 5);
    for probe in &begun {
        bench.agenda.put_off(probe, bench.now);
    }
    let at = bench.agenda.gives_up_at().expect("it sweeps");
    assert_eq!(at, bench.start + SWEEP_LIMIT);
    assert!(!bench.agenda.give_up(bench.start + SWEEP_LIMIT / 2));
    assert!(bench.agenda.give_up(at));
    assert!(bench.agenda.take_swept());
    bench.now = at;
    assert!(bench.begin().iter().all(|probe| probe.errand != Errand::Sweep));
}

#[test]
fn who_is_put_off_comes_first_and_costs_no_budget() {
    let mut bench = bench(&sweeping(100), "10.0.0.0/29");
    let begun = bench.begin();
    assert_eq!(begun.len(), 6);
    bench.end(&begun[0]);
    bench.end(&begun[1]);
    for probe in &begun[2..] {
        bench.agenda.put_off(probe, bench.now);
    }
    assert!(!bench.agenda.take_swept());
    let again: HashSet<_> = bench.begin().iter().map(|probe| probe.candidate).collect();
    assert_eq!(again, begun[2..].iter().map(|probe| probe.candidate).collect());
}

#[test]
fn a_changed_list_is_swept_but_for_those_that_are_known() {
    let mut bench = bench(&sweeping(100), "10.0.0.1\n10.0.0.2");
    while !bench.agenda.take_swept() {
        bench.pass();
    }
    bench.pass_until(bench.start + INTERVAL / 2);
    bench
        .agenda
        .relist(list("10.0.0.2\n10.0.0.3"), bench.now, &mut bench.rng);
    let begun = bench.pass();
    assert_eq!(begun.len(), 1);
    assert_eq!(
        begun[0].candidate.addr,
        "10.0.0.3:80".parse().expect("an address")
    );
    assert_eq!(begun[0].errand, Errand::Sweep);
    bench.now = bench.agenda.next_at(bench.now).expect("rounds");
    assert!(!bench.agenda.take_swept(), "initial probing is over once");
}

#[test]
fn lists_that_keep_changing_do_not_prolong_the_first_sweep() {
    let mut bench = bench(&sweeping(1), "10.0.0.0/24");
    for second in 1..=9 {
        bench.now = bench.start + SECOND * second;
        bench
            .agenda
            .relist(list("10.0.0.0/23"), bench.now, &mut bench.rng);
    }
    assert_eq!(bench.agenda.gives_up_at(), Some(bench.start + SWEEP_LIMIT));
}

#[test]
fn a_changed_configuration_is_followed_and_the_same_one_disturbs_nothing() {
    let config = in_rounds();
    let mut bench = bench(&config, "10.0.0.0/24");
    bench.pass();
    let next = bench.agenda.next_at(bench.now);
    bench
        .agenda
        .adopt(&remotes(&config), bench.now, &mut fastrand::Rng::with_seed(1));
    assert_eq!(bench.agenda.next_at(bench.now), next);
    let interval = SECOND * 3;
    let faster = Probing {
        interval,
        timeout: SECOND / 4,
        ..config
    };
    bench.now = bench.start + SECOND * 4;
    bench
        .agenda
        .adopt(&remotes(&faster), bench.now, &mut fastrand::Rng::with_seed(1));
    let probes = bench.pass_until(bench.start + SECOND * 60);
    assert!((180..=190).contains(&probes.len()), "{} in 56 s", probes.len());
    assert!(probes.iter().all(|(_, probe)| probe.timeout == SECOND / 4));
    // Switched on, initial probing is for what comes later; switched off, a sweep ends.
    bench.agenda.adopt(
        &remotes(&sweeping(5)),
        bench.now,
        &mut fastrand::Rng::with_seed(1),
    );
    assert_eq!(bench.agenda.sweeps(), None);
    bench
        .agenda
        .relist(list("10.1.0.0/24"), bench.now, &mut bench.rng);
    assert!(bench.agenda.sweeps().is_some());
    bench.agenda.adopt(
        &remotes(&in_rounds()),
        bench.now,
        &mut fastrand::Rng::with_seed(1),
    );
    assert_eq!(bench.agenda.sweeps(), None);
}

#[test]
fn while_the_link_is_down_there_is_no_round_and_one_begins_when_it_is_back() {
    let mut bench = bench(&in_rounds(), "10.0.0.0/24");
    bench.pass_until(bench.start + SECOND * 20);
    bench.agenda.follow_link(Phase::Suspect, bench.now);
    assert!(bench.agenda.next_at(bench.now).is_some());
    bench.agenda.follow_link(Phase::Down, bench.now);
    assert_eq!(bench.agenda.next_at(bench.now), None);
    bench.now = bench.start + INTERVAL * 10;
    assert_eq!(bench.begin(), []);
    bench.agenda.follow_link(Phase::Settling, bench.now);
    bench.agenda.follow_link(Phase::Up, bench.now);
    let round = bench.pass_until(bench.now + ALMOST);
    assert_eq!(round.len(), 10);
}

#[test]
fn what_could_not_begin_in_a_whole_interval_is_not_kept() {
    let mut bench = bench(&in_rounds(), "10.0.0.0/24");
    bench.pass();
    for late in [1, 2, 3, 50] {
        bench.now = bench.start + INTERVAL * late + INTERVAL / 2;
        let begun = bench.begin();
        assert!(begun.len() <= 20, "{} at once", begun.len());
        for probe in &begun {
            bench.end(probe);
        }
    }
}

#[test]
fn a_late_ask_begins_what_was_due_before_the_next_round_is_planned() {
    let mut bench = bench(&in_rounds(), "10.0.0.1");
    let next = bench.pass();
    assert_eq!(next, []);
    bench.now = bench.start + INTERVAL + SECOND / 1_000;
    let begun = bench.begin();
    assert!(matches!(begun[..], [Probe { errand: Errand::Round { at }, .. }] if at < bench.start + INTERVAL));
}

#[test]
fn when_all_that_was_due_has_left_the_next_round_is_planned_at_once() {
    let config = Probing {
        probe_candidate_count: 1,
        ..in_rounds()
    };
    let mut bench = bench(&config, "10.0.0.1");
    let leaver = Arc::new(Backend::new(
        "10.0.0.99:80".parse().expect("an address"),
        bench.now,
        1,
    ));
    for round in 1..9 {
        // Most rounds are planned for it alone, and none of them has a turn before the next is due.
        bench.active.backends = vec![Arc::clone(&leaver)];
        bench.begin();
        bench.active.backends.clear();
        bench.now = bench.start + INTERVAL * round;
        let begun = bench.begin();
        assert!(
            begun.iter().all(|probe| probe.candidate.addr != leaver.addr),
            "{begun:?}"
        );
        let next = bench.agenda.next_at(bench.now);
        assert!(
            next.is_some_and(|next| next > bench.now),
            "nothing is left to be done now"
        );
    }
}

#[test]
fn one_round_in_n_asks_and_who_did_not_answer_rightly_is_asked_in_each() {
    let mut config = in_rounds();
    config.check.every = 3;
    let mut bench = bench(&config, "10.0.0.1");
    let answers = [
        Heard::Answer(SECOND / 50),
        Heard::Answer(SECOND / 50),
        Heard::Wrong("for a reason"),
        Heard::Wrong("for a reason"),
        Heard::Answer(SECOND / 50),
    ];
    let mut answers = answers.into_iter();
    let mut asked = Vec::new();
    let end = bench.start + INTERVAL * 20;
    while asked.len() < 11 {
        assert!(bench.now < end, "one candidate, one probe a round: {asked:?}");
        bench.now = bench.agenda.next_at(bench.now).expect("a round");
        for probe in bench.begin() {
            asked.push(probe.asks);
            let heard = if probe.asks {
                answers.next().unwrap_or(Heard::Answer(SECOND / 50))
            } else {
                Heard::NotAsked
            };
            bench.hear(&probe, heard);
        }
    }
    let asks: Vec<_> = (0..11).filter(|round| asked[*round]).collect();
    // At first; by turns; by turns, and wrong; again, and again until it is right; by turns.
    assert_eq!(asks, [0, 3, 6, 7, 8, 9], "{asked:?}");
}

#[test]
fn a_sweep_begins_with_who_is_recalled_and_asks_nobody_twice() {
    let mut bench = bench(&sweeping(4), "10.0.0.0/26\n");
    let addr = |last: u8| SocketAddr::from(([10, 0, 0, last], 80));
    let now = bench.now;
    for last in 1..=3 {
        let sample = Sample {
            candidate: Candidate {
                service: ServiceId::fresh(),
                addr: addr(last),
            },
            outcome: Outcome::Success(SECOND / 100),
            heard: Heard::NotAsked,
            source: Source::Probe,
            began_at: now,
            at: now,
        };
        let mut before = ScoreBoard::new(Scoring::default());
        before.record(&sample);
        bench.board.recall(&before.save(1, now), SECOND, now);
    }
    let off_the_list = SocketAddr::from(([10, 1, 0, 1], 80));
    bench
        .agenda
        .begin_with([addr(3), off_the_list, addr(1), addr(3), addr(2)].into_iter());
    let mut asked = Vec::new();
    loop {
        let probes = bench.begin();
        if probes.is_empty() || bench.agenda.sweeps().is_none() {
            break;
        }
        asked.extend(probes.iter().map(|probe| probe.candidate.addr));
        for probe in &probes {
            bench.end(probe);
        }
    }
    assert_eq!(asked[..3], [addr(3), addr(1), addr(2)]);
    let once: HashSet<SocketAddr> = asked.iter().copied().collect();
    assert_eq!(once.len(), asked.len(), "nobody is asked twice");
    assert!(asked.len() > 30, "{}", asked.len());
}

#[test]
fn who_is_in_maintenance_is_never_probed_and_who_drains_in_every_round() {
    let config = Probing {
        probe_candidate_count: 3,
        ..in_rounds()
    };
    for config in [&config, &sweeping(100)] {
        let mut bench = bench(config, "127.0.0.0/28");
        let of = |last: u8| SocketAddr::from(([127, 0, 0, last], 80));
        for (last, state) in [(1, AdminState::Maintenance), (2, AdminState::Drain)] {
            bench.admin = bench.admin.with(of(last), state).expect("room");
        }
        let mut looks_at_drained = 0;
        for _ in 0..40 {
            let mut probed = Vec::new();
            for _ in 0..20 {
                for probe in bench.begin() {
                    probed.push(probe.candidate.addr);
                    bench.end(&probe);
                }
                bench.now += INTERVAL / 20;
            }
            assert!(!probed.contains(&of(1)), "maintenance");
            looks_at_drained += probed.iter().filter(|addr| **addr == of(2)).count();
        }
        assert!(looks_at_drained >= 38, "{looks_at_drained} in 40 rounds");
        bench.admin = AdminStates::default();
        bench.agenda.hasten(of(1), bench.now);
        let next = bench.begin();
        assert_eq!(next.first().map(|probe| probe.candidate.addr), Some(of(1)));
    }
}

/// What others of the fleet have seen teaches the search as a probe of its own would.
#[test]
fn the_search_learns_from_what_others_say() {
    let searching = Probing {
        search: Search::default(),
        ..sweeping(10)
    };
    let mut bench = bench(&searching, "10.0.0.0/16:80");
    let known = |bench: &Bench| {
        let space = bench.agenda.space(bench.now).expect("a list that is searched");
        let sum = |part: fn(&crate::search::Part) -> f64| space.parts.iter().map(part).sum::<f64>();
        (sum(|part| part.answers), sum(|part| part.failures))
    };
    assert!(known(&bench).0 + known(&bench).1 < 1e-9);
    for last in 1..=40 {
        let outcome = if last % 2 == 0 {
            Outcome::Success(SECOND / 50)
        } else {
            Outcome::Failure
        };
        let said = Sample {
            candidate: Candidate {
                service: ServiceId::fresh(),
                addr: SocketAddr::from(([10, 0, 7, last], 80)),
            },
            outcome,
            heard: Heard::NotAsked,
            source: Source::Peer,
            began_at: bench.now,
            at: bench.now,
        };
        bench.agenda.overhear(&said, &mut bench.rng);
    }
    let (answers, failures) = known(&bench);
    assert!(answers > 15.0 && failures > 15.0, "{answers} {failures}");
}
