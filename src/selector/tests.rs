//! The selector with a real board and published sets, without its thread.

use super::*;
use crate::scorer::{Outcome, Sample, Source};
use std::sync::atomic::AtomicUsize;

struct Bench {
    selector: Selector,
    board: Arc<RwLock<ScoreBoard>>,
    candidates: Arc<Published<CandidateSet>>,
    active: Arc<Published<ActiveSet>>,
    counters: Arc<ControlCounters>,
    prepared: Arc<AtomicUsize>,
    announced: Arc<AtomicUsize>,
    now: Instant,
}

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn list(ports: impl Iterator<Item = u16>) -> CandidateSet {
    let lines: Vec<_> = ports.map(|port| addr(port).to_string()).collect();
    CandidateSet::parse(&lines.join("\n"), 80).expect("a list")
}

impl Bench {
    fn new(ports: impl Iterator<Item = u16>) -> Self {
        let candidates = Arc::new(Published::new(list(ports)));
        let board = Arc::new(RwLock::new(ScoreBoard::new(config::Scoring::default())));
        let active = Arc::new(Published::new(ActiveSet::default()));
        let counters = Arc::new(ControlCounters::default());
        let (prepared, announced) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let count = |counter: &Arc<AtomicUsize>| {
            let counter = Arc::clone(counter);
            move || {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        };
        let (on_prepare, announce) = (count(&prepared), count(&announced));
        let sources = Sources {
            candidates: Reader::new(Arc::clone(&candidates)),
            board: Arc::clone(&board),
        };
        let sinks = Sinks {
            active: Arc::clone(&active),
            counters: Arc::clone(&counters),
            hooks: Hooks {
                prepare: Box::new(move |_| on_prepare()),
                announce: Box::new(announce),
            },
        };
        Self {
            selector: Selector::new(config::Selector::default(), 2, sources, sinks),
            board,
            candidates,
            active,
            counters,
            prepared,
            announced,
            now: clock::now(),
        }
    }

    fn sample(&self, port: u16, outcome: Outcome) {
        let sample = Sample {
            addr: addr(port),
            outcome,
            source: Source::Probe,
            began_at: self.now,
            at: self.now,
        };
        self.board.write().expect("not poisoned").record(&sample);
    }

    fn succeed(&self, port: u16, millis: u64) {
        self.sample(port, Outcome::Success(Duration::from_millis(millis)));
    }

    fn evaluate(&mut self) -> Option<SwitchReason> {
        self.selector.evaluate(self.now)
    }

    fn ports(&self) -> Vec<u16> {
        let active = self.active.load();
        active
            .backends
            .iter()
            .map(|backend| backend.addr.port())
            .collect()
    }

    fn switches(&self, reason: SwitchReason) -> u64 {
        self.counters.switches[reason as usize].load(Ordering::Relaxed)
    }
}

#[test]
fn the_first_set_is_published_prepared_and_announced() {
    let mut bench = Bench::new(1..=9);
    for port in 1..=9 {
        bench.succeed(port, 10 * u64::from(port));
    }
    assert_eq!(bench.evaluate(), Some(SwitchReason::Initial));
    assert_eq!(bench.ports(), [1, 2, 3]);
    assert_eq!(bench.prepared.load(Ordering::Relaxed), 3);
    assert_eq!(bench.announced.load(Ordering::Relaxed), 1);
    assert_eq!(bench.switches(SwitchReason::Initial), 1);
    assert_eq!(bench.active.load().backends[0].shares.len(), 2);
    assert_eq!(bench.evaluate(), None);
    assert_eq!(bench.announced.load(Ordering::Relaxed), 1);
}

#[test]
fn without_a_sample_the_set_is_spread_over_the_list() {
    let mut bench = Bench::new(1..=9);
    assert_eq!(bench.evaluate(), Some(SwitchReason::Fallback));
    assert_eq!(bench.ports(), [1, 4, 7]);
    assert_eq!(bench.counters.fallback.load(Ordering::Relaxed), 1);
    assert_eq!(bench.evaluate(), None);
    bench.succeed(5, 10);
    assert_eq!(bench.evaluate(), Some(SwitchReason::Emergency));
    assert_eq!(bench.ports(), [5]);
    assert_eq!(bench.counters.fallback.load(Ordering::Relaxed), 0);
}

#[test]
fn a_short_list_gives_a_short_set() {
    let mut bench = Bench::new(1..=2);
    bench.evaluate();
    assert_eq!(bench.ports(), [1, 2]);
}

#[test]
fn a_candidate_off_the_list_leaves_and_cannot_come_back() {
    let mut bench = Bench::new(1..=4);
    (1..=4).for_each(|port| bench.succeed(port, 10));
    bench.evaluate();
    assert_eq!(bench.ports(), [1, 2, 3]);
    bench.candidates.publish(Arc::new(list(2..=4)));
    assert_eq!(bench.evaluate(), Some(SwitchReason::Emergency));
    assert_eq!(bench.ports(), [2, 3, 4]);
}

#[test]
fn a_backend_with_a_relay_comes_back_as_the_same_object() {
    let mut bench = Bench::new(1..=2);
    bench.selector.rules.active_set_size = 1;
    bench.succeed(1, 10);
    bench.evaluate();
    let relayed = Arc::clone(&bench.active.load().backends[0]);
    relayed.join();
    (0..9).for_each(|_| bench.sample(1, Outcome::Failure));
    bench.succeed(2, 10);
    assert_eq!(bench.evaluate(), Some(SwitchReason::Emergency));
    assert_eq!(bench.ports(), [2]);
    let idle = Arc::downgrade(&bench.active.load().backends[0]);
    (0..60).for_each(|_| bench.succeed(1, 10));
    (0..9).for_each(|_| bench.sample(2, Outcome::Failure));
    assert_eq!(bench.evaluate(), Some(SwitchReason::Emergency));
    assert!(Arc::ptr_eq(&relayed, &bench.active.load().backends[0]));
    assert_eq!(relayed.live(), 1);
    assert!(idle.upgrade().is_none(), "nobody holds what has no relay");
    assert_eq!(bench.prepared.load(Ordering::Relaxed), 3);
}

#[test]
fn an_even_sample_of_a_huge_list_does_not_overflow() {
    let huge = CandidateSet::parse("8000::/1", 80).expect("a list");
    let sample: Vec<_> = even_sample(&huge, 4).collect();
    assert_eq!(sample.len(), 4);
    assert!(sample.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(even_sample(&list(1..=2), 0).count(), 0);
}

#[test]
fn the_thread_evaluates_when_asked_and_ends_at_a_stop() {
    let bench = Bench::new(1..=3);
    bench.succeed(2, 10);
    let (evaluate, shutdown) = (Arc::new(Evaluate::default()), Arc::new(Shutdown::default()));
    let thread = {
        let (evaluate, shutdown) = (Arc::clone(&evaluate), Arc::clone(&shutdown));
        std::thread::spawn(move || bench.selector.run(&evaluate, &shutdown))
    };
    evaluate.ask();
    let deadline = clock::now() + Duration::from_secs(10);
    while bench.active.version() == 0 {
        assert!(clock::now() < deadline, "no evaluation within ten seconds");
        std::thread::yield_now();
    }
    shutdown.begin();
    evaluate.ask();
    thread.join().expect("the thread does not panic");
}
