//! The scaling thread's turns, on backends without connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Scaler, prepare};
use crate::backend::{ActiveSet, Backend};
use crate::base::clock;
use crate::base::doorbell::Ring;
use crate::config::{Dynamic, Spec, Strategy};
use crate::selector::decide::Footing;
use crate::service::directory::Service;
use crate::service::hub::Hub;
use crate::service::stage;

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    hub: Arc<Hub>,
    scaler: Scaler,
    services: BTreeMap<&'static str, Arc<Service>>,
    now: Instant,
}

/// Strategies have their turn every second.
fn dynamic() -> Dynamic {
    Dynamic {
        interval: SECOND,
        ..Dynamic::default()
    }
}

fn spec(strategy: Strategy) -> Arc<Spec> {
    stage::spec(|spec| spec.pools.strategy = strategy)
}

fn backend(port: u16, strategy: &Strategy) -> Arc<Backend> {
    let backend = Backend::new(SocketAddr::from(([127, 0, 0, 1], port)), clock::now(), 2);
    prepare(&backend, strategy);
    Arc::new(backend)
}

/// A bench with one service.
fn bench(strategy: Strategy) -> Bench {
    let hub = stage::hub();
    let now = hub.started_at;
    let scaler = Scaler::new(Arc::clone(&hub));
    let mut bench = Bench {
        hub,
        scaler,
        services: BTreeMap::new(),
        now,
    };
    bench.open("one", strategy);
    bench.step();
    bench
}

impl Bench {
    fn open(&mut self, name: &'static str, strategy: Strategy) {
        let service = stage::service(&self.hub, name, [1], spec(strategy));
        self.services.insert(name, service);
        self.reload();
    }

    fn change(&mut self, name: &str, strategy: Strategy) {
        let service = self.services.get_mut(name).expect("open");
        *service = Arc::new(service.under(spec(strategy), self.now));
        self.reload();
    }

    fn close(&mut self, name: &str) {
        self.services.remove(name);
        self.reload();
    }

    fn reload(&self) {
        let services: Vec<_> = self.services.values().collect();
        stage::publish(&self.hub, &services);
        self.rung();
    }

    fn publish(&self, name: &str, backends: &[Arc<Backend>]) {
        self.services[name]
            .live
            .active
            .publish(Arc::new(ActiveSet::new(backends.to_vec(), Footing::Good)));
        self.rung();
    }

    /// Fresh members of the set of `one`.
    fn choose(&self, ports: &[u16]) -> Vec<Arc<Backend>> {
        let strategy = &self.services["one"].spec.pools.strategy;
        let backends: Vec<_> = ports.iter().map(|port| backend(*port, strategy)).collect();
        self.publish("one", &backends);
        backends
    }

    /// Which reactors were rung.
    fn rung(&self) -> Vec<usize> {
        let bells = self.hub.bells.reactors.iter().enumerate();
        bells
            .filter(|(_, bell)| bell.answer())
            .map(|(reactor, _)| reactor)
            .collect()
    }

    /// One step now; whom it rang.
    fn step(&mut self) -> Vec<usize> {
        let next = self.scaler.step(self.now);
        assert!(next.is_none_or(|next| next > self.now), "no step without rest");
        self.rung()
    }

    /// One step a second later; whom it rang.
    fn turn(&mut self) -> Vec<usize> {
        self.now += SECOND;
        self.step()
    }
}

fn targets(backend: &Backend) -> (u32, Vec<u32>) {
    let shares = backend
        .shares
        .iter()
        .map(|share| share.target.load(Ordering::Relaxed));
    (backend.target.load(Ordering::Relaxed), shares.collect())
}

const NOBODY: [usize; 0] = [];

#[test]
fn a_backend_starts_with_its_first_target() {
    let of = |strategy: &Strategy| targets(&backend(1, strategy));
    assert_eq!(of(&Strategy::Dynamic(dynamic())), (20, vec![10, 10]));
    assert_eq!(of(&Strategy::Static { size_per_remote: 5 }), (5, vec![3, 2]));
    assert_eq!(of(&Strategy::Off), (0, vec![0, 0]));
}

#[test]
fn targets_follow_demand_by_increments_and_ring_whom_it_concerns() {
    let mut bench = bench(Strategy::Dynamic(dynamic()));
    let one = bench.choose(&[1]).remove(0);
    assert_eq!(bench.turn(), NOBODY, "no demand, nobody is rung");
    for _ in 0..40 {
        one.join();
    }
    one.shares[0].in_use.store(40, Ordering::Relaxed);
    one.shares[0].peak.store(40, Ordering::Relaxed);
    bench.turn();
    assert_eq!(targets(&one), (30, vec![30, 0]));
    assert_eq!(bench.turn(), [0]);
    assert_eq!(targets(&one), (40, vec![40, 0]));
    assert_eq!(bench.turn(), [0, 1]);
    assert_eq!(targets(&one), (48, vec![44, 4]));
    assert_eq!(bench.turn(), NOBODY, "48 = ceil(40 x 1.2) is enough");
    assert_eq!(one.recent_peak.load(Ordering::Relaxed), 40);
    assert_eq!(one.scale_ups.load(Ordering::Relaxed), 3);
    for _ in 0..40 {
        one.leave();
    }
    one.shares[0].in_use.store(0, Ordering::Relaxed);
    for _ in 0..59 {
        bench.turn();
    }
    assert_eq!(targets(&one).0, 48, "the peak counts for a minute");
    for _ in 0..10 {
        bench.turn();
    }
    assert_eq!(targets(&one), (20, vec![10, 10]));
    assert_eq!(one.scale_downs.load(Ordering::Relaxed), 6);
}

#[test]
fn a_peak_between_two_turns_counts() {
    let mut bench = bench(Strategy::Dynamic(dynamic()));
    let one = bench.choose(&[1]).remove(0);
    (0..25).for_each(|_| one.join());
    (0..25).for_each(|_| one.leave());
    bench.turn();
    assert_eq!(targets(&one).0, 30);
}

#[test]
fn connections_on_order_are_demand() {
    let mut bench = bench(Strategy::Dynamic(dynamic()));
    let one = bench.choose(&[1]).remove(0);
    bench.turn();
    for turn in 1..=10 {
        one.shares[1].requests.store(300 * turn, Ordering::Relaxed);
        (0..30).for_each(|_| one.dial_durations.observe(Duration::from_millis(200)));
        bench.turn();
    }
    // 300 a second x 200 ms = 60 on order; 60 x 1.2 = 72.
    assert_eq!(targets(&one), (72, vec![6, 66]));
}

#[test]
fn static_targets_stand_still_but_peaks_are_noted() {
    let mut bench = bench(Strategy::Static { size_per_remote: 8 });
    let one = bench.choose(&[1]).remove(0);
    bench.step();
    (0..90).for_each(|_| one.join());
    for _ in 0..5 {
        assert_eq!(bench.turn(), NOBODY);
    }
    assert_eq!(targets(&one), (8, vec![4, 4]));
    assert_eq!(one.recent_peak.load(Ordering::Relaxed), 90);
}

#[test]
fn who_leaves_is_forgotten() {
    let mut bench = bench(Strategy::Dynamic(dynamic()));
    let one = Arc::downgrade(&bench.choose(&[1, 2])[0]);
    bench.turn();
    assert_eq!(bench.scaler.backends(), 2);
    bench.choose(&[2]);
    bench.turn();
    assert_eq!(bench.scaler.backends(), 1);
    assert!(one.upgrade().is_none());
}

#[test]
fn who_returns_is_not_held_to_a_limit_of_before_for_ever() {
    let mut bench = bench(Strategy::Dynamic(dynamic()));
    let one = bench.choose(&[1]).remove(0);
    bench.turn();
    // Its warm connections die unused, and it closes them soon.
    one.learned.shorten_life(Some(7 * SECOND));
    let share = &one.shares[0];
    for _ in 0..4 {
        share.unused.fetch_add(20, Ordering::Relaxed);
        bench.turn();
    }
    assert_eq!(share.limit.get(), 0);
    // A relay holds it while it is no member.
    bench.publish("one", &[]);
    bench.turn();
    bench.publish("one", &[Arc::clone(&one)]);
    bench.turn();
    for _ in 0..10 {
        share.misses.fetch_add(5, Ordering::Relaxed);
        bench.turn();
    }
    assert!(share.limit.get() > 0, "clients come often");
}

#[test]
fn a_changed_strategy_takes_effect_at_once() {
    let mut bench = bench(Strategy::Dynamic(dynamic()));
    let one = bench.choose(&[1]).remove(0);
    bench.step();
    for (strategy, expected, rung) in [
        (
            Strategy::Static { size_per_remote: 6 },
            (6, vec![3, 3]),
            vec![0, 1],
        ),
        (Strategy::Off, (0, vec![0, 0]), vec![0, 1]),
        (Strategy::Static { size_per_remote: 1 }, (1, vec![1, 0]), vec![0]),
        (Strategy::Dynamic(dynamic()), (20, vec![10, 10]), vec![0, 1]),
        (
            Strategy::Dynamic(Dynamic {
                max_size: 60,
                ..dynamic()
            }),
            (20, vec![10, 10]),
            vec![],
        ),
        (
            Strategy::Dynamic(Dynamic {
                min_size: 2,
                max_size: 12,
                ..dynamic()
            }),
            (12, vec![6, 6]),
            vec![0, 1],
        ),
    ] {
        bench.change("one", strategy.clone());
        assert_eq!(bench.step(), rung, "{strategy:?}");
        assert_eq!(targets(&one), expected, "{strategy:?}");
    }
    bench.turn();
    assert_eq!(targets(&one).0, 7, "and on from there, by the increment");
}

#[test]
fn who_was_prepared_under_the_strategy_before_is_put_right() {
    let mut bench = bench(Strategy::Static { size_per_remote: 9 });
    bench.change("one", Strategy::Off);
    bench.step();
    let late = backend(1, &Strategy::Static { size_per_remote: 9 });
    bench.publish("one", &[Arc::clone(&late)]);
    assert_eq!(bench.step(), [0, 1]);
    assert_eq!(targets(&late), (0, vec![0, 0]));
}

#[test]
fn services_come_and_go_and_one_interval_is_one_wake_up() {
    let mut bench = bench(Strategy::Dynamic(dynamic()));
    bench.step();
    for name in ["two", "three", "four"] {
        bench.now += SECOND / 7;
        bench.open(name, Strategy::Dynamic(dynamic()));
        bench.step();
    }
    let weak = Arc::downgrade(&bench.services["two"].live);
    let second = bench.hub.started_at + SECOND;
    assert_eq!(bench.scaler.step(bench.now), Some(second));
    bench.now = second;
    let of_two = backend(2, &Strategy::Dynamic(dynamic()));
    bench.publish("two", &[Arc::clone(&of_two)]);
    bench.step();
    of_two.join();
    (0..40).for_each(|_| of_two.join());
    bench.turn();
    assert_eq!(targets(&of_two).0, 30);
    bench.close("two");
    bench.turn();
    bench.turn();
    assert_eq!(targets(&of_two).0, 30, "its targets mean nothing any more");
    assert_eq!(bench.scaler.backends(), 0);
    assert!(weak.upgrade().is_none(), "nothing holds a service that left");
    assert_eq!(Arc::strong_count(&of_two), 1);
}

#[test]
fn the_thread_ends_at_a_stop() {
    let bench = bench(Strategy::Dynamic(Dynamic {
        interval: Duration::from_millis(1),
        ..Dynamic::default()
    }));
    let one = bench.choose(&[1]).remove(0);
    (0..100).for_each(|_| one.join());
    let thread = std::thread::spawn(move || bench.scaler.run());
    let deadline = clock::now() + Duration::from_secs(10);
    while one.target.load(Ordering::Relaxed) < 120 {
        assert!(clock::now() < deadline, "no growth within ten seconds");
        std::thread::yield_now();
    }
    bench.hub.stop();
    thread.join().expect("the thread does not panic");
}

fn sleepy(after: u64, strategy: Strategy) -> Arc<Spec> {
    stage::spec(|spec| {
        spec.pools.strategy = strategy;
        spec.sleep.after = Duration::from_secs(after);
    })
}

impl Bench {
    fn adopt(&mut self, name: &str, spec: Arc<Spec>) {
        let service = self.services.get_mut(name).expect("open");
        *service = Arc::new(service.under(spec, self.now));
        self.reload();
    }

    /// A client comes or goes, as a reactor notes it.
    fn note_client(&self, connected: u64) {
        let traffic = &self.services["one"].live.traffic[1];
        let micros = (self.now - self.hub.started_at).as_micros();
        traffic
            .last_client_micros
            .set(u64::try_from(micros).expect("a short test"));
        traffic.active.sub(traffic.active.value());
        traffic.active.add(connected);
        if self.is_asleep() {
            // As a reactor does.
            self.services["one"].live.marks.pools.ring();
        }
    }

    fn is_asleep(&self) -> bool {
        self.services["one"].live.slumber.load().is_asleep()
    }
}

#[test]
fn who_sleeps_keeps_nothing_warm_and_wakes_nobody_until_a_client_comes() {
    for strategy in [
        Strategy::Dynamic(dynamic()),
        Strategy::Static { size_per_remote: 20 },
    ] {
        let mut bench = bench(strategy.clone());
        bench.adopt("one", sleepy(10, strategy));
        let one = bench.choose(&[1]).remove(0);
        bench.turn();
        bench.note_client(1);
        (0..30).for_each(|_| drop(bench.turn()));
        assert!(!bench.is_asleep(), "a client is connected");
        bench.note_client(0);
        (0..9).for_each(|_| drop(bench.turn()));
        assert!(!bench.is_asleep());
        assert_eq!(targets(&one), (20, vec![10, 10]));
        assert_eq!(bench.turn(), [0, 1]);
        assert!(bench.is_asleep());
        assert_eq!(targets(&one), (0, vec![0, 0]));
        assert_eq!(bench.scaler.step(bench.now), None, "nothing is due");
        // A newcomer has nothing warm either, whoever prepared it.
        let two = bench.choose(&[2]).remove(0);
        bench.step();
        assert_eq!(targets(&two), (0, vec![0, 0]));
        bench.now += 1_000 * SECOND;
        bench.note_client(1);
        assert_eq!(bench.step(), [0, 1]);
        assert!(!bench.is_asleep());
        assert_eq!(targets(&two), (20, vec![10, 10]));
        assert!(bench.scaler.step(bench.now).is_some(), "turns go on");
    }
}

#[test]
fn a_service_without_a_set_is_awake_and_another_list_wakes_it() {
    let mut bench = bench(Strategy::Off);
    bench.adopt("one", sleepy(10, Strategy::Off));
    (0..100).for_each(|_| drop(bench.turn()));
    assert!(!bench.is_asleep(), "it could not serve anybody");
    bench.choose(&[1]);
    bench.step();
    (0..9).for_each(|_| drop(bench.turn()));
    assert!(!bench.is_asleep(), "it could be used since then");
    bench.turn();
    assert!(bench.is_asleep());
    let list = stage::list([1, 2, 3]);
    bench.services["one"].live.candidates.publish(Arc::new(list));
    assert!(bench.hub.bells.pools.answer(), "it is heard of");
    bench.step();
    assert!(!bench.is_asleep());
    (0..10).for_each(|_| drop(bench.turn()));
    assert!(bench.is_asleep());
    bench.adopt("one", sleepy(0, Strategy::Off));
    bench.step();
    assert!(!bench.is_asleep(), "a reload takes effect at once");
    bench.adopt("one", sleepy(5, Strategy::Off));
    bench.step();
    assert!(bench.is_asleep(), "and so does the next one");
}
