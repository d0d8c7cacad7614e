//! The selector's steps over services with real boards, without its thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::choice::even_sample;
use super::decide::{Footing, SwitchReason};
use super::thread::Selector;
use crate::base::clock;
use crate::candidates::CandidateSet;
use crate::config::{Scoring, ServiceName, Spec, Strategy};
use crate::scorer::board::ScoreBoard;
use crate::scorer::link::{LinkView, Phase};
use crate::scorer::sample::{Outcome, Source};
use crate::service::stage::{addr, hub, list, list_saying, publish, sample, service, service_of, spec};
use crate::service::{AdminState, Hub, Live, Service, Slumber};
use crate::state::snapshot::{SavedLifetime, ServiceState};

struct Bench {
    hub: Arc<Hub>,
    selector: Selector,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let hub = hub();
        Self {
            selector: Selector::new(Arc::clone(&hub)),
            now: hub.started_at,
            hub,
        }
    }

    /// A bench with one service, swept.
    fn with_one(
        ports: impl IntoIterator<Item = u16>,
        change: impl FnOnce(&mut Spec),
    ) -> (Self, Arc<Service>) {
        let bench = Self::new();
        let one = service(&bench.hub, "one", ports, spec(change));
        one.live.is_swept.store(true, Ordering::Relaxed);
        publish(&bench.hub, &[&one]);
        (bench, one)
    }

    fn sample(&self, service: &Service, port: u16, outcome: Outcome) {
        let sample = sample(service, port, (Source::Probe, outcome), self.now);
        let board = service.live.board.write();
        board.expect("not poisoned").record(&sample);
    }

    fn succeed(&self, service: &Service, port: u16, millis: u64) {
        self.sample(service, port, Outcome::Success(Duration::from_millis(millis)));
    }

    fn fail(&self, service: &Service, port: u16) {
        (0..9).for_each(|_| self.sample(service, port, Outcome::Failure));
    }

    fn step(&mut self) -> Option<Instant> {
        self.selector.step(self.now)
    }

    /// Has the service evaluated now; its ports.
    fn evaluate(&mut self, service: &Service) -> Vec<u16> {
        service.live.evaluation.ask();
        self.step();
        ports(service)
    }

    fn link(&self, phase: Phase) {
        let view = LinkView {
            phase,
            ..LinkView::unknown(self.now)
        };
        self.hub.link.publish(Arc::new(view));
    }
}

fn ports(service: &Service) -> Vec<u16> {
    let active = service.live.active.load();
    let ports = active.backends.iter().map(|backend| backend.addr.port());
    ports.collect()
}

fn footing(service: &Service) -> Footing {
    service.live.active.load().footing
}

/// Switches by reason, in label order.
fn switches(service: &Service) -> [u64; SwitchReason::ALL.len()] {
    let switches = &service.live.counts.switches;
    std::array::from_fn(|reason| switches[reason].load(Ordering::Relaxed))
}

/// How often the set was published.
fn published(service: &Service) -> u64 {
    service.live.active.version()
}

#[test]
fn the_first_set_is_published_prepared_and_heard_of() {
    let (mut bench, one) = Bench::with_one(1..=9, |spec| {
        spec.pools.strategy = Strategy::Static { size_per_remote: 7 };
    });
    for port in 1..=9 {
        bench.succeed(&one, port, 10 * u64::from(port));
    }
    bench.hub.bells.pools.answer();
    bench.step();
    assert_eq!(ports(&one), [1, 2, 3]);
    assert_eq!(switches(&one), [1, 0, 0, 0, 0, 0, 0, 0]);
    let set = one.live.active.load();
    for backend in &set.backends {
        assert_eq!(backend.target.load(Ordering::Relaxed), 7);
        let targets = backend
            .shares
            .iter()
            .map(|share| share.target.load(Ordering::Relaxed));
        assert_eq!((targets.clone().count(), targets.sum()), (2, 7));
    }
    let bells = &bench.hub.bells;
    assert!(bells.pools.answer() && bells.scorer.answer() && bells.main.answer());
    assert!(bells.reactors.iter().all(|bell| bell.answer()));
    bench.evaluate(&one);
    assert_eq!(published(&one), 1);
}

#[test]
fn without_a_sample_the_set_is_spread_over_the_list() {
    let (mut bench, one) = Bench::with_one(1..=9, |_| ());
    assert_eq!(bench.evaluate(&one), [1, 4, 7]);
    assert_eq!(
        (footing(&one), switches(&one)),
        (Footing::BestScored, [0, 0, 0, 0, 1, 0, 0, 0])
    );
    bench.evaluate(&one);
    assert_eq!(published(&one), 1);
    bench.succeed(&one, 5, 10);
    assert_eq!(bench.evaluate(&one), [5]);
    assert_eq!(
        (footing(&one), switches(&one)),
        (Footing::Good, [0, 0, 1, 0, 1, 0, 0, 0])
    );
}

#[test]
fn a_footing_that_changes_is_published_with_the_same_members() {
    let (mut bench, one) = Bench::with_one(1..=3, |_| ());
    (1..=3).for_each(|port| bench.succeed(&one, port, 10));
    bench.evaluate(&one);
    let before = one.live.active.load();
    (1..=3).for_each(|port| bench.fail(&one, port));
    bench.evaluate(&one);
    let after = one.live.active.load();
    assert_eq!((after.footing, published(&one)), (Footing::LastGood, 2));
    let is_same = |(a, b): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(a, b);
    assert!(before.backends.iter().zip(&after.backends).all(is_same));
    assert_eq!(after.backends.len(), 3);
    bench.evaluate(&one);
    assert_eq!(published(&one), 2, "nothing changed");
    (1..=3).for_each(|port| (0..40).for_each(|_| bench.succeed(&one, port, 10)));
    bench.evaluate(&one);
    assert_eq!((footing(&one), published(&one)), (Footing::Good, 3));
    assert_eq!(switches(&one), [1, 0, 0, 0, 0, 0, 0, 0], "no switch in all that");
}

#[test]
fn a_short_list_gives_a_short_set() {
    let (mut bench, one) = Bench::with_one(1..=2, |_| ());
    assert_eq!(bench.evaluate(&one), [1, 2]);
}

#[test]
fn a_candidate_off_the_list_leaves_and_cannot_come_back() {
    let (mut bench, one) = Bench::with_one(1..=4, |_| ());
    (1..=4).for_each(|port| bench.succeed(&one, port, 10));
    assert_eq!(bench.evaluate(&one), [1, 2, 3]);
    one.live.candidates.publish(Arc::new(list(2..=4)));
    bench.step();
    assert_eq!(ports(&one), [1, 2, 3], "newcomers are to be probed first");
    assert_eq!(bench.evaluate(&one), [2, 3, 4]);
    assert_eq!(switches(&one), [1, 0, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_backend_with_a_relay_comes_back_as_the_same_object() {
    let (mut bench, one) = Bench::with_one(1..=2, |spec| spec.remotes.selector.active_set_size = 1);
    bench.succeed(&one, 1, 10);
    bench.evaluate(&one);
    let relayed = Arc::clone(&one.live.active.load().backends[0]);
    relayed.join();
    bench.fail(&one, 1);
    bench.succeed(&one, 2, 10);
    assert_eq!(bench.evaluate(&one), [2]);
    let idle = Arc::downgrade(&one.live.active.load().backends[0]);
    (0..60).for_each(|_| bench.succeed(&one, 1, 10));
    bench.fail(&one, 2);
    assert_eq!(bench.evaluate(&one), [1]);
    assert!(Arc::ptr_eq(&relayed, &one.live.active.load().backends[0]));
    assert_eq!(relayed.live(), 1);
    assert!(idle.upgrade().is_none(), "nobody holds what has no relay");
}

#[test]
fn the_first_set_waits_until_all_were_probed_or_enough_answer() {
    let mut bench = Bench::new();
    let [swept, answered, unprobed] = ["swept", "answered", "unprobed"].map(|name| {
        let enabled = name != "unprobed";
        let spec = spec(|spec| spec.remotes.probing.initial.enabled = enabled);
        service(&bench.hub, name, 1..=9, spec)
    });
    publish(&bench.hub, &[&swept, &answered, &unprobed]);
    bench.step();
    assert_eq!(ports(&unprobed), [1, 4, 7], "nobody is probed at first");
    bench.succeed(&swept, 5, 10);
    bench.succeed(&answered, 5, 10);
    bench.succeed(&answered, 6, 10);
    bench.now += Duration::from_secs(3600);
    bench.step();
    assert_eq!((published(&swept), published(&answered)), (0, 0));
    bench.succeed(&answered, 7, 10);
    swept.live.is_swept.store(true, Ordering::Relaxed);
    assert_eq!(bench.evaluate(&swept), [5]);
    assert_eq!(published(&answered), 0, "it was not asked for");
    assert_eq!(bench.evaluate(&answered), [5, 6, 7]);
}

#[test]
fn services_with_the_same_interval_are_due_together() {
    let mut bench = Bench::new();
    let every =
        |seconds| spec(|spec| spec.remotes.selector.evaluation_interval = Duration::from_secs(seconds));
    let mut services: Vec<_> = Vec::new();
    // They come one after the other, and each is asked for at some odd time.
    for i in 0_u16..20 {
        let seconds = if i < 10 { 30 } else { 40 };
        let one = service(&bench.hub, &format!("s{i}"), 1..=9, every(seconds));
        one.live.is_swept.store(true, Ordering::Relaxed);
        services.push(one);
        publish(&bench.hub, &services.iter().collect::<Vec<_>>());
        bench.now += Duration::from_millis(137);
        bench.step();
    }
    let start = bench.hub.started_at;
    let mut wakes = Vec::new();
    while wakes.len() < 6 {
        bench.now = bench.step().expect("something is due");
        wakes.push((bench.now - start).as_secs_f64());
    }
    assert_eq!(wakes, [30.0, 40.0, 60.0, 80.0, 90.0, 120.0]);
}

#[test]
fn on_the_grid_everybody_is_evaluated_and_between_only_who_asked() {
    let mut bench = Bench::new();
    let services = ["a", "b"].map(|name| service(&bench.hub, name, 1..=9, spec(|_| ())));
    let [a, b] = &services;
    publish(&bench.hub, &[a, b]);
    for service in &services {
        service.live.is_swept.store(true, Ordering::Relaxed);
        bench.succeed(service, 1, 10);
    }
    let due = bench.step().expect("a grid");
    for service in &services {
        bench.succeed(service, 2, 10);
    }
    assert_eq!(bench.step(), Some(due));
    assert_eq!((ports(a), ports(b)), (vec![1], vec![1]));
    assert_eq!(bench.evaluate(b), [1, 2]);
    assert_eq!(ports(a), [1], "nobody asked for it");
    bench.now = due;
    assert!(bench.step().is_some_and(|next| next > due));
    assert_eq!(ports(a), [1, 2]);
}

#[test]
fn nothing_is_chosen_while_our_link_is_down() {
    let (mut bench, one) = Bench::with_one(1..=4, |_| ());
    bench.succeed(&one, 1, 10);
    assert_eq!(bench.evaluate(&one), [1]);
    bench.link(Phase::Down);
    bench.succeed(&one, 2, 10);
    bench.now += Duration::from_secs(3600);
    assert_eq!(bench.evaluate(&one), [1]);
    assert_eq!(bench.step(), None, "it sleeps until the link is back");
    bench.link(Phase::Settling);
    assert!(bench.step().is_some());
    assert_eq!(ports(&one), [1, 2]);
    // Nobody asks, and nothing is due: it looks because the link is back.
    bench.link(Phase::Down);
    bench.step();
    bench.succeed(&one, 3, 10);
    bench.link(Phase::Settling);
    bench.step();
    assert_eq!(ports(&one), [1, 2, 3]);
}

#[test]
fn changed_rules_ask_for_an_evaluation_and_other_changes_do_not() {
    let (mut bench, one) = Bench::with_one(1..=9, |_| ());
    for port in 1..=9 {
        bench.succeed(&one, port, 10 * u64::from(port));
    }
    assert_eq!(bench.evaluate(&one), [1, 2, 3]);
    let sized = |size| {
        spec(|spec| {
            spec.remotes.selector.active_set_size = size;
            spec.remotes.selector.evaluation_interval = Duration::from_secs(7);
        })
    };
    let due = |bench: &Bench, seconds| Some(bench.hub.started_at + Duration::from_secs(seconds));
    let mut change = |spec| {
        publish(&bench.hub, &[&Arc::new(one.under(spec, bench.now))]);
        let next = bench.step();
        assert_eq!(next, due(&bench, 7), "the new interval counts");
        ports(&one)
    };
    assert_eq!(change(sized(5)), [1, 2, 3, 4, 5]);
    assert_eq!(change(sized(2)), [1, 2], "the best of them stay");
    let switched = |reason| switches(&one)[reason as usize];
    let [resize, emergency] = [SwitchReason::Resize, SwitchReason::Emergency].map(switched);
    assert_eq!((resize, emergency), (1, 0), "nobody has failed");
    let mut other = (*sized(2)).clone();
    other.pools.dial_attempts += 1;
    bench.fail(&one, 1);
    publish(&bench.hub, &[&Arc::new(one.under(Arc::new(other), bench.now))]);
    bench.step();
    assert_eq!(ports(&one), [1, 2], "nobody asked");
    assert_eq!(bench.evaluate(&one), [2, 3]);
}

#[test]
fn a_set_that_becomes_smaller_in_a_fallback_does_so_too() {
    let (mut bench, one) = Bench::with_one(1..=9, |_| ());
    (1..=3).for_each(|port| bench.succeed(&one, port, 10 * u64::from(port)));
    assert_eq!(bench.evaluate(&one), [1, 2, 3]);
    (1..=3).for_each(|port| bench.fail(&one, port));
    bench.evaluate(&one);
    assert_eq!(footing(&one), Footing::LastGood);
    let smaller = spec(|spec| spec.remotes.selector.active_set_size = 1);
    publish(&bench.hub, &[&Arc::new(one.under(smaller, bench.now))]);
    bench.step();
    assert_eq!((ports(&one), footing(&one)), (vec![1], Footing::LastGood));
}

#[test]
fn the_same_address_in_two_services_has_two_backends() {
    let mut bench = Bench::new();
    let services = ["a", "b"].map(|name| service(&bench.hub, name, 1..=3, spec(|_| ())));
    let [a, b] = &services;
    publish(&bench.hub, &[a, b]);
    for service in &services {
        service.live.is_swept.store(true, Ordering::Relaxed);
        (1..=3).for_each(|port| bench.succeed(service, port, 10));
    }
    bench.step();
    bench.fail(a, 2);
    bench.evaluate(a);
    assert_eq!((ports(a), ports(b)), (vec![1, 3], vec![1, 2, 3]));
    let [of_a, of_b] = services.each_ref().map(|service| service.live.active.load());
    assert_eq!(of_a.backends[0].addr, of_b.backends[0].addr);
    assert!(!Arc::ptr_eq(&of_a.backends[0], &of_b.backends[0]));
}

#[test]
fn a_service_that_leaves_and_comes_back_begins_anew() {
    let (mut bench, before) = Bench::with_one(1..=3, |_| ());
    (1..=3).for_each(|port| bench.succeed(&before, port, 10));
    bench.evaluate(&before);
    let held = before.live.active.load();
    publish(&bench.hub, &[]);
    assert_eq!(bench.step(), None, "there is nothing to do");
    bench.fail(&before, 1);
    assert_eq!(bench.evaluate(&before), [1, 2, 3], "nobody looks at it any more");
    let after = service(&bench.hub, "one", 1..=3, spec(|_| ()));
    assert_ne!(before.live.id, after.live.id);
    publish(&bench.hub, &[&after]);
    bench.step();
    assert_eq!(published(&after), 0);
    (1..=3).for_each(|port| bench.succeed(&after, port, 10));
    assert_eq!(bench.evaluate(&after), [1, 2, 3]);
    let set = after.live.active.load();
    let is_old = |backend: &Arc<_>| held.backends.iter().any(|old| Arc::ptr_eq(old, backend));
    assert!(!set.backends.iter().any(is_old));
}

#[test]
fn an_even_sample_of_a_huge_list_does_not_overflow() {
    let huge = CandidateSet::parse("8000::/1", 80).expect("a list");
    let sample: Vec<_> = even_sample(&huge, 4).collect();
    assert_eq!(sample.len(), 4);
    assert!(sample.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(even_sample(&list(1..=2), 0).count(), 0);
    assert_eq!(even_sample(&list(1..=2), 5).collect::<Vec<_>>(), [1, 2].map(addr));
}

#[test]
fn the_thread_evaluates_when_asked_and_ends_at_a_stop() {
    let (bench, one) = Bench::with_one(1..=3, |_| ());
    bench.succeed(&one, 2, 10);
    let hub = Arc::clone(&bench.hub);
    let thread = std::thread::spawn(move || bench.selector.run());
    one.live.evaluation.ask();
    let deadline = clock::now() + Duration::from_secs(10);
    while published(&one) == 0 {
        assert!(clock::now() < deadline, "no evaluation within ten seconds");
        std::thread::yield_now();
    }
    hub.stop();
    thread.join().expect("the thread does not panic");
}

#[test]
fn the_set_of_a_process_before_is_the_first_one_and_the_dead_leave_it() {
    let mut bench = Bench::new();
    let mut before = ScoreBoard::new(Scoring::default());
    let now = bench.now;
    let old = service(&bench.hub, "old", 1..=9, spec(|_| ()));
    for port in 1..=5 {
        let answer = (
            Source::Probe,
            Outcome::Success(Duration::from_millis(port.into())),
        );
        before.record(&sample(&old, port, answer, now));
    }
    let saved = ServiceState {
        rows: before.save(10, now),
        active: [7, 2, 3, 99].map(addr).to_vec(),
        lifetimes: vec![SavedLifetime {
            addr: addr(3),
            life_ms: 4_000,
        }],
        answers: Vec::new(),
    };
    let live = Live::new(list(1..=9).into(), &Scoring::default(), &bench.hub.bells);
    let live = live.recalling(&saved, Duration::from_secs(60), now);
    let name = ServiceName::parse("one").expect("a name");
    let one = Arc::new(Service::new(name, spec(|_| ()), Arc::new(live), now));
    publish(&bench.hub, &[&one]);
    bench.step();
    assert!(!one.live.is_swept.load(Ordering::Relaxed), "nobody was probed");
    assert_eq!(ports(&one), [1, 2, 3], "7 had no score, 99 is no candidate");
    let three = one.live.active.load();
    let three = three.backends.iter().find(|backend| backend.addr == addr(3));
    let life = three.and_then(|backend| backend.learned.shortened_life());
    assert_eq!(life, Some(Duration::from_secs(4)));
    bench.sample(&one, 2, Outcome::Refused);
    assert_eq!(bench.evaluate(&one), [1, 3, 4], "one failure is enough");
    bench.now += Duration::from_secs(3600);
    assert_eq!(bench.evaluate(&one), [1, 3, 4], "5 is only recalled");
}

#[test]
fn each_way_to_the_network_has_its_set() {
    let (mut bench, one) = Bench::with_one(1..=9, |spec| {
        spec.remotes.selector.debounce_interval = Duration::from_secs(3600);
    });
    for port in 1..=5 {
        bench.succeed(&one, port, 10 * u64::from(port));
    }
    assert_eq!(bench.evaluate(&one), [1, 2, 3]);
    let turn = |uplink| {
        let mut board = one.live.board.write().expect("not poisoned");
        let saved = board.save(10, bench.now);
        board.turn_to(uplink);
        saved
    };
    let saved = turn(1);
    one.live.is_swept.store(false, Ordering::Relaxed);
    bench.succeed(&one, 7, 10);
    assert_eq!(bench.evaluate(&one), [1, 2, 3], "it stays until enough is known");
    assert_eq!(one.live.active.load().footing, Footing::Good);
    bench.succeed(&one, 8, 10);
    bench.succeed(&one, 6, 40);
    assert_eq!(bench.evaluate(&one), [7, 8, 6]);
    bench.succeed(&one, 9, 10);
    bench.fail(&one, 6);
    assert_eq!(bench.evaluate(&one), [7, 8, 9]);
    let mut board = one.live.board.write().expect("not poisoned");
    board.turn_to(0);
    board.recall(&saved, Duration::ZERO, bench.now);
    drop(board);
    assert_eq!(
        bench.evaluate(&one),
        [1, 2, 3],
        "at once, though nobody was probed"
    );
    let switches = &one.live.counts.switches[SwitchReason::Initial as usize];
    assert_eq!(switches.load(Ordering::Relaxed), 2);
}

#[test]
fn of_a_service_that_sleeps_nothing_is_evaluated_unasked_and_newcomers_get_no_pool() {
    let (mut bench, one) = Bench::with_one(1..=9, |spec| spec.remotes.selector.active_set_size = 1);
    bench.succeed(&one, 1, 10);
    bench.evaluate(&one);
    let last_at = bench.now;
    one.live.slumber.publish(Arc::new(Slumber::Asleep { last_at }));
    assert_eq!(bench.step(), None, "nothing is due");
    // A look finds its only member dead.
    bench.now += Duration::from_secs(3_600);
    bench.fail(&one, 1);
    bench.succeed(&one, 2, 10);
    bench.step();
    assert_eq!(ports(&one), [1]);
    assert_eq!(bench.evaluate(&one), [2], "whoever asks is heard");
    let backend = Arc::clone(&one.live.active.load().backends[0]);
    assert_eq!(backend.target.load(Ordering::Relaxed), 0);
    let woken_at = Some(bench.now);
    one.live.slumber.publish(Arc::new(Slumber::Awake { woken_at }));
    let next = bench.step().expect("it is due again");
    assert!(next > bench.now && next <= bench.now + one.spec.remotes.selector.evaluation_interval);
}

fn withdraw(service: &Service, port: u16, state: AdminState) {
    let set = |states: &crate::service::AdminStates| states.with(addr(port), state).map(Arc::new);
    assert!(service.live.admin.replace(set));
}

#[test]
fn who_is_taken_out_by_hand_leaves_at_once_and_comes_back_by_the_rules() {
    for state in [AdminState::Drain, AdminState::Maintenance] {
        let (mut bench, one) = Bench::with_one(1..=4, |_| ());
        (1..=4).for_each(|port| bench.succeed(&one, port, 10 * u64::from(port)));
        bench.step();
        assert_eq!(ports(&one), [1, 2, 3]);
        let first = Arc::clone(&one.live.active.load().backends[0]);
        withdraw(&one, 1, state);
        assert!(bench.hub.bells.selector.answer(), "it is heard of");
        bench.step();
        assert_eq!(ports(&one), [2, 3, 4]);
        assert_eq!(switches(&one)[SwitchReason::Withdrawn as usize], 1);
        assert_eq!(switches(&one)[SwitchReason::Emergency as usize], 0);
        withdraw(&one, 2, state);
        bench.step();
        assert_eq!(ports(&one), [3, 4], "a set may be smaller for it");
        withdraw(&one, 1, AdminState::Ready);
        bench.step();
        assert_eq!(ports(&one), [1, 3, 4], "a place is filled at once");
        let again = Arc::clone(&one.live.active.load().backends[0]);
        assert!(
            Arc::ptr_eq(&first, &again),
            "its clients were counted all the while"
        );
    }
}

#[test]
fn without_anybody_else_who_is_taken_out_goes_on() {
    let (mut bench, one) = Bench::with_one(1..=2, |_| ());
    (1..=2).for_each(|port| bench.succeed(&one, port, 10));
    bench.step();
    withdraw(&one, 1, AdminState::Maintenance);
    bench.fail(&one, 2);
    assert_eq!(
        bench.evaluate(&one),
        [2],
        "the worst that may serve, before the best that may not"
    );
    withdraw(&one, 2, AdminState::Maintenance);
    assert_eq!(bench.evaluate(&one), [2]);
    assert_eq!(footing(&one), Footing::BestScored);
}

/// A bench whose service has one candidate, and two backups.
fn with_backups(change: impl FnOnce(&mut Spec)) -> (Bench, Arc<Service>) {
    let bench = Bench::new();
    let set = list_saying(&[(1, ""), (2, "backup"), (3, "backup")]);
    let one = service_of(&bench.hub, "one", set, spec(change));
    one.live.is_swept.store(true, Ordering::Relaxed);
    publish(&bench.hub, &[&one]);
    (bench, one)
}

fn reserve(service: &Service) -> Vec<u16> {
    let active = service.live.active.load();
    let reserve = active.reserve().map_or(&[][..], |reserve| &reserve.backends);
    reserve.iter().map(|backend| backend.addr.port()).collect()
}

#[test]
fn backups_serve_while_nobody_before_them_passes() {
    let (mut bench, one) = with_backups(|_| ());
    (1..=3).for_each(|port| (0..3).for_each(|_| bench.succeed(&one, port, 100 / u64::from(port))));
    assert_eq!((bench.evaluate(&one), reserve(&one)), (vec![1], vec![2, 3]));
    let behind = one
        .live
        .active
        .load()
        .reserve()
        .expect("a reserve")
        .backends
        .clone();
    let targets = |of: &[Arc<crate::backend::Backend>]| -> u32 {
        of.iter().map(|one| one.target.load(Ordering::Relaxed)).sum()
    };
    assert_eq!(targets(&behind), 0, "nothing is kept warm to a reserve");
    bench.fail(&one, 1);
    assert_eq!((bench.evaluate(&one), reserve(&one)), (vec![3, 2], vec![]));
    let members = one.live.active.load();
    assert!(
        behind
            .iter()
            .all(|one| members.backends.iter().any(|member| Arc::ptr_eq(one, member)))
    );
    assert!(targets(&members.backends) > 0);
    // It is back at once, debounced or not: a second has not passed.
    (0..60).for_each(|_| bench.succeed(&one, 1, 90));
    assert_eq!((bench.evaluate(&one), reserve(&one)), (vec![1], vec![2, 3]));
    assert_eq!(switches(&one), [1, 0, 1, 0, 0, 0, 0, 1]);
    let quiet = published(&one);
    bench.evaluate(&one);
    assert_eq!(published(&one), quiet);
}

#[test]
fn one_answer_does_not_take_clients_away_from_backups() {
    let (mut bench, one) = with_backups(|_| ());
    (2..=3).for_each(|port| (0..3).for_each(|_| bench.succeed(&one, port, 100)));
    assert_eq!(bench.evaluate(&one), [2, 3]);
    bench.succeed(&one, 1, 1);
    assert_eq!(bench.evaluate(&one), [2, 3], "it is not confirmed");
    (0..2).for_each(|_| bench.succeed(&one, 1, 1));
    assert_eq!(bench.evaluate(&one), [1]);
}

#[test]
fn the_last_one_that_is_taken_out_by_hand_leaves_to_backups() {
    let (mut bench, one) = with_backups(|_| ());
    (1..=3).for_each(|port| (0..3).for_each(|_| bench.succeed(&one, port, 100)));
    bench.evaluate(&one);
    let state = |state| {
        let next = |states: &crate::service::AdminStates| states.with(addr(1), state).map(Arc::new);
        assert!(one.live.admin.replace(next));
    };
    state(AdminState::Drain);
    assert_eq!(bench.evaluate(&one), [2, 3]);
    state(AdminState::Ready);
    assert_eq!((bench.evaluate(&one), reserve(&one)), (vec![1], vec![2, 3]));
}

#[test]
fn where_everybody_passes_backups_stay_behind_and_that_is_told_once() {
    let (mut bench, one) = with_backups(|spec| spec.remotes.selector.min_score_threshold = 0.0);
    (1..=3).for_each(|port| (0..3).for_each(|_| bench.succeed(&one, port, 100)));
    assert_eq!((bench.evaluate(&one), reserve(&one)), (vec![1], vec![2, 3]));
    let (told, quiet) = (switches(&one), published(&one));
    assert_eq!(bench.evaluate(&one), [1]);
    assert_eq!((switches(&one), published(&one)), (told, quiet));
}

#[test]
fn nobody_is_known_and_backups_are_none_of_the_first_set() {
    let (mut bench, one) = with_backups(|spec| spec.remotes.probing.initial.enabled = false);
    assert_eq!(
        (bench.evaluate(&one), footing(&one)),
        (vec![1], Footing::BestScored)
    );
}

#[test]
fn while_nobody_passes_the_last_good_set_stays_whatever_its_tier() {
    let (mut bench, one) = with_backups(|_| ());
    (2..=3).for_each(|port| (0..3).for_each(|_| bench.succeed(&one, port, 100)));
    bench.evaluate(&one);
    (1..=3).for_each(|port| bench.fail(&one, port));
    assert_eq!(
        (bench.evaluate(&one), footing(&one)),
        (vec![2, 3], Footing::LastGood)
    );
}

#[test]
fn what_entries_say_of_members_holds_at_once() {
    let (mut bench, one) = Bench::with_one(1..=2, |_| ());
    (1..=2).for_each(|port| bench.succeed(&one, port, 10));
    bench.evaluate(&one);
    let before = one.live.active.load();
    before.backends[0].join();
    bench.hub.bells.selector.answer();
    let set = list_saying(&[(1, "weight=3"), (2, "")]);
    one.live.candidates.publish(Arc::new(set));
    assert!(bench.hub.bells.selector.answer(), "it is told");
    bench.step();
    let after = one.live.active.load();
    assert_eq!((after.weights().weight(0), after.weights().weight(1)), (3, 1));
    assert!(Arc::ptr_eq(&before.backends[0], &after.backends[0]));
    assert_eq!(switches(&one), [1, 0, 0, 0, 0, 0, 0, 0], "that is no switch");
}
