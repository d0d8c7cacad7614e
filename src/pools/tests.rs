//! The scaling thread's turns, on backends without connections.

use super::*;
use crate::base::published::Published;
use crate::config::Dynamic;
use std::net::SocketAddr;
use std::sync::Mutex;

struct Bench {
    scaler: Scaler,
    active: Arc<Published<ActiveSet>>,
    woken: Arc<Mutex<Vec<usize>>>,
    strategy: Strategy,
    now: Instant,
}

fn backend(port: u16, strategy: &Strategy) -> Arc<Backend> {
    let backend = Backend::new(SocketAddr::from(([127, 0, 0, 1], port)), clock::now(), 2);
    prepare(&backend, strategy);
    Arc::new(backend)
}

fn bench(strategy: Strategy) -> Bench {
    let active = Arc::new(Published::new(ActiveSet::default()));
    let woken = Arc::new(Mutex::new(Vec::new()));
    let on_share_moved = {
        let woken = Arc::clone(&woken);
        move |reactor| woken.lock().expect("not poisoned").push(reactor)
    };
    Bench {
        scaler: Scaler::new(
            strategy.clone(),
            Reader::new(Arc::clone(&active)),
            Box::new(on_share_moved),
        ),
        active,
        woken,
        strategy,
        now: clock::now(),
    }
}

impl Bench {
    fn publish(&self, ports: &[u16]) -> Vec<Arc<Backend>> {
        let backends: Vec<_> = ports.iter().map(|port| backend(*port, &self.strategy)).collect();
        self.active.publish(Arc::new(ActiveSet {
            backends: backends.clone(),
        }));
        backends
    }

    /// One turn a second later; whom it woke.
    fn turn(&mut self) -> Vec<usize> {
        self.now += Duration::from_secs(1);
        self.scaler.turn(self.now);
        std::mem::take(&mut self.woken.lock().expect("not poisoned"))
    }
}

fn targets(backend: &Backend) -> (u32, Vec<u32>) {
    let shares = backend
        .shares
        .iter()
        .map(|share| share.target.load(Ordering::Relaxed));
    (backend.target.load(Ordering::Relaxed), shares.collect())
}

#[test]
fn a_backend_starts_with_its_first_target() {
    let of = |strategy: &Strategy| targets(&backend(1, strategy));
    assert_eq!(of(&Strategy::Dynamic(Dynamic::default())), (20, vec![10, 10]));
    assert_eq!(of(&Strategy::Static { size_per_remote: 5 }), (5, vec![3, 2]));
    assert_eq!(of(&Strategy::Off), (0, vec![0, 0]));
}

#[test]
fn targets_follow_demand_by_increments_and_wake_whom_it_concerns() {
    let mut bench = bench(Strategy::Dynamic(Dynamic::default()));
    let one = bench.publish(&[1]).remove(0);
    assert_eq!(bench.turn(), [] as [usize; 0], "no demand, nobody is woken");
    for _ in 0..40 {
        one.join();
    }
    one.shares[0].in_use.store(40, Ordering::Relaxed);
    one.shares[0].peak.store(40, Ordering::Relaxed);
    bench.turn();
    assert_eq!(targets(&one), (30, vec![30, 0]));
    bench.turn();
    assert_eq!(targets(&one), (40, vec![40, 0]));
    assert_eq!(bench.turn(), [0, 1]);
    assert_eq!(targets(&one), (48, vec![44, 4]));
    assert_eq!(bench.turn(), [] as [usize; 0], "48 = ceil(40 x 1.2) is enough");
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
    let mut bench = bench(Strategy::Dynamic(Dynamic::default()));
    let one = bench.publish(&[1]).remove(0);
    (0..25).for_each(|_| one.join());
    (0..25).for_each(|_| one.leave());
    bench.turn();
    assert_eq!(targets(&one).0, 30);
}

#[test]
fn connections_on_order_are_demand() {
    let mut bench = bench(Strategy::Dynamic(Dynamic::default()));
    let one = bench.publish(&[1]).remove(0);
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
    let one = bench.publish(&[1]).remove(0);
    (0..90).for_each(|_| one.join());
    assert_eq!(bench.turn(), [] as [usize; 0]);
    assert_eq!(targets(&one), (8, vec![4, 4]));
    assert_eq!(one.recent_peak.load(Ordering::Relaxed), 90);
}

#[test]
fn who_leaves_is_forgotten() {
    let mut bench = bench(Strategy::Dynamic(Dynamic::default()));
    let one = Arc::downgrade(&bench.publish(&[1, 2])[0]);
    bench.turn();
    assert_eq!(bench.scaler.demands.len(), 2);
    bench.publish(&[2]);
    bench.turn();
    assert_eq!(bench.scaler.demands.len(), 1);
    assert!(one.upgrade().is_none());
}

#[test]
fn the_thread_ends_at_a_stop() {
    let strategy = Strategy::Dynamic(Dynamic {
        interval: Duration::from_millis(1),
        ..Dynamic::default()
    });
    let bench = bench(strategy);
    let one = bench.publish(&[1]).remove(0);
    (0..100).for_each(|_| one.join());
    let shutdown = Arc::new(Shutdown::default());
    let thread = {
        let shutdown = Arc::clone(&shutdown);
        std::thread::spawn(move || bench.scaler.run(&shutdown))
    };
    let deadline = clock::now() + Duration::from_secs(10);
    while one.target.load(Ordering::Relaxed) < 120 {
        assert!(clock::now() < deadline, "no growth within ten seconds");
        std::thread::yield_now();
    }
    shutdown.begin();
    thread.join().expect("the thread does not panic");
}
